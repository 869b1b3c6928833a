"""Losses that are no cross-entropy: their scale, a regression, and options that cannot be."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_schedules import CARD15, alone, make_policy
from torch import nn

import lambda_rl
from lambda_rl import LearnedSchedule


def test_loss_scale_makes_a_regression_scale_free() -> None:
    def trace(scale: float, **options: Any) -> list[float]:
        schedule = alone(**options)
        for i in range(9):
            signals = {"train_loss": scale * 0.8**i, "val_loss": scale * 0.85**i, "penalty": 0.1 * scale}
            schedule.step(progress=(i + 1) / 10, weight_norm=3.0 + 0.1 * i, **signals)
        return [row["lam"] for row in schedule.history]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        big, small = (trace(s, loss_scale=s, penalty_sum=4.5 * s) for s in (50.0, 1e-3))
        assert big == pytest.approx(small, rel=1e-9)
        assert trace(50.0, loss_scale="start") == pytest.approx(trace(1e-3, loss_scale="start"), rel=1e-9)
        assert trace(math.log(10), loss_scale=math.log(10)) == pytest.approx(trace(math.log(10)), rel=1e-12)
        assert trace(50.0) != pytest.approx(trace(1e-3), rel=1e-3)


def test_regression_in_three_lines_of_arguments() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(64, 6), torch.randn(64, 1) * 7
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(lambda_rl.split_parameters(model, 1e-3), lr=0.01)
    policy = make_policy(card=CARD15)
    with pytest.warns(
        RuntimeWarning, match="not given: num_train, val_size, batch_size; taken to be as on av"
    ):
        schedule = LearnedSchedule(optimizer, policy=policy, total_steps=60)
    assert schedule.facts.num_train == round(10**3.5)  # the normaliser's mean of this policy is 0
    assert schedule.facts.epochs == pytest.approx(10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(60):
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step(train_loss=loss, val_loss=1.1 * loss.detach())
    assert len(schedule.history) == 16
    assert len({row["lam"] for row in schedule.history}) > 10


def test_options_that_cannot_be() -> None:
    for options, message in (
        ({"decisions": 0}, "decisions must be"),
        ({"decisions": 2.5}, "decisions must be"),
        ({"loss_scale": 0.0}, "loss_scale must be"),
        ({"loss_scale": math.nan}, "loss_scale must be"),
        ({"loss_scale": "mse"}, "loss_scale must be"),
        ({"distributed": "no"}, "distributed must be"),
        ({"lam_meaning": "convert"}, "needs an optimizer"),
    ):
        with pytest.raises(ValueError, match=message):
            alone(**options)
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2, 2))], lr=0.1, weight_decay=1e-4)
    with pytest.raises(ValueError, match="needs num_classes"):
        LearnedSchedule(optimizer, policy=make_policy(), total_steps=9, loss_scale="cross-entropy")
