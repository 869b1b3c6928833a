"""``report.html``: one file that opens offline, with the result, the table, the figures and how to run it again."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import jinja2

from lambda_rl.agents.comparison.figures import FIGURES, MAX_PANELS
from lambda_rl.agents.comparison.results import (
    BEST_SINGLE,
    BEST_SINGLE_HINDSIGHT,
    CONSTANT,
    MEAN_CONSTANT,
    ScheduleSummary,
    Summary,
)
from lambda_rl.agents.comparison.summary import MEANING, headline
from lambda_rl.agents.presenting.style import DPI
from lambda_rl.files import atomic_write

REPORT_NAME = "report.html"

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("lambda_rl.agents.comparison"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
)


@dataclass(frozen=True)
class _Picture:
    """A figure within the page: its width in CSS pixels, what it shows, and the PNG file as base64."""

    width: int
    caption: str
    data: str


def write_report(folder: str | Path, summary: Summary) -> Path:
    """Writes ``report.html`` out of the summary and the figures in ``folder``.

    Args:
        folder: holds the figures as PNG files.
        summary: the numbers.

    Returns:
        Path of the report.

    Raises:
        FileNotFoundError: a figure is missing.
    """
    folder = Path(folder)
    captions = _captions(summary)
    page = _ENVIRONMENT.get_template(f"{REPORT_NAME}.j2").render(
        title=f"λ schedules on {summary.suite}",
        meta=_meta(summary),
        sentences=headline(summary),
        caveats=_caveats(summary),
        summary=summary,
        schedules=[_schedule(name, item, summary) for name, item in summary.schedules.items()],
        columns=[
            name
            for name, item in summary.schedules.items()
            if item.kind != CONSTANT and name not in (MEAN_CONSTANT, BEST_SINGLE_HINDSIGHT)
        ],
        figures=[_picture(folder / f"{name}.png", captions[name]) for name in FIGURES],
    )
    path = folder / REPORT_NAME
    atomic_write(path, page)
    return path


def _meta(summary: Summary) -> str:
    return (
        f"{_cells(summary)}, {summary.inner_runs_done} inner runs on "
        f"{summary.data.name}, {summary.test_images:,} test images; {summary.hardware}, "
        f"{_duration(summary.seconds)}; {summary.time}"
    )


def _cells(summary: Summary) -> str:
    return f"{len(summary.tasks)} tasks × {_seeds(summary)}"


def _seeds(summary: Summary) -> str:
    return f"{summary.seeds_per_task} seed{'s' if summary.seeds_per_task > 1 else ''}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _caveats(summary: Summary) -> list[str]:
    """What a reader should know, one line each."""
    sizes = sorted({int(str(fields["val_size"])) for fields in summary.task_fields.values()})
    seen = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    tuning = summary.tuning
    lines = [
        "These are small networks with short budgets, trained from scratch: the numbers compare schedules with each "
        "other, and are no record on the data set.",
        "All schedules of a task and seed share initial weights, training subset, label noise and minibatches.",
        f"Feedback schedules and the grid search watched {seen} validation images, beside the training images.",
        "The oracle constant is chosen with the test images, and so is a bound that no user can reach by rule.",
    ]
    if tuning is not None:
        counts = ", ".join(f"{name} {number}" for name, number in tuning.settings.items())
        lines.append(
            f"Hand-designed schedules were tuned on {tuning.suite} ({tuning.data}) with other images and seeds; "
            f"settings tried: {counts}."
        )
    lines += [note[0].upper() + note[1:] + "." for note in summary.notes]
    diverged = {name: item.diverged for name, item in summary.schedules.items() if item.diverged}
    if diverged:
        listed = ", ".join(f"{name} {100 * share:.0f} %" for name, share in diverged.items())
        lines.append(f"Runs that diverged count as guessing: {listed}.")
    return lines


def _schedule(name: str, item: ScheduleSummary, summary: Summary) -> tuple[str, ScheduleSummary, str, str]:
    """A row of the table: name, numbers, difference, what it is."""
    low, high = item.ci95
    itself = name in (BEST_SINGLE, summary.best_single_constant)
    difference = "0" if itself else f"{item.difference_mean:+.2f} [{low:+.2f}, {high:+.2f}]"
    return name, item, difference, MEANING.get(name, item.spec)


def _captions(summary: Summary) -> dict[str, str]:
    tasks, n, seeds = len(summary.tasks), _cells(summary), _seeds(summary)
    return {
        "differences": f"Mean difference in test accuracy to the best single constant with its 95 % interval (paired "
        f"bootstrap, n = {n}), and the inner runs that one result costs.",
        "accuracy_by_task": f"The same by task: mean over {seeds}; the bar is the "
        "95 % t interval of the learned schedule over seeds. An open triangle at the left edge: further left.",
        "lambda_trajectories": "λ over the run, by task: mean over seeds of log λ; thin lines are single seeds of the "
        "learned schedule."
        + (f" {MAX_PANELS} of {tasks} tasks, spread over the suite." if tasks > MAX_PANELS else ""),
        "accuracy_over_run": f"Validation accuracy over the run, mean over {n}.",
        "constants": f"Test accuracy of constants, mean over {seeds}: how much λ "
        "matters, and how far its best value moves between tasks.",
    }


def _picture(path: Path, caption: str) -> _Picture:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; draw the figures first")
    content = path.read_bytes()
    width = int.from_bytes(content[16:20], "big") * 96 // DPI  # of the PNG's header: its true size
    return _Picture(width, caption, base64.b64encode(content).decode())
