"""What feedback adds: a policy's accuracy minus that of λ that does not look, and how far agent seeds lie apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lambda_rl.agents.comparison.evidence import seed_groups
from lambda_rl.agents.comparison.statistics import bootstrap_interval
from lambda_rl.agents.foreign.feedback.replay import REPLAYED
from lambda_rl.agents.foreign.feedback.static import LAW, SUGGESTED

Array = npt.NDArray[np.float64]

Scores = Callable[[str, str], Array]
"""(task, contestant) → accuracies by seed, percent; empty if they are not all there."""


@dataclass(frozen=True)
class Difference:
    """A policy against one that does not look at the run, with the same tasks and seeds.

    Attributes:
        policy: its name.
        other: a replay, the law of static facts, or the suggested constant.
        tasks: that both have run with all seeds.
        mean: the policy's accuracy minus the other's, points.
        interval: 95 %, by a bootstrap over tasks, then seeds.
    """

    policy: str
    other: str
    tasks: int
    mean: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class AgentSeeds:
    """Policies that differ in the seed of their training alone, by name: such as any-loop-seed0.

    Attributes:
        name: what they have in common.
        tasks: that all of them have run with all seeds.
        regrets: mean regret of each over these tasks, points.
    """

    name: str
    tasks: int
    regrets: dict[str, float]

    @property
    def spread(self) -> float:
        """From the best to the worst."""
        return max(self.regrets.values()) - min(self.regrets.values())


def is_policy(name: str, fingerprint: str) -> bool:
    """Whether a contestant looks at the run and was learned."""
    return bool(fingerprint) and name not in (LAW, SUGGESTED) and not name.startswith(REPLAYED)


def differences(policies: Sequence[str], tasks: Sequence[str], scores: Scores) -> tuple[Difference, ...]:
    """Each policy against its own replay, the law and the suggested constant, where there are both.

    Args:
        policies: names.
        tasks: names.
        scores: of all.
    """
    pairs = ((policy, other) for policy in policies for other in (REPLAYED + policy, LAW, SUGGESTED))
    found = (_difference(policy, other, tasks, scores) for policy, other in pairs)
    return tuple(one for one in found if one is not None)


def agent_seeds(
    policies: Sequence[str], tasks: Sequence[str], scores: Scores, oracle: Mapping[str, Array]
) -> tuple[AgentSeeds, ...]:
    """Groups of two or more policies whose names differ in the number behind ``-seed`` alone.

    Args:
        policies: names.
        tasks: names.
        scores: of all.
        oracle: accuracies of the best constant of each task.
    """
    found = []
    for stem, names in seed_groups(policies).items():
        shared = [task for task in tasks if all(len(scores(task, name)) for name in names)]
        if shared:
            regrets = {
                name: float(np.mean([(oracle[task] - scores(task, name)).mean() for task in shared]))
                for name in names
            }
            found.append(AgentSeeds(stem, len(shared), regrets))
    return tuple(found)


def _difference(policy: str, other: str, tasks: Sequence[str], scores: Scores) -> Difference | None:
    rows = [(scores(task, policy), scores(task, other)) for task in tasks]
    table = [ours - theirs for ours, theirs in rows if len(ours) and len(theirs)]
    if not table:
        return None
    interval = bootstrap_interval(np.stack(table), np.random.default_rng(0), unit="tasks")
    return Difference(policy, other, len(table), float(np.mean(table)), interval)
