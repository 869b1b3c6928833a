"""What a policy observes: bounded, finite, causal, the same for one slot and for many."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_rl.control import ControlLaw
from lambda_rl.observation import FEATURE_BOUND, FEATURES, Observer, RunFacts, Signals

LAW = ControlLaw(-4.0, 0.0, 0.5)
FACTS = RunFacts(num_train=1000, num_params=20_000, val_size=200, num_classes=10, epochs=20.0, lr_sum=50.0)
NAMES = [item.name for item in fields(Signals) if item.name != "knobs"]
LOG10 = math.log(10)


def signals(count: int = 1, **values: Any) -> Signals:
    """Plausible ones, but for what is given."""
    plain = {
        "progress": 0.1,
        "log_lam": -2.0,
        "train_loss": 2.0,
        "val_loss": 2.1,
        "train_accuracy": 0.3,
        "val_accuracy": 0.25,
        "weight_norm": 3.0,
        "penalty": 0.02,
        "lr_ratio": 0.9,
    }
    return Signals(
        **{k: np.broadcast_to(np.asarray(v, float), count).copy() for k, v in (plain | values).items()}
    )


def begun(slots: int = 1, facts: RunFacts = FACTS) -> Observer:
    observer = Observer(slots, LAW)
    for slot in range(slots):
        observer.reset(slot, facts, log_lam=-2.0, weight_norm=3.0, penalty=0.02)
    return observer


def named(row: np.ndarray) -> dict[str, float]:
    assert row.shape == (len(FEATURES),)
    return dict(zip(FEATURES, row.astype(float).tolist(), strict=True))


def test_there_is_a_column_for_every_name() -> None:
    assert len(set(FEATURES)) == len(FEATURES) == len(FEATURES)
    first = Observer(1, LAW).reset(0, FACTS, log_lam=-2.0, weight_norm=3.0, penalty=0.02)
    assert first.dtype == np.float32
    table = begun(4).observe(signals(4), range(4))
    assert table.dtype == np.float32
    assert table.shape == (4, len(FEATURES))


def test_before_the_first_interval_all_stands_at_chance() -> None:
    got = named(Observer(1, LAW).reset(0, FACTS, log_lam=-3.0, weight_norm=3.0, penalty=0.02))
    zero = ("train_loss", "val_loss", "loss_gap", "accuracy_gap", "log_weight_norm", "log_learning_rate")
    assert all(got[name] == 0.0 for name in (*zero, *(n for n in FEATURES if n.startswith("delta_"))))
    assert got["progress"] == -1.0
    assert got["log_lam"] == pytest.approx(-0.5)
    assert got["train_accuracy"] == got["val_accuracy"] == pytest.approx(0.1)


def test_features_are_what_their_names_say() -> None:
    observer = begun()
    observer.observe(signals(), [0])
    second = signals(
        progress=0.2, log_lam=-1.5, train_loss=1.5, val_loss=1.9, train_accuracy=0.5, val_accuracy=0.35,
        weight_norm=6.0, penalty=0.15, lr_ratio=0.1,
    )  # fmt: skip
    got = named(observer.observe(second, [0])[0])
    assert got == pytest.approx(
        {
            "progress": -0.6,
            "log_lam": 0.25,
            "log_shrink": (-1.5 + math.log10(50.0)) / 2,
            "train_loss": 1.5 / LOG10 - 1,
            "val_loss": 1.9 / LOG10 - 1,
            "loss_gap": 0.4 / LOG10,
            "train_accuracy": 0.5,
            "val_accuracy": 0.35,
            "accuracy_gap": 0.15,
            "delta_train_loss": 5 * -0.5 / LOG10,
            "delta_val_loss": 5 * -0.2 / LOG10,
            "delta_train_accuracy": 1.0,
            "delta_val_accuracy": 0.5,
            "delta_log_lam": 0.5,
            "log_weight_norm": 2 * math.log10(2),
            "delta_log_weight_norm": 5 * math.log10(2),
            "log_penalty": -0.5,
            "log_learning_rate": -1.0,
            "log_num_train": (3 - 3.5) / 1.5,
            "log_num_params": (math.log10(20_000) - 5) / 1.5,
            "log_epochs": (math.log10(20) - 1) / 1.5,
            "log_val_size": math.log10(200) - 2.5,
        },
        abs=1e-6,
    )


def test_losses_are_in_units_of_log_classes() -> None:
    """Guessing on 100 classes looks like guessing on 10."""
    rows = []
    for classes in (10, 100):
        observer = begun(facts=replace(FACTS, num_classes=classes))
        guess = signals(train_loss=math.log(classes), val_loss=0.5 * math.log(classes))
        rows.append(named(observer.observe(guess, [0])[0]))
    for name in ("train_loss", "val_loss", "loss_gap", "delta_train_loss", "delta_val_loss"):
        assert rows[0][name] == pytest.approx(rows[1][name], abs=1e-6)


ANY = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -1.0, 1e308, -1e308, 1e-320]),
)


@pytest.mark.filterwarnings("error")
@settings(max_examples=200)
@given(calls=st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES, ANY)), min_size=1, max_size=4))
def test_bounded_and_finite_whatever_is_measured(calls: list[dict[str, Any]]) -> None:
    observer = begun()
    for values in calls:
        row = observer.observe(signals(**values), [0])
        assert np.isfinite(row).all()
        assert (np.abs(row) <= FEATURE_BOUND).all()
    # A sane decision afterwards is read as ever, but for what changed since.
    clean, after = named(begun().observe(signals(), [0])[0]), named(observer.observe(signals(), [0])[0])
    for name in FEATURES:
        if not name.startswith("delta_"):
            assert after[name] == clean[name]
        assert math.isfinite(after[name])


@pytest.mark.filterwarnings("error")
@settings(max_examples=50)
@given(
    log_lam=ANY,
    weight_norm=ANY,
    penalty=ANY,
    num=st.integers(1, 10**12),
    epochs=st.floats(1e-6, 1e9),
    lr_sum=st.floats(1e-12, 1e12),
)
def test_bounded_and_finite_at_the_start(
    log_lam: float, weight_norm: float, penalty: float, num: int, epochs: float, lr_sum: float
) -> None:
    facts = RunFacts(num, num, num, 10, epochs, lr_sum)
    row = Observer(1, LAW).reset(0, facts, log_lam=log_lam, weight_norm=weight_norm, penalty=penalty)
    assert np.isfinite(row).all()
    assert (np.abs(row) <= FEATURE_BOUND).all()


def random_signals(count: int, seed: int) -> Signals:
    rng = np.random.default_rng(seed)
    return signals(count, **{name: rng.uniform(0.05, 3, count) for name in NAMES})


def part(of: Signals, slots: list[int]) -> Signals:
    return Signals(**{name: getattr(of, name)[slots] for name in NAMES})


def test_many_slots_are_many_single_ones() -> None:
    facts = [replace(FACTS, num_train=100 * (i + 1), num_classes=2 + i, lr_sum=1.0 + i) for i in range(4)]
    many, singles = Observer(4, LAW), [Observer(1, LAW) for _ in range(4)]
    for slot in range(4):
        start: dict[str, float] = {"log_lam": -slot, "weight_norm": 1.0 + slot, "penalty": 0.1}
        first = many.reset(slot, facts[slot], **start)
        assert np.array_equal(first, singles[slot].reset(0, facts[slot], **start))
    for seed, slots in enumerate(([0, 1, 2, 3], [2, 0], [3], [0, 1, 2, 3], [1, 2])):
        now = part(random_signals(4, seed), slots)
        table = many.observe(now, slots)
        for row, slot in enumerate(slots):
            assert np.array_equal(table[row], singles[slot].observe(part(now, [row]), [0])[0])


def test_reset_of_a_slot_forgets_it_and_no_other() -> None:
    observer, reference = begun(2), begun(2)
    for one in (observer, reference):
        one.observe(random_signals(2, 0), [0, 1])
    observer.reset(1, FACTS, log_lam=-2.0, weight_norm=3.0, penalty=0.02)
    now = random_signals(2, 1)
    table = observer.observe(now, [0, 1])
    assert np.array_equal(table[0], reference.observe(now, [0, 1])[0])
    assert np.array_equal(table[1], begun().observe(part(now, [1]), [0])[0])


def test_causal() -> None:
    """Later signals change no earlier observation; the last decision's signals are all that is remembered."""
    one, other = begun(), begun()
    same = [random_signals(1, seed) for seed in range(3)]
    rows = [(one.observe(s, [0]), other.observe(s, [0])) for s in same]
    assert all(np.array_equal(a, b) for a, b in rows)
    kept = rows[-1][0].copy()
    one.observe(random_signals(1, 8), [0])
    assert np.array_equal(rows[-1][0], kept)  # not a view of what is remembered
    short = begun()
    short.observe(same[-1], [0])
    now = random_signals(1, 9)
    assert np.array_equal(short.observe(now, [0]), other.observe(now, [0]))


def test_observing_changes_no_signal() -> None:
    now = signals(train_loss=math.nan, weight_norm=math.inf)
    before = {name: getattr(now, name).copy() for name in NAMES}
    begun().observe(now, [0])
    for name in NAMES:
        assert np.array_equal(before[name], getattr(now, name), equal_nan=True)


def test_state_round_trip() -> None:
    observer = begun(3, replace(FACTS, num_classes=7))
    observer.observe(random_signals(3, 0), [0, 1, 2])
    state = observer.state_dict()
    copy = Observer(3, LAW)
    copy.load_state_dict(state)
    for seed in (1, 2):
        now = random_signals(3, seed)
        assert np.array_equal(observer.observe(now, [0, 1, 2]), copy.observe(now, [0, 1, 2]))
    assert json.loads(json.dumps(state)) == state  # plain lists and numbers
    again = Observer(3, LAW)
    again.load_state_dict(state)  # the state is a copy: what came after has not changed it
    fresh = begun(3, replace(FACTS, num_classes=7))
    fresh.observe(random_signals(3, 0), [0, 1, 2])
    assert again.state_dict() == fresh.state_dict()


@pytest.mark.parametrize("name", [item.name for item in fields(RunFacts)])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_impossible_facts(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"run facts: {name} must be "):
        replace(FACTS, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="num_classes"):
        replace(FACTS, num_classes=1)


# The control law


def test_action_moves_lam_within_its_range() -> None:
    assert LAW.apply(-2.0, 1.0) == -1.5
    assert LAW.apply(-2.0, -0.5) == -2.25
    assert LAW.apply(-2.0, 7.0) == -1.5  # clipped to 1
    assert LAW.apply(-2.0, math.inf) == -1.5
    assert LAW.apply(-2.0, math.nan) == -2.0
    assert LAW.apply(-0.2, 1.0) == 0.0
    assert LAW.apply(-3.9, -1.0) == -4.0
    moved = LAW.apply(np.array([-2.0, -3.0]), np.array([0.25, -1.0], np.float32))
    assert moved.tolist() == [-1.875, -3.5]
    assert moved.dtype == np.float64


def test_position_and_clip() -> None:
    assert LAW.position([-4.0, -2.0, 0.0]).tolist() == [-1.0, 0.0, 1.0]
    assert LAW.clip([-9.0, -1.0, 3.0]).tolist() == [-4.0, -1.0, 0.0]


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((0.0, -4.0, 0.5), "λ range reversed or empty: log_lam_min=0.0 must be below log_lam_max=-4.0"),
        ((-1.0, -1.0, 0.5), "λ range reversed or empty"),
        ((-4.0, 0.0, 0.0), "max_change must be positive"),
        ((-4.0, 0.0, -1.0), "max_change must be positive"),
        ((-math.inf, 0.0, 0.5), "must be finite"),
        ((-4.0, math.nan, 0.5), "must be finite"),
        ((-4.0, 0.0, math.inf), "must be finite"),
    ],
)
def test_control_law_errors(numbers: tuple[float, float, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ControlLaw(*numbers)
