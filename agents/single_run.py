"""Trains one network under one schedule."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from rich.console import Console
from safetensors.torch import save

from lambda_rl.agents.options import ComputeOptions, DataOptions, TrackingOptions
from lambda_rl.agents.presenting.style import INK, LEARNED_PALETTE, PALETTE, dress, new_figure, png
from lambda_rl.agents.record.provenance import told_options, without_places
from lambda_rl.agents.record.start_tracking import About, start_run
from lambda_rl.agents.record.tracking import Tracker
from lambda_rl.envs.judging import Hooks, RunResult, ScheduleJob, run_schedules
from lambda_rl.envs.tasks.task import Task
from lambda_rl.files import atomic_write
from lambda_rl.schedules.text_form import parse_schedule


@dataclass(frozen=True)
class NetworkConfig(TrackingOptions, ComputeOptions):
    """Trains one network with any schedule of λ.

    Attributes:
        schedule: learned:FILE, constant:0.01, steps:3,2,1,0, pull-down:HIGH,LOW, pull-up:LOW,HIGH, cosine:START,END,
            gap:initial=0.01,factor=2,threshold=0.05, or replay:FILE.csv.
        task: what is trained; its data set, if it names none, is synthetic.
        data_root: where cifar10 and cifar100 are downloaded to; empty: the user's cache folder.
        fold: which part of the training images: held-out ones, or those that agents learn on.
        out: folder for history.csv and history.png; empty: none.
        save: file for the trained weights (.safetensors); empty: none.
    """

    schedule: str
    # The synthetic images that are held out are fewer than a task has by default.
    task: Task = field(default_factory=lambda: Task(data="synthetic", train_size=4000, val_size=800))
    data_root: str = ""
    fold: Literal["held-out", "agent"] = "held-out"
    out: str = ""
    save: str = ""

    @property
    def images(self) -> DataOptions:
        """The data set that the task names."""
        return DataOptions(data=self.task.data or "synthetic", data_root=self.data_root)


def train_one(config: NetworkConfig, console: Console | None = None) -> RunResult:
    """Trains, prints a line per decision and the final accuracies, and writes what was asked for.

    Args:
        config: all options.
        console: where to print.

    Returns:
        The result, with its history and the trained run.

    Raises:
        ValueError: schedule, task, data or device that cannot be used.
    """
    console = console or Console()
    config.check()
    trainer, images = config.trainer, config.images
    task = replace(config.task, data="")
    job = ScheduleJob(task, config.schedule, parse_schedule(config.schedule))
    train, test = images.load_train(), images.load_test()
    console.print(f"{task.name} on {train.name}, λ by {config.schedule}", highlight=False, soft_wrap=True)
    written: list[Path] = []
    with _Watch(config, task.name, console) as watch:
        hooks = Hooks(on_decision=watch.decision)
        (result,) = run_schedules(
            [job], train, config.fold, test=test, config=trainer, hooks=hooks, keep_runs=True
        )
        if config.out:
            written += write_history(result, config.out)
            watch.tracker.log_image("history", written[-1])
        if config.save:
            written.append(save_weights(result, config.save))
        names = ("val_accuracy", "test_accuracy", "diverged")
        watch.tracker.summarise({name: getattr(result, name) for name in names})
        if result.diverged:
            watch.tracker.alert("the run diverged", f"{task.name}, λ by {config.schedule}")
    if result.diverged:
        console.print("the run diverged; accuracies are those of guessing", highlight=False)
    console.print(
        f"validation accuracy {100 * result.val_accuracy:.2f} %, test accuracy {100 * result.test_accuracy:.2f} % "
        f"({len(test.labels)} images)",
        highlight=False,
    )
    for path in written:
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)
    return result


class _Watch:
    """Prints and tracks each decision. Both begin with the first one, when it is known that the run can be done.

    Args:
        config: all options.
        name: of the task.
        console: where to print.
    """

    def __init__(self, config: NetworkConfig, name: str, console: Console) -> None:
        self.config, self.name, self.console = config, name, console
        self.tracker = Tracker(None, "disabled")
        self.decisions = 0

    def decision(self, _: int, row: dict[str, float]) -> None:
        """One decision's measurements."""
        if not self.decisions:
            self._begin()
        self.decisions += 1
        self.console.print(
            f"{row['progress']:5.0%}  {10 ** row['log_lam']:8.2e}  {row['train_loss']:11.3f}  "
            f"{row['train_accuracy']:8.1%}  {row['val_loss']:9.3f}  {row['val_accuracy']:8.1%}",
            highlight=False,
        )
        self.tracker.log({"lambda": 10 ** row["log_lam"], **row}, self.decisions)

    def _begin(self) -> None:
        config = self.config
        about = About(
            group=config.wandb_group,
            job_type="run",
            tags=(*config.wandb_tags, config.task.network, config.schedule.partition(":")[0]),
            notes=config.wandb_notes,
            best={"val_accuracy": "max", "val_loss": "min"},
        )
        self.tracker = start_run(
            config.wandb,
            name=without_places(f"{self.name} {config.schedule}"),
            config=told_options(dataclasses.asdict(config)),
            dir=config.out or ".",
            about=about,
            say=lambda line: self.console.print(line, markup=False, highlight=False, soft_wrap=True),
        )
        self.console.print("  run         λ   train loss  accuracy   val loss  accuracy", highlight=False)

    def __enter__(self) -> _Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.tracker.__exit__(kind, error, trace)


def history_table(result: RunResult) -> pd.DataFrame:
    """One row a decision; ``lam`` as ``replay:`` takes it, where a row's progress is where its λ begins."""
    history = result.history
    table = pd.DataFrame(history)
    starts = [0.0, *history["progress"][:-1]]
    lams = 10.0 ** np.array(history["log_lam"], np.float64)
    # The columns that a replay reads stand first; what was measured belongs to the interval's end.
    return pd.DataFrame(
        {
            "progress": starts,
            "lam": lams,
            "end": history["progress"],
            **{key: table[key] for key in table.columns if key not in ("progress", "log_lam")},
        }
    )


def write_history(result: RunResult, folder: str | Path) -> list[Path]:
    """Writes ``history.csv`` and ``history.png``, and returns their paths."""
    folder = Path(folder)
    table = history_table(result)
    atomic_write(folder / "history.csv", table.to_csv(index=False))
    atomic_write(folder / "history.png", png(draw_history(table, result.schedule)))
    return [folder / "history.csv", folder / "history.png"]


def save_weights(result: RunResult, path: str | Path) -> Path:
    """Writes the trained parameters and running statistics as safetensors.

    Raises:
        ValueError: the result holds no run.
    """
    if result.run is None:
        raise ValueError("the run was not kept; there are no weights to save")
    tensors = {**result.run.network.exported(result.run.params), **result.run.buffers}
    path = Path(path)
    atomic_write(path, save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}))
    return path


def draw_history(table: pd.DataFrame, schedule: str) -> Figure:
    """λ, losses and accuracies over one run, one above the other."""
    figure = new_figure(6.4, 6.2)
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    edges = np.append(table["progress"].to_numpy(), table["end"].to_numpy()[-1:])
    lams = table["lam"].to_numpy()
    top.step(edges, np.append(lams, lams[-1:]), where="post", color=INK, linewidth=1.8)
    if (lams > 1e-11).all():
        top.set_yscale("log")
    top.set_ylabel("λ", fontsize=9)
    top.set_title(schedule, fontsize=9)
    for axes, what, unit, factor in ((middle, "loss", "nats", 1.0), (bottom, "accuracy", "%", 100.0)):
        for part, label, colour in (
            ("train", "training", LEARNED_PALETTE[0]),
            ("val", "validation", PALETTE[0]),
        ):
            values = factor * table[f"{part}_{what}"]
            axes.plot(table["end"], values, color=colour, linewidth=1.8, label=label)
        axes.set_ylabel(f"{what} ({unit})", fontsize=9)
    middle.legend(frameon=False, fontsize=8)
    bottom.set_xlabel("share of the run", fontsize=9)
    bottom.set_xlim(0, 1)
    bottom.xaxis.set_major_formatter(PercentFormatter(1.0))
    for axes in (top, middle, bottom):
        dress(axes)
    figure.align_ylabels()
    return figure
