"""Independent work side by side: what it gives, and in which order. On a GPU: tests/gpu."""

from __future__ import annotations

import functools

import torch

from lambda_rl.envs.networks import NetworkSpec, make_network
from lambda_rl.envs.networks.lanes import side_by_side
from lambda_rl.envs.training.stack import stack_params


def test_each_is_called_once_and_results_keep_their_order() -> None:
    """On a CPU one after the other."""
    called: list[int] = []

    def call(n: int) -> torch.Tensor:
        called.append(n)
        return torch.tensor(n)

    made = side_by_side([functools.partial(call, n) for n in range(7)], torch.device("cpu"), 3)
    assert [int(value) for value in made] == called == list(range(7))


def test_networks_apart_are_networks_together() -> None:
    """Outputs, running statistics and gradients; in double precision, up to rounding."""
    network = make_network(NetworkSpec("resnet9", 4, 8))
    generator = torch.Generator().manual_seed(0)
    drawn = [network.init(generator, torch.float64) for _ in range(3)]
    params = stack_params([one[0] for one in drawn])
    x = torch.randn(3, 6, 3 * 8 * 8, generator=generator, dtype=torch.float64)
    found = []
    for way in (network.forward, network.apart):
        leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
        buffers = stack_params([one[1] for one in drawn])
        logits = way(leaves, buffers, x, training=True)
        slopes = torch.autograd.grad(logits.square().sum(), list(leaves.values()))
        found.append([logits.detach(), *slopes, *buffers.values()])
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)
