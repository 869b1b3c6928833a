"""The progress bar of all commands."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Literal

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from lambda_rl.checks import printable

Lines = Literal["end", "tenths", "none"]


class Bar:
    """What is done, how much of it, the time so far and the time left.

    A context manager, in which it is on the screen. Names of suites and files in its texts are shown as they are and
    never read as markup.

    >>> with Bar("comparing on quick", Console(quiet=True)) as bar:
    ...     bar(3, 120)

    Args:
        text: what is done.
        console: where to draw.
        unit: what is counted; empty: no count but the share in percent.
        width: of the bar itself, in characters.
        period: seconds that the speed is a mean over.
        below: words stand on a line of their own below the bar, as a terminal has no room for many beside it.
        lines: what is written where the output is no terminal: ``end``, the bar as it is at the end; ``tenths``, a
            line for each tenth too; ``none``.
    """

    def __init__(
        self,
        text: str,
        console: Console,
        *,
        unit: str = "runs",
        width: int = 40,
        period: float = 30.0,
        below: bool = False,
        lines: Lines = "end",
    ) -> None:
        self._console, self._lines = console, lines
        amount: tuple[ProgressColumn, ...] = (
            (MofNCompleteColumn(), _text(unit)) if unit else (_text("{task.percentage:.0f} %"),)
        )
        beside = () if below else (_text("{task.fields[note]}"),)
        self._progress = (_NoteBelow if below else Progress)(
            _text("{task.description}"), BarColumn(bar_width=width), *amount, TimeElapsedColumn(), _text("ETA"),
            TimeRemainingColumn(), *beside,
            console=console, speed_estimate_period=period, disable=lines == "none" and not console.is_terminal,
        )  # fmt: skip
        self._task = self._progress.add_task(printable(text), total=None, note="")
        self._told = 0

    def __call__(self, done: float, total: float, note: str = "") -> None:
        """Moves the bar.

        Args:
            done: how much is done, in any measure.
            total: how much there is.
            note: words behind the bar.
        """
        self._progress.update(self._task, completed=done, total=total, note=printable(note))
        tenth = int(10 * done / total + 1e-9) if total else 10
        if self._lines == "tenths" and not self._console.is_terminal and tenth > self._told:
            self._told = tenth
            words = f"{10 * tenth} %" + (f", {printable(note)}" if note else "")
            self._console.print(words, highlight=False, markup=False)

    def start(self) -> None:
        """Puts the bar on the screen."""
        self._progress.start()

    def stop(self) -> None:
        """Takes it off again, or leaves its last state there."""
        self._progress.stop()

    def __enter__(self) -> Bar:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


@contextmanager
def many_runs() -> Iterator[None]:
    """Schedules say nothing: what one of hundreds of runs warns of breaks the bar, and nobody can tell which it was."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LearnedSchedule: ")
        yield


class _NoteBelow(Progress):
    """A bar, and below it its note."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """What is shown, line by line."""
        yield from super().get_renderables()
        yield from (Text(task.fields["note"]) for task in self.tasks if task.fields["note"])


def _text(form: str) -> TextColumn:
    return TextColumn(form, markup=False)
