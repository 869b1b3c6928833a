"""What policies come to on fresh tasks, and how far each is from the first one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lambda_rl.agents.comparison.statistics import bootstrap_interval
from lambda_rl.agents.fresh_tasks.rows import CONSTANTS, Row
from lambda_rl.agents.presenting.markdown import markdown_table
from lambda_rl.agents.record.typed_file import TypedFile
from lambda_rl.agents.warm_start.selection import verdict_of

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Standing:
    """A policy on the tasks; points.

    Attributes:
        fingerprint: of the policy.
        regret: mean of (best constant of a task in hindsight, smoothed - policy).
        interval: 95 %, by a bootstrap over tasks.
        tail: mean regret of the worst fifth of the tasks.
        score: what actors are selected on in training, the higher the better.
        minus_first: mean of (this policy - the first one).
        minus_first_interval: 95 %, by a bootstrap over tasks.
        worse_than_none: shares of the tasks on which one run is worse than no penalty by more than 1 and 3 points.
        worst_loss: the most that a task lost against no penalty.
    """

    fingerprint: str
    regret: float
    interval: tuple[float, float]
    tail: float
    score: float
    minus_first: float
    minus_first_interval: tuple[float, float]
    worse_than_none: tuple[float, float]
    worst_loss: float


@dataclass(frozen=True)
class FreshSummary(TypedFile):
    """The file.

    Attributes:
        format_version: of the file.
        suite: that tasks were drawn from.
        seed: of the tasks.
        tasks: how many.
        no_penalty: its mean regret.
        best_constant: mean regret of the best single constant, chosen on these tasks.
        standings: of policies by name, in the order in which they were given.
        command: that made it.
        commit: of the code.
        hardware: it ran on.
    """

    what = "a summary of fresh tasks"

    format_version: int
    suite: str
    seed: int
    tasks: int
    no_penalty: float
    best_constant: float
    standings: dict[str, Standing]
    command: str
    commit: str
    hardware: str


def table_of(rows: Sequence[Row], names: Sequence[str]) -> Array:
    """Accuracies ``[T, names]`` on the tasks that all of these were played on, in percent.

    Args:
        rows: of one suite and seed.
        names: fingerprints of policies, names of constants.
    """
    found: dict[int, dict[str, float]] = {}
    for row in rows:
        found.setdefault(row.task, {})[row.who] = row.accuracy
    whole = [found[task] for task in sorted(found) if all(name in found[task] for name in names)]
    return np.array([[one[name] for name in names] for one in whole]).reshape(len(whole), len(names))


def summarise(
    rows: Sequence[Row], fingerprints: Mapping[str, str], suite: str, seed: int, origin: Mapping[str, str]
) -> FreshSummary:
    """What the rows come to.

    Args:
        rows: of any suites and seeds.
        fingerprints: of the policies by name; the first one is what others are compared with.
        suite: whose rows count.
        seed: whose rows count.
        origin: command, commit and hardware.

    Raises:
        ValueError: there is no task on which all were played.
    """
    names = list(fingerprints)
    mine = [row for row in rows if (row.suite, row.seed) == (suite, seed)]
    table = table_of(mine, [*CONSTANTS, *(fingerprints[name] for name in names)])
    if not len(table):
        raise ValueError(f"there is no task of {suite} (seed {seed}) on which all policies were played")
    curves, accuracies = table[:, : len(CONSTANTS)], table[:, len(CONSTANTS) :]
    single = [verdict_of(curves, column).regret for column in curves.T]
    return FreshSummary(
        format_version=FreshSummary.version,
        suite=suite,
        seed=seed,
        tasks=len(table),
        no_penalty=single[0],
        best_constant=min(single),
        standings={
            name: _standing(fingerprints[name], curves, accuracies[:, i], accuracies[:, 0])
            for i, name in enumerate(names)
        },
        command=origin["command"],
        commit=origin["commit"],
        hardware=origin["hardware"],
    )


def _standing(fingerprint: str, curves: Array, accuracy: Array, first: Array) -> Standing:
    verdict, harm = verdict_of(curves, accuracy), curves[:, 0] - accuracy

    def interval(values: Array) -> tuple[float, float]:
        return bootstrap_interval(values[:, None], np.random.default_rng(0))

    return Standing(
        fingerprint=fingerprint,
        regret=verdict.regret,
        interval=interval(np.array(verdict.regrets)),
        tail=verdict.tail,
        score=verdict.score,
        minus_first=float((accuracy - first).mean()),
        minus_first_interval=interval(accuracy - first),
        worse_than_none=(float((harm > 1.0).mean()), float((harm > 3.0).mean())),
        worst_loss=verdict.worst_loss,
    )


def markdown(summary: FreshSummary) -> str:
    """The table of the page."""
    first = next(iter(summary.standings))
    columns = (
        "", "regret [95 %]", "worst fifth", f"minus `{first}` [95 %]", "worse than none by 1, 3", "at most by",
    )  # fmt: skip
    rows = [
        (
            f"`{name}`", [one.regret, *one.interval], f"{one.tail:.2f}",
            "–" if name == first else [one.minus_first, *one.minus_first_interval],
            ", ".join(f"{100 * share:.0f} %" for share in one.worse_than_none), f"{one.worst_loss:.1f}",
        )
        for name, one in summary.standings.items()
    ]  # fmt: skip
    return (
        f"{summary.tasks} tasks of `{summary.suite}` (seed {summary.seed}), one run each. Regret of the best single "
        f"constant, chosen on these very tasks: {summary.best_constant:.2f}; of no penalty: "
        f"{summary.no_penalty:.2f}.\n\n"
        + markdown_table(columns, rows)
        + f"\n`{summary.command}`, commit {summary.commit}, {summary.hardware}.\n"
    )
