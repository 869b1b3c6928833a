"""MNIST-1D (Greydanus & Kobak 2020): made by its package, never downloaded."""

from __future__ import annotations

import random
from functools import lru_cache, partial

import mnist1d
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam

from lambda_rl.agents.foreign.families.common import cut, mlp
from lambda_rl.agents.foreign.task import Data, ForeignTask


@lru_cache(maxsize=1)
def _made() -> tuple[np.ndarray, np.ndarray]:
    """The package's own 5,000 signals of 40 points; it draws them from global generators, which are put back."""
    before = random.getstate(), np.random.get_state()  # noqa: NPY002 - the package's
    try:
        with torch.random.fork_rng(devices=[]):
            made = mnist1d.data.make_dataset()
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002 - the package's
    return np.concatenate([made["x"], made["x_test"]]), np.concatenate([made["y"], made["y_test"]])


def signals(seed: int, *, train: int = 2500, noise: float = 0.0) -> Data:
    """Signals of ten classes: 500 to validate, the rest of 5,000 to test."""
    inputs, labels = _made()
    return cut(inputs, labels, (train, 500), seed, noise=noise)


def conv(data: Data, *, width: int = 16) -> nn.Module:
    """The package's convolutional network: three layers of stride 2."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 40)),
        nn.Conv1d(1, width, 5, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv1d(width, width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv1d(width, width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(data.num_classes),
    )


class Recurrent(nn.Module):
    """The package's GRU, in both directions, on steps of four points."""

    def __init__(self, data: Data, width: int = 12) -> None:
        super().__init__()
        self.gru = nn.GRU(4, width, batch_first=True, bidirectional=True)
        self.head = nn.Linear(20 * width, data.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Signals to logits."""
        logits: Tensor = self.head(self.gru(x.reshape(len(x), 10, 4))[0].flatten(1))
        return logits


task = partial(
    ForeignTask,
    family="MNIST-1D",
    data=signals,
    batch_size=100,
    epochs=60,
    optimizer=Adam,
    lr=1e-2,
    seconds=1.0,
)

TASKS = (
    task(name="mnist1d-mlp", network=partial(mlp, hidden=(100, 100)), lr=5e-3, lr_schedule="constant"),
    task(name="mnist1d-mlp-noisy", data=partial(signals, noise=0.15), network=partial(mlp, hidden=(100, 100)),
         optimizer=SGD, lr=0.03),
    task(name="mnist1d-cnn", network=conv, epochs=40, seconds=1.6),
    task(name="mnist1d-cnn-noisy", data=partial(signals, noise=0.15), network=conv, epochs=40, seconds=1.6),
    task(name="mnist1d-gru", network=Recurrent, seconds=2.5, epochs=30),
)  # fmt: skip
