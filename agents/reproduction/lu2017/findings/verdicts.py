"""What a claim of the paper came to: its parts, and a verdict in one of three words.

A claim has parts. Each is a number whose positive sign supports the claim, with a 95 % interval over seeds; a part
holds if the whole interval is above 0. The first part is the effect itself. The verdict is

* ``held``: all parts hold;
* ``held in part``: the effect holds on average, but not all that is said about it; or it holds in some cells (with
  intervals that hold for all cells at once) though not on average;
* ``did not hold``: otherwise.

Parts that are told but do not count (``counts=False``) say what a stricter reader would ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lambda_rl.agents.reproduction.lu2017.gains import Estimate, estimate
from lambda_rl.agents.reproduction.lu2017.settings import Budget

HELD, IN_PART, NOT_HELD = "held", "held in part", "did not hold"


@dataclass(frozen=True)
class Part:
    """One number of a claim.

    Attributes:
        text: what it is; positive supports the claim.
        estimate: with its interval.
        unit: of the number.
        counts: whether the verdict depends on it.
    """

    text: str
    estimate: Estimate
    unit: str = "points"
    counts: bool = True


@dataclass(frozen=True)
class Finding:
    """A claim and what came of it.

    Attributes:
        key: its letter.
        figure: of the paper.
        claim: in words.
        parts: the effect first.
        cells: the effect cell by cell, by name, with intervals that hold at once.
        verdict: see the module.
    """

    key: str
    figure: str
    claim: str
    parts: tuple[Part, ...]
    cells: dict[str, Estimate] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """In one of three words."""
        counted = [part.estimate.above for part in self.parts if part.counts]
        if all(counted):
            return HELD
        somewhere = any(cell.above for cell in self.cells.values())
        return IN_PART if counted[0] or somewhere else NOT_HELD

    @property
    def where(self) -> str:
        """Cells in which the effect has one sign or the other for sure; empty where there are no cells."""
        if not self.cells:
            return ""
        said = []
        for word, names in (
            ("for it", [name for name, cell in self.cells.items() if cell.above]),
            ("against it", [name for name, cell in self.cells.items() if cell.below]),
        ):
            listed = f" ({'; '.join(names)})" if names else ""
            said.append(f"{word} in {len(names)} of {len(self.cells)} cells{listed}")
        return ", ".join(said)


def cell_estimates(values: Mapping[str, np.ndarray]) -> dict[str, Estimate]:
    """The effect cell by cell, ``[seeds]`` each, with intervals that hold for all of them at once."""
    return {name: estimate(item, len(values)) for name, item in values.items()}


def width_names(budget: Budget) -> list[str]:
    """Names of the cells of a column."""
    return [f"{w} hidden units" for w in budget.widths]
