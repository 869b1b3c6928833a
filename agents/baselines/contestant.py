"""Contestants: whoever can be judged on tasks and seeds, a schedule or a search over many runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from lambda_rl import ScheduleFactory
from lambda_rl.agents.baselines.judge import Cell, Judge, Played
from lambda_rl.envs.judging import ScheduleJob


class Contestant(Protocol):
    """Who takes part in a comparison.

    A search, a population or whatever else is no schedule is one by having these four: it does its inner runs by the
    judge (or in its own way on the judge's training images), chooses without a look at test accuracies, and says in
    each :class:`~lambda_rl.agents.baselines.Played` what it cost. :class:`~lambda_rl.agents.baselines.GridSearch` is
    the example.
    """

    @property
    def name(self) -> str:
        """In tables and files."""

    @property
    def kind(self) -> str:
        """``learned``, ``hand-designed``, ``constant`` or ``derived``."""

    @property
    def spec(self) -> str:
        """What it is, as text. Results are kept under it, so two of one spec must be the same."""

    def play(self, cells: Sequence[Cell], judge: Judge) -> Iterator[Played]:
        """What it comes to on each cell, in their order, each as soon as it is there."""


@runtime_checkable
class Announcing(Protocol):
    """A contestant that knows beforehand which runs it will ask the judge for.

    All announced runs of all contestants are done in one call, so that those alike are trained as one network.
    """

    def jobs(self, cells: Sequence[Cell]) -> list[ScheduleJob]:
        """The runs."""


@dataclass(frozen=True)
class ScheduleContestant:
    """A schedule: one inner run for each result.

    Attributes:
        name: see :class:`Contestant`, as the next two.
        kind: see there.
        spec: as :func:`lambda_rl.parse_schedule` takes it.
        make: makes the schedule for a run. Whatever files it needs were read when this was made.
        fingerprint: of what the spec does not say: weights of a policy, content of a file.
        told: fields of a task, and what they are while this one plays; only such as say what schedules are told.
    """

    name: str
    kind: str
    spec: str
    make: ScheduleFactory
    fingerprint: str = ""
    told: Mapping[str, Any] = field(default_factory=dict)

    def jobs(self, cells: Sequence[Cell]) -> list[ScheduleJob]:
        """One run a cell."""
        identity = f"{self.spec} {self.fingerprint}".rstrip()
        tasks = [dataclasses.replace(cell.task, **self.told) for cell in cells]
        return [
            ScheduleJob(task, identity, self.make, key=cell.name)
            for task, cell in zip(tasks, cells, strict=True)
        ]

    def play(self, cells: Sequence[Cell], judge: Judge) -> Iterator[Played]:
        """See :class:`Contestant`."""
        for cell, played in zip(cells, judge(self.jobs(cells)), strict=True):
            result = dataclasses.replace(played.result, task=cell.task)
            yield dataclasses.replace(played, spec=self.spec, result=result)
