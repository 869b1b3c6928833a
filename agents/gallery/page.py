"""A page of the gallery, and the index: written from rows, so that they are made anew when the policy changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from lambda_rl.agents.foreign.contestants import DEFAULT
from lambda_rl.agents.foreign.feedback.static import LAW
from lambda_rl.agents.foreign.summary import BY_VALIDATION, NONE, ORACLE, Table
from lambda_rl.agents.foreign.task import ForeignTask
from lambda_rl.agents.gallery.entries import Entry
from lambda_rl.agents.presenting.markdown import markdown_table

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """The policy against another on one loop.

    Attributes:
        mean: of the differences over seeds, points.
        low: end of its 95 % interval, of Student's t.
        high: likewise.
    """

    mean: float
    low: float
    high: float

    @property
    def word(self) -> str:
        """What the interval says."""
        return "above" if self.low > 0 else "below" if self.high < 0 else "not told apart from"

    def __str__(self) -> str:
        return f"{self.mean:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"


def verdict(differences: Array) -> Verdict:
    """Of differences seed by seed."""
    mean, count = float(differences.mean()), len(differences)
    half = float(stats.t.ppf(0.975, count - 1) * stats.sem(differences)) if count > 1 else float("inf")
    return Verdict(mean, mean - half, mean + half)


def results(entry: Entry, table: Table, policy: str, seeds: int) -> str:
    """The page's table and its verdict, in Markdown.

    Args:
        entry: the page.
        table: rows of its tasks.
        policy: its name in them.
        seeds: of each.
    """
    there = [task for task in entry.loops if _complete(task, table, policy)]
    left_out = [task.name for task in entry.loops if task not in there]
    told = f"Not measured: {', '.join(left_out)}.\n" if left_out else ""
    if not there:
        return told
    columns = (
        "loop", "no decay", "framework's default", "law of static facts", f"`{policy}`", "grid by validation, 11 runs",
        "policy − default [95 %]", "policy − grid [95 %]",
    )  # fmt: skip
    rows = [
        (
            task.name,
            *(_mean(table, task, name) for name in (NONE, DEFAULT, LAW, policy, BY_VALIDATION)),
            str(against(table, task, policy, DEFAULT)),
            str(against(table, task, policy, BY_VALIDATION)),
        )
        for task in there
    ]
    head = f"Test accuracy in percent at the end of the run, mean over {seeds} seeds; intervals are over seeds.\n\n"
    return f"{head}{markdown_table(columns, rows)}\n{told}{sentence(there, table, policy)}"


def sentence(tasks: Sequence[ForeignTask], table: Table, policy: str) -> str:
    """Where the policy wins and where it loses, in words."""
    lines = []
    for name, words in (
        (DEFAULT, "the framework's default"),
        (BY_VALIDATION, "the grid, which costs 11 runs"),
    ):
        by_word: dict[str, list[str]] = {}
        for task in tasks:
            by_word.setdefault(against(table, task, policy, name).word, []).append(task.name)
        told = [f"{word} it on {', '.join(by_word[word])}" for word in _WORDS if word in by_word]
        lines.append(f"- Against {words}: {'; '.join(told)}.")
    lost = [
        f"{task.name} ({gap:.1f} points)"
        for task in tasks
        if (gap := float((table.of(task, ORACLE) - table.of(task, policy)).mean())) > LOSES
    ]
    if lost:
        lines.append(f"- **The policy loses** to the best constant in hindsight on {', '.join(lost)}.")
    return "\n".join(lines) + "\n"


LOSES = 1.0
"""Points below the best constant that a page names as lost."""

_WORDS = ("above", "not told apart from", "below")


def against(table: Table, task: ForeignTask, policy: str, other: str) -> Verdict:
    """The policy minus another, seed by seed."""
    return verdict(table.of(task, policy) - table.of(task, other))


def page(entry: Entry, diff: str, made: str, *, figure: bool, origin: str) -> str:
    """The whole page.

    Args:
        entry: what it is of.
        diff: of its first loop.
        made: table and verdict.
        figure: whether there is one.
        origin: what it was made by.
    """
    first = entry.tasks[0]
    picture = (
        f"![κ and validation accuracy over one run of each loop]({entry.name}.png)\n\n"
        "One run of each (seed 0): the policy, the constant that the grid by validation takes, and no decay. Dots: "
        "a rule of the guard had κ otherwise than the policy asked for. κ = 0 is drawn at the lower edge.\n"
        if figure
        else ""
    )
    parts = [
        f"# {entry.title}",
        entry.text,
        "## The diff",
        f"The loop `{first}` ({entry.network}), of [agents/foreign](../../agents/foreign/suite.py):",
        f"```diff\n{diff}```",
        "## What came of it",
        made,
        picture,
        origin,
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _complete(task: ForeignTask, table: Table, policy: str) -> bool:
    return task in table.tasks and len(table.of(task, policy)) > 0


def _mean(table: Table, task: ForeignTask, name: str) -> str:
    found = table.of(task, name)
    return f"{found.mean():.1f}" if len(found) else "–"
