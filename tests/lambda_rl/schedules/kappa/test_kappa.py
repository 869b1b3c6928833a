"""A policy that moves κ: the same for the same run in other units, for runs of unknown length, resumed, and refused."""

from __future__ import annotations

import json
import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_schedules import CARD, KAPPA_CARD, good, make_policy
from torch import nn

from lambda_rl import LearnedSchedule, Policy, ReplaySchedule, load_policy, save_policy, split_parameters
from lambda_rl.knobs import KAPPA
from lambda_rl.observation import RunFacts
from lambda_rl.observation.facts import ADAM_PULL

STEPS, ROWS = 150, 60
FACTS: dict[str, Any] = {"num_train": ROWS, "val_size": 40, "num_classes": 3, "batch_size": 20}
POLICY = make_policy(7, card=KAPPA_CARD)


class Scaled(nn.Module):
    """Two layers whose weights count c times what is stored: the same network for every c."""

    def __init__(self, c: float) -> None:
        super().__init__()
        self.c = c
        self.layers = nn.ModuleList([nn.Linear(6, 12), nn.Linear(12, 3)]).double()
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.div_(c)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, last = self.layers
        hidden = torch.tanh(F.linear(x, self.c * first.weight, self.c * first.bias))
        return F.linear(hidden, self.c * last.weight, self.c * last.bias)


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS + 40, 6, generator=generator, dtype=torch.float64)
    noise = 0.8 * torch.randn(ROWS + 40, generator=generator, dtype=torch.float64)
    return x, ((x[:, 0] + noise > 0.4).long() + (x[:, 1] > 0).long())


def run(kind: str, c: float = 1.0, steps: int = STEPS, **options: Any) -> LearnedSchedule:
    """A run that is the same for every c, but for what its weights are measured in."""
    torch.manual_seed(0)
    model, (x, y) = Scaled(c), data()
    groups = split_parameters(model, 1e-4)
    if kind == "sgd":
        optimizer: Any = torch.optim.SGD(groups, lr=0.1 / c**2, momentum=0.8)
    else:
        # gradients are c times as large, and ε is compared with them
        optimizer = torch.optim.AdamW(groups, lr=0.02 / c, eps=1e-8 * c)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    if "horizon" not in options:
        options.setdefault("total_steps", STEPS)
    schedule = LearnedSchedule(optimizer, model=model, **{"policy": POLICY} | FACTS | options)
    for step in range(steps):
        index = torch.arange(20 * step, 20 * step + 20) % ROWS
        logits = model(x[index])
        loss = F.cross_entropy(logits, y[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step < STEPS - 1:
            rates.step()
        if (step + 1) % 10 == 0:
            with torch.no_grad():
                guess = model(x[ROWS:])
            schedule.step(
                train_loss=loss,
                train_accuracy=(logits.argmax(1) == y[index]).double().mean(),
                val_loss=F.cross_entropy(guess, y[ROWS:]),
                val_accuracy=(guess.argmax(1) == y[ROWS:]).double().mean(),
            )
    return schedule


def kappas(schedule: LearnedSchedule) -> list[float]:
    return [math.log10(row["kappa"]) for row in schedule.history]


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
@pytest.mark.parametrize("c", [0.05, 30.0])
def test_the_same_run_in_other_units_has_the_same_kappa(kind: str, c: float) -> None:
    plain, other = run(kind), run(kind, c)
    assert np.ptp(kappas(plain)) > 0.5
    assert kappas(other) == pytest.approx(kappas(plain), abs=1e-6)
    power = 2 if kind == "sgd" else 1
    assert [row["lam"] for row in other.history] == pytest.approx(
        [row["lam"] * c**power for row in plain.history], rel=1e-5
    )


def test_a_policy_that_moves_lam_does_not() -> None:
    """What the unit is for."""
    policy = make_policy(7, card=CARD)
    plain, other = (run("sgd", c, policy=policy, num_train=500) for c in (1.0, 0.05))
    a, b = ([math.log10(row["lam"]) for row in s.history] for s in (plain, other))
    assert np.abs(np.subtract(a, b) - 2 * math.log10(20)).max() > 0.1
    assert "kappa" not in plain.history[0]
    assert plain.kappa == pytest.approx(plain.value * plain.facts.lr_sum)


def test_lam_follows_from_kappa_and_the_peak_rate() -> None:
    schedule = run("sgd", steps=0)
    assert schedule.facts.lr_sum == pytest.approx(0.1 * STEPS / 0.2)
    assert (schedule.facts.adaptive, schedule.facts.normalised, schedule.facts.pull) == (False, False, 1.0)
    assert schedule.kappa == pytest.approx(schedule.value * schedule.facts.lr_sum)
    assert schedule.history[0]["kappa"] == schedule.kappa
    low, high = schedule.lam_range
    assert [low * schedule.facts.lr_sum, high * schedule.facts.lr_sum] == pytest.approx([1e-2, 10**2.2])
    # the middle of the range of κ, moved by one decision of at most half a decade; the guard allows less as yet
    assert abs(asked_first(schedule) - 0.1) <= 0.5
    assert schedule.kappa == pytest.approx(0.05)
    assert asked_first(run("sgd", steps=0, initial_lam=1e6)) > 1.69


def asked_first(schedule: LearnedSchedule) -> float:
    """log₁₀ of the κ that the first decision asked for."""
    asked = schedule.history[0]["asked"]
    assert isinstance(asked, float)
    return math.log10(asked * schedule.facts.lr_sum)


def optimizer_of(kind: type[torch.optim.Optimizer], **options: Any) -> tuple[nn.Module, Any]:
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 3))
    return model, kind(split_parameters(model, 1e-4), lr=0.01, **options)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("kind", "adaptive", "pull"),
    [
        (torch.optim.SGD, False, 1.0),
        (torch.optim.Adam, True, ADAM_PULL),
        (torch.optim.NAdam, True, ADAM_PULL),
        (torch.optim.RMSprop, True, ADAM_PULL),
        (torch.optim.AdamW, True, 1.0),
        (torch.optim.ASGD, False, 1.0),
    ],
)
def test_every_optimizer_will_do(kind: type[torch.optim.Optimizer], adaptive: bool, pull: float) -> None:
    model, optimizer = optimizer_of(kind)
    schedule = LearnedSchedule(optimizer, policy=POLICY, total_steps=100, model=model, **FACTS)
    facts = schedule.facts
    assert (facts.adaptive, facts.normalised, facts.pull) == (adaptive, True, pull)
    assert facts.lr_sum == pytest.approx(1.0)
    assert schedule.kappa == pytest.approx(schedule.value * pull)
    assert optimizer.param_groups[0]["weight_decay"] == schedule.value
    assert LearnedSchedule(optimizer, policy=POLICY, total_steps=100, **FACTS).facts.normalised is True


@pytest.mark.parametrize("warm_up", ["OneCycleLR", "LinearLR", "none"])
def test_a_warm_up_does_not_spoil_kappa(warm_up: str) -> None:
    _, optimizer = optimizer_of(torch.optim.SGD, momentum=0.9)
    optimizer.param_groups[0]["lr"] = 0.5
    if warm_up == "OneCycleLR":
        rates: Any = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.5, total_steps=100)
    elif warm_up == "LinearLR":
        rates = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.04, total_iters=30)
    schedule = LearnedSchedule(optimizer, policy=POLICY, total_steps=100, **FACTS)
    momentum = 0.85 if warm_up == "OneCycleLR" else 0.9  # where the rate is at its peak
    assert schedule.facts.lr_sum == pytest.approx(0.5 * 100 / (1 - momentum))
    if warm_up != "none":
        for _ in range(30):
            optimizer.step()
            rates.step()
        assert schedule.groups is not None
        assert schedule.groups.lr_ratio(peak=True) == pytest.approx(1.0, abs=1e-3)


def test_a_run_of_unknown_length_goes_on_beyond_the_horizon() -> None:
    # In the first 80 steps nothing differs from a run that is known to have 80.
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        longer = run("sgd", horizon=80, decisions=8)
    known = run("sgd", total_steps=80, decisions=8, steps=80)
    assert kappas(longer)[:8] == kappas(known)[:8]
    assert [row["progress"] for row in longer.history] == pytest.approx([i / 8 for i in range(16)])
    beyond = kappas(longer)[9:]
    assert len(set(beyond)) > 3  # it goes on deciding
    assert longer.facts.lr_sum == known.facts.lr_sum
    # stopped early: nothing was needed but the first part of the run
    assert kappas(run("sgd", horizon=600, steps=60)) == kappas(run("sgd", total_steps=600, steps=60))


def test_a_trace_beyond_the_horizon_replays() -> None:
    longer = run("sgd", horizon=80, decisions=8)
    replay = ReplaySchedule(longer.history, total_steps=80)
    for row in longer.history[1:]:
        assert replay.step(progress=row["progress"]) == longer.history[8]["lam"] or row["progress"] < 1


def test_resumed_it_goes_on() -> None:
    whole = run("adamw", decisions=30)
    torch.manual_seed(0)
    half = run("adamw", decisions=30, steps=70)
    state = json.loads(json.dumps(half.state_dict()))
    model, (x, y) = Scaled(1.0), data()
    del x, y
    optimizer = torch.optim.AdamW(split_parameters(model, 1e-4), lr=0.05)  # another rate: the state's counts
    other = LearnedSchedule(optimizer, policy=POLICY, total_steps=STEPS, decisions=30, **FACTS)
    assert other.lam_range != half.lam_range
    other.load_state_dict(state)
    assert (other.lam_range, other.value, other.kappa, other.facts) == (
        half.lam_range, half.value, half.kappa, half.facts,
    )  # fmt: skip
    assert other.history == half.history == whole.history[:8]
    for i in range(8, 15):
        signals = {"weight_norm": 2.0, "penalty": 0.1, "lr_ratio": 0.5} | good(i, k=15)
        assert half.step(**signals) == other.step(**signals)
    assert len(set(kappas(other)[8:])) > 3


def test_the_file_keeps_the_unit(tmp_path: Any) -> None:
    path = tmp_path / "kappa.safetensors"
    save_policy(path, POLICY)
    policy = load_policy(path)
    assert (policy.card.unit, policy.card.lam_meaning, policy.fingerprint) == (
        KAPPA,
        "any",
        POLICY.fingerprint,
    )
    named_lam = Policy(
        obs_mean=POLICY.obs_mean, obs_var=POLICY.obs_var, clip_obs=10.0, epsilon=1e-8, layers=POLICY.layers,
        card=type(CARD)(**{**vars(KAPPA_CARD), "knobs": CARD.knobs}),
    )  # fmt: skip
    assert named_lam.fingerprint != policy.fingerprint


def test_without_an_optimizer() -> None:
    facts = RunFacts(ROWS, 100, 40, 3, 50.0, 30.0, adaptive=True, normalised=False)
    schedule = LearnedSchedule(policy=POLICY, facts=facts, weight_norm=2.0)
    for i in range(10):
        schedule.step(**good(i))
    assert len(set(kappas(schedule))) > 3
    assert [row["lam"] * 30.0 for row in schedule.history] == pytest.approx(10 ** np.array(kappas(schedule)))


def test_convert_is_needless() -> None:
    with pytest.warns(RuntimeWarning, match="moves κ, which fits every optimizer: nothing is converted"):
        converted = run("adamw", steps=0, lam_meaning="convert")
    assert converted.value == run("adamw", steps=0).value == run("adamw", steps=0, decay="coupled").value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"total_steps": 100, "horizon": 100},
            "give total_steps= or horizon=, which is a guess of them, not both",
        ),
        ({"horizon": 0}, "horizon must be a whole number of 1 or more .*, got 0"),
        ({"horizon": 100, "policy": make_policy()}, "horizon= is for policies that move kappa"),
        ({"total_steps": 100, "model": "resnet"}, "model must be a torch.nn.Module, got 'resnet'"),
        ({}, "an optimizer and total_steps; missing: total_steps"),
    ],
)
def test_refused(options: dict[str, Any], message: str) -> None:
    _, optimizer = optimizer_of(torch.optim.SGD)
    with pytest.raises(ValueError, match=message):
        LearnedSchedule(optimizer, **{"policy": POLICY} | FACTS | options)


def test_a_card_of_kappa_means_any_decay() -> None:
    with pytest.raises(
        ValueError, match="lam_meaning of a policy that moves kappa must be any, got 'coupled'"
    ):
        type(CARD)(**{**vars(KAPPA_CARD), "lam_meaning": "coupled"}).check()
