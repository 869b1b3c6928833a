"""One inner run: its data, its network and how far it is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lambda_rl.envs.networks import Network, NetworkSpec, Params, make_network
from lambda_rl.envs.optimizers import OPTIMIZERS
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.resident import EvaluationSet, Reading
from lambda_rl.envs.training.source import Source
from lambda_rl.observation import RunFacts

_FOLD_NUMBER = {"agent": 0, "held-out": 1}


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
        self.seat = None

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
        return min(1.0, self.step / self.task.told_steps)

    @property
    def lr_ratio(self) -> float:
        """Learning rate of the next step over the task's, which is the largest."""
        return float(self.learning_rates[self.step] / self.task.learning_rate)

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


def run_facts(task: Task, network: Network) -> RunFacts:
    """The static facts that schedules may know."""
    nominal = task.learning_rate * task.steps
    lr_sum = nominal if task.lr_told == "nominal" else float(learning_rates(task)[:-1].sum())
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


def check_task(task: Task, source: Source) -> None:
    """Refuses a task that cannot be run on its data, before any of its runs is started.

    Raises:
        ValueError: it wants more images than the fold has, or at a resolution that they cannot be brought to, or its
            network cannot be of that resolution.
    """
    split, images = source.split, source.images
    check_sizes(task, (len(split.inner_train), len(split.inner_val)))
    images.averaged(task.resolution)
    network_of(task, images.num_classes, images.channels)


def check_sizes(task: Task, sizes: Sequence[int]) -> None:
    """Refuses a task that wants more images than there are; see :func:`check_task`.

    Args:
        task: what to train.
        sizes: images of the parts inner-train and inner-val.
    """
    for name, part, have in zip(
        ("train_size", "val_size"), ("inner-train", "inner-val"), sizes, strict=False
    ):
        if getattr(task, name) > have:
            raise ValueError(
                f"task {task.name}: {name}={getattr(task, name)}, but the {part} part has {have} images"
            )


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _draw(part: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return part[torch.randperm(len(part), generator=generator)[:count]]


def start_run(
    task: Task, network: Network, source: Source, dtype: torch.dtype, compute: torch.dtype
) -> InnerRun:
    """A run at its beginning. All that is random in it comes from ``(task.seed, fold)`` alone.

    Args:
        task: what to train.
        network: its architecture.
        source: its data set's share; the same seed gives other numbers in another fold.
        dtype: of parameters and optimizer state.
        compute: of activations, hence of the images that are evaluated.

    Raises:
        ValueError: see :func:`check_task`.
    """
    check_task(task, source)
    split, data, device = source.split, source.images, source.images.device
    entropy = np.random.SeedSequence((task.seed, _FOLD_NUMBER[source.fold])).generate_state(7, np.uint32)
    subset, noise, weights, minibatches, augmentation, outer, dropped = (_generator(int(s)) for s in entropy)
    train_index = _draw(split.inner_train, task.train_size, subset)
    val_index = _draw(split.inner_val, task.val_size, subset).to(device)
    outer_index = _draw(split.outer_val, source.outer_size, outer).to(device)
    labels = _noisy(data.labels[train_index.to(device)].cpu(), task.label_noise, data.num_classes, noise)
    stream = _minibatches(task, minibatches)
    params, buffers = network.init(weights, dtype, task.init_std)
    if task.init_scale != 1.0:
        for name in network.penalised:
            params[name] = params[name] * task.init_scale
    params = {name: value.to(device) for name, value in params.items()}
    return InnerRun(
        task=task,
        network=network,
        facts=run_facts(task, network),
        params=params,
        buffers={name: value.to(device) for name, value in buffers.items()},
        optimizer={
            kind: {name: torch.zeros_like(value) for name, value in params.items()}
            for kind in OPTIMIZERS[task.optimizer].state_names
        },
        order=train_index[stream].to(device),
        labels=labels[stream].to(device),
        learning_rates=learning_rates(task),
        val_index=val_index,
        val=data.evaluation_set(val_index, network, compute, Reading.of(task)),
        outer_index=outer_index,
        outer=data.evaluation_set(outer_index, network, compute, Reading.of(task)),
        augmentation=augmentation,
        noise=dropped,
    )


def _noisy(clean: Tensor, share: float, num_classes: int, generator: torch.Generator) -> Tensor:
    """Labels of which a share is replaced by another class each."""
    noisy = torch.randperm(len(clean), generator=generator)[: round(share * len(clean))]
    labels = clean.clone()
    shift = torch.randint(1, num_classes, (len(noisy),), generator=generator)
    labels[noisy] = (clean[noisy] + shift) % num_classes
    return labels


def _minibatches(task: Task, generator: torch.Generator) -> Tensor:
    """Places in the training set, int64 ``[steps, batch_size]``.

    Shuffled epochs one after the other; a minibatch may span two of them.
    """
    wanted = task.steps * task.batch_size
    epochs = -(-wanted // task.train_size)
    stream = torch.cat([torch.randperm(task.train_size, generator=generator) for _ in range(epochs)])
    return stream[:wanted].view(task.steps, task.batch_size)
