"""The warm start: an actor learns, on states of its own, to choose the κ that costs least.

As in DAgger (Ross et al. 2011, arXiv:1011.0686) the states are those that the actor itself comes to, and an expert says
what would have been right there. The expert is the regret curve of constants on the same task: not one κ that is best,
but what each κ costs, so that an actor which cannot know yet chooses what costs least on average, and keeps away from
the cliff behind which a network no longer learns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lambda_rl.agents.warm_start.actor import TorchActor
from lambda_rl.agents.warm_start.curves import LOG_KAPPAS, best_log_kappa, regret_at, regret_curve
from lambda_rl.agents.warm_start.episodes import Episodes

STATIC = ("log_num_train", "log_num_params", "log_epochs", "log_val_size", "adaptive", "normalised")
"""Features that are facts of a run, which a user may not tell."""

MATTERS = 1.0
"""Points between the best constant and no penalty, or a κ of some 5, above which λ matters on a task."""


@dataclass(frozen=True)
class ImitationConfig:
    """How the actor is trained on what was played.

    Attributes:
        learning_rate: AdamW's at the start; it falls to a tenth along a cosine.
        weight_decay: AdamW's: some thousand tasks are few, and a smaller actor's choices are better on others.
        batch_size: states in a minibatch.
        steps: minibatches after each round.
        cap: points; a regret above it counts as the cap plus a tenth of the rest.
        matter_share: share of the weight that tasks have on which λ matters.
        hide: chance that the facts of a run are hidden from the actor, each minibatch anew.
        move_cost: points per squared action, so that κ does not wander where it does not matter.
        constants_share: weight of states on the way of constants, compared with those on the actor's own.
        evenness: 1: each half decade of the best κ has the same weight; 0: as many as there are tasks in it.
        caution: how much more a point counts that is lost against no penalty than one that is not won: a user who is
            left worse off than without us has been harmed.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 1.0
    batch_size: int = 2048
    steps: int = 150
    cap: float = 20.0
    matter_share: float = 0.7
    hide: float = 0.25
    move_cost: float = 0.02
    constants_share: float = 0.3
    evenness: float = 1.0
    caution: float = 0.0


@dataclass(frozen=True)
class States:
    """States to be fitted to, laid out once for any number of minibatches.

    Attributes:
        observations: ``[S, F]``.
        log_kappa: log₁₀ κ in force ``[S]``.
        task: number of each one's task ``[S]``.
        ladder: sums of the weights up to each one, float64 ``[S]``.
        curves: capped regret of the tasks ``[T, G]``.
        max_change: decades that an action of 1 moves κ by.
        config: how actors are fitted.
    """

    observations: Tensor
    log_kappa: Tensor
    task: Tensor
    ladder: Tensor
    curves: Tensor
    max_change: float
    config: ImitationConfig


def cosine(share: float, floor: float) -> float:
    """Half a cosine from 1 to ``floor``, at a share of the way."""
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * share))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives all groups a learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


class Experience:
    """All states so far, each with the curve of its task.

    Args:
        max_change: decades that an action of 1 moves κ by.
        config: see there.
    """

    def __init__(self, max_change: float, config: ImitationConfig) -> None:
        self.config, self.max_change = config, max_change
        self._observations: list[npt.NDArray[np.float32]] = []
        self._log_kappa: list[npt.NDArray[np.float32]] = []
        self._weight: list[npt.NDArray[np.float32]] = []
        self._task: list[npt.NDArray[np.int64]] = []
        self._curves: list[npt.NDArray[np.float64]] = []

    def __len__(self) -> int:
        """How many tasks."""
        return len(self._curves)

    @property
    def curves(self) -> npt.NDArray[np.float64]:
        """Regret ``[tasks, G]``."""
        return np.stack(self._curves)

    def add(self, played: Episodes) -> None:
        """Takes in the episodes of a task."""
        first = played.hold_from
        last = played.task.decisions if first == 0 else min(first + 3, played.task.decisions)
        own, alive = slice(played.constants, None), played.alive[first:last]
        parts = (
            [(own, 1.0)] if first else [(own, 1.0), (slice(0, played.constants), self.config.constants_share)]
        )
        for which, weight in parts:
            sound = alive[:, which]
            states = played.observations[first:last, which][sound]
            self._observations.append(states)
            self._log_kappa.append(played.log_kappa[first:last, which][sound].astype(np.float32))
            self._weight.append(np.full(len(states), weight / max(len(states), 1), np.float32))
            self._task.append(np.full(len(states), len(self._curves)))
        self._curves.append(regret_curve(played.curve))

    def task_weights(self, config: ImitationConfig | None = None) -> npt.NDArray[np.float64]:
        """Weight of each task: those where λ matters share theirs among the half decades of the best κ.

        Args:
            config: says how; None: the experience's own.
        """
        config = config or self.config
        curves = self.curves
        # Between no penalty, the best, and a κ of 7: what a user could well have taken.
        span = curves[:, : LOG_KAPPAS.index(0.85) + 1].max(1)
        matters = span > MATTERS
        bins = np.digitize(best_log_kappa(curves), np.arange(-1.0, 2.0, 0.5))
        weight = np.ones(len(curves))
        for number in np.unique(bins[matters]):
            members = matters & (bins == number)
            weight[members] = 1.0 / max(members.sum(), 0.03 * matters.sum()) ** config.evenness
        if matters.any() and not matters.all():
            weight[matters] *= config.matter_share / weight[matters].sum()
            weight[~matters] *= (1 - config.matter_share) / weight[~matters].sum()
        return np.asarray(weight / weight.mean())

    def states(self, config: ImitationConfig | None = None) -> States:
        """All states, as an actor is fitted to them.

        Args:
            config: says how; None: the experience's own.
        """
        config = config or self.config
        curves, cap = torch.from_numpy(self.curves).float(), config.cap
        curves = curves + config.caution * (curves - curves[:, :1]).clamp_min(0.0)
        capped = torch.where(curves > cap, cap + 0.1 * (curves - cap), curves)
        task = torch.from_numpy(np.concatenate(self._task))
        weight = (
            torch.from_numpy(np.concatenate(self._weight))
            * torch.from_numpy(self.task_weights(config)).float()[task]
        )
        return States(
            torch.from_numpy(np.concatenate(self._observations)),
            torch.from_numpy(np.concatenate(self._log_kappa)),
            task,
            weight.double().cumsum(0),
            capped,
            self.max_change,
            config,
        )

    def extend(self, state: dict[str, list[Tensor]]) -> None:
        """Takes in what another one had when :meth:`state_dict` was called, as further tasks."""
        before = len(self)
        for name, parts in state.items():
            added = [part.numpy() + (before if name == "task" else 0) for part in parts]
            getattr(self, f"_{name}").extend(added)

    def state_dict(self) -> dict[str, list[Tensor]]:
        """All that was taken in."""
        return {
            name: [torch.from_numpy(part) for part in getattr(self, f"_{name}")]
            for name in ("observations", "log_kappa", "weight", "task", "curves")
        }

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        """Takes back what :meth:`state_dict` gave."""
        for name, parts in state.items():
            setattr(self, f"_{name}", [part.numpy() for part in parts])


def fit(
    actor: TorchActor,
    optimizer: torch.optim.Optimizer,
    states: States,
    features: Sequence[str],
    generator: torch.Generator,
    steps: int,
) -> float:
    """Trains the actor on states for some minibatches; the mean regret of what it chose, in points.

    The κ that is judged is the one that the action asks for, beyond what one decision may change too: the actor aims,
    and the control law takes it there step by step.
    """
    config, ladder = states.config, states.ladder
    static = torch.tensor([name in STATIC for name in features])
    usual, total = actor.mean.float(), 0.0
    for _ in range(steps):
        drawn = torch.rand(config.batch_size, generator=generator, dtype=torch.float64) * ladder[-1]
        index = torch.searchsorted(ladder, drawn).clamp_max(len(ladder) - 1)
        seen = states.observations[index]
        hidden = torch.rand(len(seen), 1, generator=generator) < config.hide
        seen = torch.where(hidden & static, usual, seen)
        action = actor(seen)
        chosen = states.log_kappa[index] + states.max_change * action
        regret = regret_at(states.curves[states.task[index]], chosen)
        beyond = (LOG_KAPPAS[0] - chosen).clamp_min(0) + (chosen - LOG_KAPPAS[-1]).clamp_min(0)
        loss = (regret + config.move_cost * action.square() + beyond).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(actor.parameters(), 1.0)
        optimizer.step()
        total += float(regret.detach().mean())
    return total / max(steps, 1)
