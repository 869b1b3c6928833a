"""Optimizers of all kinds, compiled models, mixed precision, λ of another meaning."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_schedules import CARD15, FACTS, make_policy
from torch import nn

import lambda_rl
from lambda_rl import LearnedSchedule, Policy
from lambda_rl.observation import FEATURES


def attach(model: nn.Module, optimizer: Any, meaning: str = "coupled", **options: Any) -> LearnedSchedule:
    policy = make_policy(bias=0.2, card=dataclasses.replace(CARD15, lam_meaning=meaning))
    facts = dataclasses.replace(FACTS, num_classes=2)
    return LearnedSchedule(optimizer, policy=policy, facts=facts, total_steps=30, **options)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("flavour", ["foreach", "fused", "capturable"])
def test_flavours_of_optimizers_decay_by_lam(kind: Any, flavour: str) -> None:
    if flavour == "capturable" and (kind is torch.optim.SGD or not torch.cuda.is_available()):
        pytest.skip("capturable is for Adam on an accelerator")
    device = "cuda" if flavour == "capturable" else "cpu"

    def train(**flags: Any) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model = nn.Linear(4, 2).to(device)
        optimizer = kind(lambda_rl.split_parameters(model, 1e-3), lr=0.05, **flags)
        schedule = attach(model, optimizer, "decoupled" if kind is torch.optim.AdamW else "coupled")
        for step in range(30):
            loss = F.cross_entropy(
                model(torch.ones(2, 4, device=device)), torch.tensor([0, 1], device=device)
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 2:
                schedule.step(train_loss=loss, val_loss=loss)
        assert optimizer.param_groups[0]["weight_decay"] == schedule.value
        return [p.detach().clone() for p in model.parameters()]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for mine, plain in zip(train(**{flavour: True}), train(foreach=False), strict=True):
            torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-6)


def test_a_decay_that_is_a_tensor_is_filled_in_place() -> None:
    """As for optimizers that are compiled or captured in a graph: a float would be a constant to them."""
    model = nn.Linear(4, 2)
    decay = torch.tensor(1e-3)
    optimizer = torch.optim.AdamW([model.weight], lr=0.05, weight_decay=0.1, foreach=False)
    optimizer.param_groups[0]["weight_decay"] = decay
    schedule = attach(model, optimizer, "decoupled")
    model.weight.grad = torch.zeros_like(model.weight)
    before = model.weight.detach().clone()
    optimizer.step()
    assert optimizer.param_groups[0]["weight_decay"] is decay
    assert float(decay) == pytest.approx(schedule.value, rel=1e-6)
    torch.testing.assert_close(model.weight.detach(), before * (1 - 0.05 * schedule.value))
    schedule.step(progress=0.5, train_loss=0.5, val_loss=0.6, train_accuracy=0.5, val_accuracy=0.5)
    assert optimizer.param_groups[0]["weight_decay"] is decay
    assert float(decay) == pytest.approx(schedule.value, rel=1e-6)


def test_grad_scaler_accumulation_and_autocast_count_optimizer_steps() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(lambda_rl.split_parameters(model, 1e-3), lr=0.05)
    schedule = attach(model, optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for step in range(12):
        for _ in range(3):  # minibatches of one optimizer step
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(model(torch.randn(8, 4)), torch.randint(2, (8,)))
            scaler.scale(loss / 3).backward()
        if step in (3, 7):
            model.weight.grad.fill_(math.inf)  # the scaler skips this step
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    lam = schedule.value
    schedule.step(train_loss=loss.bfloat16(), val_loss=loss, train_accuracy=0.5, val_accuracy=0.5)
    assert schedule.history[-1]["progress"] == pytest.approx(10 / 30)
    assert schedule.value != lam


def test_several_optimizers_share_one_lam() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    groups = [lambda_rl.split_parameters(part, d) for part, d in zip(model, (2e-3, 1e-3), strict=True)]
    optimizers = [torch.optim.SGD(group, lr=0.1) for group in groups]
    schedule = attach(model, optimizers)
    schedule.step(progress=0.2, train_loss=0.5, val_loss=0.6, train_accuracy=0.5, val_accuracy=0.5)
    decays = [[group["weight_decay"] for group in optimizer.param_groups] for optimizer in optimizers]
    assert decays == [[schedule.value, 0.0], [pytest.approx(0.5 * schedule.value), 0.0]]


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_model(backend: str) -> None:
    """A compiled model trains under a schedule as one that is not, and its steps are counted."""
    if backend == "inductor" and not torch._dynamo.is_dynamo_supported():
        pytest.skip("no compiler")

    def trace(compiled: bool) -> list[float]:
        torch.manual_seed(0)
        model: Any = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        optimizer = torch.optim.SGD(lambda_rl.split_parameters(model, 1e-3), lr=0.05)
        schedule = attach(model, optimizer)
        if compiled:
            model = torch.compile(model, backend=backend)
        x, y = torch.randn(16, 4), torch.randint(2, (16,))
        for _ in range(10):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step(train_loss=loss, val_loss=loss, train_accuracy=0.5, val_accuracy=0.5)
        assert schedule.history[-1]["progress"] == pytest.approx(1 / 3)
        return [row["lam"] for row in schedule.history]

    assert trace(True) == pytest.approx(trace(False), rel=1e-5)


def test_converted_lam_shrinks_as_much() -> None:
    """λ · lr_sum, the shrinking over the whole run, is that of the policy's training, on either side."""
    mean = np.zeros(len(FEATURES))
    mean[FEATURES.names().index("log_shrink")] = (
        0.5  # with log λ in the middle, -2.25: summed rate of 10^3.25
    )
    base = make_policy(bias=0.1)
    policy = Policy(
        obs_mean=mean, obs_var=np.ones(len(FEATURES)), clip_obs=10.0, epsilon=1e-8, layers=base.layers, card=CARD15
    )  # fmt: skip
    model = nn.Linear(4, 2)
    options: dict[str, Any] = {"policy": policy, "total_steps": 100, "num_train": 50, "val_size": 10, "num_classes": 2,
                               "batch_size": 5, "weight_norm": 3.0}  # fmt: skip
    adamw = torch.optim.AdamW(lambda_rl.split_parameters(model, 1e-2), lr=1e-2)
    with pytest.raises(ValueError, match="lam_meaning='convert'"):
        LearnedSchedule(adamw, **options)
    converted = LearnedSchedule(adamw, **options, lam_meaning="convert")
    assert converted.factor == pytest.approx(10**3.25)
    sgd = torch.optim.SGD(lambda_rl.split_parameters(model, 1e-2), lr=0.1)
    plain = LearnedSchedule(sgd, **options, lr_sum=10**3.25, lam_meaning="convert")  # nothing to convert
    assert plain.factor == 1.0
    signals = {
        "train_loss": 0.5,
        "val_loss": 0.6,
        "train_accuracy": 0.7,
        "val_accuracy": 0.6,
        "weight_norm": 3.1,
    }
    for progress in (0.2, 0.4, 0.6):
        lams = [s.step(progress=progress, **signals) for s in (converted, plain)]
        assert lams[0] == pytest.approx(lams[1] * 10**3.25, rel=1e-6)
        assert adamw.param_groups[0]["weight_decay"] == lams[0]
    again = LearnedSchedule(adamw, **options, lam_meaning="convert")
    again.load_state_dict(converted.state_dict())
    assert again.step(progress=0.8, **signals) == converted.step(progress=0.8, **signals)
    scaled = LearnedSchedule(adamw, **options, lam_meaning="convert", initial_lam=10.0)
    unscaled = LearnedSchedule(sgd, **options, lr_sum=10**3.25, initial_lam=10.0 / 10**3.25)
    assert scaled.value == pytest.approx(unscaled.value * 10**3.25, rel=1e-6)
