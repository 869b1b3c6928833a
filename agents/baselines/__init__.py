"""What a learned schedule is compared with, and how: competitors, their tuning, and the judge of all.

A new competitor is one class (:class:`Baseline`) and one registration in :data:`BASELINES`.
"""

from __future__ import annotations

import lambda_rl.agents.baselines.hand_designed
import lambda_rl.agents.baselines.rivals  # noqa: F401 - both fill the registry, in this order
from lambda_rl.agents.baselines.contestant import Announcing, Contestant, ScheduleContestant
from lambda_rl.agents.baselines.families import (
    BASELINES,
    CONSTANT_GRID,
    Baseline,
    check_constants,
    families_to_choose,
    family_of,
    hand_designed_families,
    make_schedule,
)
from lambda_rl.agents.baselines.grid_search import GRID_SEARCH, GridSearch
from lambda_rl.agents.baselines.judge import Cell, Judge, Kept, Played
from lambda_rl.agents.baselines.tuning import (
    Setting,
    Tuned,
    check_tuning_suite,
    tune,
    tuning_cells,
    tuning_settings,
)

__all__ = [
    "BASELINES",
    "Baseline",
    "CONSTANT_GRID",
    "check_constants",
    "families_to_choose",
    "family_of",
    "hand_designed_families",
    "make_schedule",
    "Cell",
    "Contestant",
    "Announcing",
    "ScheduleContestant",
    "GridSearch",
    "GRID_SEARCH",
    "Judge",
    "Kept",
    "Played",
    "Tuned",
    "Setting",
    "tune",
    "tuning_settings",
    "tuning_cells",
    "check_tuning_suite",
]
