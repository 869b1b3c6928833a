"""What is said when a schedule is made: facts outside training, vectors that decay, steps and names that look wrong."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from tiny_schedules import FACTS, KAPPA_CARD, alone, good, loop, make_policy
from torch import nn

from lambda_rl import Constant, LearnedSchedule, Policy, RunFacts, split_parameters
from lambda_rl.first_look.setting import decayed_vectors, own_decay, seems_epochs, strong_decay
from lambda_rl.first_look.unlike_training import unlike_training


def trained_on(facts: RunFacts, spread: float = 0.5, card: Any = KAPPA_CARD) -> Policy:
    """A policy whose training had these facts, give or take some decades; all of it SGD, half of it with norms."""
    policy = make_policy(card=card)
    scales = {"num_train": (3.5, 1.5), "num_params": (5.0, 1.5), "epochs": (1.0, 1.5), "val_size": (2.5, 1.0)}
    for name, (middle, width) in scales.items():
        i = card.features.index(f"log_{name}")
        policy.obs_mean[i] = (np.log10(getattr(facts, name)) - middle) / width
        policy.obs_var[i] = (spread / width) ** 2
    if "adaptive" in card.features:
        i = card.features.index("adaptive")
        policy.obs_mean[i], policy.obs_var[i] = -1.0, 0.0
    return policy


def test_facts_outside_training_are_named_with_what_training_had() -> None:
    policy = trained_on(FACTS)
    assert unlike_training(policy, FACTS) == ""
    near = dataclasses.replace(FACTS, num_train=50_000, adaptive=False, normalised=True)  # 2 deviations
    assert unlike_training(policy, near) == ""
    far = dataclasses.replace(FACTS, num_params=1_200_000, epochs=0.1, adaptive=True)
    said = unlike_training(policy, far)
    assert (
        "num_params=1.2e+06 (there 56 to 1.8e+04); epochs=0.1 (there 0.56 to 1.8e+02); an adaptive optimizer"
        in said
    )
    assert "num_train" not in said
    assert "trust='auto'" in said


def test_only_facts_that_the_policy_looks_at_count() -> None:
    policy = trained_on(FACTS)
    policy.layers[0][0][:, policy.card.features.index("log_num_params")] = 0.0
    assert unlike_training(policy, dataclasses.replace(FACTS, num_params=10**9)) == ""


def test_a_fact_that_training_had_one_value_of_may_differ_a_little() -> None:
    policy = trained_on(FACTS, spread=0.0)
    assert unlike_training(policy, dataclasses.replace(FACTS, val_size=1500)) == ""
    assert "val_size=2000 (there 158" not in unlike_training(policy, FACTS)
    assert "val_size=2000" in unlike_training(policy, dataclasses.replace(FACTS, val_size=2000))


def test_it_is_one_warning_when_the_schedule_is_made() -> None:
    facts = dataclasses.replace(FACTS, num_train=10**7, num_params=10**9)
    with pytest.warns(UserWarning, match="unlike those that the policy was trained on: num_train=") as caught:
        LearnedSchedule(policy=trained_on(FACTS), facts=facts, weight_norm=3.0)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_what_was_not_given_is_as_in_training_and_so_never_outside() -> None:
    policy = trained_on(dataclasses.replace(FACTS, num_params=40))
    model = nn.Linear(8, 5)
    optimizer = torch.optim.SGD(split_parameters(model, 1e-4), lr=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        LearnedSchedule(optimizer, policy=policy, total_steps=100)


def test_biases_and_norms_that_decay_are_said() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1e-4)
    with pytest.warns(UserWarning, match="λ also decays 4 parameters of one dimension .*split_parameters"):
        schedule = Constant(0.1, optimizer)
    assert schedule.groups is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Constant(0.1, torch.optim.SGD(split_parameters(model, 1e-4), lr=0.1))
        vectors = [p for p in model.parameters() if p.dim() == 1]
        flat = Constant(0.1, torch.optim.SGD(vectors, lr=0.1, weight_decay=1e-4))  # these alone: it is meant
        Constant(0.1)
    assert flat.groups is not None
    assert decayed_vectors(flat.groups) == ""


def test_steps_that_count_epochs() -> None:
    assert "10 epochs are total_steps=200" in seems_epochs(10, 1257, 64)
    assert seems_epochs(20, 1257, 64) == ""  # one epoch
    assert seems_epochs(2000, 10**7, 64) == ""  # less than an epoch, and many steps
    assert seems_epochs(10, None, 64) == seems_epochs(None, 1257, 64) == ""
    with pytest.warns(UserWarning, match="it counts optimizer steps: 10 epochs are total_steps=790"):
        loop(total_steps=10, num_train=5000, batch_size=64)
    schedule = Constant(0.1)
    schedule.needs_progress, schedule.total_steps = True, 10  # type: ignore[misc]
    with pytest.warns(RuntimeWarning, match="If these are epochs: total_steps counts optimizer steps"):
        schedule.step(step=20)


def test_names_of_signals_that_are_almost_right() -> None:
    schedule = alone(decisions=10)
    rest = {k: v for k, v in good(0).items() if not k.endswith("accuracy")}
    with pytest.warns(UserWarning, match="unknown signal") as caught:
        schedule.step(**rest, train_acc=0.2, val_acc=0.3, notes=4.0)
    said = [str(item.message) for item in caught if item.category is UserWarning]
    assert said == [
        "LearnedSchedule: unknown signal train_acc; did you mean 'train_accuracy'?",
        "LearnedSchedule: unknown signal val_acc; did you mean 'val_accuracy'?",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        schedule.step(**{**rest, "progress": 0.2}, train_acc=0.2, val_acc=0.3)  # said already
        alone(decisions=10).step(
            **good(0), test_accuracy=0.3, ema_val_loss=1.0
        )  # what they are like was given
    assert schedule.history[1]["notes"] == 4.0


def test_a_signal_without_its_name_is_refused() -> None:
    with pytest.raises(TypeError, match=r"signals are given by name, as step\(train_loss=.*got step\(1.0\)"):
        Constant(0.1).step(1.0)


def test_a_converted_lambda_that_is_too_strong_is_said() -> None:
    assert strong_decay(0.1, 10.0, 1000) == ""
    assert "340, which takes 1.7 % of the weights at each step" in strong_decay(340.0, 0.005, 100)
    assert strong_decay(340.0, 0.005, None) == ""
    with pytest.warns(UserWarning, match="λ was converted to .* % of the weights at each step"):
        loop(torch.optim.AdamW, lam_meaning="convert", total_steps=2, num_train=64)


def test_the_users_own_decay() -> None:
    model = nn.Linear(3, 2)
    groups = [{"params": [model.weight], "wd_mult": 0.5}, {"params": [model.bias], "weight_decay": 0.0}]
    schedule = Constant(0.1, torch.optim.AdamW(groups, weight_decay=0.02))
    assert own_decay(None) is None
    assert schedule.groups is not None
    assert own_decay(schedule.groups) == pytest.approx(0.1)  # λ by now: it is asked before λ is written
