"""What a result costs, with and without what was spent before the first one: on tuning, or on training a policy."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lambda_rl.agents.comparison.evidence.weighing import Evidence, Standing
from lambda_rl.agents.comparison.results import ABLATION, CONSTANT, ORACLE

USES = (1, 10, 100, 1_000, 10_000)
"""Results that the cost before is shared out among."""


@dataclass(frozen=True)
class Cost:
    """What a schedule costs, in inner runs.

    Attributes:
        name: of the schedule.
        accuracy: mean test accuracy, percent.
        a_result: for one result, when all is ready.
        before: spent before the first; None: it is not known.
        shared: for one result, if so many are had as :data:`USES` says; empty where ``before`` is not known.
        pays_from: results from which on it is cheaper than the search that it is set against; None: never, or not
            known.
    """

    name: str
    accuracy: float
    a_result: int
    before: int | None
    shared: tuple[float, ...]
    pays_from: int | None


def pays_from(before: int, a_result: int, other: int) -> int | None:
    """Results from which on a schedule is cheaper than another that costs so many runs each and none before.

    Args:
        before: runs spent before the first result.
        a_result: runs for a result.
        other: runs that the other takes for one.

    Returns:
        The smallest number; None: there is none.
    """
    if a_result >= other:
        return None
    return math.floor(before / (other - a_result)) + 1


def costs(evidence: Evidence) -> list[Cost]:
    """Costs of all who could be had, the most accurate first, set against a search over the grid of constants."""
    search = evidence.standing(ORACLE).inner_runs
    return [
        _cost(item, search)
        for item in evidence.standings
        if item.kind not in (CONSTANT, ABLATION) and item.name != ORACLE
    ]


def _cost(item: Standing, other: int) -> Cost:
    before = None if item.learned and not item.tuning_runs else item.tuning_runs
    if before is None:
        return Cost(item.name, item.accuracy, item.inner_runs, None, (), None)
    shared = tuple(before / uses + item.inner_runs for uses in USES)
    return Cost(
        item.name, item.accuracy, item.inner_runs, before, shared, pays_from(before, item.inner_runs, other)
    )
