"""A vector environment whose slots are held by workers of a cluster."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space

from lambda_rl.agents.clusters.cluster import Cluster
from lambda_rl.agents.clusters.slots import Make, Worker
from lambda_rl.agents.clusters.states import joined_infos, joined_state, parted_state
from lambda_rl.envs.faces import check_options
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv

LONGEST = 256
"""Decisions after which the workers' states are fetched anyway: no more has to be done again."""


class ClusterVectorEnv(VectorEnv[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[Any]]):
    """The slots of one :class:`~lambda_rl.envs.vector_env.CifarLambdaVectorEnv`, held by several workers.

    Each worker has slots in a row, as many as the others or one more. Since a slot's runs do not depend on who is
    trained beside them, all that is seen is the same as of the one environment, bit for bit on like machines, for any
    number of workers, and whoever of them is killed on the way. Its state is of the same form, too.

    Args:
        cluster: where the workers are; closed with this.
        make: makes the environment of some slots; it travels, and so does what it holds.
        num_envs: N.
        workers: how many, of one core each; 0: as many as the cluster has cores, at most N.

    Raises:
        ValueError: there are fewer slots or cores than workers, or the environment cannot be made.
    """

    metadata = CifarLambdaVectorEnv.metadata
    render_mode = None

    def __init__(self, cluster: Cluster, make: Make, num_envs: int, workers: int = 0) -> None:
        self.num_envs, self._cluster = num_envs, cluster
        cores = cluster.cpus
        workers = workers or max(1, min(num_envs, cores))
        if workers > min(num_envs, cores):
            raise ValueError(
                f"{workers} workers for {num_envs} slots and {cores} cores of the cluster are too many"
            )
        shared = cluster.share(make)
        least, more = divmod(num_envs, workers)
        self._workers = [Worker(cluster, shared, least + (number < more)) for number in range(workers)]
        for worker in self._workers:
            worker.ask("spaces")
        self.single_observation_space, self.single_action_space = self._answers()[0]
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """Draws a task for each slot and starts its run; arguments as of the one environment."""
        seeds = _seeds(seed, self.num_envs)
        tasks = check_options(options, "tasks")
        for name, given in (("seeds", seeds), ("tasks", tasks)):
            if given is not None and len(given) != self.num_envs:
                raise ValueError(f"{len(given)} {name} for {self.num_envs} environments")
        for worker, slots in self._parts:
            worker.ask("reset", seeds[slots], None if tasks is None else tasks[slots])
        observations, infos, states = zip(*self._answers(), strict=True)
        self._note(states)
        return np.concatenate(observations), self._infos(infos)

    def step(
        self, actions: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], dict[str, Any]]:
        """Steps all slots, each worker its own at the same time."""
        actions = np.array(actions)  # of our own, to be kept
        for worker, slots in self._parts:
            worker.ask("step", actions[slots])
        answers = self._answers()
        for worker, slots in self._parts:
            worker.did(actions[slots])
        if self._workers[0].since >= LONGEST:
            self._keep()
        observations, rewards, terminated, truncated = (
            np.concatenate([answer[place] for answer in answers]) for place in range(4)
        )
        return observations, rewards, terminated, truncated, self._infos([answer[4] for answer in answers])

    def state_dict(self) -> dict[str, Any]:
        """As that of the one environment; from here on, it is what a worker that is replaced begins with."""
        return joined_state(self._keep())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what :meth:`state_dict` gave, or the one environment's did."""
        if len(state["observations"]) != self.num_envs:
            raise ValueError(
                f"state of {len(state['observations'])} slots does not fit {self.num_envs} slots"
            )
        parts = [parted_state(state, slots) for _, slots in self._parts]
        for worker, part in zip(self._workers, parts, strict=True):
            worker.ask("load", part)
        self._answers()
        self._note(parts)

    def seconds(self) -> list[float]:
        """Seconds of a core that each worker has had so far; those of one that was replaced are forgotten."""
        for worker in self._workers:
            worker.ask("seconds")
        return self._answers()

    def close_extras(self, **_: Any) -> None:
        """Ends the workers, and leaves the cluster."""
        for worker in self._workers:
            worker.close()
        self._cluster.close()

    @property
    def _parts(self) -> Iterator[tuple[Worker, slice]]:
        """Each worker with its slots."""
        end = 0
        for worker in self._workers:
            begin, end = end, end + worker.count
            yield worker, slice(begin, end)

    def _answers(self) -> list[Any]:
        return [worker.answer() for worker in self._workers]

    def _infos(self, infos: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return joined_infos(infos, [worker.count for worker in self._workers])

    def _keep(self) -> list[dict[str, Any]]:
        """Fetches all states."""
        for worker in self._workers:
            worker.ask("state")
        states: list[dict[str, Any]] = self._answers()
        self._note(states)
        return states

    def _note(self, states: Sequence[dict[str, Any]]) -> None:
        """Has each worker know its state."""
        for worker, state in zip(self._workers, states, strict=True):
            worker.keep(state)


def _seeds(seed: int | Sequence[int | None] | None, count: int) -> list[int | None]:
    """One a slot, as the one environment numbers them."""
    if seed is None or isinstance(seed, (int, np.integer)):
        return [None if seed is None else int(seed) + slot for slot in range(count)]
    return [None if one is None else operator.index(one) for one in seed]
