"""A learned schedule by policies that read other features than all, or move other knobs than λ."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from tiny_policies import CARD, FACTS, LAM, make_policy

from lambda_rl import FEATURES, Knob, LearnedSchedule, Policy, policy_from_arrays, split_parameters

SOME = ("delta_log_lam", "val_loss", "progress", "loss_gap", "log_num_train", "train_loss")
SIGNALS = {"train_accuracy": 0.3, "val_accuracy": 0.25, "weight_norm": 3.1}


def card_of(features: tuple[str, ...]):
    return dataclasses.replace(CARD, features=features, feature_versions=())


def some_and_all() -> tuple[Policy, Policy]:
    """A policy of some features, and the one of all features that looks at the same."""
    some = make_policy(4, card=card_of(SOME), scale=0.3)
    places = [FEATURES.names().index(name) for name in SOME]
    mean, var = np.zeros(len(FEATURES)), np.ones(len(FEATURES))
    mean[places], var[places] = some.obs_mean, some.obs_var
    (weight, bias), *rest = some.layers
    wide = np.zeros((len(bias), len(FEATURES)))
    wide[:, places] = weight
    return some, policy_from_arrays(obs_mean=mean, obs_var=var, layers=[(wide, bias), *rest], card=CARD)


def schedule_of(policy: Policy) -> LearnedSchedule:
    return LearnedSchedule(policy=policy, facts=FACTS, weight_norm=3.0, decisions=10)


def test_lam_is_that_of_the_policy_of_all_features_that_looks_at_the_same() -> None:
    schedules = [schedule_of(policy) for policy in some_and_all()]
    seen = [schedules[0].value]
    for i in range(9):
        given = {"train_loss": 2.0 - 0.1 * i, "val_loss": 2.1 - 0.05 * i, **SIGNALS}
        first, second = (schedule.step(progress=(i + 1) / 10, **given) for schedule in schedules)
        assert first == pytest.approx(second, rel=1e-5)
        seen.append(first)
    assert len(set(seen)) > 5  # λ moved, or this shows little


def test_far_outside_training_is_told_by_the_names_that_the_policy_reads() -> None:
    policy = make_policy(card=card_of(SOME))
    narrow = Policy(
        obs_mean=np.zeros(len(SOME)), obs_var=np.full(len(SOME), 1e-4), clip_obs=10.0, epsilon=1e-8,
        layers=policy.layers, card=policy.card,
    )  # fmt: skip
    schedule = schedule_of(narrow)
    held = schedule.value
    with pytest.warns(
        RuntimeWarning, match=r"far outside .*val_loss, progress, loss_gap, .*train_loss\); λ is held"
    ):
        assert schedule.step(progress=0.1, train_loss=6.0, val_loss=9.0, **SIGNALS) == held


def test_facts_that_the_policy_does_not_read_need_not_be_known() -> None:
    policy = make_policy(card=card_of(("progress", "val_loss")))
    optimizer = torch.optim.SGD(split_parameters(torch.nn.Linear(4, 2), 0.01), lr=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schedule = LearnedSchedule(optimizer, policy=policy, total_steps=100)
    assert schedule.lam_range[0] <= schedule.value <= schedule.lam_range[1]


def test_lam_is_not_converted_without_the_features_that_tell_how() -> None:
    policy = make_policy(card=card_of(("progress", "log_lam")))
    adamw = torch.optim.AdamW(split_parameters(torch.nn.Linear(4, 2), 0.01), lr=0.1)
    with pytest.raises(ValueError, match="needs a policy that reads the features log_lam and log_shrink"):
        LearnedSchedule(adamw, policy=policy, total_steps=100, lam_meaning="convert", num_train=9, val_size=9,
                        batch_size=3, num_classes=2)  # fmt: skip


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ((LAM, Knob("unheard", 0.0, 0.7, 0.1)), "unknown knob 'unheard'"),
        ((Knob("dropout", 0.0, 0.7, 0.1),), "the first knob must be lam or kappa, the policy moves dropout"),
    ],
)
def test_a_policy_of_other_knobs_is_refused(knobs: tuple[Knob, ...], message: str) -> None:
    policy = make_policy(card=dataclasses.replace(CARD, knobs=knobs))
    with pytest.raises(ValueError, match=message):
        schedule_of(policy)
