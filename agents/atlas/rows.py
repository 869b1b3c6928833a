"""``rows.csv``: what a cell's constants came to with one seed; ``policies.csv``: what policies did.

Constants do not depend on the policy that runs beside them, so another policy is run alone on the same cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lambda_rl.agents.record.growing import add_lines, read_lines, text_of
from lambda_rl.files import atomic_write

ROWS, POLICY_ROWS = "rows.csv", "policies.csv"
LOG_KAPPAS = tuple(float(value) for value in np.round(np.arange(-2.0, 2.3, 0.3), 1))
"""log₁₀ of the constants: κ from 0.01, which is as good as none, to 158, twice as much each time. With the policy they
are 16 runs, one stack of small networks."""

_FACTS = ("num_params", "num_train", "num_classes", "epochs", "decay_sum")
_HEAD = ("cell", "digest", "seed", *_FACTS, "seconds")
CONSTANTS = (*_HEAD, *(f"kappa_{10**log:.3g}" for log in LOG_KAPPAS))
POLICIES = ("cell", "digest", "seed", "policy", "fingerprint", "accuracy", "log_kappa")
"""Columns of the two files."""

_WHAT = "the rows of an atlas"
Key = tuple[str, int]


@dataclass(frozen=True)
class Row:
    """A cell's constants with one seed.

    Attributes:
        cell: its name.
        digest: of all that the numbers depend on.
        seed: of data, initial weights and minibatches.
        num_params: weights with decay.
        num_train: training examples.
        num_classes: C.
        epochs: passes over them.
        decay_sum: κ over λ: the peak learning rate times the steps, for SGD over 1 - momentum.
        seconds: of a core, about.
        accuracy: test accuracy of each of :data:`LOG_KAPPAS`, percent; of a run that diverged that of guessing.
    """

    cell: str
    digest: str
    seed: int
    num_params: int
    num_train: int
    num_classes: int
    epochs: float
    decay_sum: float
    seconds: float
    accuracy: tuple[float, ...]

    @property
    def key(self) -> Key:
        """What is never done twice."""
        return self.digest, self.seed

    def written(self) -> list[str]:
        """As a line of the file."""
        return [
            *(_shown(getattr(self, name)) for name in _HEAD),
            *(f"{value:.2f}" for value in self.accuracy),
        ]

    @classmethod
    def parsed(cls, line: Sequence[str]) -> Row:
        """From a line of the file; a ``ValueError`` if it is none."""
        cell, digest, *rest = line
        seed, params, train, classes = map(int, rest[:4])
        epochs, decay_sum, seconds, *accuracy = map(float, rest[4:])
        return cls(cell, digest, seed, params, train, classes, epochs, decay_sum, seconds, tuple(accuracy))


@dataclass(frozen=True)
class PolicyRow:
    """What a policy came to on a cell with one seed.

    Attributes:
        cell: its name.
        digest: as of its constants.
        seed: likewise.
        policy: the policy's name.
        fingerprint: of its content.
        accuracy: test accuracy, percent.
        log_kappa: mean log₁₀ κ over the run.
    """

    cell: str
    digest: str
    seed: int
    policy: str
    fingerprint: str
    accuracy: float
    log_kappa: float

    @property
    def key(self) -> tuple[str, int, str]:
        """What is never done twice."""
        return self.digest, self.seed, self.fingerprint

    def written(self) -> list[str]:
        """As a line of the file."""
        return [_shown(getattr(self, name)) for name in POLICIES]

    @classmethod
    def parsed(cls, line: Sequence[str]) -> PolicyRow:
        """From a line of the file; a ``ValueError`` if it is none."""
        cell, digest, seed, policy, fingerprint, accuracy, log_kappa = line
        return cls(cell, digest, int(seed), policy, fingerprint, float(accuracy), float(log_kappa))


def read_constants(folder: Path) -> dict[Key, Row]:
    """The rows of all constants by their keys; none if there is no file.

    Raises:
        ValueError: the file is something else.
    """
    return {row.key: row for row in read_lines(folder / ROWS, CONSTANTS, Row.parsed, _WHAT)}


def read_policies(folder: Path) -> dict[tuple[str, int, str], PolicyRow]:
    """Likewise those of policies."""
    rows = read_lines(folder / POLICY_ROWS, POLICIES, PolicyRow.parsed, _WHAT)
    return {row.key: row for row in rows}


def add(folder: Path, rows: Sequence[Row], policies: Sequence[PolicyRow]) -> None:
    """Adds rows to the files, which are made if need be."""
    if rows:
        add_lines(folder / ROWS, CONSTANTS, [row.written() for row in rows])
    if policies:
        add_lines(folder / POLICY_ROWS, POLICIES, [row.written() for row in policies])


def order(folder: Path) -> None:
    """Writes both files anew, in an order that does not depend on which run was done first."""
    rows = sorted(read_constants(folder).values(), key=lambda row: (row.cell, *row.key))
    atomic_write(folder / ROWS, text_of([CONSTANTS, *(row.written() for row in rows)]))
    played = sorted(read_policies(folder).values(), key=lambda row: (row.cell, *row.key))
    if played:
        atomic_write(folder / POLICY_ROWS, text_of([POLICIES, *(row.written() for row in played)]))


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
