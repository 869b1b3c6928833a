"""Schedules that are copied, pickled or saved whole go on counting, and say so if their optimizer does not train."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lambda_rl import (
    Constant,
    LearnedSchedule,
    Policy,
    PolicyCard,
    PullDown,
    Schedule,
    policy_from_arrays,
    split_parameters,
)
from lambda_rl.control import ControlLaw
from lambda_rl.observation import FEATURES

Parts = tuple[nn.Module, torch.optim.Optimizer, Schedule]
STEPS, EVERY = 200, 20


def policy() -> Policy:
    rng = np.random.default_rng(0)
    return policy_from_arrays(
        obs_mean=np.zeros(len(FEATURES)),
        obs_var=np.ones(len(FEATURES)),
        layers=[(0.3 * rng.normal(size=(1, len(FEATURES))), np.zeros(1))],
        card=PolicyCard(knobs=(ControlLaw().knob,), decisions=10),
    )


def make(kind: str) -> Parts:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))
    optimizer = torch.optim.SGD(split_parameters(model, 0.01), lr=0.05)
    if kind == "pull-down":
        return model, optimizer, PullDown(0.3, 0.003, optimizer=optimizer, total_steps=STEPS)
    facts = {"num_train": 500, "val_size": 100, "num_classes": 4, "batch_size": 32}
    return model, optimizer, LearnedSchedule(optimizer, policy=policy(), total_steps=STEPS, **facts)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, schedule: Schedule, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        loss = model(torch.randn(8, 8, generator=generator)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % EVERY == 0:
            given = loss.item()
            schedule.step(
                train_loss=given, val_loss=given + 0.05, train_accuracy=0.4, val_accuracy=0.2 + 0.001 * step
            )


def through_a_file(parts: Parts) -> Parts:
    file = io.BytesIO()
    torch.save(parts, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


WAYS: dict[str, Callable[[Parts], Parts]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda parts: pickle.loads(pickle.dumps(parts)),
    "torch.save": through_a_file,
}


@pytest.mark.parametrize("kind", ["learned", "pull-down"])
@pytest.mark.parametrize("way", WAYS)
def test_a_copy_of_model_optimizer_and_schedule_goes_on_as_the_original(way: str, kind: str) -> None:
    original = make(kind)
    train(*original, range(70))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        copied = WAYS[way](original)
        for parts in (original, copied):  # neither counts the other's steps
            train(*parts, range(70, STEPS))
    assert copied[2].history == original[2].history
    assert copied[2].history[-1]["progress"] == 1.0
    assert len({row["lam"] for row in original[2].history}) > 5
    assert copied[1].param_groups[0]["weight_decay"] == copied[2].value == original[2].value
    assert all(
        torch.equal(a, b) for a, b in zip(original[0].parameters(), copied[0].parameters(), strict=True)
    )


def test_a_shallow_copy_counts_the_same_optimizer() -> None:
    model, optimizer, schedule = make("pull-down")
    train(model, optimizer, schedule, range(60))
    twin = copy.copy(schedule)
    train(model, optimizer, twin, range(60, 80))
    assert twin.history[-1]["progress"] == 80 / STEPS


def standstills(parts: Parts, steps: range) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(*parts, steps)
    return [str(item.message) for item in caught if "no optimizer step was counted" in str(item.message)]


def test_a_copy_without_its_optimizer_says_once_that_nothing_is_counted() -> None:
    model, optimizer, schedule = make("pull-down")
    train(model, optimizer, schedule, range(60))
    alone = copy.deepcopy(schedule)
    assert len(standstills((model, optimizer, alone), range(60, 120))) == 1
    assert alone.value == schedule.value  # it stays


@pytest.mark.parametrize("steps_before", [0, 60])
def test_an_optimizer_that_was_made_anew_is_noticed_at_the_next_call(steps_before: int) -> None:
    model, optimizer, schedule = make("learned")
    train(model, optimizer, schedule, range(steps_before))
    again = torch.optim.SGD(split_parameters(model, 0.01), lr=0.05)
    assert len(standstills((model, again, schedule), range(steps_before, steps_before + EVERY))) == 1


def test_accumulated_gradients_skipped_steps_and_repeated_calls_are_nothing_odd() -> None:
    model, optimizer, _ = make("pull-down")
    schedule = PullDown(0.3, 0.003, optimizer=optimizer, total_steps=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for minibatch in range(32):  # a call for each, eight to a step
            model(torch.ones(2, 8)).sum().backward()
            if minibatch % 8 == 7:
                optimizer.step()
            schedule.step()
    assert schedule.history[-1]["progress"] == 1.0


def test_a_standstill_without_end_is_noticed_too() -> None:
    _, optimizer, _ = make("pull-down")
    schedule = PullDown(0.3, 0.003, optimizer=optimizer, total_steps=4)
    for _ in range(10):
        schedule.step()
    with pytest.warns(RuntimeWarning, match="no optimizer step was counted"):
        schedule.step()


def test_who_does_not_count_is_not_warned() -> None:
    ways: list[tuple[Callable[..., Schedule], dict[str, Any]]] = [
        (lambda **k: PullDown(0.3, 0.003, **k), {"progress": 0.1}),
        (lambda **k: PullDown(0.3, 0.003, **k), {"step": 1}),
        (lambda **k: Constant(0.1, **k), {}),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for make_one, arguments in ways:
            schedule = make_one(optimizer=make("pull-down")[1], total_steps=9)
            for _ in range(20):
                schedule.step(**arguments)
