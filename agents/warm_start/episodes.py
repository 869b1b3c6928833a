"""Episodes of one task, side by side: constants of κ that say what each κ costs, and copies of the policy.

All runs of a task begin with the same weights and see the same minibatches (common random numbers), so that what they
end with differs by κ alone. They are alike in shape, hence one stack.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lambda_rl.agents.warm_start.curves import LOG_KAPPAS
from lambda_rl.control import ControlLaw
from lambda_rl.envs.control_problem import ControlledRuns
from lambda_rl.envs.reward import RewardConfig
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.trainer import Trainer
from lambda_rl.knobs import KAPPA
from lambda_rl.observation import RunFacts
from lambda_rl.schedules.guard import OPENING, Guards

Array = npt.NDArray[np.float64]
Observations = npt.NDArray[np.float32]

Actor = Callable[[Observations], Array]
"""From observations ``[n, F]`` to actions ``[n]``, not clipped."""


@dataclass(frozen=True)
class Exploration:
    """How copies of the policy leave its way, each in its own.

    Attributes:
        copies: of the policy; the first one follows it exactly.
        offset: deviation of what is added to all actions of a copy.
        noise: deviation of what is added to each action.
        memory: of the noise from one decision to the next, 0 to below 1.
    """

    copies: int = 4
    offset: float = 0.3
    noise: float = 0.4
    memory: float = 0.7

    def draw(self, decisions: int, rng: np.random.Generator) -> Array:
        """What is added to the actions, ``[decisions, copies]``."""
        drawn = np.zeros((decisions, self.copies))
        state = rng.normal(size=self.copies)
        for k in range(decisions):
            fresh = rng.normal(size=self.copies)
            state = self.memory * state + np.sqrt(1 - self.memory**2) * fresh
            drawn[k] = state
        drawn = self.noise * drawn + self.offset * rng.normal(size=self.copies)
        drawn[:, :1] = 0.0
        return drawn


@dataclass
class Episodes:
    """What the runs of one task came to: G constants, then the copies of the policy; n runs in all.

    Attributes:
        task: what was trained.
        observations: before each decision, ``[K, n, F]``.
        log_kappa: log₁₀ κ in force before each decision, ``[K, n]``.
        actions: what moved it, ``[K, n]``, noise included and not clipped; 0 for constants. The guard may have bounded
            what came of them.
        alive: whether the run was sound before the decision, ``[K, n]``.
        accuracy: on all of ``outer-val`` at the end, ``[n]``; of a run that diverged that of guessing.
        loss: likewise, over log C; of guessing 1.
        constants: G.
        hold_from: the decision from which on these were held.
        facts: of the runs.
    """

    task: Task
    facts: RunFacts
    observations: Observations
    log_kappa: Array
    actions: Array
    alive: npt.NDArray[np.bool_]
    accuracy: Array
    loss: Array
    constants: int = len(LOG_KAPPAS)
    hold_from: int = 0

    @property
    def curve(self) -> Array:
        """Final accuracies of the constants."""
        return self.accuracy[: self.constants]


def landscape(played: Episodes) -> dict[str, Any]:
    """A task's facts, and what each constant came to there: a row of a table."""
    task, facts = played.task, played.facts
    return {
        "data": ":".join(task.data.split(":")[:3]) or "images",
        "network": f"{task.network}{task.width}" + "".join(f"-{value}" for _, value in task.network_options),
        "optimizer": f"{task.optimizer}-{task.decay}",
        "label_noise": task.label_noise,
        "num_train": facts.num_train,
        "num_params": facts.num_params,
        "epochs": round(facts.epochs, 3),
        "adaptive": facts.adaptive,
        "normalised": facts.normalised,
        **{
            f"accuracy_{log:g}": round(float(value), 4)
            for log, value in zip(LOG_KAPPAS, played.curve, strict=True)
        },
    }


def play(
    task: Task,
    trainer: Trainer,
    control: ControlLaw,
    features: tuple[str, ...],
    actor: Actor,
    added: Array,
    constants: tuple[float, ...] = LOG_KAPPAS,
    hold_from: int = 0,
) -> Episodes:
    """Trains constants of κ and copies of the policy on one task.

    Args:
        task: what is trained.
        trainer: on the agent's fold.
        control: from action to log₁₀ κ.
        features: names of what the actor observes.
        actor: the policy.
        added: to its actions, ``[K, copies]``.
        constants: log₁₀ κ of each; may be none.
        hold_from: the decision from which on they are held; before it they follow the policy, so that their curve says
            what each κ costs from there on.
    """
    fixed, count = len(constants), len(constants) + added.shape[1]
    runs = ControlledRuns(count, trainer, control, RewardConfig(), features=features, unit=KAPPA)
    observation = runs.begin(range(count), [task] * count)
    log_kappa = runs.log_lam + runs.offset
    if not hold_from:
        log_kappa[:fixed] = constants
    steps = task.decisions
    seen = np.zeros((steps, *observation.shape), np.float32)
    before, moves = np.zeros((steps, count)), np.zeros((steps, count))
    alive, chance = np.ones((steps, count), np.bool_), 1.0 / runs.run(0).network.num_classes
    accuracy, loss, sound = np.full(count, chance), np.ones(count), np.ones(count, np.bool_)
    guarded = range(0 if hold_from else fixed, count)
    guards = Guards({i: (runs.run(i).facts, runs.start_measures[i][0]) for i in guarded})
    for k in range(steps):
        seen[k], before[k], alive[k] = observation, log_kappa, sound
        moves[k] = actor(observation) + np.concatenate([np.zeros(fixed), added[k]])
        asked = control.apply(log_kappa, moves[k])
        log_kappa = control.clip(guards.within(asked - runs.offset) + runs.offset)
        free = fixed if k >= hold_from else 0
        moves[k, :free], log_kappa[:free] = 0.0, constants[:free]
        slots = np.flatnonzero(sound)
        held = runs.hold((log_kappa - runs.offset)[slots], slots)
        if k < OPENING:  # as deployed: a bound does not last then
            log_kappa[free:] = control.clip(asked)[free:]
        signals = dataclasses.replace(held.signals, log_lam=(log_kappa - runs.offset)[slots])
        observation = observation.copy()
        observation[slots] = runs.observer.observe(signals, slots)
        guards.see(signals, slots)
        sound = sound.copy()
        sound[slots[held.diverged]] = False
        if k == steps - 1:
            fine = slots[~held.diverged]
            accuracy[fine] = held.measured.outer_accuracy[~held.diverged]
            loss[fine] = held.measured.outer_loss[~held.diverged] / np.log(1 / chance)
        if not sound.any():
            break
    return Episodes(task, runs.run(0).facts, seen, before, moves, alive, accuracy, loss, fixed, hold_from)
