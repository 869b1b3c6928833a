"""What a policy did on the tuning suite: its mean trajectory, and its moves, to be made where it cannot see."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lambda_rl import Policy, ReplaySchedule, Schedule
from lambda_rl.agents.baselines import Cell, Judge, Played, ScheduleContestant
from lambda_rl.agents.baselines.fingerprints import digest
from lambda_rl.envs.judging import ScheduleJob
from lambda_rl.envs.training.run import network_of, run_facts
from lambda_rl.knobs import KAPPA

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Replay:
    """Makes schedules that go through a trajectory, stretched over the run, without a look at it.

    Attributes:
        levels: log₁₀ of λ, or of κ, in equal parts of the run.
        kappa: whether it is κ.
    """

    levels: tuple[float, ...]
    kappa: bool

    def __call__(self, optimizer: Any = None, **context: Any) -> Schedule:
        """A schedule; see :func:`lambda_rl.parse_schedule`."""
        offset = math.log10(context["facts"].decay_sum) if self.kappa else 0.0
        count = len(self.levels)
        trace = [(place / count, 10.0 ** (level - offset)) for place, level in enumerate(self.levels)]
        return ReplaySchedule(trace, optimizer, total_steps=context.get("total_steps"))

    @property
    def fingerprint(self) -> str:
        """Changes with the trajectory."""
        return digest(repr((self.levels, self.kappa)))


@dataclass(frozen=True)
class Traces:
    """Trajectories of a policy.

    Attributes:
        levels: log₁₀ of λ, or of κ where the policy moves it, ``[runs, decisions]``.
        kappa: whether it is κ.
        ends: lowest and highest that the policy may set.
    """

    levels: Array
    kappa: bool
    ends: tuple[float, float]

    @property
    def mean(self) -> Replay:
        """The mean over runs, for all runs the same."""
        return Replay(tuple(map(float, self.levels.mean(0))), self.kappa)

    def mixed(self, rng: np.random.Generator) -> Replay:
        """At each decision the move that the policy made at this decision in another run, drawn anew."""
        count, decisions = self.levels.shape
        donors = np.asarray(rng.integers(count, size=decisions), np.int64)
        moves = np.diff(self.levels, axis=1, prepend=0.0)  # the first is to where a run begins
        level, found = 0.0, []
        for decision, donor in enumerate(donors.tolist()):
            level = min(max(level + float(moves[donor, decision]), self.ends[0]), self.ends[1])
            found.append(level)
        return Replay(tuple(found), self.kappa)


def traced(contestant: ScheduleContestant, policy: Policy, cells: Sequence[Cell], judge: Judge) -> Traces:
    """Lets a policy play, and reads its λ.

    Args:
        contestant: plays it.
        policy: the policy.
        cells: of the tuning suite.
        judge: of its images, without test images.
    """
    kappa = policy.card.unit == KAPPA
    played = list(contestant.play(cells, judge))
    most = max(cell.task.decisions for cell in cells)
    rows = []
    for job, item in zip(contestant.jobs(cells), played, strict=True):
        levels = np.array(item.result.history["log_lam"], np.float64)
        if kappa:
            facts = run_facts(job.task, network_of(job.task, judge.train.num_classes))
            levels += math.log10(facts.decay_sum)
        rows.append(levels[np.minimum(np.arange(most) * job.task.decisions // most, len(levels) - 1)])
    return Traces(np.stack(rows), kappa, (policy.card.log_lam_min, policy.card.log_lam_max))


@dataclass(frozen=True)
class Shuffled:
    """A policy that looks at other runs: at each decision it makes a move that it made in a run of the tuning suite.

    Attributes:
        of: who plays the policy, under the name, kind and text that this contestant has.
        traces: of the policy; None: they are still to be made, and nothing can be played.
    """

    of: ScheduleContestant
    traces: Traces | None = field(repr=False)

    @property
    def name(self) -> str:
        """See :class:`~lambda_rl.agents.baselines.Contestant`."""
        return self.of.name

    @property
    def kind(self) -> str:
        """See there."""
        return self.of.kind

    @property
    def spec(self) -> str:
        """See there."""
        return self.of.spec

    def _one(self, cell: Cell) -> ScheduleContestant:
        assert self.traces is not None
        drawn = int(digest(cell.name)[:8], 16)
        replay = self.traces.mixed(np.random.default_rng((drawn, cell.task.seed)))
        return replace(self.of, make=replay, fingerprint=replay.fingerprint)

    def jobs(self, cells: Sequence[Cell]) -> list[ScheduleJob]:
        """One run a cell."""
        return [job for cell in cells for job in self._one(cell).jobs([cell])]

    def play(self, cells: Sequence[Cell], judge: Judge) -> Iterator[Played]:
        """See :class:`~lambda_rl.agents.baselines.Contestant`."""
        judge(self.jobs(cells))
        for cell in cells:
            yield from self._one(cell).play([cell], judge)
