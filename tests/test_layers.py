"""Layers with hand-written gradients against those of torch.nn, in double precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lambda_rl.envs.networks.layers import (
    linear,
    logits,
    max_of_four,
    tile_columns,
    tile_matrix,
    tile_matrix_gradient,
    tiles,
)
from lambda_rl.envs.networks import make_network


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_linear_layers_and_their_gradients() -> None:
    x, weight, bias = (v.requires_grad_() for v in (normal(3, 5, 4), normal(3, 2, 4), normal(3, 2)))
    assert torch.autograd.gradcheck(linear, (x, weight, bias))
    assert torch.autograd.gradcheck(logits, (x, weight, bias))
    assert torch.autograd.gradcheck(lambda w: linear(x.detach(), w), (weight,))
    expected = torch.stack([F.linear(a, w, b) for a, w, b in zip(x, weight, bias, strict=True)])
    assert torch.allclose(linear(x, weight, bias), expected, atol=1e-14)
    assert torch.allclose(logits(x, weight, bias), expected.transpose(1, 2), atol=1e-14)


def test_maximum_gives_its_gradient_to_the_first_of_equal_ones() -> None:
    x = torch.randint(0, 3, (2, 50, 4, 6), generator=torch.Generator().manual_seed(0)).double()
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    grad = normal(2, 50, 6)
    max_of_four(one).backward(grad)
    # The four as 2x2 windows of an image.
    image = other.permute(0, 1, 3, 2).reshape(100, 6, 2, 2)
    F.max_pool2d(image, 2).backward(grad.view(100, 6, 1, 1))
    assert torch.equal(one.grad, other.grad)  # type: ignore[arg-type]


@pytest.mark.parametrize("resolution", [2, 6, 8, 16])
def test_convolution_over_tiles_is_a_convolution(resolution: int) -> None:
    """Forward, and the gradient of the filters, through pooling; the columns are where the index says."""
    count, filters, batch, tile = 2, 3, 4, 2 if resolution % 4 else 4
    images = normal(count, batch, 3, resolution, resolution)
    weight = normal(count, filters, 3, 5, 5, seed=1)
    seen = tiles(images.flatten(0, 1), tile).view(count, batch * (resolution // tile) ** 2, -1)
    matrix = tile_matrix(weight, tile).requires_grad_()
    pooled = max_of_four(torch.bmm(seen, matrix).unflatten(2, (4, -1))).reshape(count, batch, -1)
    grad = normal(*pooled.shape, seed=2)
    pooled.backward(grad)
    assert matrix.grad is not None
    found = tile_matrix_gradient(matrix.grad, tile, 3)
    columns = tile_columns(filters, resolution, tile)
    assert sorted(columns.tolist()) == list(range(filters * (resolution // 2) ** 2))
    for n in range(count):
        leaf = weight[n].clone().requires_grad_()
        expected = F.max_pool2d(F.conv2d(images[n], leaf, padding=2), 2).flatten(1)[:, columns]
        assert torch.allclose(pooled[n], expected, atol=1e-12)
        expected.backward(grad[n])
        assert torch.allclose(found[n], leaf.grad, atol=1e-11)  # type: ignore[arg-type]


def test_odd_images_are_refused() -> None:
    with pytest.raises(ValueError, match="its resolution must be even, got 1"):
        make_network("cnn3", 4, 1, 10)
