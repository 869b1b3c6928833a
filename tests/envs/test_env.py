"""The Gymnasium environments: conformance, what they refuse, pictures, tasks."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from tiny_envs import BASE, DISTRIBUTION, actions, tiny_data

from lambda_rl.envs.env import CifarLambdaEnv
from lambda_rl.envs.reward import RewardConfig
from lambda_rl.envs.tasks.suites import Suite, TaskList, TaskSpace
from lambda_rl.envs.tasks.variations import LogUniform
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv
from lambda_rl.observation import FEATURE_BOUND, FEATURES

ID = "lambda_rl.envs:LambdaRL/CifarLambda-v0"

DATA = tiny_data()

TINY: dict[str, Any] = {"suite": DISTRIBUTION, "data": DATA, "reward": RewardConfig(outer_size=20)}

LIST = Suite("list", "held-out", TaskList((BASE, replace(BASE, label_noise=0.4))))


def vector(slots: int, **options: Any) -> CifarLambdaVectorEnv:
    return CifarLambdaVectorEnv(slots, **{**TINY, **options})


@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
def test_checkers_have_nothing_to_say(render_mode: str | None) -> None:
    from gymnasium.utils.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = gym.make(ID, render_mode=render_mode, **TINY)
        check_env(made.unwrapped)
        sb3_check_env(made.unwrapped)
        sb3_check_env(made)
        direct = CifarLambdaEnv(render_mode=render_mode, **TINY)
        check_env(direct, skip_render_check=True)  # the render check wants a registered environment
        sb3_check_env(direct)


def test_make_runs_an_episode_without_warnings() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(ID, render_mode="rgb_array", **TINY)
        for seed in (0, None):
            env.reset(seed=seed)
            ended = False
            while not ended:
                _, _, ended, truncated, _ = env.step(env.action_space.sample())
                assert not truncated
        env.close()


def test_without_arguments_it_is_the_quick_synthetic_task() -> None:
    env = gym.make("LambdaRL/CifarLambda-v0")
    core = env.unwrapped._core  # type: ignore[attr-defined]
    assert env.unwrapped.suite.name == "quick"  # type: ignore[attr-defined]
    assert len(core.trainer.data) == 12_000
    obs, info = env.reset(seed=0)
    assert obs in env.observation_space
    assert info["task"].startswith("mlp32-n")
    obs, reward, *_ = env.step(np.zeros(1, np.float32))
    assert obs in env.observation_space
    assert math.isfinite(reward)
    # The vector environment has the same defaults; the images come from the cache now.
    envs = gym.make_vec("LambdaRL/CifarLambda-v0", num_envs=2)
    assert isinstance(envs.unwrapped, CifarLambdaVectorEnv)
    first, infos = envs.reset(seed=0)
    assert infos["task"][0] == info["task"]
    assert first in envs.observation_space


def test_observations_stay_in_their_space() -> None:
    env = vector(4)
    obs, _ = env.reset(seed=0)
    assert obs.dtype == np.float32
    assert obs.shape == (4, len(FEATURES))
    assert (env.observation_space.high == FEATURE_BOUND).all()  # type: ignore[attr-defined]
    for move in actions(10, 4, seed=2):
        obs, reward, _, truncated, _ = env.step(move)
        assert obs in env.observation_space
        assert reward.dtype == np.float64
        assert np.isfinite(reward).all()
        assert not truncated.any()


def test_errors_name_what_is_wrong() -> None:
    for make in (CifarLambdaEnv, lambda **options: CifarLambdaVectorEnv(2, **options)):
        with pytest.raises(ValueError, match=r"unknown render_mode 'human'; allowed are None and rgb_array"):
            make(render_mode="human", **TINY)
        with pytest.raises(ValueError, match=r"'nonsense' is neither a file nor one of .*cifar-mlp"):
            make(**{**TINY, "suite": "nonsense"})
        with pytest.raises(ValueError, match="unknown data 'nonsense'"):
            make(**{**TINY, "data": "nonsense"})
        with pytest.raises(ValueError, match="unknown device 'tpu0'"):
            make(device="tpu0", **TINY)
        with pytest.raises(ValueError, match="unknown precision 'int4'"):
            make(precision="int4", **TINY)
        with pytest.raises(ValueError, match="threads must be at least 1"):
            make(threads=0, **TINY)
    with pytest.raises(ValueError, match="num_envs must be at least 1, got 0"):
        vector(0)
    with pytest.raises(ValueError, match="3 seeds for 2 environments"):
        vector(2).reset(seed=[1, 2, 3])
    with pytest.raises(ValueError, match="1 tasks for 2 environments"):
        vector(2).reset(options={"tasks": [BASE]})
    with pytest.raises(ValueError, match="outer_size must be at least 1"):
        RewardConfig(outer_size=0)
    with pytest.raises(ValueError, match="scale and max_loss positive"):
        RewardConfig(scale=0.0)


def test_a_suite_that_wants_more_images_than_there_are_is_refused_at_once() -> None:
    """Not in mid-training, when the first such task is drawn."""
    assert isinstance(DISTRIBUTION.source, TaskSpace)
    vary = {**DISTRIBUTION.source.vary, "train_size": LogUniform((50, 241))}
    big = replace(DISTRIBUTION, source=replace(DISTRIBUTION.source, vary=vary))
    for suite in (big, Suite("list", "agent", TaskList((BASE, replace(BASE, val_size=31))))):
        with pytest.raises(ValueError, match=r"(train_size=241|val_size=31), but the inner-"):
            CifarLambdaEnv(suite, DATA)
        with pytest.raises(ValueError, match=r"(train_size=241|val_size=31), but the inner-"):
            CifarLambdaVectorEnv(2, suite=suite, data=DATA)


def test_step_at_the_wrong_time() -> None:
    with pytest.raises(RuntimeError, match=r"call reset\(\) before step\(\)"):
        CifarLambdaEnv(**TINY).step(np.zeros(1, np.float32))
    with pytest.raises(RuntimeError, match=r"call reset\(\) before step\(\)"):
        vector(2).step(np.zeros((2, 1), np.float32))
    env = CifarLambdaEnv(**TINY)
    env.reset(options={"task": BASE})
    for move in actions(4, 1):
        env.step(move)
    with pytest.raises(RuntimeError, match=r"ended: call reset\(\)"):
        env.step(np.zeros(1, np.float32))


def test_render_draws_the_run() -> None:
    env = CifarLambdaEnv(render_mode="rgb_array", **TINY)
    env.reset(seed=0, options={"task": BASE})
    pictures = []
    for move in actions(3, 1):
        picture = env.render()
        assert picture is not None
        pictures.append(picture)
        env.step(move)
    for picture in pictures:
        assert picture.dtype == np.uint8
        assert picture.shape == (480, 640, 3)
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[1], pictures[2])
    many = vector(2, render_mode="rgb_array")
    many.reset(seed=0)
    many.step(actions(1, 2)[0])
    drawn = many.render()
    assert drawn is not None
    assert [picture.shape for picture in drawn] == [(480, 640, 3)] * 2
    assert not np.array_equal(drawn[0], drawn[1])
    assert vector(2).render() is None


def test_list_suites_draw_their_tasks() -> None:
    env = CifarLambdaEnv(LIST, DATA)
    names = {env.reset(seed=seed)[1]["task"] for seed in range(8)}
    assert names == set(LIST.task_names)


def test_reset_takes_a_task() -> None:
    env = CifarLambdaEnv(**TINY)
    task = replace(BASE, train_size=77, initial_lam=1e-9)
    first, info = env.reset(seed=0, options={"task": task})
    assert info["task"] == task.name
    assert info["log_lam"] == env._core.control.log_lam_min  # brought into the range
    assert np.array_equal(first, env.reset(seed=1, options={"task": task})[0])
