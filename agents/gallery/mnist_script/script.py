"""PyTorch's MNIST example, written anew and small, on scikit-learn's digits; with a policy or as it stands.

The example is basic/mnist of https://github.com/pytorch/examples: two convolutions, pooling, dropout of 0.25 and 0.5,
two linear layers; batches of 64; the learning rate times 0.7 after each epoch. Images have 8×8 pixels here, not 28×28,
so that the first linear layer has 256 inputs. The example tests on what it watches; here these are two parts.
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, StepLR

import lambda_rl
from lambda_rl.agents.foreign.families.common import cut
from lambda_rl.agents.foreign.loop import evaluate
from lambda_rl.agents.foreign.task import Data

BATCH, GAMMA = 64, 0.7
TRAIN, VAL = 1007, 250
"""Images to learn from and to watch; the other 540 are for results only."""

LR = {AdamW: 1e-3, SGD: 0.05}
MARK = {AdamW: 0.01, SGD: 1e-4}
"""``weight_decay`` of the groups that a schedule writes to: AdamW's own default; SGD's is 0, which would mark none."""


@dataclass(frozen=True)
class Setting:
    """How the script is called.

    Attributes:
        optimizer: its class; SGD has momentum 0.9.
        epochs: passes over the training images.
        rates: step, as in the example; or cosine, to 0.
    """

    optimizer: type[AdamW | SGD]
    epochs: int
    rates: Literal["step", "cosine"] = "step"

    @property
    def kind(self) -> str:
        """The optimizer, in lower case."""
        return self.optimizer.__name__.lower()

    @property
    def name(self) -> str:
        """In rows and tables."""
        return f"{self.kind}-{self.epochs}" + ("" if self.rates == "step" else f"-{self.rates}")


@dataclass(frozen=True)
class User:
    """Who runs the script.

    Attributes:
        policy: λ is set by it; None: the script as it stands.
        trust: of the learned schedule.
    """

    policy: lambda_rl.Policy | None = None
    trust: Literal["auto"] | None = None


@dataclass(frozen=True)
class Result:
    """What a run came to.

    Attributes:
        train_accuracy: of the last epoch, with dropout, a fraction.
        val: loss in nats and accuracy of the images that are watched.
        test: likewise of those that are not.
        lr_sum: effective learning rate summed over the run.
        history: of the schedule, a row a decision; empty without one.
        warned: whether the schedule said that something was wrong.
    """

    train_accuracy: float
    val: tuple[float, float]
    test: tuple[float, float]
    lr_sum: float
    history: tuple[dict[str, float | str | None], ...] = ()
    warned: bool = False


class Net(nn.Module):
    """The example's network."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(256, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, 1, 8, 8]`` to logits."""
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = self.dropout1(F.max_pool2d(x, 2)).flatten(1)
        x = self.dropout2(F.relu(self.fc1(x)))
        logits: Tensor = self.fc2(x)
        return logits


@functools.lru_cache(maxsize=2)
def digits(seed: int) -> Data:
    """The images in three parts, drawn by the seed; one mean and one deviation for all pixels, as in the example."""
    pixels, labels = load_digits(return_X_y=True)
    flat = cut(pixels, labels, (TRAIN, VAL), seed)
    mean, deviation = flat.train[0].mean(), flat.train[0].std()
    parts = [((x.reshape(-1, 1, 8, 8) - mean) / deviation, y) for x, y in (flat.train, flat.val, flat.test)]
    return Data(parts[0], parts[1], parts[2], flat.num_classes)


def run(setting: Setting, seed: int, user: User) -> Result:
    """Trains once.

    Args:
        setting: how the script is called.
        seed: of split, initial weights, minibatches and dropout: the same whoever runs it.
        user: who runs it.
    """
    data = digits(seed)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        torch.manual_seed(seed)
        model = Net()
        optimizer = _optimizer(setting, model, split=user.policy is not None)
        steps = -(-TRAIN // BATCH)
        rates = _rates(setting, optimizer)
        schedule = None
        if user.policy is not None:
            schedule = lambda_rl.LearnedSchedule(
                optimizer, policy=user.policy, total_steps=setting.epochs * steps, batch_size=BATCH, num_train=TRAIN,
                val_size=VAL, num_classes=10, model=model, trust=user.trust, distributed=False,
            )  # fmt: skip
        order, lr_sum, accuracy = torch.Generator().manual_seed(seed), 0.0, 0.0
        for _ in range(setting.epochs):
            lr_sum += steps * optimizer.param_groups[0]["lr"]
            loss, accuracy = _epoch(model, optimizer, data, order)
            rates.step()
            if schedule is not None:
                val_loss, val_accuracy = evaluate(model, data.val)
                schedule.step(
                    train_loss=loss, train_accuracy=accuracy, val_loss=val_loss, val_accuracy=val_accuracy
                )
        return Result(
            train_accuracy=accuracy,
            val=evaluate(model, data.val),
            test=evaluate(model, data.test),
            lr_sum=lr_sum / (0.1 if setting.optimizer is SGD else 1.0),
            history=() if schedule is None else tuple(schedule.history),
            warned=any(issubclass(item.category, RuntimeWarning) for item in caught),
        )


def _optimizer(setting: Setting, model: nn.Module, *, split: bool) -> Optimizer:
    """Made as in the example, or with groups for a schedule."""
    kind = setting.optimizer
    parameters = lambda_rl.split_parameters(model, MARK[kind]) if split else model.parameters()
    if issubclass(kind, SGD):
        return kind(parameters, lr=LR[kind], momentum=0.9)
    return kind(parameters, lr=LR[kind])


def _rates(setting: Setting, optimizer: Optimizer) -> LRScheduler:
    if setting.rates == "step":
        return StepLR(optimizer, step_size=1, gamma=GAMMA)
    return CosineAnnealingLR(optimizer, setting.epochs)


def _epoch(model: nn.Module, optimizer: Optimizer, data: Data, order: torch.Generator) -> tuple[float, float]:
    """Trains for an epoch; the mean loss and accuracy of its minibatches."""
    inputs, labels = data.train
    losses, hits = 0.0, 0
    for index in torch.randperm(len(labels), generator=order).split(BATCH):
        output = model(inputs[index])
        loss = F.cross_entropy(output, labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses += float(loss.detach()) * len(index)
        hits += int((output.detach().argmax(1) == labels[index]).sum())
    return losses / len(labels), hits / len(labels)
