"""Modular addition (Power et al. 2022): networks that learn by heart first and understand late, if decay makes them."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from lambda_rl.agents.foreign.families.common import cut
from lambda_rl.agents.foreign.task import Data, ForeignTask


def sums(seed: int, *, prime: int = 31, train: int = 640, val: int = 120) -> Data:
    """All pairs of numbers below a prime, labelled with their sum modulo it; what is left is the test part."""
    first, second = torch.meshgrid(torch.arange(prime), torch.arange(prime), indexing="ij")
    pairs = torch.stack([first.flatten(), second.flatten()], 1)
    mixed = cut(pairs, pairs.sum(1) % prime, (train, val), seed)
    parts = [(x.long(), y) for x, y in (mixed.train, mixed.val, mixed.test)]
    return Data(parts[0], parts[1], parts[2], prime)


class Embedded(nn.Module):
    """A perceptron on the two embeddings, side by side."""

    def __init__(self, data: Data, width: int = 32, hidden: int = 128) -> None:
        super().__init__()
        self.embed = nn.Embedding(data.num_classes, width)
        self.hidden = nn.Linear(2 * width, hidden)
        self.head = nn.Linear(hidden, data.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Pairs of numbers to logits."""
        logits: Tensor = self.head(torch.relu(self.hidden(self.embed(x).flatten(1))))
        return logits


class Attending(nn.Module):
    """A transformer of one layer on the two numbers."""

    def __init__(self, data: Data, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Embedding(data.num_classes, width)
        self.position = nn.Parameter(0.02 * torch.randn(2, width))
        self.layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(width, data.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Pairs of numbers to logits."""
        logits: Tensor = self.head(self.layer(self.embed(x) + self.position)[:, -1])
        return logits


task = partial(
    ForeignTask, family="grokking", data=sums, network=Embedded, optimizer=AdamW, lr=1e-2, lr_schedule="constant",
    batch_size=640, epochs=1200, calls=40,
)  # fmt: skip

TASKS = (
    task(name="grokking-mlp", seconds=1.6),
    task(name="grokking-mlp-few", data=partial(sums, train=520), batch_size=520, seconds=1.5),
    task(
        name="grokking-transformer",
        data=partial(sums, prime=23, train=400, val=50),
        network=Attending,
        lr=3e-3,
        batch_size=400,
        epochs=600,
        seconds=2.8,
    ),
)
