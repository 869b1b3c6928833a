"""The command: what is refused before any run, which suite is tuned on, and names that look like markup."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pandas as pd
import pytest
from comparisons import OWN_SUITE, schedule_summary, summary, write_policy
from rich.console import Console

from lambda_rl.agents.comparison.command import CompareConfig, default_tuning_suite, run_comparison
from lambda_rl.agents.comparison.tables import Comparison, Results
from lambda_rl.agents.comparison.terminal import show, summary_table
from lambda_rl.envs.tasks.suites import Suite, TaskList, load_suite
from lambda_rl.envs.tasks.task import Task


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"suite": "quick"}, "distribution"),
        ({"suite": "no-such-suite"}, "no-such-suite"),
        ({"policy": ("missing.safetensors",)}, "missing.safetensors"),
        ({"policy": ("cifar-mlp", "cifar-mlp")}, "twice"),
        ({"constants": ()}, "empty"),
        ({"constants": (-1.0,)}, "constants must be finite and 0 or more, got -1"),
        ({"tune": "quick-held-out"}, "only see the fold agent"),
        ({"tune": "quick"}, "distribution"),
        ({"schedule": ("gap:factor=x",)}, "'x' is not a number"),
        ({"schedule": ("unheard-of:1",)}, "unknown schedule"),
        ({"families": ("warm",)}, "unknown hand-designed schedule warm"),
        ({"families": ("adamC",)}, "allowed are .*did you mean 'adamc'"),
        ({"policy": ("cifar-mlp",), "training_runs": (1, 2)}, "2 given for 1 policies; give one for each"),
        ({"tuned": "none.json"}, "no file of tuned schedules"),
        ({"policy": ("cifar-\udcff",)}, "cannot be written as text|no such file"),
    ],
)
def test_bad_options_are_told_before_anything_is_written(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    out = tmp_path / "out"
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run_comparison(CompareConfig(out=str(out), **options))  # type: ignore[arg-type]
    assert not out.exists()


@pytest.mark.parametrize("options", [{"seeds": 0}, {"tune_seeds": 0}, {"precision": "fp8"}, {"threads": -1}])
def test_bad_numbers_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="--"):
        run_comparison(CompareConfig(out="x", **options))  # type: ignore[arg-type]


def test_families_that_are_registered_take_part_unless_some_are_chosen() -> None:
    assert CompareConfig(out="x").families == ("pull-down", "pull-up", "cosine", "steps", "gap")


@pytest.mark.parametrize(
    ("suite", "data", "expected"),
    [
        ("quick-held-out", "synthetic", "quick-validation"),
        ("cifar-mlp-held-out-fifth", "cifar10", "cifar-mlp-validation"),
        ("cifar-mixed-held-out", "cifar10", "cifar-mixed-validation"),
        ("transfer-sgd-held-out", "cifar10", "cifar-cnn-validation"),
    ],
)
def test_tuning_suite_of_builtin_ones(suite: str, data: str, expected: str) -> None:
    assert default_tuning_suite(load_suite(suite), data) == expected


@pytest.mark.parametrize(
    ("networks", "data", "expected"),
    [
        (("mlp",), "synthetic:3", "quick-validation"),
        (("mlp",), "cifar10", "cifar-mlp-validation"),
        (("cnn3", "cnn3"), "cifar10", "cifar-cnn-validation"),
        (("cnn3",), "synthetic", "cifar-cnn-validation"),
        (("mlp", "cnn3"), "cifar10", "cifar-mixed-validation"),
        (("mlp", "resnet9"), "cifar10", "cifar-mixed-validation"),
    ],
)
def test_tuning_suite_of_own_suites(networks: tuple[str, ...], data: str, expected: str) -> None:
    suite = Suite("mine", "held-out", TaskList(tuple(Task(network=name) for name in networks)))
    assert default_tuning_suite(suite, data) == expected


def test_names_are_never_read_as_markup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R41: a suite named [/] ended in a MarkupError, [bold] in a path named another folder."""
    from lambda_rl.agents.comparison import command

    monkeypatch.setattr(command, "draw_all", lambda *_: None)
    monkeypatch.setattr(command, "write_report", lambda folder, _: folder / "report.html")
    suite = tmp_path / "own.yaml"
    suite.write_text(OWN_SUITE.format(name='"[bold]x"'))
    policy = write_policy(tmp_path / "[link=a]p.safetensors")
    out = tmp_path / "[bold]out"
    config = CompareConfig(
        out=str(out), policy=(str(policy), "cifar-mlp"), suite=str(suite), seeds=1, tune="none", families=(),
        constants=(0.1,), threads=1,
    )  # fmt: skip
    console = Console(file=io.StringIO(), width=200)
    run_comparison(config, console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "[bold]x: 3 tasks" in text
    assert "comparing on [bold]x" in text
    assert f"report: {out / 'report.html'}" in text
    assert "learned:[link=a]p reaches" in text
    assert "\n  learned:[link=a]p " in text


def test_whatever_a_name_is_the_table_shows_it() -> None:
    console = Console(file=io.StringIO(), width=200)
    name = "[/][red]\x1b[31m"
    item = schedule_summary()
    derived = dataclasses.replace(item, kind="derived")
    found = summary(
        {name: item} | dict.fromkeys(("oracle-constant", "best-single-constant"), derived),
        suite="[/]",
        notes=("[/]",),
    )
    rows = [
        {"task": "a", "seed": 0, "schedule": key, "test_accuracy": item.test_accuracy_mean}
        for key, item in found.schedules.items()
    ]
    comparison = Comparison(Results(pd.DataFrame(rows)), pd.DataFrame(), found)
    console.print(summary_table(found, comparison.evidence))
    show(comparison, Path("[/]/report.html"), console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "\x1b" not in text
    assert "[/][red]�[31m" in text
    assert "[/]: 1 task × 1 seed" in text
    assert "note: [/]" in text
    assert "report: [/]/report.html" in text
