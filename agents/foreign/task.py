"""What a foreign loop is given: a task, and its examples in three parts."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

Pair = tuple[Tensor, Tensor]
"""Inputs and labels."""

PARTS = 1000
"""Of a run, in each of which the learning rate is looked at once, for its mean."""


@dataclass(frozen=True)
class Data:
    """The examples of a run.

    Attributes:
        train: what is learned from; labels may be noisy.
        val: what schedules watch, and what a grid is selected on.
        test: for results only.
        num_classes: C.
    """

    train: Pair
    val: Pair
    test: Pair
    num_classes: int


@dataclass(frozen=True, kw_only=True)
class ForeignTask:
    """A run in a plain loop: all that defines it but the weight decay and the seed.

    Attributes:
        name: unique, lower case with hyphens.
        family: tasks that are alike in kind; rows of the page.
        data: seed → examples; with ``images=`` too, the name of a data set, where the task needs one.
        network: examples → a network, drawn from torch's global generator as users do.
        optimizer: its class; Adam has coupled decay.
        lr: its peak.
        epochs: passes over the training examples.
        batch_size: examples a step.
        momentum: of SGD.
        lr_schedule: cosine (to 0), constant, or decay (× 0.95 every 20th of the run).
        warmup: share of the run in which the learning rate rises.
        init_scale: initial weights, not biases, are multiplied by this.
        calls: how often in the run validation is looked at.
        needs_images: whether it needs a data set of images.
        seconds: of one run on one quiet core, about; the order of the suite.
        revision: raised when the code behind ``data`` or ``network`` changes its numbers, so that old rows are void.
    """

    name: str
    family: str
    data: Callable[..., Data]
    network: Callable[[Data], nn.Module]
    optimizer: type[SGD | Adam | AdamW] = SGD
    lr: float = 0.05
    epochs: int = 60
    batch_size: int = 32
    momentum: float = 0.9
    lr_schedule: Literal["cosine", "constant", "decay"] = "cosine"
    warmup: float = 0.0
    init_scale: float = 1.0
    calls: int = 30
    needs_images: bool = False
    seconds: float = 1.0
    revision: int = 1

    def examples(self, seed: int, images: str) -> Data:
        """Those of a seed; ``images`` names the data set of a task that needs one."""
        return self.data(seed, images=images) if self.needs_images else self.data(seed)

    def rate(self, progress: float) -> float:
        """The learning rate over its peak, at a share of the run."""
        if progress < self.warmup:
            return progress / self.warmup
        if self.lr_schedule == "cosine":
            return 0.5 + 0.5 * math.cos(math.pi * (progress - self.warmup) / (1.0 - self.warmup))
        return 0.95 ** int(20 * progress) if self.lr_schedule == "decay" else 1.0

    def steps(self, examples: int) -> int:
        """Optimizer steps of the run; the last, smaller batch of an epoch is left out."""
        return self.epochs * max(examples // self.batch_size, 1)

    def lr_sum(self, examples: int) -> float:
        """Effective learning rate, truly summed over the run: κ = λ times this."""
        steps = self.steps(examples)
        total = self.lr * sum(self.rate((step + 0.5) / steps) for step in range(steps))
        return total / (1.0 - self.momentum) if self.optimizer is SGD else total

    @property
    def peak_over_mean(self) -> float:
        """The peak learning rate over the mean one of the run, for any number of steps that is not small."""
        return PARTS / sum(self.rate((part + 0.5) / PARTS) for part in range(PARTS))

    @property
    def digest(self) -> str:
        """Changes with every setting that could change a number."""
        told = [
            f"{item.name}={_told(getattr(self, item.name))}"
            for item in fields(self)
            if item.name != "seconds"
        ]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]


def _told(value: Any) -> str:
    if isinstance(value, functools.partial):
        return f"{_told(value.func)}{value.args}{sorted(value.keywords.items())}"
    if isinstance(value, type) and issubclass(value, Optimizer):
        return repr(value.__name__.lower())  # wherever torch has it
    return f"{value.__module__}.{value.__qualname__}" if callable(value) else repr(value)
