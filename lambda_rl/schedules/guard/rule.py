"""What the rules of the guard have in common: bounds on κ, and what they remember."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from lambda_rl.schedules.guard.reading import Reading

NONE = math.inf
"""No bound, or a best that there is none of yet."""


class Rule:
    """Watches one consequence, and bounds κ when it sees it.

    Attributes:
        name: short, for the state and the warning.
        warning: what is said at the first time; ``{kappa}`` is the bound.
        from_above: whether it bounds κ from above.
        remembered: names of the attributes that it remembers, all numbers.
        low: log₁₀ of the smallest κ that it allows now.
        high: log₁₀ of the largest.
    """

    name: ClassVar[str]
    warning: ClassVar[str]
    from_above: ClassVar[bool] = True
    remembered: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        self.low, self.high = -NONE, NONE

    def see(self, reading: Reading) -> bool:
        """Takes what a run was like at a decision; whether the rule acts on it."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, float]:
        """What is remembered; infinities are left out, so that JSON can hold the rest."""
        values = {name: float(getattr(self, name)) for name in ("low", "high", *self.remembered)}
        return {name: value for name, value in values.items() if math.isfinite(value)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what :meth:`state_dict` gave."""
        start = {**vars(type(self)()), "low": -NONE, "high": NONE}
        for name in ("low", "high", *self.remembered):
            setattr(self, name, float(state.get(name, start[name])))
