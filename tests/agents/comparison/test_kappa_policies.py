"""Policies that move κ in a comparison: they play as in a user's loop, whatever the optimizers of the tasks."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
from comparisons import TASK, write_policy
from tiny_policies import make_policy
from tiny_schedules import KAPPA_CARD

from lambda_rl import save_policy
from lambda_rl.agents.comparison.contestants import check_meanings, line_up, read_policies
from lambda_rl.agents.comparison.figures import FIGURES, draw_all
from lambda_rl.agents.comparison.protocol import compare
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.envs.data import load_test, load_train
from lambda_rl.envs.tasks.suites import Suite, TaskList
from lambda_rl.policy.file import DEFAULT_POLICY

STEPS, RATE = TASK.steps, TASK.learning_rate
TASKS = (
    TASK,
    dataclasses.replace(TASK, optimizer="adamw", decay="decoupled", initial_lam=3.0),
    dataclasses.replace(TASK, optimizer="adam", decay="coupled"),
)
SUMS = (RATE * STEPS / (1 - TASK.momentum), RATE * STEPS, 100 * RATE * STEPS)
"""What λ is multiplied by to give κ in a user's loop: at the peak learning rate throughout."""


def compared(*policies: str, lam_meaning: str = "") -> Comparison:
    """Policies on tasks of three optimizers; a warning of a policy that moves κ is an error."""
    suite = Suite("three", "held-out", TaskList(TASKS))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*the policy moves κ")
        learned = read_policies(policies, lam_meaning)
        check_meanings(learned, suite)
        lineup = line_up(learned, constants=(0.01, 0.1), families=())
        return compare(lineup, suite, 1, load_train("synthetic"), load_test("synthetic"))


def lams(comparison: Comparison, schedule: str) -> list[np.ndarray]:
    """λ at each decision, by task."""
    rows = comparison.trajectories
    rows = rows[rows["schedule"] == schedule]
    return [rows[rows["task"] == task]["lam"].to_numpy() for task in comparison.summary.tasks]


def test_they_begin_at_their_own_kappa_as_in_a_users_loop(tmp_path: Path) -> None:
    """A policy that changes nothing shows where it begins; the task's λ and its true sum would give other numbers."""
    card = dataclasses.replace(KAPPA_CARD, initial=(0.04,))  # the guard begins with 0.05 at most
    save_policy(tmp_path / "still.safetensors", make_policy(card=card, scale=0.0))
    found = compared(str(tmp_path / "still.safetensors"))
    for values, total in zip(lams(found, "learned"), SUMS, strict=True):
        assert len(values) == TASK.decisions
        assert values[0] == pytest.approx(0.04 / total)
    # What only this one is told does not make it another task.
    assert set(found.results.table["lr_told"]) == {"sum"}
    assert set(found.results.table["initial_kappa"]) == {0.0}


def test_the_default_and_one_that_moves_lambda_beside_each_other(tmp_path: Path) -> None:
    write_policy(tmp_path / "own.safetensors")
    found = compared(DEFAULT_POLICY, str(tmp_path / "own.safetensors"), lam_meaning="convert")
    ours, theirs = (found.summary.schedules[f"learned:{name}"] for name in (DEFAULT_POLICY, "own"))
    assert ours.spec == f"learned:{DEFAULT_POLICY}"  # there is nothing to convert
    assert theirs.spec.endswith(",lam_meaning=convert")
    notes = " ".join(found.summary.notes)
    assert "learned:own was trained with coupled decay" in notes
    assert f"learned:{DEFAULT_POLICY} was" not in notes
    for values, total in zip(lams(found, f"learned:{DEFAULT_POLICY}"), SUMS, strict=True):
        kappas = values * total
        assert np.all(np.isfinite(kappas))
        assert np.all((kappas > 0.0099) & (kappas < 160.0))
    assert {path.stem for path in draw_all(found, tmp_path)} == set(FIGURES)
