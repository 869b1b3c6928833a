"""A worker of a cluster that holds some slots of an environment, and how another takes its place."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lambda_rl.agents.clusters.cluster import RETRIES, Cluster, WorkerLost
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv

Make = Callable[[int], CifarLambdaVectorEnv]
"""Makes an environment of so many slots."""


class Worker:
    """A process of the cluster, and what it takes to make another like it: a state, and the actions since.

    A process that is killed is replaced: the new one takes up the state and does the same actions again, which gives
    the same runs bit for bit, and goes on with what was asked.

    Args:
        cluster: where.
        make: as :meth:`Cluster.share` laid it out.
        count: slots.
    """

    def __init__(self, cluster: Cluster, make: list[Any], count: int) -> None:
        self.count = count
        self._cluster, self._make = cluster, make
        self._saved: dict[str, Any] | None = None
        self._actions: list[npt.NDArray[np.float32]] = []
        self._holder: Any = None

    @property
    def since(self) -> int:
        """Decisions since the state that is kept."""
        return len(self._actions)

    def ask(self, name: str, *arguments: Any) -> None:
        """Asks for something; :meth:`answer` waits for it."""
        self._asked = (name, *arguments)
        if self._holder is None:
            self._replace()
        else:
            self._answer = self._holder.do.remote(*self._asked)

    def answer(self) -> Any:
        """What was asked for, from this process or from one that took its place.

        Raises:
            OSError: it was lost :data:`~lambda_rl.agents.clusters.cluster.RETRIES` times in a row.
        """
        for _ in range(1 + RETRIES):
            try:
                return self._cluster.got(self._answer)
            except WorkerLost as error:
                told = str(error)
                self._replace()
        raise OSError(f"the Ray cluster lost a worker {RETRIES} times in a row: {told}")

    def did(self, actions: npt.NDArray[np.float32]) -> None:
        """Notes a step that was answered."""
        self._actions.append(actions)

    def keep(self, state: dict[str, Any]) -> None:
        """Notes a state, in which the actions so far have gone up."""
        self._saved, self._actions = state, []

    def _replace(self) -> None:
        self.close()
        kind = self._cluster.ray.remote(Holder).options(
            num_cpus=1, max_restarts=0, scheduling_strategy="SPREAD"
        )
        self._holder = kind.remote(self._make, self.count)
        self._answer = self._holder.take_up.remote(self._saved, self._actions, *self._asked)

    def close(self) -> None:
        """Ends the process, if there is one."""
        if self._holder is not None:
            self._cluster.ray.kill(self._holder)
            self._holder = None


class Holder:
    """In a process of the cluster: the environment of some slots.

    Args:
        make: how it is made.
        count: of how many.
    """

    def __init__(self, make: Sequence[Any], count: int) -> None:
        self._make, self._count = make, count
        self._env: CifarLambdaVectorEnv | None = None

    @property
    def env(self) -> CifarLambdaVectorEnv:
        """The environment, made here and not by ``__init__``, whose errors Ray tells as if the process had died."""
        if self._env is None:
            import ray

            self._env = ray.get(self._make[0])(self._count)
        return self._env

    def take_up(
        self, state: dict[str, Any] | None, actions: Sequence[npt.NDArray[np.float32]], *asked: Any
    ) -> Any:
        """Brings the environment to where another was lost, and does what that one was asked for."""
        if state is not None:
            self.env.load_state_dict(state)
        for each in actions:
            self.env.step(each)
        return self.do(*asked)

    def do(self, name: str, *arguments: Any) -> Any:
        """One of the following."""
        return getattr(self, name)(*arguments)

    def spaces(self) -> tuple[Any, Any]:
        """Of an observation and of an action of one slot."""
        return self.env.single_observation_space, self.env.single_action_space

    def reset(self, seeds: Sequence[int | None], tasks: Sequence[Task] | None) -> tuple[Any, ...]:
        """See :meth:`CifarLambdaVectorEnv.reset`; and the state: what is drawn without a seed is not drawn again."""
        return *self.env.reset(seed=seeds, options=None if tasks is None else {"tasks": tasks}), self.state()

    def step(self, actions: npt.NDArray[np.float32]) -> tuple[Any, ...]:
        """See :meth:`CifarLambdaVectorEnv.step`."""
        return self.env.step(actions)

    def seconds(self) -> float:
        """Of all cores, that this process has had so far."""
        return time.process_time()

    def state(self) -> dict[str, Any]:
        """See :meth:`CifarLambdaVectorEnv.state_dict`."""
        return self.env.state_dict()

    def load(self, state: dict[str, Any]) -> None:
        """See :meth:`CifarLambdaVectorEnv.load_state_dict`."""
        self.env.load_state_dict(state)
