"""The learned schedule: same λ as the shared observer and control law give, attachment, safety, state."""

import dataclasses
import json
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_schedules import CARD, FACTS, alone, good, make_policy
from torch import nn

from lambda_rl import (
    LearnedSchedule,
    Observer,
    ReplaySchedule,
    Signals,
    parse_schedule,
    policy_from_arrays,
    save_policy,
    split_parameters,
)
from lambda_rl.observation import FEATURES

MEASURED = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "weight_norm", "penalty", "lr_ratio")


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


def loop(kind=torch.optim.SGD, meaning="coupled", **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    optimizer = kind(split_parameters(model, 1e-4), lr=0.05)
    policy = make_policy(card=dataclasses.replace(CARD, lam_meaning=meaning), bias=0.2)
    facts = {"num_train": 64, "val_size": 32, "num_classes": 4, "batch_size": 64}
    schedule = LearnedSchedule(optimizer, policy=policy, total_steps=200, **{**facts, **options})
    return model, optimizer, schedule


def test_attached_measures_what_a_loop_without_would_be_told():
    model, optimizer, schedule = loop()
    weights = [model[0].weight, model[2].weight]
    facts = dataclasses.replace(FACTS, num_train=64, num_params=8 * 16 + 16 * 4, val_size=32, num_classes=4,
                                epochs=200.0, lr_sum=10.0)  # fmt: skip
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


# ---- the meaning of λ


def test_other_meaning_is_refused_unless_told():
    with pytest.raises(ValueError, match="λ is coupled decay, that of the run is decoupled"):
        loop(torch.optim.AdamW, "coupled")
    with pytest.raises(ValueError, match="λ is decoupled decay, that of the run is coupled"):
        loop(torch.optim.SGD, "decoupled")
    loop(torch.optim.AdamW, "coupled", lam_meaning="coupled")
    loop(torch.optim.AdamW, "decoupled")
    loop(torch.optim.Adam, "coupled")
    loop(torch.optim.Adam, "any")
    with pytest.raises(ValueError, match="but the policy's λ is coupled"):
        loop(torch.optim.AdamW, "coupled", lam_meaning="decoupled")
    with pytest.raises(ValueError, match="allowed: coupled, decoupled"):
        loop(lam_meaning="both")


def test_without_an_optimizer_the_run_can_say_its_meaning(tmp_path):
    with pytest.raises(ValueError, match="λ is coupled decay, that of the run is decoupled"):
        alone(decay="decoupled")
    with pytest.raises(ValueError, match="unknown decay 'weight'; allowed: coupled, decoupled"):
        alone(decay="weight")
    with pytest.raises(ValueError, match="needs an optimizer, or decay="):
        alone(lam_meaning="convert")
    plain, same = alone(), alone(decay="coupled", lam_meaning="convert")
    told, converted = (alone(decay="decoupled", lam_meaning=m) for m in ("coupled", "convert"))
    assert plain.value == same.value == told.value != converted.value
    # A λ that is converted shrinks the weights as much in the policy's average run as it does here.
    assert converted.value / converted.factor == pytest.approx(
        alone(facts=dataclasses.replace(plain.facts, lr_sum=plain.facts.lr_sum * converted.factor)).value
    )
    path = tmp_path / "a, lam_meaning of b.safetensors"
    save_policy(path, plain.policy)
    context = {"facts": plain.facts, "weight_norm": 3.0, "total_steps": 10, "decay": "decoupled"}
    specs = {f"learned:{path},lam_meaning=convert": converted, f"learned:{path}, lam_meaning=coupled": told}
    for spec, expected in specs.items():
        assert parse_schedule(spec)(**context).value == expected.value
    assert parse_schedule(f"learned:{path}")(**{**context, "decay": None}).value == plain.value
    assert parse_schedule("learned:lam_meaning=convert")(**context).factor > 0  # the default policy
    for spec in (f"learned:{path},lam_meaning=both", "learned:lam_meaning="):
        with pytest.raises(ValueError, match="allowed: coupled, decoupled, convert; expected learned"):
            parse_schedule(spec)


def test_group_that_says_it_is_decoupled():
    p = nn.Parameter(torch.ones(2, 2))
    optimizer = torch.optim.NAdam([p], weight_decay=1e-4, decoupled_weight_decay=True)
    with pytest.raises(ValueError, match="is decoupled"):
        LearnedSchedule(optimizer, policy=make_policy(), facts=FACTS)


def test_weight_decay_cannot_be_another_penalty():
    policy = make_policy(card=dataclasses.replace(CARD, penalty="l1"))
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2, 2))], lr=0.1, weight_decay=1e-4)
    with pytest.raises(ValueError, match="l1 penalty"):
        LearnedSchedule(optimizer, policy=policy, facts=FACTS)
    LearnedSchedule(policy=policy, facts=FACTS, weight_norm=1.0, penalty_sum=3.0)


# ---- arguments


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


# ---- safety


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


@settings(max_examples=30, deadline=None)
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


# ---- state, replay, cost


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
