"""What docs/performance.md says of agents in two and a half minutes is what the files say."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
from places import DOCS

from lambda_rl.agents.ppo.presets import preset

FOLDER = DOCS / "results" / "cifar-mlp" / "time-to-policy"


def regrets(name: str) -> list[float]:
    schedules = json.loads((FOLDER / "summary.json").read_text(encoding="utf-8"))["schedules"]
    return sorted(schedules[f"learned:{name}-seed{seed}"]["regret_mean"] for seed in range(5))


def test_the_page_says_what_the_files_say() -> None:
    text = " ".join((DOCS / "performance.md").read_text(encoding="utf-8").split())
    told = text.partition("**In two and a half minutes.**")[2]
    fast = regrets("cifar-mlp-fast")
    assert float(np.median(fast)) <= 0.15
    *first, last = (f"{value:.2f}" for value in fast)
    assert f"{', '.join(first)} and {last} points (median {np.median(fast):.2f})" in told
    assert (
        f"({', '.join(f'{value:.2f}' for value in regrets('cifar-mlp-38400'))} on the same ten seeds" in told
    )
    seconds = re.findall(r"\d+\.\d", (FOLDER / "command.txt").read_text(encoding="utf-8").splitlines()[-1])
    *first, last = (f"{value:.0f}" for value in sorted(map(float, seconds)))
    assert told.strip().startswith(
        "Five agents of the preset `cifar-mlp-fast` took " + ", ".join(first) + f" and {last} seconds"
    )
    assert np.median([float(value) for value in seconds]) <= 150


def test_learning_curves_are_those_of_the_preset() -> None:
    for seed in range(5):
        with (FOLDER / "curves" / f"cifar-mlp-fast-seed{seed}.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert int(rows[-1]["decisions"]) == preset("cifar-mlp-fast").total_decisions
