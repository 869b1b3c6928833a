"""A new network is one class, built of layers, and one registration."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from whole_way import compared, deploy, loaded, loss_of, suite_file, trained_and_exported

from lambda_rl.envs.networks import NETWORKS, Network, Option
from lambda_rl.envs.networks.layers import Activation, Layer, Linear, Logits


class Bottleneck(Network):
    """Affine, through a narrow waist, affine."""

    name = "bottleneck"
    options: ClassVar = {"waist": Option(2, "units in the middle", low=1, high=64)}
    convolutional = False

    def layers(self) -> Iterator[Layer]:
        waist = self.settings["waist"]
        yield Linear("down", self.channels * self.resolution**2, waist)
        yield Activation("relu")
        yield Linear("up", waist, self.width)
        yield Activation("relu")
        yield Logits("out", self.width, self.num_classes)


def test_a_network_goes_the_whole_way(tmp_path: Path) -> None:
    with NETWORKS.temporarily(Bottleneck.name, Bottleneck):
        suite = suite_file(tmp_path, network="bottleneck", network_options={"waist": 3})
        path = trained_and_exported(tmp_path, suite)
        deploy(loaded(path))
        three = compared(tmp_path, suite, path)
        one = compared(
            tmp_path / "one",
            suite_file(tmp_path, "one", network="bottleneck", network_options={"waist": 1}),
            path,
        )
    assert loss_of(three, "constant:0.01") != loss_of(one, "constant:0.01")  # the option is one of its own
