"""What ``scripts/compare.py`` does: read, tune, compare, write, draw, report."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from lambda_rl.agents.compare import (
    Comparison,
    check_meanings,
    compare,
    default_tuning_suite,
    entries,
    headline,
)
from lambda_rl.agents.config import available_cores
from lambda_rl.agents.figures import draw_all
from lambda_rl.agents.report import write_report
from lambda_rl.agents.summary import BEST_SINGLE, BEST_SINGLE_HINDSIGHT, NO_PENALTY
from lambda_rl.agents.tuning import CONSTANT_GRID, UNTUNED, Tuned, check_tuning_suite, family_settings, tune
from lambda_rl.envs.data import ImageData, load_test, load_train
from lambda_rl.envs.device import PRECISIONS, resolve_device
from lambda_rl.envs.suites import Suite, load_suite
from lambda_rl.envs.trainer import TrainerConfig
from lambda_rl.parse import parse_schedule


@dataclass(frozen=True)
class CompareConfig:
    """Compares learned policies with tuned hand-designed schedules and constants, on tasks held out from training.

    Attributes:
        out: folder for results.csv, trajectories.csv, summary.json, tuned.json, the figures and report.html.
        policy: policy file; may be given several times, or not at all.
        suite: tasks, a built-in list or a YAML file.
        seeds: seeds per task.
        data: synthetic, synthetic:SEED, cifar10, cifar100, or folder:PATH (directory or tar archive).
        data_root: where cifar10 and cifar100 are downloaded to; empty: the user's cache folder.
        device: auto, cpu, cuda or cuda:N.
        precision: auto, fp32, bf16 or fp64.
        threads: CPU threads; 0: one per core.
        compile: compile the training step.
        constants: the grid of constants.
        schedule: a further schedule to compare, such as constant:0.0005 or replay:FILE.csv; may be given several times.
        families: hand-designed schedules that take part; give none of them to leave them out.
        lam_meaning: what to do where the tasks' decay is not the policy's: convert, or coupled or decoupled, the
            policy's own, to use λ unconverted; empty: refuse.
        tune: suite that hand-designed schedules are tuned on; auto: the validation suite that belongs to the suite,
            or for a suite file the one of the same kind of network; none: no tuning.
        tune_seeds: seeds per task for tuning.
        tune_settings: settings per hand-designed family at most, for a quick look; 0: all (18 to 24).
        tuned: a tuned.json of an earlier comparison, in place of tuning anew.
        redraw: draw figures and report anew from the files in --out, without a run.
        wandb: Weights & Biases for the table and the figures; online becomes offline where no key is set.
    """

    out: str
    policy: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    suite: str = "quick-held-out"
    seeds: int = 5
    data: str = "synthetic"
    data_root: str = ""
    device: str = "cpu"
    precision: str = "auto"
    threads: int = 0
    compile: bool = False
    constants: tuple[float, ...] = CONSTANT_GRID
    schedule: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    families: tuple[str, ...] = tuple(UNTUNED)
    lam_meaning: Literal["", "convert", "coupled", "decoupled"] = ""
    tune: str = "auto"
    tune_seeds: int = 2
    tune_settings: int = 0
    tuned: str = ""
    redraw: bool = False
    wandb: Literal["online", "offline", "disabled"] = "disabled"

    def check(self) -> None:
        """Checks what can be checked without reading anything; not at construction, where tyro would frame it."""
        for name in ("seeds", "tune_seeds"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}")
        for name in ("threads", "tune_settings"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name.replace('_', '-')} must be at least 0, got {getattr(self, name)}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"--precision must be one of {', '.join(PRECISIONS)}; got {self.precision!r}")

    @property
    def taking_part(self) -> dict[str, Any]:
        """What else takes part, as :func:`~lambda_rl.agents.compare.entries` has it."""
        return {"lam_meaning": self.lam_meaning, "families": self.families, "extra": self.schedule}

    @property
    def trainer(self) -> TrainerConfig:
        """How the inner runs are computed."""
        return TrainerConfig(
            str(resolve_device(self.device)),
            self.precision,
            self.threads or available_cores(),
            compile=self.compile,
        )


def run_comparison(config: CompareConfig, console: Console | None = None) -> Comparison:
    """Tunes, compares, writes everything to ``config.out``, prints the table and where the report is.

    Args:
        config: all options.
        console: where to print.

    Raises:
        ValueError: an option, policy, suite or data that cannot be used; told before any inner run.
        FileNotFoundError: a file that is not there.
    """
    console = console or Console()
    config.check()
    out = Path(config.out)
    if config.redraw:
        comparison = Comparison.load(out)
        _show(comparison, out, console)
        return comparison
    suite = load_suite(config.suite)
    if not suite.tasks:
        raise ValueError(
            f"--suite {config.suite} is a distribution to train on; compare needs a list, as {suite.name}-held-out"
        )
    earlier = Tuned.load(config.tuned) if config.tuned else None
    tuning = None
    if earlier is None and config.tune != "none":
        tuning = load_suite(
            default_tuning_suite(suite, config.data) if config.tune == "auto" else config.tune
        )
    if tuning is not None:
        check_tuning_suite(tuning)
    # Reads every policy file and constant now, rather than after minutes of tuning.
    check_meanings(config.policy, suite, config.lam_meaning)
    for entry in entries(config.policy, config.constants, earlier, **config.taking_part)[0]:
        parse_schedule(entry.spec)
    trainer = config.trainer
    root = Path(config.data_root).expanduser() if config.data_root else None
    train = load_train(config.data, root=root)
    tuned = earlier
    if tuning is not None:
        settings = family_settings(config.constants, config.tune_settings)
        with _bar(f"tuning on {tuning.name}", console) as progress:
            tuned = tune(
                tuning, train, seeds=config.tune_seeds, config=trainer, progress=progress, settings=settings
            )
    if tuned is not None:
        tuned.save(out / "tuned.json")
    test = load_test(config.data, root=root)
    comparison = _compare(config, suite, train, test, tuned, trainer, console)
    comparison.write(out)
    _show(comparison, out, console)
    if config.wandb != "disabled":
        _track(config, comparison, out, console)
    return comparison


def _compare(
    config: CompareConfig,
    suite: Suite,
    train: ImageData,
    test: ImageData,
    tuned: Tuned | None,
    trainer: TrainerConfig,
    console: Console,
) -> Comparison:
    with _bar(f"comparing on {suite.name}", console) as progress:
        return compare(
            config.policy,
            suite,
            config.seeds,
            train,
            test,
            tuned=tuned,
            constants=config.constants,
            **config.taking_part,
            config=trainer,
            progress=progress,
        )


def _show(comparison: Comparison, out: Path, console: Console) -> None:
    draw_all(comparison.results, comparison.trajectories, comparison.summary, out)
    sentences = headline(comparison.summary)
    report = write_report(out, comparison.summary, sentences)
    console.print(summary_table(comparison.summary))
    for sentence in sentences:
        console.print(sentence, highlight=False)
    for note in comparison.summary["notes"]:
        console.print(f"note: {note}", highlight=False)
    console.print(f"report: {report}", highlight=False, soft_wrap=True)


def summary_table(summary: Mapping[str, Any]) -> Table:
    """The table for the terminal; constants that are nobody's choice are left to the report."""
    table = Table(
        title=f"{summary['suite']}: {len(summary['tasks'])} tasks × {summary['seeds_per_task']} seeds, accuracy in %",
        caption="diff.: points above the best single constant, with its interval\n"
        "regret: points below the oracle constant; runs: inner runs for one result",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("schedule", no_wrap=True)
    for head in ("test acc.", "diff.", "95 %", "regret", "runs"):
        table.add_column(head, justify="right", no_wrap=True)
    best = summary["best_single_constant"]
    for name, item in summary["schedules"].items():
        if (item["kind"] == "constant" and name not in (best, NO_PENALTY)) or name == BEST_SINGLE_HINDSIGHT:
            continue
        low, high = item["ci95"]
        itself = name in (BEST_SINGLE, best)
        table.add_row(
            name,
            f"{item['test_accuracy_mean']:.2f}",
            "" if itself else f"{item['difference_mean']:+.2f}",
            "" if itself else f"{low:+.2f} … {high:+.2f}",
            f"{item['regret_mean']:.2f}",
            str(item["inner_runs"]),
            style="bold blue" if item["kind"] == "learned" else None,
        )
    return table


@contextmanager
def _bar(text: str, console: Console) -> Iterator[Callable[[int, int], None]]:
    """A progress bar; where the output is no terminal, a line at the end alone."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("runs"), TimeElapsedColumn(),
        TextColumn("ETA"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _track(config: CompareConfig, comparison: Comparison, out: Path, console: Console) -> None:
    from lambda_rl.agents.tracking import start_run

    summary = comparison.summary
    name = re.sub(r"[^\w.-]+", "-", f"compare-{summary['suite']}")
    say = lambda line: console.print(line, highlight=False)  # noqa: E731
    with start_run(config.wandb, name=name, config=asdict(config), dir=out, say=say) as tracker:
        for schedule, item in summary["schedules"].items():
            tracker.log(
                {
                    f"compare/{schedule}/{key}": item[key]
                    for key in ("test_accuracy_mean", "difference_mean", "regret_mean", "inner_runs")
                },
                step=0,
            )
        for figure in sorted(out.glob("*.png")):
            tracker.log_image(f"compare/{figure.stem}", figure)
