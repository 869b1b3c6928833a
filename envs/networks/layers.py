"""Layers that networks are built of, written once for N networks side by side.

N networks of one architecture are one network with N groups: parameters are stacked ``[N, …]``, a linear layer is a
batched matrix product, a convolution has ``groups=N``, a norm over N·C channels is that of N networks. No operation
mixes networks, so a network that diverges leaves the others alone.

What goes from layer to layer has one of two forms:

=======  =====================  =====================================================
rows     ``[N, B, D]``          what a linear layer reads; a network's input
images   ``[B, N·C, H, W]``     what a convolution reads, channels last
=======  =====================  =====================================================

:class:`Images` and :class:`Flatten` go from one to the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lambda_rl.envs.networks.products import linear, logits
from lambda_rl.registry import Registry

Params = dict[str, Tensor]
"""Tensors by the full name of a parameter."""

DROPOUT = "dropout"
"""Beside the parameters, where units are dropped: p of each network, ``[N]``."""


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


class Layer:
    """A layer of N networks.

    Attributes:
        specs: its parameters, by full name, in the order in which their initial values are drawn.
        buffer_specs: running statistics, likewise.
        noises: by name, how many random numbers it reads for each example where units are dropped.

    Args:
        specs: none for a layer without parameters.
        buffer_specs: likewise.
    """

    def __init__(
        self, specs: dict[str, ParamSpec] | None = None, buffer_specs: dict[str, ParamSpec] | None = None
    ) -> None:
        self.specs, self.buffer_specs = specs or {}, buffer_specs or {}
        self.noises: dict[str, int] = {}

    def arranged(self, images: Tensor) -> Tensor:
        """Images ``[n, C, H, W]`` in the form that the layer reads if it is the first one, ``[n, D]``; padded by 0."""
        return images.flatten(1)

    @property
    def arrangement(self) -> object:
        """Equal for layers whose :meth:`arranged` is the same."""
        return None

    def imported(self, params: Params) -> Params:
        """Parameters of one network, without N, from those that a module of ``torch.nn`` would have."""
        return {name: params[name] for name in self.specs}

    def exported(self, params: Params) -> Params:
        """The inverse of :meth:`imported`."""
        return {name: params[name] for name in self.specs}

    def prepared(self, params: Params, dtype: torch.dtype) -> Params:
        """Parameters in the format and form of the computation."""
        return {name: params[name].to(dtype) for name in self.specs}

    def gradients(self, grads: Params, dtype: torch.dtype) -> Params:
        """Gradients of the parameters from those of the :meth:`prepared` ones; may share memory with them."""
        return {name: grads[name].to(dtype) for name in self.specs}

    def forward(self, params: Params, buffers: Params, x: Tensor, *, training: bool) -> Tensor:
        """What the layer makes of its input.

        Args:
            params: stacked ``[N, …]``, as :meth:`prepared` gives them; may hold those of other layers too, and
                :data:`DROPOUT` and the layers' noises.
            buffers: stacked; running statistics are updated in place when ``training``.
            x: rows or images, see the module.
            training: whether norms over the batch take its statistics (true) or the running ones (false).
        """
        raise NotImplementedError


class Sequential(Layer):
    """Layers one after the other.

    Raises:
        ValueError: two of them have a parameter of the same name.
    """

    def __init__(self, *parts: Layer) -> None:
        super().__init__()
        self.parts = parts
        for part in parts:
            for mine, its in ((self.specs, part.specs), (self.buffer_specs, part.buffer_specs)):
                if both := mine.keys() & its.keys():
                    raise ValueError(f"two layers have a parameter {min(both)!r}")
                mine.update(its)
            self.noises.update(part.noises)

    def arranged(self, images: Tensor) -> Tensor:
        """See :meth:`Layer.arranged`."""
        return self.parts[0].arranged(images)

    @property
    def arrangement(self) -> object:
        """See :attr:`Layer.arrangement`."""
        return self.parts[0].arrangement

    def imported(self, params: Params) -> Params:
        """See :meth:`Layer.imported`."""
        return {name: value for part in self.parts for name, value in part.imported(params).items()}

    def exported(self, params: Params) -> Params:
        """See :meth:`Layer.exported`."""
        return {name: value for part in self.parts for name, value in part.exported(params).items()}

    def prepared(self, params: Params, dtype: torch.dtype) -> Params:
        """See :meth:`Layer.prepared`."""
        return {name: value for part in self.parts for name, value in part.prepared(params, dtype).items()}

    def gradients(self, grads: Params, dtype: torch.dtype) -> Params:
        """See :meth:`Layer.gradients`."""
        return {name: value for part in self.parts for name, value in part.gradients(grads, dtype).items()}

    def forward(self, params: Params, buffers: Params, x: Tensor, *, training: bool) -> Tensor:
        """See :meth:`Layer.forward`."""
        for part in self.parts:
            x = part.forward(params, buffers, x, training=training)
        return x


class Residual(Sequential):
    """Layers one after the other, and their input added to the output."""

    def forward(self, params: Params, buffers: Params, x: Tensor, *, training: bool) -> Tensor:
        """See :meth:`Layer.forward`."""
        return x + super().forward(params, buffers, x, training=training)


class Linear(Layer):
    """Rows to rows, ``[N, B, inputs]`` to ``[N, B, outputs]``.

    Args:
        name: of its parameters, ``{name}.weight`` and ``{name}.bias``.
        inputs: D before.
        outputs: D after.
        columns: int64 ``[inputs]``; where each of its inputs lies among those of ``torch.nn``, if not in their order.
    """

    def __init__(self, name: str, inputs: int, outputs: int, columns: Tensor | None = None) -> None:
        bound = 1.0 / math.sqrt(inputs)  # what torch.nn.Linear draws from
        self._weight, self._bias = f"{name}.weight", f"{name}.bias"
        super().__init__(
            {self._weight: ParamSpec((outputs, inputs), bound), self._bias: ParamSpec((outputs,), bound)}
        )
        self.columns = columns

    def imported(self, params: Params) -> Params:
        """See :meth:`Layer.imported`."""
        made = super().imported(params)
        return made if self.columns is None else made | {self._weight: made[self._weight][:, self.columns]}

    def exported(self, params: Params) -> Params:
        """See :meth:`Layer.exported`."""
        made = super().exported(params)
        if self.columns is None:
            return made
        weight = made[self._weight]
        return made | {self._weight: weight[:, self.columns.argsort().to(weight.device)]}

    def forward(self, params: Params, buffers: Params, x: Tensor, *, training: bool) -> Tensor:
        """See :meth:`Layer.forward`."""
        return linear(x, params[self._weight], params[self._bias])


class Logits(Linear):
    """The last layer: rows to ``[N, classes, B]``, classes first since softmax over the last dimension is slower."""

    def forward(self, params: Params, buffers: Params, x: Tensor, *, training: bool) -> Tensor:
        """See :meth:`Layer.forward`."""
        return logits(x, params[self._weight], params[self._bias])


class Images(Layer):
    """Rows to images.

    Args:
        channels: C.
        side: H and W.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.shape = (channels, side, side)

    def forward(self, params: Params, buffers: Params, x: Tensor, *, training: bool) -> Tensor:
        """See :meth:`Layer.forward`."""
        images = torch.unflatten(x, 2, self.shape).transpose(0, 1)
        return images.flatten(1, 2).contiguous(memory_format=torch.channels_last)


class Flatten(Layer):
    """Images to rows."""

    def forward(self, params: Params, buffers: Params, x: Tensor, *, training: bool) -> Tensor:
        """See :meth:`Layer.forward`."""
        count = len(next(iter(params.values())))
        return torch.unflatten(x, 1, (count, -1)).transpose(0, 1).flatten(2)


class Conv(Layer):
    """Images to images of the same side.

    Args:
        name: of its parameters, ``{name}.weight`` and ``{name}.bias``.
        channels: C before.
        filters: C after.
        kernel: side of the filters, odd.
        bias: whether it has one; not before a norm.
    """

    def __init__(self, name: str, channels: int, filters: int, kernel: int = 3, *, bias: bool = True) -> None:
        bound = 1.0 / math.sqrt(channels * kernel**2)  # what torch.nn.Conv2d draws from
        self._weight, self._bias = f"{name}.weight", f"{name}.bias"
        specs = {self._weight: ParamSpec((filters, channels, kernel, kernel), bound)}
        super().__init__(specs | ({self._bias: ParamSpec((filters,), bound)} if bias else {}))

    def forward(self, params: Params, buffers: Params, x: Tensor, *, training: bool) -> Tensor:
        """See :meth:`Layer.forward`."""
        weight = params[self._weight]
        bias = params[self._bias].flatten() if self._bias in self.specs else None
        return F.conv2d(x, weight.flatten(0, 1), bias, padding=weight.shape[-1] // 2, groups=weight.shape[0])


class Pool(Layer):
    """Maximum pooling of images.

    Args:
        side: of the windows, which do not overlap; 0: one window, the whole image.
    """

    def __init__(self, side: int = 2) -> None:
        super().__init__()
        self.side = side

    def forward(self, params: Params, buffers: Params, x: Tensor, *, training: bool) -> Tensor:
        """See :meth:`Layer.forward`."""
        # Of the whole image both give the same, and each is the faster one somewhere.
        if self.side or x.is_cuda:
            return F.max_pool2d(x, self.side or x.shape[-2:])
        return F.adaptive_max_pool2d(x, 1)


class Activation(Layer):
    """A function of each number.

    Args:
        kind: one of :data:`ACTIVATIONS`.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.function = ACTIVATIONS[kind]

    def forward(self, params: Params, buffers: Params, x: Tensor, *, training: bool) -> Tensor:
        """See :meth:`Layer.forward`."""
        return self.function(x)


class Dropout(Layer):
    """Rows of which units are dropped where p and noise are given beside the parameters; else as they are.

    Args:
        name: of its noise, ``{name}.noise``, ``[N, B, width]`` uniform in [0, 1).
        width: of the rows.
    """

    def __init__(self, name: str, width: int) -> None:
        super().__init__()
        self._noise = f"{name}.noise"
        self.noises = {self._noise: width}

    def forward(self, params: Params, buffers: Params, x: Tensor, *, training: bool) -> Tensor:
        """See :meth:`Layer.forward`."""
        noise = params.get(self._noise)
        if noise is None or not training:
            return x
        keep = 1.0 - params[DROPOUT].view(-1, 1, 1)
        return x * ((noise < keep) / keep).to(x.dtype)


ACTIVATIONS: Registry[Callable[[Tensor], Tensor]] = Registry("activation")
"""What :class:`Activation` can be."""

ACTIVATIONS.register("relu", F.relu)
ACTIVATIONS.register("leaky-relu", F.leaky_relu)
ACTIVATIONS.register("tanh", torch.tanh)
ACTIVATIONS.register("gelu", F.gelu)
ACTIVATIONS.register("silu", F.silu)
