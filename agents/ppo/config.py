"""All options of a training run, as dataclasses: they are the command line, ``config.yaml`` and the presets."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from lambda_rl.agents.options import (
    MOST,
    ClusterOptions,
    ComputeOptions,
    DataOptions,
    SuiteName,
    TrackingOptions,
    check_run_name,
)
from lambda_rl.checks import bounded, bounded_int
from lambda_rl.control import ControlLaw, law_of
from lambda_rl.envs.reward import RewardConfig
from lambda_rl.envs.tasks.suites import suite_names


@dataclass(frozen=True)
class PPOConfig:
    """Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347).

    Attributes:
        n_envs: inner runs trained side by side.
        n_steps: decisions per slot in a rollout; a rollout has n_envs x n_steps decisions.
        n_epochs: passes over a rollout.
        batch_size: decisions in a minibatch.
        learning_rate: Adam's, at the start.
        final_learning_rate: its share that is left at the end; it falls linearly.
        gamma: discount; 1, since the rewards of an episode sum to its final score.
        gae_lambda: of generalised advantage estimation (Schulman et al. 2016, arXiv:1506.02438).
        clip_range: of the probability ratio.
        ent_coef: weight of the entropy bonus.
        vf_coef: weight of the value loss.
        max_grad_norm: gradients are clipped to this norm.
        hidden: units of the actor's and of the critic's hidden layers (tanh).
        log_std_init: log of the exploration noise at the start.
        clip_obs: observations are clipped to this many standard deviations.
        clip_reward: normalised rewards are clipped to this.
    """

    n_envs: int = 16
    n_steps: int = 120
    n_epochs: int = 10
    batch_size: int = 480
    learning_rate: float = 1e-3
    final_learning_rate: float = 0.0
    gamma: float = 1.0
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    hidden: tuple[int, ...] = (64, 64)
    log_std_init: float = -0.7
    clip_obs: float = 10.0
    clip_reward: float = 10.0

    def __post_init__(self) -> None:
        """Checks every number."""
        for name, least in (("n_envs", 1), ("n_steps", 1), ("n_epochs", 1), ("batch_size", 2)):
            bounded_int(f"ppo.{name}", getattr(self, name), least, MOST)
        if self.batch_size > self.rollout_size or self.rollout_size % self.batch_size:
            raise ValueError(
                f"ppo.batch_size={self.batch_size} must divide a rollout of n_envs x n_steps = "
                f"{self.n_envs} x {self.n_steps} = {self.rollout_size} decisions"
            )
        for name in ("learning_rate", "clip_range", "max_grad_norm", "clip_obs", "clip_reward"):
            bounded(f"ppo.{name}", getattr(self, name), 1e-12, 1e9)
        for name in ("gamma", "gae_lambda", "final_learning_rate"):
            bounded(f"ppo.{name}", getattr(self, name), 0.0, 1.0)
        if not self.hidden or any(units < 1 for units in self.hidden):
            raise ValueError(
                f"ppo.hidden must name at least one layer of at least 1 unit, got {self.hidden!r}"
            )

    @property
    def rollout_size(self) -> int:
        """Decisions in a rollout."""
        return self.n_envs * self.n_steps


@dataclass(frozen=True)
class TrainConfig(TrackingOptions, ClusterOptions, ComputeOptions, DataOptions):
    """A training run of an agent.

    Attributes:
        preset: named set of options to start from.
        name: name of the run and of its folder; empty: made from preset, seed and time.
        out: folder that run folders are made in.
        suite: training tasks, a built-in name (lambda-rl suites lists them) or a YAML file.
        validation_suite: tasks that the best policy is selected on; empty: <suite>-validation if there is one, else
            the suite itself.
        total_decisions: decisions in all, rounded up to whole rollouts.
        seed: of the agent and of the sequence of tasks.
        eval_every: rollouts between two validations; 0: never, and the last policy is kept.
        eval_seeds: seeds per validation task.
        checkpoint_every: rollouts between two checkpoints.
        ppo: the algorithm.
        unit: what the first action moves: λ, or the decay budget κ, from which λ follows.
        control: how an action moves λ, or κ, whose own range is taken where this one is left as that of λ.
        knobs: names of knobs that are moved beside λ.
        features: names of what the agent observes; by default those of the unit.
        reward: the score that is learned on.
        ray_workers: processes of the cluster that hold the slots, of one core each; 0: one for each of its cores.
    """

    # Of files that are read: no value is taken for one of another type.
    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "strict": True,
        "extra": "forbid",
        "allow_inf_nan": False,
    }

    preset: str = "quick"
    name: str = ""
    out: str = "runs"
    suite: SuiteName = "quick"
    validation_suite: SuiteName = ""
    total_decisions: int = 38_400
    seed: int = 0
    wandb: Literal["online", "offline", "disabled"] = "online"
    eval_every: int = 5
    eval_seeds: int = 1
    checkpoint_every: int = 1
    ppo: PPOConfig = field(default_factory=PPOConfig)
    unit: Literal["lam", "kappa"] = "lam"
    control: ControlLaw = field(default_factory=ControlLaw)
    knobs: tuple[str, ...] = ()
    features: tuple[str, ...] | None = None
    reward: RewardConfig = field(default_factory=RewardConfig)
    ray_workers: int = 0

    def __post_init__(self) -> None:
        """Checks every option that can be checked without reading anything."""
        self.check()
        if self.control == ControlLaw():
            object.__setattr__(self, "control", law_of(self.unit))
        for name, least in (
            ("total_decisions", 1),
            ("eval_seeds", 1),
            ("checkpoint_every", 1),
            ("eval_every", 0),
        ):
            bounded_int(name, getattr(self, name), least, MOST)
        bounded_int("ray_workers", self.ray_workers, 0, self.ppo.n_envs)
        if self.ray_workers and not self.ray:
            raise ValueError(
                "ray_workers are of a cluster, which --ray names; without one, --threads says how many cores"
            )
        self.check_cores(self.device)
        bounded_int("seed", self.seed, 0, 2**32 - 1)
        for name in ("suite", "data", "out"):
            if not getattr(self, name):
                raise ValueError(f"{name} must not be empty")
        check_run_name(self.name)

    def named(self) -> TrainConfig:
        """The same run with a name, made from preset, seed and time where none is given."""
        made = f"{self.preset}-seed{self.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
        return dataclasses.replace(self, name=self.name or made)

    def resolved(self, default_name: str) -> TrainConfig:
        """The same run with nothing left open.

        Args:
            default_name: the name where none is given.

        Raises:
            ValueError: the device is unknown or not there.
        """
        trainer = self.trainer
        return dataclasses.replace(
            self,
            name=self.name or default_name,
            validation_suite=self.validation_suite or default_validation_suite(self.suite),
            total_decisions=self.num_rollouts * self.ppo.rollout_size,
            device=trainer.device,
            threads=trainer.threads,
        )

    @property
    def num_rollouts(self) -> int:
        """Rollouts in the whole run."""
        return math.ceil(self.total_decisions / self.ppo.rollout_size)

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.out) / self.name


def default_validation_suite(suite: str) -> str:
    """``<suite>-validation`` if there is one, else the suite itself (a suite file is used with other seeds)."""
    name = f"{suite}-validation"
    return name if name in suite_names() else suite
