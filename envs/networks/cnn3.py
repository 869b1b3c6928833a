"""The convolutional network of Lu (2017)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from lambda_rl.envs.networks.base import Network, Option
from lambda_rl.envs.networks.layers import ACTIVATIONS, Activation, Dropout, Layer, Linear, Logits
from lambda_rl.envs.networks.norms import NORMS
from lambda_rl.envs.networks.tiles import TiledConv


class CNN3(Network):
    """The three-layer convolutional network of Lu (2017), section 5: conv-ReLU-pool-affine-ReLU-affine.

    5x5 filters, 2x2 maximum pooling, 4 hidden units per filter. The activation comes after the pooling: for ReLU, and
    all that never falls, that is the same. The convolution is a product over tiles of the image, and the columns of
    ``fc1.weight`` are in the order in which that gives its outputs; :meth:`exported` has them in that of
    ``torch.nn.Flatten``.

    Raises:
        ValueError: the resolution is odd.
    """

    name = "cnn3"
    options: ClassVar = {
        "hidden": Option(4, "hidden units per filter", low=1, high=64),
        "activation": Option("relu", "between the layers", choices=ACTIVATIONS),
        "norm": Option("none", "between the affine layers, before the activation", choices=NORMS),
    }
    evaluated_at_once = 64
    side_by_side = 4

    def layers(self) -> Iterator[Layer]:
        """See :meth:`Network.layers`."""
        if self.resolution % 2:
            raise ValueError(
                f"{self.name} pools 2x2 pixels: its resolution must be even, got {self.resolution}"
            )
        conv = TiledConv("conv", self.channels, self.width, self.resolution)
        hidden = self.settings["hidden"] * self.width
        yield conv
        yield Activation(self.settings["activation"])
        yield Linear("fc1", len(conv.columns), hidden, conv.columns)
        yield NORMS[self.settings["norm"]]("fc1", hidden)
        yield Activation(self.settings["activation"])
        yield Dropout("fc1", hidden)
        yield Logits("fc2", hidden, self.num_classes)
