"""The guard of a learned schedule: it looks at consequences, and bounds κ where they are bad.

A policy may be wrong about a run that is like none of its training. Four rules watch what κ = λ · ``decay_sum`` does
to the run, whatever the policy reads, and each has a fallback:

- :mod:`~.not_learning`: the loss stays at chance although decay is on: κ falls to a tenth;
- :mod:`~.rising`: decay undoes what was learned: κ goes back to the last good one;
- :mod:`~.overfitting`: validation falls from its best while training improves: κ rises to 2 or more;
- :mod:`~.underfitting`: nothing overfits: κ is 3 at most, in the long run 0.3 and less.

Upper bounds count more than lower ones: too much decay cannot be mended later, too little can. Between its bounds κ is
the policy's, and the policy reads the κ that is in force.

The thresholds were set in plain loops on scikit-learn's digits and generated tables: SGD, AdamW and Adam, 30 % label
noise or none, 2 or 4 hidden layers, initial weights × 0.2, batch normalisation. A κ that rises at every decision, which
had cost some 80 points, then cost a few in most; constants near the best κ were not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lambda_rl.observation import RunFacts, Signals
from lambda_rl.schedules.guard.not_learning import NotLearning
from lambda_rl.schedules.guard.overfitting import Overfitting
from lambda_rl.schedules.guard.reading import OPENING, Reader
from lambda_rl.schedules.guard.rising import Rising
from lambda_rl.schedules.guard.rule import Rule
from lambda_rl.schedules.guard.underfitting import Underfitting


class Guard:
    """The rules together.

    Args:
        facts: what is known of the run.
        initial_norm: of the penalised weights.
        warn: called with (short name of the reason, text); says each reason once.
        on: False: of the rules there are none, and λ is whatever is asked for.
        trust: bounds around the user's own decay, which count less than the rules; None: none.

    Attributes:
        held_by: what changed λ at the last call of :meth:`within`: name of a rule, empty if none did.
    """

    def __init__(
        self,
        facts: RunFacts,
        initial_norm: float,
        warn: Callable[[str, str], None],
        *,
        on: bool = True,
        trust: Rule | None = None,
    ) -> None:
        self._reader, self._warn = Reader(facts, initial_norm), warn
        self._rules: tuple[Rule, ...] = (
            (
                NotLearning(),
                Rising(facts.normalised),
                Overfitting(facts.val_size, facts.normalised),
                Underfitting(facts.normalised),
            )
            if on
            else ()
        )
        self._trust = () if trust is None else (trust,)
        self._all = (*self._trust, *self._rules)
        self.held_by = ""

    @property
    def opening(self) -> bool:
        """Whether too little was seen for a bound to last: the first :data:`OPENING` decisions."""
        return self._reader.readings < OPENING

    def see(self, signals: Signals[float], *, inferred: bool = False) -> None:
        """Takes what a run was like at a decision.

        Args:
            signals: losses in nats of a cross-entropy, ``log_lam`` of the λ that was in force.
            inferred: the validation accuracy was none, and was inferred from its loss.
        """
        reading = self._reader.read(signals, inferred=inferred)
        for rule in self._all:
            if rule.see(reading):
                bound = rule.high if rule.from_above else rule.low
                self._warn(f"guard: {rule.name}", rule.warning.format(kappa=10.0**bound))

    def within(self, log_lam: float) -> float:
        """log₁₀ λ within the bounds of all rules, which may lie beyond the policy's range."""
        self.held_by = ""
        for rules in (self._trust, self._rules):
            for rule in rules:
                if (low := rule.low - self._reader.log_decay_sum) > log_lam:
                    log_lam, self.held_by = low, rule.name
            for rule in rules:
                if (high := rule.high - self._reader.log_decay_sum) < log_lam:
                    log_lam, self.held_by = high, rule.name
        self._reader.in_force = log_lam
        return log_lam

    def state_dict(self) -> dict[str, Any]:
        """What is remembered of earlier decisions, as plain values; nothing without rules."""
        if not self._all:
            return {}
        rules = {rule.name: rule.state_dict() for rule in self._all}
        return {"guard": {"reader": self._reader.state_dict(), "rules": rules}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what :meth:`state_dict` gave."""
        if not self._all:
            return
        self._reader.load_state_dict(state["guard"]["reader"])
        for rule in self._all:
            rule.load_state_dict(state["guard"]["rules"][rule.name])
