"""What a learned schedule does with signals that cannot be, or lie far outside of its training."""

from __future__ import annotations

import math
import random
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_schedules import CARD, CARD15, FACTS, MEASURED, alone, good, make_policy
from torch import nn

from lambda_rl import (
    LearnedSchedule,
    Policy,
)
from lambda_rl.observation import FEATURES
from lambda_rl.schedules.safety import AT_BOUND, FAR


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_accuracy": 45.0}, "train_accuracy=45 is not a fraction"),
        ({"val_accuracy": -0.1}, "not a fraction"),
        ({"train_loss": -0.5}, "train_loss=-0.5 is negative"),
        ({"lr_ratio": math.nan}, r"not finite \(lr_ratio\)"),
    ],
)
def test_impossible_signals_hold(change: dict[str, float], message: str) -> None:
    schedule, clean = alone(), alone()
    schedule.step(**good(0))
    clean.step(**good(0))
    held = schedule.value
    with pytest.warns(RuntimeWarning, match=message) as caught:
        assert schedule.step(**good(1, **change)) == held
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert schedule.step(**good(2, **change)) == held  # warned once
    assert len(caught) == 1
    assert caught[0].filename == __file__  # points at the loop
    assert schedule.step(**good(3)) == clean.step(**good(3))


def test_far_outside_training_holds() -> None:
    policy = make_policy()
    narrow = Policy(
        obs_mean=policy.obs_mean, obs_var=np.full(len(FEATURES), 1e-4), clip_obs=10.0, epsilon=1e-8,
        layers=policy.layers, card=CARD,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schedule = alone(policy=narrow)
    held = schedule.value
    with pytest.warns(RuntimeWarning, match=r"far outside what the policy was trained on \(.*train_loss"):
        assert schedule.step(**good(0)) == held
    # The same for a policy that does not look at any of it: nothing to fear.
    blind = Policy(
        obs_mean=policy.obs_mean, obs_var=narrow.obs_var, clip_obs=10.0, epsilon=1e-8,
        layers=[(np.zeros((1, len(FEATURES))), np.full(1, 0.1))], card=CARD,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule = alone(policy=blind)
        assert schedule.step(**good(0)) == pytest.approx(schedule.history[0]["lam"] * 10**0.05)
    assert FAR > 5  # with unit variance no entry is ever far: features lie within ±5


def test_lam_at_the_upper_end_falls_back_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = alone(decisions=40, initial_lam=0.5)
    start = math.log10(schedule.value)
    moves = iter([*[1.0] * (AT_BOUND + 6), -0.5, 1.0])
    monkeypatch.setattr(schedule.policy, "act", lambda obs: np.array([next(moves)]))
    with pytest.warns(RuntimeWarning, match="upper end of its range for 5 decisions") as caught:
        seen = [math.log10(schedule.step(**good(0, progress=(i + 1) / 40))) for i in range(AT_BOUND + 8)]
    assert len(caught) == 1
    assert 0.5 < start + 1.5 < 1.0  # two moves stay inside, the third does not
    inside = start + 1.0
    assert seen[:2] == pytest.approx([start + 0.5, inside])
    assert seen[2 : 2 + AT_BOUND] == pytest.approx([0.5] * AT_BOUND)
    assert seen[2 + AT_BOUND : -2] == pytest.approx([inside] * 4)
    assert seen[-2:] == pytest.approx([inside - 0.25, min(inside + 0.25, 0.5)])


def test_lam_at_the_lower_end_stays_as_in_the_environment() -> None:
    schedule = alone(policy=make_policy(bias=-5.0), decisions=40)
    with pytest.warns(RuntimeWarning, match="lower end") as caught:
        seen = [math.log10(schedule.step(**good(0, progress=(i + 1) / 40))) for i in range(30)]
    assert len(caught) == 1
    assert seen[-20:] == pytest.approx([-5.0] * 20)


SCALARS = (
    0.0, 1.0, 0.3, 2.0, -1.0, 1e-300, 1e308, -1e308, 45.0, math.nan, math.inf, -math.inf, 1e-12, None, True, 10**400,
    "much", "nan", [1.0], complex(1, 1),
)  # fmt: skip

TENSORS = tuple(
    torch.tensor(value)
    for value in (0.5, math.nan, math.inf, -3.0, 1e30, [0.4], [1.0, 2.0], [], 7, True, 1 + 1j)
)


def test_ten_thousand_sequences_of_signals() -> None:
    """λ stays finite and in range, and nothing is raised but ValueError."""
    rng = random.Random(0)
    policies = [
        make_policy(seed, hidden=4, bias=b, card=CARD15) for seed, b in enumerate((0.0, 0.3, -5.0, 5.0))
    ]
    model = nn.Linear(3, 2)
    low, high = 10**CARD.log_lam_min * (1 - 1e-9), 10**CARD.log_lam_max * (1 + 1e-9)
    names = (
        "train_loss",
        "val_loss",
        "train_accuracy",
        "val_accuracy",
        "weight_norm",
        "penalty",
        "lr_ratio",
        "x",
    )
    refused = decided = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(10_000):
            attached = number % 4 == 0
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1e-3) if attached else None
            schedule = LearnedSchedule(
                optimizer, policy=policies[number % 3 + rng.randrange(2)], facts=FACTS, weight_norm=3.0,
                total_steps=rng.choice((None, 20)), loss_scale=rng.choice((None, "start", 2.0)),
            )  # fmt: skip
            sane = rng.random()
            for call in range(10):
                signals = {}
                for name in names:
                    if rng.random() < sane:
                        signals[name] = rng.random() * (1 if "accuracy" in name else 3)
                    elif rng.random() < 0.8:
                        signals[name] = rng.choice(TENSORS if rng.random() < 0.3 else SCALARS)
                if rng.random() < 0.8:
                    signals["progress"] = (call + 1) / 10
                elif rng.random() < 0.7:
                    signals["progress"] = rng.choice(SCALARS)
                else:
                    signals["step"] = rng.choice((0, 5, 19, 10**400, -1, "3", None, 2.5))
                try:
                    lam = schedule.step(**signals)
                except ValueError:
                    refused += 1
                    lam = schedule.value
                assert math.isfinite(lam)
                assert low <= lam <= high
                if attached:
                    assert optimizer.param_groups[0]["weight_decay"] == lam
            decided += len({row["lam"] for row in schedule.history}) - 1
    assert refused > 10_000  # the rules were met,
    assert decided > 10_000  # and so was the policy


def step_quietly(schedule, **signals):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return schedule.step(**signals)


@pytest.mark.parametrize("name", ["train_loss", "val_loss", "val_accuracy", "weight_norm"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_signal_holds_lam_and_leaves_no_trace(name, bad):
    schedule, clean = alone(), alone()
    schedule.step(**good(0))
    clean.step(**good(0))
    held = schedule.value
    with pytest.warns(RuntimeWarning, match=rf"not finite \({name}\); λ is held"):
        assert schedule.step(**good(1, **{name: bad})) == held
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule.step(**good(1, **{name: bad}))  # warned once
    assert schedule.step(**good(2)) == clean.step(**good(2))


def test_missing_signals():
    """Without a loss λ waits; without an accuracy it is inferred: 2.0 nats lie between chance, 2.303, and 0."""
    schedule = alone()
    held = schedule.value
    with pytest.warns(RuntimeWarning, match="train_loss and val_loss not given; λ is held"):
        assert schedule.step(progress=0.1, train_accuracy=0.5) == held
    assert schedule.step(progress=0.15, train_loss=2.0) == held
    with pytest.warns(RuntimeWarning, match="not given: val_accuracy; inferred from the loss"):
        assert schedule.step(progress=0.2, train_loss=2.0, val_loss=2.0) != held
    full = alone()
    share = 1 - 2.0 / math.log(10)
    full.step(progress=0.2, train_loss=2.0, val_loss=2.0, train_accuracy=0.5, val_accuracy=0.1 + 0.9 * share)
    assert schedule.value == pytest.approx(full.value, rel=1e-9)
    assert [row["progress"] for row in schedule.history] == [0.0, 0.2]


def test_non_finite_action_holds(monkeypatch):
    schedule = alone()
    monkeypatch.setattr(schedule.policy, "act", lambda obs: np.full(1, np.nan, np.float32))
    held = schedule.value
    with pytest.warns(RuntimeWarning, match="action is not finite"):
        assert schedule.step(**good(0)) == pytest.approx(held, rel=1e-12)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 3),
    bias=st.sampled_from([-5.0, 0.0, 5.0]),
    calls=st.lists(
        st.fixed_dictionaries(
            {"progress": st.floats(0, 2)},
            optional=dict.fromkeys(MEASURED, st.one_of(st.none(), st.floats(width=32))),
        ),
        max_size=15,
    ),
)
def test_any_signals_give_finite_lam_in_range(seed, bias, calls):
    schedule = alone(policy=make_policy(seed, hidden=8, bias=bias))
    low, high = 10**CARD.log_lam_min, 10**CARD.log_lam_max
    previous = schedule.value
    for signals in calls:
        lam = step_quietly(schedule, **signals)
        assert math.isfinite(lam)
        assert low * (1 - 1e-9) <= lam <= high * (1 + 1e-9)
        assert abs(math.log10(lam / previous)) <= CARD.max_change + 1e-9
        previous = lam
