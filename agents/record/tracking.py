"""Tracking with Weights & Biases, written with ``run.log`` and never through TensorBoard syncing.

Tracking must never stop a training run: when W&B cannot start or fails later, a line says so and training goes on
without it. In mode ``disabled`` wandb is not even imported.
"""

from __future__ import annotations

import contextlib
import netrc
import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from stable_baselines3.common.logger import KVWriter

WandbMode = Literal["online", "offline", "disabled"]

PROJECT = "lambda-rl"
TRAJECTORY_COLUMNS = ("task", "schedule", "progress", "log_lam")
# A chart with more lines than this cannot be read; the table beside it always holds all rows.
MAX_CHART_LINES = 24
# Seconds to wait for the server before falling back to offline: training should not hang on a dead network.
INIT_TIMEOUT = 30.0


def has_wandb_key() -> bool:
    """Whether an API key for the W&B server in use is set, in the environment or in the user's netrc file."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).netloc
    candidates = [os.environ["NETRC"]] if os.environ.get("NETRC") else ["~/.netrc", "~/_netrc"]
    for candidate in candidates:
        with contextlib.suppress(OSError, netrc.NetrcParseError, RuntimeError):
            # The login entry of exactly this host: netrc's `default` entry is not a W&B key.
            if host in netrc.netrc(str(Path(candidate).expanduser())).hosts:
                return True
    return False


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
        self.mode: WandbMode = mode if run is not None else "disabled"
        self.run_id: str | None = None if run is None else str(run.id)
        self.directory: Path | None = None if run is None else Path(run.settings.sync_dir)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Logs values at a step (environment decisions done). Steps that go backwards count as the last one."""
        # W&B drops rows of earlier steps without an error; a value shown one step late is better than none.
        self._last_step = max(self._last_step, int(step))
        self._guard(lambda run: run.log(dict(values), step=self._last_step))

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
        at = self._last_step if step is None else max(self._last_step, step)
        self._last_step = at

        def write(run: Any) -> None:
            import wandb

            chart = wandb.plot.line_series(
                xs=[lines[key][0] for key in shown],
                ys=[lines[key][1] for key in shown],
                keys=shown,
                title="log10 λ over the inner run",
                xname="progress",
            )
            data = wandb.Table(columns=list(TRAJECTORY_COLUMNS), data=[list(row) for row in table])
            run.log({f"{name}/trajectories": data, f"{name}/chart": chart}, step=at)

        self._guard(write)

    def log_image(self, name: str, path: str | os.PathLike[str]) -> None:
        """Logs a picture file under a key at the last step."""

        def write(run: Any) -> None:
            import wandb

            run.log({name: wandb.Image(str(path))}, step=self._last_step)

        self._guard(write)

    def log_policy_artifact(self, path: str | os.PathLike[str], metadata: Mapping[str, Any]) -> None:
        """Logs a policy file as an Artifact of type ``model``.

        Args:
            path: The policy file.
            metadata: Plain values shown beside it.

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
            artifact = wandb.Artifact(name, type="model", metadata=dict(metadata))
            artifact.add_file(str(path), name=path.name)
            run.log_artifact(artifact)

        self._guard(write)

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
            self._say(f"W&B: offline run in {self.directory}; to upload it: wandb sync {self._sync_target()}")

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


def start_run(
    mode: WandbMode,
    *,
    name: str,
    config: Mapping[str, Any],
    dir: str | os.PathLike[str],
    resume_id: str | None = None,
    say: Callable[[str], None] = print,
) -> Tracker:
    """Starts a tracked run.

    ``online`` becomes ``offline`` when no key is set, when the environment says ``WANDB_MODE=offline``, or when the
    server cannot be reached; if W&B does not start at all, the tracker is a disabled one. Each of these is told.

    Args:
        mode: ``online``, ``offline`` or ``disabled``.
        name: Name of the run.
        config: All options, resolved; plain values, may be nested.
        dir: The run folder; W&B writes into its sub-folder ``wandb``.
        resume_id: ``Tracker.run_id`` of the run to continue, if any.
        say: Prints one line.

    Returns:
        The tracker; ``mode`` says what it really does.

    Raises:
        ValueError: If the mode is not one of the three.
    """
    if mode not in get_args(WandbMode):
        raise ValueError(f"--wandb is {mode!r}; allowed are {', '.join(get_args(WandbMode))}")
    from_environment = os.environ.get("WANDB_MODE", "").lower()
    if mode == "disabled" or from_environment == "disabled":
        return Tracker(None, "disabled", say)
    if mode == "online" and from_environment in ("offline", "dryrun"):
        say("W&B: WANDB_MODE says offline; this run is tracked offline")
        mode = "offline"
    if mode == "online" and not has_wandb_key():
        say("W&B: no API key is set (WANDB_API_KEY, or `wandb login`); this run is tracked offline")
        mode = "offline"

    attempts: list[WandbMode] = ["online", "offline"] if mode == "online" else ["offline"]
    for attempt in attempts:
        try:
            run = _init(attempt, name, config, Path(dir), resume_id)
        except Exception as error:  # see the module's docstring: tracking never stops a training run
            then = "tracking offline" if attempt == "online" else "training goes on without tracking"
            say(f"W&B: could not start {attempt} ({type(error).__name__}: {error}); {then}")
            continue
        tracker = Tracker(run, attempt, say)
        say(f"W&B: {attempt} run {tracker.run_id} in {tracker.directory}")
        return tracker
    return Tracker(None, "disabled", say)


def _init(
    mode: WandbMode, name: str, config: Mapping[str, Any], directory: Path, resume_id: str | None
) -> Any:
    """Calls ``wandb.init`` with everything that would write to the terminal or touch the code turned off."""
    import wandb

    directory.mkdir(parents=True, exist_ok=True)
    return wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=name,
        id=resume_id,
        # Offline there is nothing to resume from; the same id joins the parts at the server when both are synced.
        resume="allow" if resume_id is not None and mode == "online" else None,
        config=dict(config),
        dir=str(directory),
        mode=mode,
        # console=off: W&B's capture of the terminal garbles a progress bar.
        settings=wandb.Settings(silent=True, console="off", save_code=False, init_timeout=INIT_TIMEOUT),
    )
