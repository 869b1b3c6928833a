"""Guards of runs side by side, for training: κ is within the bounds there that a deployed schedule keeps.

A policy that meets them only in deployment sees runs there that its training has not shown, and what it is worth by
validation is not what a user gets.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lambda_rl.observation import RunFacts, Signals
from lambda_rl.schedules.guard.guard import Guard

Array = npt.NDArray[np.float64]


class Guards:
    """A guard for each of some runs.

    Args:
        runs: facts and initial norm of the penalised weights, by the slot of the run.
    """

    def __init__(self, runs: Mapping[int, tuple[RunFacts, float]]) -> None:
        self._guards = {slot: Guard(facts, norm, _silent) for slot, (facts, norm) in runs.items()}

    def see(self, signals: Signals[Array], slots: npt.NDArray[np.int64]) -> None:
        """Takes the signals of some slots, ``[n]``; those of slots without a guard are left."""
        names = [one.name for one in dataclasses.fields(signals) if one.name != "knobs"]
        for i, slot in enumerate(slots):
            if (guard := self._guards.get(int(slot))) is not None:
                values: dict[str, Any] = {name: float(getattr(signals, name)[i]) for name in names}
                guard.see(Signals(**values))

    def within(self, log_lam: Array) -> Array:
        """log₁₀ λ of all slots, ``[N]``, within the bounds."""
        bounded = log_lam.copy()
        for slot, guard in self._guards.items():
            bounded[slot] = guard.within(float(log_lam[slot]))
        return bounded


def _silent(reason: str, text: str) -> None:
    """Nobody watches a training run by run."""
