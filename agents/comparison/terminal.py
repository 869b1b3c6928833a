"""What a comparison prints. Names of suites, policies and folders are shown as they are, never read as markup."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lambda_rl.agents.comparison.results import (
    BEST_SINGLE,
    BEST_SINGLE_HINDSIGHT,
    CONSTANT,
    LEARNED,
    NO_PENALTY,
    Summary,
)
from lambda_rl.agents.comparison.summary import headline
from lambda_rl.checks import printable


def say(console: Console, line: str, *, soft_wrap: bool = False) -> None:
    """Prints a line as it is."""
    console.print(Text(printable(line)), soft_wrap=soft_wrap)


def show(summary: Summary, report: Path, console: Console) -> None:
    """Prints the table, the result in words, the notes, and where the report is."""
    console.print(summary_table(summary))
    for sentence in headline(summary):
        say(console, sentence)
    for note in summary.notes:
        say(console, f"note: {note}")
    say(console, f"report: {report}", soft_wrap=True)


def summary_table(summary: Summary) -> Table:
    """The table for the terminal; constants that are nobody's choice are left to the report."""
    table = Table(
        title=Text(
            printable(
                f"{summary.suite}: {len(summary.tasks)} tasks × {summary.seeds_per_task} seeds, accuracy in %"
            ),
            style="table.title",
        ),
        caption="diff.: points above the best single constant, with its interval\n"
        "regret: points below the oracle constant; runs: inner runs for one result",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("schedule", no_wrap=True)
    for head in ("test acc.", "diff.", "95 %", "regret", "runs"):
        table.add_column(head, justify="right", no_wrap=True)
    best = summary.best_single_constant
    for name, item in summary.schedules.items():
        if (item.kind == CONSTANT and name not in (best, NO_PENALTY)) or name == BEST_SINGLE_HINDSIGHT:
            continue
        low, high = item.ci95
        itself = name in (BEST_SINGLE, best)
        table.add_row(
            Text(printable(name)),
            f"{item.test_accuracy_mean:.2f}",
            "" if itself else f"{item.difference_mean:+.2f}",
            "" if itself else f"{low:+.2f} … {high:+.2f}",
            f"{item.regret_mean:.2f}",
            str(item.inner_runs),
            style="bold blue" if item.kind == LEARNED else None,
        )
    return table
