"""Inner networks, written for N of them side by side.

A new one is a class whose :meth:`Network.layers` says what it is built of, and a line that registers it. What a task
may change of it (depth, norm, activation) is an entry of :attr:`Network.options`.
"""

from lambda_rl.envs.networks.base import NETWORKS, Network, NetworkSpec, Option, make_network
from lambda_rl.envs.networks.cnn3 import CNN3
from lambda_rl.envs.networks.layers import Params
from lambda_rl.envs.networks.mlp import MLP
from lambda_rl.envs.networks.resnet9 import ResNet9

for _architecture in (MLP, CNN3, ResNet9):
    NETWORKS.register(_architecture.name, _architecture)

__all__ = ["NETWORKS", "Network", "NetworkSpec", "Option", "Params", "make_network"]
