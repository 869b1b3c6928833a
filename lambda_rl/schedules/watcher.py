"""What a policy watches between two decisions: the signals given, the weights measured, the mean over ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lambda_rl.arguments import real_number
from lambda_rl.attach.distributed import Ranks
from lambda_rl.attach.groups import DecayGroups
from lambda_rl.knobs import KAPPA
from lambda_rl.observation import Signals
from lambda_rl.observation.collector import Collector, Number
from lambda_rl.policy.card import PolicyCard

WATCHED = (
    "train_loss",
    "val_loss",
    "train_accuracy",
    "val_accuracy",
    "weight_norm",
    "penalty",
    "lr_ratio",
)
"""The signals that a policy is told of; others are only recorded."""


class Watcher:
    """Collects signals, and adds norm, penalty and learning rate where they were not given.

    With groups they are measured; without, they keep their last value, and a penalty of ½‖w‖² follows from the norm.

    Args:
        groups: of the optimizer, if there is one.
        ranks: whom to average with.
        weight_norm: norm of the initial weights; None: measured.
        penalty_sum: R of the initial weights; None: measured, without groups ½ ``weight_norm``².
        card: of the policy: whether its penalty is ½‖w‖², and whether it measures learning rates by the largest one,
            not by the start.

    Raises:
        ValueError: nobody knows the norm, or a number is not finite, or negative.
    """

    def __init__(
        self,
        groups: DecayGroups | None,
        ranks: Ranks,
        weight_norm: float | None,
        penalty_sum: float | None,
        card: PolicyCard,
    ) -> None:
        self._groups, self._ranks = groups, ranks
        self._peak = card.unit == KAPPA
        self._half_square = card.rule is not None and card.rule.is_weight_decay
        self._collector = Collector()
        norm, total = (None, None) if groups is None else groups.norms()
        if weight_norm is not None:
            norm = real_number("weight_norm", weight_norm)
        if penalty_sum is not None:
            total = real_number("penalty_sum", penalty_sum)
        if norm is None:
            raise ValueError(
                "LearnedSchedule without an optimizer needs weight_norm=, the norm of the penalised weights"
            )
        total = 0.5 * norm**2 if total is None else total
        if ranks.several:
            norm, total = (mean or 0.0 for mean in ranks.mean([norm, total]))
        self._last = {"weight_norm": norm, "lr_ratio": 1.0, "penalty_sum": total}

    @property
    def weight_norm(self) -> float:
        """The norm of the weights when last believed."""
        return self._last["weight_norm"]

    @property
    def penalty_sum(self) -> float:
        """R of the weights, without λ, when last believed."""
        return self._last["penalty_sum"]

    def add(self, given: Mapping[str, Number], covered: float, *, read_now: bool) -> None:
        """Takes the signals of one call, see :meth:`lambda_rl.observation.collector.Collector.add`."""
        self._collector.add(given, covered, read_now=read_now)

    def read(self, lam: float, progress: float) -> tuple[dict[str, float], dict[str, float]]:
        """(What was given since the last decision, what a policy is told of it), averaged over the ranks.

        Args:
            lam: λ in force.
            progress: the same on all ranks.
        """
        signals = self._collector.read()
        watched = self._with_weights(signals, lam)
        if self._ranks.several:
            means = self._ranks.mean(
                [watched.get(name) for name in WATCHED], same={"progress": progress, "λ": lam}
            )
            watched = {name: mean for name, mean in zip(WATCHED, means, strict=True) if mean is not None}
            signals.update((name, mean) for name, mean in watched.items() if name in signals)
        return signals, watched

    def _with_weights(self, signals: Mapping[str, float], lam: float) -> dict[str, float]:
        """The signals with norm, penalty and learning rate."""
        watched = {name: signals[name] for name in WATCHED if name in signals}
        if self._groups is not None:
            watched.setdefault("lr_ratio", self._groups.lr_ratio(peak=self._peak))
            if "weight_norm" not in signals or "penalty" not in signals:
                norm, total = self._groups.norms()
                watched.setdefault("weight_norm", norm)
                watched.setdefault("penalty", lam * total)
            return watched
        norm = watched.get("weight_norm", math.nan)
        total = self._last["penalty_sum"]
        if self._half_square and math.isfinite(norm):
            total = 0.5 * norm * norm
        watched.setdefault("weight_norm", self._last["weight_norm"])
        watched.setdefault("lr_ratio", self._last["lr_ratio"])
        watched.setdefault("penalty", lam * total)
        return watched

    def clear(self) -> None:
        """Begins a new interval."""
        self._collector.clear()

    def believe(self, watched: Mapping[str, float], lam: float) -> None:
        """Remembers the weights, of signals that were sound under a λ."""
        self._last = {
            "weight_norm": watched["weight_norm"],
            "lr_ratio": watched["lr_ratio"],
            "penalty_sum": watched["penalty"] / lam,
        }

    def state_dict(self) -> dict[str, Any]:
        """Plain values; waits for the devices of signals that are tensors."""
        return {"last": dict(self._last), "pending": self._collector.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what :meth:`state_dict` gave."""
        self._last = {name: float(value) for name, value in state["last"].items()}
        self._collector.load_state_dict(state["pending"])


def signals_of(
    watched: Mapping[str, float],
    *,
    progress: float,
    log_lam: float,
    unit: float,
    factor: float,
    log_knobs: Mapping[str, float],
) -> Signals[float]:
    """What was watched in the units of the policy's training, for :class:`lambda_rl.Observer`.

    Args:
        watched: both losses and accuracies, norm, penalty and learning rate.
        progress: share of the run that is done.
        log_lam: log₁₀ of the policy's λ in force.
        unit: what losses are multiplied by to be those of a cross-entropy.
        factor: what the policy's λ is multiplied by in this run.
        log_knobs: log₁₀ of the values of knobs beside λ.
    """
    return Signals(
        progress=min(progress, 1.0),
        log_lam=log_lam,
        train_loss=watched["train_loss"] * unit,
        val_loss=watched["val_loss"] * unit,
        train_accuracy=watched["train_accuracy"],
        val_accuracy=watched["val_accuracy"],
        weight_norm=watched["weight_norm"],
        penalty=watched["penalty"] * unit / factor,
        lr_ratio=watched["lr_ratio"],
        knobs=dict(log_knobs),
    )
