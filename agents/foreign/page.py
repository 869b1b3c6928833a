"""The tables of ``docs/generality.md``, and what the command prints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from lambda_rl import shipped_policies
from lambda_rl.agents.foreign.contestants import DEFAULT, GAP, UNGUARDED
from lambda_rl.agents.foreign.feedback.replay import REPLAYED
from lambda_rl.agents.foreign.feedback.static import LAW, SUGGESTED
from lambda_rl.agents.foreign.feedback.text import feedback_block
from lambda_rl.agents.foreign.suite import LOOKED_AT
from lambda_rl.agents.foreign.summary import (
    BY_VALIDATION,
    HARD,
    KAPPA_2,
    NONE,
    ORACLE,
    OTHER_SEEDS,
    ContestantSummary,
    ForeignSummary,
    TaskSummary,
)
from lambda_rl.agents.presenting.markdown import markdown_table
from lambda_rl.checks import printable

NAMES = {
    LAW: "law of static facts",
    SUGGESTED: "suggested constant",
    NONE: "no penalty",
    DEFAULT: "framework's default",
    KAPPA_2: "κ = 2",
    GAP: "gap rule",
    BY_VALIDATION: "grid by validation",
    OTHER_SEEDS: "constant of other seeds",
    ORACLE: "oracle constant",
}

README_BLOCK = "generality"
"""The block of the README that the same command fills."""

PAGE_ONLY = (DEFAULT, KAPPA_2)
"""Contestants that the README leaves to the page."""

LABEL_NOISE = {0.0: "digits-clean", 0.15: "digits-noisy-15", 0.3: "digits-noisy", 0.45: "digits-noisy-45"}
"""Tasks that differ in label noise alone."""


def page_blocks(summary: ForeignSummary) -> dict[str, str]:
    """The blocks of the page, by name."""
    return {
        "contestants": _contestants(summary),
        "looked-at": _looked_at(summary),
        "families": _families(summary),
        "tasks": _tasks(summary),
        "noise": _noise(summary),
        "feedback": feedback_block(summary.differences, summary.agent_seeds, shown),
        "origin": f"{len(summary.tasks)} tasks × {summary.seeds} seeds, `{summary.command}`, commit {summary.commit}, "
        f"{summary.hardware}."
        + (
            f" Left out, since constants are missing: {', '.join(summary.left_out)}."
            if summary.left_out
            else ""
        )
        + "\n",
    }


def readme_blocks(summary: ForeignSummary) -> dict[str, str]:
    """The block of the README: who comes to what, in few columns."""
    columns = (
        "", "runs", "regret to the best constant, points [95 %]", "worst fifth of the tasks",
        "tasks worse than no penalty by 1, 3 points",
    )  # fmt: skip
    rows = [
        (
            shown(name), one.runs, [one.regret, *one.regret_interval], f"{one.regret_tail:.2f}",
            ", ".join(map(_percent, one.worse_than_none)),
        )
        for name, one in summary.contestants.items()
        if not name.startswith(REPLAYED) and not name.endswith(UNGUARDED) and name not in PAGE_ONLY
    ]  # fmt: skip
    head = f"{len(summary.tasks)} tasks × {summary.seeds} seeds, mean over tasks:\n\n"
    return {README_BLOCK: head + markdown_table(columns, rows) + _in_words(summary)}


def _in_words(summary: ForeignSummary) -> str:
    """Of the policy that a user gets: what it gains, and what it costs."""
    name = shipped_policies()[0]
    one = summary.contestants.get(name)
    if one is None:
        return ""
    none, grid = summary.contestants[NONE].tasks, summary.contestants[BY_VALIDATION].tasks
    plain = [task.name for task in summary.tasks if task.family != HARD]

    def gain(names: Iterable[str], over: Mapping[str, float]) -> float:
        return float(np.mean([one.tasks[task] - over[task] for task in names]))

    over_none = (
        f"adds {gain(one.tasks, none):.1f} points on average, {gain(plain, none):.1f} without grokking"
    )
    others = summary.contestants.get(OTHER_SEEDS)
    luck = (
        ""
        if others is None
        else f" Of its regret, {others.regret:.2f} is what the constant that is best on all other seeds has, too: the "
        "best one is chosen in view of its runs."
    )
    return (
        f"\nTo no penalty, `{name}` {over_none}; at worst it costs {max(0.0, -one.worst_against_none):.1f}. "
        f"To a grid by validation, which takes eleven runs, it lacks {-gain(one.tasks, grid):.1f}.{luck}\n"
    )


def overview(summary: ForeignSummary) -> Table:
    """The contestants for the terminal: what fits in 80 columns of the page's table."""
    names = dict.fromkeys(task for one in summary.contestants.values() for task in one.tasks)
    many = len(names) > 1
    table = Table(
        title=Text(
            f"{len(names)} plain loops, accuracy in %" if many else f"{'; '.join(names)}, accuracy in %"
        ),
        box=box.SIMPLE_HEAD,
        caption="regret: points below the best constant in hindsight",
    )
    table.add_column("schedule", no_wrap=True)
    for head in ("runs", "accuracy", "regret", "95 %", *(("worst fifth",) if many else ())):
        table.add_column(head, justify="right", no_wrap=True)
    for name, one in summary.contestants.items():
        if name == OTHER_SEEDS:  # says how far to believe a regret, which is for the page
            continue
        low, high = one.regret_interval
        table.add_row(
            Text(printable(shown(name).replace("`", ""))),
            str(one.runs),
            f"{one.accuracy:.2f}",
            f"{one.regret:.2f}",
            f"{low:.2f} … {high:.2f}",
            *((f"{one.regret_tail:.2f}",) if many else ()),
        )
    return table


def shown(name: str) -> str:
    """A contestant's name in tables."""
    replayed = name.removeprefix(REPLAYED)
    return NAMES.get(name, f"`{name}`") if replayed == name else f"`{replayed}` replayed"


def who_looks(summary: ForeignSummary) -> list[str]:
    """Contestants whose κ moves by what they see of the run."""
    return [
        name for name, one in summary.contestants.items() if one.mean_kappa and not name.startswith(REPLAYED)
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _contestants(summary: ForeignSummary) -> str:
    columns = (
        "", "runs", "tasks", "accuracy", "regret", "worst fifth", "worst task", "worse than none by 1, 3",
        "worse than default by 1, 3", "worse than best plain by 2", "worst against none",
    )  # fmt: skip
    rows = [
        (
            shown(name),
            one.runs,
            len(one.tasks),
            f"{one.accuracy:.2f}",
            [one.regret, *one.regret_interval],
            f"{one.regret_tail:.2f}",
            f"{one.worst_task} ({one.worst_regret:.1f})",
            ", ".join(map(_percent, one.worse_than_none)),
            ", ".join(map(_percent, one.worse_than_default)),
            _percent(one.worse_than_plain),
            f"{one.worst_against_none:.1f}",
        )
        for name, one in summary.contestants.items()
    ]
    return markdown_table(columns, rows)


def _mean(one: ContestantSummary, tasks: Iterable[TaskSummary]) -> str:
    found = [one.tasks[task.name] for task in tasks if task.name in one.tasks]
    return f"{np.mean(found):.1f}" if found else "–"


def _looked_at(summary: ForeignSummary) -> str:
    """Mean regret on the tasks that choices were made with in view, and on the others."""
    parts = {
        "looked at": [task for task in summary.tasks if task.name in LOOKED_AT],
        "not looked at": [task for task in summary.tasks if task.name not in LOOKED_AT],
    }
    parts["looked at, all but grokking"] = [task for task in parts["looked at"] if task.family != HARD]
    best = summary.contestants[ORACLE].tasks
    rows = [
        (shown(name), *(_mean_regret(one, [task.name for task in part], best) for part in parts.values()))
        for name, one in summary.contestants.items()
    ]
    heads = [f"{name} ({len(part)})" for name, part in parts.items()]
    return markdown_table(("mean regret, points", *heads), rows)


def _mean_regret(one: ContestantSummary, tasks: Iterable[str], best: Mapping[str, float]) -> str:
    found = [best[name] - one.tasks[name] for name in tasks if name in one.tasks]
    return f"{np.mean(found):.2f}" if found else "–"


def _families(summary: ForeignSummary) -> str:
    families = list(dict.fromkeys(task.family for task in summary.tasks))
    rows = []
    for family in families:
        tasks = [task for task in summary.tasks if task.family == family]
        rows.append((family, len(tasks), *(_mean(one, tasks) for one in summary.contestants.values())))
    rows.append(
        ("all", len(summary.tasks), *(_mean(one, summary.tasks) for one in summary.contestants.values()))
    )
    return markdown_table(("family", "tasks", *map(shown, summary.contestants)), rows)


def _tasks(summary: ForeignSummary) -> str:
    rows = [
        (task.name, f"{task.oracle_kappa:g}", *(_mean(one, [task]) for one in summary.contestants.values()))
        for task in summary.tasks
    ]
    return markdown_table(("task", "best κ", *map(shown, summary.contestants)), rows)


def _noise(summary: ForeignSummary) -> str:
    """Mean κ against the oracle's, on tasks that differ in label noise alone."""
    by_name = {task.name: task for task in summary.tasks}
    moving = who_looks(summary)
    rows = [
        (
            _percent(noise),
            f"{by_name[name].oracle_kappa:g}",
            *(f"{summary.contestants[one].mean_kappa.get(name, math.nan):.2f}" for one in moving),
        )
        for noise, name in LABEL_NOISE.items()
        if name in by_name
    ]
    return markdown_table(("wrong labels", "best constant κ", *map(shown, moving)), rows)
