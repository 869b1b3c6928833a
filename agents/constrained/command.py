"""What ``python -m lambda_rl.agents.constrained`` does: solve, compare, draw, fill a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lambda_rl.agents.constrained.comparison import (
    NONE,
    OURS,
    PROBLEMS,
    THEIRS,
    Cell,
    Mean,
    cells,
    measured,
)
from lambda_rl.agents.constrained.figure import WORDS, histories, libraries
from lambda_rl.agents.constrained.methods import cooper_is_missing
from lambda_rl.agents.presenting.markdown import fill_page, markdown_table
from lambda_rl.agents.presenting.style import png
from lambda_rl.agents.record.provenance import provenance
from lambda_rl.checks import bounded_int, listed
from lambda_rl.files import atomic_write

ROWS, HISTORY = "rows.csv", "history.csv"


@dataclass(frozen=True)
class ConstrainedConfig:
    """Solves problems with constraints by lambda_rl.constraints and by Cooper, over seeds, and compares.

    Attributes:
        out: folder for rows.csv, history.csv, provenance.json, histories.png and libraries.png.
        problems: names; none: all.
        seeds: of each problem.
        cooper: whether Cooper takes part; without it, only lambda_rl.constraints.
        page: Markdown page whose block "cooper" is filled, such as docs/constraints.md; empty: none.
        measure: run; without it, the rows in the folder are summed up and drawn anew.
    """

    out: Path = Path("docs/results/constraints")
    problems: tuple[str, ...] = ()
    seeds: int = 8
    cooper: bool = True
    page: str = ""
    measure: bool = True


def compare_constraints(config: ConstrainedConfig) -> None:
    """Runs and writes.

    Raises:
        ValueError: an option is out of range, or Cooper is wanted and not installed.
    """
    bounded_int("--seeds", config.seeds, 2, 1000)
    unknown = set(config.problems) - PROBLEMS.keys()
    if unknown:
        raise ValueError(f"unknown problem {listed(sorted(unknown))}; there are {listed(PROBLEMS)}")
    if config.measure and config.cooper and (why := cooper_is_missing()):
        raise ValueError(f"{why}, or give --no-cooper")
    if config.page and not Path(config.page).is_file():
        raise ValueError(f"{config.page}: no such page to fill")
    if config.measure:
        _measure(config)
    rows, history = (pd.read_csv(config.out / name) for name in (ROWS, HISTORY))
    found = cells(rows)
    for name, figure in (("histories", histories(history)), ("libraries", libraries(found))):
        if figure is not None:
            atomic_write(config.out / f"{name}.png", png(figure))
    text = table(found)
    if config.page:
        fill_page(Path(config.page), {"cooper": text})
    print(text)


def _measure(config: ConstrainedConfig) -> None:
    """Runs all, and writes the tables."""
    names = (OURS, THEIRS) if config.cooper else (OURS,)
    runs = list(measured(config.problems or tuple(PROBLEMS), names, config.seeds))
    rows = pd.DataFrame([row for row, _ in runs])
    history = pd.concat([one for _, one in runs if one is not None])
    atomic_write(config.out / ROWS, rows.to_csv(index=False, float_format="%.8g"))
    atomic_write(config.out / HISTORY, history.to_csv(index=False, float_format="%.5g"))
    atomic_write(config.out / "provenance.json", json.dumps(provenance("cpu"), indent=1) + "\n")


def table(found: Sequence[Cell]) -> str:
    """The cells in Markdown, each number with its 95 % interval over seeds."""
    columns = ("problem", "multiplier", "objective", "Cooper's", "violation", "Cooper's", "within")
    rows = []
    for cell in found:
        numbers = [
            _text(means.get(library))
            for means in (cell.objective, cell.violation)
            for library in ((NONE if cell.method == NONE else OURS), THEIRS)
        ]
        within = {None: "", True: "yes", False: "no"}[cell.within]
        rows.append((cell.problem, WORDS[cell.method], *numbers, within))
    return markdown_table(columns, rows)


def _text(mean: Mean | None) -> str:
    # Not "-0.0000", which rounding makes of what is hardly below 0.
    return "–" if mean is None else "{:.4f} [{:.4f}, {:.4f}]".format(*(round(end, 4) + 0.0 for end in mean))
