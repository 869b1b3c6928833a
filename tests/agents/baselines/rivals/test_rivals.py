"""Rivals: settings that parse and differ, laws, bounds in the batched trainer, and that they take part where named."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from comparisons import SUITE, TASK, judge
from tiny_schedules import FACTS
from torch import nn

from lambda_rl.agents.baselines import (
    BASELINES,
    Cell,
    families_to_choose,
    hand_designed_families,
    make_schedule,
    tune,
    tuning_settings,
)
from lambda_rl.agents.baselines.rivals.bounded import BoundedOptimizer
from lambda_rl.agents.comparison.contestants import line_up
from lambda_rl.agents.comparison.protocol import play
from lambda_rl.envs.networks import Params
from lambda_rl.envs.optimizers import OPTIMIZERS, Decay
from lambda_rl.penalties import PENALTIES
from lambda_rl.schedules.rules.norm_bounds import BoundedNorms
from lambda_rl.suggest.kappa_law import load_kappa_law

RIVALS = tuple(name for name in families_to_choose() if name not in hand_designed_families())
UNTUNED = ("framework-default", "random-search", "pbt", "pbt-replay")
CELLS = [Cell(f"task{i}", task.with_seed(seed)) for i, task in enumerate(SUITE.tasks) for seed in (0, 1)]


def test_they_take_part_only_where_they_are_named() -> None:
    assert hand_designed_families() == ("pull-down", "pull-up", "cosine", "steps", "gap")
    assert set(RIVALS) >= {
        "to-zero", "flat-cosine", "early-only", "late-only", "adamc", "plateau", "awd", "swd", "hypergradient",
        "kappa", "tau", "power-law", "fitted-law", "cpr", "random-search", "knots", "knots-long",
    }  # fmt: skip
    names = [contestant.name for contestant in line_up(families=("tau", "cpr")).contestants]
    assert {"tau", "cpr"} <= set(names)
    assert "gap" not in names
    assert not set(RIVALS) & {contestant.name for contestant in line_up().contestants}
    with pytest.raises(
        ValueError, match=r"unknown hand-designed schedule magic; allowed are pull-down, .*cpr"
    ):
        line_up(families=("magic",))


def test_every_rival_has_enough_settings_that_can_play() -> None:
    for name, specs in tuning_settings(families=RIVALS).items():
        if name in RIVALS:
            assert len(specs) >= 16
            assert len(set(specs)) == len(specs)
            assert all(spec.startswith(f"{name}:") for spec in specs)
            for spec in specs:
                assert BASELINES[name].contestant(spec).spec == spec
    for name in RIVALS:
        assert BASELINES[name].tunable != (name in UNTUNED)
        assert BASELINES[name].contestant(BASELINES[name].untuned).name == name


def lam(spec: str, **facts: float) -> float:
    return float(make_schedule(spec)(facts=dataclasses.replace(FACTS, **facts)).value)  # type: ignore[arg-type]


def test_laws_say_what_their_papers_say() -> None:
    assert lam("kappa:2") == pytest.approx(2 / 30)
    # τ = B / (η·λ·N) epochs: with a constant learning rate η, λ = B / (η·N·τ)
    steps, batch, rate = 500, 100, 0.06
    known = {"epochs": steps * batch / 5000, "lr_sum": rate * steps}
    assert lam("tau:4", **known) == pytest.approx(batch / (rate * 5000 * 4))
    examples = 5000 * known["epochs"]
    share = 1.1 * (examples / 1000) ** -0.53
    assert lam("power-law:1.1,-0.53", **known) == pytest.approx(batch / (rate * examples * share))
    kappa = load_kappa_law().constant[0]
    assert lam("fitted-law:1") == pytest.approx(10**kappa / 30, rel=2.0)
    assert lam("fitted-law:3") == pytest.approx(3 * lam("fitted-law:1"))


def test_the_default_of_the_framework() -> None:
    make = make_schedule("framework-default")
    adam = dataclasses.replace(FACTS, adaptive=True)
    default = torch.optim.AdamW([nn.Parameter(torch.ones(1))]).defaults["weight_decay"]
    assert make(facts=adam, decay="decoupled").value == default
    assert make(facts=adam, decay="coupled").value == make(facts=FACTS, decay="decoupled").value == 0.0
    with pytest.raises(ValueError, match="has no settings"):
        make_schedule("framework-default:1")


@pytest.mark.parametrize("spec", ["kappa:0", "kappa:a", "power-law:1", "tau:1,2", "fitted-law:", "tau:nan"])
def test_a_law_that_says_nothing_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        make_schedule(spec)


def test_a_law_needs_facts() -> None:
    with pytest.raises(ValueError, match=r"'tau:3' says λ by the facts of a run; none were given"):
        make_schedule("tau:3")()


@pytest.mark.parametrize(("rule", "numbers"), [("warm-start", (3.0, 6.0)), ("dependent", (0.5, 0.9))])
def test_bounds_side_by_side_are_those_of_a_plain_loop(rule: str, numbers: tuple[float, float]) -> None:
    """Two networks in the stacked optimizer against two in torch, step by step."""
    drawn = torch.Generator().manual_seed(0)
    start = torch.randn(2, 5, 3, generator=drawn)
    grads = 0.3 * torch.randn(20, 2, 5, 3, generator=drawn)
    stacked = BoundedOptimizer(OPTIMIZERS["adamw"], rule)
    params: Params = {"w": start.clone()}
    state = {kind: {"w": torch.zeros_like(start)} for kind in stacked.state_names}
    plain = [nn.Parameter(value.clone()) for value in start]
    optimizers = [torch.optim.AdamW([weight], lr=0.05, weight_decay=0.0) for weight in plain]
    bounds = [BoundedNorms([weight], rule, number) for weight, number in zip(plain, numbers, strict=True)]
    decay = Decay(PENALTIES["l2"], True, frozenset(["w"]))
    largest = torch.zeros(2)
    for step, grad in enumerate(grads):
        inputs = {
            "lam": torch.tensor(numbers), "learning_rate": torch.full((2,), 0.05),
            "momentum": torch.full((2,), 0.9), "step": torch.full((2,), float(step), dtype=torch.float64),
        }  # fmt: skip
        stacked.update(params, {"w": grad.clone()}, state, inputs, decay)
        for weight, own, optimizer, bound in zip(plain, grad, optimizers, bounds, strict=True):
            weight.grad = own.clone()
            optimizer.step()
            bound.step()
        multipliers = state["multiplier"]["w"][:, 0, 0]
        assert multipliers.tolist() == pytest.approx([b.members[0].multiplier for b in bounds], abs=1e-5)
        largest = torch.maximum(largest, multipliers)
    for ours, weight in zip(params["w"], plain, strict=True):
        assert torch.allclose(ours, weight, atol=1e-5)
    assert (largest > 0).all()  # they did something


def test_cpr_plays_and_leaves_no_trace() -> None:
    names = OPTIMIZERS.names()
    loose = BASELINES["cpr"].contestant("cpr:dependent,1e+06")
    tight = BASELINES["cpr"].contestant("cpr:dependent,0.1")
    cells = [*CELLS, Cell("adam", dataclasses.replace(TASK, optimizer="adamw", learning_rate=0.01))]
    judging = judge()
    none = list(BASELINES["constant"].contestant("constant:0").play(cells, judging))
    free, bound = (list(contestant.play(cells, judging)) for contestant in (loose, tight))
    assert OPTIMIZERS.names() == names
    for a, b, c, cell in zip(none, free, bound, cells, strict=True):
        assert a.result.test_loss == pytest.approx(b.result.test_loss, abs=1e-6)
        assert abs(a.result.test_loss - c.result.test_loss) > 1e-6
        assert c.result.task == cell.task
        assert all(map(math.isnan, c.result.history["log_lam"]))
    with pytest.raises(ValueError, match="expected cpr:warm-start,SHARE"):
        BASELINES["cpr"].contestant("cpr:warm-start,2")


def test_rivals_are_tuned_on_request() -> None:
    suite = dataclasses.replace(SUITE, name="tiny-validation", fold="agent")
    settings = {"constant": ["constant:0.1"], "cpr": ["cpr:dependent,0.5"], "tau": ["tau:1", "tau:10"]}
    tuned = tune(suite, judge("agent", test=False), settings=settings, seeds=1)
    assert tuned.inner_runs == {"constant": 2, "cpr": 2, "tau": 4}
    assert tuned.best("cpr") == "cpr:dependent,0.5"
    assert [c.spec for c in line_up(families=("tau",), tuned=tuned).contestants if c.name == "tau"] == [
        tuned.best("tau")
    ]


def test_random_search_takes_the_best_of_its_draws_on_validation() -> None:
    found = BASELINES["random-search"].contestant("random-search:5")
    judging = judge()
    played = play([found], CELLS, judging)["random-search"]
    assert [item.inner_runs for item in played] == [5] * len(CELLS)
    lams = {item.spec for item in played}
    assert len(lams) > 1  # each seed draws its own
    drawn = judging(found.jobs(CELLS[:1]))  # type: ignore[attr-defined]
    assert played[0].result.val_accuracy == max(item.result.val_accuracy for item in drawn)
    assert len({item.spec for item in drawn}) == 5
    again = play([BASELINES["random-search"].contestant("random-search:5")], CELLS, judge())["random-search"]
    assert [item.spec for item in again] == [item.spec for item in played]
    with pytest.raises(ValueError, match="expected random-search:COUNT"):
        BASELINES["random-search"].contestant("random-search:0")


def test_knots_are_searched_with_their_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna", reason="optuna is not installed (extra: search)")
    monkeypatch.setattr(type(BASELINES["knots"]), "trials", 10)
    suite = dataclasses.replace(SUITE, name="tiny-validation", fold="agent")
    calls: list[tuple[int, int]] = []

    def tuned_once() -> object:
        return tune(
            suite, judge("agent", test=False), settings={"constant": ["constant:0.1"]}, searches=("knots", "gap"),
            seeds=1, progress=lambda done, total: calls.append((done, total)),
        )  # fmt: skip

    tuned = tuned_once()
    assert set(tuned.families) == {"constant", "knots"}  # type: ignore[attr-defined]
    specs = [setting.spec for setting in tuned.families["knots"]]  # type: ignore[attr-defined]
    assert len(specs) == 10
    assert "knots:0.01,0.01,0.01,0.01" in specs  # constants come first
    assert all(np.diff([done for done, _ in calls]) >= 0)
    assert tuned == dataclasses.replace(tuned_once(), seconds=tuned.seconds)  # type: ignore[attr-defined,type-var]
    make_schedule(tuned.best("knots"))  # type: ignore[attr-defined]
    assert make_schedule("knots-long:0.1,0.01")().value == 0.1


def test_a_population_copies_its_best_and_its_winner_can_be_replayed() -> None:
    task = dataclasses.replace(TASK, steps=24, decisions=6, learning_rate=0.1)
    judging = judge()
    cells = [Cell("a", task), Cell("b", task.with_seed(1))]
    pbt, replay = (BASELINES[name].contestant(f"{name}:6") for name in ("pbt", "pbt-replay"))
    first, again = list(pbt.play(cells, judging)), list(pbt.play(cells, judging))
    assert [item.result.test_loss for item in first] == [item.result.test_loss for item in again]
    assert [(item.inner_runs, item.steps) for item in first] == [(6, 6 * 24)] * 2
    replayed = list(replay.play(cells, judging))
    assert [item.inner_runs for item in replayed] == [7] * 2
    for item, anew in zip(first, replayed, strict=True):
        # members differ by λ alone, so the winner's λ from the start is the winner
        assert anew.result.history["log_lam"] == pytest.approx(item.result.history["log_lam"])
        assert anew.result.test_loss == pytest.approx(item.result.test_loss, rel=1e-5)
        assert anew.result.val_accuracy == item.result.val_accuracy
        assert anew.result.outer_accuracy == item.result.outer_accuracy
    wild = Cell("wild", dataclasses.replace(task, learning_rate=1e4))
    lost = next(iter(pbt.play([wild], judging)))
    assert lost.result.diverged
    assert lost.result.test_accuracy == 0.1
    with pytest.raises(ValueError, match="expected pbt:MEMBERS, 2 to 1000"):
        BASELINES["pbt"].contestant("pbt:1")
