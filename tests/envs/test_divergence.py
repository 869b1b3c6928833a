"""A run that diverges ends alone: finite numbers, the score of guessing, and nothing that the others notice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_envs import BASE, actions, tiny_data

from lambda_rl.control import ControlLaw
from lambda_rl.envs.env import CifarLambdaEnv
from lambda_rl.envs.hardware.device import _cpu_has_bf16
from lambda_rl.envs.judging import ScheduleJob, run_schedules
from lambda_rl.envs.reward import RewardConfig
from lambda_rl.envs.tasks.suites import Suite, TaskList
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv
from lambda_rl.observation import FEATURES
from lambda_rl.schedules.open_loop import Constant

DATA = tiny_data()
SUITE = Suite("one", "agent", TaskList((BASE,)))
REWARD = RewardConfig(outer_size=20)
WILD = ControlLaw(-5.0, 3.0, 8.0)

MLP = replace(BASE, decisions=6)
CASES = {
    "mlp": MLP,
    "adamw": replace(MLP, optimizer="adamw", learning_rate=0.003),
    "cnn3": replace(MLP, network="cnn3", width=2),
    "resnet9": replace(MLP, network="resnet9", width=2, resolution=32, augment=True, learning_rate=0.01),
}


def vector(tasks: list[Task], **options: Any) -> CifarLambdaVectorEnv:
    env = CifarLambdaVectorEnv(len(tasks), suite=SUITE, data=DATA, control=WILD, reward=REWARD, **options)
    env.reset(seed=0, options={"tasks": tasks})
    return env


def others(task: Task) -> list[Task]:
    return [replace(task, seed=1), replace(task, seed=2, train_size=60, initial_lam=0.3)]


def run(env: CifarLambdaVectorEnv, moves: np.ndarray, inject_at: int | None = None) -> list[dict[str, Any]]:
    """Steps; before step ``inject_at`` one weight of slot 1 becomes NaN."""
    rows = []
    for i, move in enumerate(moves):
        if i == inject_at:
            name = env._core.run(1).network.penalised[0]
            env._core.run(1).params[name].view(-1)[3] = float("nan")
        obs, reward, terminated, truncated, infos = env.step(move)
        rows.append(
            {"obs": obs, "reward": reward, "terminated": terminated, "truncated": truncated, "infos": infos}
        )
    return rows


def check(rows: list[dict[str, Any]], reference: list[dict[str, Any]], env: CifarLambdaVectorEnv) -> int:
    """Slot 1 ends early, finite, at the score of chance; slots 0 and 2 are bit for bit those of ``reference``."""
    end = next(i for i, row in enumerate(rows) if row["terminated"][1])
    last = rows[end]
    assert last["infos"]["final_info"]["diverged"][1]
    assert not last["truncated"].any()
    for row in rows:
        assert row["obs"] in env.observation_space
        assert np.isfinite(row["reward"]).all()
    final = last["infos"]["final_obs"][1]
    assert final in env.single_observation_space
    assert sum(row["reward"][1] for row in rows[: end + 1]) == pytest.approx(0.0, abs=1e-9)
    for row, plain in zip(rows, reference, strict=True):
        for slot in (0, 2):
            for key in ("obs", "reward", "terminated"):
                assert np.array_equal(row[key][slot], plain[key][slot]), (key, slot)
            for key in ("train_loss", "val_loss", "outer_loss", "log_lam"):
                assert row["infos"][key][slot] == plain["infos"][key][slot]
    return end


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", list(CASES))
def test_one_nan_weight(kind: str, threads: int) -> None:
    task = CASES[kind]
    left, right = others(task)
    moves = 0.1 * actions(task.decisions - 1, 3, seed=1)
    options = {"threads": threads}
    tasks = [left, task, right]
    reference = run(vector(tasks, **options), moves)
    assert not any(row["terminated"].any() for row in reference)
    env = vector(tasks, **options)
    assert check(run(env, moves, inject_at=2), reference, env) == 2
    env.close()


def test_one_nan_weight_beside_compiled_networks() -> None:
    """Three share stacks of two; whose stack is not full changes when the diverged run is replaced."""
    task = replace(CASES["cnn3"], decisions=8)
    tasks = [replace(task, seed=1, val_size=21), task, replace(task, seed=2, train_size=60, val_size=19)]
    moves = 0.1 * actions(task.decisions - 1, 3, seed=1)
    options = {"compile": True, "precision": "bf16" if _cpu_has_bf16() else "fp32"}
    reference = run(vector(tasks, **options), moves)
    env = vector(tasks, **options)
    assert check(run(env, moves, inject_at=2), reference, env) == 2


@pytest.mark.parametrize("kind", list(CASES))
def test_largest_lam_with_a_large_learning_rate(kind: str) -> None:
    task = CASES[kind]
    left, right = others(task)
    rate = 1e4 if task.optimizer == "adamw" else 100.0
    decay = "decoupled" if task.optimizer == "adamw" else "coupled"
    wild = replace(task, learning_rate=rate, initial_lam=1e3, decay=decay)
    tame = [replace(left, decay=decay), replace(right, decay=decay)]
    moves = 0.1 * actions(task.decisions - 1, 3, seed=1)
    moves[:, 1] = 1.0
    reference = run(vector([tame[0], replace(task, decay=decay), tame[1]]), moves * [[[1.0], [0.0], [1.0]]])
    env = vector([tame[0], wild, tame[1]])
    end = check(run(env, moves), reference, env)
    assert end < task.decisions - 1


def test_single_environment_ends_too_and_can_be_reset() -> None:
    env = CifarLambdaEnv(SUITE, DATA, control=WILD, reward=REWARD, render_mode="rgb_array")
    wild = replace(MLP, learning_rate=100.0, initial_lam=1e3)
    env.reset(seed=0, options={"task": wild})
    rewards, ended = [], False
    while not ended:
        obs, reward, ended, truncated, info = env.step(np.ones(1, np.float32))
        assert obs in env.observation_space
        assert not truncated
        rewards.append(reward)
    assert info["diverged"]
    assert len(rewards) < wild.decisions
    assert sum(rewards) == pytest.approx(0.0, abs=1e-9)
    picture = env.render()
    assert picture is not None
    assert picture.shape == (480, 640, 3)
    assert obs[FEATURES.names().index("train_loss")] > 0
    with pytest.raises(RuntimeError, match="ended"):
        env.step(np.zeros(1, np.float32))
    obs, _ = env.reset()
    assert np.isfinite(obs).all()
    *_, info = env.step(np.zeros(1, np.float32))
    assert not info["diverged"]


def test_diverged_state_can_be_saved_and_loaded() -> None:
    tasks = [MLP, *others(MLP)]
    env = vector(tasks)
    moves = 0.1 * actions(5, 3)
    run(env, moves[:2], inject_at=1)
    other = vector(tasks)
    other.load_state_dict(env.state_dict())
    for one, two in zip(run(env, moves[2:]), run(other, moves[2:]), strict=True):
        assert np.array_equal(one["obs"], two["obs"])
        assert np.array_equal(one["reward"], two["reward"])


def test_under_schedules_a_diverged_run_counts_as_guessing() -> None:
    wild = replace(MLP, learning_rate=100.0)

    def constant(lam: float) -> Any:
        return lambda **options: Constant(lam, total_steps=options["total_steps"])

    jobs = [ScheduleJob(MLP, "tame", constant(0.01)), ScheduleJob(wild, "wild", constant(1e3))]
    config = TrainerConfig(precision="fp32")
    tame, lost = run_schedules(jobs, DATA, "agent", test=tiny_data(100, seed=1), config=config)
    assert lost.diverged
    assert lost.test_accuracy == lost.val_accuracy == lost.outer_accuracy == 0.1
    assert lost.test_loss == lost.val_loss == pytest.approx(np.log(10))
    assert len(lost.history["val_loss"]) < MLP.decisions
    assert not tame.diverged
    assert len(tame.history["val_loss"]) == MLP.decisions
    [alone] = run_schedules(jobs[:1], DATA, "agent", test=tiny_data(100, seed=1), config=config)
    assert alone.history == tame.history
    assert alone.test_loss == tame.test_loss


def test_infinite_weight_of_a_bias_is_noticed() -> None:
    """Biases and norms carry no penalty, but count for divergence."""
    env = vector([MLP, *others(MLP)])
    env._core.run(0).params["fc1.bias"].fill_(-torch.inf)
    _, reward, terminated, _, _ = env.step(np.zeros((3, 1), np.float32))
    assert terminated.tolist() == [True, False, False]
    assert np.isfinite(reward).all()
