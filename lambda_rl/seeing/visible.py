"""What can be seen of a schedule: its history as text, numbers, file and figure; and what it says by itself."""

from __future__ import annotations

import csv
import io
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lambda_rl.attach.distributed import speaks
from lambda_rl.checks import shown
from lambda_rl.files import atomic_path, atomic_write
from lambda_rl.seeing.words import Row, line, number, state

if TYPE_CHECKING:
    from lambda_rl.seeing.figure import Figure

_HERE = f"{Path(__file__).absolute().parents[1]}{os.sep}"


class Visible:
    """Something that keeps a history, and shows it.

    Attributes:
        history: one row for the start and one for each decision, see :class:`lambda_rl.Schedule`.
        total_steps: optimizer steps of the whole run; None: unknown.
        verbose: prints a line for each new row; of several processes only the first one does.
    """

    history: list[Row]
    total_steps: int | None
    verbose: bool = False
    _config: dict[str, Any]
    _warned: set[str]
    _listeners: tuple[Callable[[Any], object], ...] = ()

    @property
    def at_step(self) -> int:
        """The optimizer step of the newest row; where that is not known, the number of the row."""
        progress = number(self.history[-1], "progress") if self.history else None
        if progress is None or self.total_steps is None:
            return max(len(self.history) - 1, 0)
        return round(progress * self.total_steps)

    def log_dict(self, prefix: str = "lambda") -> dict[str, float]:
        """What is in force now, as plain numbers for a tracker: ``run.log({"loss": loss, **schedule.log_dict()})``.

        Args:
            prefix: of the names, before a "/"; empty: none.

        Returns:
            ``value`` (λ), ``progress`` if it is known and the values of knobs beside λ; of a learned schedule also
            ``kappa``, ``asked`` (the λ that the policy asked for, if it did) and ``held`` (1 if a rule had it
            otherwise, else 0; :attr:`history` says which).
        """
        row: Row = self.history[-1] if self.history else {}
        found = {name: number(row, key) for name, key in _LOGGED.items()}
        found["held"] = float(bool(row["held"])) if "held" in row else None
        found.update(self.knobs)
        before = f"{prefix}/" if prefix else ""
        return {f"{before}{name}": value for name, value in found.items() if value is not None}

    @property
    def knobs(self) -> dict[str, float]:
        """Values in force now of knobs beside λ, by name; most schedules move none."""
        return {}

    def knob(self, name: str) -> float:
        """Value in force now of a knob beside λ, such as ``label_smoothing``, to be read in the loop.

        Raises:
            ValueError: the schedule does not move it.
        """
        if name not in self.knobs:
            raise ValueError(
                f"this {type(self).__name__} moves no knob {shown(name)}; beside λ it moves "
                f"{', '.join(self.knobs) or 'none'}"
            )
        return self.knobs[name]

    def on_decision(self, listener: Callable[[Any], object]) -> None:
        """Calls a function with the schedule now, and whenever a new row is in :attr:`history`.

        For W&B, TensorBoard and files there are :func:`lambda_rl.seeing.to_wandb`, ``to_tensorboard`` and ``to_csv``.
        One that fails is told of in one warning, and the run goes on. Copies of a schedule have no listeners.

        Args:
            listener: called as ``listener(schedule)``.

        Raises:
            ValueError: it cannot be called.
        """
        if not callable(listener):
            raise ValueError(f"a listener must be a function of the schedule, got {type(listener).__name__}")
        self._listeners = (*self._listeners, listener)
        self._show(listener)

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draws the history: κ or λ over progress, where a rule held it, and the signals that were given.

        Args:
            path: where to write it; the suffix says the format (``.png``, ``.svg``, ``.pdf``). None: nowhere.

        Returns:
            The figure.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: a suffix that matplotlib does not know.
        """
        from lambda_rl.seeing.figure import draw  # only who draws needs matplotlib

        figure = draw(self.history, self._title())
        if path is not None:
            with atomic_path(path) as temporary:
                figure.savefig(temporary)
        return figure

    def to_csv(self, path: str | Path) -> None:
        """Writes :attr:`history` as CSV; :class:`lambda_rl.ReplaySchedule` plays it back exactly."""
        columns = list(dict.fromkeys(["progress", "lam", *(name for row in self.history for name in row)]))
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
        writer.writeheader()
        for row in self.history:
            writer.writerow(
                {k: "" if v is None else v if isinstance(v, str) else repr(v) for k, v in row.items()}
            )
        atomic_write(path, buffer.getvalue())

    def _record(self, row: Row) -> None:
        """Adds a row, and shows it to who looks on."""
        self.history.append(row)
        if self.verbose and speaks():
            print(f"{type(self).__name__}: {line(row)}", flush=True)
        for listener in self._listeners:
            self._show(listener)

    def _show(self, listener: Callable[[Any], object]) -> None:
        try:
            listener(self)
        except Exception as error:  # a tracker that fails must not end a training
            self._warn_once("listener", f"a listener of on_decision failed: {type(error).__name__}: {error}")

    def _warn_once(self, reason: str, text: str, kind: type[Warning] = RuntimeWarning) -> None:
        if reason not in self._warned:
            self._warned.add(reason)
            level, frame = 1, sys._getframe()
            while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
                level, frame = level + 1, frame.f_back
            # Shown where the user's loop called, however deep the reason was found.
            warnings.warn(f"{type(self).__name__}: {text}", kind, stacklevel=level)

    def _title(self) -> str:
        """What it is, in one line."""
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self._config.items())})"

    def __repr__(self) -> str:
        if not getattr(self, "history", None):  # asked for before its constructor is through
            return f"<{type(self).__name__}: not made>"
        return f"<{self._title()}: {state(self.history[-1])}>"


_LOGGED = {"value": "lam", "kappa": "kappa", "progress": "progress", "asked": "asked"}
