"""An environment whose slots are spread is the one that is whole, whoever of its workers dies."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_envs import BASE, tiny_data

from lambda_rl.agents.clusters import ClusterVectorEnv, alike, environment
from lambda_rl.agents.clusters.cluster import RETRIES
from lambda_rl.envs.tasks.suites import Suite, TaskList
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv

SMALL = replace(BASE, train_size=40, steps=6, decisions=3, augment=True)
TASKS = (
    SMALL,
    replace(SMALL, label_noise=0.4, decisions=2),
    replace(SMALL, network="cnn3", resolution=8),
    replace(SMALL, learning_rate=1e4),  # diverges
)
SLOTS = 5
make = functools.partial(
    CifarLambdaVectorEnv, suite=Suite("tiny", "agent", TaskList(TASKS)), data=tiny_data()
)


def same(one: Any, other: Any, where: str = "") -> None:
    """Bit for bit, with all types and keys in order."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert list(one) == list(other), where
        for key in one:
            same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for place, pair in enumerate(zip(one, other, strict=True)):
            same(*pair, f"{where}/{place}")
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape), where
        same(one.tolist(), other.tolist(), where)
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype, where
        assert torch.equal(one, other), where
    else:
        assert one == other or (one != one and other != other), where


def moves(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.uniform(-1, 1, (SLOTS, 1)).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize("workers", [1, 2, 4, 0])
def test_it_is_the_one_environment_bit_for_bit(cluster: Any, workers: int) -> None:
    one, spread = make(SLOTS), ClusterVectorEnv(cluster, make, SLOTS, workers)
    assert cluster.stand_in.began == (workers or 4)
    assert spread.observation_space == one.observation_space
    assert spread.action_space == one.action_space
    same(one.reset(seed=3), spread.reset(seed=3))
    ended = 0
    for action in moves(8):
        told, expected = spread.step(action), one.step(action)
        same(expected, told)
        ended += int(told[2].sum())
    assert ended > SLOTS
    same(one.state_dict(), spread.state_dict())
    assert len(spread.seconds()) == (workers or 4)
    given: dict[str, Any] = {"seed": [1, 2, 3, 4, 5], "options": {"tasks": [SMALL] * SLOTS}}
    same(one.reset(**given), spread.reset(**given))
    spread.close()


def test_either_goes_on_with_the_state_of_the_other(cluster: Any) -> None:
    one, spread, again = make(SLOTS), *(ClusterVectorEnv(cluster, make, SLOTS, count) for count in (2, 3))
    one.reset(seed=0)
    one.step(moves(1)[0])
    spread.load_state_dict(one.state_dict())
    again.load_state_dict(spread.state_dict())
    cluster.stand_in.deaths = {len(cluster.stand_in.calls) + 1}
    for action in moves(4):
        expected = one.step(action)
        same(expected, spread.step(action))
        same(expected, again.step(action))
    one.load_state_dict(again.state_dict())
    same(one.step(action), spread.step(action))


# 2 workers: calls 1, 2 are for the spaces, 3, 4 the reset, then two for each step
@pytest.mark.parametrize("deaths", [{1}, {3}, {5}, {6}, {8, 9, 10}, {13}, {14}, {21, 22}])
def test_a_worker_that_dies_is_replaced_and_nothing_is_lost(
    cluster: Any, deaths: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "LONGEST", 4)
    cluster.stand_in.deaths = deaths
    one, spread = make(SLOTS), ClusterVectorEnv(cluster, make, SLOTS, 2)
    same(one.reset(seed=7), spread.reset(seed=7))
    for action in moves(7):
        same(one.step(action), spread.step(action))
    assert cluster.stand_in.calls.count("state") >= 2  # after LONGEST decisions
    same(one.state_dict(), spread.state_dict())
    assert cluster.stand_in.began > 2


def test_without_seeds_nothing_is_lost_either(cluster: Any) -> None:
    one, spread = make(SLOTS), ClusterVectorEnv(cluster, make, SLOTS, 2)
    spread.reset()
    one.load_state_dict(spread.state_dict())
    cluster.stand_in.deaths = {len(cluster.stand_in.calls) + 1}
    for action in moves(3):
        same(one.step(action), spread.step(action))


def test_workers_that_always_die_are_told(cluster: Any) -> None:
    spread = ClusterVectorEnv(cluster, make, SLOTS, 2)
    cluster.stand_in.deaths = set(range(1000))
    with pytest.raises(OSError, match=f"lost a worker {RETRIES} times in a row: it died"):
        spread.reset(seed=0)


def test_what_is_wrong_is_told_as_by_the_one_environment(cluster: Any) -> None:
    with pytest.raises(ValueError, match="6 workers for 5 slots and 4 cores of the cluster are too many"):
        ClusterVectorEnv(cluster, make, SLOTS, 6)
    with pytest.raises(ValueError, match="5 workers for 5 slots and 4 cores"):
        ClusterVectorEnv(cluster, make, SLOTS, 5)
    other = alike(make)
    with pytest.raises(ValueError, match="another version of lambda_rl, torch or numpy"):
        ClusterVectorEnv(cluster, replace(other, here="another"), SLOTS)
    spread = ClusterVectorEnv(cluster, other, SLOTS)
    with pytest.raises(ValueError, match="4 seeds for 5 environments"):
        spread.reset(seed=[1, 2, 3, 4])
    with pytest.raises(ValueError, match="unknown option 'task'"):
        spread.reset(options={"task": SMALL})
    with pytest.raises(ValueError, match="state of 4 slots does not fit 5 slots"):
        spread.load_state_dict(make(4).state_dict())
    too_many = Suite("large", "agent", TaskList((replace(SMALL, train_size=10**6),)))
    with pytest.raises(ValueError, match="train_size=1000000"):
        ClusterVectorEnv(cluster, functools.partial(make, suite=too_many), SLOTS)
