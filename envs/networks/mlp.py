"""Perceptrons of any depth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from lambda_rl.envs.networks.base import Network, Option
from lambda_rl.envs.networks.layers import ACTIVATIONS, Activation, Dropout, Layer, Linear, Logits
from lambda_rl.envs.networks.norms import NORMS


class MLP(Network):
    """Affine layers on the flattened image, a norm (if any) and an activation between them; by default two."""

    name = "mlp"
    options: ClassVar = {
        "depth": Option(2, "affine layers", low=1, high=32),
        "activation": Option("relu", "between the layers", choices=ACTIVATIONS),
        "norm": Option("none", "before each activation", choices=NORMS),
    }
    convolutional = False
    evaluation_compiled = False  # one product is nearly all of it
    side_by_side = 16

    def layers(self) -> Iterator[Layer]:
        """See :meth:`Network.layers`."""
        inputs, depth = self.channels * self.resolution**2, self.settings["depth"]
        for number in range(1, depth):
            name = f"fc{number}"
            yield Linear(name, inputs, self.width)
            yield NORMS[self.settings["norm"]](name, self.width)
            yield Activation(self.settings["activation"])
            yield Dropout(name, self.width)
            inputs = self.width
        yield Logits(f"fc{depth}", inputs, self.num_classes)
