"""Tables of pages, made of rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lambda_rl.agents.comparison.statistics import bootstrap_interval
from lambda_rl.agents.many_knobs.studies import LEARNED
from lambda_rl.agents.presenting.markdown import markdown_table


def table(rows: pd.DataFrame, names: tuple[str, ...]) -> str:
    """Mean test accuracy of contestants and their difference to the policy of λ alone, with 95 % intervals.

    Intervals are bootstrapped over tasks, then seeds within them; of several agents of a kind the mean is taken first.
    Below each of these kinds its agents follow, one by one.

    Args:
        rows: of all contestants.
        names: of those in the table, in its order.
    """
    cells = rows.pivot_table(index=["task", "seed"], columns="contestant", values="accuracy")
    reference = next((name for name in (LEARNED["one"], LEARNED["plain"], *names) if name in cells), "")
    lines = []
    for name in (name for name in names if name in cells):
        own = rows[rows["contestant"] == name]
        agents = sorted(own["agent_seed"].unique())
        each = [own[own["agent_seed"] == seed]["accuracy"].mean() for seed in agents]
        difference = (cells[name] - cells[reference]).unstack("seed").to_numpy()
        against = "" if name == reference else interval(difference)
        setting = own["setting"].iloc[0] if len(agents) == 1 and name not in LEARNED.values() else ""
        spread = ", ".join(f"{mean:.2f}" for mean in each) if name in LEARNED.values() else ""
        accuracy = interval(cells[name].unstack("seed").to_numpy())
        lines.append((name, setting, accuracy, against, spread))
    columns = ("", "chosen", "test accuracy, %", f"minus {reference}, points", "its agents")
    return markdown_table(columns, lines)


def interval(table: np.ndarray) -> tuple[float, float, float]:
    """Mean of differences or accuracies ``[tasks, seeds]``, with its interval; see :func:`table`."""
    low, high = bootstrap_interval(table, np.random.default_rng(0), unit="tasks")
    return float(table.mean()), low, high
