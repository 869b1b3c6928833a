"""What a comparison prints. Names of suites, policies and folders are shown as they are, never read as markup."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lambda_rl.agents.comparison.evidence import Evidence
from lambda_rl.agents.comparison.results import (
    ABLATION,
    BEST_SINGLE,
    BEST_SINGLE_HINDSIGHT,
    CONSTANT,
    NO_PENALTY,
    ORACLE,
    Summary,
)
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.agents.comparison.words import counted, headline, signed, spanned, verdicts
from lambda_rl.checks import printable


def say(console: Console, line: str, *, soft_wrap: bool = False) -> None:
    """Prints a line as it is."""
    console.print(Text(printable(line)), soft_wrap=soft_wrap)


def show(comparison: Comparison, report: Path, console: Console) -> None:
    """Prints the table, the result in words, the notes, where the report is, and what to do next."""
    summary, evidence = comparison.summary, comparison.evidence
    console.print(summary_table(summary, evidence))
    for sentence in [*headline(summary, evidence), *verdicts(summary)]:
        say(console, sentence)
    for note in summary.notes:
        say(console, f"note: {note}")
    say(console, f"report: {report}", soft_wrap=True)
    files = [policy.file for policy in summary.policies.values()]
    _next_steps(report, files[0] if files else "", console)


def _next_steps(report: Path, policy: str, console: Console) -> None:
    """What a reader may want to do with a report and a policy."""
    address = report.resolve().as_uri()
    say(console, "next:")
    # Most terminals make a link of an address by themselves; those that know links get it as one.
    console.print(Text("  look at the figures:  ").append(address, style=f"link {address}"), soft_wrap=True)
    if not policy:
        return
    for words, what in (
        ("see what it is:", f"lambda-rl info {shlex.quote(policy)}"),
        ("put it in your loop:", f"schedule = lambda_rl.LearnedSchedule(optimizer, policy={policy!r}, …)"),
    ):
        say(console, f"  {words:<22}{what}", soft_wrap=True)


def summary_table(summary: Summary, evidence: Evidence) -> Table:
    """The table for the terminal; constants that are nobody's choice, and ablations, are left to the report."""
    seeds = counted(summary.seeds_per_task, "seed")
    title = f"{summary.suite}: {counted(len(summary.tasks), 'task')} × {seeds}, accuracy in %"
    table = Table(
        title=Text(printable(title), style="table.title"),
        caption="diff.: points above the best single constant, with its interval\n"
        "regret: points below the oracle constant; runs: inner runs for one result",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("schedule", no_wrap=True)
    for head in ("test acc.", "diff.", "95 %", "regret", "runs"):
        table.add_column(head, justify="right", no_wrap=True)
    best, oracle = summary.best_single_constant, evidence.standing(ORACLE).accuracy
    for item in evidence.standings:
        if (
            (item.kind == CONSTANT and item.name not in (best, NO_PENALTY))
            or item.name == BEST_SINGLE_HINDSIGHT
            or item.kind == ABLATION
        ):
            continue
        itself = item.name in (BEST_SINGLE, best)
        table.add_row(
            Text(printable(item.name)),
            f"{item.accuracy:.2f}",
            "" if itself else signed(item.against.difference),
            "" if itself else spanned(item.against.interval),
            f"{oracle - item.accuracy:.2f}",
            f"{item.inner_runs:,}",
            style="bold blue" if item.learned else None,
        )
    return table
