"""Networks: their options, their sizes, how they are made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
import torch
from torch import nn

from lambda_rl.envs.data import ImageData
from lambda_rl.envs.networks import NETWORKS, Network, NetworkSpec, Option, make_network
from lambda_rl.envs.networks.layers import Activation, Layer, Linear, Logits
from lambda_rl.envs.training.resident import Reading, ResidentImages, crop_and_flip


def stacked(network: Network, count: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    made = [network.init(generator, torch.float64) for _ in range(count)]
    params, buffers = ([one[part] for one in made] for part in (0, 1))
    return tuple(
        {name: torch.stack([one[name] for one in part]) for name in part[0]} for part in (params, buffers)
    )  # type: ignore[return-value]


def every_option() -> Iterator[NetworkSpec]:
    """Each network by default, and with each value of each option alone (the ends, for numbers)."""
    for name in NETWORKS:
        yield NetworkSpec(name, 4, 8)
        for option, said in NETWORKS[name].options.items():
            values = list(said.choices) or [int(said.low), 3]
            yield from (NetworkSpec(name, 4, 8, options=((option, value),)) for value in values)


@pytest.mark.parametrize("kind", list(every_option()), ids=str)
def test_with_every_option_a_network_side_by_side_is_the_network_alone(kind: NetworkSpec) -> None:
    network = make_network(kind)
    params, buffers = stacked(network, 3)
    images = torch.randn(3 * 5, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = network.arranged(images).view(3, 5, -1)
    out = []
    for part in (slice(None), slice(0, 1), slice(1, 2), slice(2, 3)):
        leaves = {name: value[part].clone().requires_grad_() for name, value in params.items()}
        own = {name: value[part].clone() for name, value in buffers.items()}
        logits = network.forward(network.prepared(leaves, torch.float64), own, x[part], training=True)
        grads = torch.autograd.grad(logits.sin().sum(), list(leaves.values()))
        out.append([logits, *grads, *own.values()])
    for together, *alone in zip(*out, strict=True):
        assert torch.allclose(together, torch.cat(alone), atol=1e-11)
    assert out[0][0].shape == (3, 10, 5)
    assert all(bool(grad.ne(0).any()) for grad in out[0][1 : 1 + len(params)])


@pytest.mark.parametrize("name", list(NETWORKS))
def test_networks_one_after_another_are_networks_side_by_side(name: str) -> None:
    network = make_network(NetworkSpec(name, 4, 8))
    params, buffers = stacked(network, 3)
    images = torch.randn(3 * 5, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = network.arranged(images).view(3, 5, -1)
    out = []
    for way in (network.forward, network.apart):
        leaves = {key: value.clone().requires_grad_() for key, value in params.items()}
        own = {key: value.clone() for key, value in buffers.items()}
        logits = way(network.prepared(leaves, torch.float64), own, x, training=True)
        out.append([logits, *torch.autograd.grad(logits.sin().sum(), list(leaves.values())), *own.values()])
    for together, apart in zip(*out, strict=True):
        assert torch.allclose(together, apart, atol=1e-11)
    assert all(not torch.equal(value, own[key]) for key, value in buffers.items())


def test_a_deep_perceptron_is_that_of_torch() -> None:
    network = make_network(
        NetworkSpec("mlp", 6, 4, 1, 3, (("depth", 4), ("activation", "gelu"), ("norm", "batch")))
    )
    parts: list[nn.Module] = [nn.Flatten()]
    names, inputs = [], 16
    for _ in range(3):
        parts += [nn.Linear(inputs, 6), nn.BatchNorm1d(6), nn.GELU()]
        inputs = 6
    module = nn.Sequential(*parts, nn.Linear(6, 3)).double()
    names = [f"fc{i}.{kind}" for i in (1, 2, 3) for kind in ("weight", "bias", "scale", "shift")]
    names += ["fc4.weight", "fc4.bias"]
    assert list(network.specs) == names
    params, buffers = network.init(torch.Generator().manual_seed(0), torch.float64)
    with torch.no_grad():
        for theirs, name in zip(module.parameters(), names, strict=True):
            theirs.copy_(params[name])
    x = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = network.forward(
        {name: value[None] for name, value in params.items()},
        {name: value[None] for name, value in buffers.items()},
        network.arranged(x)[None],
        training=True,
    )
    assert torch.allclose(found[0].T, module(x), atol=1e-12)


def test_a_perceptron_of_one_layer_is_a_linear_classifier() -> None:
    network = make_network(NetworkSpec("mlp", 6, 4, options=(("depth", 1),)))
    assert {name: spec.shape for name, spec in network.specs.items()} == {
        "fc1.weight": (10, 48),
        "fc1.bias": (10,),
    }


def test_without_a_norm_convolutions_have_a_bias() -> None:
    assert "prep.bias" in make_network(NetworkSpec("resnet9", 2, 8, options=(("norm", "none"),))).specs
    assert "prep.bias" not in make_network(NetworkSpec("resnet9", 2, 8)).specs


def test_the_default_named_is_the_default_unnamed() -> None:
    for name, architecture in NETWORKS.items():
        named = tuple((option, said.default) for option, said in architecture.options.items())
        one, other = (
            make_network(NetworkSpec(name, 4, 8)),
            make_network(NetworkSpec(name, 4, 8, options=named)),
        )
        assert one.specs == other.specs
        assert one.settings == other.settings


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mlp", (("dpth", 3),), "mlp has no option 'dpth'; allowed: depth, activation, norm"),
        ("mlp", (("depth", 0),), "mlp: depth must be a whole number from 1 to 32, got 0"),
        ("mlp", (("depth", 2.0),), "mlp: depth must be a whole number from 1 to 32, got 2.0"),
        ("mlp", (("depth", True),), "mlp: depth must be a whole number from 1 to 32, got True"),
        ("mlp", (("depth", 2), ("depth", 3)), "mlp: depth is given twice"),
        (
            "cnn3",
            (("activation", "sine"),),
            "cnn3: activation must be one of relu, leaky-relu, tanh, gelu, silu, got",
        ),
        ("resnet9", (("norm", 1),), "resnet9: norm must be one of none, batch, layer, got 1"),
    ],
)
def test_a_wrong_option_is_refused_and_says_what_is_allowed(name: str, options: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        make_network(NetworkSpec(name, 4, 8, options=options))


def test_wrong_names_and_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown network 'vgg'; allowed: mlp, cnn3, resnet9"):
        make_network(NetworkSpec("vgg", 4, 16))
    with pytest.raises(ValueError, match="its resolution must be even, got 7"):
        make_network(NetworkSpec("cnn3", 4, 7))
    with pytest.raises(ValueError, match="its resolution must be at least 8, got 4"):
        make_network(NetworkSpec("resnet9", 4, 4))


def test_options_of_every_type() -> None:
    rate = Option(0.5, "", low=0.0, high=1.0)
    assert rate.accepts(1)
    assert not rate.accepts(True)
    assert not rate.accepts(float("nan"))
    assert not rate.accepts("0.5")
    assert rate.allowed == "a number from 0 to 1"
    switch = Option(True, "")
    assert switch.accepts(False)
    assert not switch.accepts(1)
    assert switch.allowed == "true or false"


def test_a_network_is_made_once() -> None:
    assert make_network(NetworkSpec("cnn3", 4, 16)) is make_network(NetworkSpec("cnn3", 4, 16))
    assert make_network(NetworkSpec("cnn3", 4, 16)) is not make_network(
        NetworkSpec("cnn3", 4, 16, num_classes=7)
    )


def test_another_class_of_the_same_name_is_another_network() -> None:
    """The name may be given anew, as in tests; what was made of the old class is not given out again."""

    class Toy(Network):
        name = "toy"
        options: ClassVar = {"bend": Option("tanh", "", choices=("tanh", "relu"))}

        def layers(self) -> Iterator[Layer]:
            yield Linear("in", self.channels * self.resolution**2, self.width)
            yield Activation(self.settings["bend"])
            yield Logits("out", self.width, self.num_classes)

    class Other(Toy):
        pass

    for architecture in (Toy, Other):
        with NETWORKS.temporarily("toy", architecture):
            assert type(make_network(NetworkSpec("toy", 4, 8))) is architecture


@pytest.mark.parametrize("name", NETWORKS)
def test_grey_images_of_28_pixels_and_7_classes(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (20, 1, 28, 28), generator=generator).to(torch.uint8)
    data = ResidentImages(ImageData("grey", images, torch.arange(20) % 7, 7, "grey"), torch.device("cpu"))
    network = make_network(NetworkSpec(name, 2, 28, data.channels, data.num_classes))
    params, buffers = stacked(network, 2)
    for pixels in ("standardised", "mean-subtracted"):
        held = data.evaluation_set(torch.arange(20), network, torch.float64, Reading(pixels))
        rows = data.rows(network)
        assert held.inputs.shape == rows.shape
        assert abs(held.inputs[rows > 0].mean()) < (0.1 if pixels == "standardised" else 2.0)
    x = held.inputs[None].expand(2, -1, -1)
    logits = network.forward(network.prepared(params, torch.float64), buffers, x, training=True)
    assert logits.shape == (2, 7, 20)
    assert logits.isfinite().all()


def test_crops_of_any_side_stay_in_the_image() -> None:
    for side in (16, 28, 32):
        images = torch.ones(1, 1, side, side, dtype=torch.uint8)
        far = torch.full((1, 2), 2 * (side // 8))
        assert crop_and_flip(images, far, torch.tensor([True])).shape == images.shape
