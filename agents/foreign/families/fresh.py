"""Tasks that were written after the last change of the guard, when those of ``later`` had been in view, too."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from sklearn.datasets import load_breast_cancer, load_digits, make_circles
from torch import Tensor, nn
from torch.optim import Adam, AdamW

from lambda_rl.agents.foreign.families.common import cut, generator, mlp, standardised
from lambda_rl.agents.foreign.task import Data, ForeignTask

REST = 2500
"""500 rows to validate, 2,000 to test."""


def circles(seed: int, *, train: int = 240, noise: float = 0.25) -> Data:
    """A circle in another."""
    inputs, labels = make_circles(train + REST, noise=0.12, factor=0.6, random_state=seed)
    return cut(inputs, labels, (train, 500), seed, noise=noise)


def parity_of_digits(seed: int, *, noise: float = 0.0) -> Data:
    """Whether the digit of an image is even."""
    pixels, labels = load_digits(return_X_y=True)
    return cut(pixels / 16.0, labels % 2, (400, 200), seed, noise=noise)


def confused(seed: int, *, share: float = 0.35) -> Data:
    """Digits of which many that are learned from have the label of the next digit: noise that is not uniform."""
    pixels, labels = load_digits(return_X_y=True)
    data = cut(pixels / 16.0, labels, (600, 300), seed)
    x, y = data.train
    wrong = torch.rand(y.shape, generator=generator(seed, 1)) < share
    return Data((x, torch.where(wrong, (y + 1) % 10, y)), data.val, data.test, 10)


def small_pictures(seed: int, *, noise: float = 0.3) -> Data:
    """Digits as pictures of one channel."""
    pixels, labels = load_digits(return_X_y=True)
    return cut(pixels.reshape(-1, 1, 8, 8) / 8.0 - 1.0, labels, (700, 300), seed, noise=noise)


def checkerboard(seed: int, *, train: int = 700, noise: float = 0.1) -> Data:
    """The colour of a point on a board of four by four squares."""
    points = np.random.default_rng(seed).uniform(-2.0, 2.0, (train + REST, 2))
    colours = np.floor(points).sum(1).astype(int) % 2
    return cut(points, colours, (train, 500), seed, noise=noise)


def parity_of_bits(seed: int, *, train: int = 600) -> Data:
    """The parity of three of 24 bits; which ones has to be found."""
    bits = np.random.default_rng(seed).integers(0, 2, (train + REST, 24))
    return cut(2.0 * bits - 1.0, bits[:, :3].sum(1) % 2, (train, 500), seed)


def teacher(seed: int, *, train: int = 900) -> Data:
    """What the largest of six outputs of a random network of two layers is."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(train + REST, 20))
    hidden = np.tanh(inputs @ rng.normal(size=(20, 12)) / 2.0)
    return cut(inputs, (hidden @ rng.normal(size=(12, 6))).argmax(1), (train, 500), seed, noise=0.2)


def cancer(seed: int, *, noise: float = 0.0) -> Data:
    """Breast cancer in Wisconsin, 30 measurements."""
    inputs, labels = load_breast_cancer(return_X_y=True)
    return standardised(cut(inputs, labels, (300, 100), seed, noise=noise))


def products(seed: int, *, prime: int = 29) -> Data:
    """All pairs of numbers from 1 to a prime, without it, labelled with their product modulo it; one-hot."""
    numbers = np.arange(1, prime)
    first, second = (grid.ravel() for grid in np.meshgrid(numbers, numbers))
    eye: npt.NDArray[np.float64] = np.eye(prime - 1)
    pairs = np.concatenate([eye[first - 1], eye[second - 1]], 1)
    return cut(pairs, first * second % prime - 1, (500, 100), seed)


def chains(seed: int, *, train: int = 500) -> Data:
    """Which of four chains of Markov a sequence of 20 symbols came from, one-hot."""
    rng = np.random.default_rng(seed)
    moves = rng.dirichlet(np.full(6, 0.7), size=(4, 6)).cumsum(-1)
    labels = rng.integers(4, size=train + REST)
    symbols = [rng.integers(6, size=len(labels))]
    for _ in range(19):
        drawn = rng.random((len(labels), 1))
        symbols.append((drawn > moves[labels, symbols[-1]][:, :-1]).sum(1))
    return cut(np.eye(6)[np.stack(symbols, 1)], labels, (train, 500), seed)


class Reading(nn.Module):
    """A GRU over symbols; the mean of its states decides."""

    def __init__(self, data: Data, width: int = 40) -> None:
        super().__init__()
        self.gru = nn.GRU(data.train[0].shape[-1], width, batch_first=True)
        self.head = nn.Linear(width, data.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Sequences to logits."""
        logits: Tensor = self.head(self.gru(x)[0].mean(1))
        return logits


def normalised_conv(data: Data, *, width: int = 16) -> nn.Module:
    """Two convolutions with batch norm."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(8 * width, data.num_classes),
    )  # fmt: skip


task = partial(ForeignTask, family="fresh", network=mlp, epochs=60, seconds=0.5)

TASKS = (
    task(name="circles-noisy", data=circles, optimizer=AdamW, lr=3e-3, batch_size=24),
    task(name="parity-of-digits-noisy", data=partial(parity_of_digits, noise=0.3), epochs=80, lr=0.03),
    task(name="digits-confused", data=confused, network=partial(mlp, hidden=(100, 50)), optimizer=AdamW, lr=2e-3),
    task(name="small-pictures-noisy", data=small_pictures, network=normalised_conv, optimizer=AdamW, lr=2e-3,
         epochs=30, calls=30, seconds=2.0),
    task(name="checkerboard", data=checkerboard, network=partial(mlp, hidden=(128, 128)), epochs=100, calls=25),
    task(name="parity-of-bits", data=parity_of_bits, network=partial(mlp, hidden=(128,)), lr=0.03, epochs=40),
    task(name="teacher-noisy", data=teacher, network=partial(mlp, hidden=(128, 128), activation=nn.GELU),
         optimizer=Adam, lr=1e-3),
    task(name="cancer-dropout", data=partial(cancer, noise=0.15), network=partial(mlp, dropout=0.3), lr=0.02, calls=20),
    task(name="products", data=products, network=partial(mlp, hidden=(160,)), optimizer=AdamW, lr=5e-3,
         lr_schedule="constant", batch_size=500, epochs=1000, calls=40, seconds=1.5),
    task(name="chains", data=chains, network=Reading, optimizer=AdamW, lr=3e-3, epochs=30, seconds=3.0),
)  # fmt: skip
