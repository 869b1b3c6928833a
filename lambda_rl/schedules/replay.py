"""Playing back the λ that another schedule gave."""

from __future__ import annotations

import csv
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from lambda_rl.arguments import real_number
from lambda_rl.schedules.open_loop import OpenLoop

Trace = str | Path | Iterable[Mapping[str, Any] | tuple[float, float]]


def _read(path: Path) -> list[tuple[float | None, float | None]]:
    """Progress and λ of each row; None where the cell is empty."""
    if not path.exists():
        raise FileNotFoundError(f"λ trace {path}: no such file")
    try:
        if not path.is_file():
            raise ValueError("not a plain file")  # a device may have no end
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = {"progress", "lam"} - set(reader.fieldnames or ())
            if missing:
                raise ValueError(f"columns missing: {', '.join(sorted(missing))}")
            return [(_cell(row["progress"]), _cell(row["lam"])) for row in reader]
    except (ValueError, OSError, csv.Error) as error:
        raise ValueError(
            f"λ trace {path}: {error} (made by schedule.to_csv, columns progress and lam)"
        ) from error


def _cell(text: str | None) -> float | None:
    return float(text) if text else None


def _checked(source: str, progress: Any, lam: Any) -> tuple[float, float]:
    try:
        return real_number("progress", progress), real_number("λ", lam)
    except ValueError as error:
        raise ValueError(
            f"{source}: each row needs a finite progress and a finite λ, both 0 or more: {error} (a schedule records "
            "progress if it is given, or counted by total_steps)"
        ) from None


class ReplaySchedule(OpenLoop):
    """An open-loop schedule out of a recorded trace; so a feedback policy can be frozen and shared.

    λ at some progress is that of the last row at or before it, so any number of calls may be made; at the
    calls of the recorded run it is the recorded λ exactly.

    Args:
        trace: a CSV file of ``schedule.to_csv(path)``, a ``schedule.history``, or pairs (progress, λ).
        optimizer: see :class:`~lambda_rl.schedules.base.Schedule`, as the next two.
        total_steps: optimizer steps of this run, which may be longer or shorter than the recorded one.
        lam_range: optional.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a plain file, empty trace, a row without progress, numbers not finite or negative.
    """

    def __init__(
        self,
        trace: Trace,
        optimizer: Optimizer | Sequence[Optimizer] | None = None,
        *,
        total_steps: int | None = None,
        lam_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(optimizer, total_steps=total_steps, lam_range=lam_range)
        source = f"λ trace {trace}" if isinstance(trace, (str, Path)) else "λ trace"
        rows: list[tuple[float, float]] = []
        for row in _read(Path(trace)) if isinstance(trace, (str, Path)) else trace:
            progress, lam = (row.get("progress"), row.get("lam")) if isinstance(row, Mapping) else row
            rows.append(_checked(source, progress, lam))
        if not rows:
            raise ValueError(f"{source}: no rows")
        rows.sort(key=lambda row: row[0])  # stable: of rows at the same progress the last one counts
        self.rows = rows
        self._at = [progress for progress, _ in rows]
        self._config = {"trace": [list(row) for row in rows]}
        self._start(self.at(0.0))

    def at(self, progress: float) -> float:
        """λ of the last row at or before ``progress``; of the first row before that."""
        return self.rows[max(bisect_right(self._at, progress + 1e-9) - 1, 0)][1]

    def _title(self) -> str:
        return f"ReplaySchedule({len(self.rows)} rows)"
