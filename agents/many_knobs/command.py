"""What ``python -m lambda_rl.agents.many_knobs`` does: choose constants, judge them and policies, fill pages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd
import tyro

from lambda_rl.agents.baselines import Cell, Judge
from lambda_rl.agents.many_knobs import attacked
from lambda_rl.agents.many_knobs.attacked import table_of_both
from lambda_rl.agents.many_knobs.measure import Row, cells_of, chosen, judged
from lambda_rl.agents.many_knobs.studies import BEST, STUDIES
from lambda_rl.agents.many_knobs.tables import table
from lambda_rl.agents.options import DataOptions
from lambda_rl.agents.presenting.markdown import block_names, fill_page
from lambda_rl.agents.record.provenance import provenance
from lambda_rl.checks import bounded_int
from lambda_rl.envs.tasks.suites import load_suite
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.files import atomic_write

if TYPE_CHECKING:
    StudyName = str
else:
    StudyName = tyro.extras.literal_type_from_choices(STUDIES)

ROWS, TRIALS = "rows.csv", "trials.csv"


@dataclass(frozen=True)
class ManyKnobsConfig(DataOptions):
    """Chooses constants of one and of several knobs, judges them and policies on held-out tasks, and fills pages.

    Attributes:
        study: which knobs and tasks.
        out: its folder, if it is another than docs/results has; see :class:`Study` for what is in it.
        trials: settings that each family of constants is chosen from.
        seeds: of each held-out task.
        threads: chunks of inner runs at once.
        pages: Markdown pages; blocks of the study that they have are filled.
        measure: "all"; "missing" keeps the rows that are in the folder and adds those of other constants and policies,
            but for the study alpha; "none": the rows there are summed up anew.
    """

    study: StudyName = "two-knobs"
    out: Path | None = None
    trials: int = 28
    seeds: int = 3
    threads: int = 1
    pages: tuple[Path, ...] = ()
    measure: Literal["all", "missing", "none"] = "all"

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.out or STUDIES[self.study].folder


def compare_knobs(config: ManyKnobsConfig) -> None:
    """Runs and writes.

    Raises:
        ValueError: an option is out of range, a suite or policy cannot be used, or there is no such page.
    """
    bounded_int("--trials", config.trials, 4, 1000)
    bounded_int("--seeds", config.seeds, 1, 1000)
    blocks = STUDIES[config.study].blocks
    wanted = {page: _blocks_of(page, blocks) for page in config.pages}
    if config.measure != "none":
        _measure(config)
    rows = pd.read_csv(config.folder / ROWS)
    tabulate = table_of_both if STUDIES[config.study].attacked else table
    texts = {block: tabulate(rows, names) for block, names in blocks.items()}
    for page, names in wanted.items():
        fill_page(page, {name: texts[name] for name in names}, instead=None)  # other studies' blocks stay
    print("\n".join(texts.values()))


def _blocks_of(page: Path, blocks: Iterable[str]) -> list[str]:
    """Those that a page has.

    Raises:
        ValueError: there is no such page, or it has none of them.
    """
    if not page.is_file():
        raise ValueError(f"{page}: no such page to fill")
    have = set(block_names(page.read_text(encoding="utf-8")))
    found = [name for name in blocks if name in have]
    if not found:
        raise ValueError(f"{page}: none of the blocks {', '.join(blocks)} is there to fill")
    return found


def _measure(config: ManyKnobsConfig) -> None:
    """Chooses, judges, and writes the tables."""
    study = STUDIES[config.study]
    data = config.load_parts("train")
    trainer = TrainerConfig(threads=config.threads)
    suites = [load_suite(config.folder / f"{name}.yaml") for name in ("validation", "held-out")]
    validation, held_out = (list(zip(suite.task_names, suite.tasks, strict=True)) for suite in suites)
    cells = cells_of(held_out, config.seeds)
    anew = config.measure == "all" or study.attacked
    kept, tried = ([], []) if anew else _kept(config.folder, cells, config.seeds)
    there = {str(row[key]) for row in kept for key in ("contestant", "setting")}
    judge, own = Judge(data, "agent", config=trainer), cells_of(validation, 1)
    if study.attacked:
        best, trials = attacked.chosen(own, judge)
    else:
        best, trials = chosen(study, own, judge, config.trials, there)
    policies = {
        path.stem: str(path)
        for path in sorted((config.folder / "policies").glob("*-seed*.safetensors"))
        if path.stem not in there
    }
    judge = Judge(data, "held-out", test=config.load_parts("test"), config=trainer)
    if study.attacked:
        rows = attacked.judged(cells, judge, best[BEST], policies)
    else:
        rows = judged(cells, judge, best, policies)
    _write(config.folder / TRIALS, tried + trials)
    _write(config.folder / ROWS, kept + rows)
    atomic_write(config.folder / "provenance.json", json.dumps(provenance("cpu"), indent=1) + "\n")


def _kept(folder: Path, cells: Sequence[Cell], seeds: int) -> tuple[list[Row], list[Row]]:
    """Rows of what was judged before, and of the settings that were tried.

    Raises:
        ValueError: they are of other tasks or seeds.
    """
    rows, trials = (pd.read_csv(folder / name) for name in (ROWS, TRIALS))
    have = set(zip(rows["task"], rows["seed"], strict=True))
    if have != {(cell.name, cell.task.seed) for cell in cells}:
        raise ValueError(
            f"{folder / ROWS} has other tasks or seeds than --seeds {seeds} asks for; give the same, or --measure all"
        )
    return rows.to_dict("records"), trials.to_dict("records")


def _write(path: Path, rows: list[Row]) -> None:
    atomic_write(path, pd.DataFrame(rows).to_csv(index=False, float_format="%.6g"))
