"""What environments refuse, at once and in so many words, and what stays as it was then."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from tiny_envs import BASE, DISTRIBUTION, actions, same, tiny_data, trace

from lambda_rl.envs.env import CifarLambdaEnv
from lambda_rl.envs.reward import RewardConfig
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv

TINY: dict[str, Any] = {"suite": DISTRIBUTION, "data": tiny_data(), "reward": RewardConfig(outer_size=20)}


def vector(slots: int = 3, **options: Any) -> CifarLambdaVectorEnv:
    return CifarLambdaVectorEnv(slots, **TINY, **options)


def single() -> CifarLambdaEnv:
    return CifarLambdaEnv(**TINY)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (vector, {"task": BASE}, "unknown option 'task'; allowed is 'tasks'"),
        (vector, {"reset_mask": np.array([True, False, False])}, "unknown option 'reset_mask'"),
        (vector, {"tasks": [BASE] * 3, "lam": 1}, "unknown option 'lam'; allowed is 'tasks'"),
        (single, {"tasks": [BASE]}, "unknown option 'tasks'; allowed is 'task'"),
    ],
)
def test_a_reset_refuses_options_that_it_does_not_know(
    make: Any, options: dict[str, Any], message: str
) -> None:
    """Ignored, they would let a user believe in a task that was never run."""
    env = make()
    with pytest.raises(ValueError, match=message):
        env.reset(seed=0, options=options)
    assert env.reset(seed=0, options={})[0] in env.observation_space


def test_a_refused_reset_leaves_the_environment_as_it_was() -> None:
    moves = actions(5, 3)
    env, other = vector(), vector()
    env.reset(seed=0)
    for refused in (
        {"seed": [1, 2, -3]},
        {"seed": [1, 2]},
        {"seed": [1, 2, 2.5]},
        {"seed": 5, "options": {"task": BASE}},
        {"seed": 5, "options": {"tasks": [BASE]}},
    ):
        with pytest.raises((ValueError, TypeError, gym.error.Error)):
            env.reset(**refused)  # type: ignore[arg-type]
    # The tasks of the next episodes, too, are drawn from the generators of the first reset.
    other.reset(seed=0)
    assert same(trace(env, moves, seed=None), trace(other, moves, seed=None))


@pytest.mark.parametrize("seeds", [np.array([7, 3, 5]), np.array([7, 3, 5], np.uint8), [7, np.int64(3), 5]])
def test_whole_numbers_of_any_kind_are_seeds(seeds: Any) -> None:
    env = vector()
    assert np.array_equal(env.reset(seed=seeds)[0], vector().reset(seed=[7, 3, 5])[0])


@pytest.mark.parametrize("bad", [0.5 + 0.5j, "up", None])
def test_actions_that_are_no_real_numbers_are_refused(bad: Any) -> None:
    """Of a complex number only the real part was taken."""
    env, reference, one = vector(), vector(), single()
    moves = actions(4, 3)
    env.reset(seed=0)
    one.reset(seed=0)
    with pytest.raises(ValueError, match="actions must be real numbers"):
        env.step(np.full((3, 1), bad))
    with pytest.raises(ValueError, match="actions must be real numbers"):
        one.step(np.full(1, bad))
    reference.reset(seed=0)
    assert same(trace(env, moves, seed=None), trace(reference, moves, seed=None))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("begun", [False, True])
def test_a_closed_environment_says_so_whatever_is_asked_of_it(threads: int, begun: bool) -> None:
    env, one = vector(threads=threads), CifarLambdaEnv(**TINY, threads=threads)
    for each, move in ((env, np.zeros((3, 1))), (one, np.zeros(1))):
        if begun:
            each.reset(seed=0)
            each.step(move)
        each.close()
        each.close()
        with pytest.raises(RuntimeError, match="was closed"):
            each.reset(seed=0)
        if begun:
            with pytest.raises(RuntimeError, match="was closed"):
                each.step(move)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("begun", [False, True])
def test_copies_are_refused_in_words(threads: int, begun: bool) -> None:
    for env in (vector(threads=threads), CifarLambdaEnv(**TINY, threads=threads)):
        if begun:
            env.reset(seed=0)
        for copied in (copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="neither copied nor pickled"):
                copied(env)
        env.close()
