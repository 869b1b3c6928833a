"""Hand-designed schedules: open loop, the gap rule, and their text forms."""

import math
import warnings

import pytest
import torch
from tiny_schedules import decays, optimizer_for

from lambda_rl import (
    Constant,
    Cosine,
    GapRule,
    PullDown,
    PullUp,
    ReplaySchedule,
    Schedule,
    Steps,
    parse_schedule,
)


def test_values_over_a_run():
    def trace(schedule, k=4):
        return [schedule.value, *(schedule.step(progress=i / k) for i in range(1, k))]

    assert trace(Constant(0.0)) == [0.0] * 4
    assert trace(Steps([3, 2, 1, 0])) == [3, 2, 1, 0]
    assert trace(Steps([3, 2, 1, 0]), 8) == [3, 3, 2, 2, 1, 1, 0, 0]
    assert trace(PullDown(1.0, 1e-4)) == pytest.approx([1.0, 1e-1, 1e-2, 1e-3])
    assert trace(PullUp(1e-4, 1.0)) == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1])
    assert trace(PullDown(4.0, 0.0, "linear")) == pytest.approx([4, 3, 2, 1])
    assert trace(PullUp(0.0, 4.0, "linear")) == pytest.approx([0, 1, 2, 3])
    assert trace(Cosine(1.0, 0.0), 2) == pytest.approx([1.0, 0.5])


@pytest.mark.parametrize("n", [3, 7, 10, 15, 20, 25])
def test_steps_has_equal_shares_despite_rounding(n):
    schedule = Steps(list(range(n)))
    assert [schedule.step(progress=i / n) for i in range(n)] == list(range(n))


def test_ends_are_exact_and_progress_is_clipped():
    for schedule, start, end in [
        (PullDown(0.3, 0.003), 0.3, 0.003),
        (PullUp(0.003, 0.3, "linear"), 0.003, 0.3),
        (Cosine(0.1, 0.7), 0.1, 0.7),
    ]:
        assert schedule.value == start
        assert schedule.step(progress=1.0) == pytest.approx(end, rel=1e-12)
        assert schedule.step(progress=7.0) == pytest.approx(end, rel=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-1), "0 or more"),
        (lambda: Constant(math.nan), "finite"),
        (lambda: Steps([]), "at least one"),
        (lambda: Steps([1, math.inf]), "finite"),
        (lambda: PullDown(1e-3, 1e-1), "PullUp rises"),
        (lambda: PullUp(1e-1, 1e-3), "PullDown falls"),
        (lambda: PullDown(1.0, 0.0), "above 0"),
        (lambda: PullDown(1.0, 0.1, "square"), "allowed: exponential, linear"),
        (lambda: Constant(1.0, lam_range=(1.0, 0.1)), "range reversed"),
        (lambda: Constant(1.0, total_steps=0), "total_steps"),
        (lambda: GapRule(initial=0), "above 0"),
        (lambda: GapRule(factor=1.0), "above 1"),
        (lambda: GapRule(threshold=0.01, low_threshold=0.02), "low_threshold"),
        (lambda: GapRule(lam_range=(0.0, 1.0)), "smallest λ"),
        (lambda: GapRule(lam_range=(1.0, 0.1)), "range reversed"),
        (lambda: ReplaySchedule([]), "no rows"),
        (lambda: ReplaySchedule([{"progress": None, "lam": 1.0}]), "finite progress"),
        (lambda: ReplaySchedule([(0.0, math.nan)]), "finite λ"),
        (lambda: PullUp(0.1, 1.0).step(), "progress is not known"),
        (lambda: PullUp(0.1, 1.0).step(step=3), "progress is not known"),
        (lambda: PullUp(0.1, 1.0).step(progress=math.nan), "finite"),
        (lambda: PullUp(0.1, 1.0).step(progress=-0.1), "0 or more"),
        (lambda: Constant(1.0).step(train_loss="much"), "train_loss must be one number"),
        (lambda: Constant(1.0).step(train_loss=torch.zeros(2)), "train_loss must be one number"),
    ],
)
def test_clear_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_gap_rule_follows_the_gap():
    rule = GapRule(initial=0.01, factor=2.0, threshold=0.05, low_threshold=0.01)
    assert rule.step(train_accuracy=0.60, val_accuracy=0.50) == 0.02
    assert rule.step(train_accuracy=0.53, val_accuracy=0.50) == 0.02
    assert rule.step(train_accuracy=0.505, val_accuracy=0.50) == 0.01
    assert rule.step(train_accuracy=0.40, val_accuracy=0.50) == 0.005
    assert rule.history[-1] == {"progress": None, "lam": 0.005, "train_accuracy": 0.40, "val_accuracy": 0.50}


def test_gap_rule_holds_without_accuracies_and_warns_once():
    rule = GapRule(initial=0.01)
    with pytest.warns(RuntimeWarning, match="GapRule: .* λ is held"):
        assert rule.step(train_accuracy=math.nan, val_accuracy=0.5) == 0.01
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rule.step(train_accuracy=math.inf, val_accuracy=0.5) == 0.01
        assert rule.step() == 0.01


def test_gap_rule_stays_in_range():
    rule = GapRule(initial=0.01, lam_range=(1e-3, 1e-1))
    for _ in range(20):
        rule.step(train_accuracy=1.0, val_accuracy=0.0)
    assert rule.value == 1e-1
    for _ in range(20):
        rule.step(train_accuracy=0.0, val_accuracy=0.0)
    assert rule.value == 1e-3


def test_parse_gives_what_is_asked_for():
    assert repr(parse_schedule("pull-down:0.3,0.003")()) == repr(PullDown(0.3, 0.003))
    assert repr(parse_schedule(" pull-up: 0.1 , 1, linear")()) == repr(PullUp(0.1, 1.0, "linear"))
    assert repr(parse_schedule("cosine:1,0")()) == repr(Cosine(1.0, 0.0))
    assert repr(parse_schedule("steps:3,2,1,0")()) == repr(Steps([3, 2, 1, 0]))
    gap = parse_schedule("gap:initial=0.1,threshold=0.2")(lam_range=(1e-2, 1.0), facts=None, total_steps=5)
    assert isinstance(gap, GapRule)
    assert (gap.value, gap.threshold, gap.lam_range) == (0.1, 0.2, (1e-2, 1.0))
    factory = parse_schedule("constant:0.2")
    assert factory() is not factory()
    optimizer = optimizer_for()
    schedule: Schedule = factory(optimizer, total_steps=10, num_train=3)
    assert decays(optimizer) == [0.2]
    assert schedule.total_steps == 10


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("magic:1", r"unknown schedule 'magic'; allowed: constant:0\.01, steps:.*gap.*learned\[:FILE"),
        ("", "unknown schedule ''"),
        ("constant", r"no arguments; expected constant:0\.01"),
        ("constant:", "no arguments"),
        ("constant:a", r"'a' is not a number; expected constant:0\.01"),
        ("constant:nan", "not a finite number"),
        ("constant:1,2", "2 values where 1 belong"),
        ("constant:-1", "0 or more"),
        ("pull-down:1", "1 values where 2 belong"),
        ("pull-down:0.003,0.3", "PullUp rises"),
        ("pull-down:0.3,0.003,square", "unknown shape 'square'"),
        ("pull-up:1,2,linear,3", "4 values"),
        ("cosine:1,0,linear", "3 values where 2 belong"),
        ("gap:", "no arguments"),
        ("gap:speed=3", "unknown option 'speed=3'; allowed: initial, factor, threshold, low_threshold"),
        ("gap:0.01", "unknown option '0.01'"),
        ("gap:factor=2,factor=3", "twice"),
        ("gap:factor=0.5", "above 1"),
        ("learned:missing.safetensors", r"missing\.safetensors: no such file"),
    ],
)
def test_parse_errors(spec, message):
    with pytest.raises(ValueError, match=message):
        parse_schedule(spec)
