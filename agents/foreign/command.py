"""What ``scripts/generality.py`` does: run what is missing, keep it, say how far it is."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from lambda_rl import load_policy, shipped_policies
from lambda_rl.agents.clusters import Spread
from lambda_rl.agents.foreign.contestants import Contestant, Learned, short_name, static
from lambda_rl.agents.foreign.feedback.replay import REPLAYED, replayed
from lambda_rl.agents.foreign.figure import label_noise
from lambda_rl.agents.foreign.glance import at_a_glance
from lambda_rl.agents.foreign.page import overview, page_blocks, readme_blocks
from lambda_rl.agents.foreign.rows import Row, current, read_rows, write_rows
from lambda_rl.agents.foreign.runner import keep, one_thread, run
from lambda_rl.agents.foreign.suite import selected
from lambda_rl.agents.foreign.summary import summarise
from lambda_rl.agents.foreign.task import ForeignTask
from lambda_rl.agents.options import ClusterOptions
from lambda_rl.agents.presenting.markdown import fill_page
from lambda_rl.agents.presenting.style import png
from lambda_rl.agents.record.provenance import provenance
from lambda_rl.checks import bounded_int
from lambda_rl.files import atomic_write
from lambda_rl.suggest.kappa_law import load_kappa_law

ROWS = "rows.csv"


@dataclass(frozen=True)
class GeneralityConfig(ClusterOptions):
    """Judges schedules on foreign loops: plain torch, on data, networks and optimizers that training never saw.

    A command that was cut off goes on when it is given again, and no run is ever done twice.

    Attributes:
        out: folder for rows.csv, summary.json and the figures.
        tasks: names of tasks or families; none: all.
        seeds: seeds of each task.
        policy: name of a shipped policy or a policy file; may be given several times.
        constants: whether constants, the framework's default, the gap rule and what follows from fitted numbers (the
            suggested constant; the law of static facts, if the table has one) are run where they are missing.
        guard: without it, policies are run without their guard, as contestants of their own.
        replay: run each policy's mean trajectory, too, open loop: made from all its rows, after its own runs.
        law: table whose law of static facts takes part (scripts/fit_kappa.py); empty: the package's.
        again: drop the rows of the policies named here, and run them once more (after a change of how they are
            deployed, which a policy's fingerprint does not tell).
        processes: of one thread each, side by side; 1: this one.
        data: data set for the tasks on images, such as cifar10; empty: these are left out.
        page: Markdown page whose tables are filled from the rows, such as docs/generality.md; empty: none.
        readme: with a page, a second one whose block "generality" is filled; empty: none.
        measure: run what is missing; without it, rows are only summed up.
    """

    out: Path = Path("docs/results/foreign")
    tasks: tuple[str, ...] = ()
    seeds: int = 5
    policy: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    constants: bool = True
    guard: bool = True
    replay: bool = False
    law: str = ""
    again: bool = False
    processes: int = 1
    data: str = ""
    page: str = ""
    readme: str = "README.md"
    measure: bool = True


def run_generality(config: GeneralityConfig) -> None:
    """Runs and writes.

    Raises:
        ValueError: an option is out of range, or the folder holds something else.
    """
    bounded_int("--seeds", config.seeds, 1, 1000)
    bounded_int("--processes", config.processes, 1, 256)
    for page in filter(None, (config.page, config.readme if config.page else "")):
        if not Path(page).is_file():
            raise ValueError(f"{page}: no such page to fill")
    tasks = selected(config.tasks)
    learned = _learned(config)
    fitted = static(load_kappa_law(config.law) if config.law else None)
    path = config.out / ROWS
    again = set(learned) if config.again else set()
    known = _current(read_rows(path), {**learned, **fitted}, again)
    if config.measure:
        constants = fitted if config.constants else {}
        known = _measured(config, tasks, known, {**constants, **learned}, constants=config.constants)
    if config.measure and config.replay:
        known = _measured(config, tasks, known, _replays(known, learned), constants=False)
    summary = summarise(known, tasks, config.seeds, provenance("cpu"))
    summary.save(config.out / "summary.json")
    counted = [row for row in known if row.seed < config.seeds]
    figures = {
        "label_noise.png": label_noise(counted, summary),
        "at_a_glance.png": at_a_glance(counted, summary, shipped_policies()[0]),
    }
    for name, figure in figures.items():
        if figure is not None:
            atomic_write(config.out / name, png(figure))
    if config.page:
        fill_page(Path(config.page), page_blocks(summary))
    if config.page and config.readme:
        fill_page(Path(config.readme), readme_blocks(summary), instead=None)
    Console().print(overview(summary))


def _learned(config: GeneralityConfig) -> dict[str, Contestant]:
    """The policies that are named, by what they are called in tables."""
    found: dict[str, Contestant] = {}
    for spec in config.policy:
        one = Learned(short_name(spec), load_policy(spec), guard=config.guard)
        if one.name in found:
            raise ValueError(f"two policies have the same name in tables: {one.name}")
        found[one.name] = one
    return found


def _replays(rows: Sequence[Row], names: Iterable[str]) -> dict[str, Contestant]:
    """The mean trajectories of policies of which there are rows."""
    found = (replayed(name, rows, selected(())) for name in names)
    return {one.name: one for one in found if one is not None}


def _current(rows: Sequence[Row], given: Mapping[str, Contestant], again: AbstractSet[str]) -> list[Row]:
    """Rows without those of contestants that have another content now, or are to be run once more.

    A replay is of what its policy's rows are now.
    """
    prints = {name: one.fingerprint for name, one in given.items()}
    kept = [row for row in current(rows, prints) if row.contestant not in again]
    names = {row.contestant.removeprefix(REPLAYED) for row in kept if row.contestant.startswith(REPLAYED)}
    now = {name: one.fingerprint for name, one in _replays(kept, sorted(names)).items()}
    return [
        row
        for row in kept
        if not row.contestant.startswith(REPLAYED) or now.get(row.contestant) == row.fingerprint
    ]


def _measured(
    config: GeneralityConfig,
    tasks: Sequence[ForeignTask],
    known: Sequence[Row],
    others: Mapping[str, Contestant],
    *,
    constants: bool,
) -> list[Row]:
    """The rows when what is missing was run."""
    path = config.out / ROWS
    if len(known) < len(read_rows(path)):
        write_rows(path, known)
    with one_thread():
        run(
            tasks, range(config.seeds), others, constants=constants, images=config.data, known=known,
            spread=Spread(config.processes, config.ray), done=functools.partial(keep, path),
        )  # fmt: skip
    found = _current(read_rows(path), others, set())  # with those that another command added meanwhile
    write_rows(path, found)
    return found
