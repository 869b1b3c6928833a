"""What a crew is handed: units of work, each of which gives the same results whoever does it, and however often."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cloudpickle
import torch

from lambda_rl.agents.baselines.fingerprints import trainer_fingerprint
from lambda_rl.agents.baselines.judge import Cell, Judge, Played, Player
from lambda_rl.envs.data import Images
from lambda_rl.envs.data.split import Fold
from lambda_rl.envs.judging import ScheduleJob
from lambda_rl.envs.training.placement import TrainerConfig

SIZE = 16
"""Runs of a unit: enough to fill a stack, few enough that little is lost with a process."""


@dataclass(frozen=True)
class Ground:
    """What all units of a judge have in common.

    Attributes:
        train: see :class:`~lambda_rl.agents.baselines.judge.Judge`, as the next three.
        fold: see there.
        test: see there.
        config: see there.
        fingerprint: of the code that the judge's process runs.
    """

    train: Images
    fold: Fold
    test: Images | None
    config: TrainerConfig
    fingerprint: str

    def do(self, unit: bytes) -> list[Played]:
        """Does a unit, in whatever process this is.

        Raises:
            ValueError: this process has other code, another release of torch, or another kind of device.
        """
        if trainer_fingerprint(self.config) != self.fingerprint:
            raise ValueError(
                "a worker has another version of lambda_rl or torch, or another kind of device, than this process; "
                "install the same on all machines"
            )
        torch.set_num_threads(1)  # as run_script does; the trainer has threads of its own
        judge = Judge(self.train, self.fold, test=self.test, config=self.config)
        found: list[Played] = cloudpickle.loads(unit)(judge)
        return found


@dataclass(frozen=True)
class Runs:
    """Runs of schedules."""

    jobs: Sequence[ScheduleJob]

    def __call__(self, judge: Judge) -> list[Played]:
        """Their results, in order."""
        return judge(self.jobs)


@dataclass(frozen=True)
class Game:
    """One cell of a contestant that is no schedule."""

    contestant: Player
    cell: Cell

    def __call__(self, judge: Judge) -> list[Played]:
        """Its result."""
        return list(self.contestant.play([self.cell], judge))


class Crew(ABC):
    """Those who do units; see :class:`~lambda_rl.agents.baselines.judge.Crew` for what a judge asks of them."""

    @abstractmethod
    def done(self, units: Sequence[bytes]) -> Iterator[tuple[int, list[Played]]]:
        """Place of each unit and its results, as they come, whoever is killed meanwhile.

        Raises:
            OSError: there is nobody left to do them.
        """

    @abstractmethod
    def close(self) -> None:
        """Lets everybody go."""

    def __enter__(self) -> Crew:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes."""
        self.close()

    def runs(self, jobs: Sequence[ScheduleJob]) -> Iterator[dict[int, Played]]:
        """Results of jobs by their place, as they come."""
        parts = list(_alike(jobs))
        units = [cloudpickle.dumps(Runs([jobs[place] for place in part])) for part in parts]
        for number, found in self.done(units):
            yield dict(zip(parts[number], found, strict=True))

    def games(self, contestant: Player, cells: Sequence[Cell]) -> Iterator[tuple[int, Played]]:
        """Results of a contestant by the cell's place, as they come."""
        for place, (played,) in self.done([cloudpickle.dumps(Game(contestant, cell)) for cell in cells]):
            yield place, played


def _alike(jobs: Sequence[ScheduleJob]) -> Iterator[list[int]]:
    """Places of jobs that can be trained as one network, some at a time."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for place, job in enumerate(jobs):
        groups.setdefault((*job.task.group_key, job.task.steps, job.task.decisions), []).append(place)
    for group in groups.values():
        yield from (group[start : start + SIZE] for start in range(0, len(group), SIZE))
