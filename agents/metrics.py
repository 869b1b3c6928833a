"""``metrics.csv``: the learning curve, one row a rollout."""

from __future__ import annotations

import csv
import io
from numbers import Real
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import KVWriter

from lambda_rl.files import atomic_write

STEP = "decisions"


class MetricsCsv(KVWriter):
    """An output format of SB3's logger: a CSV file that is never half written and that a resumed run continues.

    The whole table is kept and written anew for each row; it has some hundred rows. New columns may come at any time.

    Args:
        path: the file.
        keep_until: keep rows of an existing file up to this many decisions and drop later ones, which a resumed run
            is going to do again; None: start an empty table.
    """

    def __init__(self, path: Path, keep_until: int | None = None) -> None:
        self.path = path
        self.rows: list[dict[str, str]] = []
        if keep_until is not None and path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row[STEP]) <= keep_until]
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
