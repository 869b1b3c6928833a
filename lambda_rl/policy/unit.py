"""What a policy moves, λ or the decay budget κ, in terms of the λ of one run."""

from __future__ import annotations

import math

from lambda_rl.arguments import whole_number
from lambda_rl.knobs import KAPPA
from lambda_rl.policy.actor import Policy


def declared_steps(policy: Policy, total_steps: int | None, horizon: int | None) -> int | None:
    """The steps that a run is said to have, or may have.

    Args:
        policy: that is to act in it.
        total_steps: the steps of the run.
        horizon: a guess of them.

    Raises:
        ValueError: both are given, the policy does not move κ and so needs to know, or the guess is not 1 or more.
    """
    if horizon is None:
        return total_steps
    if total_steps is not None:
        raise ValueError("give total_steps= or horizon=, which is a guess of them, not both")
    if policy.card.unit != KAPPA:
        raise ValueError(f"horizon= is for policies that move {KAPPA}, this one moves λ; give total_steps=")
    return whole_number("horizon", horizon)


class Unit:
    """The unit of a policy in a run.

    Args:
        policy: its card names the unit, and has its range.
        decay_sum: what λ is multiplied by to give κ, see :class:`lambda_rl.RunFacts`.
        factor: what the policy's λ is multiplied by in this run.

    Attributes:
        offset: log₁₀ κ - log₁₀ λ where the unit is κ; else 0.
    """

    def __init__(self, policy: Policy, decay_sum: float, factor: float) -> None:
        self._law, self._factor = policy.card.control, factor
        self.offset = math.log10(decay_sum) if policy.card.unit == KAPPA else 0.0

    def lam_range(self) -> tuple[float, float]:
        """The range of the run's λ, wider by a hair than rounded powers of ten: clipping alters no λ of the law."""
        low, high = (10.0 ** (end - self.offset) for end in (self._law.log_lam_min, self._law.log_lam_max))
        return low * self._factor * (1 - 1e-12), high * self._factor * (1 + 1e-12)

    def first(self, start: float | None, *, told: bool) -> float:
        """log₁₀ of the policy's λ that the first decision changes.

        Args:
            start: a value of the unit; None: the middle of its range.
            told: it is a λ of this run instead.
        """
        if start is None:
            return 0.5 * (self._law.log_lam_min + self._law.log_lam_max) - self.offset
        if told:
            return self._law.clip(math.log10(max(start / self._factor, 1e-300)), self.offset)
        return self._law.clip(math.log10(start) - self.offset, self.offset)

    def clip(self, log_lam: float) -> float:
        """log₁₀ of the policy's λ within its range."""
        return self._law.clip(log_lam, self.offset)

    def after(self, log_lam: float, action: float) -> float:
        """log₁₀ of the policy's next λ, by the control law."""
        return self._law.apply(log_lam, action, self.offset)
