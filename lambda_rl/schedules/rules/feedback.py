"""What feedback rules by hand have in common, and those that need no more than the usual signals."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from lambda_rl.arguments import real_number, whole_number
from lambda_rl.schedules.base import Schedule, checked_range
from lambda_rl.schedules.open_loop import Optimizers


class FeedbackRule(Schedule):
    """A schedule that remembers a few numbers, and may ask for signals that cost something to measure.

    With an optimizer attached a rule measures what it asks for by itself where it can (see
    :mod:`~lambda_rl.schedules.rules.measured`); who trains without one gives them to ``step``. The environment
    measures them at decisions, for the schedules that ask.

    Args:
        optimizer: see :class:`~lambda_rl.schedules.base.Schedule`, as the next two.
        total_steps: optional.
        lam_range: optional.
        config: what a state must agree on.

    Attributes:
        memory: what it remembers of the run, by name.
    """

    asks: ClassVar[tuple[str, ...]] = ()
    """Names of the signals that it needs beside the usual ones, of
    :data:`~lambda_rl.schedules.rules.measured.MEASURED`."""
    needs_progress = False

    def __init__(
        self,
        optimizer: Optimizers,
        total_steps: int | None,
        lam_range: tuple[float, float] | None,
        **config: float | str,
    ) -> None:
        super().__init__(optimizer, total_steps=total_steps, lam_range=lam_range)
        self._config = {**config, "lam_range": list(self.lam_range)}
        self.memory: dict[str, float] = {}

    @property
    def asked(self) -> tuple[str, ...]:
        """Names of the signals that this one asks for, of :attr:`asks`."""
        return self.asks

    def _held(self, missing: str) -> float:
        """The λ in force, for want of a signal; said once."""
        self._warn_once("signal", f"{missing} missing or not finite; λ is held")
        return self.value

    def state_dict(self) -> dict[str, Any]:
        """See :class:`~lambda_rl.schedules.base.Schedule`."""
        return {**super().state_dict(), "memory": dict(self.memory)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :class:`~lambda_rl.schedules.base.Schedule`."""
        super().load_state_dict(state)
        self.memory = {name: float(value) for name, value in state["memory"].items()}


class ProportionalToRate(FeedbackRule):
    """λ · (learning rate over its maximum), so that decay takes off η²·λ/η_max a step (AdamC, SGDC).

    Defazio (2025, arXiv 2506.02285, section 3) derives it for layers that a norm follows; here all weights with decay
    have it. Exact if ``step`` is called after every step of the learning rate scheduler; called at intervals, λ is that
    of their first step.

    Args:
        lam: λ at the largest learning rate, 0 or more.
        optimizer: see :class:`~lambda_rl.schedules.base.Schedule`, as the next two. Its learning rates are read where
            the signal ``lr_ratio`` is not given; make the learning rate scheduler first.
        total_steps: not needed.
        lam_range: optional.
    """

    def __init__(
        self,
        lam: float,
        optimizer: Optimizers = None,
        *,
        total_steps: int | None = None,
        lam_range: tuple[float, float] | None = None,
    ) -> None:
        self.lam = real_number("lam", lam)
        super().__init__(optimizer, total_steps, lam_range, lam=self.lam)
        self._start(self.lam * (1.0 if self.groups is None else self.groups.lr_ratio(peak=True)))

    def _next(self, progress: float | None, signals: dict[str, float]) -> float:
        ratio = signals.get("lr_ratio", math.nan)
        if self.groups is not None and not math.isfinite(ratio):
            ratio = self.groups.lr_ratio(peak=True)
        return self.lam * ratio if ratio >= 0 else self._held("signal lr_ratio")


class Plateau(FeedbackRule):
    """λ times a factor when the validation loss has stopped falling: ``ReduceLROnPlateau`` of torch, for λ.

    A decision is bad if the loss is not below (1 - ``threshold``) of the best so far; after more than ``patience`` bad
    ones in a row λ moves, and counting begins anew.

    Args:
        initial: λ of the first interval, above 0.
        factor: above 0 and not 1; below 1 λ falls on a plateau, above it rises.
        patience: bad decisions that are put up with.
        threshold: share of the best loss that counts as better, 0 or more and below 1.
        optimizer: see :class:`~lambda_rl.schedules.base.Schedule`, as the next one.
        total_steps: not needed.
        lam_range: smallest and largest λ; the smallest must be above 0.
    """

    def __init__(
        self,
        initial: float = 0.01,
        factor: float = 0.3,
        patience: float = 1,
        threshold: float = 1e-4,
        optimizer: Optimizers = None,
        *,
        total_steps: int | None = None,
        lam_range: tuple[float, float] = (1e-6, 1e1),
    ) -> None:
        initial = real_number("plateau: initial", initial, more=True)
        self.factor = real_number("plateau: factor", factor, more=True)
        self.patience = whole_number("plateau: patience", patience, 0)
        self.threshold = real_number("plateau: threshold", threshold)
        if self.factor == 1.0 or self.threshold >= 1.0:
            raise ValueError(
                f"plateau: factor must not be 1 and threshold be below 1, got {factor} and {threshold}"
            )
        real_number("plateau: the smallest λ of lam_range", checked_range(lam_range)[0], more=True)
        super().__init__(
            optimizer, total_steps, lam_range,
            initial=initial, factor=self.factor, patience=self.patience, threshold=self.threshold,
        )  # fmt: skip
        self.memory = {"bad": 0.0}
        self._start(initial)

    def _next(self, progress: float | None, signals: dict[str, float]) -> float:
        loss = signals.get("val_loss", math.nan)
        if not math.isfinite(loss):
            return self._held("val_loss")
        if loss < self.memory.get("best", math.inf) * (1.0 - self.threshold):
            self.memory = {"best": loss, "bad": 0.0}
            return self.value
        self.memory["bad"] += 1.0
        if self.memory["bad"] <= self.patience:
            return self.value
        self.memory["bad"] = 0.0
        return self.value * self.factor
