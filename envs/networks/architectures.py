"""The inner networks, written once for N networks side by side.

N networks of one architecture are one network with N groups: parameters are stacked ``[N, …]``, a linear layer is a
batched matrix product, a convolution is one over tiles of the image (:mod:`.layers`) or has ``groups=N`` over
activations ``[B, N·C, H, W]``, batch norm is ordinary.
No operation mixes networks, so a network that diverges leaves the others alone.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lambda_rl.envs.networks.layers import (
    linear,
    logits,
    max_of_four,
    tile_columns,
    tile_matrix,
    tile_matrix_gradient,
    tiles,
)

Params = dict[str, Tensor]

Kind = tuple[str, int, int, int]
"""Name, width, resolution and number of classes of an architecture."""

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
    return linear(x, params[f"{name}.weight"], params[f"{name}.bias"])


def _logits(params: Params, name: str, x: Tensor) -> Tensor:
    """``[N, B, in]`` to ``[N, out, B]``."""
    return logits(x, params[f"{name}.weight"], params[f"{name}.bias"])


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

    name = ""
    convolutional = True
    evaluated_at_once = 512
    """Images per network that an evaluation takes at once on a CPU: enough for efficient products, few enough for the
    cache."""
    evaluation_compiled = True
    """Whether it is worth it to compile evaluations too."""
    side_by_side = 1
    """Networks that are trained as one on a CPU, at most: more spread the cost of calls, fewer stay in the cache."""

    def __init__(self, width: int, resolution: int, num_classes: int) -> None:
        self.width, self.resolution, self.num_classes = width, resolution, num_classes
        self.specs: dict[str, ParamSpec] = self._parameters()
        self.buffer_specs: dict[str, ParamSpec] = self._buffers()
        self.penalised = tuple(name for name, spec in self.specs.items() if spec.penalised)
        self.num_penalised = sum(math.prod(self.specs[name].shape) for name in self.penalised)

    @property
    def kind(self) -> Kind:
        """What :func:`make_network` makes the same architecture from."""
        return self.name, self.width, self.resolution, self.num_classes

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

    def arranged(self, images: Tensor) -> Tensor:
        """Images ``[n, 3, H, W]`` in the form that the network reads, ``[n, D]``; what is added is zero."""
        return images.flatten(1)

    @property
    def arrangement(self) -> object:
        """Equal for networks whose :meth:`arranged` is the same."""
        return None

    def prepared(self, params: Params, dtype: torch.dtype) -> Params:
        """Parameters in the format and form of the computation.

        Batch norm's stay in the format of its running statistics.
        """
        return {
            name: value if name.endswith((".scale", ".shift")) else value.to(dtype)
            for name, value in params.items()
        }

    def gradients(self, grads: Params, dtype: torch.dtype) -> Params:
        """Gradients of the parameters from those of the :meth:`prepared` ones; may share memory with them."""
        return {name: value.to(dtype) for name, value in grads.items()}

    def exported(self, params: Params) -> Params:
        """Parameters of one network, without the leading N, as the modules of ``torch.nn`` have them."""
        return dict(params)

    def forward(self, params: Params, buffers: Params, x: Tensor, *, training: bool) -> Tensor:
        """Logits.

        Args:
            params: stacked ``[N, …]``, as :meth:`prepared` gives them.
            buffers: stacked; batch norm's running statistics are updated in place when ``training``.
            x: ``[N, B, D]``, normalised images as :meth:`arranged` gives them.
            training: batch statistics (true) or running statistics (false) in batch norm.

        Returns:
            ``[N, num_classes, B]``.
        """
        raise NotImplementedError


class MLP(Network):
    """Two layers: affine-ReLU-affine on the flattened image."""

    name = "mlp"
    convolutional = False
    evaluation_compiled = False  # one product is nearly all of it
    side_by_side = 16

    def _parameters(self) -> dict[str, ParamSpec]:
        inputs = 3 * self.resolution**2
        return _affine("fc1", inputs, self.width) | _affine("fc2", self.width, self.num_classes)

    def forward(self, params: Params, buffers: Params, x: Tensor, *, training: bool) -> Tensor:
        """See :meth:`Network.forward`."""
        return _logits(params, "fc2", F.relu(_linear(params, "fc1", x)))


class CNN3(Network):
    """The three-layer convolutional network of Lu (2017), section 5: conv-ReLU-pool-affine-ReLU-affine.

    5x5 filters, 2x2 maximum pooling, 4 hidden units per filter. The convolution is a product over tiles of the image,
    and the columns of ``fc1.weight`` are in the order in which that gives its outputs; :meth:`exported` has them in
    that of ``torch.nn.Flatten``.

    Raises:
        ValueError: the resolution is odd.
    """

    name = "cnn3"
    evaluated_at_once = 64
    side_by_side = 4

    def __init__(self, width: int, resolution: int, num_classes: int) -> None:
        if resolution % 2:
            raise ValueError(f"cnn3 pools 2x2 pixels: its resolution must be even, got {resolution}")
        self.tile = 2 if resolution % 4 else 4
        self._columns = tile_columns(width, resolution, self.tile)
        super().__init__(width, resolution, num_classes)

    def _parameters(self) -> dict[str, ParamSpec]:
        bound = 1.0 / math.sqrt(3 * 25)
        conv = {
            "conv.weight": ParamSpec((self.width, 3, 5, 5), bound),
            "conv.bias": ParamSpec((self.width,), bound),
        }
        flat = self.width * (self.resolution // 2) ** 2
        hidden = 4 * self.width
        return conv | _affine("fc1", flat, hidden) | _affine("fc2", hidden, self.num_classes)

    def init(self, generator: torch.Generator, dtype: torch.dtype, std: float = 0.0) -> tuple[Params, Params]:
        """See :meth:`Network.init`."""
        params, buffers = super().init(generator, dtype, std)
        return params | {"fc1.weight": params["fc1.weight"][:, self._columns]}, buffers

    def exported(self, params: Params) -> Params:
        """See :meth:`Network.exported`."""
        weight = params["fc1.weight"]
        return params | {"fc1.weight": weight[:, self._columns.argsort().to(weight.device)]}

    def arranged(self, images: Tensor) -> Tensor:
        """See :meth:`Network.arranged`."""
        return tiles(images, self.tile)

    @property
    def arrangement(self) -> object:
        """See :meth:`Network.arrangement`."""
        return self.tile

    def prepared(self, params: Params, dtype: torch.dtype) -> Params:
        """See :meth:`Network.prepared`."""
        made = super().prepared(params, dtype)
        return made | {"conv.weight": tile_matrix(made["conv.weight"], self.tile)}

    def gradients(self, grads: Params, dtype: torch.dtype) -> Params:
        """See :meth:`Network.gradients`."""
        made = super().gradients(grads, dtype)
        return made | {"conv.weight": tile_matrix_gradient(made["conv.weight"], self.tile, channels=3)}

    def forward(self, params: Params, buffers: Params, x: Tensor, *, training: bool) -> Tensor:
        """See :meth:`Network.forward`."""
        count, batch = x.shape[:2]
        seen = x.reshape(count, batch * (self.resolution // self.tile) ** 2, -1)
        h = max_of_four(torch.bmm(seen, params["conv.weight"]).unflatten(2, (4, -1)))
        # Bias, ReLU and maximum commute; after the pooling they have a quarter of the work.
        h = F.relu(h.unflatten(2, (-1, self.width)) + params["conv.bias"].view(count, 1, 1, -1))
        h = F.relu(_linear(params, "fc1", h.reshape(count, batch, -1)))
        return _logits(params, "fc2", h)


class ResNet9(Network):
    """ResNet-9 after Page (2018), "How to train your ResNet": 8 convolutions with batch norm, 2 residual blocks."""

    name = "resnet9"

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

        h = block("prep", _side_by_side(x.unflatten(2, (3, self.resolution, self.resolution))))
        h = F.max_pool2d(block("layer1", h), 2)
        h = h + block("res1b", block("res1a", h))
        h = F.max_pool2d(block("layer2", h), 2)
        h = F.max_pool2d(block("layer3", h), 2)
        h = h + block("res3b", block("res3a", h))
        return _logits(params, "fc", _per_network(F.adaptive_max_pool2d(h, 1), x.shape[0]))


ARCHITECTURES: dict[str, type[Network]] = {kind.name: kind for kind in (MLP, CNN3, ResNet9)}


@functools.cache
def make_network(name: str, width: int, resolution: int, num_classes: int) -> Network:
    """The architecture of that name, made once; ``ValueError`` if there is none."""
    if name not in ARCHITECTURES:
        raise ValueError(f"unknown network {name!r}; allowed are {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name](width, resolution, num_classes)
