"""What is timed: the first tasks of the presets' suites, with small changes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from lambda_rl.envs.networks.cnn3 import CNN3
from lambda_rl.envs.networks.mlp import MLP
from lambda_rl.envs.tasks.suites import load_suite
from lambda_rl.envs.tasks.task import Task


@dataclass(frozen=True)
class Timed:
    """What is timed of a network, and how many at once.

    Attributes:
        task: what is trained.
        slots: of our environment, where none are asked for.
    """

    task: Task
    slots: int


def _task(suite: str, **changes: Any) -> Task:
    return dataclasses.replace(load_suite(f"{suite}-validation").tasks[0], **changes)


_USUAL = {"train_size": 2000, "val_size": 300}

TIMED: dict[str, Timed] = {
    timed.task.network: timed
    for timed in (
        Timed(_task("cifar-mlp", **_USUAL), slots=64),
        # as long an interval as the preset's, but a shorter episode
        Timed(_task("cifar-cnn", **_USUAL, steps=180, decisions=6), slots=8),
    )
}
"""By name of the network; each has a counterpart in :mod:`.opponents.torch_layers`."""

ON_GPU: dict[str, Timed] = {
    timed.task.network: timed
    for timed in (
        Timed(TIMED[MLP.name].task, slots=1024),
        Timed(TIMED[CNN3.name].task, slots=1024),
        # a part of an episode: intervals as long as the preset's would take minutes
        Timed(_task("cifar-resnet9", **_USUAL, steps=40, decisions=4), slots=64),
    )
}
"""Likewise on a GPU, with the most that are timed at once."""


def tiny(task: Task) -> Task:
    """The same so small that its times mean nothing."""
    return dataclasses.replace(task, width=4, batch_size=8, steps=6, decisions=3, train_size=40, val_size=20)
