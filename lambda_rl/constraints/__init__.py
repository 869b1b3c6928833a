"""Constraints on a network in training: a loss is minimised subject to g(w) <= 0, in anybody's loop.

How to use them, and what they do in numbers: docs/constraints.md.
"""

from lambda_rl.constraints.constraints import Constraints
from lambda_rl.constraints.measures import (
    excess,
    margins,
    rate,
    rate_at_least,
    rate_at_most,
    recall,
    recall_at_least,
    shortfall,
)

__all__ = [
    "Constraints",
    "shortfall",
    "excess",
    "rate",
    "rate_at_least",
    "rate_at_most",
    "margins",
    "recall",
    "recall_at_least",
]
