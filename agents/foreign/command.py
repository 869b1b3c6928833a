"""What ``scripts/generality.py`` does: run what is missing, keep it, say how far it is."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from lambda_rl import Policy, load_policy
from lambda_rl.agents.foreign.figure import label_noise
from lambda_rl.agents.foreign.page import overview, page_blocks, readme_blocks
from lambda_rl.agents.foreign.rows import Row, add_rows, read_rows, write_rows
from lambda_rl.agents.foreign.runner import run
from lambda_rl.agents.foreign.suite import selected
from lambda_rl.agents.foreign.summary import summarise
from lambda_rl.agents.presenting.markdown import fill_page
from lambda_rl.agents.presenting.style import png
from lambda_rl.agents.record.provenance import provenance
from lambda_rl.checks import bounded_int
from lambda_rl.files import atomic_write

ROWS = "rows.csv"


@dataclass(frozen=True)
class GeneralityConfig:
    """Judges schedules on foreign loops: plain torch, on data, networks and optimizers that training never saw.

    A command that was cut off goes on when it is given again, and no run is ever done twice.

    Attributes:
        out: folder for rows.csv, summary.json and label_noise.png.
        tasks: names of tasks or families; none: all.
        seeds: seeds of each task.
        policy: name of a shipped policy or a policy file; may be given several times.
        constants: whether constants, the framework's default and the gap rule are run where they are missing.
        again: drop the rows of the policies named here, and run them once more (after a change of how they are
            deployed, which a policy's fingerprint does not tell).
        processes: that run beside one another, with one thread each.
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
    path = config.out / ROWS
    policies = {_short(name): load_policy(name) for name in config.policy}
    if len(policies) < len(config.policy):
        raise ValueError(f"two policies have the same name in tables: {', '.join(sorted(policies))}")
    before = read_rows(path)
    known = [row for row in before if not _superseded(row, policies, config.again)]
    if config.measure:
        if len(known) < len(before):
            write_rows(path, known)
        with _one_thread():
            run(
                tasks, range(config.seeds), policies, constants=config.constants, images=config.data, known=known,
                processes=config.processes, done=functools.partial(_keep, path),
            )  # fmt: skip
        known = read_rows(path)  # with those that another command added meanwhile
        write_rows(path, known)
    summary = summarise(known, tasks, config.seeds, provenance("cpu"))
    atomic_write(config.out / "summary.json", summary.to_json())
    figure = label_noise([row for row in known if row.seed < config.seeds], summary)
    if figure is not None:
        atomic_write(config.out / "label_noise.png", png(figure))
    if config.page:
        fill_page(Path(config.page), page_blocks(summary))
    if config.page and config.readme:
        fill_page(Path(config.readme), readme_blocks(summary), instead=None)
    print(overview(summary))


def _superseded(row: Row, policies: Mapping[str, Policy], again: bool) -> bool:
    """Whether a row is of a policy that has another content now, or is to be run once more."""
    policy = policies.get(row.contestant)
    return policy is not None and (again or policy.fingerprint != row.fingerprint)


def _keep(path: Path, rows: list[Row], finished: int, total: int) -> None:
    add_rows(path, rows)
    print(f"{finished}/{total} {rows[0].task} seed {rows[0].seed}", flush=True)


def _short(spec: str) -> str:
    """A policy's name in tables: of a file, its name, or its folder's where the file is called policy."""
    path = Path(spec)
    return path.parent.name if path.stem == "policy" and path.parent.name else path.stem


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
