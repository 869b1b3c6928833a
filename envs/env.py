"""``LambdaRL/CifarLambda-v0``: one inner run whose λ the agent controls."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from lambda_rl.control import ControlLaw
from lambda_rl.envs.core import ControlledRuns, Outcome, RewardConfig
from lambda_rl.envs.data import ImageData, load_parts
from lambda_rl.envs.placement import TrainerConfig
from lambda_rl.envs.render import draw_run
from lambda_rl.envs.runs import check_sizes
from lambda_rl.envs.suites import Suite, load_suite
from lambda_rl.envs.trainer import Trainer
from lambda_rl.observation import FEATURE_BOUND, FEATURES

Observation = npt.NDArray[np.float32]

INFO_KEYS = (
    "log_lam", "train_loss", "val_loss", "train_accuracy", "val_accuracy", "outer_loss", "outer_accuracy", "diverged",
)  # fmt: skip


def observation_space() -> spaces.Box:
    """All registered features, bounded and finite."""
    return spaces.Box(-FEATURE_BOUND, FEATURE_BOUND, (len(FEATURES),), np.float32)


def action_space() -> spaces.Box:
    """One number in [-1, 1], the change of log₁₀ λ in units of ``ControlLaw.max_change`` decades."""
    return spaces.Box(-1.0, 1.0, (1,), np.float32)


def make_core(
    num_slots: int,
    suite: Suite,
    data: str | ImageData,
    control: ControlLaw | None,
    reward: RewardConfig | None,
    trainer: TrainerConfig,
) -> ControlledRuns:
    """Slots over the suite's fold of the training images; the test images are never loaded."""
    parts = load_parts("train", data, suite.datasets)
    reward = reward or RewardConfig()
    inner = Trainer(parts, suite.fold, trainer, outer_size=reward.outer_size)
    for task in suite.largest:  # refused now, not when the first such task is drawn
        check_sizes(task, inner.source(task).split)
    return ControlledRuns(num_slots, inner, control or ControlLaw(), reward)


def step_info(outcome: Outcome) -> dict[str, npt.NDArray[Any]]:
    """What :meth:`step` tells besides the observation, arrays of n slots; see ``INFO_KEYS``."""
    values = {key: getattr(outcome.measured, key) for key in INFO_KEYS[1:-1]}
    return {"log_lam": outcome.log_lam, **values, "diverged": outcome.diverged}


class CifarLambdaEnv(gym.Env[Observation, npt.NDArray[np.float32]]):
    """One episode is one inner run of K decisions; λ is held for an interval of SGD steps after each.

    **Observation**: :data:`lambda_rl.FEATURES`, float32, within ±5. **Action**: a number in [-1, 1] that
    changes log₁₀ λ by up to ``control.max_change`` decades. **Reward**: the change of a score on held-out reward
    images (:class:`RewardConfig`), so that an episode's rewards sum to the final score minus that of guessing; use
    γ = 1. **Termination**: after the last decision (progress is observed, so the end is part of the task), or when
    a loss or weight is no longer finite; the reward then brings the score down to chance. Never truncated.

    Args:
        suite: name, YAML file or :class:`Suite` that ``reset`` draws tasks from.
        data: see :func:`load_train`; only training images are ever loaded.
        control: range of λ and largest change.
        reward: what is rewarded.
        device: ``cpu``, ``cuda``, … (see :class:`TrainerConfig`).
        precision: number format of the inner training.
        threads: chunks trained at once; one run is one chunk.
        render_mode: ``rgb_array`` draws the run so far.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012 (as in the base)

    def __init__(
        self,
        suite: str | Suite = "quick",
        data: str | ImageData = "synthetic",
        control: ControlLaw | None = None,
        reward: RewardConfig | None = None,
        device: str = "cpu",
        precision: str = "auto",
        threads: int = 1,
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"unknown render_mode {render_mode!r}; allowed are None and rgb_array")
        self.render_mode = render_mode
        self.suite = suite if isinstance(suite, Suite) else load_suite(suite)
        self._core = make_core(
            1, self.suite, data, control, reward, TrainerConfig(device, precision, threads)
        )
        self.observation_space: spaces.Box = observation_space()  # type: ignore[assignment]
        self.action_space: spaces.Box = action_space()  # type: ignore[assignment]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Draws a task and starts its run.

        Args:
            seed: of the tasks to come.
            options: ``{"task": Task}`` starts that task instead of a drawn one.
        """
        super().reset(seed=seed)
        task = (options or {}).get("task") or self.suite.sample(self.np_random)
        return self._core.begin([0], [task])[0], {"task": task.name, "log_lam": float(self._core.log_lam[0])}

    def step(self, action: npt.NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Moves λ, trains one interval, measures."""
        outcome = self._core.step(np.asarray(action).reshape(1))
        info = {key: value[0].item() for key, value in step_info(outcome).items()}
        return outcome.observation[0], float(outcome.reward[0]), bool(outcome.terminated[0]), False, info

    def render(self) -> npt.NDArray[np.uint8] | None:
        """The run so far: λ, losses and accuracies; uint8 ``[480, 640, 3]``."""
        if self.render_mode is None:
            gym.logger.warn("render() called without a render_mode; give render_mode='rgb_array' to make()")
            return None
        return draw_slot(self._core, 0)

    def close(self) -> None:
        """Ends the trainer's threads."""
        self._core.trainer.close()


def draw_slot(core: ControlledRuns, slot: int) -> npt.NDArray[np.uint8]:
    """A picture of the slot's run so far."""
    run = core.run(slot)
    return draw_run(core.history[slot], title=f"{run.task.name}, step {run.step} of {run.task.steps}")
