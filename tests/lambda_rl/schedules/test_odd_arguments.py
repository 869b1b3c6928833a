"""Numbers that cannot be, and numbers of other libraries, as arguments and signals of schedules."""

from __future__ import annotations

import csv
import json
import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lambda_rl import (
    Constant,
    Cosine,
    GapRule,
    LearnedSchedule,
    Policy,
    PolicyCard,
    PullDown,
    PullUp,
    ReplaySchedule,
    RunFacts,
    Schedule,
    Steps,
    lam_per_example,
    parse_schedule,
    policy_from_arrays,
    split_parameters,
)
from lambda_rl.arguments import real_number, whole_number
from lambda_rl.control import ControlLaw
from lambda_rl.observation import FEATURES

HUGE = 10**400
FACTS = {"total_steps": 100, "num_train": 500, "val_size": 100, "num_classes": 4, "batch_size": 32}


def policy() -> Policy:
    return policy_from_arrays(
        obs_mean=np.zeros(len(FEATURES)),
        obs_var=np.ones(len(FEATURES)),
        layers=[(np.full((1, len(FEATURES)), 0.1), np.zeros(1))],
        card=PolicyCard(knobs=(ControlLaw().knob,)),
    )


def optimizer(**change: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(split_parameters(nn.Linear(4, 3), 0.01), **{"lr": 0.05, **change})


def learned(**change: Any) -> LearnedSchedule:
    return LearnedSchedule(optimizer(), **{"policy": policy(), **FACTS, **change})


# ---- arguments

WHOLE = ("total_steps", "num_train", "val_size", "num_classes", "batch_size", "decisions")
NO_WHOLE_NUMBERS = (
    0,
    -1,
    1.5,
    math.nan,
    math.inf,
    HUGE,
    "5",
    b"5",
    True,
    [5],
    1j,
    torch.tensor([5, 6]),
    object(),
)
NO_NUMBERS = (
    -1.0,
    math.nan,
    math.inf,
    -math.inf,
    HUGE,
    "1",
    True,
    [1.0],
    1j,
    torch.tensor([1.0, 2.0]),
    object(),
)


@pytest.mark.parametrize("name", WHOLE)
def test_counts_must_be_whole_numbers(name: str) -> None:
    for value in NO_WHOLE_NUMBERS:
        with pytest.raises(ValueError, match=f"{name} must be a whole number"):
            learned(**{name: value})


@pytest.mark.parametrize("name", ["weight_norm", "penalty_sum", "lr_sum", "initial_lam"])
def test_amounts_must_be_finite_and_not_negative(name: str) -> None:
    for value in NO_NUMBERS:
        with pytest.raises(ValueError, match=f"{name} must be finite"):
            learned(**{name: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"facts": 5}, "facts must be a lambda_rl.RunFacts, got 5"),
        ({"policy": 5}, "policy must be a lambda_rl.Policy, a name or a path, got 5"),
        ({"loss_scale": HUGE}, "loss_scale must be finite"),
        ({"loss_scale": [1.0]}, 'loss_scale must be "cross-entropy", "start" or a number'),
        ({"lam_meaning": 5}, "unknown lam_meaning 5"),
        ({"decay": [1]}, r"unknown decay \[1\]"),
        ({"distributed": 0}, "distributed must be"),
    ],
)
def test_other_arguments_are_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        learned(**change)


def test_a_norm_of_zero_is_one() -> None:
    assert math.isfinite(learned(weight_norm=0.0, penalty_sum=0.0).value)


NO_RANGES = (
    (math.inf, math.inf),
    (0.5, 0.1),
    (-1.0, 1.0),
    (math.nan, 1.0),
    (0.1, math.nan),
    (0.1,),
    5,
    "ab",
    (1, HUGE),
)


def test_a_range_must_have_a_finite_lower_end() -> None:
    """With (inf, inf) λ itself became infinite, and was written to ``weight_decay``."""
    for lam_range in NO_RANGES:
        for make in (lambda **k: Constant(0.1, **k), GapRule):
            attached = optimizer()
            with pytest.raises(ValueError, match="lam_range"):
                make(optimizer=attached, lam_range=lam_range)
            assert math.isfinite(attached.param_groups[0]["weight_decay"])
    assert Constant(0.1, lam_range=(0.2, math.inf)).value == 0.2


@pytest.mark.parametrize(
    "make",
    [
        Constant,
        lambda v: Steps([1.0, v]),
        lambda v: PullDown(v, 0.1),
        lambda v: PullDown(0.3, v),
        lambda v: PullUp(0.3, v, "linear"),
        lambda v: Cosine(v, 0.1),
        lambda v: GapRule(initial=v),
        lambda v: GapRule(factor=v),
        lambda v: ReplaySchedule([(0.0, v)]),
        lambda v: ReplaySchedule([(v, 0.1)]),
        lambda v: split_parameters(nn.Linear(2, 2), v),
    ],
)
def test_lams_and_other_numbers_of_schedules_are_checked(make: Any) -> None:
    for value in NO_NUMBERS:
        with pytest.raises(ValueError, match=r"must be finite|needs a finite"):
            make(value)


@pytest.mark.parametrize("name", ["threshold", "low_threshold"])
def test_thresholds_of_the_gap_rule_are_checked(name: str) -> None:
    for value in (math.nan, math.inf, HUGE, "1"):
        with pytest.raises(ValueError, match=f"{name} must be finite"):
            GapRule(**{name: value})
    for length in (math.nan, math.inf, 0):
        with pytest.raises(ValueError, match="total_steps must be a whole number"):
            GapRule(total_steps=length)  # type: ignore[arg-type]


def test_what_is_no_optimizer_is_refused() -> None:
    for value in (5, "sgd", [5], {}, nn.Linear(2, 2)):
        with pytest.raises(ValueError, match=r"optimizer must be a torch\.optim\.Optimizer"):
            Constant(0.1, value)  # type: ignore[arg-type]


def test_numbers_of_any_library_are_taken() -> None:
    for five in (
        5,
        5.0,
        np.int64(5),
        np.float32(5),
        np.array(5),
        torch.tensor(5),
        torch.tensor(5.0),
        np.uint8(5),
    ):
        assert whole_number("n", five) == 5
        assert type(whole_number("n", five)) is int
        assert real_number("x", five) == 5.0
        assert type(real_number("x", five)) is float
    with pytest.raises(ValueError, match="num_train must be a whole number"):
        lam_per_example(0.1, 0)


def test_facts_are_plain_numbers() -> None:
    facts = RunFacts(np.int64(500), torch.tensor(72), np.prod((10, 10)), 4.0, np.float32(2.0), 3)  # type: ignore[arg-type]
    assert json.loads(json.dumps(vars(facts))) == {
        "num_train": 500, "num_params": 72, "val_size": 100, "num_classes": 4, "epochs": 2.0, "lr_sum": 3.0,
        "adaptive": None, "normalised": None, "pull": 1.0,
    }  # fmt: skip
    for change in ({"num_classes": 2.5}, {"epochs": HUGE}, {"num_train": "5"}, {"lr_sum": None}):
        with pytest.raises(ValueError, match=f"run facts: {next(iter(change))} must be"):
            RunFacts(**{**vars(facts), **change})


# ---- what a run is like


def test_a_learning_rate_of_zero_at_the_start_asks_for_the_sum() -> None:
    with pytest.raises(ValueError, match=r"learning rate is 0 at the start.*give lr_sum="):
        LearnedSchedule(optimizer(lr=0.0), policy=policy(), **FACTS)
    assert LearnedSchedule(optimizer(lr=0.0), policy=policy(), lr_sum=5.0, **FACTS).facts.lr_sum == 5.0


def test_an_all_frozen_network_is_named_as_such() -> None:
    frozen = optimizer()
    for group in frozen.param_groups:
        for parameter in group["params"]:
            parameter.requires_grad_(False)
    with pytest.raises(ValueError, match="all weights with decay are frozen"):
        LearnedSchedule(frozen, policy=policy(), **FACTS)
    LearnedSchedule(frozen, policy=policy(), facts=RunFacts(500, 12, 100, 4, 6.4, 5.0), total_steps=100)


def test_a_run_longer_than_it_was_said_to_be_is_told_once() -> None:
    schedules: list[Schedule] = [PullDown(0.3, 0.003, total_steps=10), learned(total_steps=10)]
    for schedule in schedules:
        schedule.step(step=10, train_loss=1.0, val_loss=1.0, train_accuracy=0.5, val_accuracy=0.5)
        held = schedule.value
        with pytest.warns(RuntimeWarning, match="longer than it was said to be: step 11 of total_steps=10"):
            assert schedule.step(step=11) == held
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            schedule.step(step=12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Constant(0.1, total_steps=10).step(step=11)  # does not care


# ---- signals and progress


def unreadable() -> dict[str, torch.Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about quantized and sparse tensors
        return {
            "meta": torch.tensor(1.0, device="meta"),
            "sparse": torch.sparse_coo_tensor([[0]], [1.0], (1,)),
            "quantized": torch.quantize_per_tensor(torch.tensor([1.0]), 0.1, 0, torch.quint8),
            "complex": torch.tensor(1 + 2j),
            "two": torch.tensor([1.0, 2.0]),
            "none": torch.tensor([]),
        }


@pytest.mark.parametrize("name", ["progress", "step", "train_loss", "weight_norm", "anything"])
def test_tensors_that_hold_no_number_are_refused_by_name(name: str) -> None:
    schedule = learned()
    before = schedule.state_dict()
    for tensor in unreadable().values():
        arguments = {name: tensor} if name == "step" else {"progress": 0.5, name: tensor}
        with pytest.raises(ValueError, match=f"{name} must be one number, got a torch"):
            schedule.step(**arguments)
        assert schedule.state_dict() == before


@pytest.mark.parametrize("value", ["half", [0.5], HUGE, {}, 1j])
def test_progress_that_is_no_number_is_refused_by_name(value: Any) -> None:
    for name in ("progress", "step"):
        with pytest.raises(ValueError, match=f"{name} must be one number"):
            PullDown(0.3, 0.003, total_steps=10).step(**{name: value})


# ---- traces


def test_a_trace_without_progress_says_how_to_record_it(tmp_path: Path) -> None:
    schedule = Constant(0.1)
    schedule.step()
    path = tmp_path / "trace.csv"
    schedule.to_csv(path)
    for trace in (path, schedule.history):
        with pytest.raises(
            ValueError, match="a schedule records progress if it is given, or counted by total_steps"
        ):
            ReplaySchedule(trace)
    with pytest.raises(ValueError, match="records progress"):
        parse_schedule(f"replay:{path}")
    rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    assert [row["progress"] for row in rows] == ["0.0", ""]


def test_a_trace_must_be_a_plain_file(tmp_path: Path) -> None:
    """A device may have no end, and a pipe no beginning."""
    paths = [tmp_path]
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        paths += [tmp_path / "pipe", Path("/dev/zero")]
    for path in paths:
        for read in (ReplaySchedule, lambda path: parse_schedule(f"replay:{path}")):
            with pytest.raises(ValueError, match="not a plain file"):
                read(path)
