"""Features with a memory of the run: what they mean, and that one formula serves one run and many."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from lambda_rl import FEATURES, Knob
from lambda_rl.control import KAPPA_LAW, ControlLaw
from lambda_rl.observation import (
    FEATURE_BOUND,
    FURTHER_FEATURES,
    KAPPA_FEATURES,
    Observer,
    RunFacts,
    Signals,
    default_features,
)

FACTS = RunFacts(num_train=1000, num_params=20_000, val_size=200, num_classes=10, epochs=20.0, lr_sum=50.0)
LOG_C, SHIFT = math.log(10), math.log10(50.0)


def observer(slots: int = 1, facts: RunFacts = FACTS, **start: float) -> Observer:
    made = Observer(slots, KAPPA_LAW, KAPPA_FEATURES)
    for slot in range(slots):
        made.reset(slot, facts, **{"log_lam": -SHIFT, "weight_norm": 3.0, "penalty": 0.02} | start)
    return made


def run(*rows: dict[str, float], facts: RunFacts = FACTS) -> list[dict[str, float]]:
    """Observations of a run that begins at κ = 1; losses are given in units of log C, and κ in place of λ."""
    one, found = observer(facts=facts), []
    for i, row in enumerate(rows, 1):
        plain = {
            "progress": 0.1 * i, "kappa": 1.0, "train_loss": 1.0, "val_loss": 1.0, "train_accuracy": 0.1,
            "val_accuracy": 0.1, "weight_norm": 3.0, "penalty": 0.02, "lr_ratio": 1.0,
        } | row  # fmt: skip
        plain["log_lam"] = math.log10(plain.pop("kappa") / facts.lr_sum)
        signals = Signals(**plain | {name: plain[name] * LOG_C for name in ("train_loss", "val_loss")})
        found.append(dict(zip(KAPPA_FEATURES, one.observe_one(signals).tolist(), strict=True)))
    return found


def test_slots_that_begin_together_begin_as_each_alone() -> None:
    rng = np.random.default_rng(0)
    knob = Knob("dropout", 0.0, 0.9, 0.1)
    facts = [replace(FACTS, num_classes=2 + i % 3, lr_sum=1.0 + i) for i in range(60)]
    facts += facts[:40]
    log_lam, norm, penalty, level = (rng.uniform(low, 2, 100) for low in (-6, 0, 0, 0))
    norm[0] = penalty[1] = 0.0
    names = (*FEATURES.names(), *KAPPA_FEATURES[19:], "dropout:position")
    many, single = (Observer(100, ControlLaw(), names, [knob]) for _ in range(2))
    order = rng.permutation(100)
    table = many.reset_many(
        order, facts, log_lam=log_lam, weight_norm=norm, penalty=penalty, log_knobs={"dropout": level}
    )
    for i, slot in enumerate(order.tolist()):
        row = single.reset(
            slot, facts[i], log_lam=log_lam[i], weight_norm=norm[i], penalty=penalty[i],
            log_knobs={"dropout": float(level[i])},
        )  # fmt: skip
        assert table[i].tobytes() == row.tobytes()
    assert many.state_dict() == single.state_dict()


def test_the_features_of_before_are_still_those_that_nobody_names() -> None:
    assert Observer(1, ControlLaw()).features == FEATURES.names() == default_features("lam")
    assert len(FEATURES) == 22
    assert Observer(1, ControlLaw()).state_dict()["levels"].keys() == {
        "train_loss", "val_loss", "train_accuracy", "val_accuracy", "log_lam", "log_weight_norm",
    }  # fmt: skip
    knobs = (Knob("lr", -1, 1, 0.2),)
    assert default_features("lam", knobs) == (*FEATURES.names(), "lr:position", "lr:change")
    assert default_features("kappa", knobs) == (*KAPPA_FEATURES, "lr:position", "lr:change")


def test_features_of_kappa_have_neither_lam_nor_penalty() -> None:
    assert not {"log_lam", "log_penalty"} & set(KAPPA_FEATURES)
    assert set(FURTHER_FEATURES) < set(KAPPA_FEATURES)
    one, other = observer(), observer(facts=replace(FACTS, lr_sum=0.5), log_lam=2 - SHIFT, penalty=7.0)
    signals = Signals(0.1, -SHIFT, 2.0, 2.1, 0.3, 0.2, 3.0, 0.02, 0.9)
    assert np.allclose(
        one.observe_one(signals),
        other.observe_one(replace(signals, log_lam=2 - SHIFT, penalty=7.0)),
        atol=1e-6,
    )


def test_before_the_first_interval_nothing_has_happened() -> None:
    made = Observer(1, KAPPA_LAW, KAPPA_FEATURES)
    row = made.reset(0, FACTS, log_lam=1 - SHIFT, weight_norm=3.0, penalty=0.0)
    got = dict(zip(KAPPA_FEATURES, row.tolist(), strict=True))
    assert got["log_kappa"] == got["mean_kappa"] == pytest.approx(0.5)
    zero = [name for name in KAPPA_FEATURES if name.endswith(("_trend", "_best", "_rank", "growth", "pace"))]
    assert len(zero) > 15
    assert all(got[name] == 0.0 for name in zero)
    before = made.state_dict()
    made.observe_one(Signals(0.0, 1 - SHIFT, LOG_C, LOG_C, 0.1, 0.1, 3.0, 0.0, 1.0))
    assert made.state_dict() == before


def test_the_best_so_far_is_remembered() -> None:
    rows = run(
        {"val_loss": 0.5, "val_accuracy": 0.6, "train_loss": 0.4, "train_accuracy": 0.7, "kappa": 2.0},
        {"val_loss": 0.8, "val_accuracy": 0.5, "train_loss": 0.2, "train_accuracy": 0.9, "kappa": 0.2},
        {"val_loss": 1.5, "val_accuracy": 0.4, "train_loss": 0.3, "train_accuracy": 0.8, "kappa": 0.02},
    )
    assert [row["val_loss_above_best"] for row in rows] == pytest.approx([0.0, 0.3, 1.0], abs=1e-6)
    assert [row["val_loss_rank"] for row in rows] == pytest.approx([0.0, 0.6, 1.0])
    assert [row["train_loss_above_best"] for row in rows] == pytest.approx([0.0, 0.0, 0.1], abs=1e-6)
    assert [row["train_loss_rank"] for row in rows] == pytest.approx([0.0, 0.0, 0.1 / 0.8])
    assert [row["val_accuracy_below_best"] for row in rows] == pytest.approx([0.0, 0.1, 0.2], abs=1e-6)
    assert [row["train_accuracy_below_best"] for row in rows] == pytest.approx([0.0, 0.0, 0.1], abs=1e-6)
    assert [row["train_above_best_val"] for row in rows] == pytest.approx([0.1, 0.3, 0.2], abs=1e-6)
    assert [row["since_best"] for row in rows] == pytest.approx([0.0, 0.1, 0.2], abs=1e-6)
    assert [row["kappa_at_best"] for row in rows] == pytest.approx([0.0, 1.0, 2.0], abs=1e-6)
    assert [row["log_gap_ratio"] for row in rows[:1]] == pytest.approx([math.log10(0.51 / 0.41)])
    assert rows[1]["train_left"] == pytest.approx(math.log10(0.2))
    assert rows[1]["val_loss_per_error"] == pytest.approx(math.log10(0.81 / 0.51))


def test_what_decay_has_done() -> None:
    # κ = 2 for a tenth of the run shrinks the weights by 0.2 e-foldings.
    shrunk = 3.0 * math.exp(-0.2)
    alone, balance, stronger = run(
        {"kappa": 2.0, "weight_norm": shrunk},
        {"kappa": 4.0, "weight_norm": shrunk},
        {"kappa": 0.6, "weight_norm": 2 * shrunk, "lr_ratio": 0.0},
    )
    assert alone["decay_share"] == pytest.approx(1.0)
    assert alone["weight_growth"] == pytest.approx(0.0, abs=1e-6)
    assert balance["decay_share"] == pytest.approx(0.5)
    assert balance["weight_growth"] == pytest.approx(2 * 0.4)
    assert alone["weight_norm_below_peak"] == pytest.approx(2 * math.log10(math.exp(-0.2)))
    assert stronger["weight_norm_below_peak"] == 0.0
    assert stronger["mean_kappa"] == pytest.approx(math.log10(2.2) / 2)
    # the learning rate fell to 0 in the third interval: half of its decay was done
    assert stronger["decay_spent"] == pytest.approx(math.log10(0.2 + 0.4 + 0.03) / 2)
    assert stronger["weight_growth"] == pytest.approx(2 * (math.log(2) + 0.03))


def test_trends_are_distances_from_running_means() -> None:
    rows = run({"train_loss": 0.5}, {"train_loss": 0.5}, {"train_loss": 0.5})
    for pace, half_life in (("fast", 1.5), ("slow", 5.0)):
        left = [5 * -0.5 * 2 ** (-k / half_life) for k in (1, 2, 3)]
        assert [row[f"train_loss_{pace}_trend"] for row in rows] == pytest.approx(left)
        assert [row[f"gap_{pace}_trend"] for row in rows] == pytest.approx([-x for x in left])
        assert [row[f"val_accuracy_{pace}_trend"] for row in rows] == [0.0] * 3


def test_a_run_longer_than_declared_goes_on_in_the_rhythm_of_before() -> None:
    rows = run(*({"progress": min(0.4 * i, 1.0), "kappa": 1.0} for i in range(1, 6)))
    assert [row["since_best"] for row in rows] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    assert [row["decay_share"] for row in rows] == pytest.approx([0.5] * 5)
    assert [row["mean_kappa"] for row in rows] == pytest.approx([0.0] * 5, abs=1e-6)


def test_optimizer_and_norms() -> None:
    for fact in ("adaptive", "normalised"):
        for known, seen in ((None, 0.0), (False, -1.0), (True, 1.0)):
            assert run({}, facts=replace(FACTS, **{fact: known}))[0][fact] == seen
        with pytest.raises(ValueError, match=f"run facts: {fact} must be True, False or None, got 1"):
            replace(FACTS, **{fact: 1})


def wild(count: int, seed: int) -> Signals:
    rng = np.random.default_rng(seed)
    values = [
        rng.uniform(0, 1.2, count).clip(max=1.0),
        *(rng.choice([1.0, 1.0, 0.0, np.inf, np.nan], count) * rng.lognormal(0, 2, count) for _ in range(8)),
    ]
    return Signals(values[0], rng.uniform(-9, 5, count), *values[2:])


def test_one_run_is_as_many_and_all_is_bounded() -> None:
    many, singles = observer(3), [observer() for _ in range(3)]
    for seed in range(60):
        now = wild(3, seed)
        table = many.observe(now, [0, 1, 2])
        assert np.isfinite(table).all()
        assert np.abs(table).max() <= FEATURE_BOUND
        for slot, single in enumerate(singles):
            plain = {name: float(x[slot]) for name, x in vars(now).items() if name != "knobs"}
            assert np.allclose(single.observe_one(Signals(**plain)), table[slot], atol=1e-5)


def test_state_goes_on_where_it_was() -> None:
    one = observer(2)
    for seed in range(3):
        one.observe(wild(2, seed), [0, 1])
    other = observer(2)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    now = wild(2, 9)
    assert np.array_equal(one.observe(now, [0, 1]), other.observe(now, [0, 1]))


def test_states_of_before_had_fewer_constants() -> None:
    one = Observer(1, ControlLaw())
    state = one.state_dict()
    for name in ("adaptive", "normalised", "log_decay_sum"):
        del state["run"][name]
    one.load_state_dict(state)
    del state["run"]["chance"]
    with pytest.raises(KeyError):
        one.load_state_dict(state)
