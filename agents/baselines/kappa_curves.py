"""What ``scripts/fit_kappa.py`` does: the table of κ out of the curves of a training, and how well it does there.

Curves are taken as they were measured. The training smooths them (``agents/warm_start/curves.py``), for it looks at
each task on its own. Here a mean over all tasks is minimised, in which noise averages out by itself, while smoothing
would carry the cliff where decay is too large to smaller κ: on 200 tasks it halved the κ that was found. That the best
of some noisy constants looks better than it is adds the same to the regret of all.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lambda_rl.agents.baselines.kappa_law import CurveRow, fit, mean_regret, regrets, write
from lambda_rl.checks import bounded_int
from lambda_rl.suggest.kappa_law import TERMS, KappaLaw, Known

ACCURACY = "accuracy_"
FOLDS = 5
RULE_OF_THUMB = 2.0
_FACTS = ("num_train", "num_params", "epochs", "adaptive", "normalised")
_FLAGS = {"True": True, "False": False, "": None}


@dataclass(frozen=True, kw_only=True)
class FitKappaConfig:
    """Fits the κ that suggest_weight_decay takes, from the curves of a training.

    Attributes:
        curves: curves.csv of a training's run folder.
        out: the table to write; empty: none, the numbers are told only.
        terms: of the law of static facts; none: the table has a constant alone.
        resamples: of the bootstrap over tasks.
        seed: of the bootstrap and the folds.
        source: what the tasks are, for the reader of the table; empty: the run's name.
    """

    curves: Path
    out: str = ""
    terms: tuple[str, ...] = ()
    resamples: int = 200
    seed: int = 0
    source: str = ""


@dataclass(frozen=True)
class Cost:
    """Points that a way to choose κ loses on average to the best constant of each task.

    Attributes:
        single: of the best single κ.
        law: of the law of static facts.
    """

    single: float
    law: float


def fit_kappa(config: FitKappaConfig, command: str = "") -> str:
    """Fits, writes the table, and says what it comes to.

    Args:
        config: all options.
        command: the command line, for the record.

    Returns:
        Lines for the reader.

    Raises:
        OSError: there are no curves.
        ValueError: an option or the curves are wrong.
    """
    bounded_int("--resamples", config.resamples, 2, 100_000)
    rows = read_curves(config.curves)
    source = config.source or config.curves.absolute().parent.name
    table = fit(
        rows, config.terms, resamples=config.resamples, seed=config.seed, source=source, command=command
    )
    if config.out:
        write(table, config.out)
    return _told(rows, table, config)


def read_curves(path: str | Path) -> list[CurveRow]:
    """The curves of a training, one a task.

    Raises:
        OSError: there is no such file.
        ValueError: it is something else.
    """
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        names = list(reader.fieldnames or ())
        columns = [name for name in names if name.startswith(ACCURACY)]
        if not columns or not set(_FACTS) <= set(names):
            raise ValueError(
                f"{path}: not the curves of a training: {ACCURACY}… and {', '.join(_FACTS)} needed"
            )
        try:
            logs = tuple(float(name.removeprefix(ACCURACY)) for name in columns)
            return [
                CurveRow(logs, tuple(float(line[name]) for name in columns), _known(line)) for line in reader
            ]
        except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error!r}") from None


def cross_validated(rows: Sequence[CurveRow], terms: Sequence[str], seed: int = 0) -> Cost:
    """What a single κ and a law cost on tasks that they were not fitted to, over five folds of tasks.

    Args:
        rows: one a task, five or more.
        terms: of the law.
        seed: mixes the tasks.

    Raises:
        ValueError: fewer tasks than folds, or as in :func:`~.kappa_law.fit`.
    """
    if len(rows) < FOLDS:
        raise ValueError(f"{len(rows)} tasks are fewer than the {FOLDS} folds of a cross-validation")
    order = np.random.default_rng(seed).permutation(len(rows))
    single, law = 0.0, 0.0
    for fold in range(FOLDS):
        left = set(order[fold::FOLDS].tolist())
        table = fit([row for place, row in enumerate(rows) if place not in left], terms, resamples=2)
        held = [rows[place] for place in sorted(left)]
        share = len(held) / len(rows)
        single += share * mean_regret(held, KappaLaw.from_dict({**table, "law": None}))
        law += share * mean_regret(held, KappaLaw.from_dict(table))
    return Cost(single, law)


def _known(line: Mapping[str, str]) -> Known:
    ratio = float(line["num_params"]) / float(line["num_train"])
    return Known(float(line["epochs"]), ratio, _FLAGS[line["adaptive"]], _FLAGS[line["normalised"]])


def _told(rows: Sequence[CurveRow], table: Mapping[str, object], config: FitKappaConfig) -> str:
    law = KappaLaw.from_dict({**table, "law": None})
    kappa, low, high = law.kappa(Known())
    lowest = rows[0].log_kappa[0]
    lines = [
        f"{len(rows)} tasks; regret to the best constant of each, points, mean over tasks",
        f"no penalty (κ = {10.0**lowest:.2g}): {regrets(rows, lowest).mean():.2f}",
        f"κ = {RULE_OF_THUMB:g}: {regrets(rows, np.log10(RULE_OF_THUMB)).mean():.2f}",
        f"best single κ = {kappa:.2f} [{low:.2f}, {high:.2f}]: {mean_regret(rows, law):.2f}",
    ]
    if len(rows) >= FOLDS:
        terms = config.terms or tuple(TERMS)
        cost = cross_validated(rows, terms, config.seed)
        lines += [
            f"on {FOLDS} folds of tasks left out, best single κ: {cost.single:.2f}",
            f"on {FOLDS} folds of tasks left out, law of {', '.join(terms)}: {cost.law:.2f}"
            + ("" if config.terms else " (not written)"),
        ]
    return "\n".join(lines)
