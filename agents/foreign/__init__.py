"""Foreign loops: runs in plain torch that nothing in training looked like, and how schedules do in them."""

from lambda_rl.agents.foreign.runner import run
from lambda_rl.agents.foreign.suite import TASKS, selected

__all__ = ["TASKS", "run", "selected"]
