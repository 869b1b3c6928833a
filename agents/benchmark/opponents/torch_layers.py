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


def _mlp(network: Network) -> list[Described]:
    inputs, width = network.channels * network.resolution**2, network.width
    return [
        ("Flatten", ()),
        ("Linear", (inputs, width)),
        ("ReLU", ()),
        ("Linear", (width, network.num_classes)),
    ]


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
"""By architecture, with all of its options at their defaults."""


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
