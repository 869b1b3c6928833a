"""A knob: a number that a policy may move while a network trains, such as λ."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lambda_rl.checks import bounded, shown

LAM = "lam"
"""Name of the knob that is λ, the strength of the penalty."""

LARGEST_LOG = 30.0
"""Knobs lie within 10 to the power of ± this."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class Knob:
    """One number under a policy's control: its name, its range, and how far one decision may move it.

    The scale is logarithmic, to base 10.

    Attributes:
        name: 1 to 64 letters, digits, ``_``, ``.`` or ``-``; :data:`LAM` is λ.
        log_low: log₁₀ of the smallest value, -30 or more.
        log_high: log₁₀ of the largest value, 30 or less.
        max_change: what an action of 1 adds to the logarithm, in decades; above 0, 60 or less.

    Raises:
        ValueError: a number outside of these, a range that is reversed or empty, or another name.
    """

    name: str
    log_low: float
    log_high: float
    max_change: float

    def __post_init__(self) -> None:
        """Checks all, and makes the numbers floats."""
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ValueError(
                f"a knob's name must be 1 to 64 letters, digits, '_', '.' or '-', got {shown(self.name)}"
            )
        knob = f"knob {self.name}"
        low = bounded(f"{knob}: log10 of its smallest value", self.log_low, -LARGEST_LOG, LARGEST_LOG)
        high = bounded(f"{knob}: log10 of its largest value", self.log_high, -LARGEST_LOG, LARGEST_LOG)
        change = bounded(f"{knob}: max_change (decades)", self.max_change, 0.0, 2 * LARGEST_LOG)
        if low >= high:
            raise ValueError(f"{knob}: range reversed or empty: log_low={low} must be below log_high={high}")
        if change == 0:
            raise ValueError(f"{knob}: max_change must be positive (decades per decision), got 0")
        for field, number in (("log_low", low), ("log_high", high), ("max_change", change)):
            object.__setattr__(self, field, number)
