"""What an opponent is, and what all rows are timed with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from lambda_rl.agents.benchmark.opponents.torch_layers import trains_alike
from lambda_rl.agents.benchmark.timing import Row
from lambda_rl.agents.options import DataOptions
from lambda_rl.envs.data import ImageData
from lambda_rl.envs.tasks.task import Task
from lambda_rl.registry import Registry


@dataclass(frozen=True)
class Setting:
    """What all rows of a network are timed with.

    Attributes:
        source: where other processes load the images from.
        images: those images.
        outer_size: images that the reward is taken on at a decision.
        slots: inner runs side by side in our environment.
        device: of all rows but DACBench's.
        threads: of rows that are one process.
        processes: of the others, one thread each.
        precisions: ``fp32``, ``bf16`` or both.
        dacbench_python: a Python that has dacbench; empty: this one, if it has.
        tiny: as little work as there can be.
    """

    source: DataOptions
    images: ImageData
    outer_size: int
    slots: int
    device: torch.device
    threads: int = 1
    processes: int = 1
    precisions: tuple[str, ...] = ("fp32",)
    dacbench_python: str = ""
    tiny: bool = False


class Opponent(ABC):
    """Another way to train many networks. A new one is a class and an entry of :data:`OPPONENTS`.

    Attributes:
        label: what its rows begin with.
    """

    label: ClassVar[str]

    def supports(self, task: Task) -> bool:
        """Whether it can train such a task."""
        return trains_alike(task)

    def missing(self, setting: Setting) -> str:
        """What it lacks here, as a sentence; empty: nothing."""
        return ""

    @abstractmethod
    def rows(self, task: Task, setting: Setting) -> Iterator[tuple[str, Row]]:
        """(Label, row) for each way in which it is timed, each made when it is asked for.

        Raises:
            ValueError: it cannot be started.
        """


OPPONENTS: Registry[Opponent] = Registry("opponent")
"""What our environment can be timed against, by the name that ``--opponents`` takes, in the order of the rows."""
