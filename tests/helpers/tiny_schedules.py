"""Schedules without an optimizer, learned or made up, and what they are told."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import nn

from lambda_rl import (
    Knob,
    LearnedSchedule,
    Policy,
    PolicyCard,
    RunFacts,
    Schedule,
    policy_from_arrays,
    split_parameters,
)
from lambda_rl.observation import KAPPA_FEATURES

CARD = PolicyCard(knobs=(Knob("lam", -5.0, 0.5, 0.5),))
CARD15 = dataclasses.replace(CARD, decisions=15)
KAPPA_CARD = PolicyCard(
    knobs=(Knob("kappa", -2.0, 2.2, 0.5),), lam_meaning="any", features=KAPPA_FEATURES, decisions=15
)
FACTS = RunFacts(num_train=5000, num_params=1000, val_size=500, num_classes=10, epochs=10.0, lr_sum=30.0)
MEASURED = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "weight_norm", "penalty", "lr_ratio")


def make_policy(seed=0, card=CARD, hidden=64, bias=0.0) -> Policy:
    """A random policy that reads the features of its card."""
    rng, width = np.random.default_rng(seed), len(card.features)
    return policy_from_arrays(
        obs_mean=np.zeros(width),
        obs_var=np.ones(width),
        layers=[
            (0.3 * rng.normal(size=(hidden, width)), np.zeros(hidden)),
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


def optimizer_for(kind=torch.optim.SGD, decays=(1e-4,), **options):
    """An optimizer with one group per decay, each of one 3 × 2 weight."""
    groups = [{"params": [nn.Parameter(torch.ones(3, 2))], "weight_decay": d} for d in decays]
    return kind(groups, lr=0.1, **options)


def decays(optimizer):
    """Of its groups."""
    return [float(group["weight_decay"]) for group in optimizer.param_groups]


def update(optimizer):
    """A step with gradients of 0.01."""
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = torch.full_like(p, 0.01)
    optimizer.step()


def loop(kind=torch.optim.SGD, meaning="coupled", **options):
    """A network, its optimizer, and a learned schedule attached to it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    optimizer = kind(split_parameters(model, 1e-4), lr=0.05)
    policy = make_policy(card=dataclasses.replace(CARD, lam_meaning=meaning), bias=0.2)
    facts = {"total_steps": 200, "num_train": 64, "val_size": 32, "num_classes": 4, "batch_size": 64}
    schedule = LearnedSchedule(optimizer, policy=policy, **{**facts, **options})
    return model, optimizer, schedule
