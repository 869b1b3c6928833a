"""``traces.csv``: λ and the signals over single runs, kept so that figures are drawn without running anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from torch.optim import Optimizer

from lambda_rl import Schedule
from lambda_rl.agents.foreign.contestants import Contestant
from lambda_rl.agents.foreign.loop import RunFigures, figures, train
from lambda_rl.agents.foreign.task import Data, ForeignTask
from lambda_rl.files import atomic_write

SEED = 0
"""Of the runs that are shown."""


@dataclass(frozen=True)
class Point:
    """A decision of a run.

    Attributes:
        task: name of the task.
        digest: of its settings.
        contestant: who set λ.
        fingerprint: of a policy; else empty.
        progress: share of the run.
        kappa: λ times the learning rate truly summed over the run, in force from here on.
        train_accuracy: since the last decision, a fraction; NaN at the start.
        val_accuracy: here; likewise.
        held: the rule that had λ otherwise than asked for; empty if none did.
    """

    task: str
    digest: str
    contestant: str
    fingerprint: str
    progress: float
    kappa: float
    train_accuracy: float
    val_accuracy: float
    held: str = ""


Key = tuple[str, str, str]


def key_of(task: ForeignTask, contestant: Contestant) -> Key:
    """What is never run twice."""
    return task.name, task.digest, contestant.fingerprint or contestant.name


def trace(task: ForeignTask, data: Data, contestant: Contestant) -> list[Point]:
    """Runs a task once, watched by whoever sets λ."""
    made: list[Schedule] = []

    def remembered(optimizer: Optimizer, run: RunFigures) -> Schedule:
        made.append(contestant.schedule(optimizer, run))
        return made[0]

    train(task, data, SEED, remembered, feedback=True)
    lr_sum, history = figures(task, data).lr_sum, made[0].history
    last = len(history) - 1
    return [
        Point(
            task=task.name,
            digest=task.digest,
            contestant=contestant.name,
            fingerprint=contestant.fingerprint,
            # Constants do not count steps.
            progress=_number(row.get("progress"), i / last),
            kappa=_number(row["lam"], 0.0) * lr_sum,
            train_accuracy=_number(row.get("train_accuracy"), float("nan")),
            val_accuracy=_number(row.get("val_accuracy"), float("nan")),
            held=str(row.get("held") or ""),
        )
        for i, row in enumerate(history)
    ]


def read_traces(path: Path) -> list[Point]:
    """The points of a file; none if there is no file.

    Raises:
        ValueError: the file is something else.
    """
    if not path.is_file():
        return []
    names = [item.name for item in dataclasses.fields(Point)]
    text = {"task": str, "digest": str, "contestant": str, "fingerprint": str, "held": str}
    table = pd.read_csv(
        path, dtype=text, keep_default_na=False, na_values={"train_accuracy": "", "val_accuracy": ""}
    )
    if list(table.columns) != names:
        raise ValueError(f"{path}: not the traces of the gallery of this version")
    return [Point(*row) for row in table.itertuples(index=False, name=None)]


def write_traces(path: Path, points: Sequence[Point]) -> None:
    """Writes a file anew."""
    table = pd.DataFrame([dataclasses.asdict(point) for point in points])
    atomic_write(path, table.to_csv(index=False, float_format="%.5g"))


def by_key(points: Iterable[Point]) -> dict[Key, list[Point]]:
    """Points of one run each."""
    found: dict[Key, list[Point]] = {}
    for point in points:
        found.setdefault((point.task, point.digest, point.fingerprint or point.contestant), []).append(point)
    return found


def _number(value: object, otherwise: float) -> float:
    return float(value) if isinstance(value, (int, float)) else otherwise
