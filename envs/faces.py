"""What both Gymnasium environments share: what is asked of them, their spaces, what they tell and refuse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from lambda_rl.control import ControlLaw, law_of
from lambda_rl.envs.control_problem import ControlledRuns, Outcome
from lambda_rl.envs.data import Images, load_parts
from lambda_rl.envs.moved import check_knobs, check_penalty
from lambda_rl.envs.render import draw_run
from lambda_rl.envs.reward import RewardConfig
from lambda_rl.envs.tasks.suites import Suite
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.trainer import Trainer
from lambda_rl.knobs import LAM, Knob, further_knobs
from lambda_rl.observation import FEATURE_BOUND

Array = npt.NDArray[np.float64]

INFO_KEYS = (
    "log_lam", "train_loss", "val_loss", "train_accuracy", "val_accuracy", "outer_loss", "outer_accuracy", "diverged",
)  # fmt: skip
"""What a step tells besides the observation."""


RENDER_MODES = ["rgb_array"]


def checked_render_mode(mode: str | None) -> str | None:
    """The mode, if it is None or one of :data:`RENDER_MODES`."""
    if mode is not None and mode not in RENDER_MODES:
        raise ValueError(f"unknown render_mode {mode!r}; allowed are None and {', '.join(RENDER_MODES)}")
    return mode


@dataclass(frozen=True)
class Steering:
    """What is moved and what is observed, see :class:`~lambda_rl.envs.env.CifarLambdaEnv`.

    Attributes:
        unit: what the first action moves.
        control: its range and largest change; None: those of the unit.
        knobs: moved beside it.
        features: what is observed; None: those of the unit.
    """

    unit: str = LAM
    control: ControlLaw | None = None
    knobs: Sequence[str | Knob] = ()
    features: Sequence[str] | None = None


def controlled_runs(
    num_slots: int,
    config: TrainerConfig,
    suite: Suite,
    data: str | Images,
    reward: RewardConfig | None,
    steering: Steering,
) -> ControlledRuns:
    """Slots over the suite's fold of the training images; the test images are never loaded.

    Args:
        num_slots: N.
        config: how runs are computed.
        suite: see :class:`~lambda_rl.envs.env.CifarLambdaEnv`, as for all others.
        data: see there.
        reward: see there.
        steering: what is moved and observed.

    Raises:
        ValueError: there is no such data, unit, knob or feature, or a task wants more images than there are.
    """
    reward = reward or RewardConfig()
    control = steering.control or law_of(steering.unit)
    parts = load_parts("train", data, suite.datasets)
    trainer = Trainer(parts, suite.fold, config, outer_size=reward.outer_size, attacked=reward.attacked)
    knobs = further_knobs(steering.knobs)
    check_penalty(steering.knobs, suite.largest)
    for task in suite.largest:  # refused now, not when the first such task is drawn
        trainer.sources.check(task)
        check_knobs([knob.name for knob in knobs], task, trainer.network(task))
    return ControlledRuns(num_slots, trainer, control, reward, knobs, steering.features, steering.unit)


def observation_space(runs: ControlledRuns) -> spaces.Box:
    """The features that are observed, bounded and finite."""
    return spaces.Box(-FEATURE_BOUND, FEATURE_BOUND, (len(runs.observer.features),), np.float32)


def action_space(runs: ControlledRuns) -> spaces.Box:
    """A number in [-1, 1] for each knob, λ first: its change, in units of the largest one."""
    return spaces.Box(-1.0, 1.0, (1 + len(runs.knobs),), np.float32)


def step_info(outcome: Outcome) -> dict[str, npt.NDArray[Any]]:
    """What a step tells besides the observation, arrays of n slots; see :data:`INFO_KEYS`."""
    values = {key: getattr(outcome.measured, key) for key in INFO_KEYS[1:-1]}
    return {"log_lam": outcome.log_lam, **values, "diverged": outcome.diverged}


def check_options(options: dict[str, Any] | None, allowed: str) -> Any:
    """What ``reset(options=…)`` names, None if nothing.

    Raises:
        ValueError: another option than the one that there is, which would otherwise be ignored in silence.
    """
    unknown = sorted(set(options or {}) - {allowed})
    if unknown:
        raise ValueError(f"reset: unknown option {', '.join(map(repr, unknown))}; allowed is {allowed!r}")
    return (options or {}).get(allowed)


def real_actions(actions: npt.ArrayLike) -> Array:
    """Actions as real numbers.

    Raises:
        ValueError: they are complex, or no numbers.
    """
    array = np.asarray(actions)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"actions must be real numbers in [-1, 1], got an array of {array.dtype}")
    return array.astype(np.float64)


def draw_slot(runs: ControlledRuns, slot: int) -> npt.NDArray[np.uint8]:
    """A picture of the slot's run so far."""
    run = runs.run(slot)
    return draw_run(runs.history[slot], title=f"{run.task.name}, step {run.step} of {run.task.steps}")
