"""Signals averaged over the processes of a distributed run, so that every rank comes to the same λ."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist


def active() -> bool:
    """Whether this process is one of several of an initialised default process group."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _device() -> torch.device:
    """Where the backend of the default group takes its tensors."""
    backend = str(dist.get_backend())
    if "nccl" in backend and "gloo" not in backend:
        return torch.device("cuda", torch.cuda.current_device())
    if "xccl" in backend:
        return torch.device("xpu", torch.xpu.current_device())
    return torch.device("cpu")


def mean_over_ranks(values: Sequence[float | None]) -> list[float | None]:
    """The mean of each number over the ranks that have it.

    One ``all_reduce`` of a tensor of ``2 · len(values)`` numbers; every rank must call it, with as many values,
    and every rank gets the same answer to the last bit.

    Args:
        values: this rank's; None is a number it does not have.

    Returns:
        Means; None where no rank has the number. A NaN of any rank gives NaN.
    """
    sums = [0.0 if value is None else value for value in values]
    counts = [0.0 if value is None else 1.0 for value in values]
    together = torch.tensor([sums, counts], dtype=torch.float64, device=_device())
    dist.all_reduce(together)
    total, count = together.tolist()
    return [t / n if n else None for t, n in zip(total, count, strict=True)]
