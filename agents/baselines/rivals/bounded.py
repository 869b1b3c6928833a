"""CPR in the batched trainer: bounds on the norms of matrices in place of λ, held at every step (F13)."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from lambda_rl import Constant
from lambda_rl.agents.baselines.contestant import Contestant
from lambda_rl.agents.baselines.families import BASELINES
from lambda_rl.agents.baselines.judge import Cell, Judge, Played
from lambda_rl.agents.baselines.rivals.rules import Rival
from lambda_rl.envs.judging import ScheduleJob
from lambda_rl.envs.networks import Params
from lambda_rl.envs.optimizers import OPTIMIZERS, Decay, StackedOptimizer, StepInputs, per_network

RULES = ("warm-start", "dependent")


class BoundedOptimizer(StackedOptimizer):
    """Another optimizer without decay, and after each of its steps what ``BoundedNorms`` does, for N networks.

    See :class:`lambda_rl.schedules.rules.norm_bounds.BoundedNorms`. What a task calls λ is here the number that the
    bound comes from: steps of ``warm-start``, factor of ``dependent``.

    Args:
        inner: takes the steps.
        rule: where the bounds come from.
    """

    def __init__(self, inner: StackedOptimizer, rule: str) -> None:
        self.inner, self.rule = inner, rule
        self.state_names = (*inner.state_names, "multiplier", "bound")

    @property
    def adaptive(self) -> bool:  # type: ignore[override]
        """As the other."""
        return self.inner.adaptive

    @torch.no_grad()
    def update(
        self, params: Params, grads: Params, state: dict[str, Params], inputs: StepInputs, decay: Decay
    ) -> None:
        """See :class:`~lambda_rl.envs.optimizers.StackedOptimizer`."""
        number, after = inputs["lam"], inputs["step"] + 1
        if self.rule == "dependent":
            for name in decay.weights:
                _set(state["bound"][name], number * _square(params[name]), inputs["step"] == 0)
        self.inner.update(params, grads, state, inputs, dataclasses.replace(decay, weights=()))
        for name in decay.weights:
            weight, bound, multiplier = params[name], state["bound"][name], state["multiplier"][name]
            square = _square(weight)
            holds = torch.ones_like(after, dtype=torch.bool)
            if self.rule == "warm-start":
                holds = after > number.round()
                _set(bound, square, after == number.round())
            excess = (square - bound.flatten(1)[:, 0]) / weight[0].numel()
            grown = (multiplier.flatten(1)[:, 0] + excess).clamp_min(0.0)
            _set(multiplier, grown, holds)
            weight.mul_(1.0 - 2.0 * multiplier)


def _square(weight: torch.Tensor) -> torch.Tensor:
    return weight.square().flatten(1).sum(1)


def _set(target: torch.Tensor, values: torch.Tensor, where: torch.Tensor) -> None:
    """Writes ``[N]`` into all of ``[N, …]``, for some of the networks."""
    target.copy_(torch.where(per_network(where, target), per_network(values, target), target))


@functools.cache
def _bounded(inner: str, rule: str) -> BoundedOptimizer:
    """Made once: compiled steps are kept by their optimizer."""
    return BoundedOptimizer(OPTIMIZERS[inner], rule)


@dataclass(frozen=True)
class BoundedContestant:
    """Runs with bounds in place of λ. Of the λ in its results nothing is to be read.

    Attributes:
        name: see :class:`~lambda_rl.agents.baselines.Contestant`, as the next two.
        kind: see there.
        spec: see there.
        rule: where the bounds come from.
        number: factor, or the share of the steps after which they are taken.
    """

    name: str
    kind: str
    spec: str
    rule: str
    number: float

    def play(self, cells: Sequence[Cell], judge: Judge) -> Iterator[Played]:
        """See :class:`~lambda_rl.agents.baselines.Contestant`."""
        names = {cell.task.optimizer: f"{cell.task.optimizer}+{self.spec}" for cell in cells}
        with contextlib.ExitStack() as registered:
            for inner, name in names.items():
                registered.enter_context(OPTIMIZERS.temporarily(name, _bounded(inner, self.rule)))
            jobs = [self._job(cell, names[cell.task.optimizer]) for cell in cells]
            results = judge(jobs)
        for cell, played in zip(cells, results, strict=True):
            history = {**played.result.history}
            history["log_lam"] = [math.nan] * len(history.get("log_lam", ()))
            result = dataclasses.replace(played.result, task=cell.task, history=history)
            yield dataclasses.replace(played, spec=self.spec, result=result)

    def _job(self, cell: Cell, optimizer: str) -> ScheduleJob:
        number = self.number
        if self.rule == "warm-start":
            number = max(1.0, round(self.number * cell.task.steps))
        task = dataclasses.replace(cell.task, optimizer=optimizer)
        return ScheduleJob(task, self.spec, lambda **context: Constant(number), key=cell.name)


class Bounded(Rival):
    """CPR (Franke et al., NeurIPS 2024, arXiv 2311.09058), its bounds taken at a share of the run or from the start."""

    name = "cpr"
    form = "cpr:{},{:g}"
    untuned = "cpr:warm-start,0.1"

    def grid(self) -> list[str]:
        """Rule × number."""
        shares = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8)
        factors = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0)
        return [
            self.form.format(rule, number)
            for rule, numbers in zip(RULES, (shares, factors), strict=True)
            for number in numbers
        ]

    def contestant(self, spec: str, name: str = "") -> Contestant:
        """See :class:`~lambda_rl.agents.baselines.families.Baseline`.

        Raises:
            ValueError: the text is no setting.
        """
        rule, _, word = spec.partition(":")[2].partition(",")
        try:
            number = float(word)
        except ValueError:
            number = math.nan
        if rule not in RULES or not 0 < number < math.inf or (rule == "warm-start" and number >= 1):
            raise ValueError(
                f"{spec!r} is no cpr; expected cpr:warm-start,SHARE of the run below 1, or cpr:dependent,FACTOR"
            )
        return BoundedContestant(name or self.name, self.kind, spec, rule, number)


BASELINES.register(Bounded.name, Bounded())
