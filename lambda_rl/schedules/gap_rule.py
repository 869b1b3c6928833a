"""The gap rule: the feedback schedule that people write by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch.optim import Optimizer

from lambda_rl.arguments import real_number
from lambda_rl.schedules.base import Schedule, checked_range


class GapRule(Schedule):
    """Raises λ where the network overfits, lowers it where it does not (Lu 2017, section 5).

    The paper moves λ up if train accuracy is "significantly higher" than validation accuracy, and down if it
    is "very close to or lower"; it gives no numbers. Here: gap = train - validation accuracy; λ · ``factor``
    if the gap is above ``threshold``, λ / ``factor`` if it is below ``low_threshold``, and no change between,
    or if an accuracy is missing or not finite.

    Args:
        initial: λ of the first interval; clipped to ``lam_range``.
        factor: above 1.
        threshold: gap above which the network overfits, as a fraction of examples.
        low_threshold: gap below which it does not; at most ``threshold``; None: a quarter of ``threshold``.
        optimizer: see :class:`~lambda_rl.schedules.base.Schedule`, as the next one.
        total_steps: not needed (progress is only recorded).
        lam_range: smallest and largest λ; the smallest must be above 0.

    Raises:
        ValueError: a number outside of what is said above.
    """

    needs_progress = False

    def __init__(
        self,
        initial: float = 0.01,
        factor: float = 2.0,
        threshold: float = 0.05,
        low_threshold: float | None = None,
        optimizer: Optimizer | Sequence[Optimizer] | None = None,
        *,
        total_steps: int | None = None,
        lam_range: tuple[float, float] = (1e-6, 1e1),
    ) -> None:
        name = "gap rule: {} (λ moves by factors)".format
        initial = real_number(name("initial"), initial, more=True)
        self.factor = real_number("gap rule: factor", factor, 1.0, more=True)
        self.threshold = real_number("gap rule: threshold", threshold, -math.inf)
        self.low_threshold = self.threshold / 4
        if low_threshold is not None:
            self.low_threshold = real_number("gap rule: low_threshold", low_threshold, -math.inf)
        if self.low_threshold > self.threshold:
            raise ValueError(
                f"gap rule: low_threshold must be at most threshold, got {self.low_threshold} and {self.threshold}"
            )
        real_number(name("the smallest λ of lam_range"), checked_range(lam_range)[0], more=True)
        super().__init__(optimizer, total_steps=total_steps, lam_range=lam_range)
        self._config = {
            "initial": initial,
            "factor": self.factor,
            "threshold": self.threshold,
            "low_threshold": self.low_threshold,
            "lam_range": list(self.lam_range),
        }
        self._start(initial)

    def _next(self, progress: float | None, signals: dict[str, float]) -> float:
        gap = signals.get("train_accuracy", math.nan) - signals.get("val_accuracy", math.nan)
        if not math.isfinite(gap):
            self._warn_once("signal", "train or validation accuracy missing or not finite; λ is held")
            return self.value
        if gap > self.threshold:
            return self.value * self.factor
        return self.value / self.factor if gap < self.low_threshold else self.value
