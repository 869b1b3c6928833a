"""From the scores of all schedules to what can be said of each, and of each policy against each rival."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

from lambda_rl.agents.comparison.evidence.aggregates import (
    conditional_value_at_risk,
    iqm_interval,
    probability_interval,
    share_hurt,
)
from lambda_rl.agents.comparison.evidence.policies import replicated, seed_groups
from lambda_rl.agents.comparison.results import (
    ABLATION,
    BEST_SINGLE,
    CONSTANT,
    LEARNED,
    NO_PENALTY,
    Findings,
    Interval,
)
from lambda_rl.agents.comparison.statistics import (
    Array,
    interquartile_mean,
    probability_of_improvement,
)

ENOUGH_CELLS = 20
"""Of tasks × seeds, that a word of better or worse needs."""

_SEED = 0  # of the bootstrap; the same resamples for all, so that intervals differ by the schedules only


@dataclass(frozen=True)
class Pair:
    """One schedule against another on the same tasks and seeds.

    Attributes:
        name: the one.
        other: the other.
        difference: mean difference in test accuracy, points.
        interval: its 95 % interval, see :func:`~lambda_rl.agents.comparison.evidence.replicated`; NaN at both ends
            where there is one run.
        probability: that a run of the one beats a run of the other, on a task at random.
        probability_interval: its 95 % interval by a stratified bootstrap.
        hurt: share of tasks on which the one is more than a point worse.
        worst_fifth: mean difference on the worst fifth of the tasks, points (CVaR at 20 %).
    """

    name: str
    other: str
    difference: float
    interval: Interval
    probability: float
    probability_interval: Interval
    hurt: float
    worst_fifth: float


@dataclass(frozen=True)
class Standing:
    """What a schedule came to, or policies that differ in the seed of their training alone.

    Attributes:
        name: of the schedule, or what the policies' names have in common.
        kind: as in the summary.
        policies: names of the policies that this stands for; empty: it is one schedule.
        accuracy: mean test accuracy, percent.
        iqm: interquartile mean over runs, or over policies × tasks, percent.
        iqm_interval: its 95 % interval by a stratified bootstrap.
        against: against the best single constant.
        inner_runs: that a user pays for one result.
        tuning_runs: that were spent before.
        diverged: share of runs.
        tasks: mean test accuracy on each task, percent.
    """

    name: str
    kind: str
    policies: tuple[str, ...]
    accuracy: float
    iqm: float
    iqm_interval: Interval
    against: Pair
    inner_runs: int
    tuning_runs: int
    diverged: float
    tasks: Mapping[str, float]

    @property
    def learned(self) -> bool:
        """Whether it is a policy, or several."""
        return self.kind == LEARNED


@dataclass(frozen=True)
class Evidence:
    """All that follows from the scores.

    Attributes:
        cells: tasks × seeds.
        standings: of all schedules, policies of one group as one, the best first.
        pairs: each policy or group against all who are no plain constant, the strongest first.
    """

    cells: int
    standings: tuple[Standing, ...]
    pairs: tuple[Pair, ...]

    @property
    def enough(self) -> bool:
        """Whether anything can be concluded."""
        return self.cells >= ENOUGH_CELLS

    @property
    def learned(self) -> list[Standing]:
        """Policies and groups of them, the best first."""
        return [item for item in self.standings if item.learned]

    def standing(self, name: str) -> Standing:
        """By name."""
        return next(item for item in self.standings if item.name == name)

    def strongest_rival(self, name: str) -> Pair | None:
        """A policy against the best of those who cost a user no more, and are neither learned nor a grid's constant.

        Nor are they an ablation of a policy, which nobody has without its training.

        The rival is picked by the same test runs, which is in its favour.
        """
        cost = self.standing(name).inner_runs
        return self._best(name, lambda rival: rival.kind != ABLATION and rival.inner_runs <= cost)

    def best_of(self, name: str, others: Collection[str]) -> Pair | None:
        """A policy against the best of some, picked by the same test runs; None if none of them took part."""
        return self._best(name, lambda rival: rival.name in others)

    def of_policy(self, name: str, ablation: str) -> Pair | None:
        """A policy against an ablation of itself; None if that did not take part."""
        return self.best_of(name, [f"{ablation}:{name.removeprefix(f'{LEARNED}:')}"])

    def _best(self, name: str, wanted: Callable[[Standing], bool]) -> Pair | None:
        fair = [
            pair
            for pair in self.pairs
            if pair.name == name and not (rival := self.standing(pair.other)).learned and wanted(rival)
        ]
        return max(fair, key=lambda pair: self.standing(pair.other).accuracy, default=None)


def weigh(found: Findings, scores: Callable[[str], Array]) -> Evidence:
    """What the scores say.

    Args:
        found: the summary of the schedules.
        scores: test accuracies of a schedule, ``[tasks, seeds]`` in percent.
    """
    groups = seed_groups([*found.of_kind(LEARNED), *found.of_kind(ABLATION)])
    grouped = {name for members in groups.values() for name in members}
    units: dict[str, tuple[str, ...]] = {name: () for name in found.schedules if name not in grouped}
    units |= {stem: tuple(sorted(members)) for stem, members in groups.items()}
    tables = {name: _table(name, members, scores) for name, members in units.items()}
    standings = [_standing(name, members, found, tables) for name, members in units.items()]
    standings.sort(key=lambda item: -item.accuracy)
    rivals = [item for item in standings if item.kind != CONSTANT or item.name == NO_PENALTY]
    pairs = [
        _pair(item.name, other.name, tables)
        for item in standings
        if item.learned
        for other in rivals
        if other.name != item.name and (other.kind != ABLATION or _is_of(other.name, item.name))
    ]
    return Evidence(tables[BEST_SINGLE].size, tuple(standings), tuple(pairs))


def _is_of(ablation: str, policy: str) -> bool:
    """Whether an ablation is one of this policy, or group of policies."""
    return ablation.partition(":")[2] == policy.removeprefix(f"{LEARNED}:")


def _table(name: str, members: tuple[str, ...], scores: Callable[[str], Array]) -> Array:
    """``[policies, tasks, seeds]``; one policy for a schedule."""
    return np.stack([scores(member) for member in members or (name,)])


def _runs(table: Array) -> Array:
    """``[tasks, runs]``: the seeds of one policy, or policies with their seeds averaged."""
    return table[0] if len(table) == 1 else table.mean(2).T


def _pair(name: str, other: str, tables: Mapping[str, Array]) -> Pair:
    ours, theirs = tables[name], tables[other]
    # An ablation is set against its own policy, which leaves out what policies differ by.
    differences = ours - (theirs if _is_of(other, name) else theirs.mean(0))
    per_run = differences.mean(0)
    return Pair(
        name,
        other,
        float(differences.mean()),
        replicated(differences),
        probability_of_improvement(_runs(ours), _runs(theirs)),
        probability_interval(_runs(ours), _runs(theirs), np.random.default_rng(_SEED)),
        share_hurt(per_run),
        conditional_value_at_risk(per_run),
    )


def _standing(name: str, members: tuple[str, ...], found: Findings, tables: Mapping[str, Array]) -> Standing:
    table = tables[name]
    of = [found.schedules[member] for member in members or (name,)]
    return Standing(
        name=name,
        kind=of[0].kind,
        policies=members,
        accuracy=float(table.mean()),
        iqm=interquartile_mean(_runs(table)),
        iqm_interval=iqm_interval(_runs(table), np.random.default_rng(_SEED)),
        against=_pair(name, BEST_SINGLE, tables),
        inner_runs=round(sum(item.inner_runs for item in of) / len(of)),
        tuning_runs=of[0].tuning_runs,
        diverged=sum(item.diverged for item in of) / len(of),
        tasks={task: float(np.mean([item.tasks[task] for item in of])) for task in found.tasks},
    )
