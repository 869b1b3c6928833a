"""Settings of the tuned families in units of κ, so that none is handicapped by the learning rate of a run.

A setting's text is that of :func:`lambda_rl.parse_schedule` with κ where λ stands: ``in-kappa:pull-down:10,1``. A run
divides by its Σ learning rate, taken as a policy is told it: at its peak throughout.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar

from torch.optim import Optimizer

from lambda_rl import RunFacts, Schedule, ScheduleFactory, parse_schedule
from lambda_rl.agents.baselines import BASELINES, Baseline
from lambda_rl.agents.foreign.contestants import GAP_RANGE
from lambda_rl.agents.foreign.feedback.static import decay_of_one, known_of
from lambda_rl.agents.foreign.loop import RunFigures

IN_KAPPA = "in-kappa"

LAMS = {
    "constant": 1, "pull-down": 2, "pull-up": 2, "cosine": 2, "to-zero": 1, "flat-cosine": 1, "early-only": 1,
    "late-only": 1, "adamc": 1, "awd": 1, "swd": 1, "knots": 10_000, "steps": 10_000,
}  # fmt: skip
"""How many of a form's first values are λ, or in proportion to it."""

INITIAL = "initial="
"""The option that is λ, of rules that have options."""

PER_LAM = 100.0
"""κ of a λ of the grids that families are tuned over elsewhere: those were made for runs whose learning rates sum up to
about that, and cover the range of κ that matters."""


def scaled(spec: str, factor: float) -> str:
    """A schedule's text with all its λ times a factor.

    Raises:
        ValueError: a text whose λ are not known.
    """
    name, _, rest = spec.partition(":")
    words = rest.split(",")
    if name in LAMS:
        count = LAMS[name]
        words[:count] = [f"{float(word) * factor:.6g}" for word in words[:count]]
    elif words[0].startswith(INITIAL):
        words[0] = f"{INITIAL}{float(words[0].removeprefix(INITIAL)) * factor:.6g}"
    else:
        raise ValueError(f"schedule {spec!r} has no λ that is known; allowed: {', '.join(LAMS)}, {INITIAL}λ")
    return f"{name}:{','.join(words)}"


class InKappa(Baseline):
    """Any schedule whose text has κ in place of λ."""

    name = IN_KAPPA
    form = "in-kappa:{}"
    untuned = "in-kappa:constant:2"
    by_default: ClassVar[bool] = False

    def make(self, spec: str) -> ScheduleFactory:
        """See :class:`~lambda_rl.agents.baselines.Baseline`; the schedule asks for the facts of a run.

        Raises:
            ValueError: no such schedule.
        """
        inner = spec.partition(":")[2]
        parse_schedule(scaled(inner, 1.0))  # refused now, not when a run starts
        return functools.partial(_in_kappa, inner)


def _in_kappa(inner: str, optimizer: Any = None, *, facts: RunFacts, **context: Any) -> Schedule:
    low, high = (end / facts.decay_sum for end in GAP_RANGE)
    make = parse_schedule(scaled(inner, 1.0 / facts.decay_sum))
    return make(optimizer, **{**context, "facts": facts, "lam_range": (low, high)})


def in_kappa(family: str) -> list[str]:
    """The grid that a family is tuned over elsewhere, in κ."""
    return [InKappa.form.format(scaled(spec, PER_LAM)) for spec in BASELINES[family].grid()]


def facts_of(optimizer: Optimizer, run: RunFigures) -> RunFacts:
    """What is known of a foreign run before it starts; its learning rate is taken to stay at its peak."""
    known = known_of(optimizer, run)
    params = sum(
        p.numel() for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]
    )
    return RunFacts(
        num_train=run.num_train,
        num_params=params,
        val_size=run.val_size,
        num_classes=run.num_classes,
        epochs=run.total_steps * run.batch_size / run.num_train,
        lr_sum=1.0 / decay_of_one(optimizer, run.total_steps),
        adaptive=known.adaptive,
        normalised=known.normalised,
    )
