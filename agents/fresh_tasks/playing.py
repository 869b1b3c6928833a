"""Constants of κ and any number of policies on one task, side by side, with common random numbers."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lambda_rl import ControlLaw, Policy
from lambda_rl.agents.warm_start.curves import LOG_KAPPAS
from lambda_rl.agents.warm_start.episodes import Array, Episodes, Exploration, Observations
from lambda_rl.agents.warm_start.players import Job, Players


@dataclass(frozen=True, eq=False)
class SideBySide:
    """An actor of which each row is another policy; rows of constants come first.

    Attributes:
        policies: one a row.
        features: that are observed, in their order.
        max_change: decades of the control law that all rows have in common: the longest step of any policy.
    """

    policies: tuple[Policy, ...]
    features: tuple[str, ...]
    max_change: float

    def __call__(self, observations: Observations) -> Array:
        """The actions, in units of the common step."""
        actions, first = np.zeros(len(observations)), len(observations) - len(self.policies)
        for row, (policy, columns, step) in enumerate(self._readers, first):
            actions[row] = step * float(policy.act(observations[row, columns])[0])
        return actions

    @functools.cached_property
    def _readers(self) -> list[tuple[Policy, list[int], float]]:
        """Each policy, the columns that it reads, and its step in units of the common one."""
        return [
            (
                policy,
                [self.features.index(name) for name in policy.card.features],
                policy.card.knobs[0].max_change / self.max_change,
            )
            for policy in self.policies
        ]


def common(policies: Sequence[Policy]) -> tuple[tuple[str, ...], ControlLaw]:
    """What is observed, and the control law, such that all of them can be played."""
    features = tuple(dict.fromkeys(name for policy in policies for name in policy.card.features))
    (knob,) = policies[0].card.knobs
    longest = max(policy.card.knobs[0].max_change for policy in policies)
    return features, ControlLaw(knob.log_low, knob.log_high, longest)


def still(count: int) -> Exploration:
    """Copies that none leaves its way."""
    return Exploration(copies=count, offset=0.0, noise=0.0)


def played(players: Players, actor: SideBySide, seed: int, numbers: Sequence[int]) -> Iterator[Episodes]:
    """The tasks of these numbers, each drawn by the seed and its number, in their order.

    Args:
        players: on a stage with :func:`common` features and control, and :func:`still` copies.
        actor: of all policies.
        seed: of tasks.
        numbers: of tasks.
    """
    jobs = [Job((seed, number), constants=LOG_KAPPAS, copies=len(actor.policies)) for number in numbers]
    yield from players.begin(jobs, actor)()
