"""The reproduction of Lu (2017), end to end on synthetic data, and its parts: cells, store, weights, page."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import tyro
from places import DOCS
from rich.console import Console
from tiny_schedules import make_policy

from lambda_rl import load_policy, save_policy
from lambda_rl.agents.presenting import markdown as pages
from lambda_rl.agents.reproduction.lu2017 import command
from lambda_rl.agents.reproduction.lu2017.command import ReproduceConfig, run_reproduction
from lambda_rl.agents.reproduction.lu2017.drawing import page
from lambda_rl.agents.reproduction.lu2017.drawing.figures import DRAWN
from lambda_rl.agents.reproduction.lu2017.experiments import (
    FIGURES,
    Cell,
    Plan,
    Policies,
    figure_cells,
    merge,
    stage_decisions,
)  # fmt: skip
from lambda_rl.agents.reproduction.lu2017.settings import BUDGETS, VARIATIONS, ZERO_FACTOR, Budget, mlp_task
from lambda_rl.agents.reproduction.lu2017.sparsity import WeightWatch
from lambda_rl.agents.reproduction.lu2017.store import Store
from lambda_rl.schedules.text_form import parse_schedule

PAGE = DOCS / "lu2017.md"
SMOKE = BUDGETS["smoke"]
TINY = dataclasses.replace(
    SMOKE, iterations=(2, 4), column=4, sensitivity_iterations=2, decisions=4, train_size=200
)
QUIET = Console(quiet=True)


def config(out: Path, **options: Any) -> ReproduceConfig:
    given = {
        "out": str(out),
        "budget": "smoke",
        "data": "synthetic",
        "threads": 1,
        "policy": "cifar-mlp",
        **options,
    }
    return ReproduceConfig(**given)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke budget, all figures, and the page filled."""
    folder = tmp_path_factory.mktemp("lu2017")
    shutil.copy(PAGE, folder / "page.md")
    run_reproduction(config(folder / "out", page=str(folder / "page.md")), QUIET)
    return folder


# ---- end to end


def test_smoke_runs_all_figures(smoke: Path) -> None:
    out = smoke / "out"
    summary = json.loads((out / "summary.json").read_text())
    assert summary["figures"] == list(FIGURES)
    assert [item["key"] for item in summary["claims"]] == list("abcdefgh")
    assert {item["verdict"] for item in summary["claims"]} <= {"held", "held in part", "did not hold"}
    runs = pd.read_csv(out / "results.csv")
    assert len(runs) == summary["runs"] == 2 * sum(
        len(cell.plans) for cell in merge([c for f in FIGURES for c in figure_cells(f, SMOKE, Policies())])
    )  # fmt: skip
    assert not runs.duplicated(["cell", "schedule", "seed"]).any()
    assert runs["test_accuracy"].between(0, 100).all()
    for names in DRAWN.values():
        for name in names:
            assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG"), name


def test_the_page_is_made_of_the_files(smoke: Path) -> None:
    text = (smoke / "page.md").read_text()
    summary = json.loads((smoke / page.RESULTS / "summary.json").read_text())
    assert page.NOT_RUN not in text
    assert pages.fill(text, page.blocks(summary)) == text
    for item in summary["claims"]:
        assert f"Verdict: **{item['verdict']}**" in text
    for link in [line for line in text.splitlines() if line.startswith("![")]:
        assert (smoke / link.partition("](")[2].rstrip(")")).is_file(), link
    # All that is not in a block is as it was.
    assert pages._BLOCK.sub("", text) == pages._BLOCK.sub("", PAGE.read_text())


def test_results_in_the_docs_are_those_of_the_page() -> None:
    """docs/lu2017.md says what docs/results/lu2017/summary.json says."""
    path = PAGE.parent / page.RESULTS / "summary.json"
    text = PAGE.read_text(encoding="utf-8")
    assert pages.fill(text, page.blocks(json.loads(path.read_text(encoding="utf-8")))) == text


def test_a_finished_reproduction_trains_nothing_again(smoke: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {p: p.read_bytes() for p in (smoke / "out").rglob("*") if p.is_file()}
    monkeypatch.setattr("lambda_rl.agents.reproduction.lu2017.running.run_schedules", None)
    run_reproduction(config(smoke / "out"), QUIET)
    run_reproduction(config(smoke / "out", redraw=True), QUIET)
    assert {p: p.read_bytes() for p in (smoke / "out").rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"data": "synthetic:1"}, "train_fingerprint"),
        ({"precision": "fp64"}, "precision"),
        ({"policy": "none"}, "policy"),
    ],
)
def test_results_of_other_settings_are_refused(smoke: Path, options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=rf"results of other settings: .*{named} was") as caught:
        run_reproduction(config(smoke / "out", **options), QUIET)
    assert "\n" not in str(caught.value)


def test_another_budget_is_refused(smoke: Path) -> None:
    with pytest.raises(ValueError, match="budget was"):
        run_reproduction(config(smoke / "out"), QUIET, TINY)
    with pytest.raises(ValueError, match="--budget smoke; give the same"):
        run_reproduction(config(smoke / "out", budget="full", redraw=True), QUIET)


def test_an_interrupted_reproduction_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps what is done, does the rest only, and ends with what an uninterrupted one has."""
    whole = run_reproduction(config(tmp_path / "whole", figure="2"), QUIET, TINY)
    flush, count = Store.flush, [0]

    def interrupted(self: Store) -> None:
        flush(self)
        count[0] += 1
        if count[0] == 1:
            raise KeyboardInterrupt

    told = Console(record=True, width=120)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "flush", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_reproduction(config(tmp_path / "cut", figure="2"), told, TINY)
    assert "14 of 28 runs are kept; the same command goes on" in told.export_text()
    again: list[int] = []
    run = command.run_cells
    monkeypatch.setattr(command, "run_cells", lambda *args, **more: again.append(run(*args, **more)))
    resumed = run_reproduction(config(tmp_path / "cut", figure="2"), QUIET, TINY)
    assert again == [14]
    assert resumed["claims"] == whole["claims"]
    assert resumed["tables"] == whole["tables"]


def test_a_policy_for_the_nonconvex_penalty_may_come_later(tmp_path: Path, smoke: Path) -> None:
    shutil.copytree(smoke / "out", tmp_path / "out")
    file = tmp_path / "half.safetensors"
    policy = make_policy()
    save_policy(file, policy, dataclasses.replace(policy.card, penalty="l0.5"))
    given = config(tmp_path / "out", policy_nonconvex=str(file), figure="8")
    summary = run_reproduction(given, QUIET)
    assert "learned minus it" in summary["tables"]["8"]["widths"]["columns"]
    assert summary["runs"] == json.loads((smoke / "out" / "summary.json").read_text())["runs"] + 4
    assert summary["settings"]["policy_l0.5"] == load_policy(file).fingerprint
    assert str(tmp_path) not in (tmp_path / "out" / "results.csv").read_text()
    with pytest.raises(ValueError, match=r"policy_l0\.5 was"):  # but not go away again
        run_reproduction(config(tmp_path / "out"), QUIET)


# ---- options


def test_the_command_line() -> None:
    given = tyro.cli(ReproduceConfig, args=["--out", "x", "--policy-l0.5", "p.safetensors", "--figure", "8"])
    assert (given.policy_nonconvex, given.figure, given.budget) == ("p.safetensors", "8", "standard")
    assert given.policies == Policies("learned", "learned:p.safetensors")
    assert ReproduceConfig("x", policy="none").policies == Policies("", "")


def test_bad_options_are_told_before_any_run(tmp_path: Path) -> None:
    save_policy(tmp_path / "l2.safetensors", make_policy())
    for options, said in (
        ({"threads": -1}, "--threads must be a whole number from 0"),
        ({"precision": "fp8"}, "--precision must be one of"),
        ({"page": str(tmp_path / "no.md")}, "no such file"),
        ({"policy_nonconvex": str(tmp_path / "l2.safetensors")}, "was trained with the penalty l2"),
        ({"policy": str(tmp_path / "none.safetensors")}, "none.safetensors"),
    ):
        with pytest.raises((ValueError, OSError), match=said):
            run_reproduction(config(tmp_path / "out", **options), QUIET)
    with pytest.raises(FileNotFoundError, match="holds no reproduction"):
        run_reproduction(config(tmp_path / "out", redraw=True), QUIET)
    assert not list((tmp_path).rglob("cells"))


@pytest.mark.parametrize(
    "changes",
    [{"widths": (5,)}, {"seeds": 1}, {"decisions": 6}, {"column": 7}, {"sensitivity_width": 9}, {"variations": ("x",)}],
)  # fmt: skip
def test_a_budget_is_checked(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        dataclasses.replace(SMOKE, **changes)


# ---- cells


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=list(BUDGETS))
def test_cells_of_every_budget(budget: Budget) -> None:
    """Shared cells are the same task; a list changes λ exactly where a stage ends; all constants run as long."""
    cells = merge([cell for figure in FIGURES for cell in figure_cells(figure, budget, Policies())])
    assert len({cell.name for cell in cells}) == len(cells)
    for cell in cells:
        names = [plan.name for plan in cell.plans]
        assert len(set(names)) == len(names)
        for plan in cell.plans:
            if plan.spec.startswith("steps:"):
                assert cell.task.steps == 4 * cell.iterations
                schedule = parse_schedule(plan.spec)(total_steps=cell.task.steps)
                values = [schedule.value]
                for k in range(1, cell.task.decisions):
                    step = cell.task.boundary(k)
                    before = values[-1]
                    values.append(schedule.step(progress=step / cell.task.steps))
                    assert (values[-1] != before) == (k in stage_decisions(cell.task))
                    assert k not in stage_decisions(cell.task) or step % cell.iterations == 0
                assert len(set(values)) == 4
    column = [
        c for c in cells if c.iterations == budget.column and c.task.network == "mlp" and not c.variation
    ]
    assert {c.task.penalty for c in column} == {"l2", "l1", "l0.5"}
    assert all(c.watched == (c in column) for c in cells)


def test_figure_1_has_the_constants_of_the_list() -> None:
    cell = figure_cells("1", SMOKE, Policies(l2=""))[0]
    assert {plan.name: plan.spec for plan in cell.plans} == {
        "constant:3": "constant:6", "constant:2": "constant:4", "constant:1": "constant:2", "constant:0": "constant:0",
        "pull-down": "steps:6,4,2,0",
    }  # fmt: skip
    varied = [c.variation for c in figure_cells("1", SMOKE, Policies()) if c.variation]
    assert varied == list(SMOKE.variations)
    assert set(varied) <= {item.name for item in VARIATIONS}
    specs = {
        plan.name: plan.spec
        for figure in ("2", "3", "4", "8")
        for cell in figure_cells(figure, SMOKE, Policies("learned:x"))
        for plan in cell.plans
        if cell.task.penalty == "l2"
    }
    assert specs["pull-up"] == "steps:0,2,4,6"
    assert specs["gap:3"] == "gap:initial=6"
    assert specs["gap:0.03"] == "gap:initial=0.06"
    assert specs["learned"] == "learned:x"
    half = {plan.name: plan for plan in figure_cells("8", SMOKE, Policies())[0].plans}
    assert half["pull-up"].spec == "steps:0,0.0005,0.001,0.0015"
    assert half["pull-down"].spec == half["pull-down-revived"].spec == "steps:0.0015,0.001,0.0005,0"
    assert {name: plan.redraw for name, plan in half.items() if plan.redraw} == {
        "pull-down-redrawn": "initial",
        "pull-down-revived": "living",
    }
    with pytest.raises(ValueError, match="unknown figure '5'"):
        figure_cells("5", SMOKE, Policies())


def test_two_tasks_of_one_name_are_refused() -> None:
    one = Cell("a", mlp_task(SMOKE, 8, 6), (Plan("x", "constant:1"),), 6)
    with pytest.raises(ValueError, match="two different tasks are called a"):
        merge([one, dataclasses.replace(one, task=mlp_task(SMOKE, 16, 6))])


# ---- store


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    cell = Cell("one", mlp_task(SMOKE, 8, 6), (Plan("constant:3", "constant:6"),), 6)
    row = {"schedule": "constant:3", "spec": "constant:6", "seed": 0, "value": float("nan"), "list": [1 / 3]}
    store.add(cell, row)
    assert not (tmp_path / "cells").exists()  # buffered
    store.flush()
    fresh = Store(tmp_path)
    assert fresh.rows(cell) == {("constant:3", 0): {**row, "value": None, "list": [0.333333]}}
    assert fresh.complete(cell, 1)
    assert not fresh.complete(cell, 2)
    other = dataclasses.replace(cell, plans=(Plan("constant:3", "constant:3"),))
    with pytest.raises(ValueError, match=r"one\.json: constant:3 was run as constant:6"):
        Store(tmp_path).rows(other)
    (tmp_path / "cells" / "one.json").write_text("{")
    with pytest.raises(ValueError, match=r"one\.json: not a JSON file"):
        Store(tmp_path).rows(cell)


# ---- weights


class FakeNetwork:
    penalised = ("fc1.weight", "fc2.weight")


class FakeRun:
    """What a watch looks at: weights of 2 units, deviation of the initial ones given."""

    def __init__(self) -> None:
        self.network, self.task, self.decision = FakeNetwork(), mlp_task(SMOKE, 2, 6), 0
        generator = torch.Generator().manual_seed(0)
        self.params = {
            "fc1.weight": 1e-4 * torch.randn(2, 768, generator=generator),
            "fc1.bias": torch.zeros(2),
            "fc2.weight": 1e-2 * torch.randn(10, 2, generator=generator),
        }

    def set(self, decision: int, values: float) -> None:
        """All weights to a number of their layer's initial deviations, but the second unit's incoming: those to 5."""
        self.decision = decision
        self.params["fc1.weight"].fill_(values * 1e-4)
        self.params["fc1.weight"][1] = 5e-4
        self.params["fc2.weight"].fill_(values * 1e-2)


def test_weights_at_zero_and_those_that_come_back() -> None:
    watch, run = WeightWatch([1], [(1,)], [""], [0], factors=(0.1, 1.0)), FakeRun()
    share = (768 + 20) / (2 * 768 + 20)  # all weights but the second unit's incoming ones
    watch.on_interval(0, run)  # type: ignore[arg-type]
    for decision, values in ((1, 0.05), (2, 0.5), (3, 3.0)):
        run.set(decision, values)
        watch.on_interval(0, run)  # type: ignore[arg-type]
    trace = watch.take(0)
    assert trace.zero[0.1][0] == pytest.approx(0.08, abs=0.03)  # of a normal
    assert trace.zero[1.0][0] == pytest.approx(0.68, abs=0.05)
    assert trace.zero[0.1][1:] == pytest.approx([share, 0, 0])
    assert trace.zero[1.0][1:] == pytest.approx([share, share, 0])
    assert trace.revived[0.1] == [0, 1, 1]
    assert trace.revived[1.0] == [0, 0, 1]
    assert trace.dead[1:] == [0.5, 0, 0]
    with pytest.raises(KeyError):
        watch.take(0)


def test_only_weights_at_zero_are_drawn_anew_and_only_when_asked() -> None:
    """As the initial weights, as the living ones (of which the first layer has the second unit's), not at all."""
    watch = WeightWatch([1] * 3, [(1,)] * 3, ["initial", "living", ""], [7] * 3)
    runs = [FakeRun() for _ in range(3)]
    for index, run in enumerate(runs):
        watch.on_interval(index, run)  # type: ignore[arg-type]
        run.set(1, 0.01)
        run.params["fc1.weight"][1, ::2] *= -1  # ±5 deviations
        watch.on_interval(index, run)  # type: ignore[arg-type]
    small, large, left = (run.params for run in runs)
    assert (left["fc1.weight"][0].abs() < ZERO_FACTOR * 1e-4).all()
    for drawn, deviation in ((small, 1e-4), (large, 5e-4)):
        assert torch.equal(drawn["fc1.weight"][1], left["fc1.weight"][1])
        assert drawn["fc1.weight"][0].std() == pytest.approx(deviation, rel=0.15)
        assert drawn["fc2.weight"].std() == pytest.approx(1e-2, rel=0.6)  # nothing lives there
    assert watch.take(0).zero == watch.take(1).zero == watch.take(2).zero  # measured before the draw
