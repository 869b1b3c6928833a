"""Intervals cover a known effect at the stated rate: synthetic comparisons, drawn many times."""

from __future__ import annotations

import numpy as np
import pytest

from lambda_rl.agents.comparison.evidence import iqm_interval, probability_interval, replicated
from lambda_rl.agents.comparison.statistics import bootstrap_interval, interquartile_mean

EFFECT = 0.5


def covered(intervals: list[tuple[float, float]], truth: float) -> float:
    return float(np.mean([low <= truth <= high for low, high in intervals]))


@pytest.mark.parametrize(
    ("policies", "tasks", "seeds"), [(5, 12, 5), (3, 6, 2), (1, 12, 5), (1, 6, 1), (1, 3, 2), (1, 1, 5)]
)
def test_a_difference_is_covered_whatever_replicates(policies: int, tasks: int, seeds: int) -> None:
    """Of 2,000 comparisons; policies, tasks and cells have effects of their own."""
    rng, draws = np.random.default_rng(0), 2_000
    shape = draws, policies, tasks, seeds
    noise = rng.normal(0.0, 1.0, shape)
    if policies > 1:
        noise += rng.normal(0.0, 0.5, (draws, policies, 1, 1))
    elif tasks > 1:
        noise += rng.normal(0.0, 1.0, (draws, 1, tasks, 1))
    rate = covered([replicated(EFFECT + one) for one in noise], EFFECT)
    assert 0.935 <= rate <= 0.965


def test_a_bootstrap_over_few_tasks_is_too_narrow_which_is_why_the_report_has_students() -> None:
    rng = np.random.default_rng(0)
    drawn = EFFECT + rng.normal(0.0, 1.0, (400, 4, 1)) + rng.normal(0.0, 1.0, (400, 4, 5))
    rate = covered([bootstrap_interval(one, rng, unit="tasks", resamples=300) for one in drawn], EFFECT)
    assert rate < 0.91


def test_an_interquartile_mean_is_covered_on_its_tasks() -> None:
    """Tasks are kept and seeds drawn: the truth is the mean of the middle half over endless seeds."""
    rng = np.random.default_rng(1)
    tasks = np.linspace(30.0, 42.0, 12)[:, None]
    truth = interquartile_mean(tasks + rng.normal(0.0, 1.0, (12, 50_000)))
    rate = covered([iqm_interval(tasks + rng.normal(0.0, 1.0, (12, 10)), rng) for _ in range(100)], truth)
    assert 0.88 <= rate <= 0.99


def test_a_probability_of_improvement_is_covered() -> None:
    rng = np.random.default_rng(2)
    effects = np.linspace(-1.0, 2.0, 12)[:, None]
    many = effects + rng.normal(0.0, 1.0, (12, 20_000)) > rng.normal(0.0, 1.0, (12, 20_000))
    rate = covered(
        [
            probability_interval(effects + rng.normal(size=(12, 10)), rng.normal(size=(12, 10)), rng)
            for _ in range(60)
        ],
        float(many.mean()),
    )
    assert 0.86 <= rate <= 1.0
