"""Searches a task at a time on foreign loops, and tuning of a rival that was not tuned yet."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from places import DOCS
from tiny_runs import short
from torch.optim import Optimizer

from lambda_rl import ReplaySchedule
from lambda_rl.agents.foreign import run, selected
from lambda_rl.agents.foreign.contestants import GAP_RANGE, ConstantKappa, Search
from lambda_rl.agents.foreign.loop import RunFigures, figures, train
from lambda_rl.agents.foreign.rivals import command, tuning
from lambda_rl.agents.foreign.rivals.choices import Choice, Choices
from lambda_rl.agents.foreign.rivals.command import RivalsConfig, run_rivals
from lambda_rl.agents.foreign.rivals.page import RIVALS, page_blocks
from lambda_rl.agents.foreign.rivals.per_task import PlainPopulation, RandomKappas, searches
from lambda_rl.agents.foreign.rivals.summary import RivalsSummary
from lambda_rl.agents.foreign.rivals.tuning import choose, drawn, tunable
from lambda_rl.agents.foreign.rows import read_rows, write_rows
from lambda_rl.agents.foreign.runner import play_one
from lambda_rl.envs.tasks.space import TaskList
from lambda_rl.envs.tasks.suites import Suite, load_suite


@pytest.mark.parametrize(("name", "factor"), [("wine", 1.0), ("digits-noisy-adam", 0.01)])
def test_constants_are_drawn_over_the_range_a_seed_its_own(name: str, factor: float) -> None:
    task, search = selected([name])[0], RandomKappas()
    drawn_of = [search.drawn(task, seed) for seed in range(40)]
    assert drawn_of[0] == search.drawn(task, 0)
    assert all(len(set(kappas)) == search.runs == 12 for kappas in drawn_of)
    every = [kappa for kappas in drawn_of for kappa in kappas]
    assert len(set(every)) == len(every)
    low, high = (factor * end for end in GAP_RANGE)
    assert low <= min(every) < 1.1 * low
    assert 0.9 * high < max(every) <= high


def test_random_search_takes_the_best_by_validation_and_tells_its_kappa() -> None:
    task = short("wine", epochs=8, calls=6)
    data, search = task.data(0), RandomKappas(5)
    one = play_one(task, data, 3, search)
    tried = {
        kappa: train(task, data, 3, ConstantKappa(kappa).schedule, feedback=False)
        for kappa in search.drawn(task, 3)
    }
    best = max(tried, key=lambda kappa: (tried[kappa].val_accuracy, -tried[kappa].val_loss))
    assert one.kappas == pytest.approx([best], rel=1e-6)
    assert one.test_accuracy == 100 * tried[best].test_accuracy
    assert one.fingerprint != RandomKappas(6).fingerprint


@pytest.mark.parametrize("name", ["digits-noisy-dropout", "digits-noisy-adamw", "digits-noisy-batchnorm"])
def test_a_populations_winner_is_the_run_that_its_trace_tells(name: str) -> None:
    """Members share weights, minibatches and dropout, and take over all that an optimizer remembers: the λ that a
    winner's weights went through lead to these weights in a plain loop, too."""
    task = short(name, epochs=3, calls=6)
    data = task.data(0)
    found = PlainPopulation(5).result(task, data, 1)
    assert len(found.lams) == task.calls

    def replayed(optimizer: Optimizer, told: RunFigures) -> ReplaySchedule:
        trace = [(call / task.calls, lam) for call, lam in enumerate(found.lams)]
        return ReplaySchedule(trace, optimizer, total_steps=told.total_steps)

    again = train(task, data, 1, replayed, feedback=True)
    assert dataclasses.replace(again, lams=found.lams) == found


def test_a_population_moves_by_a_quarter_of_a_decade_and_stays_in_its_range() -> None:
    task = short("wine", epochs=20, calls=20)
    data = task.data(0)
    lr_sum = figures(task, data).lr_sum
    kappas = torch.tensor([lam * lr_sum for lam in PlainPopulation(6).result(task, data, 0).lams])
    moves = kappas.log10().diff().abs()
    inside = (kappas[1:] > 1.01 * GAP_RANGE[0]) & (kappas[1:] < 0.99 * GAP_RANGE[1])
    assert ((moves < 1e-4) | (moves - 0.25).abs().lt(1e-4) | ~inside).all()
    assert float(kappas.min()) >= 0.999 * GAP_RANGE[0]
    assert float(kappas.max()) <= 1.001 * GAP_RANGE[1]


def test_without_a_call_on_the_way_a_population_is_a_grid() -> None:
    task = short("wine", calls=1, epochs=8)
    data, (low, high) = task.data(0), GAP_RANGE
    grid = [
        train(task, data, 2, ConstantKappa(low * (high / low) ** (k / 3)).schedule, feedback=False)
        for k in range(4)
    ]
    best = max(grid, key=lambda one: (one.val_accuracy, -one.val_loss))
    found = PlainPopulation(4).result(task, data, 2)
    assert (found.val_accuracy, found.test_accuracy) == (best.val_accuracy, best.test_accuracy)
    assert found.lams == pytest.approx(best.lams)


def test_both_are_searches_that_cost_twelve_runs() -> None:
    assert list(searches()) == ["random-search", "pbt"]
    assert all(isinstance(one, Search) and one.runs == 12 for one in searches().values())
    assert not isinstance(ConstantKappa(1.0), Search)


def test_tasks_to_tune_on_are_of_the_training_side_and_always_the_same() -> None:
    some = drawn(3)
    assert some.fold == "agent"
    assert some.tasks == drawn(4).tasks[:3]


def test_a_rival_that_was_not_tuned_yet_is_tuned_beside_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = tuple(
        dataclasses.replace(task, steps=20, decisions=2) for task in load_suite("quick-validation").tasks[:1]
    )
    tiny = Suite("tiny", "agent", TaskList(tasks))
    for room in (tuning, command):
        monkeypatch.setattr(room, "drawn", lambda count: tiny)
    monkeypatch.setattr(tuning.SearchedLong, "trials", 4)
    foreign = (short("wine", epochs=3, calls=6),)
    monkeypatch.setattr("lambda_rl.agents.foreign.suite.TASKS", foreign)
    write_rows(tmp_path / "beside.csv", run(foreign, [0], {"any-loop": "any-loop"}))
    before = Choice("tau", "tau:4", 10, {"tau:4": -1.0})
    Choices(Choices.version, "any-loop", 1, 3, 1.0, "made", "first", "here", (before,)).save(
        tmp_path / "rivals.json"
    )
    config = RivalsConfig(
        data="synthetic", out=tmp_path, beside=tmp_path / "beside.csv", tune_tasks=1, law_tasks=3,
        kept=tmp_path / "kept.jsonl", rivals=("tau", "knots-long", "random-search"),
    )  # fmt: skip
    run_rivals(config)
    found = Choices.load(tmp_path / "rivals.json")
    assert found.rivals[0] == before
    assert [one.name for one in found.rivals] == ["tau", "knots-long"]
    assert found.rivals[1].runs == 4
    assert found.commit.startswith("first; ")
    assert {row.contestant for row in read_rows(tmp_path / "rows.csv")} == set(config.rivals)
    summary = RivalsSummary.load(tmp_path / "summary.json")
    standings = {one.name: one for one in summary.standings}
    assert "`random-search`, 12 runs a result: `any-loop` is " in page_blocks(summary)["headline"]
    assert (standings["random-search"].kind, standings["random-search"].runs) == ("search", 12)
    assert standings["knots-long"].kind == "open loop"

    monkeypatch.setattr(command, "_tuned", lambda *given: pytest.fail("tuned twice"))
    run_rivals(config)


def test_names_that_are_tuned_are_tuned_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"kappa", "gap", "cpr", "knots", "knots-long", "pbt-replay"} <= set(tunable())
    asked: list[tuple[str, ...]] = []

    def families(
        tasks: Suite, judge: object, progress: object, names: tuple[str, ...]
    ) -> tuple[list[Choice], float]:
        asked.append(tuple(names))
        return [], 2.0

    monkeypatch.setattr(tuning, "tuned_families", families)
    how = tuning.Tuning(1, 1, tmp_path / "kept" / "runs.jsonl")
    config = RivalsConfig(data="synthetic")
    images = config.load_parts("train", drawn(1).datasets)
    found = choose(how, images, {"command": "", "commit": "", "hardware": ""}, names=("gap",))
    assert (asked, found.rivals, found.seconds) == ([("gap",)], (), 2.0)


def test_the_readme_says_what_the_summary_says() -> None:
    summary = RivalsSummary.load(DOCS / "results" / "foreign-rivals" / "summary.json")
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    one_run = summary.of(*RIVALS)
    assert all(one.ahead_interval[0] > 0 for one in one_run)
    assert f"above each of [{len(one_run)} tuned rivals]" in readme
    (random,) = (one for one in summary.of("search") if one.name == "random-search")
    low, high = random.ahead_interval
    assert low < 0 < high
    assert summary.agents is not None
    (five,) = (one for one in summary.agents.against if one.name == "random-search")
    told = f"with twelve: {random.ahead:.2f} [{low:.2f}, {high:.2f}] points (over tasks; five agents trained alike: "
    assert f"not told apart from random search\n{told}{five.ahead:.2f})" in readme
