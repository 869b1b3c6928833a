"""The learned curve of Figure 8 beside published rows, where the run folder that they came from is gone.

Rows of ``results.csv`` have accuracies alone, which is what Figure 8 and its table are made of. Some constants are run
once more, so that it is told how far the published numbers come out again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from lambda_rl.agents.presenting.style import png
from lambda_rl.agents.reproduction.lu2017.drawing.nonconvex_figures import figure_8
from lambda_rl.agents.reproduction.lu2017.experiments import LEARNED, Cell, Policies, figure_cells
from lambda_rl.agents.reproduction.lu2017.settings import Budget
from lambda_rl.agents.reproduction.lu2017.store import SCALARS, Store
from lambda_rl.agents.reproduction.lu2017.tables import nonconvex_widths
from lambda_rl.files import atomic_write

AGAIN = ("constant:0", "constant:1")
"""What is run once more, in the cell of the fewest hidden units."""

_SAME = ("budget", "train_fingerprint", "test_fingerprint", "device", "precision")


@dataclass(frozen=True)
class Published:
    """Results of an earlier reproduction.

    Attributes:
        folder: of results.csv, summary.json and the figures.
        runs: its rows.
        summary: content of ``summary.json``.
    """

    folder: Path
    runs: pd.DataFrame
    summary: dict[str, Any]

    @classmethod
    def read(cls, folder: str | Path, settings: Mapping[str, Any]) -> Published:
        """What is in a folder.

        Raises:
            FileNotFoundError: it has no results.
            ValueError: they are of other settings.
        """
        place = Path(folder)
        summary = json.loads((place / "summary.json").read_text(encoding="utf-8"))
        different = [key for key in _SAME if summary["settings"][key] != settings[key]]
        if different:
            raise ValueError(f"{place} holds results of another {', '.join(different)}; give the same")
        runs = pd.read_csv(place / "results.csv", keep_default_na=False)
        old = (runs["penalty"] == "l0.5") & (runs["schedule"] == LEARNED)
        return cls(place, runs[~old], summary)


def cells_to_add(budget: Budget, policy: str) -> list[Cell]:
    """The learned runs of Figure 8, and constants that are run once more.

    Args:
        budget: sizes.
        policy: text of the learned schedule.
    """
    found = []
    for cell in figure_cells("8", budget, Policies("", policy)):
        again = AGAIN if cell.task.width == budget.widths[0] else ()
        plans = tuple(plan for plan in cell.plans if plan.name in (LEARNED, *again))
        if cell.task.penalty == "l0.5" and any(plan.name == LEARNED for plan in plans):
            found.append(replace(cell, plans=plans))
    return found


def add(published: Published, store: Store, cells: Sequence[Cell], budget: Budget) -> dict[str, Any]:
    """Adds the rows of complete cells, draws Figure 8 anew, and writes both beside the published ones.

    Args:
        published: what there is.
        store: what was run.
        cells: see :func:`cells_to_add`.
        budget: sizes.

    Returns:
        The summary, as it is written.
    """
    made = store.table(list(cells), budget.seeds)
    learned = made[made["schedule"] == LEARNED]
    runs = pd.concat([published.runs, learned[list(SCALARS)]], ignore_index=True)
    keys = ["cell", "schedule", "seed"]
    both = made[made["schedule"] != LEARNED].merge(published.runs, on=keys, suffixes=("", "_before"))
    apart = (both["test_accuracy"] - both["test_accuracy_before"]).abs()
    warned = Counter(text for texts in learned["warned"] for text in set(texts))
    summary = published.summary
    summary["settings"]["policy_l0.5"] = store.settings()["policy_l0.5"]
    summary["tables"]["8"]["widths"] = nonconvex_widths(runs, budget)
    summary["added"] = {
        "origin": store.origin(),
        "runs": len(learned),
        "warned": dict(warned.most_common()),
        "again": {"runs": len(both), "largest": float(apart.max()), "mean": float(apart.mean())},
    }
    atomic_write(published.folder / "results.csv", runs[list(SCALARS)].to_csv(index=False))
    text = json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False)
    atomic_write(published.folder / "summary.json", text + "\n")
    atomic_write(published.folder / "figure-8.png", png(figure_8(runs, budget)))
    return summary
