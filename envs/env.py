"""``LambdaRL/CifarLambda-v0``: one inner run whose λ the agent controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from lambda_rl.control import ControlLaw
from lambda_rl.envs.data import Images
from lambda_rl.envs.faces import (
    RENDER_MODES,
    Steering,
    action_space,
    check_options,
    checked_render_mode,
    controlled_runs,
    draw_slot,
    observation_space,
    real_actions,
    step_info,
)
from lambda_rl.envs.reward import RewardConfig
from lambda_rl.envs.tasks.suites import Suite, load_suite
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.knobs import LAM, Knob
from lambda_rl.observation import KAPPA_FEATURES, feature_table

Observation = npt.NDArray[np.float32]


class CifarLambdaEnv(gym.Env[Observation, npt.NDArray[np.float32]]):
    """One training run of a small image classifier, whose regularization strength λ the agent moves.

    ## Description

    A network is trained from scratch on images. Its loss is ``cross entropy + λ · R(w)``. The run has K decisions
    (``Task.decisions``; 15 or 20 in the built-in suites); after each, λ is held for an interval of optimizer steps.
    What network, data, optimizer, penalty, number of images and so on: that is the *task*, drawn anew at each reset
    from a *suite*. A good policy reads off a run whether it overfits and moves λ so that the network generalizes best
    at the run's end.

    ## Action space

    ``Box(-1, 1, (A,), float32)``. A is 1, and one more for each knob that is moved beside λ (``knobs=``), in their
    order.

    | no. | name | meaning | min | max |
    | --- | --- | --- | --- | --- |
    | 0 | `lam` | change of log₁₀ λ, in units of ``control.max_change`` (0.5 decades) | -1 | 1 |

    λ stays within ``control``'s range (10⁻⁵ to 10^0.5). What lies beyond ±1 counts as ±1; a NaN holds λ.

    ## Observation space

    ``Box(-5, 5, (F,), float32)``: the features below, or those that ``features=`` names, in its order. They are causal
    and scale-free, so that a policy carries over to other networks and data. C is the number of classes. Each is
    clipped to ±5 and finite whatever the run does; min and max are those of a sound run.

    {features}

    Each knob beside λ adds ``<name>:position`` and ``<name>:change``, which are to it what `log_lam` and
    `delta_log_lam` are to λ.

    Losses and accuracies of training are means over the interval's minibatches, without the penalty; those of
    validation are taken at its end. Before the first decision nothing has been measured: losses and accuracies stand
    at what guessing gets, changes at 0.

    ## The decay budget as unit

    With ``unit="kappa"`` the first action moves log₁₀ of κ = λ · Σ learning rate over the run
    (:class:`lambda_rl.RunFacts` says which), in units of 0.5 decades, within 10⁻² to 10^2.2; λ follows from it. κ is
    by how many e-foldings decay alone would shrink the weights, so that one range serves runs of all learning rates,
    optimizers and lengths. Observed are then the features below. Divide all weights by c: if the run is kept the same
    by a learning rate over c² and a λ times c² (SGD), or a learning rate over c and a λ times c (AdamW), none of them
    changes.

    {kappa_features}

    ## Rewards

    The change of a score on held-out reward images (``outer-val``), ``accuracy - min(loss / log C, 2)``, times 5. It
    is taken on 500 of them, and after the last decision on all (see :class:`~lambda_rl.envs.reward.RewardConfig`). The
    rewards of an episode sum up to the final score minus that of guessing, times 5; use γ = 1. Test images are out of
    reach: no environment ever holds one.

    ## Starting state

    Initial weights, subset, label noise, minibatches and augmentation come from the task's seed alone. λ starts at
    ``Task.initial_lam`` (or ``initial_kappa``), within ``control``'s range, other knobs at their neutral value; the
    first action moves them before anything is trained. ``reset(seed=…)`` seeds the drawing of tasks;
    ``reset(options={{"task": Task(…)}})`` starts a given one.

    ## Episode end

    *Terminated* after the last decision (progress is observed, so the end is part of the task), or when a loss or
    weight is no longer finite: the reward then brings the score down to that of guessing. Never *truncated*.

    ## Information

    ``reset`` tells ``task`` (its name) and ``log_lam``; ``step`` tells ``log_lam``, ``train_loss``, ``val_loss``,
    ``outer_loss`` (nats), ``train_accuracy``, ``val_accuracy``, ``outer_accuracy`` (fractions) and ``diverged``.
    ``log_lam`` is that of the interval that has ended.

    ## Arguments

    ```python
    import gymnasium as gym

    env = gym.make("lambda_rl.envs:LambdaRL/CifarLambda-v0")  # tasks of the suite quick, on synthetic images
    env = gym.make("lambda_rl.envs:LambdaRL/CifarLambda-v0", suite="cifar-mlp", data="cifar10", device="cuda")
    ```

    All are listed at the end.

    ## Vectorized environment

    ```python
    envs = gym.make_vec("lambda_rl.envs:LambdaRL/CifarLambda-v0", num_envs=16, suite="quick", threads=2)
    ```

    gives :class:`~lambda_rl.envs.vector_env.CifarLambdaVectorEnv`, in which runs alike are trained as one network with
    N groups. With ``vectorization_mode="sync"`` there are N environments side by side, which is slower.

    ## Version history

    * v0: the first.

    Args:
        suite: name, YAML file or :class:`~lambda_rl.envs.tasks.suites.Suite` that ``reset`` draws tasks from.
        data: of tasks that name no data set of their own: ``synthetic``, ``cifar10``, ``folder:PATH``, … or images;
            only training images are ever loaded.
        control: range of λ (or κ) and largest change; None: as above.
        reward: what is rewarded; None: as above.
        device: ``cpu``, ``cuda``, … (see :class:`~lambda_rl.envs.training.placement.TrainerConfig`).
        precision: number format of the inner training.
        threads: chunks trained at once; one run is one chunk.
        render_mode: ``rgb_array``: :meth:`render` draws the run so far.
        knobs: moved beside λ: names of :data:`lambda_rl.knobs.KNOBS`, or knobs with ranges of their own; λ itself may
            be named first, by its penalty, such as ``l2``.
        features: names of what is observed; None: those above.
        unit: what the first action moves, ``lam`` or ``kappa``, see "The decay budget as unit".

    Raises:
        ValueError: there is no such suite, data, unit, knob, feature or render mode, or a task wants more images than
            there are.
    """

    metadata: dict[str, Any] = {"render_modes": RENDER_MODES, "render_fps": 4}  # noqa: RUF012 (as in the base)

    def __init__(  # noqa: PLR0913 - keywords of gymnasium.make
        self,
        suite: str | Suite = "quick",
        data: str | Images = "synthetic",
        control: ControlLaw | None = None,
        reward: RewardConfig | None = None,
        device: str = "cpu",
        precision: str = "auto",
        threads: int = 1,
        render_mode: str | None = None,
        knobs: Sequence[str | Knob] = (),
        features: Sequence[str] | None = None,
        unit: str = LAM,
    ) -> None:
        self.render_mode = checked_render_mode(render_mode)
        self.suite = suite if isinstance(suite, Suite) else load_suite(suite)
        config = TrainerConfig(device, precision, threads)
        self._core = controlled_runs(
            1, config, self.suite, data, reward, Steering(unit, control, knobs, features)
        )
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
    features=feature_table().replace("\n", "\n    "),
    kappa_features=feature_table(KAPPA_FEATURES).replace("\n", "\n    "),
)
