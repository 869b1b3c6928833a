"""``metrics.csv``: the learning curve, one row a rollout."""

from __future__ import annotations

import csv
import io
import warnings
from numbers import Real
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import KVWriter

from lambda_rl.files import atomic_write

STEP = "decisions"


def read_rows(path: Path, keep_until: int) -> tuple[list[dict[str, str]], str]:
    """The rows of a learning curve, without damaged ones.

    Args:
        path: a file that :class:`MetricsCsv` wrote, whatever happened to it since.
        keep_until: rows with more decisions are left out.

    Returns:
        The rows, each with more decisions than the one before, and what was damaged; an empty text if nothing was.
    """
    # A row that ends the file without a line break is cut, perhaps within a number.
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    damaged = len(lines) - len(whole)
    try:
        reader = csv.DictReader(whole, strict=True)
        found = list(reader)
    except csv.Error as error:
        return [], f"not a readable CSV file ({error})"
    if STEP not in (reader.fieldnames or ()):
        return [], f"a learning curve without a column {STEP}"
    rows: list[dict[str, str]] = []
    last = 0
    for row in found:
        decisions = _decisions(row)
        if decisions is None or (last >= decisions and decisions <= keep_until):
            damaged += 1
        elif decisions <= keep_until:
            rows.append(row)
            last = decisions
    return rows, f"{damaged} damaged rows are dropped" if damaged else ""


def _decisions(row: dict[str, str]) -> int | None:
    """The decisions of a row that is whole: a number or nothing in each column; else None."""
    if None in row or None in row.values():  # more columns than the header has, or fewer
        return None
    try:
        for value in row.values():
            if value:
                float(value)
        return int(row[STEP])
    except ValueError:
        return None


class MetricsCsv(KVWriter):
    """An output format of SB3's logger: a CSV file that is never half written and that a resumed run continues.

    The whole table is kept and written anew for each row; it has some hundred rows. New columns may come at any time.

    Args:
        path: the file.
        keep_until: keep rows of an existing file up to this many decisions and drop later ones, which a resumed run
            is going to do again; None: start an empty table. What is damaged is dropped with a warning: a learning
            curve is no reason to stop a run.
    """

    def __init__(self, path: Path, keep_until: int | None = None) -> None:
        self.path = path
        self.rows: list[dict[str, str]] = []
        if keep_until is not None and path.is_file():
            self.rows, damaged = read_rows(path, keep_until)
            if damaged:
                warnings.warn(f"{path}: {damaged}; the run goes on without", RuntimeWarning, stacklevel=2)
        self._save()

    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0
    ) -> None:
        """Adds the row of a step; values that are no numbers are left out."""
        row = {STEP: str(step)}
        for key in sorted(key_values):
            value = key_values[key]
            if isinstance(value, Real) and "csv" not in (key_excluded.get(key) or ()):
                row[key] = f"{float(value):.17g}"  # exact, and short for whole numbers
        self.rows.append(row)
        self._save()

    def close(self) -> None:
        """Does nothing: the file is complete after each row."""

    def _save(self) -> None:
        columns = list(dict.fromkeys(key for row in self.rows for key in row)) or [STEP]
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        atomic_write(self.path, text.getvalue())
