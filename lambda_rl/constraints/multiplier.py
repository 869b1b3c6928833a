"""The multiplier of one constraint, and the rule that moves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lambda_rl.arguments import real_number
from lambda_rl.checks import shown


@dataclass(frozen=True)
class Ascent:
    """How a multiplier λ follows the violation g of its constraint.

    With m and ξ of the last step and [·] for "clipped to 0 … ``max_multiplier``"::

        m ← momentum · m + g                          velocity
        I ← [I + lr · m]                              integral
        ξ ← smoothing · ξ + (1 - smoothing) · g       smoothed violation
        λ ← [I + lr · kp · ξ]

    ``kp = 0`` is projected gradient ascent on the dual. ``kp > 0`` is the ν-PI controller of Sohrabi et al. ("On PI
    controllers for updating Lagrange multipliers in constrained optimization", 2024), ν being ``smoothing``, in the
    form of Stooke et al. ("Responsive safety in reinforcement learning by PID Lagrangian methods", 2020), where the
    integral is clipped on its own: ν-PI adds the *change* of ξ to a λ that was clipped, so that under a noisy g
    the multiplier of a constraint that holds stays above 0. As long as nothing is clipped, both are the same.

    Attributes:
        lr: step size.
        momentum: in (-1, 1); negative momentum damps (Gidel et al., 2019).
        kp: proportional gain, in units of ``lr``: how far λ answers to the violation of now.
        smoothing: in [0, 1).
        max_multiplier: largest λ.

    Raises:
        ValueError: a number is out of range.
    """

    lr: float
    momentum: float
    kp: float
    smoothing: float
    max_multiplier: float

    def __post_init__(self) -> None:
        real_number("lr", self.lr, more=True)
        real_number("kp", self.kp)
        real_number("max_multiplier", self.max_multiplier, more=True)
        if not -1 < real_number("momentum", self.momentum, -1.0) < 1:
            raise ValueError(f"momentum must be above -1 and below 1, got {shown(self.momentum)}")
        if real_number("smoothing", self.smoothing) >= 1:
            raise ValueError(f"smoothing must be 0 or more and below 1, got {shown(self.smoothing)}")


class Multiplier:
    """λ of one constraint, a tensor of the constraint's shape, in float64 on the CPU.

    Args:
        shape: of the constraint.
        ascent: the rule.
    """

    PARTS = ("value", "integral", "velocity", "smoothed")

    def __init__(self, shape: Sequence[int], ascent: Ascent) -> None:
        self._ascent = ascent
        self.value = torch.zeros(tuple(shape), dtype=torch.float64)
        self.integral = self.value.clone()
        self.velocity = torch.zeros_like(self.value)
        self.smoothed = torch.zeros_like(self.value)

    def step(self, violation: Tensor) -> None:
        """One step along a violation of the multiplier's shape."""
        rule = self._ascent
        self.velocity = rule.momentum * self.velocity + violation
        wanted = self.integral + rule.lr * self.velocity
        self.integral = self._clipped(wanted)
        # A velocity gathered while λ lay at its bound would hold it there long after the violation turned.
        self.velocity = torch.where(wanted == self.integral, self.velocity, 0.0)
        self.smoothed = rule.smoothing * self.smoothed + (1 - rule.smoothing) * violation
        self.value = self._clipped(self.integral + rule.lr * rule.kp * self.smoothed)

    def at_limit(self, violation: Tensor) -> bool:
        """Whether an entry is as large as it may be and its constraint is violated all the same."""
        return bool(((self.integral >= self._ascent.max_multiplier) & (violation > 0)).any())

    def _clipped(self, value: Tensor) -> Tensor:
        return value.clamp(0.0, self._ascent.max_multiplier)

    def state_dict(self) -> dict[str, Any]:
        """Numbers and lists of numbers."""
        return {part: getattr(self, part).tolist() for part in self.PARTS}

    def read_state(self, state: Any) -> dict[str, Tensor]:
        """The tensors of a state, checked and not yet taken.

        Raises:
            ValueError: something is missing, of another shape, not finite or out of range.
        """
        found = {}
        for part in self.PARTS:
            try:
                value = torch.as_tensor(state[part], dtype=torch.float64)
            except (KeyError, TypeError, ValueError, RuntimeError):
                raise ValueError(f"the state has no numbers {part!r}") from None
            if value.shape != self.value.shape or not value.isfinite().all():
                raise ValueError(f"{part!r} must be finite and of shape {tuple(self.value.shape)}")
            found[part] = value
        for part in ("value", "integral"):
            if not torch.equal(found[part], self._clipped(found[part])):
                raise ValueError(f"{part!r} must lie between 0 and {self._ascent.max_multiplier:g}")
        return found

    def take_state(self, found: dict[str, Tensor]) -> None:
        """Takes what :meth:`read_state` gave."""
        for part, value in found.items():
            setattr(self, part, value)
