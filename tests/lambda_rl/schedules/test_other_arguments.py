"""A state of a schedule that was made with other arguments is refused; what was measured may differ."""

from __future__ import annotations

import json
import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from places import ROOT
from torch import nn

from lambda_rl import (
    Constant,
    Cosine,
    GapRule,
    LearnedSchedule,
    Policy,
    PolicyCard,
    PullDown,
    RunFacts,
    Schedule,
    Steps,
    policy_from_arrays,
    split_parameters,
)
from lambda_rl.control import ControlLaw
from lambda_rl.observation import FEATURES

STEPS = 200
FACTS = {"total_steps": STEPS, "num_train": 500, "val_size": 100, "num_classes": 4, "batch_size": 32}
RUN_FACTS = RunFacts(num_train=500, num_params=72, val_size=100, num_classes=4, epochs=13.0, lr_sum=10.0)
SIGNALS = {"train_loss": 1.2, "val_loss": 1.3, "train_accuracy": 0.4, "val_accuracy": 0.3}


def policy() -> Policy:
    rng = np.random.default_rng(0)
    return policy_from_arrays(
        obs_mean=np.zeros(len(FEATURES)),
        obs_var=np.ones(len(FEATURES)),
        layers=[(0.2 * rng.normal(size=(1, len(FEATURES))), np.zeros(1))],
        card=PolicyCard(knobs=(ControlLaw().knob,), decisions=10),
    )


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))


def make(kind: Any = torch.optim.SGD, lr: float = 0.05, **change: Any) -> LearnedSchedule:
    optimizer = kind(split_parameters(network(), 0.01), lr=lr)
    return LearnedSchedule(optimizer, **{"policy": policy(), **FACTS, **change})


def at_step_100(schedule: Schedule) -> dict[str, Any]:
    """Its state after half a run, through JSON."""
    for step in range(20, 101, 20):
        schedule.step(step=step, **SIGNALS)
    return json.loads(json.dumps(schedule.state_dict()))


CHANGES: list[dict[str, Any]] = [
    {"num_train": 501},
    {"val_size": 99},
    {"num_classes": 5},
    {"batch_size": 16},
    {"lr_sum": 3.0},
    {"initial_lam": 0.01},
    {"loss_scale": 2.0},
    {"loss_scale": "start"},
    {"decisions": 12},
    {"decay": "decoupled", "lam_meaning": "convert"},
    {"lam_meaning": "coupled"},
]


@pytest.mark.parametrize(
    "change", CHANGES, ids=lambda change: ",".join(f"{k}={v}" for k, v in change.items())
)
def test_every_argument_must_be_that_of_the_state(change: dict[str, Any]) -> None:
    named = rf"other arguments \({next(iter(change))}: "
    for there, here in (({}, change), (change, {})):
        schedule = make(**here)
        before = schedule.state_dict()
        with pytest.raises(ValueError, match=named):
            schedule.load_state_dict(at_step_100(make(**there)))
        assert schedule.state_dict() == before  # nothing was taken
        assert schedule.groups is not None
        assert schedule.groups.optimizers[0].param_groups[0]["weight_decay"] == schedule.value


def test_facts_at_once_must_agree_too() -> None:
    state = at_step_100(make(facts=RUN_FACTS))
    make(facts=RUN_FACTS).load_state_dict(state)
    other = RunFacts(**{**vars(RUN_FACTS), "epochs": 14.0})
    with pytest.raises(ValueError, match=r"other arguments \(epochs: 13\.0 in the state, 14\.0 here\)"):
        make(facts=other).load_state_dict(state)


def test_the_state_of_sgd_does_not_fit_adamw() -> None:
    """Its factor would become 1, and λ that of SGD."""
    state = at_step_100(make())
    converted = make(torch.optim.AdamW, lr=1e-3, lam_meaning="convert")
    assert converted.factor != 1.0
    lam_range = converted.lam_range
    with pytest.raises(ValueError, match="decay: 'coupled' in the state, 'decoupled' here"):
        converted.load_state_dict(state)
    assert converted.lam_range == lam_range


@pytest.mark.parametrize("steps", [100, 2000])
def test_a_run_of_another_length_is_refused_with_a_word_on_training_longer(steps: int) -> None:
    """Else no decision would be due before progress has come back to where it was."""
    for make_one in (make, lambda **k: PullDown(0.3, 0.003, **k), lambda **k: Cosine(0.3, 0.0, **k)):
        state = at_step_100(make_one(total_steps=STEPS))
        with pytest.raises(
            ValueError, match=rf"total_steps=200, this schedule is for {steps}; .*To train longer"
        ):
            make_one(total_steps=steps).load_state_dict(state)
        make_one(total_steps=STEPS).load_state_dict(state)


def test_who_needs_no_length_may_have_another() -> None:
    for make_one in (lambda n: Constant(0.1, total_steps=n), lambda n: GapRule(total_steps=n)):
        make_one(300).load_state_dict(at_step_100(make_one(STEPS)))


def test_what_is_measured_is_taken_from_the_state() -> None:
    """Trained weights, a frozen layer and a lower learning rate are nothing odd when a run is resumed."""
    schedule = make()
    state = at_step_100(schedule)
    model = network()
    model[0].requires_grad_(False)
    with torch.no_grad():
        model[2].weight.mul_(3.0)
    optimizer = torch.optim.SGD(split_parameters(model, 0.01), lr=0.005)
    resumed = LearnedSchedule(optimizer, policy=policy(), **FACTS)
    assert resumed.facts != schedule.facts
    resumed.load_state_dict(state)
    assert resumed.facts == schedule.facts
    assert json.loads(json.dumps(resumed.state_dict())) == state
    more = {"weight_norm": 2.0, "penalty": 0.1, "lr_ratio": 0.5, **SIGNALS}
    assert resumed.step(step=120, **more) == schedule.step(step=120, **more)


def test_a_state_of_an_older_version_is_refused() -> None:
    for schedule in (make(), Steps([1, 0], total_steps=STEPS)):
        state = at_step_100(schedule)
        del state["config"]["total_steps"]
        with pytest.raises(ValueError, match="older lambda_rl, which did not keep total_steps"):
            schedule.load_state_dict(state)


def test_integers_of_other_libraries_are_integers() -> None:
    """As ``np.prod(shape)`` and ``labels.max() + 1`` give them: the state is JSON, and that of the same run."""
    labels = torch.tensor([0, 3, 1])
    odd = make(
        num_train=np.prod((50, 10)),
        val_size=np.float64(100.0),
        num_classes=labels.max() + 1,
        batch_size=np.int32(32),
        total_steps=torch.tensor(STEPS),
        decisions=np.int64(10),
    )
    state = at_step_100(odd)
    plain = make()
    plain.load_state_dict(state)
    assert json.loads(json.dumps(plain.state_dict())) == state
    assert all(type(value) is int for value in (odd.total_steps, odd.decisions, odd.facts.num_train))


def test_the_same_arguments_go_on_without_a_word() -> None:
    schedule, resumed = make(initial_lam=0.02, loss_scale="start"), make(initial_lam=0.02, loss_scale="start")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed.load_state_dict(at_step_100(schedule))
    assert [s.step(step=120, **SIGNALS) for s in (resumed, schedule)] == [resumed.value] * 2
    assert resumed.history == schedule.history


def test_the_documentation_loads_checkpoints_as_data() -> None:
    """Before torch 2.6 ``torch.load`` executes what is in a file, unless told not to."""
    root = ROOT
    texts = [
        path.read_text(encoding="utf-8")
        for path in (root / "README.md", *sorted((root / "docs").glob("*.md")))
    ]
    calls = [call for text in texts for call in re.findall(r"torch\.load\([^)]*\)", text)]
    assert calls
    assert all("weights_only=True" in call for call in calls)
