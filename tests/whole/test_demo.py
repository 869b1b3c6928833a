"""``make demo``: what it runs, and that its tasks need feedback."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from places import ROOT

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
