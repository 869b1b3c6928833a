"""Rows of the broad mixture: plain loops in processes, our environment, and each of its kinds alone.

A run of a row is one round: whole episodes of the same tasks, making their tables included. What differs is who is
trained beside whom:

* SB3's ``SubprocVecEnv`` of plain loops: each process has one run at a time;
* ours, each slot with a task of its own: hardly two are alike, and stacks hold one network;
* ours, slots in groups that play the same tasks (``copies``): four kinds at a time, a stack of 16 each;
* ours, one kind at a time in full stacks on all threads: the homogeneous best.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import SubprocVecEnv

from lambda_rl.agents.benchmark.mixture.rounds import Dealt, Rounds
from lambda_rl.agents.benchmark.opponents import Setting
from lambda_rl.agents.benchmark.opponents.plain import PlainData, PlainEnv
from lambda_rl.agents.benchmark.ours import make_env
from lambda_rl.agents.benchmark.timing import Row
from lambda_rl.agents.ppo.vec_env import SB3VecEnv
from lambda_rl.envs.data import load_train
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig

PLAIN, OWN, GROUPS, ALONE = (
    "SB3 SubprocVecEnv, plain loops", "ours, 8 slots of a task each", "ours, 4 groups of 16 slots",
    "ours, one kind at a time in full stacks",
)  # fmt: skip
"""Labels."""

COPIES = 16
"""Slots of a group: as many MLPs as a stack holds."""

GROUPED = 4
"""Groups side by side."""


class PlainMixture(gym.Env[npt.NDArray[np.float32], npt.NDArray[np.float32]]):
    """Plain loops, one after the other: every so many-th task of each round.

    Args:
        rounds: what is trained.
        part: which of the processes this is.
        parts: how many there are.
        outer_size: see :class:`~lambda_rl.agents.benchmark.opponents.plain.PlainEnv`.
        device: where.
    """

    def __init__(self, rounds: Rounds, part: int, parts: int, outer_size: int, device: str = "cpu") -> None:
        torch.set_num_threads(1)
        self.observation_space = spaces.Box(-np.inf, np.inf, (8,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self._tasks = itertools.islice(rounds.all(), part, None, parts)
        self._images, self._outer_size, self._device = rounds.images, outer_size, torch.device(device)
        self._kept: dict[int, PlainData] = {}
        self._env: PlainEnv | None = None

    def _data(self, task: Task) -> PlainData:
        if task.data:
            return PlainData(load_train(task.data), task, torch.float32, self._device)
        if task.resolution not in self._kept:
            self._kept[task.resolution] = PlainData(self._images, task, torch.float32, self._device)
        return self._kept[task.resolution].of(task)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """The next task."""
        super().reset(seed=seed)
        task = next(self._tasks)
        self._env = PlainEnv(self._data(task), task, self._outer_size)
        return self._env.reset()

    def step(
        self, action: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One decision."""
        assert self._env is not None  # reset was called
        return self._env.step(action)


def _plain(rounds: Rounds, setting: Setting) -> Row:
    count = setting.processes
    makes: list[Callable[[], gym.Env[Any, Any]]] = [
        functools.partial(PlainMixture, rounds, part, count, setting.outer_size, str(setting.device))
        for part in range(count)
    ]
    vec_env = SubprocVecEnv(makes)
    vec_env.reset()
    return _row(rounds, vec_env, rounds.tasks // count, 1)


def _ours(rounds: Rounds, setting: Setting, slots: int, copies: int) -> Row:
    config = TrainerConfig(str(setting.device), "fp32", threads=setting.threads)
    dealt, sized = Dealt(tuple(rounds.round(0)), rounds.all()), dataclasses.replace(setting, slots=slots)
    vec_env = SB3VecEnv(make_env(dealt, sized, config, copies))
    vec_env.seed(0)
    vec_env.reset()
    return _row(rounds, vec_env, rounds.tasks * copies // slots, copies)


def _row(rounds: Rounds, vec_env: Any, episodes: int, copies: int) -> Row:
    """A row that plays a round: so many episodes one after the other, of so many copies of each task."""
    action, numbers = np.zeros((vec_env.num_envs, 1), np.float32), itertools.count()

    def run() -> int:
        tasks = rounds.round(next(numbers))
        for _ in range(episodes * tasks[0].decisions):
            vec_env.step(action)
        return copies * sum(task.steps for task in tasks)

    return Row(run, close=vec_env.close)


def mixture_rows(rounds: Rounds, setting: Setting) -> Iterator[tuple[str, Row]]:
    """(Label, row), each made when it is asked for."""
    copies, groups = (2, 2) if setting.tiny else (COPIES, GROUPED)
    full = copies * setting.threads
    yield PLAIN, _plain(rounds, setting)
    yield OWN, _ours(rounds, setting, rounds.tasks, 1)
    yield GROUPS, _ours(rounds, setting, groups * copies, copies)
    yield ALONE, _ours(rounds, setting, full, full)
