"""Final accuracies on fresh tasks as a file that grows, a line a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lambda_rl.agents.record.growing import add_lines, read_lines
from lambda_rl.agents.warm_start.curves import LOG_KAPPAS


@dataclass(frozen=True)
class Row:
    """What a constant or a policy came to on a task.

    Attributes:
        suite: that the task was drawn from.
        seed: of the tasks.
        task: its number.
        data: kind of its data.
        network: its network, with what is special about it.
        contestant: name of a policy, or of a constant.
        fingerprint: of a policy; empty for constants.
        accuracy: at the end, percent; that of guessing, if the run diverged.
    """

    suite: str
    seed: int
    task: int
    data: str
    network: str
    contestant: str
    fingerprint: str
    accuracy: float

    @property
    def who(self) -> str:
        """A policy is known by its fingerprint, whatever it is called."""
        return self.fingerprint or self.contestant


CONSTANTS = tuple(f"kappa-{10.0**log:.3g}" for log in LOG_KAPPAS)
"""Names of the constants, the smallest first, which is as good as none."""

_FIELDS = tuple(item.name for item in dataclasses.fields(Row))


def read_rows(path: Path) -> list[Row]:
    """The rows of a file; none if there is no file.

    Raises:
        ValueError: the file is something else.
    """
    return list(read_lines(path, _FIELDS, _parsed, "final accuracies on fresh tasks"))


def add_rows(path: Path, rows: Iterable[Row]) -> None:
    """Adds rows to a file, which is made if need be."""
    add_lines(path, _FIELDS, ([_written(getattr(row, name)) for name in _FIELDS] for row in rows))


def _written(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _parsed(line: list[str]) -> Row:
    suite, seed, task, data, network, contestant, fingerprint, accuracy = line
    return Row(suite, int(seed), int(task), data, network, contestant, fingerprint, float(accuracy))
