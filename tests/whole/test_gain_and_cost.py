"""The tables of docs/gain-and-cost.md say what the files say that they are made of."""

from __future__ import annotations

import re

import numpy as np
import pytest
from places import DOCS

from lambda_rl.agents.benchmark.page import blocks
from lambda_rl.agents.comparison.results import Summary
from lambda_rl.agents.comparison.statistics import bootstrap_interval
from lambda_rl.agents.comparison.summary import BOOTSTRAP_SEED
from lambda_rl.agents.comparison.tables import Results
from lambda_rl.agents.presenting.markdown import fill


def rows(kind: str, path: str) -> list[list[str]]:
    text = (DOCS / "gain-and-cost.md").read_text(encoding="utf-8")
    (table,) = re.findall(rf"<!-- {kind} table of {re.escape(path)} -->\n((?:\|.*\n)+)", text)
    return [row.strip("|\n ").split(" | ") for row in table.splitlines()[2:]]


@pytest.mark.parametrize("name", ["transfer-sgd", "transfer-adamw"])
def test_one_run_against_a_search(name: str) -> None:
    folder = DOCS / "results" / name
    results, summary = Results.read(folder / "results.csv"), Summary.load(folder / "summary.json")
    searched = results.scores("grid-search")
    assert searched.shape == (1, 5)
    (task,) = summary.task_fields.values()
    assert len(summary.constants) == 7
    table = rows("transfer", f"results/{name}")
    assert [row[0] for row in table] == [
        "learned:cifar-mlp", "learned:cifar-mixed", "no-penalty", "constant:0.0005", "constant:0.01", "grid-search",
        "oracle-constant",
    ]  # fmt: skip
    for schedule, accuracy, difference, runs, steps in table:
        scores = results.scores(schedule)
        assert accuracy == f"{scores.mean():.2f}"
        low, high = bootstrap_interval(scores - searched, np.random.default_rng(BOOTSTRAP_SEED))
        expected = f"{(scores - searched).mean():+.2f} [{low:+.2f}, {high:+.2f}]"
        assert difference == ("–" if schedule == "grid-search" else expected)
        paid = summary.schedules[schedule].inner_runs
        assert (runs, steps) == (str(paid), f"{paid * int(str(task['steps'])):,}")


def test_what_a_decision_costs() -> None:
    made = blocks(DOCS / "results")
    assert set(made) == {"deployed-machine", "deployed", "deployed-targets"}
    page = (DOCS / "gain-and-cost.md").read_text(encoding="utf-8")
    assert fill(page, made) == page
