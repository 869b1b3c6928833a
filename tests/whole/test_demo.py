"""``make demo``: what it runs, that its tasks need feedback, and that docs/demo.md says what was measured."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess

import numpy as np
import pytest
from places import DOCS, ROOT

from lambda_rl import Constant, Schedule
from lambda_rl.agents.ppo.presets import preset
from lambda_rl.envs.data import load_train
from lambda_rl.envs.data.split import split_data
from lambda_rl.envs.judging import ScheduleJob, run_schedules
from lambda_rl.envs.tasks.suites import load_suite


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_the_demo_runs_the_preset_and_needs_no_development_packages() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", "demo"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--preset demo" in done.stdout
    assert "--suite demo-held-out" in done.stdout
    assert f"--data {preset('demo').data}" in done.stdout
    assert "'.[train]'" in done.stdout
    assert "dev]" not in done.stdout


def test_the_suites_of_the_demo_fit_its_table() -> None:
    config = preset("demo")
    images = len(load_train(config.data).labels)
    for name in ("demo", "demo-validation", "demo-held-out"):
        suite = load_suite(name)
        split = split_data(images, suite.fold)
        for task in suite.largest:
            assert task.train_size <= len(split.inner_train)
            assert task.val_size <= len(split.inner_val)
            assert task.resolution == 1
    assert load_suite("demo-validation").tasks == load_suite("demo-held-out").tasks
    assert config.ppo.n_steps == load_suite("demo-held-out").tasks[0].decisions  # whole episodes


def test_no_constant_serves_all_tasks_of_the_demo() -> None:
    """Few rows, most of them mislabelled, want ten times the decay that many clean rows want."""
    tasks = {(task.train_size, task.label_noise): task for task in load_suite("demo-validation").tasks}
    few, many = tasks[150, 0.6], tasks[2400, 0.0]

    def constant(kappa: float):
        def make(**told) -> Schedule:
            return Constant(kappa / told["facts"].decay_sum, total_steps=told["total_steps"])

        return make

    cells = [(task, kappa) for task in (few, many) for kappa in (0.5, 10.0)]
    jobs = [
        ScheduleJob(task.with_seed(seed), f"{kappa:g}", constant(kappa), key=(task.train_size, kappa))
        for task, kappa in cells
        for seed in (30_000, 30_001)
    ]
    found: dict[object, list[float]] = {}
    for result in run_schedules(jobs, load_train(preset("demo").data), "agent"):
        found.setdefault(result.key, []).append(result.outer_accuracy)
    mean = {key: float(np.mean(values)) for key, values in found.items()}
    assert mean[150, 10.0] > mean[150, 0.5] + 0.05
    assert mean[2400, 0.5] > mean[2400, 10.0] + 0.02


def rows_of(name: str) -> list[dict[str, str]]:
    with (DOCS / "results" / "demo" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_page_says_what_was_measured() -> None:
    page = (DOCS / "demo.md").read_text(encoding="utf-8")
    rows = rows_of("seeds.csv")
    assert [row.pop("seed") for row in rows] == [str(seed) for seed in range(10)]
    oracle = float(rows[0]["oracle-constant"])
    for row in rows:
        del row["oracle-constant"]
    learned = np.array([float(row.pop("learned")) for row in rows])
    best = np.array([max(map(float, row.values())) for row in rows])
    wins = int((learned > best).sum())
    assert wins >= 9
    assert f"in {wins} of 10 the policy is above every" in page
    for said in (f"{learned.mean():.2f} %", f"{(learned - best).mean():+.2f} points", f"{oracle:.2f} %"):
        assert said in page
    assert f"at worst {(learned - best).min():+.2f}" in page


def test_the_table_of_the_page_is_that_of_the_file() -> None:
    page = (DOCS / "demo.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"<!-- table of results/demo/tasks\.csv -->\n((?:\|.*\n)+)", page)
    head, _, *lines = [line.strip("|\n ").split(" | ") for line in table.splitlines()]
    names = {
        "best constant": "best-single-constant",
        "none": "no-penalty",
        "oracle constant": "oracle-constant",
    }
    rows = rows_of("tasks.csv")
    assert [row["task"] for row in rows] == load_suite("demo-held-out").task_names
    for line, row in zip(lines, rows, strict=True):
        assert line[1:] == [f"{float(row[names.get(name, name)]):.1f}" for name in head[1:]]
