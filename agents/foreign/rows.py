"""``rows.csv``: every foreign run as soon as it is done, so that a killed command goes on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lambda_rl.agents.record.growing import add_lines, read_lines, text_of
from lambda_rl.files import atomic_write

Key = tuple[str, str, int, str]


@dataclass(frozen=True)
class Row:
    """One run.

    Attributes:
        task: name of the task.
        digest: of its settings.
        seed: of data, initial weights and minibatches.
        contestant: kappa-N, default, gap-rule, or a policy's name.
        fingerprint: of the policy; else empty.
        test_accuracy: percent, at the end.
        test_loss: nats.
        val_accuracy: percent, of the examples that schedules watch.
        val_loss: nats.
        train_accuracy: percent, over the last minibatches.
        lr_sum: effective learning rate truly summed: κ = λ times this.
        seconds: of the run.
        warned: whether the schedule said that something was wrong.
        kappas: κ of each interval; empty for constants.
    """

    task: str
    digest: str
    seed: int
    contestant: str
    fingerprint: str
    test_accuracy: float
    test_loss: float
    val_accuracy: float
    val_loss: float
    train_accuracy: float
    lr_sum: float
    seconds: float
    warned: bool
    kappas: tuple[float, ...] = ()

    @property
    def key(self) -> Key:
        """What is never run twice."""
        return run_key(self.task, self.digest, self.seed, self.contestant, self.fingerprint)

    @property
    def mean_kappa(self) -> float:
        """The geometric mean over the run; NaN for constants."""
        if not self.kappas:
            return math.nan
        return math.exp(sum(math.log(max(kappa, 1e-9)) for kappa in self.kappas) / len(self.kappas))


def run_key(task: str, digest: str, seed: int, contestant: str, fingerprint: str) -> Key:
    """A policy is known by its fingerprint, whatever it is called."""
    return task, digest, seed, fingerprint or contestant


_FIELDS = tuple(item.name for item in dataclasses.fields(Row))


def read_rows(path: str | Path) -> list[Row]:
    """The rows of a file, the last of a key; none if there is no file.

    Raises:
        ValueError: the file is something else.
    """
    found = read_lines(Path(path), _FIELDS, _parsed, "the rows of foreign runs")
    return list({row.key: row for row in found}.values())


def current(rows: Iterable[Row], fingerprints: Mapping[str, str]) -> list[Row]:
    """Rows without those of contestants that have another fingerprint now."""
    return [row for row in rows if fingerprints.get(row.contestant, row.fingerprint) == row.fingerprint]


def add_rows(path: Path, rows: Iterable[Row]) -> None:
    """Adds rows to a file, which is made if need be."""
    add_lines(path, _FIELDS, map(_line, rows))


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Writes a file anew, in an order that does not depend on which run was done first."""
    found = sorted(rows, key=lambda row: row.key)
    atomic_write(path, text_of([_FIELDS, *map(_line, found)]))


def _line(row: Row) -> list[str]:
    return [_written(getattr(row, name)) for name in _FIELDS]


def _written(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(f"{item:.4g}" for item in value)
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _parsed(line: Sequence[str]) -> Row:
    task, digest, seed, contestant, fingerprint = line[:5]
    test, test_loss, val, val_loss, train, lr_sum, seconds = map(float, line[5:12])
    kappas = tuple(float(kappa) for kappa in line[13].split())
    return Row(
        task, digest, int(seed), contestant, fingerprint, test, test_loss, val, val_loss, train, lr_sum, seconds,
        line[12] == "1", kappas,
    )  # fmt: skip
