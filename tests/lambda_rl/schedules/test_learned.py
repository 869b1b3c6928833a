"""The learned schedule: same λ as the shared observer and control law give, attachment, state."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from tiny_schedules import CARD, FACTS, MEASURED, alone, good, loop, make_policy
from torch import nn

from lambda_rl import (
    LearnedSchedule,
    Observer,
    ReplaySchedule,
    RunFacts,
    Signals,
    parse_schedule,
    policy_from_arrays,
    save_policy,
)
from lambda_rl.observation import FEATURES


def test_trace_equals_the_vectorised_loop():
    """Three slots observed together, as the environment does it, against three schedules on their own."""
    policy, slots, k = make_policy(), 3, 15
    control = policy.card.control
    rng = np.random.default_rng(1)
    facts = [dataclasses.replace(FACTS, num_train=300 * 10**s, lr_sum=3.0 * 10**s) for s in range(slots)]
    log_lam = np.array([-4.0, -2.0, 0.2])
    norms, r0 = np.array([1.0, 5.0, 9.0]), np.array([0.5, 12.5, 40.5])
    observer = Observer(slots, control)
    schedules = [
        LearnedSchedule(policy=policy, facts=facts[s], initial_lam=10.0 ** log_lam[s], weight_norm=norms[s])
        for s in range(slots)
    ]
    obs = np.stack(
        [
            observer.reset(
                s, facts[s], log_lam=log_lam[s], weight_norm=norms[s], penalty=10 ** log_lam[s] * r0[s]
            )
            for s in range(slots)
        ]
    )
    for i in range(k):
        log_lam = control.apply(log_lam, policy.act(obs)[:, 0])
        assert [math.log10(s.value) for s in schedules] == pytest.approx(log_lam, abs=1e-6)
        measured = {name: rng.uniform(0.1, 1.0 if "accuracy" in name else 2.0, slots) for name in MEASURED}
        progress = np.full(slots, (i + 1) / k)
        obs = observer.observe(Signals(progress=progress, log_lam=log_lam, **measured), range(slots))
        for s, schedule in enumerate(schedules):
            schedule.step(progress=(i + 1) / k, **{name: v[s] for name, v in measured.items()})
    assert len({round(float(x), 6) for x in log_lam}) == slots  # it did move, and differently
    assert [math.log10(s.value) for s in schedules] == pytest.approx(log_lam, abs=1e-6)  # held at the end


def train(schedule, model, optimizer, steps, seed=0):
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(seed))
    y = torch.arange(64) % 4
    for i in steps:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        if (i + 1) % 10 == 0:
            schedule.step(train_loss=loss, val_loss=loss * 1.1, train_accuracy=0.5, val_accuracy=0.4)


def test_attached_measures_what_a_loop_without_would_be_told():
    model, optimizer, schedule = loop()
    weights = [model[0].weight, model[2].weight]
    facts = dataclasses.replace(FACTS, num_train=64, num_params=8 * 16 + 16 * 4, val_size=32, num_classes=4,
                                epochs=200.0, lr_sum=10.0, adaptive=False, normalised=False)  # fmt: skip
    assert schedule.facts == facts

    def norm():
        return float(torch.cat([w.detach().flatten() for w in weights]).norm())

    told = LearnedSchedule(policy=schedule.policy, facts=facts, weight_norm=norm())
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 200)
    for i in range(200):
        for w in model.parameters():
            w.grad = torch.full_like(w, 0.01)
        optimizer.step()
        scheduler.step()
        if (i + 1) % 10 == 0:
            signals = {
                "train_loss": 1.0 / (i + 1),
                "val_loss": 1.0,
                "train_accuracy": 0.9,
                "val_accuracy": 0.5,
            }
            told.step(step=None, progress=(i + 1) / 200, weight_norm=norm(), **signals,
                      lr_ratio=optimizer.param_groups[0]["lr"] / 0.05)  # fmt: skip
            schedule.step(**signals)
    mine, theirs = [row["lam"] for row in schedule.history], [row["lam"] for row in told.history]
    assert mine == pytest.approx(theirs, rel=1e-5)
    assert optimizer.param_groups[0]["weight_decay"] == schedule.value
    assert optimizer.param_groups[1]["weight_decay"] == 0.0


def test_momentum_and_adam_in_lr_sum():
    p = nn.Parameter(torch.ones(3, 3))
    common = {"policy": make_policy(), "total_steps": 100, "num_train": 50, "val_size": 10, "num_classes": 2,
              "batch_size": 10}  # fmt: skip
    sgd = LearnedSchedule(torch.optim.SGD([p], lr=0.1, momentum=0.9, weight_decay=1e-4), **common)
    assert sgd.facts.lr_sum == pytest.approx(100.0)
    adam = LearnedSchedule(torch.optim.Adam([p], lr=0.1, weight_decay=1e-4), **common)
    assert adam.facts.lr_sum == pytest.approx(10.0)
    told = LearnedSchedule(torch.optim.SGD([p], lr=0.1, weight_decay=1e-4), **common, lr_sum=5.0)
    assert told.facts.lr_sum == 5.0
    assert told.facts.epochs == 20.0


def test_frozen_layer_changes_nothing():
    def trace(frozen):
        model, optimizer, _ = loop()
        if frozen:
            layer = nn.Linear(8, 8)
            layer.weight.requires_grad_(False)
            optimizer.param_groups[0]["params"].append(layer.weight)
        schedule = LearnedSchedule(optimizer, policy=make_policy(), total_steps=200, num_train=64, val_size=32,
                                   num_classes=4, batch_size=64)  # fmt: skip
        train(schedule, model, optimizer, range(60))
        return [row["lam"] for row in schedule.history]

    assert trace(True) == trace(False)


def test_missing_facts_are_named():
    with pytest.raises(ValueError, match="missing: total_steps, optimizer"):
        LearnedSchedule(policy=make_policy(), num_train=100, weight_norm=1.0)
    with pytest.raises(ValueError, match="weight_norm="):
        LearnedSchedule(policy=make_policy(), facts=FACTS)
    with pytest.raises(ValueError, match="initial_lam"):
        alone(initial_lam=0.0)


def test_start_lam():
    zero = [(np.zeros((1, len(FEATURES))), [0.0])]  # never changes λ
    policy = policy_from_arrays(
        obs_mean=np.zeros(len(FEATURES)), obs_var=np.ones(len(FEATURES)), layers=zero, card=CARD
    )
    assert alone(policy=policy).value == pytest.approx(10**-2.25)
    assert alone(policy=policy, initial_lam=1e-3).value == pytest.approx(1e-3)
    assert alone(policy=policy, initial_lam=1e9).value == pytest.approx(10**0.5)
    policy.card = dataclasses.replace(CARD, initial=(0.02,))
    assert alone(policy=policy).value == pytest.approx(0.02)


def test_from_file_and_by_specification(tmp_path):
    path = tmp_path / "p.safetensors"
    save_policy(path, make_policy())
    a = LearnedSchedule(policy=str(path), facts=FACTS, weight_norm=3.0)
    b = parse_schedule(f"learned:{path}")(facts=FACTS, weight_norm=3.0, lam_range=(1e-9, 1.0), total_steps=10)
    assert a.value == b.value == alone().value


@pytest.mark.parametrize(
    ("kind", "meaning"), [(torch.optim.SGD, "coupled"), (torch.optim.AdamW, "decoupled")]
)
def test_train_200_equals_train_100_save_load_train_100(kind, meaning, tmp_path):
    model, optimizer, whole = loop(kind, meaning)
    train(whole, model, optimizer, range(200))
    expected = [p.detach().clone() for p in model.parameters()]

    model, optimizer, schedule = loop(kind, meaning)
    train(schedule, model, optimizer, range(105))
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
    }
    torch.save(state, tmp_path / "checkpoint.pt")
    json.dumps(state["schedule"])

    model, optimizer, schedule = loop(kind, meaning)
    with torch.no_grad():
        model[0].weight.mul_(3.0)  # a start that the state must override
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    train(schedule, model, optimizer, range(105, 200))
    assert schedule.history == whole.history
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), expected, strict=True))
    assert len({row["lam"] for row in whole.history}) > 5


def test_state_of_another_policy_is_refused():
    with pytest.raises(ValueError, match="other arguments"):
        alone(policy=make_policy(1)).load_state_dict(alone().state_dict())


def test_frozen_into_an_open_loop_schedule(tmp_path):
    schedule = alone()
    trace = [schedule.value, *(schedule.step(**good(i)) for i in range(9))]
    schedule.to_csv(tmp_path / "t.csv")
    replay = ReplaySchedule(tmp_path / "t.csv")
    assert [replay.value, *(replay.step(progress=(i + 1) / 10) for i in range(9))] == trace


def test_facts_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="run facts: num_train"):
        RunFacts(num_train=0, num_params=1, val_size=1, num_classes=2, epochs=1.0, lr_sum=1.0)
