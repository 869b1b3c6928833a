"""Rows that are timed in turn, over and over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from lambda_rl.agents.benchmark.machine.peaks import synchronize


@dataclass(frozen=True)
class Row:
    """One contestant.

    Attributes:
        run: works for a while; gives the number of network-steps that it did.
        threads: torch's threads in this process meanwhile.
        close: called at the end.
        precision: ``fp32`` or ``bf16``.
        versions: of what it runs with, if that is not this process's, by name.
    """

    run: Callable[[], int]
    threads: int = 1
    close: Callable[[], object] = lambda: None
    precision: str = "fp32"
    versions: Mapping[str, str] = field(default_factory=dict)


def time_rows(
    rows: Mapping[str, Row], repeats: int, device: torch.device, first: str | None = None
) -> dict[str, dict[str, Any]]:
    """Times the rows in turn.

    Machines drift, so a ratio is taken repeat by repeat, and the median of the ratios is what counts.

    Args:
        rows: by label.
        repeats: rounds, after one that warms up.
        device: to be waited for.
        first: label of the row that the others are compared with; the first one if none is given.

    Returns:
        By label: median ``steps_per_second``, ``lowest``, ``highest``, ``ratio`` to ``first``, ``lowest_ratio``,
        ``highest_ratio``, ``each``, the steps a second of each repeat, ``cpu``, this process's CPU seconds a step of
        each repeat, and ``first_use_seconds``, the warm-up, which compiles where that is asked for.
    """
    speed: dict[str, list[float]] = {label: [] for label in rows}
    own: dict[str, list[float]] = {label: [] for label in rows}
    warm: dict[str, float] = {}
    for repeat in range(repeats + 1):
        for label, row in rows.items():
            torch.set_num_threads(row.threads)
            start, own_start = time.perf_counter(), time.process_time()
            steps = row.run()
            synchronize(device)
            own_seconds = time.process_time() - own_start
            seconds = time.perf_counter() - start
            if repeat:
                speed[label].append(steps / seconds)
                own[label].append(own_seconds / steps)
            else:
                warm[label] = seconds
    torch.set_num_threads(1)
    base = np.array(speed[first or next(iter(rows))])
    found: dict[str, dict[str, Any]] = {}
    for label, values in speed.items():
        ratios = np.array(values) / base
        found[label] = {
            "steps_per_second": float(np.median(values)),
            "lowest": min(values),
            "highest": max(values),
            "ratio": float(np.median(ratios)),
            "lowest_ratio": float(ratios.min()),
            "highest_ratio": float(ratios.max()),
            "each": values,
            "cpu": own[label],
            "first_use_seconds": warm[label],
        }
    return found


class Spans:
    """Times at which something ran, on any thread."""

    def __init__(self) -> None:
        self._spans: list[tuple[float, float]] = []

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose calls are taken note of."""

        def timed(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                self._spans.append((start, time.perf_counter()))

        return timed

    def covered(self) -> float:
        """Seconds in which at least one ran; forgets them."""
        total, end = 0.0, 0.0
        for start, stop in sorted(self._spans):
            total += max(0.0, stop - max(start, end))
            end = max(end, stop)
        self._spans = []
        return total

    def summed(self) -> float:
        """Seconds of all of them; forgets them."""
        total = sum(stop - start for start, stop in self._spans)
        self._spans = []
        return total
