"""Laws: a constant λ out of what is known before the run; what they leave open is tuned like any other setting.

κ = λ · Σ learning rate is what all of them say; over it a run's facts give λ.
"""

from __future__ import annotations

import functools
import math
from typing import Any, ClassVar

from lambda_rl import Constant, RunFacts, Schedule, ScheduleFactory
from lambda_rl.agents.baselines.families import BASELINES, decades
from lambda_rl.agents.baselines.rivals.rules import Rival
from lambda_rl.suggest.kappa_law import Known, load_kappa_law


class Law(Rival):
    """A law; a subclass gives :meth:`kappa`."""

    size: ClassVar[int] = 1
    """How many numbers it leaves open."""

    def kappa(self, facts: RunFacts, *numbers: float) -> float:
        """The decay budget of a run.

        Args:
            facts: of the run.
            *numbers: what the law leaves open, all above 0 or, if an exponent, any.
        """
        raise NotImplementedError

    def make(self, spec: str) -> ScheduleFactory:
        """See :class:`~lambda_rl.agents.baselines.families.Baseline`.

        Raises:
            ValueError: other numbers than the law has.
        """
        name, _, rest = spec.partition(":")
        try:
            numbers = [float(word) for word in rest.split(",")]
        except ValueError:
            numbers = []
        sound = len(numbers) == self.size and all(map(math.isfinite, numbers)) and numbers[0] > 0
        if name != self.name or not sound:
            raise ValueError(f"{spec!r} is no {self.name}; expected {self.form}, the first above 0")

        def factory(optimizer: Any = None, **context: Any) -> Schedule:
            facts = context.get("facts")
            if facts is None:
                raise ValueError(f"{spec!r} says λ by the facts of a run; none were given")
            lam = self.kappa(facts, *numbers) / facts.decay_sum
            return Constant(lam, optimizer, total_steps=context.get("total_steps"))

        return factory


class Budget(Law):
    """One κ for all runs: the τ rule with τ a share of the run (F1; Wang & Aitchison 2025, arXiv 2405.13698)."""

    name = "kappa"
    form = "kappa:{}"
    untuned = "kappa:2"

    def grid(self) -> list[str]:
        """Values of κ."""
        return [self.form.format(kappa) for kappa in decades(-1.5, 2.25, 0.25)]

    def kappa(self, facts: RunFacts, *numbers: float) -> float:
        """The same for all."""
        return numbers[0]


class Timescale(Law):
    """λ = B / (η·N·τ), τ in epochs the same for all runs (F1; the same paper): κ = epochs / τ."""

    name = "tau"
    form = "tau:{}"
    untuned = "tau:10"

    def grid(self) -> list[str]:
        """Values of τ."""
        return [self.form.format(tau) for tau in decades(-1.0, 2.75, 0.25)]

    def kappa(self, facts: RunFacts, *numbers: float) -> float:
        """Epochs over τ."""
        return facts.epochs / numbers[0]


class PowerLines(Law):
    """τ as a share of the run is c·(D/P)^m, D examples seen and P parameters (F2; Bergsma et al., arXiv 2505.13738)."""

    name = "power-law"
    form = "power-law:{},{:g}"
    untuned = "power-law:1.1,-0.53"
    size = 2

    def grid(self) -> list[str]:
        """Values of c × m; the paper's m is the one in the middle."""
        return [self.form.format(c, m) for c in decades(-1.5, 1.0, 0.5) for m in (-1.0, -0.53, -0.25)]

    def kappa(self, facts: RunFacts, *numbers: float) -> float:
        """1 over that share."""
        c, m = numbers
        return (facts.num_train * facts.epochs / facts.num_params) ** -m / c


class Fitted(Law):
    """The law that ``suggest_weight_decay`` has, fitted on the training distribution, times a factor."""

    name = "fitted-law"
    form = "fitted-law:{}"
    untuned = "fitted-law:1"

    def grid(self) -> list[str]:
        """Factors."""
        return [self.form.format(factor) for factor in decades(-1.0, 1.0, 0.125)]

    def kappa(self, facts: RunFacts, *numbers: float) -> float:
        """The law's κ times the factor."""
        ratio = facts.num_params / facts.num_train
        known = Known(facts.epochs, ratio, facts.adaptive, facts.normalised)
        return numbers[0] * _law().kappa(known)[0]


class FrameworkDefault(Rival):
    """What torch takes if nobody says anything: 0.01 for AdamW, else none."""

    name = "framework-default"
    form = untuned = "framework-default"

    def make(self, spec: str) -> ScheduleFactory:
        """See :class:`~lambda_rl.agents.baselines.families.Baseline`.

        Raises:
            ValueError: the text says more than the name.
        """
        if spec.strip() != self.name:
            raise ValueError(f"{spec!r} has no settings; expected {self.form}")

        def factory(optimizer: Any = None, **context: Any) -> Schedule:
            facts, decay = context.get("facts"), context.get("decay")
            is_adamw = facts is not None and facts.adaptive and decay == "decoupled"
            return Constant(0.01 if is_adamw else 0.0, optimizer, total_steps=context.get("total_steps"))

        return factory


_law = functools.cache(load_kappa_law)

for _family in (FrameworkDefault(), Budget(), Timescale(), PowerLines(), Fitted()):
    BASELINES.register(_family.name, _family)
