"""Rivals against policies that differ in the seed of their training alone: what another training would have given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lambda_rl.agents.comparison.evidence.policies import replicated, seed_groups
from lambda_rl.agents.comparison.statistics import Array
from lambda_rl.agents.foreign.summary import HARD, ORACLE, Table
from lambda_rl.agents.foreign.task import ForeignTask


@dataclass(frozen=True)
class AgainstAgents:
    """A rival, and the policies against it.

    Attributes:
        name: of the rival.
        kind: see :class:`~.summary.Standing`.
        ahead: the policies' mean accuracy minus this one's, points.
        interval: 95 %, Student's t over policies.
        ahead_else: the same without grokking.
        interval_else: of that.
        each: of every policy, grokking included.
    """

    name: str
    kind: str
    ahead: float
    interval: tuple[float, float]
    ahead_else: float
    interval_else: tuple[float, float]
    each: tuple[float, ...]


@dataclass(frozen=True)
class Agents:
    """Policies, and rivals against them.

    Attributes:
        names: of the policies.
        tasks: how many count: those that all of them have run.
        regrets: to the oracle constant, of each, points.
        against: of each rival, in the order in which they were given.
    """

    names: tuple[str, ...]
    tasks: int
    regrets: tuple[float, ...]
    against: tuple[AgainstAgents, ...]


def without_hard(tasks: Sequence[ForeignTask]) -> list[bool]:
    """Which tasks are none of grokking; all, if there are no others."""
    easy = [task.family != HARD for task in tasks]
    return easy if any(easy) else [True] * len(easy)


def against_agents(table: Table, rivals: Iterable[tuple[str, str]]) -> Agents | None:
    """What the rows of a table say; None if it has no policies of several seeds.

    Args:
        table: of rivals and policies.
        rivals: names and kinds.

    Raises:
        ValueError: it has several groups of such policies, or they share no task.
    """
    groups = seed_groups(table.policies())
    if not groups:
        return None
    if len(groups) > 1:
        raise ValueError(f"these are policies of {' and of '.join(groups)}; one group of agents is compared")
    (names,) = groups.values()
    tasks = [task for task in table.tasks if all(len(table.of(task, name)) for name in names)]
    if not tasks:
        raise ValueError(f"no task has rows of all of {', '.join(names)}")

    def scores(name: str) -> Array:
        return np.stack([table.of(task, name) for task in tasks])

    ours, easy = np.stack([scores(name) for name in names]), without_hard(tasks)
    regrets = (scores(ORACLE) - ours).mean((1, 2))
    return Agents(
        tuple(names),
        len(tasks),
        tuple(regrets.tolist()),
        tuple(_against(name, kind, ours - scores(name), easy) for name, kind in rivals),
    )


def _against(name: str, kind: str, ahead: Array, easy: Sequence[bool]) -> AgainstAgents:
    """Of differences ``[policies, tasks, seeds]``."""
    other = ahead[:, easy]
    return AgainstAgents(
        name,
        kind,
        float(ahead.mean()),
        replicated(ahead),
        float(other.mean()),
        replicated(other),
        tuple(ahead.mean((1, 2)).tolist()),
    )
