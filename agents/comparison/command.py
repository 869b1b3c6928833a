"""What ``scripts/compare.py`` does: read, check, tune, compare, write, draw, report."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from rich.console import Console

from lambda_rl.agents.baselines import (
    CONSTANT_GRID,
    Judge,
    Tuned,
    check_tuning_suite,
    hand_designed_families,
    tune,
    tuning_settings,
)
from lambda_rl.agents.baselines.fingerprints import file_fingerprint
from lambda_rl.agents.comparison.contestants import Learned, LineUp, check_meanings, line_up, read_policies
from lambda_rl.agents.comparison.figures import draw_all
from lambda_rl.agents.comparison.folder import ComparisonFolder
from lambda_rl.agents.comparison.protocol import cells_of, compare
from lambda_rl.agents.comparison.report import REPORT_NAME, write_report
from lambda_rl.agents.comparison.results import CONSTANT, LEARNED
from lambda_rl.agents.comparison.store import RunStore
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.agents.comparison.terminal import say, show
from lambda_rl.agents.options import MOST, ComputeOptions, DataOptions, SuiteName, TrackingOptions
from lambda_rl.agents.presenting.progress import Bar, many_runs
from lambda_rl.agents.record.provenance import told_options, without_places
from lambda_rl.agents.record.run_folder import RunFolder
from lambda_rl.checks import bounded_int
from lambda_rl.envs.data import ImageData
from lambda_rl.envs.hardware.device import resolve_device
from lambda_rl.envs.tasks.suites import Suite, load_suite, suite_names


@dataclass(frozen=True)
class CompareConfig(TrackingOptions, ComputeOptions, DataOptions):
    """Compares learned policies with tuned hand-designed schedules and constants, on tasks held out from training.

    A comparison that was cut off goes on when the same command is given again.

    Attributes:
        out: folder for the tables, summary.json, tuned.json, runs.jsonl, the figures and report.html.
        policy: policy file; may be given several times, or not at all.
        suite: tasks, a built-in list (lambda-rl suites shows which there are) or a YAML file.
        seeds: seeds per task.
        constants: the grid of constants.
        schedule: a further schedule to compare, such as constant:0.0005 or replay:FILE.csv; may be given several times.
        families: hand-designed schedules and searches that take part; give none of them to leave them out.
        lam_meaning: what to do where the tasks' decay is not the policy's: convert, or coupled or decoupled, the
            policy's own, to use λ unconverted; empty: refuse.
        tune: suite that hand-designed schedules are tuned on; auto: the validation suite that belongs to the suite,
            or for a suite file the one of the same kind of network; none: no tuning.
        tune_seeds: seeds per task for tuning.
        tune_settings: settings per hand-designed family at most, for a quick look; 0: all (18 to 24).
        tuned: a tuned.json of an earlier comparison, in place of tuning anew.
        overwrite: replace the files of another comparison in --out; runs that both have in common are not done again.
        redraw: draw figures and report anew from the files in --out, without a run.
    """

    out: str
    policy: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    suite: SuiteName = "quick-held-out"
    seeds: int = 5
    constants: tuple[float, ...] = CONSTANT_GRID
    schedule: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    families: tuple[str, ...] = field(default_factory=hand_designed_families)
    lam_meaning: Literal["", "convert", "coupled", "decoupled"] = ""
    tune: str = "auto"
    tune_seeds: int = 2
    tune_settings: int = 0
    tuned: str = ""
    overwrite: bool = False
    redraw: bool = False

    def check(self) -> None:
        """See :meth:`ComputeOptions.check`."""
        super().check()
        for name, least in (("seeds", 1), ("tune_seeds", 1), ("tune_settings", 0)):
            bounded_int(f"--{name.replace('_', '-')}", getattr(self, name), least, MOST)


def default_tuning_suite(suite: Suite, data: str = "") -> str:
    """The validation suite that hand-designed schedules are tuned on if the user names none.

    The one that belongs to a built-in suite; for a suite of the user's own, that of the same kinds of network, and if
    there is none, the one of the most kinds.
    """
    lists = [name for name in suite_names() if name.endswith("-validation")]
    match = re.fullmatch(r"(.+?)-(held-out.*|validation)", suite.name)
    if match and f"{match[1]}-validation" in lists:
        return f"{match[1]}-validation"

    def networks(of: Suite) -> set[str]:
        return {task.network for task in of.tasks}

    # The quick suites are made for generated images, and for nothing else.
    lists.sort(key=lambda name: name.startswith("quick") != data.startswith("synthetic"))
    alike = [name for name in lists if networks(load_suite(name)) == networks(suite)]
    return alike[0] if alike else max(lists, key=lambda name: len(networks(load_suite(name))))


@dataclass(frozen=True)
class _Request:
    """What a configuration names, read and checked; the policies are in the line-up, each read once.

    Attributes:
        config: all options.
        suite: the tasks.
        learned: the policies.
        tuning: suite to tune on; None: nothing is tuned now.
        earlier: what was tuned before.
    """

    config: CompareConfig
    suite: Suite
    learned: list[Learned]
    tuning: Suite | None
    earlier: Tuned | None

    @classmethod
    def read(cls, config: CompareConfig) -> _Request:
        """Reads suites, policies and tuned settings, and checks all that needs no images."""
        suite = load_suite(config.suite)
        suite.listed("a comparison")
        earlier = Tuned.load(config.tuned) if config.tuned else None
        tuning = None
        if earlier is None and config.tune != "none":
            auto = config.tune == "auto"
            tuning = load_suite(default_tuning_suite(suite, config.data) if auto else config.tune)
            check_tuning_suite(tuning)
        learned = read_policies(config.policy, config.lam_meaning)
        check_meanings(learned, suite)
        request = cls(config, suite, learned, tuning, earlier)
        request.line_up(earlier)
        return request

    def line_up(self, tuned: Tuned | None) -> LineUp:
        """Everybody who takes part."""
        config = self.config
        return line_up(
            self.learned, constants=config.constants, tuned=tuned, families=config.families, extra=config.schedule
        )  # fmt: skip

    @property
    def datasets(self) -> list[str]:
        """Data sets that tasks name, of the comparison and of the tuning."""
        suites = [self.suite] if self.tuning is None else [self.suite, self.tuning]
        return sorted({name for suite in suites for name in suite.datasets})

    @property
    def settings(self) -> dict[str, list[str]]:
        """What is tuned over."""
        return tuning_settings(self.config.constants, self.config.tune_settings, self.config.families)

    def question(self, train: Mapping[str, ImageData]) -> dict[str, object]:
        """All that tells this comparison from others."""
        config, suite, tuning = self.config, self.suite, self.tuning
        tasks = [dataclasses.asdict(cell.task) for cell in cells_of(suite, config.seeds)]
        asked: dict[str, object] = {
            "suite": [suite.name, suite.fold, tasks],
            "policies": [(item.name, item.contestant.spec, item.policy.fingerprint) for item in self.learned],
            "families": config.families,
            "constants": config.constants,
            "schedules": [(spec, file_fingerprint(spec)) for spec in config.schedule],
            "tuned": None if self.earlier is None else dataclasses.asdict(self.earlier),
            "data": {name: part.fingerprint for name, part in train.items()},
            "trainer": [resolve_device(config.device).type, config.precision, config.compile],
        }
        if tuning is not None:
            tasks = [dataclasses.asdict(task) for task in tuning.tasks]
            asked["tuning"] = [tuning.name, tasks, config.tune_seeds, self.settings]
        return asked


def run_comparison(config: CompareConfig, console: Console | None = None) -> Comparison:
    """Tunes, compares, writes everything to ``config.out``, prints the table and where the report is.

    Args:
        config: all options.
        console: where to print.

    Raises:
        ValueError: an option, policy, suite or data that cannot be used, or a folder with another comparison's
            files; told before any inner run.
        FileNotFoundError: a file that is not there.
        OSError: ``config.out`` cannot be written to; told before any inner run.
    """
    console = console or Console()
    config.check()
    folder = ComparisonFolder(config.out)
    if config.redraw:
        comparison = Comparison.load(folder.path)
        _show(comparison, folder, console)
        return comparison
    request = _Request.read(config)
    folder.probe()
    train = config.load_parts("train", request.datasets)
    store = folder.store(request.question(train), overwrite=config.overwrite, given=config.tuned)
    try:
        with many_runs():
            comparison = _play(request, train, folder, store, console)
    except KeyboardInterrupt:
        say(
            console,
            f"{len(store)} inner runs are kept in {store.path}; the same command goes on",
            soft_wrap=True,
        )
        raise
    folder.drop_report()
    comparison.write(folder.path)
    _show(
        Comparison.load(folder.path), folder, console
    )  # of the files alone, so that a redraw gives the same
    if config.wandb != "disabled":
        _track(config, comparison, folder.path, console)
    return comparison


def _play(
    request: _Request,
    train: Mapping[str, ImageData],
    folder: ComparisonFolder,
    store: RunStore,
    console: Console,
) -> Comparison:
    """Tunes and compares; the test images are loaded when tuning is over."""
    config = request.config
    tuned = _tune(request, train, store, console)
    if tuned is not None:
        tuned.save(folder.tuned)
    lineup = request.line_up(tuned)
    test = config.load_parts("test", request.datasets)
    with Bar(f"comparing on {request.suite.name}", console) as progress:
        return compare(
            lineup, request.suite, config.seeds, train, test, config=config.trainer, kept=store, progress=progress
        )  # fmt: skip


def _tune(
    request: _Request, train: Mapping[str, ImageData], store: RunStore, console: Console
) -> Tuned | None:
    config, suite = request.config, request.tuning
    if suite is None:
        return request.earlier
    judge = Judge(train, suite.fold, config=config.trainer, kept=store, traces=False)
    with Bar(f"tuning on {suite.name}", console) as progress:
        return tune(
            suite, judge, seeds=config.tune_seeds, settings=request.settings, searches=config.families,
            progress=progress,
        )  # fmt: skip


def _show(comparison: Comparison, folder: ComparisonFolder, console: Console) -> None:
    draw_all(comparison, folder.path)
    show(comparison, write_report(folder.path, comparison), console)


def _track(config: CompareConfig, comparison: Comparison, out: Path, console: Console) -> None:
    """Shows the comparison in Weights & Biases: the table, λ over the runs, the figures and the report."""
    from lambda_rl.agents.record.start_tracking import About, start_run

    summary = comparison.summary
    # A policy in the folder of its training: both are in the group of that name.
    trained = [
        path.parent.name for path in map(Path, config.policy) if RunFolder(path.parent).config.is_file()
    ]
    name = re.sub(r"[^\w.-]+", "-", f"compare-{'-'.join([*trained[:1], summary.suite])}")
    about = About(
        group=config.wandb_group or (trained[0] if trained else name),
        job_type="compare",
        tags=(*config.wandb_tags, summary.suite, without_places(config.data)),
        notes=config.wandb_notes,
    )
    options = told_options(dataclasses.asdict(config))
    columns = ("test_accuracy_mean", "difference_mean", "regret_mean", "iqm", "inner_runs", "diverged")
    with start_run(
        config.wandb,
        name=name,
        config=options,
        dir=out,
        about=about,
        say=functools.partial(say, console, soft_wrap=True),
    ) as tracker:
        rows = [
            [schedule, item.kind, *(getattr(item, key) for key in columns), *item.ci95]
            for schedule, item in summary.schedules.items()
        ]
        heads = ["schedule", "kind", *columns, "ci95_low", "ci95_high"]
        tracker.log_table("compare/schedules", heads, rows, bars=("schedule", "difference_mean"))
        shown = [key for key, item in summary.schedules.items() if item.kind != CONSTANT]
        runs = comparison.trajectories
        first = runs[
            runs["schedule"].isin(shown) & (runs["seed"] == runs.groupby("task")["seed"].transform("min"))
        ]
        rows_of_lam = first.assign(log_lam=np.log10(first["lam"])).to_dict("records")
        tracker.log_lambda_trajectories(rows_of_lam, name="compare")
        for figure in sorted(out.glob("*.png")):
            tracker.log_image(f"compare/{figure.stem}", figure)
        tracker.log_html("compare/report", out / REPORT_NAME)
        tracker.summarise(
            {
                f"{schedule}/{key}": getattr(item, key)
                for schedule, item in summary.schedules.items()
                if item.kind == LEARNED
                for key in columns
            }
        )
