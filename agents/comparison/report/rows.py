"""The rows of the page's tables; a cell has a text, and a number that it is sorted by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lambda_rl.agents.comparison.evidence import USES, Evidence, Pair, Standing
from lambda_rl.agents.comparison.evidence import costs as found_costs
from lambda_rl.agents.comparison.figures.accuracy_by_task import columns as shown_by_task
from lambda_rl.agents.comparison.results import (
    ABLATION,
    BEST_SINGLE,
    CONSTANT,
    MEAN_CONSTANT,
    NO_PENALTY,
    ORACLE,
    Summary,
)
from lambda_rl.agents.comparison.words import is_double, meaning, questions, signed, spanned

_MOST_COLUMNS = 8
_FULL = 4.0  # points at which a cell's shade is full


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what is shown.
        value: what it is sorted by; None: the text.
        note: in small type below.
        shade: −1 (harm) to 1 (gain); None: no shade.
    """

    text: str
    value: float | None = None
    note: str = ""
    shade: float | None = None


@dataclass(frozen=True)
class Row:
    """A row of a table: its cells, and the class of its schedule."""

    cells: tuple[Cell, ...]
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A table: heads with what they mean, and rows."""

    heads: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]


_ACCURACY = ("test accuracy", "mean over all runs, percent")
_DIFFERENCE = ("difference", "points against the best single constant, 95 % interval")
_BETTER = ("P(better)", "probability that a run beats a run of the other, on a task at random, 95 % interval")
_HURT = ("tasks hurt", "share of tasks that are more than 1 point worse")
_FIFTH = ("worst fifth", "mean difference on the worst fifth of the tasks (CVaR at 20 %), points")
_RUNS = ("runs", "inner runs that a user pays for one result")


def schedules(summary: Summary, evidence: Evidence) -> Table:
    """All but the grid's constants, each once."""
    shown = [
        item
        for item in evidence.standings
        if item.kind != ABLATION
        and (item.kind != CONSTANT or item.name == NO_PENALTY)
        and (item.policies or not is_double(item.name, summary))
    ]
    regret = ("regret", "points below the oracle constant")
    heads = (
        ("schedule", ""), _ACCURACY, _DIFFERENCE, _BETTER,
        ("IQM", "interquartile mean, percent, 95 % interval"), _HURT, _FIFTH, regret, _RUNS,
        ("runs before", "spent before the first result: on tuning, or on training a policy"),
    )  # fmt: skip
    oracle = evidence.standing(ORACLE).accuracy
    return Table(heads, tuple(_schedule(item, oracle, summary) for item in shown))


def _schedule(item: Standing, oracle: float, summary: Summary) -> Row:
    low, high = item.iqm_interval
    cells = (
        Cell(item.name, note=meaning(item.name, summary)),
        Cell(f"{item.accuracy:.2f}", item.accuracy),
        *_pair(item.against, itself=item.name == BEST_SINGLE)[:2],
        Cell(f"{item.iqm:.2f}", item.iqm, f"[{low:.2f},\N{NO-BREAK SPACE}{high:.2f}]"),
        *_pair(item.against, itself=item.name == BEST_SINGLE)[2:],
        Cell(signed(oracle - item.accuracy).removeprefix("+"), oracle - item.accuracy),
        Cell(f"{item.inner_runs:,}", item.inner_runs),
        Cell(f"{item.tuning_runs:,}" if item.tuning_runs else "–", item.tuning_runs),
    )
    return Row(cells, item.kind)


def _pair(pair: Pair, *, itself: bool = False) -> tuple[Cell, ...]:
    """Difference, probability, harm and risk of one against another."""
    if itself:
        return (Cell("reference", 0.0), Cell("–", 0.5), Cell("–", 0.0), Cell("–", 0.0))
    low, high = pair.probability_interval
    return (
        Cell(signed(pair.difference), pair.difference, spanned(pair.interval)),
        Cell(f"{pair.probability:.2f}", pair.probability, f"[{low:.2f},\N{NO-BREAK SPACE}{high:.2f}]"),
        Cell(f"{100 * pair.hurt:.0f} %", pair.hurt),
        Cell(signed(pair.worst_fifth), pair.worst_fifth),
    )


def constants(summary: Summary, evidence: Evidence) -> Table:
    """The grid's constants, and a constant at random."""
    names = {*summary.constants, MEAN_CONSTANT} & {item.name for item in evidence.standings}
    rows = [
        Row(
            (
                Cell(item.name),
                Cell(f"{item.accuracy:.2f}", item.accuracy),
                *_pair(item.against, itself=item.name == summary.best_single_constant),
            ),
            item.kind,
        )
        for item in evidence.standings
        if item.name in names
    ]
    return Table((("constant", ""), _ACCURACY, _DIFFERENCE, _BETTER, _HURT, _FIFTH), tuple(rows))


def asked(evidence: Evidence) -> Table:
    """Each policy against what a sceptic would have in its place."""
    rows = [
        Row((Cell(ours.name), Cell(what, note=pair.other), *_pair(pair)), evidence.standing(pair.other).kind)
        for ours in evidence.learned
        for what, pair in questions(ours, evidence)
    ]
    difference = ("difference", "test accuracy of the policy minus the other's, points, 95 % interval")
    return Table((("policy", ""), ("against", ""), difference, _BETTER, _HURT, _FIFTH), tuple(rows))


def ablations(summary: Summary, evidence: Evidence) -> Table:
    """What is left of each policy: its ablations, each beside what it loses."""
    rows = []
    for item in evidence.standings:
        if item.kind == ABLATION:
            pair = next(pair for pair in evidence.pairs if pair.other == item.name)
            lost = replace(
                pair,
                difference=-pair.difference,
                interval=(-pair.interval[1], -pair.interval[0]),
                probability=1.0 - pair.probability,
                probability_interval=(1.0 - pair.probability_interval[1], 1.0 - pair.probability_interval[0]),
            )
            name = Cell(item.name, note=meaning(item.name, summary))
            rows.append(Row((name, Cell(f"{item.accuracy:.2f}", item.accuracy), *_pair(lost)[:2]), item.kind))
    difference = ("difference", "test accuracy minus that of the whole policy, points, 95 % interval")
    better = ("P(better)", "probability that a run beats one of the whole policy, on a task at random")
    return Table((("what is left", ""), _ACCURACY, difference, better), tuple(rows))


def costs(evidence: Evidence) -> Table:
    """What a result costs if the runs before it are shared out among so many results."""
    heads = (
        ("schedule", ""), _ACCURACY, _RUNS, ("before", "runs before the first result"),
        *((f"{uses:,} result{'s' if uses > 1 else ''}", "runs for each of so many results") for uses in USES),
        ("pays from", "results from which on it costs less than a search over the grid"),
    )  # fmt: skip
    rows = []
    for item in found_costs(evidence):
        cells = [
            Cell(item.name),
            Cell(f"{item.accuracy:.2f}", item.accuracy),
            Cell(f"{item.a_result:,}", item.a_result),
            Cell("not told") if item.before is None else Cell(f"{item.before:,}", item.before),
            *([Cell(f"{runs:,.1f}", runs) for runs in item.shared] or [Cell("–") for _ in USES]),
            Cell("–") if item.pays_from is None else Cell(f"{item.pays_from:,}", item.pays_from),
        ]
        rows.append(Row(tuple(cells), evidence.standing(item.name).kind))
    return Table(heads, tuple(rows))


def pairs(evidence: Evidence) -> Table:
    """Each policy against each rival."""
    rows = []
    for pair in evidence.pairs:
        rival = evidence.standing(pair.other)
        if rival.kind == ABLATION:
            continue
        cells = (
            Cell(pair.name),
            Cell(pair.other),
            *_pair(pair),
            Cell(f"{rival.inner_runs:,}", rival.inner_runs),
        )
        rows.append(Row(cells, rival.kind))
    difference = ("difference", "test accuracy of the policy minus the rival's, points, 95 % interval")
    heads = (("policy", ""), ("against", ""), difference, _BETTER, _HURT, _FIFTH, ("its runs", _RUNS[1]))
    return Table(heads, tuple(rows))


def by_task(summary: Summary, evidence: Evidence) -> Table:
    """Mean accuracy on each task, shaded by the difference to the best single constant."""
    names = shown_by_task(evidence, _MOST_COLUMNS)
    base = evidence.standing(BEST_SINGLE).tasks
    heads = (
        ("task", ""), *((name, "test accuracy, percent") for name in names),
        (BEST_SINGLE, "test accuracy, percent"), ("oracle λ", "the best constant of the task"),
    )  # fmt: skip
    rows = []
    for task in summary.tasks:
        means = [evidence.standing(name).tasks[task] for name in names]
        lam = summary.oracle_constants[task].partition(":")[2]
        cells = [_shaded(mean, mean - base[task]) for mean in means]
        rows.append(Row((Cell(task), *cells, Cell(f"{base[task]:.2f}", base[task]), Cell(lam, _number(lam)))))
    return Table(heads, tuple(rows))


def _shaded(mean: float, difference: float) -> Cell:
    return Cell(f"{mean:.2f}", mean, signed(difference), max(-1.0, min(1.0, difference / _FULL)))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


_FIELDS: Sequence[tuple[str, str]] = (
    ("network", "network"), ("width", "width"), ("train_size", "training images"), ("label_noise", "label noise"),
    ("val_size", "validation images"), ("optimizer", "optimizer"), ("learning_rate", "learning rate"),
    ("steps", "steps"), ("decisions", "decisions"),
)  # fmt: skip


def tasks(summary: Summary) -> Table:
    """What each task is."""
    rows = []
    for task in summary.tasks:
        fields = summary.task_fields[task]
        cells = [Cell(str(fields[name]), _number(str(fields[name]))) for name, _ in _FIELDS]
        rows.append(Row((Cell(task), *cells)))
    return Table((("task", ""), *((head, "") for _, head in _FIELDS)), tuple(rows))
