"""The folds: sizes, disjointness, reproducibility."""

from __future__ import annotations

import pytest
import torch

from lambda_rl.envs.data.split import FOLDS, split_data


def test_sizes_of_cifar() -> None:
    agent, held_out = split_data(50_000, "agent"), split_data(50_000, "held-out")
    assert [len(agent.inner_train), len(agent.inner_val), len(agent.outer_val)] == [20_000, 2_500, 2_500]
    assert [len(held_out.inner_train), len(held_out.inner_val), len(held_out.outer_val)] == [
        20_000,
        4_000,
        1_000,
    ]


@pytest.mark.parametrize("num_images", [50, 51, 99, 1_000, 12_000, 50_000])
def test_all_parts_of_all_folds_are_disjoint_and_not_empty(num_images: int) -> None:
    parts = []
    for fold in FOLDS:
        split = split_data(num_images, fold, seed=3)
        parts += [split.inner_train, split.inner_val, split.outer_val]
    assert all(len(part) for part in parts)
    together = torch.cat(parts)
    assert together.dtype == torch.int64
    assert len(together.unique()) == len(together)
    assert together.min() >= 0
    assert together.max() < num_images


def test_seed_decides_and_global_state_does_not() -> None:
    first = split_data(1_000, "agent", seed=1).inner_train
    torch.manual_seed(123)
    torch.rand(5)
    state = torch.get_rng_state()
    assert torch.equal(first, split_data(1_000, "agent", seed=1).inner_train)
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, split_data(1_000, "agent", seed=2).inner_train)


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"49 training images are too few.*at least 50"):
        split_data(49, "agent")
    with pytest.raises(ValueError, match="unknown fold 'test'; allowed: agent, held-out"):
        split_data(1_000, "test")  # type: ignore[arg-type]
