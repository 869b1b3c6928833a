"""Work that is independent, side by side on one GPU: kernels too small to fill it run at the same time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

LANES = 8
"""Streams that independent work is spread over. On an H100, docs/performance.md says what they gain."""


@functools.cache
def _streams(device: torch.device, count: int) -> tuple[torch.cuda.Stream, ...]:
    return tuple(torch.cuda.Stream(device) for _ in range(count))


def side_by_side(calls: Sequence[Callable[[], Tensor]], device: torch.device, lanes: int = 0) -> list[Tensor]:
    """What independent functions give, each called once, in order; on a GPU their kernels overlap.

    All streams begin when what was asked for before is done, and the caller's stream goes on when all have ended, so
    that to the caller nothing is different; in a CUDA graph that is being captured they become branches of it.
    Gradients flow back on the streams that they came by.

    Args:
        calls: read what was there before, and write nothing that another one reads.
        device: where their tensors are.
        lanes: streams; 0: :data:`LANES`.
    """
    lanes = min(lanes or LANES, len(calls))
    if device.type != "cuda" or lanes < 2:
        return [call() for call in calls]
    caller = torch.cuda.current_stream(device)
    streams = _streams(device, lanes)
    for stream in streams:
        stream.wait_stream(caller)
    made = []
    for n, call in enumerate(calls):
        with torch.cuda.stream(streams[n % lanes]):
            made.append(call())
    for stream in streams:
        caller.wait_stream(stream)
    return made
