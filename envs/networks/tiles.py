"""Convolution as one product over tiles of the image.

A convolution of few channels and few filters leaves a matrix unit idle. So an image is cut into tiles, and one product
of a large matrix takes all that the filters see of a tile to their outputs at all of its pixels. An example with
5 x 5 filters, one channel, an image of 4 x 4 pixels and tiles of 2 x 2:

1. :func:`tiles`. A filter at a pixel sees two pixels further on every side, so all filters at tile A together see 6 x 6
   pixels, zero (``·``) beyond the image. These 36 numbers are a row of the left matrix; the image has four such rows::

        the image            seen from tile A        seen from tile B
        a b | c d            · · · · · ·             · · · · · ·
        e f | g h            · · · · · ·             · · · · · ·
        ----+----            · · a b c d             a b c d · ·
        i j | k l            · · e f g h             e f g h · ·
        m n | o p            · · i j k l             i j k l · ·
                             · · m n o p             m n o p · ·

2. :func:`tile_matrix`. Each filter ``w`` has a column of 36 numbers for each pixel of the tile: itself, laid over what
   is seen so that its middle lies on the pixel, and zero elsewhere::

        for pixel a          for pixel b             for pixel f
        w w w w w 0          0 w w w w w             0 0 0 0 0 0
        w w w w w 0          0 w w w w w             0 w w w w w
        w w w w w 0          0 w w w w w             0 w w w w w
        w w w w w 0          0 w w w w w             0 w w w w w
        w w w w w 0          0 w w w w w             0 w w w w w
        0 0 0 0 0 0          0 0 0 0 0 0             0 w w w w w

   The row of tile A times the column of pixel f is the sum of ``w`` over what lies around f, which is the convolution.
   Of the 36 numbers of a column 11 are zero, so there are 36/25 times the operations; for tiles of 4 x 4, 64/25.

3. :func:`max_of_four`. Maximum pooling takes the four pixels of a 2 x 2 window. Columns are sorted so that these stand
   at equal distances: first one pixel of every window and filter, then the next. With tiles of 4 x 4, whose windows
   are called P, Q, R, S, and one filter, the 16 columns are::

        P P Q Q              S R Q P | S R Q P | S R Q P | S R Q P
        P P Q Q                 the maximum over the four groups:  S R Q P
        R R S S
        R R S S              (the last window comes first, since sliding a filter over a padded one, which is how
                             the columns are made, meets the last pixel first)

4. :func:`tile_columns`. The layer after that would read P Q R S. Its columns are sorted once instead, at the start:

   >>> tile_columns(filters=1, resolution=4, tile=4).tolist()
   [3, 2, 1, 0]
   >>> tile_columns(filters=2, resolution=4, tile=2).tolist()  # four tiles of one window; the filter comes last
   [0, 4, 1, 5, 2, 6, 3, 7]

Backwards, the gradient of ``w`` is the sum of the gradients of its copies, :func:`tile_matrix_gradient`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lambda_rl.envs.networks.layers import Layer, Params, ParamSpec
from lambda_rl.envs.networks.products import applied

KERNEL = 5
"""Side of the filters."""


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


_max_of_four = applied(_MaxOfFour)


def max_of_four(x: Tensor) -> Tensor:
    """``[N, M, 4, K]`` to ``[N, M, K]``: maximum pooling where the four of a window lie side by side."""
    out: Tensor = _max_of_four(x)
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
    # [N, O, C, H, 2, H, 2, side, side]
    split = torch.unflatten(torch.unflatten(shifted, 4, (half, 2)), 3, (half, 2))
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
            rows, columns = (slice(tile - 1 - at, tile - 1 - at + KERNEL) for at in (i, j))
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


class TiledConv(Layer):
    """5 x 5 filters, then 2 x 2 maximum pooling; the first layer of a network.

    ``[N, B, D]``, images as :meth:`arranged` gives them, to ``[N, B, filters·(R/2)²]`` in the order of
    :func:`tile_columns`. The bias is added to what is pooled, which is the same and a quarter of the work.

    Args:
        name: of its parameters.
        channels: of the images.
        filters: outputs per pixel.
        resolution: R, even.
    """

    def __init__(self, name: str, channels: int, filters: int, resolution: int) -> None:
        bound = 1.0 / math.sqrt(channels * KERNEL**2)
        self._weight, self._bias = f"{name}.weight", f"{name}.bias"
        super().__init__(
            {
                self._weight: ParamSpec((filters, channels, KERNEL, KERNEL), bound),
                self._bias: ParamSpec((filters,), bound),
            }
        )
        self.channels, self.filters = channels, filters
        self.tile = 2 if resolution % 4 else 4
        self.count = (resolution // self.tile) ** 2
        self.columns = tile_columns(filters, resolution, self.tile)

    def arranged(self, images: Tensor) -> Tensor:
        """See :meth:`Layer.arranged`."""
        return tiles(images, self.tile)

    @property
    def arrangement(self) -> object:
        """See :attr:`Layer.arrangement`."""
        return self.tile

    def prepared(self, params: Params, dtype: torch.dtype) -> Params:
        """See :meth:`Layer.prepared`."""
        made = super().prepared(params, dtype)
        return made | {self._weight: tile_matrix(made[self._weight], self.tile)}

    def gradients(self, grads: Params, dtype: torch.dtype) -> Params:
        """See :meth:`Layer.gradients`."""
        made = super().gradients(grads, dtype)
        return made | {self._weight: tile_matrix_gradient(made[self._weight], self.tile, self.channels)}

    def forward(self, params: Params, buffers: Params, x: Tensor, *, training: bool) -> Tensor:
        """See :meth:`Layer.forward`."""
        count, batch = x.shape[:2]
        seen = x.reshape(count, batch * self.count, -1)
        pooled = max_of_four(torch.unflatten(torch.bmm(seen, params[self._weight]), 2, (4, -1)))
        biased = torch.unflatten(pooled, 2, (-1, self.filters)) + params[self._bias].view(count, 1, 1, -1)
        return biased.reshape(count, batch, -1)
