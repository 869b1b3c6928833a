"""The reproduction of Lu (2017), end to end on synthetic data, and its options."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
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
    Policies,
    figure_cells,
    merge,
)  # fmt: skip
from lambda_rl.agents.reproduction.lu2017.settings import BUDGETS
from lambda_rl.agents.reproduction.lu2017.store import Store

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
    summary = json.loads((smoke / page.RESULTS.format("page") / "summary.json").read_text())
    assert page.NOT_RUN not in text
    assert pages.fill(text, page.blocks(summary, "page")) == text
    for item in summary["claims"]:
        assert f"Verdict: **{item['verdict']}**" in text
    for link in [line for line in text.splitlines() if line.startswith("![")]:
        assert (smoke / link.partition("](")[2].rstrip(")")).is_file(), link
    # All that is not in a block is as it was.
    assert pages._BLOCK.sub("", text) == pages._BLOCK.sub("", PAGE.read_text())


@pytest.mark.parametrize("name", ["lu2017", "lu2017-full"])
def test_results_in_the_docs_are_those_of_the_page(name: str) -> None:
    """docs/lu2017.md says what docs/results/lu2017/summary.json says."""
    path = DOCS / page.RESULTS.format(name) / "summary.json"
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    assert pages.fill(text, page.blocks(json.loads(path.read_text(encoding="utf-8")), name)) == text


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


def test_learned_runs_are_added_to_published_rows(tmp_path: Path, smoke: Path) -> None:
    published = tmp_path / "published"
    published.mkdir()
    for name in ("results.csv", "summary.json"):
        shutil.copy(smoke / "out" / name, published)
    shutil.copy(smoke / "page.md", tmp_path / "page.md")
    file = tmp_path / "half.safetensors"
    policy = make_policy()
    save_policy(file, policy, dataclasses.replace(policy.card, penalty="l0.5"))
    options: dict[str, Any] = {"policy_nonconvex": str(file), "figure": "8", "published": str(published)}
    given = config(tmp_path / "out", page=str(tmp_path / "page.md"), **options)
    summary = run_reproduction(given, QUIET)
    assert summary["added"]["again"] == {"runs": 4, "largest": 0.0, "mean": 0.0}  # the same machine
    assert summary == json.loads((published / "summary.json").read_text())
    before, after = (pd.read_csv(folder / "results.csv") for folder in (smoke / "out", published))
    pd.testing.assert_frame_equal(before, after.iloc[: len(before)])
    more = after.iloc[len(before) :]
    assert (more["schedule"] == "learned").all()
    assert len(more) == summary["added"]["runs"] == 4
    assert (published / "figure-8.png").stat().st_size > 1000
    old, new = ((folder / "page.md").read_text() for folder in (smoke, tmp_path))
    assert "The learned curve of Figure 8 was added later, 4 runs" in new
    assert new.count("learned minus it |") == old.count("learned minus it |") + 1
    run_reproduction(given, QUIET)  # once more: replaced, not doubled
    pd.testing.assert_frame_equal(pd.read_csv(published / "results.csv"), after)
    with pytest.raises(ValueError, match="needs --figure 8 and --policy-l0"):
        run_reproduction(config(tmp_path / "o", published=str(published)), QUIET)
    with pytest.raises(ValueError, match="holds results of another budget; give the same"):
        run_reproduction(config(tmp_path / "o", **options), QUIET, TINY)


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
