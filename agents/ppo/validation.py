"""Validation of a policy in training, through the code that users deploy."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lambda_rl.agents.ppo.config import TrainConfig
from lambda_rl.agents.presenting.progress import many_runs
from lambda_rl.envs.data import Images
from lambda_rl.envs.judging import RunResult, ScheduleJob, run_schedules
from lambda_rl.envs.tasks.suites import load_suite
from lambda_rl.policy.actor import Policy
from lambda_rl.schedules.learned import LearnedSchedule
from lambda_rl.schedules.text_form import ScheduleFactory

FIRST_VALIDATION_SEED = 20_000
"""Added to the tasks' seeds: neither training (from 1,000,000), nor tuning (10,000), nor a comparison uses these."""


@dataclass(frozen=True)
class Validation:
    """What a policy came to on the validation tasks.

    Attributes:
        score: mean over runs of the reward's score on ``outer-val``, at the end of the run; this selects.
        results: mean ``outer_accuracy`` (fraction), ``outer_loss`` (nats), ``runs`` and ``diverged``.
        trajectories: a row per task (its first seed) and decision: ``task``, ``schedule``, ``progress``, ``log_lam``.
    """

    score: float
    results: dict[str, float]
    trajectories: list[dict[str, Any]]


class Validator:
    """Runs policies on the same tasks and seeds each time, so that their scores differ by the policy alone.

    Everything is cut from the agent's fold of the training images; test images are never loaded.

    Args:
        config: resolved options.
        data: training images.

    Raises:
        ValueError: the validation suite is unknown, or no list of tasks.
    """

    def __init__(self, config: TrainConfig, data: Images) -> None:
        suite = load_suite(config.validation_suite)
        listed = suite.listed("--validation-suite")
        self.data, self.reward = config.load_parts("train", suite.datasets, data), config.reward
        self.trainer = config.trainer
        self.labels: list[str] = []
        self.tasks = []
        for name, task in zip(suite.task_names, listed, strict=True):
            for offset in range(config.eval_seeds):
                self.labels.append(name)
                self.tasks.append(task.with_seed(FIRST_VALIDATION_SEED + task.seed + offset))

    def __call__(self, policy: Policy) -> Validation:
        """Runs the policy on all tasks and seeds."""
        make = functools.partial(LearnedSchedule, policy=policy, lam_meaning=_meaning(policy))
        done = self._run([make])
        accuracy = np.array([result.outer_accuracy for result in done])
        loss = np.array([result.outer_loss for result in done])
        rows = []
        for i, (label, result) in enumerate(zip(self.labels, done, strict=True)):
            if label in self.labels[:i]:
                continue
            history = result.history
            rows += [
                {"task": label, "schedule": "learned", "progress": progress, "log_lam": log_lam}
                for progress, log_lam in zip(history["progress"], history["log_lam"], strict=True)
            ]
        results = {
            "outer_accuracy": float(accuracy.mean()),
            "outer_loss": float(loss.mean()),
            "runs": float(len(done)),
            "diverged": float(sum(result.diverged for result in done)),
        }
        return Validation(float(self._scores(done).mean()), results, rows)

    def best_constant(self, policy: Policy) -> float:
        """The score of the best constant among powers of ten within the range of a policy's first knob.

        What is played is the policy itself with an action of 0, from each of them: a constant λ, or κ, whichever it is
        that the policy moves.
        """
        knob, *_ = policy.card.knobs
        logs = range(math.ceil(knob.log_low), math.floor(knob.log_high) + 1)
        makes = [functools.partial(_held, policy, 10.0**log) for log in logs]
        return float(self._scores(self._run(makes)).reshape(len(makes), -1).mean(1).max())

    def _run(self, makes: Sequence[ScheduleFactory]) -> list[RunResult]:
        """Each schedule on all tasks and seeds."""
        jobs = [ScheduleJob(task, "learned", make) for make in makes for task in self.tasks]
        with many_runs():
            return run_schedules(jobs, self.data, "agent", config=self.trainer, attacked=self.reward.attacked)

    def _scores(self, done: Sequence[RunResult]) -> npt.NDArray[np.float64]:
        """The reward's score of each run."""
        accuracy, loss = (
            np.array([getattr(run, key) for run in done]) for key in ("outer_accuracy", "outer_loss")
        )
        classes = [self.data[task.data].num_classes for task in self.tasks]
        return self.reward.score(accuracy, loss, classes * (len(done) // len(self.tasks)))


def _held(policy: Policy, value: float, **said: Any) -> LearnedSchedule:
    """A schedule that holds the first knob of a policy at a value."""
    *layers, (weight, bias) = policy.layers
    still = Policy(
        obs_mean=policy.obs_mean,
        obs_var=policy.obs_var,
        layers=[*layers, (np.zeros_like(weight), np.zeros_like(bias))],
        clip_obs=policy.clip_obs,
        epsilon=policy.epsilon,
        card=dataclasses.replace(policy.card, initial=(value, *policy.card.initial[1:])),
    )
    return LearnedSchedule(policy=still, **{**said, "initial_lam": None, "lam_meaning": _meaning(policy)})


def _meaning(policy: Policy) -> str | None:
    """As in training, λ is used as the task means it, unconverted."""
    return None if policy.card.lam_meaning == "any" else policy.card.lam_meaning
