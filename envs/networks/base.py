"""What a network is: a description, its options, and the layers that it is built of."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lambda_rl.envs.networks.lanes import side_by_side
from lambda_rl.envs.networks.layers import Layer, Params, Sequential
from lambda_rl.registry import Registry

OptionValue = bool | int | float | str


@dataclass(frozen=True)
class NetworkSpec:
    """All that :func:`make_network` makes a network from.

    Attributes:
        name: one of :data:`NETWORKS`.
        width: see ``Task.width``.
        resolution: side of the images.
        channels: of the images.
        num_classes: outputs.
        options: (name, value) of those that are not at their default, see ``Network.options``.
    """

    name: str
    width: int
    resolution: int
    channels: int = 3
    num_classes: int = 10
    options: tuple[tuple[str, OptionValue], ...] = ()

    def __str__(self) -> str:
        channels = "" if self.channels == 3 else f", channels={self.channels}"
        options = "".join(f", {name}={value}" for name, value in self.options)
        return f"{self.name} {self.width}, {self.resolution} px{channels}{options}"


@dataclass(frozen=True)
class Option:
    """A property of a class of networks that a task may change.

    Attributes:
        default: its type is the option's: true or false, a whole number, a number, a text.
        help: what it is.
        choices: of a text.
        low: of a number, included.
        high: likewise.
    """

    default: OptionValue
    help: str
    choices: Collection[str] = ()
    low: float = -math.inf
    high: float = math.inf

    @property
    def allowed(self) -> str:
        """What it may be, in words."""
        if isinstance(self.default, bool):
            return "true or false"
        if isinstance(self.default, str):
            return f"one of {', '.join(self.choices)}"
        kind = "a whole number" if isinstance(self.default, int) else "a number"
        return f"{kind} from {self.low:g} to {self.high:g}"

    def accepts(self, value: object) -> bool:
        """Whether it may be this."""
        if isinstance(self.default, bool) or isinstance(value, bool):
            return isinstance(self.default, bool) and isinstance(value, bool)
        if isinstance(self.default, str):
            return isinstance(value, str) and value in self.choices
        kinds = int if isinstance(self.default, int) else (int, float)
        return isinstance(value, kinds) and self.low <= value <= self.high


class Network(Sequential):
    """An architecture: the layers that it is built of, hence its parameters and its forward pass, for N networks.

    A class gives :meth:`layers` and is registered; all else has defaults. :meth:`forward` takes rows ``[N, B, D]``,
    normalised images as :meth:`arranged` gives them, and gives logits ``[N, num_classes, B]``.

    Attributes:
        kind: what :func:`make_network` makes the same network from.
        settings: all options, by name.
        penalised: names of the parameters that a penalty acts on.
        num_penalised: how many numbers these are.

    Args:
        kind: its ``name`` is the class's own.

    Raises:
        ValueError: an option that there is not, or a value that is not allowed.
    """

    name: ClassVar[str] = ""
    options: ClassVar[dict[str, Option]] = {}
    """What a task may change, by name."""
    convolutional = True
    evaluated_at_once = 512
    """Images per network that an evaluation takes at once on a CPU: enough for efficient products, few enough for the
    cache."""
    evaluation_compiled = True
    """Whether it is worth it to compile evaluations too."""
    side_by_side = 1
    """Networks that are trained as one on a CPU, at most: more spread the cost of calls, fewer stay in the cache."""
    apart_on_gpu = False
    """Whether a GPU trains N such networks each on its own, several at a time: convolutions are dense then, while
    groups have fewer kernels, which counts more where nothing is captured. See docs/performance.md."""

    def __init__(self, kind: NetworkSpec) -> None:
        self.kind = kind
        self.width, self.resolution = kind.width, kind.resolution
        self.channels, self.num_classes = kind.channels, kind.num_classes
        self.settings = self.resolved(kind.options)
        super().__init__(*self.layers())
        self.penalised = tuple(name for name, spec in self.specs.items() if spec.penalised)
        self.num_penalised = sum(math.prod(self.specs[name].shape) for name in self.penalised)

    @property
    def normalised(self) -> bool:
        """Whether a layer normalises its features, so that the size of the weights before it does not matter."""
        return any(name.endswith(".scale") for name in self.specs)

    def layers(self) -> Iterable[Layer]:
        """The layers, first to last; may read all that :class:`NetworkSpec` has, and :attr:`settings`.

        Raises:
            ValueError: the sizes do not fit each other.
        """
        raise NotImplementedError

    @classmethod
    def resolved(cls, options: Iterable[tuple[str, OptionValue]]) -> dict[str, Any]:
        """All options with their values, the defaults of those that are not named.

        Raises:
            ValueError: an option that there is not, one named twice, or a value that is not allowed.
        """
        found: dict[str, Any] = {}
        for name, value in options:
            if name not in cls.options:
                known = ", ".join(cls.options) or "none"
                raise ValueError(f"{cls.name} has no option {name!r}; allowed: {known}")
            if name in found:
                raise ValueError(f"{cls.name}: {name} is given twice")
            if not cls.options[name].accepts(value):
                raise ValueError(f"{cls.name}: {name} must be {cls.options[name].allowed}, got {value!r}")
            found[name] = value
        return {name: found.get(name, option.default) for name, option in cls.options.items()}

    def outputs(self, params: Params, buffers: Params, x: Tensor, *, training: bool) -> Tensor:
        """:meth:`forward`, in the way that is quickest where the tensors are."""
        way = self.apart if self.apart_on_gpu and training and x.is_cuda else self.forward
        return way(params, buffers, x, training=training)

    def apart(self, params: Params, buffers: Params, x: Tensor, *, training: bool) -> Tensor:
        """:meth:`forward` of N networks each on its own; the same but for rounding."""
        # Split, and not indexed: backwards that is one concatenation, and not N sums of zeros.
        split, statistics = (
            {name: value.split(1) for name, value in parts.items()} for parts in (params, buffers)
        )
        alone = functools.partial(self.forward, training=training)
        calls = [
            functools.partial(
                alone,
                {name: value[n] for name, value in split.items()},
                {name: value[n] for name, value in statistics.items()},
                own,
            )
            for n, own in enumerate(x.split(1))
        ]
        return torch.cat(side_by_side(calls, x.device))

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
                    values[name] = uniform.mul_(2).sub_(1).mul_(spec.bound).to(dtype)
            made.append(values)
        return self.imported(made[0]), made[1]


NETWORKS: Registry[type[Network]] = Registry("network")
"""Architectures of inner networks, by name."""


def make_network(kind: NetworkSpec) -> Network:
    """The network of that description, made once; runs share it, for it holds no parameters.

    Raises:
        ValueError: there is no network of that name, or not of these sizes and options.
    """
    architecture = NETWORKS[kind.name]
    architecture.resolved(kind.options)  # first, for a cache takes True for the 1 that it knows
    return _made(architecture, kind)  # type: ignore[arg-type]  # mypy finds that a class is not hashable


@functools.cache
def _made(architecture: type[Network], kind: NetworkSpec) -> Network:
    return architecture(kind)
