"""What a learned schedule does not believe: rules that hold λ, each with one warning that says why.

**Far outside training, an example.** The losses of a run jump. :data:`FAR` is 6, and four entries of what the policy
reads lie more than 6 of its standard deviations from its mean in training. As many as :data:`FAR_FEATURES` are, so λ is
held::

    entry                 mean   deviation    now   deviations away
    train_loss           -0.20        0.18    2.0     12.2    far
    val_loss             -0.12        0.14    2.2     16.6    far
    delta_train_loss     -0.10        0.25    5.0     20.4    far
    delta_val_loss       -0.06        0.26    5.0     19.5    far
    loss_gap              0.08        0.24    0.2      0.5
    log_weight_norm      -0.04        0.41    0.9      2.3

At the next decision the losses are as high but no longer jump. Both changes are 0, two entries are far, and the policy
is believed: one or two odd entries are what it learned to bear.

**At the end of the range, an example.** log₁₀ λ is to stay below 0.5. A policy asks for more and more. Its wish is cut
to the range (``asked``), and counted for as long as it is at the end (``beyond``). When the count is above
:data:`AT_BOUND`, 5, λ goes back to the last one inside the range, until the policy asks for less::

    decision      1     2     3     4     5     6     7     8     9
    action      0.8   0.8   0.8   0.8   0.8   0.8   0.8   0.8  -0.4
    asked       0.2   0.5   0.5   0.5   0.5   0.5   0.5   0.5   0.0
    beyond        0     1     2     3     4     5     6     7     0
    log₁₀ λ     0.2   0.5   0.5   0.5   0.5   0.5   0.2   0.2   0.0
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lambda_rl.policy.actor import Policy

FAR = 6.0
"""An entry of the observation lies far outside training beyond this many of the policy's standard deviations."""

FAR_FEATURES = 4
"""So many entries far outside at once, and λ is held. Of 1,980 observations in training tasks, most of them under
actions with added noise, the fourth largest entry was never above 3.3."""

FAR_OF = 22
"""Entries that :data:`FAR_FEATURES` is meant for; of a policy that reads more, as large a share must be far."""

AT_BOUND = 5
"""Decisions in a row that ask for a λ beyond the same end of the range, before one more is not believed."""


class Safety:
    """The rules, see :class:`lambda_rl.LearnedSchedule`.

    Args:
        policy: gives what is usual, and the range of λ.
        log_lam: log₁₀ of the first λ.
        warn: called with (short name of the reason, text); says each reason once.
        offset: log₁₀ κ - log₁₀ λ, where the policy's range is that of κ.
    """

    def __init__(
        self, policy: Policy, log_lam: float, warn: Callable[[str, str], None], offset: float = 0.0
    ) -> None:
        self._warn = warn
        self._control, self._offset = policy.card.control, offset
        self._far_features = max(FAR_FEATURES, FAR_FEATURES * len(policy.card.features) // FAR_OF)
        reach = FAR * np.sqrt(policy.obs_var + policy.epsilon)
        seen = np.abs(policy.layers[0][0]).max(axis=0) > 0
        self._features = policy.card.features
        # (feature, its mean, how far from it is far) of those that the policy looks at
        self._usual = [(int(i), float(policy.obs_mean[i]), float(reach[i])) for i in np.flatnonzero(seen)]
        self._inside = log_lam
        # Decisions in a row that asked for a λ beyond the upper (positive) or lower (negative) end of the range.
        self._beyond = 0

    def sound(self, signals: Mapping[str, float]) -> bool:
        """Whether all signals, both losses among them, can be what they are said to be."""
        wild = sorted(name for name, value in signals.items() if not math.isfinite(value))
        if wild:
            self._warn("finite", f"signal not finite ({', '.join(wild)}); λ is held")
            return False
        for name in ("train_accuracy", "val_accuracy"):
            if not -1e-6 <= signals.get(name, 0.0) <= 1.0 + 1e-6:
                self._warn("fraction", f"{name}={signals[name]:g} is not a fraction of 0 to 1; λ is held")
                return False
        for name in ("train_loss", "val_loss"):
            if signals[name] < 0:
                self._warn(
                    "negative",
                    f"{name}={signals[name]:g} is negative, give losses whose best is 0; λ is held",
                )
                return False
        return True

    def far(self, observation: npt.NDArray[np.float32]) -> bool:
        """Whether what the policy reads, ``[F]``, lies far outside what it was trained on."""
        entries = observation.tolist()
        far = [i for i, mean, reach in self._usual if abs(entries[i] - mean) > reach]
        if len(far) < self._far_features:
            return False
        names = ", ".join(self._features[i] for i in far)
        self._warn("far", f"far outside what the policy was trained on ({names}); λ is held")
        return True

    def within(self, asked: float, action: float) -> float:
        """The next log₁₀ λ: what was asked for, unless that has been the upper end of the range for too long.

        Args:
            asked: log₁₀ λ by the control law.
            action: what it was asked with.
        """
        low, high = (end - self._offset for end in (self._control.log_lam_min, self._control.log_lam_max))
        if action > 0 and (asked >= high or self._beyond > AT_BOUND):
            self._beyond = max(self._beyond, 0) + 1
        elif action < 0 and asked <= low:
            self._beyond = min(self._beyond, 0) - 1
        else:
            self._beyond = 0
            self._inside = asked
        if abs(self._beyond) > AT_BOUND:
            end, what = (
                ("upper", "the last one inside it is held until the policy asks for less")
                if self._beyond > 0
                else ("lower", "it is held there until the policy asks for more")
            )
            self._warn(end, f"λ was at the {end} end of its range for {AT_BOUND} decisions in a row; {what}")
        return self._inside if self.holding else asked

    @property
    def holding(self) -> bool:
        """Whether what was asked for last was not believed, :meth:`within` the range."""
        return self._beyond > AT_BOUND

    def state_dict(self) -> dict[str, Any]:
        """What is remembered of earlier decisions, as plain values."""
        return {"inside": self._inside, "beyond": self._beyond}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what :meth:`state_dict` gave."""
        self._inside, self._beyond = float(state["inside"]), int(state["beyond"])
