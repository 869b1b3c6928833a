"""A run tracked with Weights & Biases, written with ``run.log`` and never through TensorBoard syncing.

Tracking must never stop a training run: when W&B fails, a line says so and training goes on without it. How a run is
started: :mod:`lambda_rl.agents.record.start_tracking`.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from stable_baselines3.common.logger import KVWriter

from lambda_rl.agents.record.artifacts import origin

WandbMode = Literal["online", "offline", "disabled"]

STEP = "decisions"
"""Key of the step in every row, so that charts have it on their axis."""
TRAJECTORY_COLUMNS = ("task", "schedule", "progress", "log_lam")
# A chart with more lines than this cannot be read; the table beside it always holds all rows.
MAX_CHART_LINES = 24


class Tracker:
    """One tracked run; every method is safe to call in every mode.

    Built by :func:`start_run`. Can be used as a context manager, which marks the run as failed on an exception.

    Attributes:
        mode: The mode really in force, which may differ from the one asked for.
        run_id: The id to pass as ``resume_id`` later; None when disabled.
        directory: The folder that W&B writes to (the one to sync); None when disabled.
    """

    def __init__(self, run: Any | None, mode: WandbMode, say: Callable[[str], None] = print) -> None:
        self._run = run
        self._say = say
        self._last_step = 0
        self._alerted: set[str] = set()
        self.mode: WandbMode = mode if run is not None else "disabled"
        self.run_id: str | None = None if run is None else str(run.id)
        self.directory: Path | None = None if run is None else Path(run.settings.sync_dir)

    def define(self, best: Mapping[str, Literal["min", "max"]]) -> None:
        """Says that charts go over the decisions, and of which keys the summary shows the best value."""

        def write(run: Any) -> None:
            run.define_metric(STEP, hidden=True)
            run.define_metric("*", step_metric=STEP)
            for key, which in best.items():
                run.define_metric(key, step_metric=STEP, summary=which)

        self._guard(write)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Logs values at a step (environment decisions done). Steps that go backwards count as the last one."""
        # W&B drops rows of earlier steps without an error; a value shown one step late is better than none.
        self._last_step = max(self._last_step, int(step))
        self._log(dict(values))

    def summarise(self, values: Mapping[str, Any]) -> None:
        """Writes values to the run's summary, which tables of runs and sweeps show."""
        self._guard(lambda run: run.summary.update(dict(values)))

    def log_lambda_trajectories(
        self, rows: Iterable[Mapping[str, Any]], *, name: str = "lambda", step: int | None = None
    ) -> None:
        """Logs λ trajectories as a table and as a line chart.

        Args:
            rows: One mapping a decision, with ``task``, ``schedule``, ``progress`` in [0, 1] and ``log_lam`` (log10).
            name: Prefix of the two keys, ``<name>/trajectories`` and ``<name>/chart``.
            step: The step to log at; the last one by default.

        Raises:
            ValueError: If a row lacks a column.
        """
        table: list[tuple[str, str, float, float]] = []
        for row in rows:
            missing = [column for column in TRAJECTORY_COLUMNS if column not in row]
            if missing:
                raise ValueError(
                    f"a row of a λ trajectory lacks {missing}; it needs {list(TRAJECTORY_COLUMNS)}"
                )
            table.append(
                (str(row["task"]), str(row["schedule"]), float(row["progress"]), float(row["log_lam"]))
            )
        if not table or self._run is None:
            return
        lines: dict[str, tuple[list[float], list[float]]] = {}
        for task, schedule, progress, log_lam in table:
            xs, ys = lines.setdefault(f"{schedule} · {task}", ([], []))
            xs.append(progress)
            ys.append(log_lam)
        shown = list(lines)[:MAX_CHART_LINES]
        self._last_step = max(self._last_step, step or 0)

        def made(wandb: Any) -> dict[str, Any]:
            chart = wandb.plot.line_series(
                xs=[lines[key][0] for key in shown],
                ys=[lines[key][1] for key in shown],
                keys=shown,
                title="log10 λ over the inner run",
                xname="progress",
            )
            data = wandb.Table(columns=list(TRAJECTORY_COLUMNS), data=[list(row) for row in table])
            return {f"{name}/trajectories": data, f"{name}/chart": chart}

        self._log_made(made)

    def log_image(self, name: str, path: str | os.PathLike[str]) -> None:
        """Logs a picture file under a key at the last step."""
        self._log_made(lambda wandb: {name: wandb.Image(str(path))})

    def log_html(self, name: str, path: str | os.PathLike[str]) -> None:
        """Logs a page, of one file, under a key at the last step."""
        # Not inject=True: the page has a style of its own.
        self._log_made(lambda wandb: {name: wandb.Html(Path(path).read_text(encoding="utf-8"), inject=False)})

    def log_table(
        self,
        name: str,
        columns: Sequence[str],
        rows: Iterable[Sequence[Any]],
        *,
        bars: tuple[str, str] | None = None,
    ) -> None:
        """Logs a table at the last step.

        Args:
            name: its key.
            columns: their names.
            rows: a value a column, text or number.
            bars: columns of the labels and of the lengths of a bar chart, ``<name>_bars``; None: no chart.
        """

        def made(wandb: Any) -> dict[str, Any]:
            table = wandb.Table(columns=list(columns), data=[list(row) for row in rows])
            chart = {} if bars is None else {f"{name}_bars": wandb.plot.bar(table, *bars, title=bars[1])}
            return {name: table, **chart}

        self._log_made(made)

    def log_policy_artifact(
        self,
        path: str | os.PathLike[str],
        metadata: Mapping[str, Any],
        *,
        card: str = "",
        beside: Iterable[Path] = (),
        aliases: Iterable[str] = (),
    ) -> None:
        """Logs a policy file as an Artifact of type ``model``.

        Args:
            path: The policy file.
            metadata: Plain values shown beside it.
            card: What the policy is, as text: its description, and the file ``card.txt``.
            beside: Further files that belong to it; those that are missing are left out.
            aliases: By which this version is found, beside ``latest``.

        Raises:
            FileNotFoundError: If there is no such file (in every mode, so that a missing export is noticed).
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no policy file to log")

        def write(run: Any) -> None:
            import wandb

            # W&B allows only these characters in the name of an artifact.
            name = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"policy-{run.name or run.id}")
            artifact = wandb.Artifact(name, type="model", description=card or None, metadata=dict(metadata))
            artifact.add_file(str(path), name=path.name)
            for file in filter(Path.is_file, beside):
                artifact.add_file(str(file), name=file.name)
            if card:
                with artifact.new_file("card.txt", mode="w", encoding="utf-8") as text:
                    text.write(card)
            run.log_artifact(artifact, aliases=["latest", *aliases])

        self._guard(write)

    def use_policies(self, policies: Iterable[str | os.PathLike[str]]) -> None:
        """Says which artifacts went into this run, so that its lineage shows them; files of no artifact say nothing.

        Offline, W&B cannot look an artifact up; the run's configuration names it anyway.
        """

        def write(run: Any) -> None:
            for name in filter(None, map(origin, policies)):
                run.use_artifact(name, type="model")

        if self.mode == "online":
            self._guard(write)

    def alert(self, title: str, text: str) -> None:
        """Sends a message to who asked W&B for such, by mail or Slack: once for each title in a run.

        It is on by default: W&B sends nothing unless a user turned it on there, and a run that goes wrong for hours
        is what that is for.
        """
        if title not in self._alerted:
            self._alerted.add(title)
            self._guard(lambda run: run.alert(title=title, text=text, level="WARN"))

    def finish(self, exit_code: int = 0) -> None:
        """Closes the run and says where it went and how to sync it. A second call does nothing."""
        run = self._run
        if run is None:
            return
        url = run.url if self.mode == "online" else None
        self._guard(lambda r: r.finish(exit_code=exit_code))
        self._run = None
        if self.mode == "online":
            self._say(f"W&B: run at {url}")
        else:
            assert self.directory is not None
            here = shlex.quote(str(self.directory.parent))
            self._say(
                f"W&B: offline run in {self.directory}; to look at it here: wandb leet {here}; "
                f"to upload it: wandb sync {self._sync_target()}"
            )

    def _sync_target(self) -> str:
        """What to hand to ``wandb sync``: all parts of a run that was resumed offline, which W&B joins by their id."""
        assert self.directory is not None
        parts = sorted(self.directory.parent.glob(f"offline-run-*-{self.run_id}"))
        return " ".join(shlex.quote(str(part)) for part in parts or [self.directory])

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(exit_code=0 if kind is None else 1)

    def _log(self, values: dict[str, Any]) -> None:
        """Logs a row at the last step."""
        self._guard(lambda run: run.log({**values, STEP: self._last_step}, step=self._last_step))

    def _log_made(self, made: Callable[[Any], dict[str, Any]]) -> None:
        """Logs values that wandb makes, which is imported for a run only."""

        def write(run: Any) -> None:
            import wandb

            run.log({**made(wandb), STEP: self._last_step}, step=self._last_step)

        self._guard(write)

    def _guard(self, write: Callable[[Any], object]) -> None:
        """Writes to the run; the first failure is told and ends tracking, not training."""
        if self._run is None:
            return
        try:
            write(self._run)
        except Exception as error:  # any failure of the tracker is less important than the training run
            self._say(f"W&B: stopped tracking ({type(error).__name__}: {error}); training goes on without it")
            self._run = None


class WandbWriter(KVWriter):
    """An output format of Stable-Baselines3's logger that writes to a tracker.

    Numbers and strings are written; pictures and figures of SB3 are left to the tracker's own methods. A key that is
    recorded with ``exclude="wandb"`` is left out.

    Args:
        tracker: Where to write; closing the writer does not finish it, since more is logged after learning.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0
    ) -> None:
        """Writes one row of the logger at a step (environment decisions done)."""
        values: dict[str, Any] = {}
        for key, value in key_values.items():
            if "wandb" in (key_excluded.get(key) or ()):
                continue
            if isinstance(value, Real):  # includes numpy's scalars
                values[key] = float(value)
            elif isinstance(value, str):
                values[key] = value
        if values:
            self.tracker.log(values, step)

    def close(self) -> None:
        """Does nothing: the tracker outlives the logger."""
