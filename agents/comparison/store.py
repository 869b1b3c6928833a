"""``runs.jsonl``: every inner run of a comparison as soon as it is done, so that a killed comparison goes on.

Its first line says which comparison it belongs to, each further line is a result under a key of all that the result
depends on (see :class:`~lambda_rl.agents.baselines.Judge`). Lines are only ever added. One that was cut off when the
process was killed is passed over, and its run done again.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from lambda_rl.agents.baselines import Played
from lambda_rl.agents.baselines.fingerprints import digest
from lambda_rl.envs.judging import RunResult
from lambda_rl.envs.tasks.task import Task
from lambda_rl.files import atomic_write

RUNS_NAME = "runs.jsonl"
FORMAT_VERSION = 1

_NUMBERS = (
    "test_accuracy", "test_loss", "outer_accuracy", "outer_loss", "val_accuracy", "val_loss",
)  # fmt: skip


@dataclass(frozen=True)
class _Line:
    """A result in the file. Numbers that are not finite are texts there, for JSON has none."""

    key: str
    task: str
    seed: int
    spec: str
    inner_runs: int
    steps: int
    seconds: float
    schedule: str
    diverged: bool
    numbers: dict[str, float | str]
    history: dict[str, list[float | str]]

    @classmethod
    def of(cls, key: str, played: Played) -> _Line:
        """A result as it is written."""
        result = played.result
        return cls(
            key, played.task, played.seed, played.spec, played.inner_runs, played.steps, played.seconds,
            result.schedule, result.diverged,
            numbers={name: _written(getattr(result, name)) for name in _NUMBERS},
            history={name: [_written(value) for value in values] for name, values in result.history.items()},
        )  # fmt: skip

    @classmethod
    def parsed(cls, text: bytes) -> _Line | None:
        """A line of the file; None if it is no whole one."""
        try:
            found = _adapter().validate_json(text, strict=True)
            return found if set(found.numbers) == set(_NUMBERS) else None
        except ValueError:
            return None

    def played(self, task: Task) -> Played:
        """The result, on the task that it is of."""
        numbers = {name: float(value) for name, value in self.numbers.items()}
        result = RunResult(
            task=task,
            schedule=self.schedule,
            test_accuracy=numbers["test_accuracy"],
            test_loss=numbers["test_loss"],
            outer_accuracy=numbers["outer_accuracy"],
            outer_loss=numbers["outer_loss"],
            val_accuracy=numbers["val_accuracy"],
            val_loss=numbers["val_loss"],
            diverged=self.diverged,
            history={name: [float(value) for value in values] for name, values in self.history.items()},
            key=self.task,
        )
        return Played(self.task, result, self.spec, self.inner_runs, self.steps, self.seconds)

    def __str__(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)


@functools.cache
def _adapter() -> TypeAdapter[_Line]:
    return TypeAdapter(_Line)


def _written(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


class RunStore:
    """Results in a file.

    Args:
        path: the file; it need not exist.
        question: all that tells this comparison from others; any JSON.
    """

    def __init__(self, path: str | Path, question: Mapping[str, object]) -> None:
        self.path = Path(path)
        asked = digest(json.dumps(question, sort_keys=True, default=str))
        self._head = json.dumps({"format_version": FORMAT_VERSION, "comparison": asked})
        self._lines: dict[str, _Line] = {}

    def belongs(self) -> bool:
        """Whether the file was begun for the same comparison."""
        if not self.path.is_file():
            return False
        with self.path.open("rb") as file:
            return file.readline().rstrip(b"\n") == self._head.encode()

    def open(self) -> None:
        """Reads what there is, or begins the file; results of another comparison are taken over as far as they fit.

        Raises:
            ValueError: the file's rows are of another format.
            OSError: the file cannot be written.
        """
        self._check_format()
        text = self.path.read_bytes() if self.path.is_file() else b""
        lines = [line for row in text.splitlines() if (line := _Line.parsed(row)) is not None]
        self._lines = {line.key: line for line in lines}
        if not self.belongs():
            atomic_write(self.path, "".join(f"{line}\n" for line in [self._head, *self._lines.values()]))
        elif not text.endswith(b"\n"):
            self._append("\n")  # behind a line that was cut off

    def _check_format(self) -> None:
        if not self.path.is_file():
            return
        with self.path.open("rb") as file:
            first = file.readline()
        try:
            version = json.loads(first)["format_version"]
        except (ValueError, KeyError, TypeError):
            version = FORMAT_VERSION if not first else None  # an empty file is as good as none
        if version != FORMAT_VERSION:
            said = "no rows of a comparison" if version is None else f"rows of format {version}"
            raise ValueError(
                f"{self.path} has {said}, this program reads format {FORMAT_VERSION}; "
                f"move it away, or name another --out"
            )

    def __len__(self) -> int:
        return len(self._lines)

    def get(self, key: str, task: Task) -> Played | None:
        """See :class:`~lambda_rl.agents.baselines.Kept`."""
        line = self._lines.get(key)
        return None if line is None else line.played(task)

    def keep(self, rows: Mapping[str, Played]) -> None:
        """Adds results.

        Raises:
            OSError: they cannot be written.
        """
        lines = [_Line.of(key, played) for key, played in rows.items()]
        self._append("".join(f"{line}\n" for line in lines))
        self._lines.update({line.key: line for line in lines})

    def _append(self, text: str) -> None:
        try:
            with self.path.open("ab", buffering=0) as file:  # one write: lines of two processes do not mix
                file.write(text.encode())
        except OSError as error:
            error.filename = error.filename or str(self.path)  # a full disk names no file
            raise
