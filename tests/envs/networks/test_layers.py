"""Layers of N networks against those of torch.nn, in double precision."""

from __future__ import annotations

import doctest
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lambda_rl.envs.networks import NetworkSpec, make_network
from lambda_rl.envs.networks import tiles as tiles_file
from lambda_rl.envs.networks.layers import (
    ACTIVATIONS,
    Activation,
    Conv,
    Flatten,
    Images,
    Layer,
    Linear,
    Pool,
    Residual,
    Sequential,
)
from lambda_rl.envs.networks.norms import BatchNorm, LayerNorm
from lambda_rl.envs.networks.products import linear, logits
from lambda_rl.envs.networks.tiles import (
    max_of_four,
    tile_columns,
    tile_matrix,
    tile_matrix_gradient,
    tiles,
)


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
        make_network(NetworkSpec("cnn3", 4, 1))


def test_the_drawing_of_tiles_is_what_tiles_gives() -> None:
    image = torch.arange(1, 17).view(1, 1, 4, 4).double()  # a = 1, b = 2, …
    seen = tiles(image, 2).view(4, 6, 6).int().tolist()
    nothing = [0] * 6
    assert seen[0] == [
        nothing,
        nothing,
        [0, 0, 1, 2, 3, 4],
        [0, 0, 5, 6, 7, 8],
        [0, 0, 9, 10, 11, 12],
        [0, 0, 13, 14, 15, 16],
    ]
    assert seen[1] == [
        nothing,
        nothing,
        [1, 2, 3, 4, 0, 0],
        [5, 6, 7, 8, 0, 0],
        [9, 10, 11, 12, 0, 0],
        [13, 14, 15, 16, 0, 0],
    ]
    columns = tile_matrix(torch.ones(1, 1, 1, 5, 5), 2)[0].view(6, 6, 4).sum((0, 1))
    assert columns.tolist() == [25] * 4
    shifted = tile_matrix(torch.ones(1, 1, 1, 5, 5), 2)[0].view(6, 6, 4)
    for_a = F.pad(torch.ones(5, 5), (0, 1, 0, 1))
    assert any(torch.equal(shifted[..., column], for_a) for column in range(4))
    assert doctest.testmod(tiles_file).attempted == 2
    assert doctest.testmod(tiles_file).failed == 0


# ---- layers that networks are built of


def beside(
    layer: Layer, modules: list[nn.Module], names: dict[str, str]
) -> tuple[dict[str, torch.Tensor], ...]:
    """Stacked parameters and buffers of the layer, from modules of torch; every one is named."""
    states = [module.state_dict() for module in modules]
    assert set(names) == {*layer.specs, *layer.buffer_specs}
    for ours, spec in {**layer.specs, **layer.buffer_specs}.items():
        assert spec.shape == tuple(states[0][names[ours]].shape)
    return tuple(
        {ours: torch.stack([state[names[ours]] for state in states]) for ours in specs}
        for specs in (layer.specs, layer.buffer_specs)
    )


def shaken(make: Callable[[], nn.Module], count: int = 3) -> list[nn.Module]:
    """Modules whose parameters all differ from each other and from their defaults."""
    torch.manual_seed(0)
    modules = [make().double() for _ in range(count)]
    with torch.no_grad():
        for module in modules:
            for value in module.parameters():
                value.add_(0.3 * torch.randn_like(value))
    return modules


def compare(layer: Layer, modules: list[nn.Module], names: dict[str, str], x: torch.Tensor) -> None:
    """In training, then what is left of it in evaluation; ``x`` is ``[N, B, D]`` and the layer gives rows."""
    params, buffers = beside(layer, modules, names)
    for training in (True, True, False):
        found = layer.forward(params, buffers, x, training=training)
        for n, module in enumerate(modules):
            module.train(training)
            assert torch.allclose(found[n], module(x[n]), atol=1e-10)


SIDE = 6


def images(*layers: Layer) -> Sequential:
    return Sequential(Images(3, SIDE), *layers, Flatten())


def module_of(*modules: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Unflatten(1, (3, SIDE, SIDE)), *modules, nn.Flatten())


def weight_and_bias(name: str, number: int) -> dict[str, str]:
    return {f"{name}.weight": f"{number}.weight", f"{name}.bias": f"{number}.bias"}


NORM = {"n.scale": "2.weight", "n.shift": "2.bias"}
RUNNING = {"n.running_mean": "2.running_mean", "n.running_var": "2.running_var"}


def test_convolutions_and_pooling_are_those_of_torch() -> None:
    layer = images(Conv("c", 3, 4), Pool(2), Activation("relu"), Conv("d", 4, 2, 1), Pool(0))
    modules = shaken(
        lambda: module_of(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(4, 2, 1),
            nn.AdaptiveMaxPool2d(1),
        )
    )
    compare(layer, modules, weight_and_bias("c", 1) | weight_and_bias("d", 4), normal(3, 5, 3 * SIDE**2))


def test_norms_of_images_are_those_of_torch() -> None:
    x = normal(3, 5, 3 * SIDE**2)
    names = {"c.weight": "1.weight", **NORM}
    for norm, theirs, more in (
        (BatchNorm("n", 4), lambda: nn.BatchNorm2d(4), RUNNING),
        (LayerNorm("n", 4), lambda: nn.GroupNorm(1, 4), {}),
    ):
        modules = shaken(lambda make=theirs: module_of(nn.Conv2d(3, 4, 3, padding=1, bias=False), make()))
        for module in modules:
            module[2].num_batches_tracked = None if more else 0  # type: ignore[union-attr]
        compare(images(Conv("c", 3, 4, bias=False), norm), modules, names | more, x)


def test_norms_of_rows_are_those_of_torch() -> None:
    for norm, theirs, running in (
        (BatchNorm("n", 7), lambda: nn.BatchNorm1d(7), ("running_mean", "running_var")),
        (LayerNorm("n", 7), lambda: nn.LayerNorm(7), ()),
    ):
        names = {"n.scale": "weight", "n.shift": "bias", **{f"n.{name}": name for name in running}}
        compare(norm, shaken(theirs), names, normal(3, 5, 7))


def test_a_residual_block_adds_its_input() -> None:
    layer = Residual(Linear("a", 4, 4), Activation("tanh"), Linear("b", 4, 4))
    modules = shaken(lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)))
    x = normal(3, 5, 4)
    params, _ = beside(layer, modules, weight_and_bias("a", 0) | weight_and_bias("b", 2))
    expected = torch.stack([x[n] + module(x[n]) for n, module in enumerate(modules)])
    assert torch.allclose(layer.forward(params, {}, x, training=True), expected, atol=1e-12)


def test_columns_of_a_linear_layer_are_sorted_back_on_export() -> None:
    columns = torch.tensor([2, 0, 1])
    layer = Linear("a", 3, 2, columns)
    theirs = {"a.weight": normal(2, 3), "a.bias": normal(2)}
    ours = layer.imported(theirs)
    assert torch.equal(ours["a.weight"], theirs["a.weight"][:, columns])
    assert torch.equal(layer.exported(ours)["a.weight"], theirs["a.weight"])


def test_two_layers_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"two layers have a parameter 'a\.bias'"):
        Sequential(Linear("a", 3, 3), Linear("a", 3, 3))


def test_no_layer_mixes_networks() -> None:
    """A network of NaN leaves the others as they are, in every layer, forwards and backwards."""
    width = 3 * SIDE**2
    layers: list[tuple[Layer, int]] = [
        (images(Conv("c", 3, 4), BatchNorm("n", 4), Activation("silu"), Pool(2)), width),
        (images(Conv("c", 3, 4), LayerNorm("n", 4), Pool(0)), width),
        (Sequential(Linear("a", 5, 5), BatchNorm("n", 5)), 5),
        (Sequential(Linear("a", 5, 5), LayerNorm("n", 5)), 5),
    ]
    for layer, inputs in layers:
        results = []
        for broken in (0.0, torch.nan):
            params = {name: normal(3, *spec.shape) for name, spec in layer.specs.items()}
            for value in params.values():
                value[1] += broken
                value.requires_grad_()
            buffers = {name: torch.ones(3, *spec.shape).double() for name, spec in layer.buffer_specs.items()}
            out = layer.forward(params, buffers, normal(3, 4, inputs), training=True)
            grads = torch.autograd.grad(out.square().sum((1, 2)).nansum(), list(params.values()))
            results.append([value[[0, 2]] for value in (out, *grads, *buffers.values())])
        assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_every_activation_is_one_of_a_number() -> None:
    x = torch.linspace(-3, 3, 7)
    for name in ACTIVATIONS:
        y = Activation(name).forward({}, {}, x, training=True)
        assert y.shape == x.shape
        assert y[3] == 0
        assert (y[4:].diff() > 0).all()
