"""When a decision is due: a policy acts on the progress of a run, at whatever rhythm it is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambda_rl.arguments import whole_number


class Rhythm:
    """A decision is due when 1/``decisions`` of the run has passed since the last one.

    To within half of what the call itself covers, or one optimizer step: so calls in the rhythm of the environment
    decide each time, and calls of every minibatch decide every so often.

    Args:
        decisions: K, decisions in the run.
        total_steps: optimizer steps of the whole run, if known.

    Raises:
        ValueError: ``decisions`` is no whole number of 1 or more.
    """

    def __init__(self, decisions: int, total_steps: int | None) -> None:
        self.decisions = whole_number("decisions", decisions)
        self._total_steps = total_steps
        self._at_call = self._at_decision = 0.0

    def call(self, progress: float) -> tuple[float, bool]:
        """A call of the schedule: (progress since the last one, 0 or more; whether a decision is due).

        Args:
            progress: share of the run that is done, in [0, 1].
        """
        covered = max(progress - self._at_call, 0.0)
        advance = progress - self._at_decision
        self._at_call = max(self._at_call, progress)
        # Boundaries rounded to whole steps are less than one step closer than 1/decisions of the run.
        slack = 0.5 * covered
        if self._total_steps is not None:
            slack = max(slack, (1.0 - 1e-6) / self._total_steps)
        return covered, advance > 0 and advance + slack >= 1.0 / self.decisions - 1e-12

    def decided(self, progress: float) -> None:
        """A decision was made."""
        self._at_decision = progress

    def state_dict(self) -> dict[str, float]:
        """Progress at the last call and at the last decision."""
        return {"at_call": self._at_call, "at_decision": self._at_decision}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what :meth:`state_dict` gave."""
        self._at_call, self._at_decision = float(state["at_call"]), float(state["at_decision"])
