"""The guard: rules that bound κ where its consequences are bad, each with one warning that says so."""

from lambda_rl.schedules.guard.guard import Guard
from lambda_rl.schedules.guard.reading import OPENING
from lambda_rl.schedules.guard.several import Guards

__all__ = ["OPENING", "Guard", "Guards"]
