"""Statistics of the comparison against hand-computed values and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lambda_rl.agents.comparison.statistics import (
    best_constant_per_task,
    bootstrap_interval,
    interquartile_mean,
    mean_interval,
    probability_of_improvement,
    regret,
)


def test_bootstrap_agrees_with_scipy() -> None:
    table = np.random.default_rng(1).normal(0.5, 1.0, (12, 5))
    ours = bootstrap_interval(table, np.random.default_rng(0))
    theirs = stats.bootstrap(
        (table.ravel(),), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_bootstrap_covers_the_true_mean() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        low, high = bootstrap_interval(rng.normal(0.3, 1.0, (10, 4)), rng, resamples=500)
        hits += low <= 0.3 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_bootstrap_is_deterministic_and_exact_for_constants() -> None:
    table = np.random.default_rng(4).normal(size=(3, 2))
    first = bootstrap_interval(table, np.random.default_rng(0))
    assert first == bootstrap_interval(table, np.random.default_rng(0))
    assert bootstrap_interval(np.full((4, 3), 0.25), np.random.default_rng(0)) == (0.25, 0.25)


def test_resampling_tasks_is_wider_where_tasks_differ() -> None:
    table = np.repeat(np.linspace(-2, 2, 12)[:, None], 5, axis=1)
    runs = bootstrap_interval(table, np.random.default_rng(0))
    tasks = bootstrap_interval(table, np.random.default_rng(0), unit="tasks")
    assert tasks[1] - tasks[0] > 1.5 * (runs[1] - runs[0])


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ([1.0, 2.0], {}, "tasks x seeds"),
        ([[]], {}, "tasks x seeds"),
        ([[1.0, float("nan")]], {}, "finite"),
        ([[1.0]], {"level": 1.0}, "level"),
        ([[1.0]], {"resamples": 0}, "resamples"),
        ([[1.0]], {"unit": "seeds"}, "unit"),
    ],
)
def test_bootstrap_refuses(table: list[object], options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(table, np.random.default_rng(0), **options)  # type: ignore[arg-type]


def test_interquartile_mean_drops_a_quarter_on_each_side() -> None:
    assert interquartile_mean([[0.0, 1.0, 2.0, 1000.0]]) == 1.5
    assert interquartile_mean([[0.0, 4.0], [5.0, 6.0], [7.0, 8.0], [9.0, 99.0]]) == 6.5


def test_probability_of_improvement_counts_ties_as_half() -> None:
    assert probability_of_improvement([[1.0, 3.0]], [[2.0, 2.0]]) == 0.5
    assert probability_of_improvement([[2.0, 3.0]], [[2.0, 0.0]]) == pytest.approx(3.5 / 4)
    assert probability_of_improvement([[5.0], [1.0]], [[0.0], [9.0]]) == 0.5
    with pytest.raises(ValueError, match="2 tasks"):
        probability_of_improvement([[1.0], [2.0]], [[1.0]])


def test_oracle_and_regret() -> None:
    low, high = np.array([[1.0, 2.0], [9.0, 9.0]]), np.array([[5.0, 5.0], [4.0, 4.0]])
    assert best_constant_per_task([low, high]).tolist() == [1, 0]
    oracle = np.stack([high[0], low[1]])
    assert regret(low, oracle) == pytest.approx((4 + 3 + 0 + 0) / 4)
    assert regret(oracle + 1, oracle) == -1.0
    with pytest.raises(ValueError, match="at least one"):
        best_constant_per_task([])


def test_mean_interval_is_students() -> None:
    values = np.array([1.0, 2.0, 4.0])
    low, high = mean_interval(values)
    assert (low + high) / 2 == pytest.approx(values.mean())
    assert high - values.mean() == pytest.approx(4.302653 * values.std(ddof=1) / np.sqrt(3), rel=1e-5)
    assert np.isnan(mean_interval([1.0])).all()
