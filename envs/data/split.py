"""Which training images train the inner network, feed observations and feed the reward.

There are two folds of disjoint images: the agent learns on one, held-out tasks are cut from the other. The
test images are not part of any split: only the evaluation loads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch

Fold = Literal["agent", "held-out"]

SHARES: dict[str, tuple[float, float, float]] = {"agent": (0.40, 0.05, 0.05), "held-out": (0.40, 0.08, 0.02)}
"""Shares of all training images for inner-train, inner-val and outer-val: of 50,000, the agent's fold has
20,000, 2,500 and 2,500, the held-out fold 20,000, 4,000 and 1,000."""

FOLDS: tuple[Fold, ...] = get_args(Fold)


@dataclass(frozen=True)
class Split:
    """Indices (int64, disjoint) into the training images.

    Attributes:
        inner_train: the inner networks train on these.
        inner_val: observations come from these.
        outer_val: the reward comes from these.
    """

    inner_train: torch.Tensor
    inner_val: torch.Tensor
    outer_val: torch.Tensor


def split_data(num_images: int, fold: Fold, seed: int = 0) -> Split:
    """Cut the training images of a data set into the three parts of a fold.

    All folds come from one seeded permutation, so they are disjoint for the same `num_images` and `seed`.

    Args:
        num_images: number of training images of the data set.
        fold: "agent" or "held-out".
        seed: of the permutation.

    Raises:
        ValueError: unknown fold, or so few images that a part would be empty.
    """
    sizes = part_sizes(num_images, fold)
    order = torch.randperm(num_images, generator=torch.Generator().manual_seed(seed))
    start = sum(sum(_sizes(num_images, name)) for name in FOLDS[: FOLDS.index(fold)])
    return Split(*order[start : start + sum(sizes)].split(list(sizes)))


def part_sizes(num_images: int, fold: Fold) -> tuple[int, int, int]:
    """Images of inner-train, inner-val and outer-val; errors as of :func:`split_data`."""
    if fold not in SHARES:
        raise ValueError(f"unknown fold {fold!r}; allowed: {', '.join(SHARES)}")
    # So many that every part of every fold gets at least one.
    needed = round(1 / min(min(shares) for shares in SHARES.values()))
    if num_images < needed:
        raise ValueError(
            f"{num_images} training images are too few for two folds of three parts: at least {needed} needed"
        )
    return _sizes(num_images, fold)


def _sizes(num_images: int, fold: Fold) -> tuple[int, int, int]:
    # 0.08 * 50,000 may fall just short of 4,000.
    train, val, outer = (int(share * num_images + 1e-9) for share in SHARES[fold])
    return train, val, outer
