"""The vector environment: its slots are single environments, in Gymnasium's own vector or alone; state."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from tiny_envs import DISTRIBUTION, actions, same, tiny_data, trace

from lambda_rl.envs.env import CifarLambdaEnv
from lambda_rl.envs.reward import RewardConfig
from lambda_rl.envs.tasks.suites import TaskSpace
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv

ID = "lambda_rl.envs:LambdaRL/CifarLambda-v0"

DATA = tiny_data()

TINY: dict[str, Any] = {"suite": DISTRIBUTION, "data": DATA, "reward": RewardConfig(outer_size=20)}


def vector(slots: int, **options: Any) -> CifarLambdaVectorEnv:
    return CifarLambdaVectorEnv(slots, **{**TINY, **options})


def test_make_vec_both_ways() -> None:
    native = gym.make_vec(ID, num_envs=3, vectorization_mode="vector_entry_point", **TINY)
    assert isinstance(native.unwrapped, CifarLambdaVectorEnv)
    assert native.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    sync = gym.make_vec(
        ID,
        num_envs=3,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        **TINY,
    )
    for name in ("single_observation_space", "single_action_space", "observation_space", "action_space"):
        assert getattr(native, name) == getattr(sync, name)
    moves = actions(6, 3)
    assert same(trace(native, moves), trace(sync, moves))


def assert_same_infos(one: dict[str, Any], other: dict[str, Any], slots: int) -> None:
    """Equal where a mask says that there is a value."""
    for infos in (one, other):
        assert {key for key in infos if not key.startswith("_")} == {
            key[1:] for key in infos if key.startswith("_")
        }
    nothing = np.zeros(slots, np.bool_)
    for key in set(one) | set(other):
        if key.startswith("_"):
            assert np.array_equal(one.get(key, nothing), other.get(key, nothing)), key
    for key in (set(one) & set(other)) - {"final_obs"}:
        if key.startswith("_"):
            continue
        if isinstance(one[key], dict):
            assert_same_infos(one[key], other[key], slots)
            continue
        mask = one[f"_{key}"]
        assert one[key].dtype == other[key].dtype, key
        assert np.array_equal(one[key][mask], other[key][mask]), key


def test_equals_gymnasiums_own_vector_of_single_environments() -> None:
    """Observations, rewards, ends and infos (final ones too), over several episodes of unequal length."""
    moves = actions(12, 3)
    native = vector(3)
    sync = SyncVectorEnv([lambda: CifarLambdaEnv(**TINY)] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    (one, first), (other, second) = native.reset(seed=0), sync.reset(seed=0)
    assert np.array_equal(one, other)
    assert_same_infos(first, second, 3)
    ends = np.zeros(3, int)
    for move in moves:
        *ours, infos = native.step(move)
        *theirs, reference = sync.step(move)
        assert same(ours, theirs)
        assert_same_infos(infos, reference, 3)
        assert ("final_obs" in infos) == ("final_obs" in reference) == bool(ours[2].any())
        for slot in np.flatnonzero(ours[2]):
            ends[slot] += 1
            assert np.array_equal(infos["final_obs"][slot], reference["final_obs"][slot])
            assert not np.array_equal(infos["final_obs"][slot], ours[0][slot])
    assert ends.min() >= 2
    assert ends.max() > ends.min()  # tasks of 3 and of 4 decisions


def test_slots_are_single_environments() -> None:
    moves = actions(12, 3, seed=1)
    many = vector(3)
    obs, _ = many.reset(seed=7)
    singles = [CifarLambdaEnv(**TINY) for _ in range(3)]
    for slot, env in enumerate(singles):
        assert np.array_equal(env.reset(seed=7 + slot)[0], obs[slot])
    for move in moves:
        obs, reward, terminated, _, infos = many.step(move)
        for slot, env in enumerate(singles):
            one, r, ended, _, _ = env.step(move[slot])
            assert r == reward[slot]
            assert ended == terminated[slot]
            if ended:
                assert np.array_equal(infos["final_obs"][slot], one)
                one, _ = env.reset()
            assert np.array_equal(one, obs[slot])


def test_same_seed_same_trace() -> None:
    moves = actions(9, 2)
    first = trace(vector(2), moves, seed=3)
    env = vector(2)
    trace(env, actions(4, 2, seed=9), seed=11)  # what was before a seeded reset does not matter
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - global generators must not matter either
    assert same(first, trace(env, moves, seed=3))
    assert not same(first, trace(vector(2), moves, seed=4))
    assert not same(first, trace(vector(2), -moves, seed=3))


def test_threads_change_nothing() -> None:
    moves = actions(6, 4)
    one, two = vector(4), vector(4, threads=2)
    assert same(trace(one, moves), trace(two, moves))
    two.close()


@pytest.mark.parametrize("network", ["mlp", "cnn3"])
def test_state_goes_on_bit_for_bit_in_a_new_environment(network: str) -> None:
    assert isinstance(DISTRIBUTION.source, TaskSpace)
    bases = tuple(
        replace(b, network=network, width=2, augment=network == "cnn3") for b in DISTRIBUTION.source.bases
    )
    suite = replace(DISTRIBUTION, source=replace(DISTRIBUTION.source, bases=bases))
    env = vector(3, suite=suite)
    trace(env, actions(5, 3), seed=0)
    assert any(run is not None and run.decision > 0 for run in env._core.runs)
    file = io.BytesIO()
    torch.save(env.state_dict(), file)
    moves = actions(9, 3, seed=4)
    reference = trace(env, moves, seed=None)
    reference_history = env._core.history

    file.seek(0)
    other = vector(3, suite=suite)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert same(reference, trace(other, moves, seed=None))
    assert other._core.history == reference_history
    assert any(step.any() for step in reference[2::4])  # episodes ended on the way


def test_state_is_a_copy() -> None:
    env = vector(2)
    trace(env, actions(2, 2), seed=0)
    state = env.state_dict()
    moves = actions(5, 2, seed=1)
    reference = trace(env, moves, seed=None)
    for _ in range(2):  # neither going on nor loading has changed it
        env.load_state_dict(state)
        assert same(reference, trace(env, moves, seed=None))


def test_state_of_another_number_of_slots_is_refused() -> None:
    env = vector(2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="state of 2 slots does not fit 3 slots"):
        vector(3).load_state_dict(env.state_dict())
