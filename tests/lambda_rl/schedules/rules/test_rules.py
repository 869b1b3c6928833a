"""Rules of the literature as schedules: their formulas, what they ask for, and their text forms."""

from __future__ import annotations

import json
import math

import pytest
import torch
from tiny_schedules import FACTS, decays, optimizer_for, update
from torch import nn

from lambda_rl import Schedule, parse_schedule
from lambda_rl.schedules.rules.feedback import FeedbackRule, Plateau, ProportionalToRate
from lambda_rl.schedules.rules.gradient_rules import AdaptiveDecay, Hypergradient, StableDecay
from lambda_rl.schedules.rules.measured import MEASURED, gradient_norm, pull, second_moment
from lambda_rl.schedules.rules.shapes import DecayToZero, EarlyOnly, FlatCosine, Knots, LateOnly


def trace(schedule: Schedule, k: int = 4) -> list[float]:
    return [schedule.value, *(schedule.step(progress=i / k) for i in range(1, k + 1))]


def test_shapes() -> None:
    half = 0.5 * (1 + math.cos(math.pi / 4))
    assert trace(DecayToZero(2.0)) == pytest.approx([2, 2 * half, 1, 2 * (1 - half), 0])
    assert trace(DecayToZero(4.0, "linear")) == pytest.approx([4, 3, 2, 1, 0])
    assert trace(FlatCosine(2.0)) == pytest.approx([2, 2, 2, 1, 0])
    assert trace(FlatCosine(2.0, 0.0)) == pytest.approx(trace(DecayToZero(2.0)))
    assert trace(EarlyOnly(2.0, 0.5)) == [2, 2, 0, 0, 0]
    assert trace(LateOnly(2.0, 0.5)) == [0, 0, 2, 2, 2]
    assert trace(Knots([1.0, 0.01, 1.0])) == pytest.approx([1, 0.1, 0.01, 0.1, 1])
    assert trace(Knots([0.3])) == [0.3] * 5


def test_adamc_is_lambda_times_the_share_of_the_largest_learning_rate() -> None:
    optimizer = optimizer_for(torch.optim.AdamW)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, 0.5, 1.0, total_iters=2)
    rule = ProportionalToRate(0.2, optimizer)
    seen = [rule.value]
    for _ in range(2):
        optimizer.step()
        warmup.step()
        seen.append(rule.step())
    assert seen == pytest.approx([0.1, 0.15, 0.2])
    alone = ProportionalToRate(0.2)
    assert [alone.value, alone.step(lr_ratio=0.25)] == [0.2, 0.05]
    with pytest.warns(RuntimeWarning, match="signal lr_ratio missing .* λ is held"):
        assert alone.step() == 0.05


def test_plateau_waits_moves_and_counts_anew() -> None:
    rule = Plateau(0.1, factor=0.5, patience=1)
    losses = [2.0, 1.9, 1.9, 1.95, 1.95, 1.95, 1.0, 1.0]
    seen = [rule.step(val_loss=loss) for loss in losses]
    assert seen == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.05, 0.025, 0.025, 0.025])
    clone = Plateau(0.1, factor=0.5, patience=1)
    clone.load_state_dict(json.loads(json.dumps(rule.state_dict())))
    assert clone.step(val_loss=1.0) == rule.step(val_loss=1.0) == 0.0125
    with pytest.warns(RuntimeWarning, match="val_loss missing"):
        rule.step()


def test_plateau_agrees_with_torch() -> None:
    """The learning rate of its scheduler, as λ."""
    losses = torch.rand(60, generator=torch.Generator().manual_seed(0)).tolist()
    optimizer = optimizer_for()
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.3, patience=2, threshold=1e-4, eps=0
    )
    ours = Plateau(0.1, factor=0.3, patience=2, lam_range=(1e-30, 1.0))
    for loss in losses:
        theirs.step(loss)
        assert ours.step(val_loss=loss) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)


def test_adaptive_decay_is_the_ratio_of_the_norms() -> None:
    rule = AdaptiveDecay(0.5)
    assert rule.value == 0.0
    assert rule.step(grad_norm=2.0, weight_norm=4.0) == pytest.approx(0.9 * 0.25)
    assert rule.step(grad_norm=4.0, weight_norm=4.0) == pytest.approx(0.1 * 0.225 + 0.9 * 0.5)
    clone = AdaptiveDecay(0.5)
    clone.load_state_dict(json.loads(json.dumps(rule.state_dict())))
    assert clone.step(grad_norm=1.0, weight_norm=4.0) == rule.step(grad_norm=1.0, weight_norm=4.0)
    with pytest.warns(RuntimeWarning, match="λ is held"):
        rule.step(grad_norm=math.nan, weight_norm=4.0)
    assert rule.step(grad_norm=1e9, weight_norm=1e-9) == 10.0  # the upper end


def test_adaptive_decay_measures_the_optimizer_it_is_attached_to() -> None:
    optimizer = optimizer_for(decays=(1e-4, 0.0))
    rule = AdaptiveDecay(1.0, optimizer)
    update(optimizer)  # gradients of 0.01, six weights with decay
    weights = list(rule.groups.weights()) if rule.groups else []
    expected = (
        0.9 * math.sqrt(6 * 0.01**2) / math.sqrt(sum(float(w.detach().square().sum()) for w in weights))
    )
    assert rule.step() == pytest.approx(expected)
    assert decays(optimizer) == pytest.approx([expected, 0.0])
    assert gradient_norm(weights) == pytest.approx(math.sqrt(6) * 0.01)
    assert pull(weights) == pytest.approx(0.01 * sum(float(w.detach().sum()) for w in weights))
    optimizer.zero_grad()
    assert math.isnan(gradient_norm(weights))
    assert math.isnan(pull(weights))


def test_stable_decay_divides_by_the_root_of_the_second_moment() -> None:
    optimizer = optimizer_for(torch.optim.AdamW, decays=(1e-4, 0.0))
    rule = StableDecay(1e-3, optimizer)
    assert rule.value == rule.step() == 1e-3  # no step was taken
    update(optimizer)
    assert second_moment(optimizer) == pytest.approx(0.01**2)  # corrected for its bias
    assert rule.step() == pytest.approx(0.1, rel=1e-5)
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = torch.full_like(p, 0.03)
    upcoming = second_moment(optimizer, upcoming=True)
    optimizer.step()
    assert second_moment(optimizer) == pytest.approx(upcoming)
    plain = optimizer_for(torch.optim.SGD)
    constant = StableDecay(1e-3, plain)
    update(plain)
    assert constant.step() == 1e-3
    assert math.isnan(second_moment(plain))


def test_hypergradient_follows_the_sign_of_the_pull_and_is_bounded() -> None:
    rule = Hypergradient(0.01, rate=2.0, facts=FACTS)
    move = 2.0 * FACTS.decay_sum * 0.1 * 0.01 * 0.5
    assert rule.step(progress=0.1, val_pull=0.5) == pytest.approx(0.01 * math.exp(move))
    assert rule.step(progress=0.2, val_pull=-1e9) == pytest.approx(0.001 * math.exp(move))
    assert Hypergradient(0.01, on="train").asked == ("train_pull",)
    with pytest.warns(RuntimeWarning, match="signal val_pull missing"):
        rule.step(progress=0.3)
    clone = Hypergradient(0.01, rate=2.0, facts=FACTS)
    clone.load_state_dict(json.loads(json.dumps(rule.state_dict())))
    assert clone.step(progress=0.5, val_pull=0.1) == rule.step(progress=0.5, val_pull=0.1)


def test_hypergradient_is_the_gradient_of_the_loss_after_a_step() -> None:
    """One step of SGD by autograd through λ, against what the rule moves by."""
    torch.manual_seed(0)
    w = nn.Parameter(torch.randn(4, 3, dtype=torch.float64))
    x, y, val_x, val_y = (torch.randn(6, size, dtype=torch.float64) for size in (4, 3, 4, 3))
    optimizer = torch.optim.SGD([w], lr=0.1, weight_decay=0.05)
    rule = Hypergradient(0.05, rate=1.0, optimizer=optimizer, total_steps=1)
    log_lam = torch.tensor(math.log(0.05), dtype=torch.float64, requires_grad=True)
    gradient = torch.autograd.grad((x @ w - y).square().mean(), w)[0]
    after = w.detach() - 0.1 * (gradient + log_lam.exp() * w.detach())
    true = torch.autograd.grad((val_x @ after - val_y).square().mean(), log_lam)[0].item()
    before = w.detach().clone()
    with torch.no_grad():
        w.copy_(after.detach())
    val = torch.autograd.grad((val_x @ w - val_y).square().mean(), w)[0]
    lam = rule.step(progress=1.0, val_pull=float((val * before).sum()))
    assert math.log(lam / 0.05) == pytest.approx(-true)


def test_what_is_asked_for_can_be_measured() -> None:
    for kind in (AdaptiveDecay, StableDecay, Hypergradient):
        assert issubclass(kind, FeedbackRule)
        assert set(kind.asks) <= set(MEASURED)
    assert Plateau().asked == ()


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("to-zero:0.1", DecayToZero), ("flat-cosine:0.1", FlatCosine), ("flat-cosine:0.1,0.7", FlatCosine),
        ("knots:0.1", Knots), ("adamc:0.1", ProportionalToRate), ("plateau", Plateau), ("awd:0.02", AdaptiveDecay),
        ("swd:0.0005", StableDecay), ("hypergradient:on=train,rate=3", Hypergradient),
    ],
)  # fmt: skip
def test_text_forms(spec: str, kind: type[Schedule]) -> None:
    assert type(parse_schedule(spec)(facts=FACTS, total_steps=10, decisions=5)) is kind


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("to-zero:0.1,square", "unknown ending 'square'; allowed: cosine, linear"),
        ("flat-cosine:0.1,1", "flat must be a share of the run"),
        ("early-only:0.1,2", "share must be a share of the run"),
        ("late-only:0.1", "1 values where 2 belong"),
        ("knots:0.1,0", "each knot must be finite and above 0"),
        ("adamc:-1", "0 or more"),
        ("plateau:factor=1", "factor must not be 1"),
        ("plateau:patience=0.5", "plateau: patience must be a whole number"),
        ("hypergradient:on=test", "on must be one of val, train"),
        ("hypergradient:initial=0", "above 0"),
        ("awd", "no arguments; expected awd:0.02"),
    ],
)
def test_clear_errors(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_schedule(spec)
