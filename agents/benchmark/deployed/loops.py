"""The loops that a deployed schedule is timed in: plain PyTorch, as a user would write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torchvision.models import resnet18

from lambda_rl import split_parameters


class _Characters(nn.Module):
    """A small transformer over characters: two layers of 128 units, four heads."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(64, 128)
        layer = nn.TransformerEncoderLayer(128, 4, 512, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(128, 64)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[batch · characters, 64]``."""
        logits: Tensor = self.head(self.layers(self.embedding(x)))
        return logits.flatten(0, 1)


def _mlp(*sizes: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for inside, out in pairwise(sizes):
        layers += [nn.Linear(inside, out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _images(*shape: int) -> Callable[[torch.Generator], Tensor]:
    return lambda generator: torch.randn(*shape, generator=generator)


def _sgd(model: nn.Module) -> Optimizer:
    return torch.optim.SGD(split_parameters(model, 5e-4), lr=0.01, momentum=0.9)


def _adamw(model: nn.Module) -> Optimizer:
    return torch.optim.AdamW(split_parameters(model, 0.01), lr=1e-3)


@dataclass(frozen=True)
class Loop:
    """What is trained.

    Attributes:
        model: makes the network.
        inputs: draws a minibatch.
        optimizer: makes the optimizer.
        classes: of the targets.
    """

    model: Callable[[], nn.Module]
    inputs: Callable[[torch.Generator], Tensor]
    optimizer: Callable[[nn.Module], Optimizer] = _sgd
    classes: int = 10


LOOPS: dict[str, Loop] = {
    "mlp 768-32-10, batch 64": Loop(lambda: _mlp(768, 32, 10), _images(64, 768)),
    "mlp 784-512-512-10, batch 64": Loop(lambda: _mlp(784, 512, 512, 10), _images(64, 1, 28, 28)),
    "transformer, 2 layers of 128, 16 × 64": Loop(
        _Characters, lambda generator: torch.randint(64, (16, 64), generator=generator), _adamw, 64
    ),
    "ResNet-18, batch 32 of 3×32×32": Loop(lambda: resnet18(num_classes=10), _images(32, 3, 32, 32)),
}
"""By label. The first is the smallest inner network of the presets, the second that of PyTorch's quickstart."""


@dataclass
class Running:
    """A loop at its beginning.

    Attributes:
        model: what is trained.
        optimizer: its.
        step: one optimizer step; gives the loss, with its graph.
    """

    model: nn.Module
    optimizer: Optimizer
    step: Callable[[], Tensor]


def start(loop: Loop, device: torch.device, *, compiled: bool = False) -> Running:
    """A loop on one minibatch of noise; how long a step takes does not depend on what is in it."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = loop.model().to(device)
    x = loop.inputs(generator)
    rows = x.numel() if x.dtype == torch.int64 else len(x)
    y = torch.randint(loop.classes, (rows,), generator=generator).to(device)
    x = x.to(device)
    optimizer = loop.optimizer(model)
    forward: Callable[[Tensor], Tensor] = torch.compile(model) if compiled else model

    def step() -> Tensor:
        loss = F.cross_entropy(forward(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return Running(model, optimizer, step)
