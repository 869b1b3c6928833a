"""CPR, SWD and AdamC on one run each: ours beside the packages that people install for them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from lambda_rl import split_parameters
from lambda_rl.schedules.rules.feedback import ProportionalToRate
from lambda_rl.schedules.rules.gradient_rules import stable_lam
from lambda_rl.schedules.rules.measured import second_moment
from lambda_rl.schedules.rules.norm_bounds import BoundedNorms

STEPS, LR = 60, 3e-3


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def train(model: nn.Module, step: Callable[[], Any], steps: int = STEPS) -> list[torch.Tensor]:
    """Noisy labels, so that weights grow; the weights at the end."""
    drawn = torch.Generator().manual_seed(1)
    x = torch.randn(64, 6, generator=drawn)
    y = torch.randint(3, (64,), generator=drawn)
    for i in range(steps):
        part = slice(16 * (i % 4), 16 * (i % 4 + 1))
        model.zero_grad()
        nn.functional.cross_entropy(model(x[part]), y[part]).backward()
        step()
    return [p.detach().clone() for p in model.parameters()]


def same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-5)


def decayed(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.dim() > 1]


@pytest.mark.filterwarnings("ignore:.*is_compiling.*deprecated", "ignore:Use _accelerator_graph")
@pytest.mark.parametrize(
    ("rule", "value", "theirs", "steps"),
    [
        ("warm-start", 10, {"kappa_init_method": "warm_start", "kappa_init_param": 10}, STEPS),
        ("dependent", 0.8, {"kappa_init_method": "dependent", "kappa_init_param": 0.8}, STEPS),
        ("inflection", 0, {"kappa_init_method": "inflection_point", "foreach": True}, 1100),
    ],
)
def test_cpr_agrees_with_pytorch_cpr(rule: str, value: float, theirs: dict[str, Any], steps: int) -> None:
    package = pytest.importorskip("pytorch_cpr", reason="pytorch-cpr is not installed (extra: rivals)")
    one, other = network(), network()
    groups = [
        {**group, "weight_decay": 0.0, "regularize": bool(group["weight_decay"])}
        for group in split_parameters(other, 1.0)
    ]
    reference = package.AdamCPR(groups, lr=LR, **theirs)
    optimizer = torch.optim.AdamW(one.parameters(), lr=LR, weight_decay=0.0)
    bounds = BoundedNorms(decayed(one), rule, value)

    def step() -> None:
        optimizer.step()
        bounds.step()

    same(train(one, step, steps), train(other, reference.step, steps))
    for member, weight in zip(bounds.members, decayed(other), strict=True):
        state = reference.state[weight]
        assert member.multiplier == pytest.approx(float(state["lagmul"]), abs=1e-6)
        assert member.bound == pytest.approx(float(state["kappa"]), rel=1e-5)
    assert any(member.multiplier for member in bounds.members)  # it did something


def test_swd_agrees_with_pytorch_optimizer() -> None:
    package = pytest.importorskip(
        "pytorch_optimizer", reason="pytorch-optimizer is not installed (extra: rivals)"
    )
    one, other = network(), network()
    reference = package.AdamS(split_parameters(other, 5e-3), lr=LR, weight_decay=0.0)
    optimizer = torch.optim.AdamW(split_parameters(one, 5e-3), lr=LR)
    seen: list[float] = []

    def step() -> None:
        lam = stable_lam(5e-3, second_moment(optimizer, upcoming=True))
        optimizer.param_groups[0]["weight_decay"] = lam
        seen.append(lam)
        optimizer.step()

    same(train(one, step), train(other, reference.step))
    assert max(seen) > 1.3 * min(seen)  # it did something


@pytest.mark.parametrize("name", ["pytorch_optimizer", "timm.optim"])
def test_adamc_agrees_with_the_packages(name: str) -> None:
    package = pytest.importorskip(name, reason=f"{name} is not installed (extra: rivals)")
    one, other = network(), network()
    groups = split_parameters(other, 0.5)
    options = {"lr": LR, "eps": 1e-12}  # which each adds at another place
    if name == "timm.optim":
        reference = package.AdamWLegacy(groups, corrected_weight_decay=True, **options)
    else:
        groups[0]["normalized"] = True
        reference = package.AdamC(groups, **options)
    optimizer = torch.optim.AdamW(split_parameters(one, 0.5), **options)
    rates = [torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS) for o in (optimizer, reference)]
    rule = ProportionalToRate(0.5, optimizer)

    def ours() -> None:
        optimizer.step()
        rates[0].step()
        rule.step()

    def theirs() -> None:
        reference.step()
        rates[1].step()

    same(train(one, ours), train(other, theirs))
    assert rule.value < 0.01


@pytest.mark.parametrize("rule", [("warm-start", 5), ("dependent", 0.5), ("inflection", 0)])
def test_bounds_go_on_from_their_state(rule: tuple[str, float]) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    bounds = BoundedNorms(decayed(model), *rule)

    def step() -> None:
        optimizer.step()
        bounds.step()

    train(model, step, 20)
    clone = copy.deepcopy(model)
    resumed = BoundedNorms(decayed(clone), *rule)
    resumed.load_state_dict(json.loads(json.dumps(bounds.state_dict())))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    first = train(model, step, 5)
    bounds, optimizer = resumed, torch.optim.SGD(clone.parameters(), lr=0.1)
    for a, b in zip(first, train(clone, step, 5), strict=True):
        assert torch.equal(a, b)


def test_a_bound_is_a_decay_of_its_own() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    bounds = BoundedNorms([weight], "dependent", 0.5)
    bounds.step()  # ‖W‖² is 4, κ is 2
    assert bounds.decays(0.1) == [2 * 0.5 / 0.1]
    assert torch.equal(weight.detach(), torch.zeros(2, 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda w: BoundedNorms(w, "magic"), "unknown rule 'magic'; allowed: warm-start, dependent, inflection"),
        (lambda w: BoundedNorms(w, "warm-start", 0), "steps of warm-start"),
        (lambda w: BoundedNorms(w, "dependent", -1), "0 or more"),
        (lambda w: BoundedNorms([], "inflection"), "no weights"),
        (lambda w: BoundedNorms(w).load_state_dict(BoundedNorms(w[:1]).state_dict()), "state is of 1 weights"),
    ],
)  # fmt: skip
def test_clear_errors(make: Callable[[list[nn.Parameter]], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(decayed(network()))
