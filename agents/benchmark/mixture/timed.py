"""Times the broad mixture, and says what it keeps of the speed of its kinds alone."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from lambda_rl.agents.benchmark.mixture.rounds import Rounds
from lambda_rl.agents.benchmark.mixture.rows import ALONE, GROUPS, PLAIN, mixture_rows
from lambda_rl.agents.benchmark.opponents import Setting
from lambda_rl.agents.benchmark.timing import Row, time_rows

OVER_PLAIN, OF_BEST = 4.0, 0.6
"""What is promised of slots in groups: times the plain loops, and the share of the best."""


def mixture(setting: Setting, repeats: int, console: Console) -> dict[str, Any]:
    """Times all rows, and prints a table.

    Args:
        setting: of all rows; threads and processes are its own.
        repeats: rounds of tasks, after one that warms up.
        console: where to print.

    Returns:
        ``rows`` by label, as of :func:`~lambda_rl.agents.benchmark.timing.time_rows`, with ``decisions_per_second`` and
        ``share_of_best``, the median over the rounds; ``tasks`` of a round; ``targets``.
    """
    rounds = Rounds(setting.images, tasks=4 if setting.tiny else 8, tiny=setting.tiny)
    rows: dict[str, Row] = {}
    with ExitStack() as opened:
        for label, row in mixture_rows(rounds, setting):
            opened.callback(row.close)
            rows[label] = row
        found = time_rows(rows, repeats, setting.device)
    played = [task for number in range(1, repeats + 1) for task in rounds.round(number)]
    decisions = sum(task.decisions for task in played) / sum(task.steps for task in played)
    for told in found.values():
        told["decisions_per_second"] = told["steps_per_second"] * decisions
        told["share_of_best"] = float(np.median(np.array(told["each"]) / np.array(found[ALONE]["each"])))
    result = {"tasks": rounds.tasks, "rows": found, "targets": judge_mixture(found)}
    console.print(_table(result))
    return result


def judge_mixture(rows: Mapping[str, Mapping[str, Any]]) -> list[dict[str, object]]:
    """What is promised of the mixture, and what was found."""
    over, share = rows[GROUPS]["ratio"], rows[GROUPS]["share_of_best"]
    return [
        {"what": f"{GROUPS}, times {PLAIN}", "target": f"≥ {OVER_PLAIN:g}", "found": over, "met": over >= OVER_PLAIN},
        {"what": f"{GROUPS}, share of the best", "target": f"≥ {OF_BEST:g}", "found": share, "met": share >= OF_BEST},
    ]  # fmt: skip


HEADINGS = ("network-steps/s", "lowest to highest", "decisions/s", "times the first row", "of the best")
"""Of a table of rows."""


def cells(row: Mapping[str, Any]) -> list[str]:
    """A row of the table."""
    return [
        f"{row['steps_per_second']:,.0f}",
        f"{row['lowest']:,.0f} to {row['highest']:,.0f}",
        f"{row['decisions_per_second']:,.0f}",
        f"{row['ratio']:.2f}",
        f"{row['share_of_best']:.0%}",
    ]


def _table(result: Mapping[str, Any]) -> Table:
    table = Table(title=f"the broad mixture, rounds of {result['tasks']} tasks")
    table.add_column("what")
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    for label, row in result["rows"].items():
        table.add_row(label, *cells(row))
    return table
