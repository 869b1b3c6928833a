"""The layers of stacked networks whose memory layout decides their speed.

Autograd's own rules for batched products give gradients in transposed layouts, which cost more to read than the
products themselves; here forward and backward passes are written out, all of them in the layout of the weights.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

KERNEL = 5
"""Side of the filters of :func:`tile_matrix`."""


class _Linear(torch.autograd.Function):
    """``x @ weightᵀ + bias``, batched."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if bias is None:
            return torch.bmm(x, weight.transpose(1, 2))
        return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(inputs[0], inputs[1])
        ctx.biased = inputs[2] is not None

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, Tensor, Tensor | None]:
        (grad,) = grads
        x, weight = ctx.saved_tensors
        # Of weight and bias this says nothing: compiled, torch 2.14 calls what func.grad differentiates by unneeded.
        wants_x = ctx.needs_input_grad[0]
        return (
            torch.bmm(grad, weight) if wants_x else None,
            torch.bmm(grad.transpose(1, 2), x),
            grad.sum(1) if ctx.biased else None,
        )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A linear layer of N networks.

    Args:
        x: ``[N, B, in]``.
        weight: ``[N, out, in]``.
        bias: ``[N, out]``.

    Returns:
        ``[N, B, out]``.
    """
    out: Tensor = _Linear.apply(x, weight, bias)
    return out


class _Logits(torch.autograd.Function):
    """``weight @ xᵀ + bias``, batched."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.baddbmm(bias.unsqueeze(2), weight, x.transpose(1, 2))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(inputs[0], inputs[1])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor, Tensor]:
        (grad,) = grads
        x, weight = ctx.saved_tensors
        return torch.bmm(grad.transpose(1, 2), weight), torch.bmm(grad, x), grad.sum(2)


def logits(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A linear layer whose outputs come first: over the last dimension, softmax is ten times slower.

    Args:
        x: ``[N, B, in]``.
        weight: ``[N, out, in]``.
        bias: ``[N, out]``.

    Returns:
        ``[N, out, B]``.
    """
    out: Tensor = _Logits.apply(x, weight, bias)
    return out


class _MaxOfFour(torch.autograd.Function):
    """Maximum over a dimension of 4; the first of equal ones gets the gradient, as in ``max_pool2d``."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.amax(2)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Tensor:
        (grad,) = grads
        x, largest = ctx.saved_tensors
        first = x[:, :, 0] == largest
        second = (x[:, :, 1] == largest) & ~first
        earlier = first | second
        third = (x[:, :, 2] == largest) & ~earlier
        fourth = ~(earlier | third)
        return torch.stack([grad * first, grad * second, grad * third, grad * fourth], 2)


def max_of_four(x: Tensor) -> Tensor:
    """``[N, M, 4, K]`` to ``[N, M, K]``: maximum pooling where the four of a window lie side by side."""
    out: Tensor = _MaxOfFour.apply(x)
    return out


def tiles(images: Tensor, tile: int) -> Tensor:
    """What the filters see of each tile of an image.

    An image is cut into tiles of ``tile`` x ``tile`` pixels; the filters at a tile's pixels see the tile and 2 pixels
    around it, zero beyond the image.

    Args:
        images: ``[n, C, R, R]``; R a multiple of ``tile``.
        tile: side of a tile.

    Returns:
        ``[n, (R/tile)²·C·(tile+4)²]``, tile by tile.
    """
    reach = KERNEL // 2
    padded = F.pad(images, (reach, reach, reach, reach))
    seen = padded.unfold(2, tile + KERNEL - 1, tile).unfold(3, tile + KERNEL - 1, tile)
    return seen.permute(0, 2, 3, 1, 4, 5).flatten(1)


def tile_matrix(weight: Tensor, tile: int) -> Tensor:
    """Filters as a matrix that takes what they see of a tile to their outputs at all of its pixels.

    A convolution is then one product, with ``(tile+4)²/25`` times the operations (2.6 times for tile = 4) and yet
    faster: few input channels and few filters leave a matrix unit idle, and 2x2 windows of outputs that lie side by
    side are pooled by :func:`max_of_four`.

    Args:
        weight: ``[N, O, C, 5, 5]``.
        tile: side of a tile, even.

    Returns:
        ``[N, C·(tile+4)², tile²·O]``. The columns are in the order (row in window, column in window, window's row from
        below, window's column from the right, filter).
    """
    half, side = tile // 2, tile + KERNEL - 1
    padded = F.pad(weight, (tile - 1,) * 4)
    # Entry (i, j) of the windows is the filter at the pixel in row tile - 1 - i and column tile - 1 - j.
    shifted = padded.unfold(3, side, 1).unfold(4, side, 1)
    split = shifted.unflatten(4, (half, 2)).unflatten(3, (half, 2))  # [N, O, C, H, 2, H, 2, side, side]
    return split.permute(0, 2, 7, 8, 4, 6, 3, 5, 1).flatten(4).flatten(1, 3)


def tile_matrix_gradient(grad: Tensor, tile: int, channels: int) -> Tensor:
    """Gradient of the filters from that of :func:`tile_matrix`: the sum over the places where each weight stands.

    Args:
        grad: ``[N, C·(tile+4)², tile²·O]``.
        tile: side of a tile.
        channels: C.

    Returns:
        ``[N, O, C, 5, 5]``.
    """
    half, side = tile // 2, tile + KERNEL - 1
    parts = grad.view(len(grad), channels, side, side, 2, 2, half, half, -1)
    places = []
    for i in range(tile):
        for j in range(tile):
            rows, columns = (
                slice(tile - 1 - i, tile - 1 - i + KERNEL),
                slice(tile - 1 - j, tile - 1 - j + KERNEL),
            )
            places.append(parts[:, :, rows, columns, i % 2, j % 2, i // 2, j // 2])
    total = places[0]
    for place in places[1:]:
        total = total + place
    return total.permute(0, 4, 1, 2, 3)


def tile_columns(filters: int, resolution: int, tile: int) -> Tensor:
    """Where each pooled output lies in ``[filters, R/2, R/2]`` flattened, in the order in which tiles give them.

    Returns:
        int64 ``[filters·(R/2)²]``.
    """
    half, grid = tile // 2, resolution // tile
    index = torch.arange(filters * (resolution // 2) ** 2).view(filters, grid, half, grid, half)
    return index.flip(2, 4).permute(1, 3, 2, 4, 0).flatten()  # windows from below and from the right
