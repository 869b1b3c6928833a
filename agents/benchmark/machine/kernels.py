"""The ways in which torch's own kernels take the products of a training step: what a step is compared with.

A layer's product is taken at exactly the shapes of a stack of N networks, by everything of torch that can take it: all
products as one batched call (``bmm``, ``baddbmm``) or one after another (``mm``), with both operands and the result
laid out either way, which is left to the implementation; a convolution as torch's own, of all networks in groups or one
network after another, and as a product over tiles of the image (:mod:`lambda_rl.envs.networks.tiles`; tiles of one
pixel are what is known as im2col), for which the tiles are given.
"""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lambda_rl.agents.benchmark.machine.peaks import synchronize
from lambda_rl.agents.benchmark.machine.roofline import Product

FORWARD, OF_WEIGHT, OF_INPUT = "forward", "weight gradient", "input gradient"
"""What products a layer has in a step, by the names that :func:`~.roofline.step_parts` gives them."""

TILES = (1, 2, 4)
"""Sides of tiles that are tried."""

FEW_CHANNELS = 8
"""Up to which tiles are: of more of them, what the filters see of a tile is many times the image."""

Call = Callable[[], object]


@dataclass(frozen=True)
class Stacked:
    """How a stack computes.

    Attributes:
        count: N.
        dtype: of operands and results.
        device: where.
    """

    count: int
    dtype: torch.dtype
    device: torch.device

    def numbers(self, *shape: int) -> Tensor:
        """Numbers like those of a network: small, and none of them denormal."""
        return torch.randn(shape, device=self.device).mul_(0.1).to(self.dtype)


@dataclass(frozen=True)
class Kernel:
    """One way to take a product.

    Attributes:
        name: what is called, and how.
        prepare: makes arrays, and what computes with them.
        direct: whether it takes just the operations that the product has by definition.
    """

    name: str
    prepare: Callable[[], Call]
    direct: bool = True


def kernels(layer: Product, kind: str, images: int, stacked: Stacked) -> Iterator[Kernel]:
    """All ways to take one product of a layer.

    Args:
        layer: of one network.
        kind: one of :data:`FORWARD`, :data:`OF_WEIGHT`, :data:`OF_INPUT`.
        images: of each network.
        stacked: how many networks, and in which format.
    """
    if layer.positions == 1:
        yield from _matrix_kernels(_sides(kind, images, layer.inputs, layer.outputs), stacked)
        return
    for name, prepare in _CONVOLUTIONS.items():
        yield Kernel(name, functools.partial(prepare, layer, kind, images, stacked))
    if kind == OF_INPUT:  # what tiles overlap in would have to be summed up
        return
    side, channels, filters, reach = _geometry(layer)
    for tile in TILES if channels <= FEW_CHANNELS else ():
        if side % tile == 0:
            seen = channels * (tile + reach - 1) ** 2
            sides = _sides(kind, images * (side // tile) ** 2, seen, filters * tile**2)
            for kernel in _matrix_kernels(sides, stacked, "bmm", "mm one by one"):
                name = f"{kernel.name}, tiles of {tile}×{tile}"
                yield Kernel(name, kernel.prepare, direct=tile == 1)


def quickest(found: Sequence[Kernel], device: torch.device, seconds: float) -> Kernel:
    """The fastest one, each tried for about so long; on this thread. Those that a GPU has no room for are left out."""
    least, best = math.inf, found[0]
    for kernel in found:
        try:
            call = kernel.prepare()
            once = spent_on(call, 1, device)
        except torch.cuda.OutOfMemoryError:
            continue
        if once > 8 * least:  # a layout or format that it is not made for
            continue
        once = spent_on(call, 1, device)
        if once > 2 * least:
            continue
        calls = max(1, int(seconds / 3 / max(once, 1e-7)))
        spent = min(spent_on(call, calls, device) for _ in range(3))
        if spent < least:
            least, best = spent, kernel
    return best


def spent_on(call: Call, calls: int, device: torch.device) -> float:
    """Seconds of one call, of so many in a row.

    On a CPU it is this thread's own time, in which others that use the core do not count: each computes on one core.
    """
    now = time.thread_time if device.type == "cpu" else time.perf_counter
    synchronize(device)
    start = now()
    for _ in range(calls):
        call()
    synchronize(device)
    return (now() - start) / calls


def _sides(kind: str, rows: int, inputs: int, outputs: int) -> tuple[int, int, int]:
    """Rows, inner side and columns of a layer's product."""
    return {
        FORWARD: (rows, inputs, outputs), OF_WEIGHT: (inputs, rows, outputs), OF_INPUT: (rows, outputs, inputs),
    }[kind]  # fmt: skip


def _geometry(layer: Product) -> tuple[int, int, int, int]:
    """Side of the image, channels, filters and side of a filter, of a convolution that keeps the side."""
    channels, filters = layer.inputs // layer.positions, layer.outputs // layer.positions
    return math.isqrt(layer.positions), channels, filters, math.isqrt(layer.weights // (channels * filters))


def _bmm(a: Tensor, b: Tensor, out: Tensor) -> Call:
    return lambda: torch.bmm(a, b, out=out)


def _baddbmm(a: Tensor, b: Tensor, out: Tensor) -> Call:
    bias = torch.zeros_like(out[:, :1])
    return lambda: torch.baddbmm(bias, a, b, out=out)


def _one_by_one(a: Tensor, b: Tensor, out: Tensor) -> Call:
    each = list(zip(a, b, out, strict=True))

    def call() -> None:
        for left, right, result in each:
            torch.mm(left, right, out=result)

    return call


_PRODUCTS = {"bmm": _bmm, "baddbmm": _baddbmm, "mm one by one": _one_by_one}


def _matrix_kernels(sides: tuple[int, int, int], stacked: Stacked, *names: str) -> Iterator[Kernel]:
    """A product of ``[N, rows, inner]`` by ``[N, inner, columns]``, all layouts; of all products or of some."""
    for name in names or _PRODUCTS:
        for turned in itertools.product((False, True), repeat=3):
            letters = "".join("ᵀ" if turn else "·" for turn in turned)
            prepare = functools.partial(_product, _PRODUCTS[name], sides, turned, stacked)
            yield Kernel(f"{name} {letters}", prepare)


def _product(
    take: Callable[[Tensor, Tensor, Tensor], Call],
    sides: tuple[int, int, int],
    turned: Sequence[bool],
    stacked: Stacked,
) -> Call:
    def matrix(rows: int, columns: int, turn: bool) -> Tensor:
        shape = (columns, rows) if turn else (rows, columns)
        made = stacked.numbers(stacked.count, *shape)
        return made.transpose(1, 2) if turn else made

    rows, inner, columns = sides
    a, b = matrix(rows, inner, turned[0]), matrix(inner, columns, turned[1])
    if turned[2]:  # the result turned is the product of both turned, the other way round
        out = stacked.numbers(stacked.count, columns, rows)
        return take(b.transpose(1, 2), a.transpose(1, 2), out)
    return take(a, b, stacked.numbers(stacked.count, rows, columns))


def _convolution(x: Tensor, weight: Tensor, grad: Tensor, kind: str, groups: int) -> Call:
    reach = weight.shape[-1] // 2
    if kind == FORWARD:
        return lambda: F.conv2d(x, weight, padding=reach, groups=groups)
    mask = [kind == OF_INPUT, kind == OF_WEIGHT, False]
    once, none = [1, 1], [0, 0]
    backward = torch.ops.aten.convolution_backward
    return lambda: backward(grad, x, weight, None, once, [reach] * 2, once, False, none, groups, mask)


def _in_groups(layout: torch.memory_format, layer: Product, kind: str, images: int, stacked: Stacked) -> Call:
    side, channels, filters, reach = _geometry(layer)
    count = stacked.count
    x, grad = (
        stacked.numbers(images, count * each, side, side).contiguous(memory_format=layout)
        for each in (channels, filters)
    )
    weight = stacked.numbers(count * filters, channels, reach, reach).contiguous(memory_format=layout)
    return _convolution(x, weight, grad, kind, count)


def _in_turn(layout: torch.memory_format, layer: Product, kind: str, images: int, stacked: Stacked) -> Call:
    one = Stacked(1, stacked.dtype, stacked.device)
    calls = [_in_groups(layout, layer, kind, images, one) for _ in range(stacked.count)]

    def call() -> None:
        for each in calls:
            each()

    return call


_CONVOLUTIONS: dict[str, Callable[[Product, str, int, Stacked], Call]] = {
    f"conv2d {how}, {layout}": functools.partial(prepare, form)
    for how, prepare in (("in groups", _in_groups), ("one by one", _in_turn))
    for layout, form in (("channels first", torch.contiguous_format), ("channels last", torch.channels_last))
}
