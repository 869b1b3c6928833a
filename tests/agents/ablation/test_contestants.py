"""Ablations as contestants: what each of them plays, and that a comparison has them beside their policies."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from comparisons import OWN_SUITE, SUITE, TASK, judge, write_policy
from rich.console import Console
from tiny_policies import CARD, make_policy

from lambda_rl.agents.ablation.contestants import (
    FINAL,
    MEAN,
    MEANING,
    SHUFFLED,
    ablated,
    ablation_of,
    chosen,
)
from lambda_rl.agents.ablation.traces import Traces, traced
from lambda_rl.agents.ablation.weights import blinded, untrained
from lambda_rl.agents.baselines import Cell
from lambda_rl.agents.comparison import command
from lambda_rl.agents.comparison.asked import request
from lambda_rl.agents.comparison.command import CompareConfig, run_comparison
from lambda_rl.agents.comparison.contestants import Learned, read_policies
from lambda_rl.agents.comparison.results import ABLATION, LEARNED
from lambda_rl.envs.tasks.suites import load_suite

CELLS = [Cell("a", TASK), Cell("b", dataclasses.replace(TASK, label_noise=0.4, seed=1))]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    (found,) = read_policies([write_policy(tmp_path_factory.mktemp("policies") / "p.safetensors")])
    return found


def test_a_blind_policy_acts_as_if_a_feature_were_at_its_average() -> None:
    policy = make_policy(0, CARD)
    features = policy.card.features
    seen = np.random.default_rng(0).normal(size=(5, len(features))).astype(np.float32)
    hidden = [features.index(name) for name in ("val_loss", "loss_gap")]
    average = seen.copy()
    average[:, hidden] = policy.obs_mean[hidden]
    blind = blinded(policy, {"val_loss", "loss_gap", "no such feature"})
    np.testing.assert_allclose(blind.act(seen), policy.act(average), atol=1e-6)
    assert not np.allclose(policy.act(seen), policy.act(average))
    assert blind.fingerprint != policy.fingerprint


def test_an_untrained_policy_hardly_moves_and_is_always_the_same() -> None:
    policy = make_policy(0, CARD)
    seen = np.random.default_rng(0).normal(size=(50, len(policy.card.features)))
    assert np.abs(untrained(policy).act(seen)).max() < 0.1
    assert untrained(policy).fingerprint == untrained(policy).fingerprint != policy.fingerprint


def test_a_shuffled_policy_makes_moves_that_were_made_at_the_same_decision() -> None:
    levels = np.array([[-2.0, -1.5, -1.0], [-3.0, -3.25, -3.5]])
    traces = Traces(levels, kappa=False, ends=(-5.0, 0.5))
    assert traces.mean.levels == (-2.5, -2.375, -2.25)
    found = {traces.mixed(np.random.default_rng(seed)).levels for seed in range(60)}
    assert found == {(a, a + b, a + b + c) for a in (-2.0, -3.0) for b in (0.5, -0.25) for c in (0.5, -0.25)}
    low = dataclasses.replace(traces, ends=(-3.1, 0.5))
    assert min(min(low.mixed(np.random.default_rng(seed)).levels) for seed in range(60)) == -3.1


def test_each_plays_what_it_says(learned: Learned) -> None:
    bench = judge()
    traces = traced(learned.contestant, learned.policy, CELLS, judge("agent", test=False))
    made = ablated(["all"], learned.contestant, learned.policy, "p", traces)
    assert {ablation_of(one.name) for one in made} == {*MEANING} - {"without-ranks"}  # which it does not read
    assert {one.kind for one in made} == {ABLATION}
    found = {ablation_of(one.name): list(one.play(CELLS, bench)) for one in made}
    whole = list(learned.contestant.play(CELLS, bench))
    for item, of in zip(found[FINAL], whole, strict=True):
        assert item.result.history["log_lam"] == pytest.approx(
            [of.result.history["log_lam"][-1]] * len(item.result.history["log_lam"])
        )
        assert item.inner_runs == 2
    for item in found[MEAN]:
        np.testing.assert_allclose(item.result.history["log_lam"], traces.mean.levels, atol=1e-9)
    again = ablated([SHUFFLED], learned.contestant, learned.policy, "p", traces)[0]
    alone = next(again.play(CELLS[1:], judge()))  # a row does not depend on who else is played
    assert alone.result.history == found[SHUFFLED][1].result.history
    assert all(len({str(item.result.history) for item in items}) == 2 for items in found.values())


def test_a_trajectory_of_kappa_is_replayed_in_kappa(tmp_path: Path) -> None:
    (item,) = read_policies(["any-loop"])
    task = dataclasses.replace(TASK, optimizer="adamw", decay="decoupled", learning_rate=0.01)
    cells = [Cell("a", task), Cell("b", dataclasses.replace(task, learning_rate=0.001))]
    traces = traced(item.contestant, item.policy, cells, judge("agent", test=False))
    assert traces.kappa
    (mean,) = ablated([MEAN], item.contestant, item.policy, "p", traces)
    one, other = (played.result.history["log_lam"] for played in mean.play(cells, judge()))
    np.testing.assert_allclose(
        np.array(other) - np.array(one), 1.0
    )  # a tenth of the learning rate: ten times λ


def test_bad_names_are_refused_before_anything_is_run(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"unknown ablation mean-trajectry; allowed are all, untrained.*did you mean"
    ):
        chosen(["mean-trajectry"])
    with pytest.raises(ValueError, match="no policy to ablate"):
        run_comparison(CompareConfig(out=str(tmp_path / "out"), ablations=("all",)))
    policy = str(write_policy(tmp_path / "p.safetensors"))
    with pytest.raises(ValueError, match="need a tuning suite; --tune says which"):
        run_comparison(
            CompareConfig(out=str(tmp_path / "out"), policy=(policy,), ablations=(MEAN,), tune="none")
        )


def test_a_comparison_has_them_beside_their_policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    side = dataclasses.replace(SUITE, name="side", fold="agent")
    monkeypatch.setattr(request, "load_suite", lambda name: side if name == "side" else load_suite(name))
    monkeypatch.setattr(command, "draw_all", lambda *_: [])
    suite = tmp_path / "own.yaml"
    suite.write_text(OWN_SUITE.format(name="own"))
    policies = [write_policy(tmp_path / f"agent-seed{seed}.safetensors", seed) for seed in range(2)]
    config = CompareConfig(
        out=str(tmp_path / "out"), policy=tuple(map(str, policies)), suite=str(suite), seeds=2, constants=(0.01, 0.1),
        families=("kappa",), tune="side", tune_settings=1, tune_seeds=1, threads=1,
        ablations=(MEAN, FINAL, "without-facts"), lam_meaning="coupled",
    )  # fmt: skip
    monkeypatch.setattr(command, "write_report", lambda folder, _: folder / "report.html")
    comparison = run_comparison(config, Console(file=io.StringIO()))
    evidence = comparison.evidence
    assert [item.name for item in evidence.learned] == ["learned:agent"]
    own = evidence.of_policy("learned:agent", MEAN)
    assert own is not None
    scores = comparison.results.scores
    margins = [
        (scores(f"{LEARNED}:agent-seed{seed}") - scores(f"{MEAN}:agent-seed{seed}")).mean()
        for seed in range(2)
    ]
    assert own.difference == pytest.approx(np.mean(margins))
    assert len(comparison.summary.of_kind(ABLATION)) == 6
