"""The worked examples of the guard's rules are what the rules do."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest

from lambda_rl import RunFacts, Signals
from lambda_rl.schedules.guard import Guard, not_learning, overfitting, rising, trust, underfitting
from lambda_rl.schedules.guard.not_learning import NotLearning
from lambda_rl.schedules.guard.overfitting import Overfitting
from lambda_rl.schedules.guard.reading import Reader, Reading
from lambda_rl.schedules.guard.rising import Rising
from lambda_rl.schedules.guard.trust import Trust
from lambda_rl.schedules.guard.underfitting import Underfitting


def row(doc: str | None, name: str) -> list[float]:
    """The numbers of a line of an example; "-" is infinity."""
    (line,) = re.findall(rf"^    {name} +([-\d. ]+)$", doc or "", flags=re.M)
    return [math.inf if word == "-" else float(word) for word in line.split()]


def reading(**change: float) -> Reading:
    usual = {"progress": 0.1, "log_kappa": 0.0, "decayed": 0.0, "shrunk": 0.0, "left": 0.9, "train_loss": 0.5}
    return Reading(**{**usual, "val_loss": 0.5, "train_accuracy": 0.5, "val_accuracy": 0.5, **change})


def test_the_example_of_not_learning() -> None:
    doc, rule = not_learning.__doc__, NotLearning()
    columns = zip(
        *(row(doc, name) for name in ("decision", "train loss", "κ", "decayed", "most")), strict=True
    )
    wish, bound = 4.0, math.inf
    for decision, loss, kappa, decayed, most in columns:
        assert kappa == pytest.approx(min(wish, bound)), decision
        acts = rule.see(reading(
            progress=decision / 20, log_kappa=math.log10(kappa), decayed=kappa / 20, train_loss=loss,
            val_loss=1.0,
        ))  # fmt: skip
        assert acts == (decision == 3)
        assert rule.decayed == pytest.approx(decayed, abs=0.006)
        bound = 10.0**rule.high
        assert bound == pytest.approx(most, rel=0.01)
    assert decision == 7


def test_the_example_of_rising() -> None:
    doc, rule = rising.__doc__, Rising()
    names = ("train loss", "val loss", "val acc", "shrunk", "κ", "most")
    for decision, *rest in zip(row(doc, "decision"), *(row(doc, name) for name in names), strict=True):
        train, val, accuracy, shrunk, kappa, most = rest
        seen = {"train_loss": train, "val_loss": val, "val_accuracy": accuracy, "shrunk": shrunk}
        assert rule.see(reading(log_kappa=math.log10(kappa), **seen)) == (decision == 3)
        assert 10.0**rule.high == pytest.approx(most, rel=0.01)


def test_the_example_of_overfitting() -> None:
    doc, rule = overfitting.__doc__, Overfitting(300)
    start = {"train_loss": 0.55, "val_loss": 0.675, "train_accuracy": 0.68, "val_accuracy": 0.66}
    rule.see(reading(log_kappa=-1.0, **start))
    names = ("val acc", "val loss", "train acc", "κ", "least")
    for decision, *rest in zip(row(doc, "decision"), *(row(doc, name) for name in names), strict=True):
        accuracy, loss, train, kappa, least = rest
        seen = {"val_accuracy": accuracy, "val_loss": loss, "train_accuracy": train}
        assert rule.see(reading(log_kappa=math.log10(kappa), **seen)) == (decision in (6, 8))
        assert (math.inf if rule.low == -math.inf else 10.0**rule.low) == pytest.approx(least, rel=0.01)


def test_the_example_of_underfitting() -> None:
    doc, rule = underfitting.__doc__, Underfitting()
    names = ("train loss", "val loss", "most")
    for decision, *rest in zip(row(doc, "decision"), *(row(doc, name) for name in names), strict=True):
        train, val, bound = rest
        if decision == 0:
            assert 10.0**rule.high == pytest.approx(bound)
            most = bound
            continue
        held = rule.see(reading(log_kappa=math.log10(min(10.0, most)), train_loss=train, val_loss=val))
        most = 10.0**rule.high
        assert most == pytest.approx(bound), decision
        assert held == (decision == 7)  # told after four in a row
    assert decision == 11


def test_training_that_is_made_harder_may_have_more_decay() -> None:
    def bound(train_loss: float, train_accuracy: float) -> float:
        rule = Underfitting()
        for _ in range(9):
            rule.see(reading(log_kappa=1.0, train_loss=train_loss, train_accuracy=train_accuracy))
        return float(10.0**rule.high)

    assert bound(0.5, 0.4) == pytest.approx(3.0)
    assert bound(0.6, 0.5) == pytest.approx(3.0)
    assert bound(0.54, 0.46) == pytest.approx(0.3 / 2**4)


def test_where_most_is_learned_early_kappa_stays_least_until_something_overfits() -> None:
    """The learning rate falls by 0.7 a decision, as in PyTorch's MNIST example; and by a cosine."""

    def bounds(rate: Callable[[float], float], decisions: int = 10) -> list[float]:
        facts = RunFacts(num_train=9, num_params=9, val_size=9, num_classes=10, epochs=1.0, lr_sum=1.0)
        reader, rule, found = Reader(facts, 1.0), Underfitting(), []
        for i in range(1, decisions + 1):
            loss = math.log(10) * (0.9 - 0.05 * i)
            rule.see(reader.read(Signals(
                progress=i / decisions, log_lam=0.0, train_loss=loss + 0.3, val_loss=loss, train_accuracy=0.5,
                val_accuracy=0.6, weight_norm=1.0, penalty=0.0, lr_ratio=rate(i / decisions),
            )))  # fmt: skip
            found.append(float(10.0**rule.high))
        rule.see(reading(train_loss=0.1, val_loss=0.9))
        assert rule.high == math.inf
        return found

    assert bounds(lambda p: 0.7 ** (10 * p)) == pytest.approx([0.05] + [0.03] * 9)
    assert bounds(lambda p: 0.5 + 0.5 * math.cos(math.pi * p)) == pytest.approx([0.05] + [3.0] * 9)


def test_the_share_of_the_learning_that_is_left() -> None:
    """By hand: it goes on as it did in the last interval; what rises, stays."""
    facts = RunFacts(num_train=9, num_params=9, val_size=9, num_classes=10, epochs=1.0, lr_sum=1.0)
    for rates, wanted in (
        ([1.0, 1.0, 1.0], [0.75, 0.5, 0.25]),
        ([0.5, 1.0], [0.75, 0.5 / (0.5 + 0.125 + 0.1875)]),
        ([1.0, 0.5], [0.75, 0.5 / 2.772589 * 0.75 / (0.5 / 2.772589 * 0.75 + 0.4375)]),
    ):
        reader = Reader(facts, 1.0)
        for i, (rate, share) in enumerate(zip(rates, wanted, strict=True), 1):
            seen = reader.read(Signals(
                progress=i / 4, log_lam=0.0, train_loss=1.0, val_loss=1.0, train_accuracy=0.5, val_accuracy=0.5,
                weight_norm=1.0, penalty=0.0, lr_ratio=rate,
            ))  # fmt: skip
            assert seen.left == pytest.approx(share, rel=1e-5)


@pytest.mark.parametrize("norm", [math.inf, math.nan, 0.0])
def test_weights_that_overflow_have_shrunk_by_nothing_that_is_known(norm: float) -> None:
    """A run whose learning rate is far too large may have a loss still when its weights' squares are infinite."""
    facts = RunFacts(num_train=9, num_params=9, val_size=9, num_classes=10, epochs=1.0, lr_sum=1.0)
    reader = Reader(facts, 2.0)
    norms = (norm, norm, 1.0, 0.5)
    shrunk = [
        reader.read(Signals(
            progress=i / 4, log_lam=0.0, train_loss=9.0, val_loss=9.0, train_accuracy=0.1, val_accuracy=0.1,
            weight_norm=each, penalty=0.0, lr_ratio=1.0,
        )).shrunk
        for i, each in enumerate(norms, 1)
    ]  # fmt: skip
    assert shrunk == [0.0, 0.0, 0.0, pytest.approx(math.log(2.0))]


def test_norms_do_not_hide_that_training_is_undone() -> None:
    """A network with norms that had learned by heart, and forgets; and one that forgets wrong labels for its good."""

    def acts(accuracies: list[float]) -> list[bool]:
        rule = Rising(normalised=True)
        rule.see(reading(train_loss=0.05, val_loss=0.9, val_accuracy=0.5, log_kappa=1.0))
        return [
            rule.see(reading(train_loss=0.6, val_loss=0.7, val_accuracy=accuracy, log_kappa=1.8))
            for accuracy in accuracies
        ]

    assert acts([0.3, 0.3, 0.3]) == [False, True, False]
    assert acts([0.55, 0.6, 0.65]) == [False] * 3


def test_a_loss_far_above_its_best_needs_half_the_fall() -> None:
    def acts(val_loss: float) -> bool:
        rule = Overfitting(10_000)
        rule.see(reading(val_accuracy=0.6, val_loss=0.4))
        worse = reading(val_accuracy=0.57, val_loss=val_loss, train_accuracy=0.9)
        return any(rule.see(worse) for _ in range(4))

    assert acts(0.52)
    assert not acts(0.48)


def test_what_was_learned_by_heart_is_no_underfitting() -> None:
    """As in grokking: validation loss falls from far above chance for long, with all training examples right."""
    rule = Underfitting()
    seen = {"train_loss": 0.01, "train_accuracy": 1.0, "val_accuracy": 0.05}
    for i in range(20):
        rule.see(reading(log_kappa=1.5, val_loss=3.0 - 0.1 * i, **seen))
        assert rule.high == math.inf


def test_decay_that_makes_both_worse_is_bounded_at_once() -> None:
    rule = Underfitting()
    for train, val in ((0.8, 0.8), (0.7, 0.75), (0.6, 0.78)):
        rule.see(reading(train_loss=train, val_loss=val))
    assert rule.high == math.inf
    rule.see(reading(log_kappa=1.0, train_loss=0.72, val_loss=0.8))
    assert 10.0**rule.high == pytest.approx(3.0)


def test_norms_are_spared() -> None:
    rule = Underfitting(normalised=True)
    assert not rule.see(reading(log_kappa=2.0))
    assert rule.high == math.inf


def test_an_accuracy_that_was_inferred_has_to_fall_further() -> None:
    def acts(inferred: bool) -> bool:
        rule = Overfitting(10_000)
        rule.see(reading(val_accuracy=0.6, val_loss=0.4))
        worse = reading(val_accuracy=0.5, val_loss=0.5, train_accuracy=0.9, inferred=inferred)
        return any(rule.see(worse) for _ in range(4))

    assert acts(False)
    assert not acts(True)


def test_forgetting_wrong_labels_is_no_harm() -> None:
    """High κ makes the training loss rise and the weights shrink, and validation is better for it."""
    rule = Rising()
    steps = [(0.1, 0.9), (0.2, 0.8), (0.35, 0.7), (0.5, 0.6), (0.6, 0.55)]
    assert not any(rule.see(reading(train_loss=t, val_loss=v, shrunk=0.4)) for t, v in steps)


def test_the_upper_bound_counts_more() -> None:
    facts = RunFacts(num_train=9, num_params=9, val_size=100, num_classes=10, epochs=1.0, lr_sum=10.0)
    guard = Guard(facts, 1.0, lambda reason, text: None)
    assert [guard.within(x) for x in (-9.0, 0.3, 9.0)] == pytest.approx(
        [-9.0, math.log10(0.005), math.log10(0.005)]
    )
    guard._rules[3].high = math.inf
    assert [guard.within(x) for x in (-9.0, 0.3, 9.0)] == [-9.0, 0.3, 9.0]
    low, high = guard._rules[2], guard._rules[0]
    low.low, high.high = math.log10(2.0), -1.0
    assert guard.within(0.0) == pytest.approx(-2.0)  # of λ: κ = 0.1
    high.high = math.inf
    assert guard.within(-3.0) == pytest.approx(math.log10(0.2))
    off = Guard(facts, 1.0, lambda reason, text: None, on=False)
    assert (off.within(9.0), off.state_dict()) == (9.0, {})


def test_a_guard_goes_on_where_its_state_was_taken() -> None:
    facts = RunFacts(num_train=9, num_params=9, val_size=100, num_classes=10, epochs=1.0, lr_sum=10.0)

    def signals(i: int, loss: float, log_lam: float) -> Signals[float]:
        return Signals(
            progress=(i + 1) / 20, log_lam=log_lam, train_loss=loss, val_loss=loss, train_accuracy=0.1 * i,
            val_accuracy=0.1 * i, weight_norm=1.0 - 0.05 * i, penalty=0.0, lr_ratio=1.0,
        )  # fmt: skip

    losses = [2.4, 2.35, 2.3, 2.2, 2.1, 1.5, 1.4, 1.3, 2.2, 2.4]

    def trace(stops: bool) -> list[float]:
        values, guard, log_lam = [], Guard(facts, 1.0, lambda reason, text: None), 0.0
        for i, loss in enumerate(losses):
            if stops:
                state = guard.state_dict()
                guard = Guard(facts, 7.0, lambda reason, text: None)
                guard.load_state_dict(state)
            guard.see(signals(i, loss, log_lam))
            values.append(log_lam := guard.within(0.0))
        return values

    assert trace(True) == trace(False)
    assert len(set(trace(False))) > 3


def test_the_example_of_trust() -> None:
    doc, rule = trust.__doc__, Trust(math.log10(0.1), 1.0)
    kappa = 0.1
    names = ("κ", "train loss", "val loss", "most")
    for decision, *rest in zip(row(doc, "decision"), *(row(doc, name) for name in names), strict=True):
        assert kappa == pytest.approx(rest[0], rel=0.02), decision
        assert not rule.see(reading(log_kappa=math.log10(kappa), train_loss=rest[1], val_loss=rest[2]))
        assert 10.0**rule.high == pytest.approx(rest[3], rel=0.02)
        assert 10.0**rule.low == pytest.approx(0.01)  # nothing was earned there
        kappa = min(kappa * 10**0.5, 10.0**rule.high)
    again = Trust()
    again.load_state_dict(rule.state_dict())
    assert vars(again) == vars(rule)


def test_the_guard_says_which_rule_holds() -> None:
    facts = RunFacts(num_train=9, num_params=9, val_size=100, num_classes=10, epochs=1.0, lr_sum=10.0)
    guard = Guard(facts, 1.0, lambda reason, text: None, trust=Trust(0.0, 1.0))
    assert (guard.within(0.0), guard.held_by) == (pytest.approx(math.log10(0.005)), "underfitting")
    guard._rules[3].high = math.inf
    said = [(guard.within(x), guard.held_by) for x in (-0.5, 3.0, -4.0)]
    assert said == [(-0.5, ""), (0.0, "trust"), (-2.0, "trust")]
    guard._rules[0].high = -0.5
    assert (guard.within(3.0), guard.held_by) == (-1.5, "not learning")
    guard._rules[0].high, guard._rules[2].low = math.inf, 1.5
    assert (guard.within(0.0), guard.held_by) == (0.5, "overfitting")  # counts more than trust
    alone = Guard(facts, 1.0, lambda reason, text: None, on=False, trust=Trust(0.0, 1.0))
    assert alone.within(3.0) == 0.0
    assert alone.state_dict()["guard"]["rules"].keys() == {"trust"}
