"""What the guard looks at: the consequences of decay, in units that mean the same in every run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lambda_rl.observation import RunFacts, Signals


@dataclass(frozen=True)
class Reading:
    """A run at a decision.

    Attributes:
        progress: share of the run that is done.
        log_kappa: log₁₀ of the κ that was in force.
        decayed: e-foldings by which decay alone shrinks the weights since the last decision: κ · learning rate over its
            start · progress made.
        shrunk: e-foldings by which the norm of the weights did shrink since then; negative if it grew.
        train_loss: over log C: 1 is chance.
        val_loss: over log C.
        train_accuracy: as a fraction.
        val_accuracy: as a fraction.
        inferred: the validation accuracy was inferred from the loss.
    """

    progress: float
    log_kappa: float
    decayed: float
    shrunk: float
    train_loss: float
    val_loss: float
    train_accuracy: float
    val_accuracy: float
    inferred: bool = False


class Reader:
    """Makes readings of signals.

    Args:
        facts: what is known of the run.
        initial_norm: of the penalised weights.

    Attributes:
        log_decay_sum: log₁₀ κ - log₁₀ λ.
    """

    def __init__(self, facts: RunFacts, initial_norm: float) -> None:
        self.log_decay_sum, self._log_classes = math.log10(facts.decay_sum), math.log(facts.num_classes)
        self._norm, self._progress = initial_norm, 0.0

    def read(self, signals: Signals[float], *, inferred: bool = False) -> Reading:
        """The reading of a decision, see :meth:`Guard.see <lambda_rl.schedules.guard.Guard.see>`."""
        log_kappa = signals.log_lam + self.log_decay_sum
        made = max(signals.progress - self._progress, 0.0)
        known = min(self._norm, signals.weight_norm) > 0
        shrunk = math.log(self._norm / signals.weight_norm) if known else 0.0
        self._norm, self._progress = signals.weight_norm, signals.progress
        return Reading(
            progress=signals.progress,
            log_kappa=log_kappa,
            decayed=10.0**log_kappa * signals.lr_ratio * made,
            shrunk=shrunk,
            train_loss=signals.train_loss / self._log_classes,
            val_loss=signals.val_loss / self._log_classes,
            train_accuracy=signals.train_accuracy,
            val_accuracy=signals.val_accuracy,
            inferred=inferred,
        )

    def state_dict(self) -> dict[str, float]:
        """Norm and progress at the last reading, and the unit of λ."""
        return {"norm": self._norm, "progress": self._progress, "log_decay_sum": self.log_decay_sum}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what :meth:`state_dict` gave."""
        self._norm, self._progress = float(state["norm"]), float(state["progress"])
        self.log_decay_sum = float(state["log_decay_sum"])
