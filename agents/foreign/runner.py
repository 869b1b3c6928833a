"""Runs contestants on foreign tasks: several processes of one thread each, nothing twice."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from lambda_rl import Policy
from lambda_rl.agents.clusters import HERE, Spread
from lambda_rl.agents.foreign.contestants import Contestant, Search, line_up
from lambda_rl.agents.foreign.loop import figures, train
from lambda_rl.agents.foreign.rows import Key, Row, add_rows, run_key
from lambda_rl.agents.foreign.suite import by_name
from lambda_rl.agents.foreign.task import Data, ForeignTask

Others = Mapping[str, Policy | str | Path | Contestant | Search]


@dataclass(frozen=True)
class Work:
    """What one process does at a time: some contestants on one task with one seed, whose data is made once.

    Attributes:
        task: name of the task, by which other processes know it.
        seed: of everything.
        contestants: who runs.
        images: name of the data set for tasks that need one.
    """

    task: str
    seed: int
    contestants: tuple[Contestant | Search, ...]
    images: str = ""


def run(
    tasks: Iterable[ForeignTask],
    seeds: Sequence[int],
    others: Others | None = None,
    *,
    constants: bool = True,
    images: str = "",
    known: Iterable[Row] = (),
    spread: Spread = HERE,
    done: Callable[[list[Row], int, int], None] = lambda rows, finished, total: None,
) -> list[Row]:
    """Runs what is not known yet.

    Args:
        tasks: of the suite.
        seeds: of each.
        others: further contestants by name: a policy, the name of a shipped one, a file, or what is none of these.
        constants: whether constants, the framework's default and the gap rule take part.
        images: data set for tasks that need one, as ``--data`` takes it; empty: they are left out.
        known: rows of before; what they hold is not run again.
        spread: who runs it; this process does it with torch's threads as they are.
        done: called with new rows, and how many pieces of work are finished of how many.

    Returns:
        The new rows.

    Raises:
        lambda_rl.PolicyFileError: a policy cannot be used.
    """
    have = {row.key for row in known}
    work = list(_missing(tasks, seeds, others or {}, constants, images, have))
    found: list[Row] = []
    for finished, rows in enumerate(spread(play, work), 1):
        found += rows
        done(rows, finished, len(work))
    return found


@contextmanager
def one_thread() -> Iterator[None]:
    """Within, torch computes with one thread: networks are too small for more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep(path: Path, rows: list[Row], finished: int, total: int) -> None:
    """Adds new rows to a file, and says how far it is; see ``done`` of :func:`run`."""
    add_rows(path, rows)
    print(f"{finished}/{total} {rows[0].task} seed {rows[0].seed}", flush=True)


def play(work: Work) -> list[Row]:
    """Does one piece of work."""
    task = by_name(work.task)
    data = task.examples(work.seed, work.images)
    return [play_one(task, data, work.seed, contestant) for contestant in work.contestants]


def play_one(task: ForeignTask, data: Data, seed: int, contestant: Contestant | Search) -> Row:
    """One result of one contestant: a run, or what it chose of several."""
    started, lr_sum = time.perf_counter(), figures(task, data).lr_sum
    if isinstance(contestant, Search):
        outcome = contestant.result(task, data, seed)
    else:
        outcome = train(task, data, seed, contestant.schedule, feedback=contestant.feedback)
    return Row(
        task=task.name,
        digest=task.digest,
        seed=seed,
        contestant=contestant.name,
        fingerprint=contestant.fingerprint,
        test_accuracy=100 * outcome.test_accuracy,
        test_loss=outcome.test_loss,
        val_accuracy=100 * outcome.val_accuracy,
        val_loss=outcome.val_loss,
        train_accuracy=100 * outcome.train_accuracy,
        lr_sum=lr_sum,
        seconds=time.perf_counter() - started,
        warned=outcome.warned,
        kappas=tuple(lam * lr_sum for lam in outcome.lams) if contestant.feedback else (),
    )


def _missing(
    tasks: Iterable[ForeignTask],
    seeds: Sequence[int],
    others: Others,
    constants: bool,
    images: str,
    have: set[Key],
) -> Iterator[Work]:
    for task, seed in itertools.product(tasks, seeds):
        if task.needs_images and not images:
            continue
        absent = tuple(
            one
            for one in line_up(task, others, constants=constants)
            if run_key(task.name, task.digest, seed, one.name, one.fingerprint) not in have
        )
        if absent:
            yield Work(task.name, seed, absent, images)
