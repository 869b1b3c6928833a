"""What several families use: cutting examples in three, label noise, the usual multi-layer perceptron."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lambda_rl.agents.foreign.task import Data

Norm = Literal["", "batch", "layer"]


def generator(seed: int, what: int = 0) -> torch.Generator:
    """Draws the examples of a run; not the one that its minibatches come from."""
    return torch.Generator().manual_seed(1_000_003 * (seed + 1) + what)


def noisy(labels: Tensor, share: float, num_classes: int, draw: torch.Generator) -> Tensor:
    """Labels of which a share was replaced by another class each."""
    other = (labels + torch.randint(1, num_classes, labels.shape, generator=draw)) % num_classes
    return torch.where(torch.rand(labels.shape, generator=draw) < share, other, labels)


def cut(
    inputs: npt.ArrayLike | Tensor,
    labels: npt.ArrayLike | Tensor,
    sizes: tuple[int, int],
    seed: int,
    *,
    noise: float = 0.0,
    val_noise: float = 0.0,
) -> Data:
    """Mixes the examples and cuts them.

    Args:
        inputs: one row an example.
        labels: from 0 on.
        sizes: of the training and the validation part; the rest is the test part.
        seed: which example goes where.
        noise: share of the training labels that are wrong.
        val_noise: the same of the validation part.
    """
    x, y = _tensor(inputs).float(), _tensor(labels).long()
    draw = generator(seed)
    mixed = torch.randperm(len(x), generator=draw)
    first, second = sizes
    parts = mixed[:first], mixed[first : first + second], mixed[first + second :]
    classes = int(y.max()) + 1
    clean = [(x[part], y[part]) for part in parts]
    return Data(
        (clean[0][0], noisy(clean[0][1], noise, classes, draw)),
        (clean[1][0], noisy(clean[1][1], val_noise, classes, draw)),
        clean[2],
        classes,
    )


def standardised(data: Data) -> Data:
    """Each input minus its mean over its deviation in the training part."""
    mean, deviation = data.train[0].mean(0), data.train[0].std(0) + 1e-6
    parts = [((x - mean) / deviation, y) for x, y in (data.train, data.val, data.test)]
    return Data(parts[0], parts[1], parts[2], data.num_classes)


def mlp(
    data: Data,
    *,
    hidden: tuple[int, ...] = (64, 64),
    norm: Norm = "",
    dropout: float = 0.0,
    activation: type[nn.Module] = nn.ReLU,
) -> nn.Module:
    """Linear layers with an activation between them."""
    sizes = (data.train[0][0].numel(), *hidden)
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(sizes):
        layers.append(nn.Linear(before, after))
        if norm:
            layers.append((nn.BatchNorm1d if norm == "batch" else nn.LayerNorm)(after))
        layers.append(activation())
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(sizes[-1], data.num_classes))


def _tensor(values: npt.ArrayLike | Tensor) -> Tensor:
    return values if isinstance(values, Tensor) else torch.from_numpy(np.array(values))
