"""λ from what is known before a run: the suggested constant, and the law of static facts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from torch.optim import Optimizer

from lambda_rl import Constant, Schedule, suggest_weight_decay
from lambda_rl.agents.foreign.loop import RunFigures
from lambda_rl.attach.architecture import is_adaptive, seems_normalised
from lambda_rl.suggest.kappa_law import KappaLaw, Known

SUGGESTED, LAW = "suggested", "law"


@dataclass(frozen=True)
class Suggested:
    """The constant of :func:`lambda_rl.suggest_weight_decay`.

    Attributes:
        table: the numbers that κ is taken from.
        facts: whether κ follows from the facts of the run, or is one for all runs.
        feedback: no.
    """

    table: KappaLaw
    facts: bool = False
    feedback: bool = False

    def __post_init__(self) -> None:
        """Refuses a law that there is not."""
        if self.facts and not self.table.coefficients:
            raise ValueError(
                "the table of κ has no law of static facts; scripts/fit_kappa.py --terms makes one"
            )

    @property
    def name(self) -> str:
        """In files and tables."""
        return LAW if self.facts else SUGGESTED

    @property
    def fingerprint(self) -> str:
        """Changes with the numbers that are used, so that runs of before are void."""
        used = (
            (sorted(self.table.coefficients.items()), self.table.ends)
            if self.facts
            else self.table.constant[0]
        )
        return f"{self.name}-{digest(repr(used))}"

    def schedule(self, optimizer: Optimizer, run: RunFigures) -> Schedule:
        """A constant."""
        known = known_of(optimizer, run) if self.facts else Known()
        kappa = self.table.kappa(known)[0] if self.facts else 10.0 ** self.table.constant[0]
        return Constant(kappa * decay_of_one(optimizer, run.total_steps), optimizer)


def known_of(optimizer: Optimizer, run: RunFigures) -> Known:
    """What a user could tell before the run."""
    groups = [group for group in optimizer.param_groups if group["weight_decay"]]
    params = sum(parameter.numel() for group in groups for parameter in group["params"])
    return Known(
        epochs=run.total_steps * run.batch_size / run.num_train,
        params_per_example=params / run.num_train,
        adaptive=is_adaptive(optimizer, groups[0]),
        normalised=seems_normalised([optimizer]),
    )


def decay_of_one(optimizer: Optimizer, total_steps: int) -> float:
    """λ for κ = 1, with the learning rate taken to stay at its peak as users' loops have it: policies act in this κ."""
    return float(suggest_weight_decay(optimizer, total_steps, kappa=1.0))


def digest(text: str) -> str:
    """A short one."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
