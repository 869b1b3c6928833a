"""The native vector environment: N inner runs trained as one network with N groups."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from lambda_rl.control import ControlLaw
from lambda_rl.envs.data import Images
from lambda_rl.envs.dealing import Dealer
from lambda_rl.envs.env import CifarLambdaEnv
from lambda_rl.envs.faces import (
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
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.knobs import LAM, Knob

Observations = npt.NDArray[np.float32]


def _masked(values: dict[str, npt.NDArray[Any]], mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Gymnasium's form of infos: the values where ``mask`` holds, zeros elsewhere, and the mask as ``_key``."""
    chosen = {key: np.where(mask, value, np.zeros_like(value)) for key, value in values.items()}
    return chosen | {f"_{key}": mask.copy() for key in values}


class CifarLambdaVectorEnv(VectorEnv[Observations, npt.NDArray[np.float32], npt.NDArray[Any]]):
    """N slots of :class:`CifarLambdaEnv` over one trainer, each with its own task, each reset on its own.

    What actions, observations and rewards are, how episodes start and end, and what infos tell: see there.

    Slot i of ``reset(seed=s)`` is, decision by decision, ``CifarLambdaEnv.reset(seed=s + i)``. Autoreset is
    ``SAME_STEP``: the step that ends an episode returns the next one's first observation, and the last observation
    and info of the old one in ``infos["final_obs"]`` and ``infos["final_info"]``.
    Infos are those of ``SyncVectorEnv``: arrays of N with a mask under ``_key``.

    Args:
        num_envs: N.
        suite: as for the single environment, and so the others.
        data: of tasks that name no data set of their own.
        control: range of λ and largest change.
        reward: what is rewarded.
        device: where the runs are trained.
        precision: number format of the inner training.
        threads: chunks of runs trained at once on a CPU.
        compile: compile the training step, see :class:`~lambda_rl.envs.training.trainer.TrainerConfig`.
        render_mode: ``rgb_array``: :meth:`render` gives one picture a slot.
        knobs: as for the single environment, and so the next.
        features: what is observed.
        unit: what the first action moves, ``lam`` or ``kappa``.
        copies: slots in a row that play the same tasks in the same order, each with seeds of its own; they fill a stack
            where tasks drawn by each slot would be unlike (:mod:`lambda_rl.envs.dealing`). With more than 1, slot i is
            no longer the single environment of seed ``s + i``.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (as in the base class)
        **CifarLambdaEnv.metadata,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(  # noqa: PLR0913 - keywords of gymnasium.make_vec
        self,
        num_envs: int = 1,
        *,
        suite: str | Suite = "quick",
        data: str | Images = "synthetic",
        control: ControlLaw | None = None,
        reward: RewardConfig | None = None,
        device: str = "cpu",
        precision: str = "auto",
        threads: int = 1,
        compile: bool = False,
        render_mode: str | None = None,
        knobs: Sequence[str | Knob] = (),
        features: Sequence[str] | None = None,
        unit: str = LAM,
        copies: int = 1,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        self.num_envs = num_envs
        self.render_mode = checked_render_mode(render_mode)
        self.suite = suite if isinstance(suite, Suite) else load_suite(suite)
        self._dealer = Dealer(self.suite, num_envs, copies)
        config = TrainerConfig(device, precision, threads, compile=compile)
        self._core = controlled_runs(
            num_envs, config, self.suite, data, reward, Steering(unit, control, knobs, features)
        )
        self.single_observation_space = observation_space(self._core)
        self.single_action_space = action_space(self._core)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._observations = np.zeros(self.observation_space.shape or (), np.float32)

    @property
    def control(self) -> ControlLaw:
        """The control law in force."""
        return self._core.control

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Draws a task for each slot and starts its run.

        Args:
            seed: slot i gets ``seed + i``; or one seed a slot.
            options: ``{"tasks": [Task, …]}`` starts those instead of drawn ones.
        """
        seeds: list[int | None]
        if seed is None or isinstance(seed, (int, np.integer)):
            seeds = [None if seed is None else int(seed) + i for i in range(self.num_envs)]
        else:
            seeds = [None if one is None else operator.index(one) for one in seed]
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds for {self.num_envs} environments")
        tasks = check_options(options, "tasks")
        if tasks is not None and len(tasks) != self.num_envs:
            raise ValueError(f"{len(tasks)} tasks for {self.num_envs} environments")
        self._dealer.seed(seeds)
        self._begin(range(self.num_envs), tasks)
        begun = np.ones(self.num_envs, np.bool_)
        return self._observations.copy(), self._begun(begun)

    def _begin(self, slots: Sequence[int], tasks: Sequence[Task] | None = None) -> None:
        if tasks is None:
            tasks = self._dealer.deal(slots)
        self._observations[slots] = self._core.begin(slots, tasks)

    def _begun(self, slots: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """What a reset tells of the slots that were reset."""
        names = [self._core.run(slot).task.name if slots[slot] else None for slot in range(self.num_envs)]
        task = np.array(names, dtype=object)
        return {"task": task, "_task": slots.copy(), **_masked({"log_lam": self._core.log_lam}, slots)}

    def step(
        self, actions: npt.NDArray[np.float32]
    ) -> tuple[Observations, npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], dict[str, Any]]:
        """Moves every λ, trains every run one interval, measures; finished slots begin a new run."""
        outcome = self._core.step(real_actions(actions))
        values, ended = step_info(outcome), outcome.terminated
        self._observations[:] = outcome.observation
        infos = _masked(values, ~ended)
        if ended.any():
            final = np.full(self.num_envs, None, dtype=object)
            for slot in np.flatnonzero(ended):
                final[slot] = outcome.observation[slot].copy()
            self._begin(np.flatnonzero(ended).tolist())
            infos |= {"final_obs": final, "_final_obs": ended.copy()}
            infos |= {"final_info": _masked(values, ended), "_final_info": ended.copy()}
            infos |= self._begun(ended)
        infos |= {"log_lam": self._core.log_lam.copy(), "_log_lam": np.ones(self.num_envs, np.bool_)}
        never = np.zeros(self.num_envs, np.bool_)
        return self._observations.copy(), outcome.reward, ended.copy(), never, infos

    def render(self) -> tuple[npt.NDArray[np.uint8], ...] | None:
        """One picture of the run so far for each slot."""
        if self.render_mode is None:
            return None
        return tuple(draw_slot(self._core, slot) for slot in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """Ends the trainer's threads."""
        self._core.trainer.close()

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on bit for bit; plain values and tensors, ``torch.load(weights_only=True)``."""
        return {
            "core": self._core.state_dict(),
            **self._dealer.state_dict(),
            "observations": self._observations.tolist(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what :meth:`state_dict` gave, into an environment made with the same arguments."""
        self._core.load_state_dict(state["core"])
        self._dealer.load_state_dict(state)
        self._observations[:] = state["observations"]
