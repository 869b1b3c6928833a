"""Inner networks, written for N of them side by side."""

from lambda_rl.envs.networks.architectures import (
    ARCHITECTURES,
    Kind,
    Network,
    Params,
    ParamSpec,
    make_network,
)

__all__ = ["ARCHITECTURES", "Kind", "Network", "ParamSpec", "Params", "make_network"]
