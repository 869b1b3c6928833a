"""The plain loop: what a user of torch writes, with a schedule of λ in it."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from lambda_rl import Schedule, split_parameters
from lambda_rl.agents.foreign.task import Data, ForeignTask, Pair
from lambda_rl.schedules.rules.feedback import FeedbackRule
from lambda_rl.schedules.rules.measured import pull

START_DECAY = 1e-4
"""Any number but 0: it marks the groups that a schedule may write to."""


@dataclass(frozen=True)
class RunFigures:
    """What a user knows of a run before it starts, and one thing that only we know.

    Attributes:
        total_steps: optimizer steps.
        num_train: training examples.
        val_size: validation examples.
        num_classes: classes.
        batch_size: examples a step.
        lr_sum: effective learning rate truly summed over the run; not told to a policy.
        task: name of the task, for those whose λ was written down for a run; not told to a policy.
        seed: likewise.
    """

    total_steps: int
    num_train: int
    val_size: int
    num_classes: int
    batch_size: int
    lr_sum: float
    task: str = ""
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """Accuracies (fractions) and losses (nats) at the end of a run.

    Attributes:
        train_accuracy: over the minibatches since the last call.
        val_accuracy: of the validation examples.
        val_loss: likewise.
        test_accuracy: of the test examples.
        test_loss: likewise.
        lams: λ of each interval.
        warned: whether the schedule said that something was wrong.
    """

    train_accuracy: float
    val_accuracy: float
    val_loss: float
    test_accuracy: float
    test_loss: float
    lams: tuple[float, ...]
    warned: bool


MakeSchedule = Callable[[Optimizer, RunFigures], Schedule]


def figures(task: ForeignTask, data: Data, seed: int = 0) -> RunFigures:
    """The figures of a run."""
    examples = len(data.train[0])
    return RunFigures(
        total_steps=task.steps(examples),
        num_train=examples,
        val_size=len(data.val[0]),
        num_classes=data.num_classes,
        batch_size=task.batch_size,
        lr_sum=task.lr_sum(examples),
        task=task.name,
        seed=seed,
    )


def train(
    task: ForeignTask, data: Data, seed: int, make_schedule: MakeSchedule, *, feedback: bool
) -> Outcome:
    """Trains once.

    Args:
        task: what is trained.
        data: its examples.
        seed: of initial weights, minibatches and dropout: the same for all schedules.
        make_schedule: (optimizer, figures) → schedule of its λ.
        feedback: whether the schedule wants signals; validation in the run is left out otherwise.
    """
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        run = PlainRun(task, data, seed, make_schedule)
        schedule = run.schedule
        while not run.ended:
            run.advance()
            if feedback:
                val_loss, val_accuracy = run.validation()
                schedule.step(
                    train_loss=run.train_loss,
                    val_loss=val_loss,
                    train_accuracy=run.train_accuracy,
                    val_accuracy=val_accuracy,
                    **_asked(schedule, run.model, run.optimizer, data.val),
                )
        lams = tuple(float(row["lam"] or 0.0) for row in schedule.history)
        warned = any(issubclass(item.category, RuntimeWarning) for item in caught)
        return run.outcome(lams[:-1] or lams, warned)


class PlainRun:
    """A run that goes on from call to call.

    It draws from torch's global generator, as a user's does: initial weights when it is made, dropout as it goes on.

    Args:
        task: what is trained.
        data: its examples.
        seed: see :func:`train`.
        make_schedule: see there.

    Attributes:
        model: the network.
        optimizer: of its weights.
        schedule: of λ.
        train_loss: over the minibatches of the last advance, nats.
        train_accuracy: likewise, a fraction.
    """

    def __init__(self, task: ForeignTask, data: Data, seed: int, make_schedule: MakeSchedule) -> None:
        torch.manual_seed(seed)
        self._data = data
        self.model = _network(task, data)
        self.optimizer = _optimizer(task, split_parameters(self.model, START_DECAY))
        told = figures(task, data, seed)
        total = told.total_steps
        self._rates = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: task.rate((step + 0.5) / total)
        )
        self.schedule = make_schedule(self.optimizer, told)
        calls = sorted({round(call * total / task.calls) for call in range(1, task.calls + 1)} - {0})
        self._parts = [now - before for before, now in itertools.pairwise((0, *calls))]
        self._minibatches = _minibatches(task, told.num_train, seed)
        self.train_loss = self.train_accuracy = math.nan

    @property
    def ended(self) -> bool:
        """Whether no step is left."""
        return not self._parts

    def advance(self) -> None:
        """Trains to the next call."""
        data, losses, hits = self._data, [], []
        for index in itertools.islice(self._minibatches, self._parts.pop(0)):
            labels = data.train[1][index].flatten()
            logits = self.model(data.train[0][index]).reshape(len(labels), data.num_classes)
            loss = F.cross_entropy(logits, labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self._rates.step()
            losses.append(loss.detach())
            hits.append((logits.detach().argmax(1) == labels).float().mean())
        self.train_loss = float(torch.stack(losses).mean())
        self.train_accuracy = float(torch.stack(hits).mean())

    def validation(self) -> tuple[float, float]:
        """Loss in nats and accuracy of the validation examples."""
        return evaluate(self.model, self._data.val)

    def outcome(self, lams: tuple[float, ...], warned: bool = False) -> Outcome:
        """What it came to; the test examples are looked at now."""
        parts = self.validation(), evaluate(self.model, self._data.test)
        return Outcome(self.train_accuracy, *parts[0][::-1], *parts[1][::-1], lams, warned)


def _asked(schedule: Schedule, model: nn.Module, optimizer: Optimizer, val: Pair) -> dict[str, Any]:
    """What a rule asks for that it cannot find at its optimizer: a backward pass of the validation loss."""
    if not isinstance(schedule, FeedbackRule) or "val_pull" not in schedule.asked:
        return {}
    assert schedule.groups is not None  # it was made with the optimizer
    optimizer.zero_grad()
    model.eval()
    labels = val[1].flatten()
    F.cross_entropy(model(val[0]).reshape(len(labels), -1), labels).backward()
    model.train()
    found = pull(schedule.groups.weights())
    optimizer.zero_grad()
    return {"val_pull": found}


def evaluate(model: nn.Module, examples: Pair) -> tuple[float, float]:
    """Mean cross-entropy in nats, and the fraction of labels that are guessed."""
    model.eval()
    with torch.no_grad():
        labels = examples[1].flatten()
        logits = model(examples[0])
        logits = logits.reshape(len(labels), logits.shape[-1])
        loss = float(F.cross_entropy(logits, labels))
    model.train()
    return loss, float((logits.argmax(1) == labels).float().mean())


def _network(task: ForeignTask, data: Data) -> nn.Module:
    model = task.network(data)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(task.init_scale)
    return model


def _optimizer(task: ForeignTask, groups: list[dict[str, Any]]) -> Optimizer:
    if issubclass(task.optimizer, SGD):
        return task.optimizer(groups, lr=task.lr, momentum=task.momentum)
    return task.optimizer(groups, lr=task.lr)


def _minibatches(task: ForeignTask, examples: int, seed: int) -> Iterator[Tensor]:
    order = torch.Generator().manual_seed(seed)
    size = min(task.batch_size, examples)
    for _ in range(task.epochs):
        mixed = torch.randperm(examples, generator=order)
        yield from mixed[: examples // size * size].split(size)
