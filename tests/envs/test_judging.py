"""Schedules are judged on the control problem of the environments: same task, same λ, same numbers, same divergence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from tiny_envs import BASE, tiny_data

from lambda_rl import Steps
from lambda_rl.control import ControlLaw
from lambda_rl.envs.control_problem import HISTORY_KEYS, ControlledRuns, Interval
from lambda_rl.envs.judging import Hooks, RunResult, ScheduleJob, run_schedules
from lambda_rl.envs.reward import RewardConfig
from lambda_rl.envs.tasks.suites import Suite, TaskList
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.trainer import to_log
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv

DATA = tiny_data()
CONTROL = ControlLaw(
    -6.0, 30.0, 32.0
)  # 32: a difference of whole numbers is such an action, without rounding
START = -2.0  # log₁₀ of the tasks' first λ

# log₁₀ λ of each decision. Under the last path weights grow 10^28-fold at every step.
PATHS = {
    "mlp": (replace(BASE, label_noise=0.2), (-1.0, -3.0, -2.0, 0.0)),
    "adamw": (replace(BASE, optimizer="adamw", learning_rate=3e-3, seed=3), (-2.0, -2.0, -4.0, -1.0)),
    "cnn3": (replace(BASE, network="cnn3", width=2, penalty="l1", seed=1), (-3.0, -2.0, -3.0, -4.0)),
    "lost": (replace(BASE, seed=2), (-1.0, 30.0, 30.0, 30.0)),
}
TASKS = [task for task, _ in PATHS.values()]


@dataclass
class Row:
    """What is known of a run after an interval."""

    signals: dict[str, float]
    diverged: bool
    weights: list[torch.Tensor]


Watched = dict[tuple[ControlledRuns, int], list[Row]]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """All that `ControlledRuns.hold` does from now on, by slot, until its first run is at its end."""
    found: Watched = {}
    ended: set[tuple[ControlledRuns, int]] = set()
    hold = ControlledRuns.hold

    def watching(self: ControlledRuns, log_lam: Any, slots: Any = None, *more: Any) -> Interval:
        interval = hold(self, log_lam, slots, *more)
        for n, slot in enumerate(range(len(self.runs)) if slots is None else slots):
            key = (self, int(slot))
            if key not in ended:
                values = {name: v[n] for name, v in vars(interval.signals).items() if name != "knobs"}
                weights = [value.clone() for value in self.run(slot).params.values()]
                found.setdefault(key, []).append(Row(values, bool(interval.diverged[n]), weights))
            if interval.terminated[n]:
                ended.add(key)
        return interval

    monkeypatch.setattr(ControlledRuns, "hold", watching)
    return found


def in_the_environment(precision: str = "fp32") -> dict[str, dict[str, Any]]:
    """All tasks in one environment along their paths; what it tells of each at its end."""
    env = CifarLambdaVectorEnv(
        len(TASKS), suite=Suite("paths", "agent", TaskList(tuple(TASKS))), data=DATA, control=CONTROL,
        reward=RewardConfig(outer_size=20), precision=precision,
    )  # fmt: skip
    env.reset(seed=0, options={"tasks": TASKS})
    moves = [
        [(to - at) / CONTROL.max_change for at, to in pairwise((START, *path))] for _, path in PATHS.values()
    ]
    told: dict[str, dict[str, Any]] = {}
    for move in np.array(moves).T:
        *_, ended, _, infos = env.step(move[:, None])  # type: ignore[arg-type]
        for slot in np.flatnonzero(ended):
            final = {key: v[slot] for key, v in infos["final_info"].items() if not key.startswith("_")}
            told.setdefault(list(PATHS)[slot], final)
    return told


def judged(precision: str = "fp32", names: Sequence[str] = tuple(PATHS)) -> list[RunResult]:
    """The same tasks under schedules that give the same λ."""

    def along(path: Sequence[float]) -> Callable[..., Steps]:
        lams = [10.0**at for at in path]
        assert [to_log(lam) for lam in lams] == list(path)  # nothing is lost on the way there and back
        return lambda **_: Steps(lams)

    jobs = [ScheduleJob(PATHS[name][0], name, along(PATHS[name][1])) for name in names]
    return run_schedules(jobs, DATA, "agent", config=TrainerConfig(precision=precision))


def assert_same(one: list[Row], other: list[Row]) -> None:
    """To the last bit, NaN and infinity included."""
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_equal(a.signals, b.signals)
        assert a.diverged == b.diverged
        for mine, theirs in zip(a.weights, b.weights, strict=True):
            assert torch.equal(mine.nan_to_num(), theirs.nan_to_num())


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_an_environment_and_the_judging_of_schedules_give_the_same_numbers(
    precision: str, watched: Watched
) -> None:
    told = in_the_environment(precision)
    by_slot = {name: watched[core, slot] for (core, slot), name in zip(list(watched), PATHS, strict=True)}
    watched.clear()
    for result in judged(precision):
        name = result.schedule
        (rows,) = (rows for rows in watched.values() if rows[0].signals == by_slot[name][0].signals)
        assert_same(rows, by_slot[name])
        assert {"weight_norm", "penalty", *HISTORY_KEYS} <= set(rows[0].signals)
        for key in HISTORY_KEYS:
            np.testing.assert_equal(result.history[key], [row.signals[key] for row in rows])
        assert result.diverged == told[name]["diverged"] == (name == "lost")
        if not result.diverged:
            final = (result.outer_loss, result.outer_accuracy, result.val_loss, result.val_accuracy)
            assert final == tuple(
                told[name][key] for key in ("outer_loss", "outer_accuracy", "val_loss", "val_accuracy")
            )
    # What is lost ends early, and not at once: in single precision while λ is at its end the first time.
    assert len(by_slot["lost"]) == (2 if precision == "fp32" else 3)
    assert [row.diverged for row in by_slot["lost"]] == [False] * (len(by_slot["lost"]) - 1) + [True]


def test_both_call_a_run_lost_where_hold_says_so_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """`hold` alone decides: told that sound runs are lost and lost ones sound, both faces follow it."""
    hold, verdict = ControlledRuns.hold, [False]

    def deciding(self: ControlledRuns, *args: Any) -> Interval:
        interval = hold(self, *args)
        ended = np.array([run is not None and run.progress >= 1.0 for run in self.runs])
        interval.diverged[:] = verdict[0]
        interval.terminated[:] = (
            verdict[0] or ended[np.asarray(args[1] if len(args) > 1 else range(len(ended)))]
        )
        for run in self.runs:  # one that is lost takes no more steps; one that is not goes on
            if run is not None and not verdict[0] and run.progress < 1.0:
                run.decision = round(run.progress * run.task.decisions)
        return interval

    monkeypatch.setattr(ControlledRuns, "hold", deciding)
    for verdict[0], decisions in ((True, 1), (False, BASE.decisions)):
        told = in_the_environment()
        for result in judged():
            assert result.diverged == told[result.schedule]["diverged"] == verdict[0]
            assert len(result.history["log_lam"]) == decisions
            assert (result.val_accuracy == result.outer_accuracy == 0.1) == verdict[0]


def test_a_task_that_cannot_be_run_is_refused_before_any_other_is() -> None:
    told: list[int] = []
    for wrong, message in (
        (replace(BASE, train_size=241), "train_size=241, but the inner-train part has 240 images"),
        (replace(BASE, resolution=24), "resolution=24 must divide the side of tiny's images, 32 pixels"),
        (replace(BASE, network="resnet9", resolution=4), "its resolution must be at least 8, got 4"),
        (replace(BASE, data="synthetic"), "its data 'synthetic' was not loaded"),
    ):
        jobs = [ScheduleJob(task, "x", lambda **_: Steps([0.1])) for task in (BASE, wrong)]
        with pytest.raises(ValueError, match=message):
            run_schedules(jobs, DATA, "agent", hooks=Hooks(on_decision=lambda job, _: told.append(job)))
    assert not told
