"""Gradients in λ and α are those of the next step's loss, and the page says what the runs say."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from places import DOCS
from tiny_policies import policy_of_two

from lambda_rl import save_policy
from lambda_rl.agents.learning_lambda import loops
from lambda_rl.agents.learning_lambda.command import LearningConfig, learn, table
from lambda_rl.agents.learning_lambda.loops import (
    LR,
    Digits,
    Loop,
    run_lambda,
    slope_of_alpha,
    slope_of_log_lambda,
)
from lambda_rl.agents.presenting.markdown import fill
from lambda_rl.knobs import KNOBS, Knob

RESULTS = DOCS / "results" / "why-not-learn-it"


@pytest.fixture(scope="module")
def digits() -> Digits:
    drawn = Digits.draw(0, 0.3)
    return Digits(*((x.double(), y) for x, y in (drawn.train, drawn.val, drawn.test)))


def test_slopes_are_those_of_finite_differences(digits: Digits) -> None:
    def after(lam: float, alpha: float) -> tuple[Loop, list[torch.Tensor], list[list[torch.Tensor]]]:
        loop = Loop(digits, 1)
        loop.model.double()
        before = [weight.detach().clone() for weight in loop.weights]
        batch = loop.batch()
        parts = [loop.gradient(batch), loop.gradient(loop.attacked(batch))]
        mixed = [alpha * one + (1 - alpha) * other for one, other in zip(*parts, strict=True)]
        loop.move([slope + lam * weight for slope, weight in zip(mixed, before, strict=True)])
        return loop, before, parts

    def loss(log_lam: float, alpha: float) -> float:
        loop, *_ = after(math.exp(log_lam), alpha)
        return torch.nn.functional.cross_entropy(loop.model(digits.val[0]), digits.val[1]).item()

    lam, alpha, h = 0.3, 0.4, 1e-4
    loop, before, (clean, robust) = after(lam, alpha)
    gradient = loop.gradient(digits.val)
    in_lam = (loss(math.log(lam) + h, alpha) - loss(math.log(lam) - h, alpha)) / (2 * h)
    in_alpha = (loss(math.log(lam), alpha + h) - loss(math.log(lam), alpha - h)) / (2 * h)
    assert slope_of_log_lambda(lam, before, gradient) == pytest.approx(in_lam, rel=1e-4)
    assert slope_of_alpha(clean, robust, gradient) == pytest.approx(in_alpha, rel=1e-4)
    assert LR * lam < 1


def test_the_command_and_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "STEPS", 12)
    monkeypatch.setattr(loops, "INTERVAL", 3)
    policy = tmp_path / "alpha.safetensors"
    save_policy(policy, policy_of_two(Knob("lam", -6, -5, 0.1), KNOBS["alpha"].knob("alpha")))
    page = tmp_path / "page.md"
    page.write_text("<!-- block: learned -->\n<!-- end: learned -->\n", encoding="utf-8")
    config = LearningConfig(out=tmp_path, seeds=1, page=str(page), policy=str(policy))
    learn(config)
    runs = pd.read_csv(tmp_path / "runs.csv")
    assert len(runs) == 11 + 3 * 3 + 6 + 2 * 3 + 1
    moved = pd.read_csv(tmp_path / "trajectories.csv").query("learned_on == 'policy'")["value"]
    assert 1 > moved.iloc[0] > moved.iloc[-1] >= 0
    learn(replace(config, measure="policy"))  # of that alone, and the rest as it is
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "runs.csv"), runs)
    assert (tmp_path / "learned.png").stat().st_size > 10_000
    assert page.read_text(encoding="utf-8").count("\n|") == 1 + 3 + 9 + 7 + 1
    falling = run_lambda(Digits.draw(0, 0.3), 0, 1e-2, "penalised loss").trace
    assert falling == tuple(sorted(falling, reverse=True))
    clean, noisy = Digits.draw(3, 0.0), Digits.draw(3, 0.3)
    assert torch.equal(clean.test[1], noisy.test[1])
    assert 0.2 < (clean.train[1] != noisy.train[1]).float().mean() < 0.35
    with pytest.raises(ValueError, match="no such page to fill"):
        learn(LearningConfig(out=tmp_path, page=str(tmp_path / "none.md")))


def test_the_page_says_what_the_runs_say() -> None:
    """Must show: on training loss λ goes to its lower end and α to the trivial mix; on validation they do not."""
    runs = pd.read_csv(RESULTS / "runs.csv")
    text = (DOCS / "why-not-learn-it.md").read_text(encoding="utf-8")
    assert fill(text, {"learned": table(runs)}) == text
    learned = runs[
        (runs["knob"] == "α") | (runs["start"] < 1)
    ]  # at λ = 1 the weights are 0 at once, as the page says
    ends = learned.groupby(["knob", "learned_on"])["last"]
    for on in ("penalised loss", "training"):
        assert ends.max()["λ", on] < 1e-4
    assert 0.01 <= ends.min()["λ", "validation"] <= ends.max()["λ", "validation"] <= 0.03
    assert ends.min()["α", "penalised loss"] > 0.99
    assert 0.65 < ends.min()["α", "validation"] <= ends.max()["α", "validation"] < 0.85
    stuck = runs[(runs["knob"] == "λ") & (runs["start"] == 1) & (runs["learned_on"] == "validation")]
    assert set(stuck["last"]) == {1.0}
    worth = learned.groupby(["knob", "learned_on"])["test_accuracy"].mean()
    constants = runs[(runs["knob"] == "λ") & (runs["learned_on"] == "constant")]
    best = constants.groupby("start")["test_accuracy"].mean().max()
    assert worth["λ", "validation"] >= best > worth["λ", "penalised loss"] + 3
