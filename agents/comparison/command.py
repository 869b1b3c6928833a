"""What ``scripts/compare.py`` does: read, check, tune, compare, write, draw, report."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping

from rich.console import Console

from lambda_rl.agents.ablation.traces import Traces, traced
from lambda_rl.agents.baselines import Judge, Tuned, tune, tuning_cells
from lambda_rl.agents.baselines.crew import Ground, ProcessCrew, RayCrew
from lambda_rl.agents.baselines.fingerprints import trainer_fingerprint
from lambda_rl.agents.comparison.asked.options import CompareConfig
from lambda_rl.agents.comparison.asked.request import Request, default_tuning_suite
from lambda_rl.agents.comparison.asked.tracking import track
from lambda_rl.agents.comparison.figures import draw_all
from lambda_rl.agents.comparison.folder import ComparisonFolder
from lambda_rl.agents.comparison.protocol import compared
from lambda_rl.agents.comparison.report import write_report
from lambda_rl.agents.comparison.store import RunStore
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.agents.comparison.terminal import say, show
from lambda_rl.agents.presenting.progress import Bar, many_runs
from lambda_rl.envs.data import ImageData, Images
from lambda_rl.envs.tasks.suites import Suite

__all__ = ["CompareConfig", "default_tuning_suite", "run_comparison"]


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
    request = Request.read(config)
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
        track(config, comparison, folder.path, console)
    return comparison


def _play(
    request: Request,
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
    lineup = request.line_up(tuned, _traces(request, train, store))
    test = config.load_parts("test", request.datasets)
    bar = Bar(f"comparing on {request.suite.name}", console)
    with _judge(request, train, request.suite, store, test=test) as judge, bar as progress:
        return compared(lineup, request.suite, request.cells, judge, progress)


@contextlib.contextmanager
def _judge(
    request: Request,
    train: Images,
    suite: Suite,
    store: RunStore,
    *,
    test: Images | None = None,
    traces: bool = True,
) -> Iterator[Judge]:
    """A judge with the crew that was asked for, if one was."""
    config = request.config
    alone = functools.partial(
        Judge, train, suite.fold, test=test, config=config.trainer, kept=store, traces=traces
    )
    if config.workers == 1 and not config.ray:
        yield alone()
        return
    ground = Ground(train, suite.fold, test, config.trainer, trainer_fingerprint(config.trainer))
    crew = RayCrew(ground, config.ray) if config.ray else ProcessCrew(ground, config.workers)
    with crew:
        yield alone(crew=crew)


def _tune(
    request: Request, train: Mapping[str, ImageData], store: RunStore, console: Console
) -> Tuned | None:
    config, suite = request.config, request.tuning
    if suite is None:
        return request.earlier
    bar = Bar(f"tuning on {suite.name}", console)
    with _judge(request, train, suite, store, traces=False) as judge, bar as progress:
        return tune(
            suite, judge, seeds=config.tune_seeds, settings=request.settings, searches=config.families,
            progress=progress,
        )  # fmt: skip


def _traces(request: Request, train: Mapping[str, ImageData], store: RunStore) -> dict[str, Traces] | None:
    """What policies do on the tuning suite, for those of their ablations that are made of it."""
    suite = request.looks
    if suite is None:
        return None
    cells = tuning_cells(suite, request.config.tune_seeds)
    with _judge(request, train, suite, store) as judge:
        return {item.name: traced(item.contestant, item.policy, cells, judge) for item in request.learned}


def _show(comparison: Comparison, folder: ComparisonFolder, console: Console) -> None:
    draw_all(comparison, folder.path)
    show(comparison, write_report(folder.path, comparison), console)
