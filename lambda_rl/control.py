"""The control law: how an action in [-1, 1] moves λ. Training and deployment both use this one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ControlLaw:
    """A bounded change of log₁₀ λ, within a range.

    Attributes:
        log_lam_min: log₁₀ of the smallest λ.
        log_lam_max: log₁₀ of the largest λ.
        max_change: what an action of 1 adds to log₁₀ λ, in decades.

    Raises:
        ValueError: the range is reversed, empty or not finite, or ``max_change`` is not positive.
    """

    log_lam_min: float = -5.0
    log_lam_max: float = 0.5
    max_change: float = 0.5

    def __post_init__(self) -> None:
        """Checks the three numbers."""
        if not all(map(math.isfinite, (self.log_lam_min, self.log_lam_max, self.max_change))):
            raise ValueError(f"control law: all numbers must be finite, got {self}")
        if self.log_lam_min >= self.log_lam_max:
            raise ValueError(
                f"λ range reversed or empty: log_lam_min={self.log_lam_min} must be below "
                f"log_lam_max={self.log_lam_max}"
            )
        if self.max_change <= 0:
            raise ValueError(f"max_change must be positive (decades per decision), got {self.max_change}")

    def clip(self, log_lam: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Brings log₁₀ λ into the range."""
        # np.clip costs several times as much on arrays of one element
        return np.minimum(np.maximum(np.asarray(log_lam, np.float64), self.log_lam_min), self.log_lam_max)

    def apply(self, log_lam: npt.ArrayLike, action: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The next log₁₀ λ.

        Args:
            log_lam: log₁₀ of the λ in force, any shape.
            action: same shape; clipped to [-1, 1]; a NaN counts as 0 (hold λ).

        Returns:
            log₁₀ of the next λ, float64, within the range.
        """
        change = np.asarray(action, np.float64)
        change = np.minimum(np.maximum(np.where(np.isnan(change), 0.0, change), -1.0), 1.0)
        return self.clip(np.asarray(log_lam, np.float64) + self.max_change * change)

    def position(self, log_lam: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Where log₁₀ λ lies in its range, from -1 (smallest) to 1 (largest)."""
        span = self.log_lam_max - self.log_lam_min
        return 2.0 * (np.asarray(log_lam, np.float64) - self.log_lam_min) / span - 1.0
