"""The worked example of sizes of chunks is what the code does."""

from __future__ import annotations

import re

import pytest
import torch

from lambda_rl.envs.networks import NetworkSpec, make_network
from lambda_rl.envs.training.evaluation import block_size
from lambda_rl.envs.training.placement import Placement, TrainerConfig

MLP = make_network(NetworkSpec("mlp", 32, 16))
ROWS = re.findall(r"^ +(\d+) +16 × 2 . \d+, so (small|large): ([\d ]+)", Placement.__doc__ or "", flags=re.M)


def sizes(count: int, *, compile: bool = False) -> tuple[Placement, list[int]]:
    placement = Placement(TrainerConfig(threads=2, compile=compile), sizes={})
    return placement, placement.chunk_sizes(MLP, count)


def test_stacks_that_are_not_compiled() -> None:
    text = " ".join((Placement.__doc__ or "").split())
    assert "have min(16, ⌈40 / 2⌉) = 16, 16 and 8. With 20 runs they have min(16, 10) = 10 and 10." in text
    assert sizes(40)[1] == [16, 16, 8]
    assert sizes(20)[1] == [10, 10]


@pytest.mark.parametrize(("count", "size", "stacks"), ROWS)
def test_stacks_that_are_compiled(count: str, size: str, stacks: str) -> None:
    placement, found = sizes(int(count), compile=True)
    assert found == [int(word) for word in stacks.split()]
    assert [placement.places(MLP, length) for length in found] == [found[0]] * 2 + [8]
    assert found[0] == {"small": 8, "large": 16}[size]


def test_the_example_has_both_rows() -> None:
    assert [row[:2] for row in ROWS] == [("40", "large"), ("20", "small")]


def test_evaluations_on_a_gpu_take_as_many_images_as_fit() -> None:
    """All networks of a stack share the room."""
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    mlp, resnet = (make_network(NetworkSpec(name, 4, 32)) for name in ("mlp", "resnet9"))
    assert [block_size(mlp, count, gpu) for count in (1, 64, 1024, 10**6)] == [16_384, 256, 16, 16]
    assert [block_size(resnet, count, gpu) for count in (1, 64)] == [16_384, 256]
    assert block_size(mlp, 64, cpu) == mlp.evaluated_at_once
