"""From a Gymnasium vector environment to the ``VecEnv`` that Stable-Baselines3 wants."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv

Indices = None | int | Iterable[int]


class SB3VecEnv(VecEnv):
    """Drives one native vector environment; there is no Python object per slot.

    SB3 takes no Gymnasium ``VectorEnv`` (its issue #1568). All arrays are passed on whole; only slots whose episode
    ended get an info that is not empty, with ``terminal_observation`` and ``TimeLimit.truncated``.

    Args:
        env: a vector environment that resets a finished slot in the same step (``AutoresetMode.SAME_STEP``).

    Raises:
        ValueError: the environment resets in another way.
    """

    def __init__(self, env: gymnasium.vector.VectorEnv[Any, Any, Any]) -> None:
        mode = env.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise ValueError(f"SB3VecEnv needs autoreset_mode SAME_STEP, got {mode}")
        self.env = env  # before VecEnv.__init__, which already asks for get_attr("render_mode")
        self._actions: npt.NDArray[Any] | None = None
        self.env_seconds = 0.0
        """How long the environment's own steps took in all."""
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> npt.NDArray[np.float32]:
        """Starts an episode in every slot, from the seed given to :meth:`seed` if there is one.

        Returns:
            Observations ``[N, F]``.
        """
        # SB3 numbers the slots' seeds upward from the one it was given, as Gymnasium does with a single seed.
        obs, _ = self.env.reset(seed=self._seeds[0])
        self.reset_infos = [{} for _ in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return np.array(obs)

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Takes the actions ``[N, A]`` of the next step."""
        self._actions = actions

    def step_wait(
        self,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64], npt.NDArray[np.bool_], list[dict[str, Any]]]:
        """Steps all slots.

        Returns:
            Observations ``[N, F]`` (of the next episode where one ended), rewards ``[N]``, dones ``[N]`` and infos.
        """
        assert self._actions is not None, "step_async comes before step_wait"
        start = time.monotonic()
        obs, rewards, terminated, truncated, info = self.env.step(self._actions)
        self.env_seconds += time.monotonic() - start
        self._actions = None
        dones = np.logical_or(terminated, truncated)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for slot in np.flatnonzero(dones):
            infos[slot] = {
                "terminal_observation": np.array(info["final_obs"][slot]),
                "TimeLimit.truncated": bool(truncated[slot] and not terminated[slot]),
            }
        # Copies, because SB3 still reads the last observations after the next step.
        return np.array(obs), np.array(rewards), dones, infos

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """The environment's attribute, once for each slot asked for."""
        return [getattr(self.env, attr_name)] * len(self._slots(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Sets the environment's attribute: the slots share it, so it has to be set for all of them.

        Raises:
            ValueError: only some slots are named.
        """
        if len(self._slots(indices)) != self.num_envs:
            raise ValueError(f"{attr_name} is shared by all slots; it cannot be set for some of them")
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Calls the environment's method once; its result is given for each slot asked for."""
        return [getattr(self.env, method_name)(*method_args, **method_kwargs)] * len(self._slots(indices))

    def env_is_wrapped(self, wrapper_class: type, indices: Indices = None) -> list[bool]:
        """Slots are no environments of their own, so none is wrapped."""
        return [False] * len(self._slots(indices))

    def get_images(self) -> Sequence[npt.NDArray[np.uint8] | None]:
        """Pictures of the slots, for ``render_mode="rgb_array"``."""
        images = self.env.render()
        return [None] * self.num_envs if images is None else [np.asarray(image) for image in images]

    def _slots(self, indices: Indices) -> list[int]:
        return [int(slot) for slot in self._get_indices(indices)]
