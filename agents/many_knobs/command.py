"""What ``python -m lambda_rl.agents.many_knobs`` does: choose constants, judge them and policies, fill pages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from lambda_rl.agents.baselines import Judge
from lambda_rl.agents.comparison.statistics import bootstrap_interval
from lambda_rl.agents.many_knobs.measure import (
    BY_NORM,
    CPR,
    GRID,
    LAYERS,
    LEARNED,
    ONE,
    cells_of,
    chosen,
    judged,
)
from lambda_rl.agents.options import DataOptions
from lambda_rl.agents.presenting.markdown import fill_page, markdown_table
from lambda_rl.agents.record.provenance import provenance
from lambda_rl.checks import bounded_int
from lambda_rl.envs.tasks.suites import load_suite
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.files import atomic_write

ROWS, TRIALS = "rows.csv", "trials.csv"
BLOCKS = {
    "two-knobs": (ONE, GRID, LEARNED["one"], LEARNED["two"]),
    "one-or-many": (ONE, LAYERS, BY_NORM, CPR, LEARNED["one"], LEARNED["layers"]),
}
"""What each page compares; the policy of λ alone is what the others are measured against."""


@dataclass(frozen=True)
class ManyKnobsConfig(DataOptions):
    """Chooses constants of one and of several knobs, judges them and policies on held-out tasks, and fills pages.

    Attributes:
        out: folder of validation.yaml, held-out.yaml and policies/ (one-seed0.safetensors, two-…, layers-…); rows.csv
            and trials.csv go there.
        trials: settings that each family of constants is chosen from.
        seeds: of each held-out task.
        threads: chunks of inner runs at once.
        two_knobs: page whose block "two-knobs" is filled; empty: none.
        one_or_many: page whose block "one-or-many" is filled; empty: none.
        measure: "all"; "policies" keeps the rows of constants that are in the folder; "none": the rows there are summed
            up anew.
    """

    out: Path = Path("docs/results/two-knobs")
    trials: int = 28
    seeds: int = 3
    threads: int = 1
    two_knobs: str = ""
    one_or_many: str = ""
    measure: Literal["all", "policies", "none"] = "all"


def compare_knobs(config: ManyKnobsConfig) -> None:
    """Runs and writes.

    Raises:
        ValueError: an option is out of range, a suite or policy cannot be used, or there is no such page.
    """
    bounded_int("--trials", config.trials, 4, 1000)
    bounded_int("--seeds", config.seeds, 1, 1000)
    for page in (config.two_knobs, config.one_or_many):
        if page and not Path(page).is_file():
            raise ValueError(f"{page}: no such page to fill")
    if config.measure != "none":
        _measure(config)
    rows = pd.read_csv(config.out / ROWS)
    for block, page in (("two-knobs", config.two_knobs), ("one-or-many", config.one_or_many)):
        text = table(rows, BLOCKS[block])
        if page:
            fill_page(Path(page), {block: text})
        print(text)


def _measure(config: ManyKnobsConfig) -> None:
    """Chooses, judges, and writes the tables."""
    data = config.load_parts("train")
    trainer = TrainerConfig(threads=config.threads)
    suites = [load_suite(config.out / f"{name}.yaml") for name in ("validation", "held-out")]
    validation, held_out = (list(zip(suite.task_names, suite.tasks, strict=True)) for suite in suites)
    cells = cells_of(held_out, config.seeds)
    kept: list[dict[str, object]] = []
    best: dict[str, Any] = {}
    if config.measure == "all":
        best, trials = chosen(cells_of(validation, 1), Judge(data, "agent", config=trainer), config.trials)
        _write(config.out / TRIALS, trials)
    else:
        rows = pd.read_csv(config.out / ROWS)
        constants = rows[~rows["contestant"].isin(LEARNED.values())]
        have = set(zip(constants["task"], constants["seed"], strict=True))
        if have != {(cell.name, cell.task.seed) for cell in cells}:
            raise ValueError(
                f"{config.out / ROWS} has constants on other tasks or seeds than --seeds {config.seeds} asks for; "
                "give the same, or --measure all"
            )
        kept = constants.to_dict("records")
    policies = {
        path.stem: str(path) for path in sorted((config.out / "policies").glob("*-seed*.safetensors"))
    }
    judge = Judge(data, "held-out", test=config.load_parts("test"), config=trainer)
    _write(config.out / ROWS, kept + judged(cells, judge, best, policies))
    atomic_write(config.out / "provenance.json", json.dumps(provenance("cpu"), indent=1) + "\n")


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
