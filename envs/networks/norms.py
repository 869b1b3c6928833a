"""Norms of N networks side by side: each network's features or channels are its own."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lambda_rl.envs.networks.layers import Layer, Params, ParamSpec
from lambda_rl.registry import Registry

MOMENTUM = 0.1
EPSILON = 1e-5


class Norm(Layer):
    """What norms have in common: each feature of rows, or channel of images, gets a scale and a shift.

    These stay in the format of the parameters, whatever the computation is in.

    Args:
        name: of its parameters, ``{name}.scale`` and ``{name}.shift``.
        features: D, or C.
        buffer_specs: running statistics.
    """

    def __init__(self, name: str, features: int, buffer_specs: dict[str, ParamSpec] | None = None) -> None:
        self._scale, self._shift = f"{name}.scale", f"{name}.shift"
        ones, zeros = ParamSpec((features,), fill=1.0), ParamSpec((features,), fill=0.0)
        super().__init__({self._scale: ones, self._shift: zeros}, buffer_specs)

    def prepared(self, params: Params, dtype: torch.dtype) -> Params:
        """See :meth:`Layer.prepared`."""
        return {name: params[name] for name in self.specs}

    def forward(self, params: Params, buffers: Params, x: Tensor, *, training: bool) -> Tensor:
        """See :meth:`Layer.forward`."""
        if x.dim() == 4:
            return self.normalised(params, buffers, x, training)
        count = x.shape[0]
        beside = self.normalised(params, buffers, x.transpose(0, 1).flatten(1), training)
        return torch.unflatten(beside, 1, (count, -1)).transpose(0, 1)

    def normalised(self, params: Params, buffers: Params, x: Tensor, training: bool) -> Tensor:
        """The norm of ``[B, N·C, …]``."""
        raise NotImplementedError


class BatchNorm(Norm):
    """Batch norm; its statistics are each network's own."""

    def __init__(self, name: str, features: int) -> None:
        self._mean, self._var = f"{name}.running_mean", f"{name}.running_var"
        zeros, ones = ParamSpec((features,), fill=0.0), ParamSpec((features,), fill=1.0)
        super().__init__(name, features, {self._mean: zeros, self._var: ones})

    def normalised(self, params: Params, buffers: Params, x: Tensor, training: bool) -> Tensor:
        """See :meth:`Norm.normalised`."""
        mean, var = buffers[self._mean].view(-1), buffers[self._var].view(-1)
        scale, shift = params[self._scale].flatten(), params[self._shift].flatten()
        return F.batch_norm(x, mean, var, scale, shift, training, MOMENTUM, EPSILON)


class LayerNorm(Norm):
    """Mean and deviation of each example, over all of its numbers (for images, a group norm of one group)."""

    def normalised(self, params: Params, buffers: Params, x: Tensor, training: bool) -> Tensor:
        """See :meth:`Norm.normalised`."""
        scale, shift = params[self._scale], params[self._shift]
        made = F.group_norm(x.to(scale.dtype), len(scale), scale.flatten(), shift.flatten(), EPSILON)
        return made.to(x.dtype)


class NoNorm(Layer):
    """Nothing, where a norm could be."""

    def __init__(self, name: str, features: int) -> None:
        super().__init__()

    def forward(self, params: Params, buffers: Params, x: Tensor, *, training: bool) -> Tensor:
        """See :meth:`Layer.forward`."""
        return x


NORMS: Registry[Callable[[str, int], Layer]] = Registry("norm")
"""Norms, made from their name and how many features or channels there are."""

NORMS.register("none", NoNorm)
NORMS.register("batch", BatchNorm)
NORMS.register("layer", LayerNorm)
