"""Schedules without an optimizer, learned or made up, and what they are told."""

from __future__ import annotations

from typing import Any

import numpy as np

from lambda_rl import Knob, LearnedSchedule, Policy, PolicyCard, RunFacts, Schedule, policy_from_arrays
from lambda_rl.observation import FEATURES

CARD = PolicyCard(knobs=(Knob("lam", -5.0, 0.5, 0.5),))
FACTS = RunFacts(num_train=5000, num_params=1000, val_size=500, num_classes=10, epochs=10.0, lr_sum=30.0)


def make_policy(seed=0, card=CARD, hidden=64, bias=0.0) -> Policy:
    """A random policy that reads all features."""
    rng = np.random.default_rng(seed)
    return policy_from_arrays(
        obs_mean=np.zeros(len(FEATURES)),
        obs_var=np.ones(len(FEATURES)),
        layers=[
            (0.3 * rng.normal(size=(hidden, len(FEATURES))), np.zeros(hidden)),
            (0.3 * rng.normal(size=(hidden, hidden)), np.zeros(hidden)),
            (0.1 * rng.normal(size=(1, hidden)), np.full(1, bias)),
        ],
        card=card,
    )


def alone(**options) -> LearnedSchedule:
    return LearnedSchedule(**{"policy": make_policy(), "facts": FACTS, "weight_norm": 3.0, **options})


def good(i, k=10, **change):
    return {
        "progress": (i + 1) / k,
        "train_loss": 2.0 - 0.1 * i,
        "val_loss": 2.1 - 0.05 * i,
        "train_accuracy": 0.2 + 0.03 * i,
        "val_accuracy": 0.2 + 0.01 * i,
        "weight_norm": 3.0 + 0.1 * i,
        "lr_ratio": 1.0,
        **change,
    }


class Recording(Schedule):
    """Keeps what it is told; λ counts its calls."""

    def __init__(self, optimizer: Any = None, *, total_steps: int | None = None) -> None:
        super().__init__(optimizer, total_steps=total_steps)
        self._start(1e-3)

    def _next(self, progress: float | None, signals: dict[str, float]) -> float:
        return 1e-3 * (len(self.history) + 1)


def history(callback: Any) -> list[dict[str, Any]]:
    assert callback.schedule is not None
    return callback.schedule.history
