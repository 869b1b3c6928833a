"""Rivals from the literature and from practice: they take part where a comparison names them.

They are strong and many, so they are no part of the usual comparison: ``--families plateau cpr …`` asks for them.
"""

from __future__ import annotations

import lambda_rl.agents.baselines.rivals.bounded
import lambda_rl.agents.baselines.rivals.laws
import lambda_rl.agents.baselines.rivals.population
import lambda_rl.agents.baselines.rivals.rules
import lambda_rl.agents.baselines.rivals.searches  # noqa: F401 - all fill the registry
