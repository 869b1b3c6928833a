"""The tasks of each round: the same for all rows, drawn afresh for each round as in training."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from lambda_rl.envs.data import ImageData
from lambda_rl.envs.data.split import part_sizes
from lambda_rl.envs.tasks.space import TaskList
from lambda_rl.envs.tasks.suites import load_suite
from lambda_rl.envs.tasks.task import Task

SUITE = "any-loop"
"""What is drawn from."""

_suite = functools.cache(load_suite)  # reading it is nobody's training

DECISIONS = 20
"""Of each task, so that a round is whole episodes of all of them; the suite has 10 to 30."""


@dataclasses.dataclass(frozen=True)
class Rounds:
    """Draws what is trained.

    Attributes:
        images: of tasks that name no data set; those that want more of them get as many as there are.
        tasks: of a round.
        tiny: as little work as there can be.
    """

    images: ImageData
    tasks: int = 8
    tiny: bool = False

    def round(self, number: int) -> list[Task]:
        """The tasks of a round."""
        suite, rng = _suite(SUITE), np.random.default_rng([17, number])
        return [self._fitted(suite.sample(rng)) for _ in range(self.tasks)]

    def _fitted(self, task: Task) -> Task:
        sizes: dict[str, Any] = {"decisions": DECISIONS}
        if not task.data:
            train, val, *_ = part_sizes(len(self.images.labels), "agent")
            sizes |= {"train_size": min(task.train_size, train), "val_size": min(task.val_size, val)}
        if self.tiny:
            sizes |= {"steps": 4, "decisions": 2, "train_size": 20, "val_size": 10, "width": 4}
        data = task.data.replace("x20000:", "x400:") if self.tiny else task.data  # rows of a table
        return dataclasses.replace(task, data=data, **sizes)

    def all(self) -> Iterator[Task]:
        """Round after round."""
        number = 0
        while True:
            yield from self.round(number)
            number += 1


@dataclasses.dataclass(frozen=True)
class Dealt(TaskList):
    """Gives the tasks of all rounds in turn to whoever asks; ``tasks`` are those of the first, which are checked.

    Attributes:
        turn: all tasks.
    """

    turn: Iterator[Task] = dataclasses.field(default_factory=lambda: iter(()))

    def sample(self, rng: np.random.Generator) -> Task:
        """The next one."""
        return next(self.turn)
