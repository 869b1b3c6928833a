"""The inner networks, written once for N networks side by side.

N networks of one architecture are one network with N groups: parameters are stacked ``[N, …]``, a linear layer is a
batched matrix product, a convolution has ``groups=N`` over activations ``[B, N·C, H, W]``, batch norm is ordinary.
No operation mixes networks, so a network that diverges leaves the others alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Params = dict[str, Tensor]

BATCH_NORM_MOMENTUM = 0.1
BATCH_NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class ParamSpec:
    """Shape and initial scale of one parameter of one network.

    Attributes:
        shape: without the leading N.
        bound: initial values are uniform in ±bound; 0 gives zeros.
        fill: where given, the initial value of all entries.
    """

    shape: tuple[int, ...]
    bound: float = 0.0
    fill: float | None = None

    @property
    def penalised(self) -> bool:
        """Weights are, biases and norms are not."""
        return len(self.shape) >= 2


def _affine(name: str, fan_in: int, fan_out: int) -> dict[str, ParamSpec]:
    bound = 1.0 / math.sqrt(fan_in)  # what torch.nn.Linear and Conv2d draw from
    return {
        f"{name}.weight": ParamSpec((fan_out, fan_in), bound),
        f"{name}.bias": ParamSpec((fan_out,), bound),
    }


def _linear(params: Params, name: str, x: Tensor) -> Tensor:
    """``[N, B, in]`` to ``[N, B, out]``."""
    weight, bias = params[f"{name}.weight"], params[f"{name}.bias"]
    # Weight on the left: its gradient then has its own memory layout, which halves the time of the update.
    return torch.baddbmm(bias.unsqueeze(2), weight, x.transpose(1, 2)).transpose(1, 2)


def _conv(params: Params, name: str, x: Tensor) -> Tensor:
    """``[B, N·C_in, H, W]`` to ``[B, N·C_out, H, W]``, same padding."""
    weight = params[f"{name}.weight"]
    bias = params.get(f"{name}.bias")
    flat_bias = bias.flatten() if bias is not None else None
    return F.conv2d(x, weight.flatten(0, 1), flat_bias, padding=weight.shape[-1] // 2, groups=weight.shape[0])


def _side_by_side(x: Tensor) -> Tensor:
    """``[N, B, C, H, W]`` to ``[B, N·C, H, W]`` channels last."""
    return x.transpose(0, 1).flatten(1, 2).contiguous(memory_format=torch.channels_last)


def _per_network(x: Tensor, count: int) -> Tensor:
    """``[B, N·C, H, W]`` to ``[N, B, C·H·W]``."""
    return x.unflatten(1, (count, -1)).transpose(0, 1).flatten(2)


class Network:
    """An architecture: the parameters it has, and its forward pass for N networks.

    Args:
        width: see ``Task.width``.
        resolution: side of the images.
        num_classes: outputs.
    """

    convolutional = True

    def __init__(self, width: int, resolution: int, num_classes: int) -> None:
        self.width, self.resolution, self.num_classes = width, resolution, num_classes
        self.specs: dict[str, ParamSpec] = self._parameters()
        self.buffer_specs: dict[str, ParamSpec] = self._buffers()
        self.penalised = tuple(name for name, spec in self.specs.items() if spec.penalised)
        self.num_penalised = sum(math.prod(self.specs[name].shape) for name in self.penalised)

    def _parameters(self) -> dict[str, ParamSpec]:
        raise NotImplementedError

    def _buffers(self) -> dict[str, ParamSpec]:
        return {}

    def init(self, generator: torch.Generator, dtype: torch.dtype, std: float = 0.0) -> tuple[Params, Params]:
        """Parameters and buffers of one network, without the leading N, on the CPU.

        The numbers come from the generator alone, in float32, so that they are the same for every dtype and device.

        Args:
            generator: draws them.
            dtype: of the parameters.
            std: weights are normal with this deviation and biases 0; 0: both uniform in ±bound.
        """
        made = []
        for specs in (self.specs, self.buffer_specs):
            values = {}
            for name, spec in specs.items():
                if spec.fill is not None:
                    values[name] = torch.full(spec.shape, spec.fill, dtype=dtype)
                elif std and spec.penalised:
                    values[name] = (std * torch.randn(spec.shape, generator=generator)).to(dtype)
                elif std:
                    values[name] = torch.zeros(spec.shape, dtype=dtype)
                else:
                    uniform = torch.rand(spec.shape, generator=generator)
                    values[name] = ((2 * uniform - 1) * spec.bound).to(dtype)
            made.append(values)
        return made[0], made[1]

    def cast(self, params: Params, dtype: torch.dtype) -> Params:
        """Parameters in the format of the computation; batch norm's stay in that of its running statistics."""
        return {
            name: value if name.endswith((".scale", ".shift")) else value.to(dtype)
            for name, value in params.items()
        }

    def forward(self, params: Params, buffers: Params, x: Tensor, *, training: bool) -> Tensor:
        """Logits.

        Args:
            params: stacked ``[N, …]``.
            buffers: stacked; batch norm's running statistics are updated in place when ``training``.
            x: ``[N, B, 3, H, W]``, normalised images.
            training: batch statistics (true) or running statistics (false) in batch norm.

        Returns:
            ``[N, B, num_classes]``.
        """
        raise NotImplementedError


class MLP(Network):
    """Two layers: affine-ReLU-affine on the flattened image."""

    convolutional = False

    def _parameters(self) -> dict[str, ParamSpec]:
        inputs = 3 * self.resolution**2
        return _affine("fc1", inputs, self.width) | _affine("fc2", self.width, self.num_classes)

    def forward(self, params: Params, buffers: Params, x: Tensor, *, training: bool) -> Tensor:
        """See :meth:`Network.forward`."""
        return _linear(params, "fc2", F.relu(_linear(params, "fc1", x.flatten(2))))


class CNN3(Network):
    """The three-layer convolutional network of Lu (2017), section 5: conv-ReLU-pool-affine-ReLU-affine.

    5x5 filters, 2x2 maximum pooling, 4 hidden units per filter.
    """

    def _parameters(self) -> dict[str, ParamSpec]:
        bound = 1.0 / math.sqrt(3 * 25)
        conv = {
            "conv.weight": ParamSpec((self.width, 3, 5, 5), bound),
            "conv.bias": ParamSpec((self.width,), bound),
        }
        flat = self.width * (self.resolution // 2) ** 2
        hidden = 4 * self.width
        return conv | _affine("fc1", flat, hidden) | _affine("fc2", hidden, self.num_classes)

    def forward(self, params: Params, buffers: Params, x: Tensor, *, training: bool) -> Tensor:
        """See :meth:`Network.forward`."""
        # ReLU and maximum commute; after the pooling it has a quarter of the work.
        h = F.relu(F.max_pool2d(_conv(params, "conv", _side_by_side(x)), 2))
        h = F.relu(_linear(params, "fc1", _per_network(h, x.shape[0])))
        return _linear(params, "fc2", h)


class ResNet9(Network):
    """ResNet-9 after Page (2018), "How to train your ResNet": 8 convolutions with batch norm, 2 residual blocks."""

    def _blocks(self) -> dict[str, tuple[int, int]]:
        w = self.width
        return {
            "prep": (3, w), "layer1": (w, 2 * w), "res1a": (2 * w, 2 * w), "res1b": (2 * w, 2 * w),
            "layer2": (2 * w, 4 * w), "layer3": (4 * w, 8 * w), "res3a": (8 * w, 8 * w), "res3b": (8 * w, 8 * w),
        }  # fmt: skip

    def _parameters(self) -> dict[str, ParamSpec]:
        specs: dict[str, ParamSpec] = {}
        for name, (fan_in, fan_out) in self._blocks().items():
            specs[f"{name}.weight"] = ParamSpec((fan_out, fan_in, 3, 3), 1.0 / math.sqrt(9 * fan_in))
            specs[f"{name}.scale"] = ParamSpec((fan_out,), fill=1.0)
            specs[f"{name}.shift"] = ParamSpec((fan_out,), fill=0.0)
        return specs | _affine("fc", 8 * self.width, self.num_classes)

    def _buffers(self) -> dict[str, ParamSpec]:
        specs: dict[str, ParamSpec] = {}
        for name, (_, fan_out) in self._blocks().items():
            specs[f"{name}.running_mean"] = ParamSpec((fan_out,), fill=0.0)
            specs[f"{name}.running_var"] = ParamSpec((fan_out,), fill=1.0)
        return specs

    def forward(self, params: Params, buffers: Params, x: Tensor, *, training: bool) -> Tensor:
        """See :meth:`Network.forward`."""

        def block(name: str, h: Tensor) -> Tensor:
            h = _conv(params, name, h)
            h = F.batch_norm(
                h,
                buffers[f"{name}.running_mean"].view(-1),
                buffers[f"{name}.running_var"].view(-1),
                params[f"{name}.scale"].flatten(),
                params[f"{name}.shift"].flatten(),
                training,
                BATCH_NORM_MOMENTUM,
                BATCH_NORM_EPSILON,
            )
            return F.relu(h)

        h = block("prep", _side_by_side(x))
        h = F.max_pool2d(block("layer1", h), 2)
        h = h + block("res1b", block("res1a", h))
        h = F.max_pool2d(block("layer2", h), 2)
        h = F.max_pool2d(block("layer3", h), 2)
        h = h + block("res3b", block("res3a", h))
        return _linear(params, "fc", _per_network(F.adaptive_max_pool2d(h, 1), x.shape[0]))


ARCHITECTURES: dict[str, type[Network]] = {"mlp": MLP, "cnn3": CNN3, "resnet9": ResNet9}


def make_network(name: str, width: int, resolution: int, num_classes: int) -> Network:
    """The architecture of that name; ``ValueError`` if there is none."""
    if name not in ARCHITECTURES:
        raise ValueError(f"unknown network {name!r}; allowed are {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name](width, resolution, num_classes)
