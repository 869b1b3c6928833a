"""Small convolutional networks: like Lu's but wider, and trained longer; a residual one; a transformer on patches."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from lambda_rl.agents.foreign.families.digits import digits
from lambda_rl.agents.foreign.families.pictures import held_out
from lambda_rl.agents.foreign.task import Data, ForeignTask


def digit_images(seed: int, *, size: int = 600, noise: float = 0.3) -> Data:
    """Digits as images of one channel."""
    flat = digits(seed, size=size, noise=noise)
    parts = [(pixels.reshape(-1, 1, 8, 8), labels) for pixels, labels in (flat.train, flat.val, flat.test)]
    return Data(parts[0], parts[1], parts[2], flat.num_classes)


def conv(data: Data, *, width: int = 24) -> nn.Module:
    """Convolution, pooling and two linear layers, as Lu's (2017, section 5)."""
    channels, side, _ = data.train[0].shape[1:]
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(width * (side // 2) ** 2, 4 * width),
        nn.ReLU(),
        nn.Linear(4 * width, data.num_classes),
    )


class Block(nn.Module):
    """Two convolutions with batch normalisation, added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """``[n, width, side, side]`` to the same."""
        inner = torch.relu(self.norms[0](self.first(x)))
        return torch.relu(x + self.norms[1](self.second(inner)))


def resnet(data: Data, *, width: int = 12, blocks: int = 2) -> nn.Module:
    """A stem, residual blocks, and the mean over the image."""
    return nn.Sequential(
        nn.Conv2d(data.train[0].shape[1], width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        *(Block(width) for _ in range(blocks)),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * width, data.num_classes),
    )


class Patches(nn.Module):
    """A transformer of one layer on patches of 2×2 pixels.

    Args:
        data: gives channels, side and classes.
        width: of the tokens.
        dropout: in the layer.
    """

    def __init__(self, data: Data, width: int = 32, dropout: float = 0.0) -> None:
        super().__init__()
        channels, side, _ = data.train[0].shape[1:]
        self.embed = nn.Conv2d(channels, width, 2, stride=2)
        self.position = nn.Parameter(0.02 * torch.randn((side // 2) ** 2, width))
        self.layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout, "gelu", batch_first=True, norm_first=True
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, data.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images to logits."""
        tokens = self.embed(x).flatten(2).transpose(1, 2) + self.position
        logits: Tensor = self.head(self.norm(self.layer(tokens)).mean(1))
        return logits


task = partial(ForeignTask, family="convolutions", data=digit_images, network=conv, epochs=30, seconds=1.5)
residual = partial(task, family="ResNet", network=resnet, epochs=15, seconds=2.5)
patches = partial(
    task, family="patch transformer", network=Patches, optimizer=AdamW, lr=3e-3, warmup=0.1, seconds=3.0
)
on_classes = partial(task, data=held_out, needs_images=True, batch_size=64)

TASKS = (
    task(name="conv-wider", network=partial(conv, width=48), epochs=20),
    task(name="conv-longer", epochs=60, lr=0.02, lr_schedule="constant"),
    on_classes(name="conv-classes", network=partial(conv, width=32), epochs=15),
    residual(name="resnet-digits"),
    on_classes(name="resnet-classes", family="ResNet", network=resnet, epochs=12, seconds=3.0),
    patches(name="patches-digits", epochs=30),
    on_classes(
        name="patches-classes",
        family="patch transformer",
        network=partial(Patches, dropout=0.1),
        optimizer=AdamW,
        lr=3e-3,
        warmup=0.1,
        epochs=12,
        seconds=3.5,
    ),
)
