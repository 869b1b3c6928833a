"""CIFAR: classes held out from training, and the set-ups of Lu (2017), both for multi-layer perceptrons."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW

from lambda_rl.agents.foreign.families.common import generator, mlp, noisy
from lambda_rl.agents.foreign.task import Data, ForeignTask, Pair
from lambda_rl.envs.data import load_test, load_train

HELD_OUT = ("automobile", "cat", "dog", "ship", "truck")
"""Classes that are told apart here, five at once; ten-class training tasks hold them too, never alone."""


@lru_cache(maxsize=4)
def small(images: str, part: str, side: int) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """A part of a data set as pixels within 0 and 1, ``[n, channels, side, side]``, and the names of its classes."""
    found = (load_test if part == "test" else load_train)(images)
    pixels = F.adaptive_avg_pool2d(found.images.float(), side) / 255.0
    return pixels, found.labels, found.class_names


def pictures(
    seed: int,
    *,
    images: str,
    classes: tuple[str, ...] = (),
    train: int = 2000,
    side: int = 16,
    noise: float = 0.0,
    lu: bool = False,
) -> Data:
    """Images of a data set; 1,000 to validate, 4,000 to test at most.

    Args:
        seed: which images.
        images: name of the data set.
        classes: names of those that take part; none: all.
        train: training images.
        side: of the images.
        noise: share of wrong training labels.
        lu: raw pixels 0…255 minus the mean training image; else standardised by channel.
    """
    draw = generator(seed)
    pool = _some(images, "train", side, classes, train + 1000, draw)
    test = _some(images, "test", side, classes, 4000, draw)
    count = int(pool[1].max()) + 1
    centre = pool[0][:train].mean(0)
    spread = pool[0][:train].std((0, 2, 3))[:, None, None]
    scale: Callable[[Tensor], Tensor] = (
        (lambda x: 255.0 * (x - centre))
        if lu
        else (lambda x: (x - centre.mean((1, 2), keepdim=True)) / spread)
    )
    return Data(
        (scale(pool[0][:train]), noisy(pool[1][:train], noise, count, draw)),
        (scale(pool[0][train:]), pool[1][train:]),
        (scale(test[0]), test[1]),
        count,
    )


def _some(
    images: str, part: str, side: int, classes: tuple[str, ...], most: int, draw: torch.Generator
) -> Pair:
    pixels, labels, names = small(images, part, side)
    wanted = (
        [names.index(name) for name in classes]
        if set(classes) <= set(names) and classes
        else range(len(names))
    )
    new = torch.full((len(names),), -1)
    new[list(wanted)] = torch.arange(len(wanted))
    labels = new[labels]
    among = torch.nonzero(labels >= 0).flatten()
    chosen = among[torch.randperm(len(among), generator=draw)[:most]]
    return pixels[chosen], labels[chosen]


def two_layers(data: Data, *, hidden: int) -> nn.Module:
    """Lu's network: weights of deviation 10⁻⁴, biases 0."""
    network = mlp(data, hidden=(hidden,))
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=1e-4)
            nn.init.zeros_(module.bias)
    return network


held_out = partial(pictures, classes=HELD_OUT, side=8)
task = partial(
    ForeignTask, family="held-out classes", needs_images=True, batch_size=64, epochs=25, seconds=0.6
)
lu = partial(
    task, family="Lu's set-ups", batch_size=200, lr=1e-3, momentum=0.0, lr_schedule="decay", seconds=1.0
)

TASKS = (
    task(name="classes-mlp", data=held_out, network=partial(mlp, hidden=(96, 96))),
    task(
        name="classes-mlp-noisy", data=partial(held_out, train=1000, noise=0.25), network=partial(mlp, hidden=(128,)),
        epochs=50,
    ),
    task(
        name="classes-mlp-adamw", data=held_out, network=partial(mlp, hidden=(96, 96, 96), activation=nn.GELU),
        optimizer=AdamW, lr=2e-3, warmup=0.05,
    ),
    lu(name="lu-two-layers", data=partial(pictures, train=4000, lu=True), network=partial(two_layers, hidden=50),
       epochs=40),
    lu(name="lu-two-layers-wide", data=partial(pictures, train=2000, lu=True), network=partial(two_layers, hidden=100),
       epochs=80),
)  # fmt: skip
