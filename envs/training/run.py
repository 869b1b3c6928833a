"""One inner run: its data, its network and how far it is."""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lambda_rl.envs.networks import Network, NetworkSpec, Params, make_network
from lambda_rl.envs.optimizers import OPTIMIZERS
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.resident import EvaluationSet
from lambda_rl.observation import RunFacts


@dataclass(eq=False)
class InnerRun:
    """The state of one inner run.

    Attributes:
        task: what is trained.
        network: its architecture.
        facts: what is known before it starts.
        params: of one network, without a leading N.
        buffers: batch norm's running statistics.
        optimizer: the optimizer's tensors, by name and parameter.
        order: int64 ``[steps, batch_size]``, the images of every minibatch.
        labels: int64 ``[steps, batch_size]``, their labels, noise included.
        learning_rates: float64 ``[steps + 1]`` on the CPU; the last entry is the rate after the last step.
        val_index: int64 ``[val_size]``.
        val: those images, normalised.
        outer_index: int64, the images of ``outer-val`` that the score is taken on at each decision but the last.
        outer: those images, normalised.
        augmentation: generator of crops and flips.
        noise: generator of what knobs beside λ draw: which units are dropped.
        start_measures: norm of the penalised weights and R of them, before the first step.
        step: optimizer steps done.
        decision: intervals done.
        seat: the stack whose memory its tensors are views of, and its place there; None: they are its own. They are
            to be changed in place.
    """

    task: Task
    network: Network
    facts: RunFacts
    params: Params
    buffers: Params
    optimizer: dict[str, Params]
    order: Tensor
    labels: Tensor
    learning_rates: Tensor
    val_index: Tensor
    val: EvaluationSet
    outer_index: Tensor
    outer: EvaluationSet
    augmentation: torch.Generator
    noise: torch.Generator
    start_measures: tuple[float, float]
    step: int = 0
    decision: int = 0
    seat: tuple[object, int] | None = None

    def leave(self) -> None:
        """Copies its tensors into memory of its own."""
        self.params, self.buffers = _cloned(self.params), _cloned(self.buffers)
        self.optimizer = {kind: _cloned(tensors) for kind, tensors in self.optimizer.items()}
        self.val, self.outer = (
            EvaluationSet(part.inputs.clone(), part.labels.clone()) for part in (self.val, self.outer)
        )
        self.order, self.labels = self.order.clone(), self.labels.clone()
        self.seat = None

    @functools.cached_property
    def _rates(self) -> npt.NDArray[np.float64]:
        return self.learning_rates.numpy()

    @functools.cached_property
    def _told_steps(self) -> float:
        return self.task.told_steps

    @functools.cached_property
    def kind(self) -> tuple[object, ...]:
        """See :attr:`Task.group_key`."""
        return self.task.group_key

    @property
    def interval(self) -> int:
        """Steps in the next interval."""
        return self.task.boundary(self.decision + 1) - self.step

    @property
    def finished(self) -> bool:
        """Whether all decisions are done."""
        return self.decision >= self.task.decisions

    @property
    def progress(self) -> float:
        """Share of the steps that are done, as schedules are told."""
        return min(1.0, self.step / self._told_steps)

    @property
    def lr_ratio(self) -> float:
        """Learning rate of the next step over the task's, which is the largest."""
        return float(self._rates[self.step]) / self.task.learning_rate

    def state_dict(self) -> dict[str, Any]:
        """What cannot be made again from the task: plain values and tensors."""
        return {
            "task": dataclasses.asdict(self.task),
            "step": self.step,
            "decision": self.decision,
            "params": _cloned(self.params, "cpu"),
            "buffers": _cloned(self.buffers, "cpu"),
            "optimizer": {kind: _cloned(tensors, "cpu") for kind, tensors in self.optimizer.items()},
            "augmentation": self.augmentation.get_state(),
            "noise": self.noise.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what :meth:`state_dict` gave, into a run made from the same task."""
        self.step, self.decision = int(state["step"]), int(state["decision"])
        groups = [(self.params, state["params"]), (self.buffers, state["buffers"])]
        groups += [(tensors, state["optimizer"][kind]) for kind, tensors in self.optimizer.items()]
        for tensors, saved in groups:
            for name, value in tensors.items():
                value.copy_(saved[name])
        self.augmentation.set_state(state["augmentation"])
        if "noise" in state:  # states of before had none, and drew none
            self.noise.set_state(state["noise"])


def _cloned(params: Params, device: str | None = None) -> Params:
    """With memory of their own, there or where they are."""
    return {name: value.detach().to(device or value.device, copy=True) for name, value in params.items()}


def learning_rates(task: Task) -> Tensor:
    """Learning rate of each step and of the end, float64 ``[steps + 1]``."""
    share = torch.arange(task.steps + 1, dtype=torch.float64) / task.steps
    if task.lr_schedule == "cosine":
        factor = 0.5 * (1 + torch.cos(math.pi * share))
    elif task.lr_schedule == "linear":
        factor = 1 - share
    elif task.lr_schedule == "exponential":
        factor = 0.01**share
    elif task.lr_schedule == "step":
        every = task.lr_decay_every or max(task.train_size // task.batch_size, 1)
        factor = task.lr_decay ** (torch.arange(task.steps + 1) // every).double()
    else:
        factor = torch.ones_like(share)
    rising = round(task.warmup * task.steps)
    if rising:
        factor = factor * ((torch.arange(task.steps + 1) + 1).double() / rising).clamp_max(1.0)
    return task.learning_rate * factor


def network_of(task: Task, num_classes: int, channels: int = 3) -> Network:
    """The network that a task trains, see :func:`~lambda_rl.envs.networks.make_network`.

    Args:
        task: its name, width, resolution and options.
        num_classes: of the data.
        channels: of its images.
    """
    return make_network(
        NetworkSpec(task.network, task.width, task.resolution, channels, num_classes, task.network_options)
    )


def run_facts(task: Task, network: Network, rates: Tensor | None = None) -> RunFacts:
    """The static facts that schedules may know.

    Args:
        task: what is trained.
        network: its architecture.
        rates: its :func:`learning_rates`, if they are there already.
    """
    nominal = task.learning_rate * task.steps
    rates = learning_rates(task) if rates is None else rates
    lr_sum = nominal if task.lr_told == "nominal" else float(rates[:-1].sum())
    optimizer = OPTIMIZERS[task.optimizer]
    return RunFacts(
        num_train=task.train_size,
        num_params=network.num_penalised,
        val_size=task.val_size,
        num_classes=network.num_classes,
        epochs=task.told_steps * task.batch_size / task.train_size,
        lr_sum=optimizer.effective_lr_sum(lr_sum * task.horizon, task.momentum, task.decay),
        adaptive=optimizer.adaptive,
        normalised=network.normalised,
        pull=optimizer.pull(task.decay),
    )


def start_lam(task: Task, facts: RunFacts) -> float:
    """The λ that schedules start from: ``initial_lam``, or what ``initial_kappa`` makes of the facts."""
    return task.initial_kappa / facts.decay_sum if task.initial_kappa else task.initial_lam


def start_log_lam(task: Task, facts: RunFacts) -> float:
    """log₁₀ of :func:`start_lam`."""
    return math.log10(start_lam(task, facts))
