"""Feedback rules that look at gradients: Ghiasi's adaptive decay, stable decay, and the gradient with respect to λ."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from lambda_rl.arguments import real_number
from lambda_rl.observation.facts import RunFacts
from lambda_rl.schedules.base import checked_range
from lambda_rl.schedules.open_loop import Optimizers
from lambda_rl.schedules.rules.feedback import FeedbackRule
from lambda_rl.schedules.rules.measured import gradient_norm, second_moment

MOST = 1e1
"""The largest λ that the rules of this file ask for unless they are told another: a vanishing gradient or weight would
send it to infinity."""

NEW = 0.9
"""Weight of what is measured now in the mean of adaptive decay."""


class AdaptiveDecay(FeedbackRule):
    """λ_t = rate · ‖∇L‖ / ‖w‖ over all weights with decay; in force is the mean λ̄ ← 0.1·λ̄ + 0.9·λ_t.

    Ghiasi, Shafahi & Ardekani (NeurIPS 2023, "Improving robustness with adaptive weight decay", algorithm 1). Theirs is
    measured at each step; here at each call.

    Args:
        rate: 0 or more; 0.016 to 0.022 in the paper.
        optimizer: see :class:`~lambda_rl.schedules.base.Schedule`, as the next two. Gradients that its parameters have
            when ``step`` is called are taken where the signal ``grad_norm`` is not given.
        total_steps: not needed.
        lam_range: smallest and largest λ.
    """

    asks: ClassVar[tuple[str, ...]] = ("grad_norm",)

    def __init__(
        self,
        rate: float,
        optimizer: Optimizers = None,
        *,
        total_steps: int | None = None,
        lam_range: tuple[float, float] = (0.0, MOST),
    ) -> None:
        self.rate = real_number("adaptive decay: rate", rate)
        super().__init__(optimizer, total_steps, lam_range, rate=self.rate)
        self.memory = {"mean": 0.0}
        self._start(0.0)  # nothing is known of the gradient yet

    def _next(self, progress: float | None, signals: dict[str, float]) -> float:
        gradient, norm = (signals.get(name, math.nan) for name in ("grad_norm", "weight_norm"))
        if self.groups is not None:
            gradient = gradient_norm(self.groups.weights()) if math.isnan(gradient) else gradient
            norm = self.groups.norms()[0] if math.isnan(norm) else norm
        if not (0 <= gradient < math.inf and 0 < norm < math.inf):
            return self._held("gradient (signal grad_norm) or norm of the weights (signal weight_norm)")
        mean = (1.0 - NEW) * self.memory["mean"] + NEW * self.rate * gradient / norm
        if math.isfinite(mean):
            self.memory["mean"] = mean
        return mean


class StableDecay(FeedbackRule):
    """λ_t = λ / √v̄, v̄ the mean over all parameters of Adam's second moment, corrected for its bias (SWD, AdamS).

    Xie, Xu, Zhang, Sato & Sugiyama (NeurIPS 2023, "On the overlooked pitfalls of weight decay"). Of an optimizer
    without a second moment it is a constant, as theirs is for SGD but for the factor 1/(1 - momentum).

    Args:
        lam: λ where √v̄ is 1, 0 or more.
        optimizer: see :class:`~lambda_rl.schedules.base.Schedule`, as the next two. Its second moment is read where the
            signal ``second_moment`` is not given.
        total_steps: not needed.
        lam_range: smallest and largest λ.
    """

    asks: ClassVar[tuple[str, ...]] = ("second_moment",)

    def __init__(
        self,
        lam: float,
        optimizer: Optimizers = None,
        *,
        total_steps: int | None = None,
        lam_range: tuple[float, float] = (0.0, MOST),
    ) -> None:
        self.lam = real_number("stable decay: lam", lam)
        super().__init__(optimizer, total_steps, lam_range, lam=self.lam)
        self._start(self.lam)

    def _next(self, progress: float | None, signals: dict[str, float]) -> float:
        moment = signals.get("second_moment", math.nan)
        if self.groups is not None and math.isnan(moment):
            moment = second_moment(self.groups.optimizers)
        return stable_lam(self.lam, moment) if moment > 0 else self.value


def stable_lam(lam: float, moment: float, epsilon: float = 1e-8) -> float:
    """λ of a step of AdamS: λ / (√v̄ + ε).

    Args:
        lam: the user's.
        moment: v̄, see :func:`~lambda_rl.schedules.rules.measured.second_moment`.
        epsilon: of the optimizer.
    """
    return lam / (math.sqrt(moment) + epsilon)


SIDES = ("val", "train")


class Hypergradient(FeedbackRule):
    """log λ goes down the gradient of a loss with respect to it: T1–T2 (Luketina et al. 2016, arXiv 1511.06727).

    A step w' = w - η(∇L + λw) has dL_val(w')/d log λ = -ηλ⟨∇L_val(w'), w⟩, and so, to first order, an interval with Σ η
    for η. Then log λ ← log λ + rate · Σηλ · ⟨∇L_val, w⟩, at most by a decade. On the loss of ``val`` this is T1–T2; on
    that of ``train`` it is the warning: training loss alone wants no decay, so λ falls to its lower end.

    Args:
        initial: λ of the first interval, above 0.
        rate: of the descent, 0 or more.
        on: "val", which needs the signal ``val_pull``, or "train", with ``train_pull``; a plain loop has them from
            ``pull(schedule.groups.weights())`` after the backward pass of that loss.
        optimizer: see :class:`~lambda_rl.schedules.base.Schedule`, as the next two.
        total_steps: needed unless ``facts`` are given.
        lam_range: smallest and largest λ; the smallest must be above 0.
        facts: of the run; its sum of learning rates is taken to be spread evenly.
    """

    needs_progress = True
    asks: ClassVar[tuple[str, ...]] = tuple(f"{side}_pull" for side in SIDES)

    def __init__(
        self,
        initial: float = 0.01,
        rate: float = 1.0,
        on: str = "val",
        optimizer: Optimizers = None,
        *,
        total_steps: int | None = None,
        lam_range: tuple[float, float] = (1e-6, MOST),
        facts: RunFacts | None = None,
    ) -> None:
        initial = real_number("hypergradient: initial", initial, more=True)
        self.rate = real_number("hypergradient: rate", rate)
        if on not in SIDES:
            raise ValueError(f"hypergradient: on must be one of {', '.join(SIDES)}, got {on!r}")
        real_number("hypergradient: the smallest λ of lam_range", checked_range(lam_range)[0], more=True)
        self.on = on
        super().__init__(optimizer, total_steps, lam_range, initial=initial, rate=self.rate, on=on)
        self._lr_sum = 1.0 if facts is None else facts.decay_sum
        if facts is None and self.groups is not None and self.total_steps is not None:
            self._lr_sum = self.groups.lr_sum(self.total_steps)
        self.memory = {"progress": 0.0}
        self._start(initial)

    @property
    def asked(self) -> tuple[str, ...]:
        """See :class:`~lambda_rl.schedules.rules.feedback.FeedbackRule`."""
        return (f"{self.on}_pull",)

    def _next(self, progress: float | None, signals: dict[str, float]) -> float:
        assert progress is not None  # needs_progress
        share, self.memory["progress"] = progress - self.memory["progress"], progress
        along = signals.get(f"{self.on}_pull", math.nan)
        if not math.isfinite(along):
            return self._held(f"signal {self.on}_pull")
        move = self.rate * self._lr_sum * max(share, 0.0) * self.value * along
        return self.value * 10.0 ** min(max(move / math.log(10.0), -1.0), 1.0)

    def _agreed(self) -> dict[str, Any]:
        return {**super()._agreed(), "lr_sum": self._lr_sum}
