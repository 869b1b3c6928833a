"""Inner networks as layers of ``torch.nn``, as anybody would write them: what opponents train.

They are described by names and numbers, so that a process without lambda-rl can build them too.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from lambda_rl.envs.networks import NETWORKS, Network
from lambda_rl.envs.networks.cnn3 import CNN3
from lambda_rl.envs.networks.mlp import MLP
from lambda_rl.envs.optimizers import OPTIMIZERS, SGD
from lambda_rl.envs.tasks.task import Task
from lambda_rl.penalties import PENALTIES

Described = tuple[str, tuple[int, ...]]
"""A class of ``torch.nn`` and its arguments."""


_ACTIVATIONS = {"relu": "ReLU", "gelu": "GELU", "tanh": "Tanh", "silu": "SiLU", "leaky-relu": "LeakyReLU"}
_NORMS = {"batch": "BatchNorm1d", "layer": "LayerNorm"}


def _mlp(network: Network) -> list[Described]:
    inputs, width, options = network.channels * network.resolution**2, network.width, network.settings
    layers: list[Described] = [("Flatten", ())]
    for _ in range(options["depth"] - 1):
        layers.append(("Linear", (inputs, width)))
        if options["norm"] in _NORMS:
            layers.append((_NORMS[options["norm"]], (width,)))
        layers.append((_ACTIVATIONS[options["activation"]], ()))
        inputs = width
    return [*layers, ("Linear", (inputs, network.num_classes))]


def _cnn3(network: Network) -> list[Described]:
    width, pooled = network.width, (network.resolution // 2) ** 2
    return [
        ("Conv2d", (network.channels, width, 5, 1, 2)),
        ("MaxPool2d", (2,)),
        ("ReLU", ()),
        ("Flatten", ()),
        ("Linear", (width * pooled, 4 * width)),
        ("ReLU", ()),
        ("Linear", (4 * width, network.num_classes)),
    ]


LAYERS: dict[type[Network], Callable[[Network], list[Described]]] = {MLP: _mlp, CNN3: _cnn3}
"""By architecture; of MLPs with any options, of others with all of them at their defaults."""


def trains_alike(task: Task) -> bool:
    """Whether a plain loop over these layers trains the task: SGD, weight decay in the gradient, images as they are."""
    return (
        NETWORKS[task.network] in LAYERS
        and not task.network_options
        and isinstance(OPTIMIZERS[task.optimizer], SGD)
        and PENALTIES[task.penalty].is_weight_decay
        and task.decay == "coupled"
        and not task.augment
    )


def plain_network(network: Network) -> nn.Sequential:
    """A network as ``torch.nn`` modules, with initial values of torch's own."""
    return nn.Sequential(*(getattr(nn, name)(*numbers) for name, numbers in LAYERS[type(network)](network)))
