"""What the guard looks at: the consequences of decay, in units that mean the same in every run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lambda_rl.observation import RunFacts, Signals

OPENING = 2
"""Decisions at the start of a run for which a bound does not last: a policy moves on from what it asked for, not from
what it got. It moves by half a decade at most, and would be late by five decisions where much decay is right."""


@dataclass(frozen=True)
class Reading:
    """A run at a decision.

    Attributes:
        progress: share of the run that is done.
        log_kappa: log₁₀ of the κ that was in force.
        decayed: e-foldings by which decay alone shrinks the weights since the last decision: κ · learning rate over its
            start · progress made.
        shrunk: e-foldings by which the norm of the weights did shrink since then; negative if it grew.
        left: share of the summed learning rate of the run that is still to come, if the rate goes on falling as it did
            since the last decision.
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
    left: float
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
        readings: how many there were.
        in_force: log₁₀ λ after the bounds of the last decision; None: there was none.
    """

    def __init__(self, facts: RunFacts, initial_norm: float) -> None:
        self.log_decay_sum, self._log_classes = math.log10(facts.decay_sum), math.log(facts.num_classes)
        self._norm, self._progress = initial_norm, 0.0
        self.readings = 0
        self.in_force: float | None = None
        self._rate = 0.0  # learning rate over its start; unknown before the first reading
        self._spent = 0.0  # its sum over the run so far

    def read(self, signals: Signals[float], *, inferred: bool = False) -> Reading:
        """The reading of a decision, see :meth:`Guard.see <lambda_rl.schedules.guard.Guard.see>`."""
        # at the start signals have what the policy asked for, see OPENING
        told = signals.log_lam if self.in_force is None or self.readings >= OPENING else self.in_force
        log_kappa = told + self.log_decay_sum
        made = max(signals.progress - self._progress, 0.0)
        # squares of weights that grow without bound overflow, and weights can be all zeros
        known = all(0.0 < norm < math.inf for norm in (self._norm, signals.weight_norm))
        shrunk = math.log(self._norm / signals.weight_norm) if known else 0.0
        self._norm, self._progress = signals.weight_norm, signals.progress
        self.readings += 1
        left = self._left(signals, made)
        return Reading(
            progress=signals.progress,
            log_kappa=log_kappa,
            decayed=10.0**log_kappa * signals.lr_ratio * made,
            shrunk=shrunk,
            left=left,
            train_loss=signals.train_loss / self._log_classes,
            val_loss=signals.val_loss / self._log_classes,
            train_accuracy=signals.train_accuracy,
            val_accuracy=signals.val_accuracy,
            inferred=inferred,
        )

    def _left(self, signals: Signals[float], made: float) -> float:
        """The rate is taken to go on by the same factor in the same time; one that rises, to stay."""
        now = signals.lr_ratio
        before = self._rate or now
        self._rate, self._spent = now, self._spent + 0.5 * (before + now) * made
        ahead = max(1.0 - signals.progress, 0.0)
        falls = math.log(before / now) / made if min(now, made) > 0 and before > now else 0.0
        coming = now * (-math.expm1(-falls * ahead) / falls if falls > 0 else ahead)
        return coming / (coming + self._spent) if coming > 0 else 0.0

    def state_dict(self) -> dict[str, float | None]:
        """What the next reading needs of those before, and the unit of λ."""
        return {
            "norm": self._norm,
            "progress": self._progress,
            "rate": self._rate,
            "spent": self._spent,
            "readings": float(self.readings),
            "in_force": self.in_force,
            "log_decay_sum": self.log_decay_sum,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what :meth:`state_dict` gave."""
        self._norm, self._progress = float(state["norm"]), float(state["progress"])
        self._rate = float(state.get("rate", 0.0))  # states of before have none of these four
        self._spent = float(state.get("spent", 0.0))
        self.readings, self.in_force = int(state.get("readings", OPENING)), state.get("in_force")
        self.log_decay_sum = float(state["log_decay_sum"])
