"""Which task each slot plays next, where slots play the same tasks in groups."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from tiny_envs import DISTRIBUTION, actions, same, tiny_data, trace

from lambda_rl.envs.dealing import Dealer
from lambda_rl.envs.reward import RewardConfig
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv

DATA = tiny_data()


def vector(slots: int, copies: int, **options: Any) -> CifarLambdaVectorEnv:
    usual: dict[str, Any] = {"suite": DISTRIBUTION, "data": DATA, "reward": RewardConfig(outer_size=20)}
    return CifarLambdaVectorEnv(slots, copies=copies, **{**usual, **options})


def kind(task: Task) -> Task:
    return task.with_seed(0)


def test_slots_of_a_group_play_the_same_tasks_with_seeds_of_their_own() -> None:
    dealer = Dealer(DISTRIBUTION, 6, copies=3)
    dealer.seed(range(6))
    rounds = [dealer.deal(range(6)) for _ in range(3)]
    for tasks in rounds:
        assert len({task.seed for task in tasks}) == 6
        assert [kind(task) for task in tasks] == [kind(tasks[0])] * 3 + [kind(tasks[3])] * 3
        assert kind(tasks[0]) != kind(tasks[3])
    assert len({kind(tasks[0]) for tasks in rounds}) == 3
    again = Dealer(DISTRIBUTION, 6, copies=3)
    again.seed(range(6))
    assert [again.deal(range(6)) for _ in range(3)] == rounds


def test_a_slot_that_ends_early_goes_ahead_and_the_others_come_after() -> None:
    dealer, ahead = (Dealer(DISTRIBUTION, 3, copies=3) for _ in range(2))
    for one in (dealer, ahead):
        one.seed([5, 6, 7])
    first, second, third = (dealer.deal(range(3)) for _ in range(3))
    assert ahead.deal(range(3)) == first
    assert ahead.deal([1]) == [second[1]]
    assert ahead.deal([1]) == [third[1]]
    assert ahead.deal([0, 2]) == [second[0], second[2]]
    assert ahead.deal([2, 0]) == [third[2], third[0]]


def test_a_reset_brings_a_group_together() -> None:
    dealer = Dealer(DISTRIBUTION, 2, copies=2)
    dealer.deal(range(2))
    dealer.deal([0])
    dealer.seed([None, None])
    one, other = dealer.deal(range(2))
    assert kind(one) == kind(other)


def test_a_group_is_one_stack() -> None:
    env = vector(6, 3)
    env.reset(seed=0)
    env.step(np.zeros((6, 1), np.float32))
    assert sorted(len(stack) for stack in env._core.trainer._stacks.values()) == [3, 3]
    env.close()


def test_a_slot_of_a_group_is_what_its_task_is_alone() -> None:
    env, moves = vector(2, 2), actions(2, 2)
    env.reset(seed=3)
    alone = vector(1, 1)
    alone.reset(options={"tasks": [env._core.run(1).task]})
    for move in moves:
        together, single = env.step(move), alone.step(move[1:])
        assert np.array_equal(together[0][1], single[0][0])
        assert together[1][1] == single[1][0]


def test_state_goes_on_bit_for_bit() -> None:
    env = vector(4, 2)
    trace(env, actions(5, 4), seed=0)
    file = io.BytesIO()
    torch.save(env.state_dict(), file)
    moves = actions(9, 4, seed=4)
    reference = trace(env, moves, seed=None)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    other = vector(4, 2)
    other.load_state_dict(state)
    assert same(reference, trace(other, moves, seed=None))
    with pytest.raises(ValueError, match="state of 2 groups of slots does not fit 0"):
        vector(4, 1).load_state_dict(state)


def test_without_groups_nothing_is_new_in_a_state() -> None:
    assert set(vector(2, 1).state_dict()) == {"core", "rngs", "observations"}


@pytest.mark.parametrize("copies", [0, 3])
def test_copies_that_do_not_divide_the_slots(copies: int) -> None:
    with pytest.raises(ValueError, match=f"copies must divide the 4 slots, got {copies}"):
        vector(4, copies)


def test_a_lost_run_goes_on_with_the_next_task() -> None:
    env, still = vector(2, 2), np.zeros((2, 1), np.float32)
    env.reset(seed=0)
    first = env._core.run(0).task
    for value in env._core.run(1).params.values():
        value.fill_(float("nan"))
    assert env.step(still)[2].tolist() == [False, True]
    ahead = env._core.run(1).task
    assert kind(ahead) != kind(first) == kind(env._core.run(0).task)
    for _ in range(first.decisions - 1):
        env.step(still)
    assert kind(env._core.run(0).task) == kind(ahead)
