"""``LambdaRL/CifarLambda-v0``: one inner run whose λ the agent controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from lambda_rl.control import ControlLaw
from lambda_rl.envs.data import ImageData
from lambda_rl.envs.faces import (
    Problem,
    action_space,
    check_options,
    draw_slot,
    observation_space,
    real_actions,
    step_info,
)
from lambda_rl.envs.reward import RewardConfig
from lambda_rl.envs.tasks.suites import Suite, load_suite
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.knobs import Knob
from lambda_rl.observation import feature_table

Observation = npt.NDArray[np.float32]


class CifarLambdaEnv(gym.Env[Observation, npt.NDArray[np.float32]]):
    """One training run of a small image classifier, whose regularization strength λ the agent moves.

    ## Description

    A network is trained from scratch on images. Its loss is ``cross entropy + λ · R(w)``. The run has K decisions
    (15 to 25, ``Task.decisions``); after each, λ is held for an interval of optimizer steps. What network, data,
    optimizer, penalty, number of images and so on: that is the *task*, drawn anew at each reset from a *suite*. A good
    policy reads off a run whether it overfits and moves λ so that the network generalizes best at the run's end.

    ## Action space

    ``Box(-1, 1, (1,), float32)``; one more number for each knob that is moved beside λ (``knobs=``).

    | no. | name | meaning | min | max |
    | --- | --- | --- | --- | --- |
    | 0 | `lam` | change of log₁₀ λ, in units of ``control.max_change`` decades (0.5) | -1 | 1 |

    λ stays within ``control``'s range (10⁻⁵ to 10^0.5). A NaN holds it.

    ## Observation space

    ``Box(-5, 5, (F,), float32)``: the features below, causal and scale-free, so that a policy carries over to other
    networks and data. Each is clipped to ±5 and finite whatever the run does; min and max are those of a sound run.

    {features}

    Before the first decision nothing has been measured: losses and accuracies stand at what guessing gets.

    ## Reward

    The change of a score on held-out reward images (``outer-val``), ``accuracy - min(loss / log C, 2)``, times 5 (see
    :class:`~lambda_rl.envs.reward.RewardConfig`). The rewards of an episode sum up to the final score minus that of
    guessing; use γ = 1. Test images are out of reach: no environment ever holds one.

    ## Starting state

    Initial weights, subset, label noise, minibatches and augmentation come from the task's seed alone; λ starts at
    ``Task.initial_lam``, other knobs at their neutral value. ``reset(seed=…)`` seeds the drawing of tasks;
    ``reset(options={{"task": Task(…)}})`` starts a given one.

    ## Episode end

    *Terminated* after the last decision (progress is observed, so the end is part of the task), or when a loss or
    weight is no longer finite: the reward then brings the score down to that of guessing. Never *truncated*.

    ## Information

    ``reset`` tells ``task`` (a name) and ``log_lam``; ``step`` tells ``log_lam``, ``train_loss``, ``val_loss``,
    ``outer_loss`` (nats), ``train_accuracy``, ``val_accuracy``, ``outer_accuracy`` (fractions) and ``diverged``.

    ## Arguments

    ```python
    import gymnasium as gym

    env = gym.make("lambda_rl.envs:LambdaRL/CifarLambda-v0")  # tasks of the suite quick, on synthetic images
    env = gym.make("lambda_rl.envs:LambdaRL/CifarLambda-v0", suite="cifar-mlp", data="cifar10", device="cuda")
    envs = gym.make_vec("lambda_rl.envs:LambdaRL/CifarLambda-v0", num_envs=16, suite="quick", threads=2)
    ```

    ``make_vec`` gives the native vector environment, in which runs alike are trained as one network with N groups.

    Args:
        suite: name, YAML file or :class:`~lambda_rl.envs.tasks.suites.Suite` that ``reset`` draws tasks from.
        data: of tasks that name no data set of their own: ``synthetic``, ``cifar10``, ``folder:PATH``, … or images;
            only training images are ever loaded.
        control: range of λ and largest change.
        reward: what is rewarded.
        knobs: names of knobs moved beside λ, see :data:`lambda_rl.knobs.KNOBS`.
        features: names of what is observed; None: all.
        device: ``cpu``, ``cuda``, … (see :class:`~lambda_rl.envs.training.placement.TrainerConfig`).
        precision: number format of the inner training.
        threads: chunks trained at once; one run is one chunk.
        render_mode: ``rgb_array`` draws the run so far.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012 (as in the base)

    def __init__(  # noqa: PLR0913 - keywords of gymnasium.make
        self,
        suite: str | Suite = "quick",
        data: str | ImageData = "synthetic",
        control: ControlLaw | None = None,
        reward: RewardConfig | None = None,
        device: str = "cpu",
        precision: str = "auto",
        threads: int = 1,
        render_mode: str | None = None,
        knobs: Sequence[str | Knob] = (),
        features: Sequence[str] | None = None,
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"unknown render_mode {render_mode!r}; allowed are None and rgb_array")
        self.render_mode = render_mode
        self.suite = suite if isinstance(suite, Suite) else load_suite(suite)
        problem = Problem(
            self.suite, data, control or ControlLaw(), reward or RewardConfig(), knobs, features
        )
        self._core = problem.slots(1, TrainerConfig(device, precision, threads))
        self.observation_space: spaces.Box = observation_space(self._core)  # type: ignore[assignment]
        self.action_space: spaces.Box = action_space(self._core)  # type: ignore[assignment]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Draws a task and starts its run.

        Args:
            seed: of the tasks to come.
            options: ``{"task": Task}`` starts that task instead of a drawn one.

        Raises:
            ValueError: another option.
        """
        given = check_options(options, "task")
        super().reset(seed=seed)
        task = given or self.suite.sample(self.np_random)
        return self._core.begin([0], [task])[0], {"task": task.name, "log_lam": float(self._core.log_lam[0])}

    def step(self, action: npt.NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Moves λ, trains one interval, measures."""
        outcome = self._core.step(real_actions(action))
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


# The table of the observation is made by the registry of features, so that it cannot say anything else.
CifarLambdaEnv.__doc__ = (CifarLambdaEnv.__doc__ or "").format(
    features=feature_table().replace("\n", "\n    ")
)
