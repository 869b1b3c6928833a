"""From a table of runs to the summary, on made-up numbers: derived schedules, missing runs, sentences."""

from __future__ import annotations

import pandas as pd
import pytest
from comparisons import table

from lambda_rl.agents.comparison.summary import Plan, summarise
from lambda_rl.agents.comparison.tables import Results


def made_up() -> pd.DataFrame:
    """Two tasks, two seeds: constant:1 is best on task b, constant:2 on task a."""
    return table(
        test={
            "constant:1": [[10, 12], [40, 40]],
            "constant:2": [[20, 22], [30, 30]],
            "learned": [[21, 21], [39, 43]],
        },
        val={
            "constant:1": [[99, 12], [40, 40]],
            "constant:2": [[20, 22], [30, 30]],
            "learned": [[1, 1], [1, 1]],
        },
    )


def test_derived_schedules_by_hand() -> None:
    plan = Plan(["constant:1", "constant:2"], "constant:2", {"learned": 7}, {"learned": 3})
    everything, found = summarise(Results(made_up()), plan)
    mean = {name: item.test_accuracy_mean for name, item in found.schedules.items()}
    assert found.oracle_constants == {"a": "constant:2", "b": "constant:1"}
    assert mean["oracle-constant"] == (20 + 22 + 40 + 40) / 4
    assert mean["best-single-constant"] == mean["constant:2"] == 25.5
    assert mean["best-single-constant-hindsight"] == mean["constant:1"] == 25.5  # the first of equals
    assert mean["mean-constant"] == pytest.approx(25.5)
    learned = found.schedules["learned"]
    assert learned.difference_mean == pytest.approx(31 - 25.5)
    assert learned.regret_mean == pytest.approx(30.5 - 31)
    assert learned.tasks == {"a": 21.0, "b": 41.0}
    assert learned.ci95[0] <= learned.difference_mean <= learned.ci95[1]
    assert found.schedules["best-single-constant"].ci95 == (0.0, 0.0)
    assert len(everything.table) == 4 * (3 + 4)
    assert list(found.schedules) == sorted(found.schedules, key=lambda name: -mean[name])


def test_a_contestant_costs_what_it_says_and_a_choice_in_hindsight_the_whole_grid() -> None:
    plan = Plan(["constant:1", "constant:2"], tuning_runs={"learned": 7}, inner_runs={"learned": 3})
    found = summarise(Results(made_up()), plan)[1]
    runs = {name: item.inner_runs for name, item in found.schedules.items()}
    assert runs == {
        "learned": 3, "constant:1": 1, "constant:2": 1, "best-single-constant": 1, "mean-constant": 1,
        "oracle-constant": 2, "best-single-constant-hindsight": 2,
    }  # fmt: skip
    assert found.schedules["learned"].tuning_runs == 7
    assert found.best_single_constant_chosen_on == "test, in hindsight"


def test_a_missing_or_double_run_is_told() -> None:
    rows = made_up()
    for broken in (rows.drop(index=11), pd.concat([rows, rows.tail(1)])):
        with pytest.raises(ValueError, match="learned has not one run for each task and seed"):
            Results(broken).scores("learned")


def test_scores_are_by_task_and_seed_whatever_the_order_of_rows_and_the_seeds() -> None:
    rows = made_up()
    rows.loc[rows["task"] == "b", "seed"] += 5  # tasks may have seeds of their own
    for seed in range(3):
        shuffled = rows.sample(frac=1.0, random_state=seed).sort_values("task", kind="stable")
        assert Results(shuffled).scores("learned").tolist() == [[21, 21], [39, 43]]
        assert Results(shuffled).scores("constant:1", "val_accuracy").tolist() == [[99, 12], [40, 40]]
    plan = Plan(["constant:1", "constant:2"])
    shuffled = made_up().sample(frac=1.0, random_state=3).sort_values("task", kind="stable")
    assert summarise(Results(shuffled), plan)[1] == summarise(Results(made_up()), plan)[1]
