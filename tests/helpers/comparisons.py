"""Small comparisons: tasks that take milliseconds, a policy file, tuned settings, made-up tables and summaries."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pytest
from tiny_policies import CARD, make_policy

from lambda_rl import PolicyCard, save_policy
from lambda_rl.agents.baselines import BASELINES, Judge, Setting, Tuned
from lambda_rl.agents.comparison import command
from lambda_rl.agents.comparison.command import CompareConfig
from lambda_rl.agents.comparison.protocol import fields_of
from lambda_rl.agents.comparison.results import DataSummary, PolicySummary, ScheduleSummary, Summary
from lambda_rl.envs.data import load_test, load_train
from lambda_rl.envs.tasks.suites import Suite, TaskList
from lambda_rl.envs.tasks.task import Task

TASK = Task(width=4, train_size=64, val_size=40, steps=6, decisions=3, batch_size=16)
SUITE = Suite("tiny", "held-out", TaskList((TASK, dataclasses.replace(TASK, label_noise=0.4))))

OWN_SUITE = """
name: {name}
defaults: {{width: 4, train_size: 64, val_size: 40, steps: 6, decisions: 3, batch_size: 16}}
tasks:
  - {{}}
  - {{label_noise: 0.4}}
  - {{network: cnn3, width: 2, decisions: 2}}
"""


def own_comparison(folder: Path, monkeypatch: pytest.MonkeyPatch, families: tuple[str, ...]) -> CompareConfig:
    """A comparison on that suite, untuned; without figures, which would take most of the time."""
    monkeypatch.setattr(command, "draw_all", lambda *_: [])
    monkeypatch.setattr(command, "write_report", lambda folder, _: folder / "report.html")
    suite = folder / "own.yaml"
    suite.write_text(OWN_SUITE.format(name="own"))
    return CompareConfig(
        out=str(folder / "out"), suite=str(suite), seeds=2, constants=(0.01, 0.1), families=families,
        tune="none", threads=1,
    )  # fmt: skip


def tuned_result(
    seeds: Sequence[int] = (10_000,), constant: str = "constant:0.01", without: Sequence[str] = ()
) -> Tuned:
    """The untuned settings, said to be tuned."""
    specs = {name: family.untuned for name, family in BASELINES.items() if name not in without}
    specs["constant"] = constant
    return Tuned(
        "tiny-validation", "synthetic", load_train("synthetic").fingerprint, ["a"], ["mlp"], list(seeds),
        dict.fromkeys(specs, 16), {name: [Setting(spec, 30.0, 0.0)] for name, spec in specs.items()}, 1.0,
    )  # fmt: skip


def write_policy(path: Path, seed: int = 0, card: PolicyCard = CARD) -> Path:
    """A policy file."""
    save_policy(path, make_policy(seed, card))
    return path


def judge(fold: str = "held-out", *, test: bool = True, **options: object) -> Judge:
    """A judge of the synthetic images."""
    return Judge(
        load_train("synthetic"), fold, test=load_test("synthetic") if test else None, **options  # type: ignore[arg-type]
    )  # fmt: skip


def table(
    test: Mapping[str, Sequence[Sequence[float]]], val: Mapping[str, Sequence[Sequence[float]]]
) -> pd.DataFrame:
    """Rows of ``results.csv`` on tasks a, b, …: by schedule, accuracies ``[tasks][seeds]`` on test and validation."""
    return pd.DataFrame(
        [
            {
                "task": "abcdef"[i], "seed": seed, "schedule": name, "kind": name.partition(":")[0], "spec": name,
                "test_accuracy": float(score), "test_loss": 1.0, "val_accuracy": float(val[name][i][seed]),
                "val_loss": 1.0, "outer_accuracy": 0.0, "outer_loss": 1.0, "diverged": False,
                "final_log_lam": 0.0, "mean_log_lam": 0.0,
            }
            for name, rows in test.items()
            for i, row in enumerate(rows)
            for seed, score in enumerate(row)
        ]
    )  # fmt: skip


def schedule_summary(kind: str = "learned", accuracy: float = 50.0, **other: object) -> ScheduleSummary:
    """The numbers of a schedule."""
    made = ScheduleSummary(
        kind=kind, spec="a spec", test_accuracy_mean=accuracy, test_loss_mean=1.0, difference_mean=1.0,
        ci95=(0.5, 1.5), ci95_tasks=(0.4, 1.6), regret_mean=0.0, iqm=accuracy, probability_of_improvement=0.5,
        inner_runs=1, tuning_runs=0, diverged=0.0, tasks={"a": accuracy},
    )  # fmt: skip
    return dataclasses.replace(made, **other)  # type: ignore[arg-type]


def summary(schedules: Mapping[str, ScheduleSummary], **other: object) -> Summary:
    """A summary of these schedules."""
    tasks = tuple(next(iter(schedules.values())).tasks)
    made = Summary(
        format_version=1, suite="mine", fold="held-out", seeds=(0,), seeds_per_task=1, tasks=tasks,
        best_single_constant="constant:0.01", best_single_constant_chosen_on="test, in hindsight",
        oracle_constants=dict.fromkeys(tasks, "constant:0.1"), constants=("constant:0.01", "constant:0.1"),
        schedules=dict(schedules), task_fields={task: fields_of(TASK) for task in tasks},
        policies={"learned": PolicySummary(file="p", suite="quick", data="d", commit="c")}, tuning=None,
        data=DataSummary("synthetic", "0" * 64, "1" * 64), test_images=100, num_classes=10, inner_runs_done=3,
        seconds=1.0, trainer={"device": "cpu"}, notes=(), command="python scripts/compare.py", commit="c",
        time="2026-01-01T00:00:00Z", device="cpu", hardware="1 CPU core", versions={"torch": "2"},
    )  # fmt: skip
    return dataclasses.replace(made, **other)  # type: ignore[arg-type]
