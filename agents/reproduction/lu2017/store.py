"""Results on disk, one file a cell: a killed reproduction goes on where it was, and never mixes two settings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lambda_rl.agents.reproduction.lu2017.experiments import Cell
from lambda_rl.files import atomic_write

FORMAT_VERSION = 1

Row = dict[str, Any]

SCALARS = (
    "cell", "variation", "network", "penalty", "width", "iterations", "schedule", "spec", "seed", "test_accuracy",
    "test_loss", "val_accuracy", "val_loss", "diverged",
)  # fmt: skip
"""Columns of ``results.csv``; accuracies in percent."""

MAY_BE_ADDED = ("policy_l0.5",)
"""Settings that may be given later: rows without it stay right."""


def plain(value: Any) -> Any:
    """A value as JSON can hold it: numbers to 6 digits, those that are not finite as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


class Store:
    """The folder of a reproduction: ``settings.json`` and ``cells/<name>.json``.

    Args:
        folder: may be new.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._rows: dict[str, dict[tuple[str, int], Row]] = {}
        self._dirty: set[str] = set()

    @property
    def settings_path(self) -> Path:
        """Where the settings lie."""
        return self.folder / "settings.json"

    def settings(self) -> dict[str, Any]:
        """The settings of what is in the folder.

        Raises:
            FileNotFoundError: nothing is.
            ValueError: the file is not what :meth:`open` wrote.
        """
        if not self.settings_path.is_file():
            raise FileNotFoundError(f"{self.folder} holds no reproduction: settings.json is missing")
        return dict(_read(self.settings_path))

    def open(self, settings: Mapping[str, Any]) -> None:
        """Begins a reproduction in the folder, or goes on with the one there.

        Args:
            settings: all that the results depend on; plain values.

        Raises:
            ValueError: the folder holds results of other settings; the message names each with both values.
        """
        wanted = plain({"format_version": FORMAT_VERSION, **settings})
        if self.settings_path.is_file():
            saved = self.settings()
            different = [
                key
                for key in {**saved, **wanted}
                if saved.get(key) != wanted.get(key) and not (key in MAY_BE_ADDED and not saved.get(key))
            ]
            if different:
                listed = "; ".join(
                    f"{key} was {saved.get(key)!r}, now {wanted.get(key)!r}" for key in different
                )
                raise ValueError(
                    f"{self.folder} holds results of other settings: {listed}. Give these, or another --out."
                )
        atomic_write(self.settings_path, json.dumps(wanted, indent=1, ensure_ascii=False) + "\n")

    def worked(self, origin: Mapping[str, Any], seconds: float) -> None:
        """Notes where results come from, and adds up the time that they took."""
        spent = self.origin().get("seconds", 0.0) + seconds
        text = json.dumps({**origin, "seconds": round(spent)}, indent=1, ensure_ascii=False)
        atomic_write(self.folder / "origin.json", text + "\n")

    def origin(self) -> dict[str, Any]:
        """What :meth:`worked` noted; empty before."""
        path = self.folder / "origin.json"
        return _read(path) if path.is_file() else {}

    def _path(self, cell: str) -> Path:
        return self.folder / "cells" / f"{cell}.json"

    def rows(self, cell: Cell) -> dict[tuple[str, int], Row]:
        """The runs of a cell that are done, by schedule and seed.

        Raises:
            ValueError: the file is broken, or has a schedule of another specification.
        """
        if cell.name not in self._rows:
            path = self._path(cell.name)
            content = _read(path) if path.is_file() else {"rows": []}
            specs = {plan.name: plan.shown for plan in cell.plans}
            for row in content["rows"]:
                if specs.get(row["schedule"], row["spec"]) != row["spec"]:
                    raise ValueError(f"{path}: {row['schedule']} was run as {row['spec']}; remove the file")
            self._rows[cell.name] = {(row["schedule"], row["seed"]): row for row in content["rows"]}
        return self._rows[cell.name]

    def add(self, cell: Cell, row: Row) -> None:
        """Keeps the result of one run; :meth:`flush` writes it."""
        self.rows(cell)[row["schedule"], row["seed"]] = plain(row)
        self._dirty.add(cell.name)

    def flush(self) -> None:
        """Writes the files of all cells that have something new."""
        for name in sorted(self._dirty):
            content = {"rows": list(self._rows[name].values())}
            atomic_write(self._path(name), json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")
        self._dirty.clear()

    def complete(self, cell: Cell, seeds: int) -> bool:
        """Whether all runs of the cell are done."""
        rows = self.rows(cell)
        return all((plan.name, seed) in rows for plan in cell.plans for seed in range(seeds))

    def table(self, cells: list[Cell], seeds: int) -> pd.DataFrame:
        """One row a run of complete cells.

        Beside :data:`SCALARS` it has the lists ``progress``, ``lam``, ``curve`` (validation accuracy at each
        interval's end, percent), ``warned`` (what the schedule warned of), and where weights were followed ``zero``
        and ``revived`` (by factor) and ``dead``.
        """
        wanted = [(cell, plan.name, seed) for cell in cells for plan in cell.plans for seed in range(seeds)]
        return pd.DataFrame([self.rows(cell)[name, seed] for cell, name, seed in wanted])


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a JSON file ({error}); remove it to run its part anew") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must hold a mapping; remove it to run its part anew")
    return content
