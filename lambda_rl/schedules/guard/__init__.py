"""The guard: rules that bound κ where its consequences are bad, each with one warning that says so."""

from lambda_rl.schedules.guard.guard import Guard

__all__ = ["Guard"]
