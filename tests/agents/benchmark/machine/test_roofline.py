"""The floor model: its operations are those that torch counts, its seconds those of the slower resource."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from lambda_rl.agents.benchmark.machine import roofline as module
from lambda_rl.agents.benchmark.machine.peaks import Peaks, measure_peaks
from lambda_rl.agents.benchmark.machine.roofline import (
    Part,
    evaluations_per_step,
    floor,
    products,
    step_parts,
    working_set,
)
from lambda_rl.agents.benchmark.opponents.torch_layers import plain_network
from lambda_rl.envs.networks import NetworkSpec, make_network
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.run import network_of

PEAKS = Peaks(1, {"fp32": 100.0, "bf16": 1000.0}, near=50.0, far=10.0)


@pytest.mark.parametrize(("name", "resolution"), [("mlp", 16), ("cnn3", 16), ("cnn3", 32), ("resnet9", 32)])
def test_operations_are_those_that_torch_counts(name: str, resolution: int) -> None:
    x, y = torch.randn(6, 3, resolution, resolution), torch.zeros(6, dtype=torch.int64)
    network = make_network(NetworkSpec(name, 4, resolution))
    if name == "resnet9":
        params, buffers = network.init(torch.Generator().manual_seed(0), torch.float32)
        leaves = {key: value.unsqueeze(0).requires_grad_() for key, value in params.items()}
        stats = {key: value.unsqueeze(0) for key, value in buffers.items()}
        images = network.arranged(x).unsqueeze(0)
        forward_pass = lambda: network.forward(leaves, stats, images, training=True)[0].T  # noqa: E731
    else:  # ours takes more operations for a convolution
        plain = plain_network(network)
        forward_pass = lambda: plain(x)  # noqa: E731
    with FlopCounterMode(display=False) as forward:
        loss = F.cross_entropy(forward_pass(), y)
    assert 6 * sum(layer.flops for layer in products(network)) == forward.get_total_flops()
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    task = Task(network=name, width=4, resolution=resolution, batch_size=6)
    counted = forward.get_total_flops() + backward.get_total_flops()
    assert sum(part.flops for part in step_parts(task, network, "fp32", 0.0)) == counted
    evaluated = sum(part.flops for part in step_parts(task, network, "fp32", 3.0)) - counted
    assert evaluated == pytest.approx(forward.get_total_flops() / 2)


def test_bytes_of_an_mlp_by_hand() -> None:
    task = Task(width=32, batch_size=64)
    network = network_of(task, 10)
    parts = {part.name: part for part in step_parts(task, network, "bf16", 0.0)}
    assert (parts["gather"].near, parts["gather"].far) == (64 * 768 * 2, 64 * 768)
    assert parts["fc1 forward"].near == 2 * (64 * 768 + 64 * 32 + 768 * 32)
    assert parts["fc1 weight gradient"].near == 2 * (64 * 768 + 64 * 32) + 4 * 768 * 32
    assert "fc1 input gradient" not in parts
    assert "fc2 input gradient" in parts
    numbers = 768 * 32 + 32 + 32 * 10 + 10
    assert parts["update"].near == numbers * 22
    assert working_set(task, network, "bf16") == numbers * 14 + 2 * 64 * (768 + 32 + 10)


def test_the_slower_resource_counts() -> None:
    assert Part("products", flops=1000.0, near=50.0).seconds(PEAKS, "fp32", 50.0) == 10.0
    assert Part("products", flops=1000.0, near=200.0).seconds(PEAKS, "bf16", 50.0) == 4.0
    assert Part("gather", flops=0.0, near=50.0, far=20.0).seconds(PEAKS, "fp32", 50.0) == 3.0


def test_what_does_not_fit_the_cache_comes_from_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    task, network = Task(), network_of(Task(), 10)
    slow_memory = dataclasses.replace(PEAKS, far=0.001)
    monkeypatch.setattr(module, "l2_bytes", lambda: 2**30)
    near = floor(task, network, "fp32", 0.0, slow_memory)
    monkeypatch.setattr(module, "l2_bytes", lambda: 1000)
    far = floor(task, network, "fp32", 0.0, slow_memory)
    assert isinstance(near["parts"], dict)
    assert isinstance(far["parts"], dict)
    assert far["parts"]["update"] == pytest.approx(near["parts"]["update"] * 50 / 0.001)
    assert far["seconds"] == pytest.approx(sum(far["parts"].values()))
    assert far["steps_per_second"] == pytest.approx(1 / far["seconds"])


def test_images_evaluated_in_an_episode() -> None:
    task = Task(steps=100, decisions=5, val_size=30)
    assert evaluations_per_step(task, 20, 600) == (5 * 30 + 4 * 20 + 600) / 100
    assert evaluations_per_step(task, 1000, 600) == (5 * 30 + 5 * 600) / 100


@pytest.mark.parametrize("threads", [1, 2])
def test_peaks_are_measured(threads: int) -> None:
    found = measure_peaks(threads, torch.device("cpu"), seconds=0.003, tiny=True)
    assert found.threads == threads
    assert set(found.flops) == {"fp32", "bf16"}
    assert min(*found.flops.values(), found.near, found.far) > 0
