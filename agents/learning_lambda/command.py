"""What ``python -m lambda_rl.agents.learning_lambda`` does: run all loops, sum up, draw, fill a page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from lambda_rl.agents.learning_lambda.figure import draw
from lambda_rl.agents.learning_lambda.loops import (
    ALPHAS,
    LAMBDAS,
    NOISE,
    Digits,
    Run,
    run_alpha,
    run_lambda,
    run_policy,
)
from lambda_rl.agents.presenting.markdown import fill_page, markdown_table
from lambda_rl.agents.presenting.style import png
from lambda_rl.agents.record.provenance import provenance
from lambda_rl.checks import bounded_int
from lambda_rl.files import atomic_write

RUNS, TRAJECTORIES = "runs.csv", "trajectories.csv"
CONSTANT, POLICY = "constant", "policy"
LEARNED = {"λ": ("penalised loss", "training", "validation"), "α": ("penalised loss", "validation", POLICY)}
STARTS = {"λ": (1e-4, 1e-2, 1.0), "α": (0.2, 0.5, 0.8)}
WANTED = {
    "λ": {"test_accuracy": "best constant"},
    "α": {"test_accuracy": "best constant", "fgsm_accuracy": "best constant under FGSM"},
}
GRID = {"λ": LAMBDAS, "α": ALPHAS}
EVERY = 10
"""Steps from one row of trajectories.csv to the next."""


@dataclass(frozen=True)
class LearningConfig:
    """Learns λ and α by gradient on training and on validation examples, beside grids of constants.

    Attributes:
        out: folder for runs.csv, trajectories.csv, provenance.json and learned.png.
        seeds: of each run; the same split, weights and minibatches for all.
        policy: file of a policy that moves α.
        page: Markdown page whose block "learned" is filled, such as docs/why-not-learn-it.md; empty: none.
        measure: "all"; "policy" keeps the other runs in the folder; "none": they are summed up and drawn anew.
    """

    out: Path = Path("docs/results/why-not-learn-it")
    seeds: int = 3
    policy: str = "docs/results/knob-alpha/policies/alpha-seed0.safetensors"
    page: str = ""
    measure: Literal["all", "policy", "none"] = "all"


def learn(config: LearningConfig) -> None:
    """Runs and writes.

    Raises:
        ValueError: an option is out of range, or there is no such page.
    """
    bounded_int("--seeds", config.seeds, 1, 1000)
    if config.page and not Path(config.page).is_file():
        raise ValueError(f"{config.page}: no such page to fill")
    if config.measure != "none":
        _measure(config)
    runs, trajectories = (pd.read_csv(config.out / name) for name in (RUNS, TRAJECTORIES))
    atomic_write(config.out / "learned.png", png(draw(runs, trajectories)))
    text = table(runs)
    if config.page:
        fill_page(Path(config.page), {"learned": text})
    print(text)


def _measure(config: LearningConfig) -> None:
    """Runs all, and writes the tables."""
    rows: list[dict[str, Any]] = []
    traces: list[dict[str, Any]] = []
    if config.measure == "policy":
        rows, traces = (_others(config.out / name) for name in (RUNS, TRAJECTORIES))
    for knob, how, start, seed in _plan(config.seeds):
        if config.measure == "policy" and how != POLICY:
            continue
        run = _run(knob, how, start, seed, config.policy)
        key = {"knob": knob, "learned_on": how, "start": start, "seed": seed}
        rows.append(
            {
                **key,
                "last": run.trace[-1],
                "train_loss": run.train_loss,
                "test_accuracy": run.test_accuracy,
                "fgsm_accuracy": run.fgsm_accuracy,
            }
        )
        if how != CONSTANT:
            traces += [
                {**key, "step": step, "value": run.trace[step]} for step in range(0, len(run.trace), EVERY)
            ]
    atomic_write(config.out / RUNS, pd.DataFrame(rows).to_csv(index=False, float_format="%.6g"))
    atomic_write(config.out / TRAJECTORIES, pd.DataFrame(traces).to_csv(index=False, float_format="%.4g"))
    atomic_write(config.out / "provenance.json", json.dumps(provenance("cpu"), indent=1) + "\n")


def _others(path: Path) -> list[dict[str, Any]]:
    """Rows of what is under no policy."""
    found = pd.read_csv(path)
    return [
        {str(key): value for key, value in row.items()}
        for row in found[found["learned_on"] != POLICY].to_dict("records")
    ]


def _plan(seeds: int) -> Iterator[tuple[str, str, float, int]]:
    """Knob, how it moves, where it starts, seed."""
    for knob in GRID:
        for how in (CONSTANT, *LEARNED[knob]):
            starts = {CONSTANT: GRID[knob], POLICY: (1.0,)}.get(how, STARTS[knob])
            for start in starts:
                for seed in range(seeds):
                    yield knob, how, start, seed


def _run(knob: str, how: str, start: float, seed: int, policy: str) -> Run:
    if how == POLICY:
        return run_policy(Digits.draw(seed, 0.0), seed, policy)
    if knob == "λ":
        return run_lambda(Digits.draw(seed, NOISE), seed, start, how)
    return run_alpha(Digits.draw(seed, 0.0), seed, start, how)


def table(runs: pd.DataFrame) -> str:
    """The best constants, and where each learned value ends, in Markdown; means over seeds, medians of values."""
    rows = []
    for knob in GRID:
        own = runs[runs["knob"] == knob]
        constants = own[own["learned_on"] == CONSTANT].groupby("start")
        for what, words in WANTED[knob].items():
            value = constants[what].mean().idxmax()
            rows.append((knob, words, _number(value), *_scores(constants.get_group(value))))
        for how in LEARNED[knob]:
            for start, group in own[own["learned_on"] == how].groupby("start"):
                last = f"{_number(start)} → {_number(group['last'].median())}"
                words = "by a policy" if how == POLICY else f"by gradient: {how}"
                rows.append((knob, words, last, *_scores(group)))
    columns = ("", "learned on", "value", "training loss", "test accuracy", "under FGSM")
    return markdown_table(columns, rows)


def _number(value: float) -> str:
    return f"{value:.2g}"


def _scores(group: pd.DataFrame) -> tuple[str, str, str]:
    means = group[["train_loss", "test_accuracy", "fgsm_accuracy"]].mean()
    return f"{means.iloc[0]:.3f}", f"{means.iloc[1]:.1f}", f"{means.iloc[2]:.1f}"
