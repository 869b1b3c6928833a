"""The files of a comparison: a table of runs, a table of decisions, and the summary that was made of them."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lambda_rl.agents.comparison.evidence import Evidence, weigh
from lambda_rl.agents.comparison.results import Summary
from lambda_rl.agents.comparison.statistics import Array
from lambda_rl.files import atomic_write

RESULTS_NAME, TRAJECTORIES_NAME, SUMMARY_NAME = "results.csv", "trajectories.csv", "summary.json"


@dataclass(frozen=True)
class Results:
    """``results.csv``: one row per task, seed and schedule.

    Attributes:
        table: with the columns ``task``, ``seed``, ``schedule``, and numbers.
    """

    table: pd.DataFrame

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks, in order of appearance."""
        return [str(task) for task in dict.fromkeys(self.table["task"])]

    @property
    def schedules(self) -> list[str]:
        """Names of the schedules, in order of appearance."""
        return [str(name) for name in dict.fromkeys(self.table["schedule"])]

    def rows(self, schedule: str) -> pd.DataFrame:
        """The rows of one schedule."""
        return self.table[self.table["schedule"] == schedule]

    def scores(self, schedule: str, column: str = "test_accuracy") -> Array:
        """One column of a schedule's rows as ``[tasks, seeds]``, tasks in order of appearance, seeds ascending.

        Raises:
            ValueError: a cell is missing or double.
        """
        rows, first = self.rows(schedule), self.rows(str(self.table["schedule"].iloc[0]))
        cells, expected = (set(zip(part["task"], part["seed"], strict=True)) for part in (rows, first))
        if cells != expected or len(rows) != len(expected):
            raise ValueError(f"schedule {schedule} has not one run for each task and seed")
        # By place: tasks may have other seeds than each other.
        place = rows.groupby("task")["seed"].rank(method="first")
        wide = rows.assign(place=place).pivot(index="task", columns="place", values=column)
        return np.asarray(wide.loc[self.tasks], np.float64)

    def to_csv(self) -> str:
        """The text of the file."""
        return str(self.table.to_csv(index=False))

    @classmethod
    def read(cls, path: str | Path) -> Results:
        """Reads a file.

        Raises:
            OSError: there is none.
        """
        # The name "nan" or "NA" is a name; an empty cell is no number, or an empty text.
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])
        return cls(table.fillna({"spec": ""}))


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes:
        results: derived schedules among them.
        trajectories: one row per decision of each run that was really done; ``trajectories.csv``. Empty where the file
            was not kept.
        summary: the numbers that follow.
    """

    results: Results
    trajectories: pd.DataFrame
    summary: Summary

    @functools.cached_property
    def evidence(self) -> Evidence:
        """What the scores say, beyond the summary."""
        return weigh(self.summary, self.results.scores)

    def write(self, folder: str | Path) -> None:
        """Writes the three files, the summary last."""
        folder = Path(folder)
        texts = {
            RESULTS_NAME: self.results.to_csv(),
            TRAJECTORIES_NAME: str(self.trajectories.to_csv(index=False, float_format="%.6g")),
        }
        for name, text in texts.items():
            atomic_write(folder / name, text)
        digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
        atomic_write(folder / SUMMARY_NAME, dataclasses.replace(self.summary, digests=digests).to_json())

    @classmethod
    def load(cls, folder: str | Path) -> Comparison:
        """Reads what :meth:`write` wrote; the trajectories, which are long, need not be there.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is none of a comparison, or the tables are not those of the summary.
        """
        folder = Path(folder)
        for name in (RESULTS_NAME, SUMMARY_NAME):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder} holds no comparison: {name} is missing")
        summary = Summary.load(folder / SUMMARY_NAME)
        trajectories = folder / TRAJECTORIES_NAME
        for name, digest in summary.digests.items():
            if name == TRAJECTORIES_NAME and not trajectories.is_file():
                continue
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
                raise ValueError(
                    f"{folder / name} is not the table that {SUMMARY_NAME} was made of; compare again "
                    f"(runs that are kept are not done again)"
                )
        decisions = pd.read_csv(trajectories) if trajectories.is_file() else pd.DataFrame()
        return cls(Results.read(folder / RESULTS_NAME), decisions, summary)
