"""The folder that a comparison is written to: tried before the first run, and no other comparison's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lambda_rl.agents.comparison.figures import FIGURES
from lambda_rl.agents.comparison.report import PAIRS_NAME, REPORT_NAME, STANDINGS_NAME
from lambda_rl.agents.comparison.store import RUNS_NAME, RunStore
from lambda_rl.agents.comparison.tables import RESULTS_NAME, SUMMARY_NAME, TRAJECTORIES_NAME
from lambda_rl.files import atomic_write

TUNED_NAME = "tuned.json"

DRAWN = (
    REPORT_NAME,
    STANDINGS_NAME,
    PAIRS_NAME,
    *(f"{name}.{ending}" for name in FIGURES for ending in ("png", "svg")),
)
"""What is made of the tables."""

FILES = (
    RUNS_NAME,
    TUNED_NAME,
    RESULTS_NAME,
    TRAJECTORIES_NAME,
    SUMMARY_NAME,
    *DRAWN,
)
"""All that a comparison writes."""


class ComparisonFolder:
    """The folder of a comparison.

    Args:
        path: it need not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def tuned(self) -> Path:
        """What the baselines were tuned to."""
        return self.path / TUNED_NAME

    def probe(self) -> None:
        """Tries whether the folder can be written to; makes it if it is missing.

        Raises:
            OSError: it cannot.
        """
        probe = self.path / ".probe"
        atomic_write(probe, b"\0" * 65536)
        probe.unlink()

    def store(self, question: Mapping[str, object], *, overwrite: bool = False, given: str = "") -> RunStore:
        """Where inner runs are kept.

        Args:
            question: all that tells this comparison from others.
            overwrite: whether another comparison's files may be replaced.
            given: a file of tuned schedules that the user names; it may lie here already.

        Raises:
            ValueError: the folder has files of another comparison.
            OSError: it cannot be written to.
        """
        store = RunStore(self.path / RUNS_NAME, question)
        if not store.belongs():
            mine = Path(given).resolve() if given else None
            there = [name for name in FILES if (self.path / name).exists()]
            foreign = [name for name in there if (self.path / name).resolve() != mine]
            if foreign and not overwrite:
                raise ValueError(
                    f"{self.path} has files of another comparison ({', '.join(foreign)}); name another folder, "
                    f"or say --overwrite to replace them"
                )
            for name in foreign:
                if name != RUNS_NAME:  # runs that both have in common are not done again
                    (self.path / name).unlink()
        store.open()
        return store

    def drop_report(self) -> None:
        """Removes report and figures, lest they stand beside tables that they are not of."""
        for name in DRAWN:
            (self.path / name).unlink(missing_ok=True)
