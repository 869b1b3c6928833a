"""The control law: how an action in [-1, 1] moves λ. Training and deployment both use this one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lambda_rl.knobs import KAPPA, LAM, UNITS, Knob
from lambda_rl.ops import V, ops_of


def _value(given: Any) -> Any:
    """A plain number as it is, anything else as an array."""
    return given if type(given) is float else np.asarray(given, np.float64)


@dataclass(frozen=True)
class ControlLaw:
    """A bounded change of log₁₀ λ, within a range.

    All methods take plain floats and give one, or arrays of any shape (float64).

    The law may be that of κ = λ · Σ learning rate in place of λ. Its range is then that of κ, and ``offset``, log₁₀ of
    the sum, says where λ lies: log₁₀ κ = log₁₀ λ + offset.

    Attributes:
        log_lam_min: log₁₀ of the smallest λ.
        log_lam_max: log₁₀ of the largest λ.
        max_change: what an action of 1 adds to log₁₀ λ, in decades.

    Raises:
        ValueError: the range is reversed, empty, not finite or beyond what a :class:`~lambda_rl.knobs.Knob` may have,
            or ``max_change`` is not positive.
    """

    log_lam_min: float = -5.0
    log_lam_max: float = 0.5
    max_change: float = 0.5

    def __post_init__(self) -> None:
        """Checks the three numbers."""
        if not all(
            abs(number) < math.inf for number in (self.log_lam_min, self.log_lam_max, self.max_change)
        ):
            raise ValueError(f"control law: all numbers must be finite, got {self}")
        if self.log_lam_min >= self.log_lam_max:
            raise ValueError(
                f"λ range reversed or empty: log_lam_min={self.log_lam_min} must be below "
                f"log_lam_max={self.log_lam_max}"
            )
        if self.max_change <= 0:
            raise ValueError(f"max_change must be positive (decades per decision), got {self.max_change}")
        _ = self.knob  # refuses numbers out of bounds

    @property
    def knob(self) -> Knob:
        """The knob that is λ, under this law."""
        return Knob(LAM, self.log_lam_min, self.log_lam_max, self.max_change)

    @classmethod
    def from_knob(cls, knob: Knob) -> ControlLaw:
        """The law of one knob, whatever its name; "λ" then stands for the knob's value."""
        return cls(knob.log_low, knob.log_high, knob.max_change)

    def knob_of(self, unit: str) -> Knob:
        """The knob of another name under this law, such as :data:`~lambda_rl.knobs.KAPPA`."""
        return replace(self.knob, name=unit)

    def clip(self, log_lam: V, offset: Any = 0.0) -> V:
        """Brings log₁₀ λ into the range.

        Args:
            log_lam: log₁₀ of λ.
            offset: log₁₀ κ - log₁₀ λ, where the range is that of κ.
        """
        moved = _value(log_lam) + offset
        clipped: V = ops_of(moved).clip(moved, self.log_lam_min, self.log_lam_max) - offset
        return clipped

    def apply(self, log_lam: V, action: V, offset: Any = 0.0) -> V:
        """The next log₁₀ λ.

        Args:
            log_lam: log₁₀ of the λ in force.
            action: alike; clipped to [-1, 1]; a NaN counts as 0 (hold λ).
            offset: log₁₀ κ - log₁₀ λ, where the range is that of κ.

        Returns:
            log₁₀ of the next λ, within the range.
        """
        log_lam, action = _value(log_lam), _value(action)
        ops = ops_of(action)
        change = self.max_change * ops.clip(ops.if_nan(action, 0.0), -1.0, 1.0)
        return self.clip(log_lam + change, offset)

    def position(self, log_lam: V) -> V:
        """Where log₁₀ λ lies in its range, from -1 (smallest) to 1 (largest)."""
        span = self.log_lam_max - self.log_lam_min
        return 2.0 * (_value(log_lam) - self.log_lam_min) / span - 1.0


KAPPA_LAW = ControlLaw(-2.0, 2.2, 0.5)
"""The law of κ, for those who name none: the best constants of runs of many kinds lie between 0 and 100."""


def law_of(unit: str) -> ControlLaw:
    """The law for those who name none.

    Args:
        unit: one of :data:`lambda_rl.knobs.UNITS`.

    Raises:
        ValueError: there is no such unit.
    """
    if unit not in UNITS:
        raise ValueError(f"unknown unit {unit!r}; allowed: {', '.join(UNITS)}")
    return KAPPA_LAW if unit == KAPPA else ControlLaw()
