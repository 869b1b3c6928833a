"""Evidence as tables, which become CSV files."""

from __future__ import annotations

import pandas as pd

from lambda_rl.agents.comparison.evidence.weighing import Evidence, Pair


def standings_frame(evidence: Evidence) -> pd.DataFrame:
    """A row for each schedule, the best first: what it reaches, costs and risks."""
    return pd.DataFrame(
        [
            {
                "schedule": item.name,
                "kind": item.kind,
                "policies": len(item.policies) or 1,
                "test_accuracy": item.accuracy,
                "iqm": item.iqm,
                "iqm_low": item.iqm_interval[0],
                "iqm_high": item.iqm_interval[1],
                **_numbers(item.against),
                "inner_runs": item.inner_runs,
                "tuning_runs": item.tuning_runs,
                "diverged": item.diverged,
            }
            for item in evidence.standings
        ]
    )


def pairs_frame(evidence: Evidence) -> pd.DataFrame:
    """A row for each policy and rival, the strongest first."""
    return pd.DataFrame(
        [{"schedule": pair.name, "against": pair.other, **_numbers(pair)} for pair in evidence.pairs],
        columns=["schedule", "against", *_NUMBERS],
    )


_NUMBERS = (
    "difference", "difference_low", "difference_high", "probability_better", "probability_low", "probability_high",
    "tasks_hurt", "worst_fifth",
)  # fmt: skip


def _numbers(pair: Pair) -> dict[str, float]:
    values = pair.difference, *pair.interval, pair.probability, *pair.probability_interval, pair.hurt
    return dict(zip(_NUMBERS, (*values, pair.worst_fifth), strict=True))
