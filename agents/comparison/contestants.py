"""Who takes part in a comparison: each is made once, and its policy file read once."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambda_rl import LearnedSchedule, Policy, load_policy
from lambda_rl.agents.ablation.contestants import ablated
from lambda_rl.agents.ablation.traces import Traces
from lambda_rl.agents.baselines import (
    BASELINES,
    CONSTANT_GRID,
    Announcing,
    Baseline,
    Cell,
    Contestant,
    GridSearch,
    Played,
    ScheduleContestant,
    Tuned,
    check_constants,
    families_to_choose,
    family_of,
    hand_designed_families,
    make_schedule,
)
from lambda_rl.agents.baselines.fingerprints import file_fingerprint
from lambda_rl.agents.comparison.results import (
    CONSTANT,
    HAND_DESIGNED,
    LEARNED,
    NO_PENALTY,
    PolicySummary,
)
from lambda_rl.agents.comparison.summary import Plan
from lambda_rl.checks import did_you_mean, shown
from lambda_rl.envs.tasks.suites import Suite
from lambda_rl.knobs import KAPPA

__all__ = [
    "Contestant",
    "Announcing",
    "Cell",
    "Played",
    "ScheduleContestant",
    "GridSearch",
    "Learned",
    "LineUp",
    "line_up",
    "read_policies",
    "policy_names",
    "check_meanings",
]


def policy_names(policies: Sequence[str | Path]) -> list[str]:
    """``learned`` for a single policy, ``learned:<stem>`` for several, with the folder where stems are equal."""
    paths = [Path(path) for path in policies]
    if len(set(paths)) != len(paths):
        raise ValueError("the same policy file is named twice")
    if len(paths) == 1:
        return [LEARNED]
    for depth in range(1, max((len(path.parts) for path in paths), default=0) + 1):
        names = ["/".join((*path.parts[-depth:-1], path.stem)) for path in paths]
        if len(set(names)) == len(names):
            return [f"{LEARNED}:{name}" for name in names]
    return [f"{LEARNED}:{path}" for path in paths]


def short_name(name: str) -> str:
    """Of a policy among several, what tells it from them."""
    return name.removeprefix(f"{LEARNED}:")


@dataclass(frozen=True)
class Learned:
    """A policy that takes part.

    Attributes:
        contestant: plays it.
        policy: as it was read.
        path: as it was named.
        lam_meaning: what to do on tasks of the other meaning of λ; empty: nothing was said.
        training_runs: inner runs that its training took; 0: it is not known.
    """

    contestant: ScheduleContestant
    policy: Policy
    path: str
    lam_meaning: str = ""
    training_runs: int = 0

    @property
    def name(self) -> str:
        """In tables."""
        return self.contestant.name

    @property
    def summary(self) -> PolicySummary:
        """Where it comes from."""
        card = self.policy.card
        return PolicySummary(
            file=self.path,
            fingerprint=self.policy.fingerprint,
            suite=card.suite,
            data=card.data,
            commit=card.commit,
        )


def read_policies(
    policies: Sequence[str | Path], lam_meaning: str = "", training_runs: Sequence[int] = ()
) -> list[Learned]:
    """Reads each policy file, once.

    A policy that moves κ plays as in a user's loop, where nobody names a start or the sum of the learning rates.

    Args:
        policies: policy files, or names of shipped ones.
        lam_meaning: for tasks of the other meaning of λ, see :class:`~lambda_rl.LearnedSchedule`; empty: nothing. It
            is no matter for policies that move κ.
        training_runs: that the training of each took; empty: as far as their cards say.

    Raises:
        PolicyFileError: one cannot be used.
        ValueError: one is named twice, or there are not as many numbers of runs as policies.
    """
    found = []
    if training_runs and len(training_runs) != len(policies):
        raise ValueError(
            f"--training-runs: {len(training_runs)} given for {len(policies)} policies; give one for each, in order"
        )
    for place, (name, path) in enumerate(zip(policy_names(policies), policies, strict=True)):
        policy = load_policy(path)
        moves_kappa = policy.card.unit == KAPPA
        meaning = "" if moves_kappa else lam_meaning
        spec = f"learned:{path},lam_meaning={meaning}" if meaning else f"learned:{path}"
        make = functools.partial(LearnedSchedule, policy=policy, lam_meaning=meaning or None)
        told = _told_of_kappa(policy) if moves_kappa else {}
        contestant = ScheduleContestant(name, LEARNED, spec, make, policy.fingerprint, told)
        spent = training_runs[place] if training_runs else _training_runs(policy)
        found.append(Learned(contestant, policy, str(path), meaning, spent))
    return found


def _training_runs(policy: Policy) -> int:
    """Inner runs up to the checkpoint that a policy is of, as its card has them; 0 where it does not."""
    told = policy.card.results.get("validation")
    after = told.get("after_decisions") if isinstance(told, dict) else None
    return round(after / policy.card.decisions) if isinstance(after, (int, float)) and after > 0 else 0


def _told_of_kappa(policy: Policy) -> dict[str, Any]:
    """What a policy that moves κ is told in a user's loop: its own start, and the sum at the peak learning rate."""
    card = policy.card
    start = (
        10.0 ** (0.5 * (card.log_lam_min + card.log_lam_max))
        if card.initial_lam is None
        else card.initial_lam
    )
    return {"initial_kappa": start, "lr_told": "nominal"}


def check_meanings(learned: Sequence[Learned], suite: Suite) -> None:
    """Raises ``ValueError`` if a policy's λ means another thing than the suite's, and nobody said what to do."""
    for item in learned:
        meaning = item.policy.card.lam_meaning
        other = sorted({task.decay for task in suite.tasks} - {meaning})
        if other and meaning != "any" and not item.lam_meaning:
            raise ValueError(
                f"the λ of policy {item.path} is {meaning} decay, suite {suite.name} has {' and '.join(other)}; say "
                f"--lam-meaning convert, or {meaning} to use λ unconverted"
            )


@dataclass(frozen=True)
class LineUp:
    """All who take part.

    Attributes:
        contestants: in the order of the tables.
        constants: names of the grid's constants.
        best_single: name of the constant that was best in tuning; empty if nothing was tuned.
        learned: the policies among them.
        tuned: what the baselines were tuned to; None: they are untuned.
    """

    contestants: tuple[Contestant, ...]
    constants: tuple[str, ...]
    best_single: str
    learned: tuple[Learned, ...]
    tuned: Tuned | None

    def plan(self, inner_runs: dict[str, int]) -> Plan:
        """What the rows of their results mean; ``inner_runs`` by name."""
        tuning_runs = {} if self.tuned is None else dict(self.tuned.inner_runs)
        tuning_runs |= {item.name: item.training_runs for item in self.learned}
        return Plan(self.constants, self.best_single, tuning_runs, inner_runs)


def line_up(
    learned: Sequence[Learned] = (),
    *,
    constants: Sequence[float] = CONSTANT_GRID,
    tuned: Tuned | None = None,
    families: Sequence[str] | None = None,
    extra: Sequence[str] = (),
    ablations: Sequence[str] = (),
    traces: Mapping[str, Traces] | None = None,
) -> LineUp:
    """Everybody who takes part, each once.

    Args:
        learned: policies.
        constants: the grid.
        tuned: result of tuning; None: untuned settings, and the best single constant is chosen in hindsight.
        families: hand-designed families that take part; None: all.
        extra: further schedules, as :func:`lambda_rl.parse_schedule` takes them.
        ablations: of each policy, see :data:`lambda_rl.agents.ablation.contestants.MEANING`.
        traces: what policies did on the tuning suite, by their names; None: not known yet, and some ablations cannot
            play.

    Raises:
        ValueError: a family that there is not or that was not tuned, or a schedule named twice.
    """
    grid = _constant_family()
    names = grid.settings(check_constants(constants))
    best = "" if tuned is None else tuned.best(grid.name)
    more = [best] if best and best not in names else []
    fixed = [*(grid.contestant(spec, spec) for spec in [*names, *more]), _no_penalty(grid)]
    listed = [item.contestant for item in learned] + _hand_designed(families, tuned) + fixed
    for spec in extra:
        if any(spec in (contestant.name, contestant.spec) for contestant in listed):
            raise ValueError(f"schedule {spec} takes part already")
        listed.append(_extra(spec))
    for item in learned:
        listed += ablated(
            ablations, item.contestant, item.policy, short_name(item.name), (traces or {}).get(item.name)
        )
    _check_names(listed)
    searched = [item for item in fixed[: len(names)] if isinstance(item, ScheduleContestant)]
    return LineUp((*listed, GridSearch(searched)), tuple(names), best, tuple(learned), tuned)


def _check_names(contestants: Sequence[Contestant]) -> None:
    """Refuses names that are there twice, and what no file could be written with, such as a path that is no text."""
    names = [contestant.name for contestant in contestants]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} takes part twice")
    for contestant in contestants:
        try:
            f"{contestant.name}{contestant.spec}".encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"{shown(contestant.spec)} cannot be written as text; give the file another name"
            ) from None


def _constant_family() -> Baseline:
    return next(family for _, family in BASELINES.items() if family.kind == CONSTANT)


def _no_penalty(grid: Baseline) -> Contestant:
    return grid.contestant(grid.settings((0.0,))[0], NO_PENALTY)


def _hand_designed(families: Sequence[str] | None, tuned: Tuned | None) -> list[Contestant]:
    known = families_to_choose()
    chosen = hand_designed_families() if families is None else families
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise ValueError(
            f"unknown hand-designed schedule {', '.join(unknown)}; allowed are {', '.join(known)}"
            f"{did_you_mean(unknown[0], known)}"
        )
    found = []
    for name in chosen:
        family = BASELINES[name]
        found.append(family.contestant(tuned.best(name) if tuned and family.tunable else family.untuned))
    return found


def _extra(spec: str) -> Contestant:
    family = family_of(spec)
    if family is not None:
        return family.contestant(spec, spec)
    return ScheduleContestant(spec, HAND_DESIGNED, spec, make_schedule(spec), file_fingerprint(spec))
