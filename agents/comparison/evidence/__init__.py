"""What a sceptic asks of a comparison: robust aggregates and their intervals, pairs, harm, what can be concluded."""

from __future__ import annotations

from lambda_rl.agents.comparison.evidence.aggregates import (
    conditional_value_at_risk,
    iqm_interval,
    performance_profile,
    probability_interval,
    profile_band,
    share_hurt,
)
from lambda_rl.agents.comparison.evidence.costs import USES, Cost, costs, pays_from
from lambda_rl.agents.comparison.evidence.frames import pairs_frame, standings_frame
from lambda_rl.agents.comparison.evidence.policies import replicated, seed_groups
from lambda_rl.agents.comparison.evidence.weighing import ENOUGH_CELLS, Evidence, Pair, Standing, weigh

__all__ = [
    "ENOUGH_CELLS",
    "USES",
    "Cost",
    "Evidence",
    "Pair",
    "Standing",
    "conditional_value_at_risk",
    "costs",
    "iqm_interval",
    "replicated",
    "pairs_frame",
    "pays_from",
    "performance_profile",
    "probability_interval",
    "profile_band",
    "seed_groups",
    "share_hurt",
    "standings_frame",
    "weigh",
]
