"""The comparison: learned policies, tuned hand-designed schedules, constants and searches on the same tasks and seeds.

All randomness of an inner run comes from its task and seed (common random numbers), so schedules of one task and
seed share initial weights, subset, label noise and minibatches, and their difference is theirs alone. The test part
is read after a run's schedule has finished, and nothing is chosen with it but what is named hindsight.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from statistics import mean

import numpy as np
import pandas as pd
from pydantic import JsonValue

from lambda_rl.agents.baselines import Announcing, Cell, Contestant, Judge, Kept, Played, Tuned
from lambda_rl.agents.comparison.asked.enforced import check_protocol, notes
from lambda_rl.agents.comparison.contestants import LineUp
from lambda_rl.agents.comparison.results import (
    DERIVED,
    FORMAT_VERSION,
    DataSummary,
    Findings,
    Summary,
    TuningSummary,
)
from lambda_rl.agents.comparison.summary import summarise
from lambda_rl.agents.comparison.tables import Comparison, Results
from lambda_rl.agents.record.provenance import provenance
from lambda_rl.envs.data import Images
from lambda_rl.envs.tasks.suites import Suite
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig

Progress = Callable[[int, int], None]
Row = dict[str, object]


def compare(
    lineup: LineUp,
    suite: Suite,
    seeds: int,
    train: Images,
    test: Images,
    *,
    config: TrainerConfig | None = None,
    kept: Kept | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Lets everybody play on every task and seed.

    Args:
        lineup: who takes part.
        suite: a list of tasks. Its tasks' seeds are the first ones; ``seeds - 1`` more follow each.
        seeds: per task.
        train: training images.
        test: test images.
        config: device, precision and threads of the inner runs.
        kept: where results are kept as they come, and what is there is not done again.
        progress: called with (runs done, runs in all).

    Returns:
        Rows, trajectories and summary.

    Raises:
        ValueError: the suite is a distribution, fewer than 1 seed, tuning seeds that are test seeds, or tasks that
            want more images than there are.
    """
    judge = Judge(train, suite.fold, test=test, config=config, kept=kept)
    return compared(lineup, suite, cells_of(suite, seeds), judge, progress)


def compared(
    lineup: LineUp, suite: Suite, cells: Sequence[Cell], judge: Judge, progress: Progress | None = None
) -> Comparison:
    """Lets everybody play on these cells.

    Args:
        lineup: who takes part.
        suite: whose tasks the cells are of.
        cells: tasks and seeds, see :func:`cells_of`.
        judge: of the suite's fold, with test images.
        progress: called with (runs done, runs in all).

    Raises:
        ValueError: see :func:`compare`.
    """
    check_protocol(lineup, suite, cells)
    found = play(lineup.contestants, cells, judge, progress)
    table, trajectories = collect(lineup.contestants, found)
    costs = {name: round(mean(item.inner_runs for item in items)) for name, items in found.items()}
    results, findings = summarise(Results(table), lineup.plan(costs))
    done = [item for c in lineup.contestants if c.kind != DERIVED for item in found[c.name]]
    return Comparison(results, trajectories, _summary(lineup, suite, cells, judge, findings, done))


def cells_of(suite: Suite, seeds: int, first: int = 0) -> list[Cell]:
    """Every task of a suite with each of its seeds.

    Args:
        suite: a list of tasks.
        seeds: per task.
        first: added to the tasks' own seeds.

    Raises:
        ValueError: the suite is a distribution, or there are fewer than 1 seed.
    """
    tasks = suite.listed("a comparison")
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")
    return [
        Cell(name, task.with_seed(task.seed + offset))
        for name, task in zip(suite.task_names, tasks, strict=True)
        for offset in range(first, first + seeds)
    ]


def play(
    contestants: Sequence[Contestant],
    cells: Sequence[Cell],
    judge: Judge,
    progress: Progress | None = None,
) -> dict[str, list[Played]]:
    """Lets contestants play.

    Args:
        contestants: each with a name of its own.
        cells: tasks and seeds.
        judge: does the inner runs.
        progress: called with (results done, results in all).

    Returns:
        By name, one result for each cell, in the order of the cells.
    """
    announcing = [contestant for contestant in contestants if isinstance(contestant, Announcing)]
    total = later = (len(contestants) - len(announcing)) * len(cells)

    def announced(done: int, count: int) -> None:
        nonlocal total
        total = count + later
        if progress is not None:
            progress(done, total)

    # One call for all, so that the trainer can fuse as many runs as it likes.
    judge([job for contestant in announcing for job in contestant.jobs(cells)], announced)
    found: dict[str, list[Played]] = {}
    for contestant in contestants:
        if isinstance(contestant, Announcing):
            found[contestant.name] = list(contestant.play(cells, judge))
            continue
        found[contestant.name] = []
        for played in judge.games(contestant, cells):
            found[contestant.name].append(played)
            later -= 1
            if progress is not None:
                progress(total - later, total)
    return found


def collect(
    contestants: Sequence[Contestant], found: Mapping[str, Sequence[Played]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of all results and of all decisions; what was chosen among others' runs has no decisions of its own."""
    rows = [_row(contestant, item) for contestant in contestants for item in found[contestant.name]]
    decisions = [
        decision
        for contestant in contestants
        if contestant.kind != DERIVED
        for item in found[contestant.name]
        for decision in _decisions(contestant, item)
    ]
    table = pd.DataFrame(rows)
    # Of fields that no task makes use of, nothing is told.
    unused = [item.name for item in dataclasses.fields(Task) if _is_empty(table, item.name)]
    return table.drop(columns=unused), pd.DataFrame(decisions)


def _is_empty(table: pd.DataFrame, column: str) -> bool:
    return column in table and bool(table[column].isin(["", "[]", "{}"]).all())


def fields_of(task: Task) -> dict[str, JsonValue]:
    """All fields of a task, as JSON has them."""
    fields: dict[str, JsonValue] = json.loads(json.dumps(dataclasses.asdict(task)))
    return fields


def _row(contestant: Contestant, played: Played) -> Row:
    result = played.result
    fields = {
        name: json.dumps(value) if isinstance(value, (list, dict)) else value
        for name, value in fields_of(result.task).items()
    }
    seed = fields.pop("seed")
    log_lam = np.array(result.history["log_lam"], np.float64)
    return {
        "task": played.task,
        "seed": seed,
        "schedule": contestant.name,
        "kind": contestant.kind,
        "spec": played.spec,
        "test_accuracy": 100.0 * result.test_accuracy,
        "test_loss": result.test_loss,
        "val_accuracy": 100.0 * result.val_accuracy,
        "val_loss": result.val_loss,
        "outer_accuracy": 100.0 * result.outer_accuracy,
        "outer_loss": result.outer_loss,
        "diverged": bool(result.diverged),
        "final_log_lam": float(log_lam[-1]) if log_lam.size else np.nan,
        "mean_log_lam": float(log_lam.mean()) if log_lam.size else np.nan,
        **fields,
    }


def _decisions(contestant: Contestant, played: Played) -> list[Row]:
    history = played.result.history
    return [
        {
            "task": played.task,
            "seed": played.seed,
            "schedule": contestant.name,
            "decision": k,
            "progress": history["progress"][k],
            "lam": 10.0 ** history["log_lam"][k],
            "train_loss": history["train_loss"][k],
            "val_loss": history["val_loss"][k],
            "train_accuracy": 100.0 * history["train_accuracy"][k],
            "val_accuracy": 100.0 * history["val_accuracy"][k],
        }
        for k in range(len(history["log_lam"]))
    ]


def _summary(
    lineup: LineUp,
    suite: Suite,
    cells: Sequence[Cell],
    judge: Judge,
    findings: Findings,
    done: Sequence[Played],
) -> Summary:
    train, test, tuned = judge.train, judge.test, lineup.tuned
    assert test is not None
    seeds = {cell.task.seed for cell in cells}
    return Summary(
        format_version=FORMAT_VERSION,
        suite=suite.name,
        fold=suite.fold,
        seeds=tuple(sorted(seeds)),
        seeds_per_task=len(cells) // len(suite.tasks),
        **vars(findings),
        task_fields={name: fields_of(task) for name, task in zip(suite.task_names, suite.tasks, strict=True)},
        policies={item.name: item.summary for item in lineup.learned},
        tuning=None if tuned is None else _tuning(tuned),
        data=DataSummary(train.name, train.fingerprint, test.fingerprint),
        test_images=len(test.labels),
        num_classes=train.num_classes,
        inner_runs_done=sum(item.inner_runs for item in done),
        seconds=sum(item.seconds for item in done),
        trainer=dataclasses.asdict(judge.config),
        notes=tuple(notes(lineup, suite, train)),
        **provenance(judge.config.device),
    )


def _tuning(tuned: Tuned) -> TuningSummary:
    return TuningSummary(
        suite=tuned.suite,
        data=tuned.data,
        seeds=tuple(tuned.seeds),
        inner_runs=sum(tuned.inner_runs.values()),
        settings={name: len(settings) for name, settings in tuned.families.items()},
        seconds=tuned.seconds,
    )
