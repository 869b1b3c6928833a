"""``summary.json``: what rivals come to on foreign loops, and the policy against each of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch.optim import Adam

from lambda_rl.agents.ablation.contestants import ablation_of
from lambda_rl.agents.comparison.statistics import bootstrap_interval, probability_of_improvement
from lambda_rl.agents.foreign.contestants import DEFAULT, GAP, constant_name
from lambda_rl.agents.foreign.feedback.differences import is_policy
from lambda_rl.agents.foreign.feedback.replay import REPLAYED
from lambda_rl.agents.foreign.feedback.static import LAW, SUGGESTED
from lambda_rl.agents.foreign.rivals.agents import Agents, against_agents, without_hard
from lambda_rl.agents.foreign.rivals.choices import Choice, Choices
from lambda_rl.agents.foreign.rivals.per_task import searches
from lambda_rl.agents.foreign.rivals.tuning import CPR, LAWS
from lambda_rl.agents.foreign.rows import Row
from lambda_rl.agents.foreign.summary import BY_VALIDATION, NONE, ORACLE, Table, summarise_contestant
from lambda_rl.agents.foreign.task import ForeignTask
from lambda_rl.agents.record.typed_file import TypedFile
from lambda_rl.observation.facts import ADAM_PULL

POLICY, LAW_KIND, OPEN, FEEDBACK, SEARCH, ABLATION, REFERENCE = (
    "policy", "law", "open loop", "feedback by hand", "search", "ablation", "reference",
)  # fmt: skip
BY_HAND = ("gap", "plateau", "awd", "swd", "hypergradient", CPR)
SINGLE = "best-single-kappa"
SINGLE_KAPPAS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Those that the grids of all optimizers have."""


@dataclass(frozen=True)
class Standing:
    """Somebody on the tasks that all have run.

    Attributes:
        name: of the contestant.
        kind: policy, law, open loop, feedback by hand, search (several runs a result), ablation or reference.
        spec: its tuned setting; empty where there is none.
        before: inner runs that finding the setting cost.
        runs: that a user pays for one result.
        regret: to the oracle constant, points, mean over tasks.
        regret_interval: 95 %, by a bootstrap over tasks, then seeds.
        tail: mean regret of the worst fifth.
        worse_than_none: shares of the tasks on which it is worse than no penalty by more than 1 and 3 points.
        ahead: the policy's accuracy minus this one's, points.
        ahead_interval: 95 %, likewise.
        ahead_else: the same without grokking.
        ahead_else_interval: of that.
        probability: that a run of the policy is better than one of this, on a task at random; ties count half.
    """

    name: str
    kind: str
    spec: str
    before: int
    runs: int
    regret: float
    regret_interval: tuple[float, float]
    tail: float
    worse_than_none: tuple[float, float]
    ahead: float
    ahead_interval: tuple[float, float]
    ahead_else: float
    ahead_else_interval: tuple[float, float]
    probability: float


@dataclass(frozen=True)
class RivalsSummary(TypedFile):
    """The file.

    Attributes:
        format_version: of the file.
        policy: the policy's name.
        fingerprint: of the policy whose rows these are.
        tasks: names of those that the policy and all its tuned rivals have run; who lacks one of them is left out.
        left_out: names of the others.
        seeds: of each.
        tuned_on: tasks that schedules were tuned on, and laws.
        standings: the least regret first.
        agents: policies that differ in the seed of their training alone, against the same; None: there are no rows.
        command: that made it.
        commit: of the code.
        hardware: it ran on.
    """

    what = "a summary of rivals on foreign loops"
    version = 2

    format_version: int
    policy: str
    fingerprint: str
    tasks: tuple[str, ...]
    left_out: tuple[str, ...]
    seeds: int
    tuned_on: tuple[int, int]
    standings: tuple[Standing, ...]
    agents: Agents | None
    command: str
    commit: str
    hardware: str

    def of(self, *kinds: str) -> list[Standing]:
        """Standings of some kinds."""
        return [one for one in self.standings if one.kind in kinds]


def summarise_rivals(
    rows: Sequence[Row],
    beside: Sequence[Row],
    tasks: Sequence[ForeignTask],
    seeds: int,
    policy: str,
    choices: Choices,
    origin: Mapping[str, str],
    agents: Sequence[Row] = (),
) -> RivalsSummary:
    """What the rows come to.

    The oracle's constant of a task is chosen on all seeds that constants were run with, so that fewer seeds of rivals
    do not make it better than it is; its accuracy is that of the seeds that are compared.

    Args:
        rows: of the rivals, and of what is left of the policy.
        beside: of the policy and of constants.
        tasks: that count.
        seeds: of each.
        policy: the policy's name.
        choices: what tuning chose.
        origin: command, commit and hardware.
        agents: of policies that differ in the seed of their training alone.

    Raises:
        ValueError: there is no task on which all have run with all seeds.
    """
    tuned, names = {one.name: one for one in choices.rivals}, dict.fromkeys(row.contestant for row in rows)
    table = _table(
        [*beside, *rows], beside, tasks, seeds, (policy, *(name for name in names if name in tuned))
    )
    shared = table.tasks
    them = [row for row in agents if is_policy(row.contestant, row.fingerprint)]
    # Theirs come first: of a policy that is in both, the rows beside count.
    table = _table([*them, *beside, *rows, *single_kappa(table)], beside, shared, seeds, (policy,))
    references = (REPLAYED + policy, LAW, SUGGESTED, NONE, DEFAULT, SINGLE, GAP, BY_VALIDATION, ORACLE)
    found = [
        _standing(table, name, policy, tuned.get(name))
        for name in (policy, *names, *references)
        if all(len(table.of(task, name)) for task in shared)
    ]
    standings = tuple(sorted(found, key=lambda one: one.regret))
    others = [(one.name, one.kind) for one in standings if one.kind not in (POLICY, ABLATION)]
    return RivalsSummary(
        format_version=RivalsSummary.version,
        policy=policy,
        fingerprint=table.names.get(policy, ""),
        tasks=tuple(task.name for task in shared),
        left_out=tuple(task.name for task in tasks if task not in shared),
        seeds=seeds,
        tuned_on=(choices.tasks, choices.law_tasks),
        standings=standings,
        agents=against_agents(table, others) if them else None,
        command=origin["command"],
        commit=origin["commit"],
        hardware=origin["hardware"],
    )


def single_kappa(table: Table) -> list[Row]:
    """Rows of the one κ that is best on average over the tasks of a table, in hindsight.

    For Adam with coupled decay it is a hundredth of it, as policies have it.
    """

    def rows(kappa: float) -> list[Row]:
        return [
            row
            for task in table.tasks
            for row in table.rows(task, constant_name(kappa / (ADAM_PULL if task.optimizer is Adam else 1.0)))
        ]

    best = max(
        map(rows, SINGLE_KAPPAS), key=lambda found: float(np.mean([row.test_accuracy for row in found]))
    )
    return [dataclasses.replace(row, contestant=SINGLE) for row in best]


def _table(
    rows: Sequence[Row], beside: Sequence[Row], tasks: Sequence[ForeignTask], seeds: int, names: Iterable[str]
) -> Table:
    """Of the tasks that some have all run, with the oracle of all seeds."""
    whole = Table(beside, tasks, 1 + max((row.seed for row in beside), default=0))
    some, wanted = Table(rows, tasks, seeds), dict.fromkeys(names)
    shared = [
        task
        for task in some.tasks
        if task.name in whole.oracle and all(len(some.of(task, name)) for name in wanted)
    ]
    if not shared:
        raise ValueError(
            f"no task has rows of all constants and of {', '.join(wanted)} with {seeds} seeds; nothing can be summed up"
        )
    table = Table(rows, shared, seeds)
    table.oracle = {task.name: whole.oracle[task.name] for task in shared}
    return table


def kind_of(name: str, policy: str, tuned: bool) -> str:
    """What kind of contestant a name is."""
    if name == policy:
        return POLICY
    if ablation_of(name) or name == REPLAYED + policy:
        return ABLATION
    if name in (*LAWS, LAW, SUGGESTED):
        return LAW_KIND
    if name in searches():
        return SEARCH
    if not tuned:
        return REFERENCE
    return FEEDBACK if name in BY_HAND else OPEN


def _standing(table: Table, name: str, policy: str, choice: Choice | None) -> Standing:
    one = summarise_contestant(table, name)
    assert one is not None  # it has run on all of the table's tasks
    ours, theirs = (np.stack([table.of(task, who) for task in table.tasks]) for who in (policy, name))
    ahead = ours - theirs
    other = ahead[without_hard(table.tasks)]
    return Standing(
        name=name,
        kind=kind_of(name, policy, choice is not None),
        spec="" if choice is None else choice.spec,
        before=0 if choice is None else choice.runs,
        runs=searches()[name].runs if name in searches() else one.runs,
        regret=one.regret,
        regret_interval=one.regret_interval,
        tail=one.regret_tail,
        worse_than_none=one.worse_than_none,
        ahead=float(ahead.mean()),
        ahead_interval=bootstrap_interval(ahead, np.random.default_rng(0), unit="tasks"),
        ahead_else=float(other.mean()),
        ahead_else_interval=bootstrap_interval(other, np.random.default_rng(0), unit="tasks"),
        probability=probability_of_improvement(ours, theirs),
    )
