"""Tasks that were written after the policy and its guard had been chosen: nobody had seen a run of them before.

All others were in view when one or another choice was made (:data:`~lambda_rl.agents.foreign.suite.LOOKED_AT`).
"""

from __future__ import annotations

from functools import partial

import numpy as np
from sklearn.datasets import (
    load_digits,
    load_iris,
    make_blobs,
    make_friedman1,
    make_gaussian_quantiles,
    make_hastie_10_2,
    make_moons,
)
from torch import Tensor, nn
from torch.optim import AdamW

from lambda_rl.agents.foreign.families.common import cut, mlp, standardised
from lambda_rl.agents.foreign.task import Data, ForeignTask

REST = 2500
"""500 rows to validate, 2,000 to test."""


def iris(seed: int, *, noise: float) -> Data:
    """150 irises, 4 measurements, 3 species: 60 to learn from, 40 to validate."""
    inputs, labels = load_iris(return_X_y=True)
    return standardised(cut(inputs, labels, (60, 40), seed, noise=noise))


def hastie(seed: int, *, train: int = 600, noise: float = 0.0) -> Data:
    """Whether the sum of ten squares is large (Hastie et al. 2009, example 10.2)."""
    inputs, labels = make_hastie_10_2(train + REST, random_state=seed)
    return cut(inputs, labels > 0, (train, 500), seed, noise=noise)


def shells(seed: int, *, train: int = 800, noise: float = 0.2) -> Data:
    """Five shells around the centre of twelve dimensions."""
    inputs, labels = make_gaussian_quantiles(
        n_samples=train + REST, n_features=12, n_classes=5, random_state=seed
    )
    return cut(inputs, labels, (train, 500), seed, noise=noise)


def moons(seed: int, *, train: int = 150, noise: float = 0.2) -> Data:
    """Two half moons that overlap."""
    inputs, labels = make_moons(train + REST, noise=0.25, random_state=seed)
    return cut(inputs, labels, (train, 500), seed, noise=noise)


def blobs(seed: int, *, train: int = 3000) -> Data:
    """Forty clouds that overlap."""
    inputs, labels = make_blobs(train + REST, n_features=16, centers=40, cluster_std=5.0, random_state=seed)
    return standardised(cut(inputs, labels, (train, 500), seed))


def fifths(seed: int, *, train: int = 500) -> Data:
    """In which fifth the value of Friedman's first function lies, of ten inputs five of which count."""
    inputs, values = make_friedman1(train + REST, noise=1.0, random_state=seed)
    edges = np.quantile(values, [0.2, 0.4, 0.6, 0.8])
    return standardised(cut(inputs, np.digitize(values, edges), (train, 500), seed))


def counts(seed: int, *, train: int = 400) -> Data:
    """Word counts of short texts: six topics over 300 words, each text of one topic for the most part."""
    rng = np.random.default_rng(seed)
    topics = rng.dirichlet(np.full(300, 0.1), size=6)
    labels = rng.integers(6, size=train + REST)
    shares = rng.dirichlet(np.full(6, 0.4), size=len(labels))
    mixed = 0.35 * topics[labels] + 0.65 * shares @ topics
    words = np.array([rng.multinomial(40, row / row.sum()) for row in mixed])
    return cut(np.log1p(words), labels, (train, 500), seed)


def rows_of_digits(seed: int, *, noise: float = 0.2) -> Data:
    """scikit-learn's digits, to be read row by row."""
    pixels, labels = load_digits(return_X_y=True)
    return cut(pixels.reshape(-1, 8, 8) / 16.0, labels, (600, 300), seed, noise=noise)


class RowByRow(nn.Module):
    """An LSTM over the rows of an image."""

    def __init__(self, data: Data, width: int = 48) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, width, batch_first=True)
        self.head = nn.Linear(width, data.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images to logits."""
        logits: Tensor = self.head(self.lstm(x)[0][:, -1])
        return logits


class Residual(nn.Module):
    """Two residual blocks with layer norm before each."""

    def __init__(self, data: Data, width: int = 64) -> None:
        super().__init__()
        self.first = nn.Linear(data.train[0][0].numel(), width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
            for _ in range(2)
        )
        self.head = nn.Linear(width, data.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Rows to logits."""
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        logits: Tensor = self.head(x)
        return logits


task = partial(ForeignTask, family="later", network=mlp, epochs=60, seconds=0.48)

TASKS = (
    task(name="iris-noisy", data=partial(iris, noise=0.3), epochs=150, batch_size=10, lr=0.02),
    task(name="hastie", data=hastie, optimizer=AdamW, lr=3e-3),
    task(name="hastie-noisy", data=partial(hastie, noise=0.25), network=partial(mlp, hidden=(96, 96, 96))),
    task(name="shells", data=shells, network=partial(mlp, hidden=(80, 80), activation=nn.Tanh), lr=0.03),
    task(name="shells-residual", data=shells, network=Residual, optimizer=AdamW, lr=2e-3, warmup=0.05),
    task(name="moons", data=moons, epochs=120, lr_schedule="constant", calls=24),
    task(name="blobs", data=blobs, epochs=15, batch_size=64, momentum=0.0, lr=0.05),
    task(name="fifths", data=fifths, network=partial(mlp, hidden=(128, 128)), lr_schedule="decay"),
    task(name="counts", data=counts, network=partial(mlp, hidden=(64,), dropout=0.2), optimizer=AdamW, lr=3e-3),
    task(name="digits-row-by-row", data=rows_of_digits, network=RowByRow, optimizer=AdamW, lr=4e-3,
         epochs=40, seconds=2.0),
)  # fmt: skip
