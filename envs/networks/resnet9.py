"""A small residual network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from lambda_rl.envs.networks.base import Network, Option
from lambda_rl.envs.networks.layers import (
    ACTIVATIONS,
    Activation,
    Conv,
    Flatten,
    Images,
    Layer,
    Logits,
    Pool,
    Residual,
)
from lambda_rl.envs.networks.norms import NORMS

LEAST = 8
"""Side of an image that can be halved three times."""


class ResNet9(Network):
    """ResNet-9 after Page (2018), "How to train your ResNet": 8 convolutions with batch norm, 2 residual blocks.

    Raises:
        ValueError: the images are too small to be pooled three times.
    """

    name = "resnet9"
    apart_on_gpu = True
    options: ClassVar = {
        "activation": Option("relu", "after each convolution", choices=ACTIVATIONS),
        "norm": Option("batch", "of each convolution; without one it has a bias", choices=NORMS),
    }

    def _block(self, name: str, channels: int, filters: int) -> Iterator[Layer]:
        norm = self.settings["norm"]
        yield Conv(name, channels, filters, bias=norm == "none")
        yield NORMS[norm](name, filters)
        yield Activation(self.settings["activation"])

    def layers(self) -> Iterator[Layer]:
        """See :meth:`Network.layers`."""
        if self.resolution < LEAST:
            raise ValueError(
                f"{self.name} halves images three times: "
                f"its resolution must be at least {LEAST}, got {self.resolution}"
            )
        w = self.width
        yield Images(self.channels, self.resolution)
        yield from self._block("prep", self.channels, w)
        yield from self._block("layer1", w, 2 * w)
        yield Pool(2)
        yield Residual(*self._block("res1a", 2 * w, 2 * w), *self._block("res1b", 2 * w, 2 * w))
        yield from self._block("layer2", 2 * w, 4 * w)
        yield Pool(2)
        yield from self._block("layer3", 4 * w, 8 * w)
        yield Pool(2)
        yield Residual(*self._block("res3a", 8 * w, 8 * w), *self._block("res3b", 8 * w, 8 * w))
        yield Pool(0)
        yield Flatten()
        yield Logits("fc", 8 * w, self.num_classes)
