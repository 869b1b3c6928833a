"""Who takes part: constants in units of κ, the framework's default, the gap rule, and learned policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch.optim import Adam, AdamW, Optimizer

from lambda_rl import Constant, GapRule, LearnedSchedule, Policy, Schedule, load_policy
from lambda_rl.agents.foreign.feedback.static import LAW, SUGGESTED, Suggested
from lambda_rl.agents.foreign.loop import Outcome, RunFigures
from lambda_rl.agents.foreign.task import Data, ForeignTask
from lambda_rl.knobs import LAM
from lambda_rl.suggest.kappa_law import KappaLaw, load_kappa_law

KAPPAS = (0.0, 0.1, 0.3, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0, 100.0)
"""The grid of constants for SGD and AdamW; λ is each over the run's true sum of learning rates."""

ADAM_KAPPAS = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 2.0)
"""The grid for Adam with coupled decay, which divides λ·w by the gradient's size: what λ does there depends on that
size as well, and the best κ lies decades lower."""

RULE_OF_THUMB = 2.0
"""The κ of the grid that stands for "one number everywhere"."""

DEFAULT, GAP = "default", "gap-rule"

ADAMW_DEFAULT = 0.01
"""``weight_decay`` of torch's AdamW; that of its SGD and Adam is 0."""

GAP_START, GAP_RANGE = 0.5, (0.01, 160.0)
"""First κ of the gap rule, and its range."""

UNGUARDED = "-unguarded"
"""What the name of a policy without guard ends with."""


class Named(Protocol):
    """What rows know of somebody.

    Attributes:
        name: in files and tables.
        fingerprint: of a policy, of fitted numbers or of settings; else empty.
        feedback: whether it is told of validation in the run.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - the class says it
    @property
    def fingerprint(self) -> str: ...  # noqa: D102
    @property
    def feedback(self) -> bool: ...  # noqa: D102


class Contestant(Named, Protocol):
    """A way to set λ."""

    def schedule(self, optimizer: Optimizer, run: RunFigures) -> Schedule:
        """What a run is made with."""


@runtime_checkable
class Search(Named, Protocol):
    """A contestant that trains several times for one result.

    Attributes:
        runs: that a result costs.
    """

    @property
    def runs(self) -> int: ...  # noqa: D102

    def result(self, task: ForeignTask, data: Data, seed: int) -> Outcome:
        """All its runs, and what is chosen of them by validation."""


@dataclass(frozen=True)
class ConstantKappa:
    """λ = κ / Σ learning rate throughout."""

    kappa: float
    fingerprint: str = ""
    feedback: bool = False

    @property
    def name(self) -> str:
        """Such as kappa-2."""
        return constant_name(self.kappa)

    def schedule(self, optimizer: Optimizer, run: RunFigures) -> Schedule:
        """A constant."""
        return Constant(self.kappa / run.lr_sum, optimizer)


@dataclass(frozen=True)
class FrameworkDefault:
    """What torch's AdamW does when nothing is said; that of SGD and Adam is the constant 0."""

    name: str = DEFAULT
    fingerprint: str = ""
    feedback: bool = False

    def schedule(self, optimizer: Optimizer, run: RunFigures) -> Schedule:
        """A constant."""
        return Constant(ADAMW_DEFAULT, optimizer)


@dataclass(frozen=True)
class Gap:
    """The gap rule with its defaults, in units of κ."""

    name: str = GAP
    fingerprint: str = ""
    feedback: bool = True

    def schedule(self, optimizer: Optimizer, run: RunFigures) -> Schedule:
        """A gap rule whose first λ and range follow from the run's learning rates."""
        low, high = (end / run.lr_sum for end in GAP_RANGE)
        return GapRule(GAP_START / run.lr_sum, optimizer=optimizer, lam_range=(low, high))


@dataclass(frozen=True, eq=False)
class Learned:
    """A policy as a new user takes it: no hint but what the documentation asks for.

    Attributes:
        called: the policy's name.
        policy: a policy.
        guard: False takes the guard away, and gives it a name and a fingerprint of its own.
        feedback: yes.
    """

    called: str
    policy: Policy
    guard: bool = True
    feedback: bool = True

    @property
    def name(self) -> str:
        """In files and tables."""
        return self.called + self._mark

    @property
    def fingerprint(self) -> str:
        """The policy's."""
        return self.policy.fingerprint + self._mark

    @property
    def _mark(self) -> str:
        return "" if self.guard else UNGUARDED

    def schedule(self, optimizer: Optimizer, run: RunFigures) -> Schedule:
        """A learned schedule; a policy in λ of the other meaning is converted."""
        fits = self.policy.card.lam_meaning in ("coupled", "decoupled")
        return LearnedSchedule(
            optimizer,
            policy=self.policy,
            total_steps=run.total_steps,
            num_train=run.num_train,
            val_size=run.val_size,
            num_classes=run.num_classes,
            batch_size=run.batch_size,
            lam_meaning="convert" if fits and _in_lam(self.policy) else None,
            distributed=False,
            guard=None if self.guard else False,
        )


def short_name(spec: str) -> str:
    """A policy's name in tables: of a file, its name, or its folder's where the file is called policy."""
    path = Path(spec)
    return path.parent.name if path.stem == "policy" and path.parent.name else path.stem


def constant_name(kappa: float) -> str:
    """The name of a constant, as in rows."""
    return f"kappa-{kappa:g}"


def kappas(task: ForeignTask) -> tuple[float, ...]:
    """The grid of constants for a task."""
    return ADAM_KAPPAS if task.optimizer is Adam else KAPPAS


def static(law: KappaLaw | None = None) -> dict[str, Contestant]:
    """Those whose λ follows from fitted numbers and what is known before the run, by name.

    Args:
        law: whose law takes part; None: that of the package's table, if it has one.
    """
    table = load_kappa_law()
    found: dict[str, Contestant] = {SUGGESTED: Suggested(table)}
    if law is not None or table.coefficients:
        found[LAW] = Suggested(law or table, facts=True)
    return found


def line_up(
    task: ForeignTask,
    others: Mapping[str, Policy | str | Path | Contestant | Search],
    *,
    constants: bool = True,
) -> list[Contestant | Search]:
    """Who runs on a task; SGD's and Adam's default is one of the constants and not run twice.

    Args:
        task: whose optimizer decides on the default.
        others: by name; a policy, or as ``lambda_rl.load_policy`` takes it, or any contestant.
        constants: whether the constants, the default and the gap rule take part.

    Raises:
        lambda_rl.PolicyFileError: a policy cannot be used.
    """
    found: list[Contestant | Search] = []
    if constants:
        found += [ConstantKappa(kappa) for kappa in kappas(task)]
        found += [FrameworkDefault()] if task.optimizer is AdamW else []
        found.append(Gap())
    return found + [_contestant(name, given) for name, given in others.items()]


def _contestant(name: str, given: Policy | str | Path | Contestant | Search) -> Contestant | Search:
    if isinstance(given, (str, Path)):
        given = load_policy(given)
    return Learned(name, given) if isinstance(given, Policy) else given


def _in_lam(policy: Policy) -> bool:
    return policy.card.knobs[0].name == LAM
