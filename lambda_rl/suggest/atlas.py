"""What the atlas of best constants says of a run: κ by a law of static facts, an interval, and whether it extrapolates.

The numbers are ``atlas.json``, which ``lambda_rl.agents.atlas`` makes (docs/atlas.md)::

    {"format": 1,
     "laws": [{"coefficients": {"": -1.0, "log_epochs": 0.8}, "below": -0.6, "above": 0.9}],
     "ranges": {"epochs": [0.3, 4000.0]},
     "lowest": -2.0, "highest": 2.2, "lr_mean": 0.55, "cells": 358, "command": "lambda-rl atlas …"}

A law's log₁₀ κ is the sum of coefficient · term, "" being 1, within ``lowest`` and ``highest``. The first law is taken
that a run says enough for. ``below`` and ``above`` are decades: in 95 % of the cells of families that the law was not
fitted to, some κ from ``below`` to ``above`` it costs at most half a point against the best constant. κ is at the peak
learning rate, and ``lr_mean`` what the mean learning rate of a cell is over it, on average.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from lambda_rl.checks import bounded, bounded_int, shown
from lambda_rl.suggest.kappa_law import LARGEST_LOG, TERMS, Known, check_keys

FORMAT = 1

ATLAS_TERMS: dict[str, Callable[[Known], float | None]] = {
    **TERMS,
    "log_decay_sum": lambda known: None if known.decay_sum is None else math.log10(known.decay_sum),
}
"""Terms that a law of an atlas may have; None where a run does not say enough. With a coefficient of 1 for the last one
a law is of λ, with 0 of κ."""

RANGES = {
    "steps": "steps",
    "epochs": "epochs",
    "num_train": "training examples",
    "num_params": "weights",
    "params_per_example": "weights per training example",
}
"""What an atlas may tell the range of, with the words for it."""


@dataclass(frozen=True)
class AtlasLaw:
    """One law of the file.

    Attributes:
        coefficients: by term, "" for that of 1.
        below: lower end of the interval, decades from the law.
        above: upper end.
    """

    coefficients: Mapping[str, float]
    below: float
    above: float

    def log_kappa(self, known: Known) -> float | None:
        """What it says; None where the run does not say enough."""
        total = 0.0
        for name, coefficient in self.coefficients.items():
            term = ATLAS_TERMS[name](known) if name else 1.0
            if term is None:
                return None
            total += coefficient * term
        return total


@dataclass(frozen=True)
class Answer:
    """What the atlas says of a run.

    Attributes:
        kappa: the decay budget, of a learning rate that stays at its peak.
        interval: of κ, 95 %.
        outside: what of the run lies outside of the atlas, in words; then the answer is an extrapolation.
        lr_mean: mean learning rate over its peak where κ was measured.
    """

    kappa: float
    interval: tuple[float, float]
    outside: tuple[str, ...] = ()
    lr_mean: float = 1.0

    def at_the_mean_rate(self) -> Answer:
        """The same, of the learning rate that there truly was."""
        low, high = (self.lr_mean * end for end in self.interval)
        return Answer(self.lr_mean * self.kappa, (low, high), self.outside)


@dataclass(frozen=True)
class Atlas:
    """The numbers of the file; see the module.

    Attributes:
        laws: the one that asks for most first.
        ranges: of facts, smallest and largest, by names of :data:`RANGES`.
        ends: smallest and largest log₁₀ κ that were measured.
        cells: how many.
        lr_mean: mean learning rate of a cell over its peak, on average.
    """

    laws: tuple[AtlasLaw, ...]
    ranges: Mapping[str, tuple[float, float]]
    ends: tuple[float, float]
    cells: int
    lr_mean: float

    def answer(self, known: Known, facts: Mapping[str, float]) -> Answer | None:
        """What it says of a run; None where the run says too little for any law.

        Args:
            known: what laws ask for.
            facts: numbers of the run by names of :data:`RANGES`, as far as they are known.
        """
        for law in self.laws:
            log = law.log_kappa(known)
            if log is None:
                continue
            outside = [
                f"{RANGES[name]} {value:.3g} (measured: {low:.3g} to {high:.3g})"
                for name, value in facts.items()
                if name in self.ranges
                for low, high in [self.ranges[name]]
                if not low <= value <= high
            ]
            if not self.ends[0] <= log <= self.ends[1]:
                outside.append(f"κ of the law {10.0**log:.3g} (measured: {10.0**self.ends[0]:.3g} to "
                               f"{10.0**self.ends[1]:.3g})")  # fmt: skip
            inside = min(max(log, self.ends[0]), self.ends[1])
            ends = (max(inside + law.below, self.ends[0]), min(inside + law.above, self.ends[1]))
            interval = 10.0 ** ends[0], 10.0 ** ends[1]
            return Answer(10.0**inside, interval, tuple(outside), self.lr_mean)
        return None

    @classmethod
    def from_dict(cls, values: Any) -> Atlas:
        """From the JSON's content.

        Raises:
            ValueError: something is missing, unknown or out of range.
        """
        check_keys(
            "atlas", values, {"format", "laws", "ranges", "lowest", "highest", "lr_mean", "cells", "command"}
        )
        bounded_int("format", values["format"], FORMAT, FORMAT)
        cells = bounded_int("cells", values["cells"], 1, 10**9)
        low, high = (bounded(name, values[name], -LARGEST_LOG, LARGEST_LOG) for name in ("lowest", "highest"))
        if low > high:
            raise ValueError(f"lowest={low:g} is above highest={high:g}")
        if not isinstance(values["laws"], list) or not isinstance(values["ranges"], dict):
            raise ValueError(f"laws must be a list and ranges a mapping, got {shown(values)}")
        ranges = {name: _range(name, ends) for name, ends in values["ranges"].items()}
        lr_mean = bounded("lr_mean", values["lr_mean"], 1e-6, 1.0)
        return cls(tuple(map(_law, values["laws"])), ranges, (low, high), cells, lr_mean)


def _range(name: str, ends: Any) -> tuple[float, float]:
    if name not in RANGES or not isinstance(ends, list) or len(ends) != 2:
        raise ValueError(f"ranges must be pairs of {', '.join(RANGES)}; got {name}: {shown(ends)}")
    low, high = (bounded(f"ranges: {name}", end, 0.0, 1e18) for end in ends)
    if low > high:
        raise ValueError(f"ranges: {name}: {low:g} is above {high:g}")
    return low, high


def _law(values: Any) -> AtlasLaw:
    check_keys("law", values, {"coefficients", "below", "above"})
    coefficients = values["coefficients"]
    if not isinstance(coefficients, dict) or not coefficients.keys() <= {"", *ATLAS_TERMS}:
        raise ValueError(
            f"law: coefficients must be of some of {', '.join(ATLAS_TERMS)}, got {shown(coefficients)}"
        )
    numbers = {name: bounded(f"law: {name or 'intercept'}", c, -1e3, 1e3) for name, c in coefficients.items()}
    below = bounded("law: below", values["below"], -2 * LARGEST_LOG, 0.0)
    above = bounded("law: above", values["above"], 0.0, 2 * LARGEST_LOG)
    return AtlasLaw(numbers, below, above)


def load_atlas(path: str | Path | None = None) -> Atlas:
    """The atlas in a file; None: the one that comes with the package.

    Raises:
        ValueError: it is none; the message names the file.
    """
    return _shipped() if path is None else _read(Path(path))


@functools.cache
def _shipped() -> Atlas:
    return _read(resources.files(__package__) / "atlas.json")


def _read(source: Any) -> Atlas:
    try:
        return Atlas.from_dict(json.loads(source.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{source}: {error}") from error
