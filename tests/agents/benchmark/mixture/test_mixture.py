"""The broad mixture in the benchmark: that all rows train the same tasks, not how fast they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from tiny_envs import tiny_data

from lambda_rl.agents.benchmark.mixture import rows, timed
from lambda_rl.agents.benchmark.mixture.rounds import Rounds
from lambda_rl.agents.benchmark.mixture.rows import ALONE, GROUPS, OWN, PLAIN, PlainMixture, mixture_rows
from lambda_rl.agents.benchmark.mixture.timed import judge_mixture, mixture
from lambda_rl.agents.benchmark.opponents import Setting
from lambda_rl.agents.benchmark.timing import Row
from lambda_rl.agents.options import DataOptions
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv

DATA = tiny_data(2000)
ROUNDS = Rounds(DATA, tasks=4, tiny=True)
SETTING = Setting(
    DataOptions(), DATA, outer_size=10, slots=1, device=torch.device("cpu"), threads=2, tiny=True
)


def test_rounds_are_the_same_whenever_they_are_drawn_and_differ() -> None:
    turn = ROUNDS.all()
    drawn = [next(turn) for _ in range(8)]
    assert drawn == ROUNDS.round(0) + ROUNDS.round(1)
    assert len({task.data for task in drawn}) > 4
    big = Rounds(DATA).round(0)
    assert len(big) == 8
    assert {task.decisions for task in big} == {20}


def test_all_rows_train_the_tasks_of_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    step = CifarLambdaVectorEnv._begin

    def remembered(self: CifarLambdaVectorEnv, slots: object, tasks: object = None) -> None:
        step(self, slots, tasks)  # type: ignore[arg-type]
        begun.append(len({self._core.run(slot).task.with_seed(0) for slot in range(self.num_envs)}))

    monkeypatch.setattr(CifarLambdaVectorEnv, "_begin", remembered)
    monkeypatch.setattr(rows, "_plain", lambda rounds, setting: Row(lambda: 0))
    _, *ours = mixture_rows(ROUNDS, SETTING)
    steps = sum(task.steps for task in ROUNDS.round(0))
    counts = []
    for label, row in ours:
        begun.clear()
        counts.append(row.run())
        kinds = {OWN: [4], GROUPS: [2, 2], ALONE: [1] * 4}[label]
        assert begun == kinds
        row.close()
    assert counts == [steps, 2 * steps, 4 * steps]


def test_plain_loops_train_any_task_of_the_mixture() -> None:
    rounds = Rounds(DATA, tasks=60, tiny=True)
    kinds = {}
    for task in rounds.round(0):
        kinds.setdefault(
            (task.network, task.optimizer, task.decay, dict(task.network_options).get("norm")), task
        )
    assert {"adam", "adamw", "sgd"} <= {kind[1] for kind in kinds}
    env = PlainMixture(replace(rounds, tasks=8), part=1, parts=2, outer_size=10)
    for expected in rounds.round(0)[1:8:2]:
        env.reset()
        assert env._env is not None
        assert env._env._task == expected
        ends = [env.step(np.zeros(1, np.float32))[2] for _ in range(expected.decisions)]
        assert ends == [False, True]


def test_shares_are_medians_over_the_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {PLAIN: [10.0, 20.0], OWN: [5.0, 10.0], GROUPS: [60.0, 90.0], ALONE: [100.0, 100.0]}
    usual = {"steps_per_second": 9.0, "lowest": 8.0, "highest": 10.0, "ratio": 5.25}
    made = {label: {"each": each, **usual} for label, each in speeds.items()}
    monkeypatch.setattr(timed, "mixture_rows", lambda rounds, setting: [])
    monkeypatch.setattr(timed, "time_rows", lambda *_: made)
    found = mixture(SETTING, 2, Console(quiet=True))
    assert found["rows"][GROUPS]["share_of_best"] == pytest.approx(0.75)
    assert found["rows"][PLAIN]["decisions_per_second"] > 0
    assert [check["met"] for check in found["targets"]] == [True, True]
    made[GROUPS]["share_of_best"] = 0.59
    assert [check["met"] for check in judge_mixture(made)] == [True, False]
