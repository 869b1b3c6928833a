"""Who takes part beside the policy: tuned rivals in a plain loop, and what is left of the policy without a part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.optim import Optimizer

from lambda_rl import Constant, Policy, ReplaySchedule, Schedule
from lambda_rl.agents.ablation.contestants import FACTS_ONLY, FINAL, SHUFFLED, UNTRAINED, WITHOUT, hidden
from lambda_rl.agents.ablation.families import families_in
from lambda_rl.agents.ablation.weights import blinded, untrained
from lambda_rl.agents.baselines import BASELINES
from lambda_rl.agents.foreign.contestants import GAP_RANGE, Contestant, Learned
from lambda_rl.agents.foreign.feedback.replay import INTERVALS, trajectories
from lambda_rl.agents.foreign.feedback.static import decay_of_one, digest
from lambda_rl.agents.foreign.loop import RunFigures
from lambda_rl.agents.foreign.rivals.choices import Choice
from lambda_rl.agents.foreign.rivals.tuning import CPR, LAWS
from lambda_rl.agents.foreign.rivals.units import IN_KAPPA, InKappa, facts_of
from lambda_rl.agents.foreign.rows import Row
from lambda_rl.agents.foreign.task import ForeignTask
from lambda_rl.schedules.rules.norm_bounds import BoundedNorms

DECISIONS = 30
"""How often a shuffled policy decides: as often as validation is looked at in most of the tasks."""


@dataclass(frozen=True)
class TunedRival:
    """A rival with its tuned setting. All but laws are called as a policy is, whether they look or not.

    Attributes:
        name: in files and tables.
        spec: its setting.
    """

    name: str
    spec: str

    @property
    def fingerprint(self) -> str:
        """Changes with the setting."""
        return f"rival-{digest(self.spec)}"

    @property
    def feedback(self) -> bool:
        """Whether its λ can change in a run."""
        return self.name not in (*LAWS, CPR)

    def schedule(self, optimizer: Optimizer, run: RunFigures) -> Schedule:
        """The setting, in the units of the run."""
        name = self.spec.partition(":")[0]
        if name == CPR:
            return _bounded(self.spec, optimizer, run)
        make = InKappa().make(self.spec) if name == IN_KAPPA else BASELINES[name].make(self.spec)
        return make(optimizer, total_steps=run.total_steps, facts=facts_of(optimizer, run))


def _bounded(spec: str, optimizer: Optimizer, run: RunFigures) -> Schedule:
    """CPR: no λ, and bounds that are held after each step."""
    rule, _, word = spec.partition(":")[2].partition(",")
    weights = [p for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]]
    number = float(word)
    if rule == "warm-start":
        number = max(1, round(number * run.total_steps))
    bounds = BoundedNorms(weights, rule, number)

    def bound(*_: Any) -> None:
        bounds.step()

    optimizer.register_step_post_hook(bound)
    return Constant(0.0, optimizer)


@dataclass(frozen=True)
class Held:
    """λ throughout a run as it was at the end of the policy's run of the same task and seed.

    Attributes:
        policy: its name.
        finals: κ by task and seed, by the learning rates truly summed.
        feedback: no.
    """

    policy: str
    finals: Mapping[tuple[str, int], float] = field(repr=False)
    feedback: bool = False

    @property
    def name(self) -> str:
        """In files and tables."""
        return f"{FINAL}:{self.policy}"

    @property
    def fingerprint(self) -> str:
        """Changes with the policy's runs."""
        return f"held-{digest(repr(sorted(self.finals.items())))}"

    def schedule(self, optimizer: Optimizer, run: RunFigures) -> Schedule:
        """A constant."""
        return Constant(self.finals[run.task, run.seed] / run.lr_sum, optimizer)


@dataclass(frozen=True, eq=False)
class Shuffled:
    """A policy that looks at other runs: at each decision it makes a move that it made in the run of another task.

    Attributes:
        policy: its name.
        moves: of log₁₀ κ, ``[runs, decisions]``; the first is to where a run begins.
        feedback: it is called as a policy is; it does not look.
    """

    policy: str
    moves: npt.NDArray[np.float64] = field(repr=False)
    feedback: bool = True

    @property
    def name(self) -> str:
        """In files and tables."""
        return f"{SHUFFLED}:{self.policy}"

    @property
    def fingerprint(self) -> str:
        """Changes with the policy's runs."""
        return f"shuffled-{digest(self.moves.round(6).tobytes().hex())}"

    def schedule(self, optimizer: Optimizer, run: RunFigures) -> Schedule:
        """A trajectory drawn by task and seed."""
        rng = np.random.default_rng((int(digest(run.task), 16), run.seed))
        count = self.moves.shape[1]
        drawn = self.moves[rng.integers(len(self.moves), size=count), np.arange(count)]
        low, high = np.log10(GAP_RANGE)
        level, trace, one = 0.0, [], decay_of_one(optimizer, run.total_steps)
        for place, move in enumerate(drawn.tolist()):
            level = min(max(level + move, low), high)
            trace.append((place / count, one * 10.0**level))
        return ReplaySchedule(trace, optimizer, total_steps=run.total_steps)


def rivals(choices: Iterable[Choice]) -> dict[str, Contestant]:
    """Tuned rivals by name."""
    return {one.name: TunedRival(one.name, one.spec) for one in choices}


def ablations(
    short: str, policy: Policy, rows: Iterable[Row], tasks: Iterable[ForeignTask]
) -> dict[str, Contestant]:
    """What is left of a policy, by name.

    Args:
        short: the policy's name in rows.
        policy: the policy.
        rows: of foreign runs, its own among them.
        tasks: all that there are.

    Raises:
        ValueError: there are no runs of the policy.
    """
    rows, tasks = list(rows), list(tasks)
    digests = {task.name: task.digest for task in tasks}
    finals = {
        (row.task, row.seed): row.kappas[-1]
        for row in rows
        if row.contestant == short and row.kappas and digests.get(row.task) == row.digest
    }
    found, _ = trajectories(short, rows, tasks)
    if not finals:
        raise ValueError(
            f"ablations of {short} need its runs on foreign loops; scripts/generality.py makes them"
        )
    levels = np.stack([run for runs in found.values() for run in runs])[:, :: INTERVALS // DECISIONS]
    blind = (FACTS_ONLY, *(f"{WITHOUT}{family}" for family in families_in(policy.card.features)))
    made: list[Contestant] = [
        Learned(f"{name}:{short}", blinded(policy, hidden(name, policy))) for name in blind
    ]
    made.append(Learned(f"{UNTRAINED}:{short}", untrained(policy)))
    made += [Held(short, finals), Shuffled(short, np.diff(levels, axis=1, prepend=0.0))]
    return {one.name: one for one in made}
