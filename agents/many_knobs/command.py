"""What ``python -m lambda_rl.agents.many_knobs`` does: choose constants, judge them and policies, fill pages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import tyro

from lambda_rl.agents.baselines import Cell, Judge
from lambda_rl.agents.comparison.statistics import bootstrap_interval
from lambda_rl.agents.many_knobs.measure import cells_of, chosen, judged
from lambda_rl.agents.many_knobs.studies import LEARNED, STUDIES
from lambda_rl.agents.options import DataOptions
from lambda_rl.agents.presenting.markdown import block_names, fill_page, markdown_table
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
        measure: "all"; "policies" keeps the rows of constants that are in the folder; "none": the rows there are summed
            up anew.
    """

    study: StudyName = "two-knobs"
    out: Path | None = None
    trials: int = 28
    seeds: int = 3
    threads: int = 1
    pages: tuple[Path, ...] = ()
    measure: Literal["all", "policies", "none"] = "all"

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
    texts = {block: table(rows, names) for block, names in blocks.items()}
    for page, names in wanted.items():
        fill_page(page, {name: texts[name] for name in names})
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
    data = config.load_parts("train")
    trainer = TrainerConfig(threads=config.threads)
    suites = [load_suite(config.folder / f"{name}.yaml") for name in ("validation", "held-out")]
    validation, held_out = (list(zip(suite.task_names, suite.tasks, strict=True)) for suite in suites)
    cells = cells_of(held_out, config.seeds)
    kept: list[dict[str, object]] = []
    best: dict[str, Any] = {}
    if config.measure == "all":
        judge = Judge(data, "agent", config=trainer)
        best, trials = chosen(STUDIES[config.study], cells_of(validation, 1), judge, config.trials)
        _write(config.folder / TRIALS, trials)
    else:
        kept = _constants(config.folder / ROWS, cells, config.seeds)
    policies = {
        path.stem: str(path) for path in sorted((config.folder / "policies").glob("*-seed*.safetensors"))
    }
    judge = Judge(data, "held-out", test=config.load_parts("test"), config=trainer)
    _write(config.folder / ROWS, kept + judged(cells, judge, best, policies))
    atomic_write(config.folder / "provenance.json", json.dumps(provenance("cpu"), indent=1) + "\n")


def _constants(path: Path, cells: Sequence[Cell], seeds: int) -> list[dict[str, object]]:
    """Rows of constants that were judged before.

    Raises:
        ValueError: they are of other tasks or seeds.
    """
    rows = pd.read_csv(path)
    constants = rows[~rows["contestant"].isin(LEARNED.values())]
    have = set(zip(constants["task"], constants["seed"], strict=True))
    if have != {(cell.name, cell.task.seed) for cell in cells}:
        raise ValueError(
            f"{path} has constants on other tasks or seeds than --seeds {seeds} asks for; "
            "give the same, or --measure all"
        )
    return [{str(key): value for key, value in row.items()} for row in constants.to_dict("records")]


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    atomic_write(path, pd.DataFrame(rows).to_csv(index=False, float_format="%.6g"))


def table(rows: pd.DataFrame, names: tuple[str, ...]) -> str:
    """Mean test accuracy of contestants and their difference to the policy of λ alone, with 95 % intervals.

    Intervals are bootstrapped over tasks, then seeds within them; of several agents of a kind the mean is taken first.
    Below each of these kinds its agents follow, one by one.

    Args:
        rows: of all contestants.
        names: of those in the table, in its order.
    """
    cells = rows.pivot_table(index=["task", "seed"], columns="contestant", values="accuracy")
    reference = next((name for name in (LEARNED["one"], *names) if name in cells), "")
    lines = []
    for name in (name for name in names if name in cells):
        own = rows[rows["contestant"] == name]
        agents = sorted(own["agent_seed"].unique())
        each = [own[own["agent_seed"] == seed]["accuracy"].mean() for seed in agents]
        difference = (cells[name] - cells[reference]).unstack("seed").to_numpy()
        against = "" if name == reference else _interval(difference)
        setting = own["setting"].iloc[0] if len(agents) == 1 and name not in LEARNED.values() else ""
        spread = ", ".join(f"{mean:.2f}" for mean in each) if name in LEARNED.values() else ""
        accuracy = _interval(cells[name].unstack("seed").to_numpy())
        lines.append((name, setting, accuracy, against, spread))
    columns = ("", "chosen", "test accuracy, %", f"minus {reference}, points", "its agents")
    return markdown_table(columns, lines)


def _interval(table: np.ndarray) -> tuple[float, float, float]:
    low, high = bootstrap_interval(table, np.random.default_rng(0), unit="tasks")
    return float(table.mean()), low, high
