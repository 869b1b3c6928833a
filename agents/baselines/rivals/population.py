"""Population-based training over λ in the batched trainer, and the replay of what its winner did.

Jaderberg et al. (2017, arXiv 1711.09846), with truncation selection: after an interval the worst fifth takes over
weights, optimizer state and λ of a member of the best fifth, and moves λ by a fixed factor up or down. All members have
the same initial weights and minibatches; they differ by λ, which begins spread evenly over the grid's range.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from lambda_rl import ControlLaw, ReplaySchedule
from lambda_rl.agents.baselines.contestant import Contestant
from lambda_rl.agents.baselines.families import BASELINES, CONSTANT_GRID
from lambda_rl.agents.baselines.judge import Cell, Judge, Played
from lambda_rl.agents.baselines.rivals.rules import Rival
from lambda_rl.agents.baselines.rivals.searches import HIGH, LOW
from lambda_rl.envs.control_problem import HISTORY_KEYS, ControlledRuns, Interval
from lambda_rl.envs.judging import RunResult, ScheduleJob
from lambda_rl.envs.reward import RewardConfig
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.trainer import Trainer

MOVE = 0.25
"""Decades that a λ which was taken over is moved by."""


@dataclass
class Population:
    """Members that train one task side by side.

    Args:
        task: with the seed.
        trainer: scores runs at their end.
        count: members.

    Attributes:
        diverged: of each member.
        last: what the last interval led to.
    """

    task: Task
    trainer: Trainer
    count: int
    diverged: npt.NDArray[np.bool_] = field(init=False)
    last: Interval = field(init=False)

    def __post_init__(self) -> None:
        """Begins the runs."""
        self._rng = np.random.default_rng((self.count, self.task.seed))
        self.runs = ControlledRuns(self.count, self.trainer, ControlLaw(), RewardConfig())
        self.runs.begin(range(self.count), [self.task] * self.count)
        self.diverged = np.zeros(self.count, bool)

    def train(self) -> None:
        """To the end, or until all have diverged."""
        log_lam = np.linspace(LOW, HIGH, self.count)
        for decision in range(self.task.decisions):
            self.last = self.runs.hold(log_lam)
            self.diverged = self.last.diverged
            if self.diverged.all() or decision == self.task.decisions - 1:
                return
            self._exploit(log_lam)

    @property
    def order(self) -> npt.NDArray[np.int64]:
        """Members from the best on validation to the worst, and those that diverged."""
        measured = self.last.measured
        return np.lexsort((measured.val_loss, -measured.val_accuracy, self.diverged)).astype(np.int64)

    def _exploit(self, log_lam: npt.NDArray[np.float64]) -> None:
        order, share = self.order, max(self.count // 5, 1)
        losing = [int(m) for place, m in enumerate(order) if place >= self.count - share or self.diverged[m]]
        best = [int(m) for m in order[:share] if not self.diverged[m]]
        for member in losing:
            donor = int(self._rng.choice(best))
            move = MOVE * float(self._rng.choice((-1.0, 1.0)))
            if donor == member:
                continue
            self.runs.run(member).load_state_dict(self.runs.run(donor).state_dict())
            self.runs.history[member] = {
                name: list(values) for name, values in self.runs.history[donor].items()
            }
            log_lam[member] = min(max(log_lam[donor] + move, LOW), HIGH)

    def trace(self, member: int) -> list[tuple[float, float]]:
        """(Progress, λ) at the beginning of each interval of the run that a member's weights went through."""
        history = self.runs.history[member]
        begins = [0.0, *history["progress"][:-1]]
        return [(at, 10.0**log) for at, log in zip(begins, history["log_lam"], strict=True)]


@dataclass(frozen=True)
class PopulationBased:
    """The best member by validation accuracy, or a run anew under the λ that it went through.

    Attributes:
        name: see :class:`~lambda_rl.agents.baselines.Contestant`, as the next two.
        kind: see there.
        spec: see there.
        count: members, each of which costs a run.
        replayed: whether the result is that of the run anew, which costs one more.
    """

    name: str
    kind: str
    spec: str
    count: int
    replayed: bool

    def play(self, cells: Sequence[Cell], judge: Judge) -> Iterator[Played]:
        """See :class:`~lambda_rl.agents.baselines.Contestant`."""
        trainer = judge.trainer()
        try:
            for cell in cells:
                began = time.monotonic()
                population = Population(cell.task, trainer, self.count)
                population.train()
                best = int(population.order[0])
                steps = self.count * cell.task.steps
                if not self.replayed:
                    result = _result(population, best, judge, self.spec)
                    yield Played(cell.name, result, self.spec, self.count, steps, time.monotonic() - began)
                    continue
                took = time.monotonic() - began
                yield self._replay(cell, population.trace(best), judge, took)
        finally:
            trainer.close()

    def _replay(self, cell: Cell, trace: list[tuple[float, float]], judge: Judge, seconds: float) -> Played:
        (played,) = judge(
            [
                ScheduleJob(
                    cell.task,
                    f"{self.spec} of {trace}",
                    lambda **context: ReplaySchedule(trace),
                    key=cell.name,
                )
            ]
        )
        return dataclasses.replace(
            played,
            spec=self.spec,
            inner_runs=self.count + 1,
            steps=(self.count + 1) * cell.task.steps,
            seconds=seconds + played.seconds,
        )


def _result(population: Population, member: int, judge: Judge, spec: str) -> RunResult:
    """What a member came to; the test images are looked at now."""
    run, measured, history = population.runs.run(member), population.last.measured, population.runs.history
    lost, classes = bool(population.diverged[member]), run.network.num_classes
    guess = (1.0 / classes, math.log(classes))
    tested = judge.tested(population.trainer, run) if not lost else guess
    outer = (float(measured.outer_accuracy[member]), float(measured.outer_loss[member]))
    val = (float(measured.val_accuracy[member]), float(measured.val_loss[member]))
    return RunResult(
        population.task, spec, *tested, *(guess if lost else outer), *(guess if lost else val), lost,
        {name: history[member][name] for name in HISTORY_KEYS},
    )  # fmt: skip


class PBT(Rival):
    """Population-based training with the budget of the grid search; it is not tuned."""

    name = "pbt"
    form = "pbt:{}"
    untuned = f"pbt:{len(CONSTANT_GRID)}"
    replayed: ClassVar[bool] = False

    def contestant(self, spec: str, name: str = "") -> Contestant:
        """See :class:`~lambda_rl.agents.baselines.families.Baseline`.

        Raises:
            ValueError: the text is no setting.
        """
        word = spec.partition(":")[2].strip()
        if not (word.isdecimal() and 2 <= int(word) <= 1000):
            raise ValueError(f"{spec!r} is no {self.name}; expected {self.name}:MEMBERS, 2 to 1000")
        return PopulationBased(name or self.name, self.kind, spec, int(word), self.replayed)


class ReplayedPBT(PBT):
    """A run anew under the λ that the population's winner went through (``PopulationBasedTrainingReplay`` of Ray)."""

    name = "pbt-replay"
    form = "pbt-replay:{}"
    untuned = f"pbt-replay:{len(CONSTANT_GRID)}"
    replayed: ClassVar[bool] = True


for _family in (PBT(), ReplayedPBT()):
    BASELINES.register(_family.name, _family)
