"""Starts a run in Weights & Biases: which mode, under whose name, in which group.

When W&B cannot start, a line says so and training goes on without it. In mode ``disabled`` wandb is not even imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from lambda_rl.agents.record.tracking import Tracker, WandbMode

PROJECT = "lambda-rl"
# Seconds to wait for the server before falling back to offline: training should not hang on a dead network.
INIT_TIMEOUT = 30.0


@dataclass(frozen=True)
class About:
    """How a run is found again. What is left empty is taken from wandb's own variables of the environment.

    Attributes:
        group: of runs that belong together, such as a training, its seeds and its comparison.
        job_type: ``train``, ``compare`` or ``run``.
        tags: words to filter by; those of ``WANDB_TAGS`` are added.
        notes: a sentence or two.
        best: keys whose smallest or largest value the run's summary shows, in place of the last one.
    """

    group: str = ""
    job_type: str = ""
    tags: tuple[str, ...] = ()
    notes: str = ""
    best: Mapping[str, Literal["min", "max"]] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """What ``wandb.init`` is told."""
        further = [tag.strip() for tag in os.environ.get("WANDB_TAGS", "").split(",")]
        tags = list(
            dict.fromkeys(tag[:64] for tag in (*self.tags, *further) if tag)
        )  # longer ones are refused
        told = {"group": self.group, "job_type": self.job_type, "tags": tags, "notes": self.notes}
        return {name: value or None for name, value in told.items()}


def start_run(
    mode: WandbMode,
    *,
    name: str,
    config: Mapping[str, Any],
    dir: str | os.PathLike[str],
    about: About | None = None,
    resume_id: str | None = None,
    say: Callable[[str], None] = print,
) -> Tracker:
    """Starts a tracked run.

    ``online`` becomes ``offline`` when nobody is logged in, when the environment says ``WANDB_MODE=offline``, or when
    the server cannot be reached; if W&B does not start at all, the tracker is a disabled one. Each of these is told.

    Args:
        mode: ``online``, ``offline`` or ``disabled``.
        name: Name of the run.
        config: All options, resolved; plain values, may be nested.
        dir: The run folder; W&B writes into its sub-folder ``wandb``.
        about: Group, tags and the like.
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
    if mode == "online" and not logged_in(say):
        say("W&B: nobody is logged in (`wandb login`, or WANDB_API_KEY); this run is tracked offline")
        mode = "offline"

    about = about or About()
    attempts: list[WandbMode] = ["online", "offline"] if mode == "online" else ["offline"]
    for attempt in attempts:
        try:
            told = {"name": name, "config": dict(config), **about.settings()}
            run = _init(attempt, told, Path(dir), resume_id)
        except Exception as error:  # see the module's docstring: tracking never stops a training run
            then = "tracking offline" if attempt == "online" else "training goes on without tracking"
            say(f"W&B: could not start {attempt} ({type(error).__name__}: {error}); {then}")
            continue
        tracker = Tracker(run, attempt, say)
        tracker.define(about.best)
        say(f"W&B: {attempt} run {tracker.run_id} in {tracker.directory}")
        return tracker
    return Tracker(None, "disabled", say)


def logged_in(say: Callable[[str], None] = print) -> bool:
    """Whether wandb has credentials, wherever it keeps them; it neither asks for any nor tries them."""
    import wandb

    try:
        return bool(wandb.login(prompt=False, verify=False))
    except Exception as error:  # such as a malformed key
        say(f"W&B: {type(error).__name__}: {error}")
        return False


def _init(mode: WandbMode, told: Mapping[str, Any], directory: Path, resume_id: str | None) -> Any:
    """Calls ``wandb.init`` with everything that would write to the terminal or touch the code turned off."""
    import wandb

    directory.mkdir(parents=True, exist_ok=True)
    return wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        id=resume_id,
        # Offline there is nothing to resume from; the same id joins the parts at the server when both are synced.
        resume="allow" if resume_id is not None and mode == "online" else None,
        dir=str(directory),
        mode=mode,
        # console=off: W&B's capture of the terminal garbles a progress bar.
        settings=wandb.Settings(silent=True, console="off", save_code=False, init_timeout=INIT_TIMEOUT),
        **told,
    )
