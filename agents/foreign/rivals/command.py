"""What ``lambda-rl foreign-rivals`` does: tune on training tasks, run what is missing, sum up, draw, fill the page."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from lambda_rl import load_policy
from lambda_rl.agents.clusters import Spread
from lambda_rl.agents.foreign.contestants import Contestant, Search, short_name
from lambda_rl.agents.foreign.rivals.choices import Choices
from lambda_rl.agents.foreign.rivals.contestants import ablations, rivals
from lambda_rl.agents.foreign.rivals.page import differences_figure, overview, page_blocks
from lambda_rl.agents.foreign.rivals.per_task import searches
from lambda_rl.agents.foreign.rivals.summary import summarise_rivals
from lambda_rl.agents.foreign.rivals.tuning import Tuning, choose, drawn, tunable
from lambda_rl.agents.foreign.rows import Row, current, read_rows, write_rows
from lambda_rl.agents.foreign.runner import keep, one_thread, run
from lambda_rl.agents.foreign.suite import TASKS, selected
from lambda_rl.agents.foreign.task import ForeignTask
from lambda_rl.agents.options import DataOptions
from lambda_rl.agents.presenting.markdown import fill_page
from lambda_rl.agents.presenting.progress import Bar
from lambda_rl.agents.presenting.style import png
from lambda_rl.agents.record.provenance import provenance
from lambda_rl.checks import bounded_int, did_you_mean
from lambda_rl.files import atomic_write

ROWS, CHOICES = "rows.csv", "rivals.json"


@dataclass(frozen=True, kw_only=True)
class RivalsConfig(DataOptions):
    """Runs rivals of the policy, tuned on its training distribution, on foreign loops.

    A command that was cut off goes on when it is given again, and no run is ever done twice.

    Attributes:
        out: folder for rivals.json (what tuning chose; it is kept), rows.csv, summary.json and the figure.
        beside: rows of constants and of the policy on the same loops (scripts/generality.py).
        policy: name of a shipped policy or a policy file, as in these rows.
        agents: rows of policies that differ in the seed of their training alone (NAME-seedN) on the same loops
            (scripts/generality.py); empty: none.
        tasks: names of tasks or families; none: all.
        seeds: of each task; all tasks are run with the first, then with the next.
        rivals: names; none: all that were tuned, and searches a task at a time. One that is named and was not tuned yet
            is tuned now, beside those of rivals.json.
        ablate: also run what is left of the policy without a part of it.
        tune_tasks: drawn from the training distribution, to tune schedules on.
        law_tasks: likewise, to tune laws on.
        kept: file for runs of tuning as they are done.
        workers: processes of one thread each; 1: this one.
        measure: run what is missing; without it, rows are only summed up.
        page: Markdown page whose blocks are filled, such as docs/rivals-in-foreign-loops.md; empty: none.
    """

    out: Path = Path("docs/results/foreign-rivals")
    beside: Path = Path("docs/results/foreign/rows.csv")
    policy: str = "any-loop"
    agents: str = ""
    tasks: tuple[str, ...] = ()
    seeds: int = 1
    rivals: tuple[str, ...] = ()
    ablate: bool = False
    tune_tasks: int = 32
    law_tasks: int = 64
    kept: Path = Path("runs/foreign-rivals.jsonl")
    workers: int = 1
    measure: bool = True
    page: str = ""


def run_rivals(config: RivalsConfig) -> None:
    """Tunes, runs and writes.

    Raises:
        ValueError: an option is out of range, or a folder or file holds something else.
        OSError: a file is not there.
    """
    for name in ("seeds", "tune_tasks", "law_tasks", "workers"):
        bounded_int(f"--{name.replace('_', '-')}", getattr(config, name), 1, 10_000)
    if config.page and not Path(config.page).is_file():
        raise ValueError(f"{config.page}: no such page to fill")
    if not config.beside.is_file():
        raise ValueError(
            f"{config.beside}: no rows of constants and policies; scripts/generality.py makes them"
        )
    if config.agents and not Path(config.agents).is_file():
        raise ValueError(f"{config.agents}: no rows of agents; scripts/generality.py makes them")
    allowed = (*tunable(), *searches())
    for name in config.rivals:
        if name not in allowed:
            raise ValueError(
                f"--rivals: no {name}; allowed: {', '.join(allowed)}{did_you_mean(name, allowed)}"
            )
    tasks, console = selected(config.tasks), Console()
    with one_thread():
        choices = _choices(config, console)
        beside, path = read_rows(config.beside), config.out / ROWS
        if config.measure:
            _measured(config, tasks, _line_up(config, choices, beside))
    policy = short_name(config.policy)
    agents = read_rows(Path(config.agents)) if config.agents else []
    summary = summarise_rivals(
        read_rows(path), beside, tasks, config.seeds, policy, choices, provenance("cpu"), agents
    )
    summary.save(config.out / "summary.json")
    atomic_write(config.out / "differences.png", png(differences_figure(summary)))
    if config.page:
        fill_page(Path(config.page), page_blocks(summary))
    console.print(overview(summary))


def _choices(config: RivalsConfig, console: Console) -> Choices:
    """What tuning chose; it tunes where that is not known."""
    path = config.out / CHOICES
    if path.is_file():
        found = Choices.load(path)
        if config.measure and (found.tasks, found.law_tasks) != (config.tune_tasks, config.law_tasks):
            raise ValueError(
                f"{path} was tuned on {found.tasks} tasks, laws on {found.law_tasks}; give --tune-tasks {found.tasks} "
                f"--law-tasks {found.law_tasks}, or another --out"
            )
        have = {one.name for one in found.rivals}
        lacking = [name for name in tunable() if name in config.rivals and name not in have]
        if not (config.measure and lacking):
            return found
        found = found.joined(_tuned(config, console, lacking))
    elif config.measure:
        found = _tuned(config, console)
    else:
        raise ValueError(f"{path}: nothing was tuned yet; run without --no-measure")
    found.save(path)
    return found


def _tuned(config: RivalsConfig, console: Console, names: Sequence[str] = ()) -> Choices:
    """What tuning some rivals chooses; none named: all."""
    images = config.load_parts("train", drawn(1).datasets)
    tuning = Tuning(config.tune_tasks, config.law_tasks, config.kept, config.workers)
    with Bar("tuning rivals", console, lines="tenths") as bar:
        return choose(tuning, images, provenance("cpu"), bar, names)


def _line_up(config: RivalsConfig, choices: Choices, beside: Sequence[Row]) -> dict[str, Contestant | Search]:
    """Who runs, by name."""
    made: dict[str, Contestant | Search] = {**rivals(choices.rivals), **searches()}
    found = {name: one for name, one in made.items() if not config.rivals or name in config.rivals}
    if config.ablate:
        found |= ablations(short_name(config.policy), load_policy(config.policy), beside, TASKS)
    return found


def _measured(
    config: RivalsConfig, tasks: Sequence[ForeignTask], others: Mapping[str, Contestant | Search]
) -> None:
    """Runs what is missing; rows of other settings go."""
    path = config.out / ROWS
    rows = read_rows(path)
    known = current(rows, {name: one.fingerprint for name, one in others.items()})
    if len(known) < len(rows):
        write_rows(path, known)
    for seed in range(config.seeds):
        known += run(
            tasks, [seed], others, constants=False, images="" if config.data == "synthetic" else config.data,
            known=known, spread=Spread(config.workers), done=functools.partial(keep, path),
        )  # fmt: skip
    write_rows(path, read_rows(path))
