"""Rivals on foreign loops: settings in κ, tuning on training tasks, the same loop for all, and what rows come to."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from places import DOCS
from tiny_runs import short

from lambda_rl import Constant, load_policy
from lambda_rl.agents.ablation.families import FAMILIES as FEATURE_FAMILIES
from lambda_rl.agents.baselines import BASELINES
from lambda_rl.agents.foreign import TASKS, run, selected
from lambda_rl.agents.foreign.contestants import ConstantKappa, kappas
from lambda_rl.agents.foreign.loop import RunFigures, figures, train
from lambda_rl.agents.foreign.rivals import tuning
from lambda_rl.agents.foreign.rivals.choices import Choice, Choices
from lambda_rl.agents.foreign.rivals.command import RivalsConfig, run_rivals
from lambda_rl.agents.foreign.rivals.contestants import Held, TunedRival, ablations
from lambda_rl.agents.foreign.rivals.page import page_blocks
from lambda_rl.agents.foreign.rivals.summary import RivalsSummary, summarise_rivals
from lambda_rl.agents.foreign.rivals.tuning import FAMILIES, Tuning, choose
from lambda_rl.agents.foreign.rivals.units import InKappa, facts_of, in_kappa, scaled
from lambda_rl.agents.foreign.rows import Row, read_rows, write_rows
from lambda_rl.agents.foreign.runner import play_one
from lambda_rl.agents.foreign.task import ForeignTask
from lambda_rl.agents.presenting.markdown import block_names, fill
from lambda_rl.envs.data import load_train
from lambda_rl.envs.tasks.space import TaskList
from lambda_rl.envs.tasks.suites import Suite, load_suite

ORIGIN = {"command": "made", "commit": "none", "hardware": "none"}
RIVALS = (
    Choice("tau", "tau:4", 10, {"tau:4": -1.0}),
    Choice("to-zero", "in-kappa:to-zero:3,linear", 20, {"in-kappa:to-zero:3,linear": 50.0}),
    Choice("gap", "in-kappa:gap:initial=1,factor=2,threshold=0.05", 30, {}),
)
PAGE = "".join(
    f"<!-- block: {name} -->\n<!-- end: {name} -->\n"
    for name in ("headline", "rivals", "agents", "ablations", "settings", "origin")
)


def chosen(*rivals: Choice) -> Choices:
    return Choices(Choices.version, "any-loop", 2, 3, 1.0, "made", "none", "none", rivals or RIVALS)


def made(
    task: ForeignTask, seed: int, name: str, test: float, fingerprint: str = "", kappa: tuple[float, ...] = ()
) -> Row:
    return Row(
        task.name, task.digest, seed, name, fingerprint, test, 1.0, 50.0, 1.0, 99.0, 1.0, 0.1, False, kappa
    )


def first_kappa(task: ForeignTask, spec: str) -> float:
    """What a policy would call the κ that a rival begins with."""
    data = task.data(0)
    facts: list[float] = []

    def watched(optimizer: torch.optim.Optimizer, told: RunFigures) -> Constant:
        facts.append(facts_of(optimizer, told).decay_sum)
        schedule = TunedRival("one", spec).schedule(optimizer, told)
        facts.append(schedule.value)
        return schedule  # type: ignore[return-value]

    train(task, data, 0, watched, feedback=False)
    return facts[0] * facts[1]


def test_a_text_in_kappa_is_one_in_lambda_times_a_factor() -> None:
    assert scaled("pull-down:10,0.5,linear", 0.1) == "pull-down:1,0.05,linear"
    assert scaled("flat-cosine:0.02,0.25", 100) == "flat-cosine:2,0.25"
    assert scaled("knots:1,2,3", 2) == "knots:2,4,6"
    assert scaled("gap:initial=3,factor=2", 0.01) == "gap:initial=0.03,factor=2"
    with pytest.raises(ValueError, match="has no λ that is known; allowed: constant, "):
        scaled("replay:file.csv", 2.0)
    for family in FAMILIES:
        assert len(in_kappa(family)) >= 16
        for spec in in_kappa(family):
            InKappa().make(spec)


@pytest.mark.parametrize(
    "name", ["digits-noisy", "digits-noisy-plain-sgd", "digits-noisy-adam", "digits-noisy-adamw"]
)
def test_a_setting_has_the_same_kappa_whatever_the_optimizer(name: str) -> None:
    assert first_kappa(short(name), "in-kappa:to-zero:3,linear") == pytest.approx(3.0, rel=1e-4)
    assert first_kappa(short(name), "in-kappa:gap:initial=2,factor=2") == pytest.approx(2.0, rel=1e-4)
    assert first_kappa(short(name), "kappa:5") == pytest.approx(5.0, rel=1e-9)
    assert first_kappa(short(name, batch_size=30), "tau:0.5") == pytest.approx(
        4.0, rel=1e-9
    )  # 600 rows, 2 epochs


def test_hypergradients_are_asked_for_and_change_nothing_else() -> None:
    task = short("digits-noisy-dropout")
    data = task.data(0)
    still = TunedRival("hypergradient", "in-kappa:hypergradient:initial=2,rate=0")
    moved = TunedRival("hypergradient", "in-kappa:hypergradient:initial=2,rate=100")
    constant = TunedRival("gap", "in-kappa:constant:2")
    assert train(task, data, 0, still.schedule, feedback=True) == train(
        task, data, 0, constant.schedule, feedback=True
    )
    lams = train(task, data, 0, moved.schedule, feedback=True).lams
    assert len(set(lams)) == len(lams) == 4


def test_cpr_holds_norms_at_every_step_and_no_decay() -> None:
    told = RunFigures(10, 10, 10, 2, 5, 1.0)
    weight = torch.nn.Parameter(torch.ones(4, 4))
    optimizer = torch.optim.SGD([{"params": [weight], "weight_decay": 1e-4}], lr=0.1)
    assert TunedRival("cpr", "cpr:dependent,0.5").schedule(optimizer, told).value == 0.0
    assert optimizer.param_groups[0]["weight_decay"] == 0.0
    for _ in range(40):
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
    assert float(weight.detach().square().sum()) < 9.0  # 16 at the start; the bound is 8
    assert not TunedRival("cpr", "cpr:dependent,0.5").feedback


def test_tuning_takes_the_best_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = tuple(
        dataclasses.replace(task, steps=40, decisions=4) for task in load_suite("quick-validation").tasks[:2]
    )
    tiny = Suite("tiny", "agent", TaskList(tasks))
    few = {"FAMILIES": ("to-zero",), "OWN_UNITS": (), "LAWS": ("tau",), "CPR_SETTINGS": 1}
    for name, value in few.items():
        monkeypatch.setattr(tuning, name, value)
    monkeypatch.setattr(tuning, "drawn", lambda count: tiny)
    for searched in (tuning.SearchedKnots, tuning.SearchedLong):
        monkeypatch.setattr(searched, "trials", 4)
    counts: list[tuple[int, int]] = []
    how = Tuning(2, 2, tmp_path / "kept" / "runs.jsonl")
    images = {"": load_train("synthetic")}
    found = choose(how, images, ORIGIN, lambda done, total: counts.append((done, total)))
    assert [one.name for one in found.rivals] == [
        "tau",
        "to-zero",
        "cpr",
        "knots",
        "knots-long",
        "pbt-replay",
    ]
    assert [one.runs for one in found.rivals] == [24, 36, 2, 8, 8, 24]
    for one in found.rivals[:-1]:
        assert one.tried[one.spec] == max(one.tried.values())
        assert TunedRival(one.name, one.spec).fingerprint.startswith("rival-")
    assert len(found.rivals[-1].spec.split(",")) == 12
    found.save(tmp_path / "rivals.json")
    assert Choices.load(tmp_path / "rivals.json") == found

    lines = (tmp_path / "kept" / "runs.jsonl").read_text().splitlines()
    (tmp_path / "kept" / "runs.jsonl").write_text("\n".join(lines[:-5]))
    assert choose(how, images, ORIGIN).rivals == found.rivals
    again = (tmp_path / "kept" / "runs.jsonl").read_text().splitlines()
    assert {json.loads(line).get("key") for line in again} == {json.loads(line).get("key") for line in lines}
    assert len(again) == len(lines)


def test_a_command_that_was_cut_off_goes_on_and_fills_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = (short("wine"),)
    monkeypatch.setattr("lambda_rl.agents.foreign.suite.TASKS", tasks)
    monkeypatch.setattr("lambda_rl.agents.foreign.rivals.command.TASKS", tasks)
    beside = tmp_path / "beside.csv"
    write_rows(beside, run(tasks, [0, 1], {"any-loop": "any-loop"}))
    chosen().save(tmp_path / "rivals.json")
    (tmp_path / "page.md").write_text(PAGE, encoding="utf-8")
    config = RivalsConfig(
        out=tmp_path,
        beside=beside,
        seeds=2,
        ablate=True,
        tune_tasks=2,
        law_tasks=3,
        page=str(tmp_path / "page.md"),
    )
    run_rivals(config)
    whole = read_rows(tmp_path / "rows.csv")
    assert len(whole) == 2 * (3 + 13 + 2)
    text = (tmp_path / "rows.csv").read_text().splitlines()
    (tmp_path / "rows.csv").write_text("\n".join([*text[:5], text[5][:30]]))
    capsys.readouterr()
    run_rivals(config)
    strip = [dataclasses.replace(row, seconds=0.0) for row in read_rows(tmp_path / "rows.csv")]
    assert strip == [dataclasses.replace(row, seconds=0.0) for row in whole]
    assert capsys.readouterr().out.count("wine seed") == 2  # what was lost, of both seeds
    summary = RivalsSummary.load(tmp_path / "summary.json")
    kinds = {"facts-only", "untrained", "final-lambda", "shuffled", "without-validation"}
    kinds |= {f"without-{family}" for family in FEATURE_FAMILIES}
    assert {one.name for one in summary.of("ablation")} == {f"{kind}:any-loop" for kind in kinds}
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert page == fill(page, page_blocks(summary))
    assert (tmp_path / "differences.png").stat().st_size > 1000

    for wrong, words in {
        "no nothing; allowed: kappa": {"rivals": ("nothing",)},
        "--tune-tasks 2": {"tune_tasks": 5},
        "no rows of constants": {"beside": tmp_path / "none.csv"},
        "no rows of agents": {"agents": str(tmp_path / "none.csv")},
        "no such page": {"page": str(tmp_path / "other.md")},
        "nothing was tuned yet": {"out": tmp_path / "empty", "measure": False},
        "--seeds": {"seeds": 0},
    }.items():
        with pytest.raises(ValueError, match=wrong):
            run_rivals(dataclasses.replace(config, **words))  # type: ignore[arg-type]


def rows_of(task: ForeignTask, best: float) -> list[Row]:
    """Constants peak at 1 on the whole, at 3 with the first seed; the policy has 80, and the rivals as far as told."""
    rows = []
    for seed in range(3):
        peak = best if seed else 3.0
        rows += [made(task, seed, f"kappa-{kappa:g}", 90.0 - abs(kappa - peak)) for kappa in kappas(task)]
        rows.append(made(task, seed, "default", 60.0))
        rows.append(made(task, seed, "mine", 80.0 + seed, "abc", (1.0, 2.0)))
    return rows


def test_differences_are_paired_and_the_oracle_is_of_all_seeds() -> None:
    tasks = selected(["wine", "moons", "grokking-mlp"])
    beside = [row for task in tasks for row in rows_of(task, 1.0)]
    rows = [
        row
        for task in tasks
        for row in (
            made(task, 0, "tau", 70.0 if task.family == "grokking" else 82.0, "x"),
            made(task, 0, "to-zero", 79.0, "y"),
            made(task, 0, "final-lambda:mine", 75.0, "z"),
        )
    ]
    summary = summarise_rivals(rows, beside, tasks, 1, "mine", chosen(), ORIGIN)
    found = {one.name: one for one in summary.standings}
    assert found["oracle-constant"].regret == 0.0
    # κ = 1 is best over three seeds; 88 with the first
    assert found["mine"].regret == pytest.approx(88.0 - 80.0)
    assert found["tau"].ahead == pytest.approx((10.0 - 2.0 - 2.0) / 3)
    assert found["tau"].ahead_else == pytest.approx(-2.0)
    assert found["tau"].probability == pytest.approx(1 / 3)
    # κ = 3 is best with the first seed alone
    assert found["best-single-kappa"].ahead == pytest.approx(80.0 - 90.0)
    assert found["to-zero"].ahead_interval == (1.0, 1.0)
    assert [one.kind for one in (found["tau"], found["to-zero"], found["final-lambda:mine"])] == [
        "law", "open loop", "ablation",
    ]  # fmt: skip
    blocks = page_blocks(summary)
    assert (
        "The best rival that takes one run is `to-zero` (open loop): `mine` is above it" in blocks["headline"]
    )
    assert "Of 2 rivals the policy is above 1, not told apart from 1 and below 0" in blocks["headline"]

    better = [*rows, *(made(task, 0, "gap", 85.0, "g") for task in tasks)]
    worse = page_blocks(summarise_rivals(better, beside, tasks, 1, "mine", chosen(), ORIGIN))["headline"]
    assert worse.startswith(
        "- **The best rival that takes one run is `gap` (feedback by hand): `mine` is below it**"
    )

    some = summarise_rivals(rows[:-2], beside, tasks, 1, "mine", chosen(), ORIGIN)
    assert some.left_out == ("grokking-mlp",)
    with pytest.raises(ValueError, match="nothing can be summed up"):
        summarise_rivals(rows, beside, tasks, 2, "mine", chosen(), ORIGIN)


def test_agents_are_what_replicates() -> None:
    """Intervals are over agents, whose runs are averaged first."""
    tasks = selected(["wine", "moons", "grokking-mlp"])
    beside = [row for task in tasks for row in rows_of(task, 1.0)]
    rows = [made(task, seed, "tau", 70.0, "x") for task in tasks for seed in range(2)]
    accuracies = {task: 80.0 + 10 * (task.family == "grokking") for task in tasks}
    agents = [
        made(task, seed, f"a-seed{agent}", accuracy + 2 * agent + seed, f"f{agent}")
        for task, accuracy in accuracies.items() for seed in range(2) for agent in range(3)
    ]  # fmt: skip
    summary = summarise_rivals(rows, beside, tasks, 2, "mine", chosen(), ORIGIN, [*agents, *beside])
    found = summary.agents
    assert found is not None
    tau = next(one for one in found.against if one.name == "tau")
    assert tau.each == pytest.approx([10.5 + 10 / 3 + 2 * agent for agent in range(3)])
    half = 4.302653 * 2 / np.sqrt(3)  # Student's t of two degrees of freedom
    assert (tau.ahead_else, *tau.interval_else) == pytest.approx((12.5, 12.5 - half, 12.5 + half))
    blocks = page_blocks(summary)
    assert "Over 3 agents that differ in the seed of their training: `tau` is 15.83" in blocks["headline"]
    assert "Regrets on 3 tasks: `a-seed0` " in blocks["agents"]
    two = [dataclasses.replace(row, contestant=row.contestant.replace("a-", "b-")) for row in agents]
    for others, words in (
        (two, "policies of a and of b; one group"),
        ([], "no task has rows of all of a-seed0"),
    ):
        some = agents if others else [agents[0], agents[-1]]
        with pytest.raises(ValueError, match=words):
            summarise_rivals(rows, beside, tasks, 2, "mine", chosen(), ORIGIN, [*some, *others])


def test_what_is_left_of_a_policy() -> None:
    task = short("wine")
    data, policy = task.data(0), load_policy("any-loop")
    rows = [
        made(task, seed, "any-loop", 80.0, policy.fingerprint, (1.0, 2.0, 4.0 + seed)) for seed in range(2)
    ]
    left = ablations("any-loop", policy, rows, (task,))
    held = left["final-lambda:any-loop"]
    assert isinstance(held, Held)
    same = train(task, data, 1, ConstantKappa(5.0).schedule, feedback=False)
    assert train(task, data, 1, held.schedule, feedback=False) == same
    drawn_twice = [play_one(task, data, 0, left["shuffled:any-loop"]).kappas for _ in range(2)]
    assert drawn_twice[0] == drawn_twice[1]
    assert len({one.fingerprint for one in left.values()} | {policy.fingerprint}) == 14
    with pytest.raises(ValueError, match="need its runs on foreign loops"):
        ablations("another", policy, rows, (task,))
    assert figures(task, data, 7).seed == 7


def test_the_committed_page_says_what_the_summary_says() -> None:
    folder, page = DOCS / "results" / "foreign-rivals", DOCS / "rivals-in-foreign-loops.md"
    summary = RivalsSummary.load(folder / "summary.json")
    text = page.read_text(encoding="utf-8")
    blocks = page_blocks(summary)
    assert set(block_names(text)) == blocks.keys()
    told = "run `lambda-rl foreign-rivals --no-measure --page docs/rivals-in-foreign-loops.md`"
    assert text == fill(text, blocks), told
    choices = Choices.load(folder / "rivals.json")
    assert {one.name: one.spec for one in summary.standings if one.spec} == {
        one.name: one.spec for one in choices.rivals
    }
    for one in choices.rivals:
        assert one.name in BASELINES
        assert not one.tried or one.tried[one.spec] == max(one.tried.values())
    assert all(np.isfinite(row.test_accuracy) for row in read_rows(folder / "rows.csv"))
    assert {row.task for row in read_rows(folder / "rows.csv")} <= {task.name for task in TASKS}
