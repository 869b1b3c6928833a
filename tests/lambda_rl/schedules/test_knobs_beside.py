"""A learned schedule that moves knobs beside λ: their values, the optimizer, history, state, and when they are held."""

from __future__ import annotations

import copy
import csv
import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_policies import CARD, FACTS, LAM
from torch import Tensor
from torch.optim import SGD, Optimizer

from lambda_rl import FEATURES, Knob, LearnedSchedule, Policy, policy_from_arrays, split_parameters
from lambda_rl.knobs import KNOBS, KnobKind
from lambda_rl.schedules.safety import AT_BOUND

RATE, MASS = Knob("rate", -1.0, 0.5, 0.25), Knob("mass", -3.0, -0.3, 0.5)
SIGNALS = {"train_loss": 2.0, "val_loss": 2.1, "train_accuracy": 0.3, "val_accuracy": 0.25}


class Rate(KnobKind):
    """A factor of the learning rate, which schedulers of the rate change too."""

    def train(self, inputs: dict[str, Tensor], value: Tensor) -> None:
        inputs["learning_rate"].mul_(value)

    def deploy(self, optimizers: Sequence[Optimizer], value: float, before: float) -> None:
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] *= value / before


class Mass(KnobKind):
    """1 - momentum."""

    neutral = 0.1

    def train(self, inputs: dict[str, Tensor], value: Tensor) -> None:
        inputs["momentum"].copy_(1 - value)

    def deploy(self, optimizers: Sequence[Optimizer], value: float, before: float) -> None:
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["momentum"] = 1 - value


@pytest.fixture(autouse=True)
def kinds() -> Iterator[None]:
    with KNOBS.temporarily("rate", Rate()), KNOBS.temporarily("mass", Mass()):
        yield


def policy(actions: Sequence[float] = (0.1, -0.4, 0.2), of_progress: Sequence[float] = (0, 0, 0)) -> Policy:
    """Gives these actions at half of the run, and more or less of them with progress, which it sees as -1 to 1.

    It looks at the losses too, narrowly, though they change next to nothing.
    """
    weight, variance = np.zeros((3, len(FEATURES))), np.ones(len(FEATURES))
    for name in ("train_loss", "val_loss", "delta_train_loss", "delta_val_loss"):
        weight[:, FEATURES.names().index(name)] = 1e-30
        variance[FEATURES.names().index(name)] = 0.04
    weight[:, FEATURES.names().index("progress")] = of_progress
    return policy_from_arrays(
        obs_mean=np.zeros(len(FEATURES)), obs_var=variance, epsilon=1e-12, layers=[(weight, actions)],
        card=dataclasses.replace(CARD, knobs=(LAM, RATE, MASS)),
    )  # fmt: skip


def optimizer_of() -> SGD:
    return SGD(split_parameters(torch.nn.Linear(3, 2), 0.01), lr=0.2, momentum=0.9)


def attached(optimizer: Optimizer, made: Policy | None = None) -> LearnedSchedule:
    made = made or policy()
    return LearnedSchedule(optimizer, policy=made, facts=FACTS, total_steps=100, decisions=10)


def alone(made: Policy, **more: Any) -> LearnedSchedule:
    return LearnedSchedule(policy=made, facts=FACTS, weight_norm=3.0, **{"decisions": 10, **more})


def decide(schedule: LearnedSchedule, *numbers: int, **change: float) -> None:
    for number in numbers:
        schedule.step(progress=number / 10, **{**SIGNALS, **change})


def test_every_knob_moves_by_its_own_action_within_its_own_range() -> None:
    schedule = alone(policy((0.1, -0.4, 1.0)))
    assert schedule.knobs == pytest.approx({"rate": 10**-0.1, "mass": 0.1 * 10**0.5})  # once before the run
    decide(schedule, 1, 2)
    assert schedule.knobs == pytest.approx({"rate": 10**-0.3, "mass": 10**-0.3})  # mass is at its upper end
    decide(schedule, *range(3, 10))
    assert schedule.knobs == pytest.approx({"rate": 10**-1.0, "mass": 10**-0.3})


def test_knobs_are_turned_at_the_optimizer_after_each_decision() -> None:
    optimizer = optimizer_of()
    schedule = attached(optimizer)
    for number in range(1, 10):
        for group in optimizer.param_groups:
            assert group["lr"] == pytest.approx(0.2 * 0.9 ** (number - 1) * schedule.knobs["rate"])
            assert group["momentum"] == pytest.approx(1 - schedule.knobs["mass"])
            group["lr"] *= 0.9  # as a scheduler of the learning rate does
        decide(schedule, number)
    assert schedule.knobs["rate"] == pytest.approx(10**-1.0)
    assert optimizer.param_groups[0]["weight_decay"] == schedule.value


def test_rows_of_the_history_have_the_values_of_the_interval_that_begins_there(tmp_path: Path) -> None:
    schedule = alone(policy())
    seen = [schedule.knobs]
    for number in range(1, 5):
        decide(schedule, number)
        seen.append(schedule.knobs)
    assert [{name: row[name] for name in ("rate", "mass")} for row in schedule.history] == seen
    assert len({row["rate"] for row in schedule.history}) == 5
    schedule.to_csv(tmp_path / "trace.csv")
    with (tmp_path / "trace.csv").open() as file:
        assert [float(row["rate"]) for row in csv.DictReader(file)] == [knobs["rate"] for knobs in seen]


def test_a_state_goes_on_where_it_was_taken_and_turns_nothing_twice() -> None:
    optimizer, made = optimizer_of(), policy(of_progress=(0.3, 0.3, -0.2))
    schedule = attached(optimizer, made)
    decide(schedule, 1, 2, 3)
    state, saved = json.loads(json.dumps(schedule.state_dict())), copy.deepcopy(optimizer.state_dict())
    decide(schedule, 4, 5, 6)

    resumed_optimizer = optimizer_of()
    resumed = attached(resumed_optimizer, made)
    resumed_optimizer.load_state_dict(saved)
    resumed.load_state_dict(state)
    assert resumed.knobs == {name: pytest.approx(state["history"][-1][name]) for name in ("rate", "mass")}
    decide(resumed, 4, 5, 6)
    assert resumed.knobs == schedule.knobs
    assert resumed.history == schedule.history
    for one, other in zip(resumed_optimizer.param_groups, optimizer.param_groups, strict=True):
        for key in ("lr", "momentum", "weight_decay"):
            assert one[key] == pytest.approx(other[key], rel=1e-12)


def test_a_copy_turns_the_knobs_of_its_own_optimizer() -> None:
    optimizer = optimizer_of()
    schedule = attached(optimizer)
    other = copy.deepcopy(schedule)
    before = optimizer.param_groups[0]["lr"]
    decide(other, 1)
    assert other.groups is not None
    assert optimizer.param_groups[0]["lr"] == before
    assert other.groups.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.2 * other.knobs["rate"])
    assert other.knobs["rate"] < schedule.knobs["rate"]


@pytest.mark.filterwarnings("ignore:LearnedSchedule")
@pytest.mark.parametrize(
    "odd",
    [
        {"val_loss": math.nan},
        {"train_loss": -1.0},
        {"train_accuracy": 30.0},
        {"train_loss": 90.0, "val_loss": 1e9},  # far outside training, with their changes
    ],
    ids=str,
)
def test_when_lam_is_held_all_knobs_are(odd: dict[str, float]) -> None:
    optimizer = optimizer_of()
    schedule = attached(optimizer)
    decide(schedule, 1)

    def in_force() -> tuple[float, dict[str, float], list[float]]:
        return schedule.value, schedule.knobs, [group["lr"] for group in optimizer.param_groups]

    held = in_force()
    decide(schedule, 2, **odd)
    assert in_force() == held
    assert schedule.history[-1]["rate"] == held[1]["rate"]
    decide(schedule, 3, 4)
    assert schedule.knobs["rate"] < held[1]["rate"]


def test_an_action_that_is_not_finite_holds_all_knobs(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = alone(policy())
    held = (schedule.value, schedule.knobs)
    actions = np.array([0.5, math.nan, 0.5], np.float32)
    monkeypatch.setattr(schedule.policy, "act", lambda observation: actions)
    with pytest.warns(RuntimeWarning, match="action is not finite; λ is held"):
        decide(schedule, 1)
    assert (schedule.value, schedule.knobs) == held


def test_all_knobs_are_held_while_lam_is_back_from_the_end_of_its_range() -> None:
    # λ is asked to rise until half of the run, from near its upper end; the rate to fall all the time.
    schedule = alone(policy((0.0, -0.1, 0.0), (-1.0, 0.0, 0.0)), decisions=20, initial_lam=10**0.2)
    for number in range(1, AT_BOUND):
        schedule.step(progress=number / 20, **SIGNALS)
    with pytest.warns(RuntimeWarning, match="λ was at the upper end of its range"):
        schedule.step(progress=AT_BOUND / 20, **SIGNALS)
    for number in range(AT_BOUND + 1, 13):
        schedule.step(progress=number / 20, **SIGNALS)
    log_lam, log_rate = ([math.log10(row[name]) for row in schedule.history] for name in ("lam", "rate"))
    assert log_lam[:10] == pytest.approx([0.5] * AT_BOUND + [0.2] * 5)
    falling = [-0.025 * (1 + number) for number in range(8)]
    assert log_rate == pytest.approx(falling[:AT_BOUND] + [falling[AT_BOUND - 1]] * 5 + falling[AT_BOUND:])
