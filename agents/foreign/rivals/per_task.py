"""Searches a task at a time: constants at random, and populations, as many runs a result as a grid has.

They are those of :mod:`lambda_rl.agents.baselines.rivals` in a plain loop, with κ in place of λ.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.optim import Adam

from lambda_rl.agents.baselines.families import CONSTANT_GRID
from lambda_rl.agents.baselines.rivals.population import MOVE
from lambda_rl.agents.foreign.contestants import GAP_RANGE, ConstantKappa, Search
from lambda_rl.agents.foreign.feedback.static import digest
from lambda_rl.agents.foreign.loop import Outcome, PlainRun, figures, train
from lambda_rl.agents.foreign.rivals.tuning import POPULATION
from lambda_rl.agents.foreign.task import Data, ForeignTask
from lambda_rl.observation.facts import ADAM_PULL

RANDOM = "random-search"

COUNT = len(CONSTANT_GRID)
"""Runs of a result: as many as grids elsewhere have."""


def log_kappa_range(task: ForeignTask) -> tuple[float, float]:
    """log₁₀ κ that is searched; for Adam with coupled decay a hundredth of it, as policies have it."""
    shift = math.log10(ADAM_PULL) if task.optimizer is Adam else 0.0
    return math.log10(GAP_RANGE[0]) - shift, math.log10(GAP_RANGE[1]) - shift


@dataclass(frozen=True)
class RandomKappas:
    """Constants drawn evenly in log κ; the best by final validation accuracy, of equals that of the least loss.

    Bergstra & Bengio (2012). Each seed of a task draws its own, so that their mean is that of the method.

    Attributes:
        runs: constants.
        name: see :class:`~lambda_rl.agents.foreign.contestants.Search`, as the next.
        feedback: it looks at validation when runs have ended.
    """

    runs: int = COUNT
    name: str = RANDOM
    feedback: bool = True

    @property
    def fingerprint(self) -> str:
        """Changes with the settings."""
        return f"search-{digest(repr((self.name, self.runs, GAP_RANGE)))}"

    def drawn(self, task: ForeignTask, seed: int) -> list[float]:
        """The κ that are tried."""
        rng = _generator(self.runs, task, seed)
        return [10.0**log for log in rng.uniform(*log_kappa_range(task), self.runs).tolist()]

    def result(self, task: ForeignTask, data: Data, seed: int) -> Outcome:
        """See :class:`~lambda_rl.agents.foreign.contestants.Search`."""
        tried = [
            train(task, data, seed, ConstantKappa(kappa).schedule, feedback=False)
            for kappa in self.drawn(task, seed)
        ]
        return max(tried, key=lambda one: _merit(one.val_accuracy, one.val_loss))


@dataclass(frozen=True)
class PlainPopulation:
    """Population-based training: Jaderberg et al. (2017, arXiv 1711.09846), with truncation selection.

    At each call but the last the worst fifth takes over weights, optimizer state and λ of a member of the best fifth,
    and moves λ by a fixed factor up or down. All members have the same initial weights, minibatches and dropout; they
    differ by λ, which begins spread evenly over the range. The best at the end by validation is the result.

    Attributes:
        runs: members, each of which costs a run.
        name: see :class:`~lambda_rl.agents.foreign.contestants.Search`, as the next.
        feedback: all members are evaluated at each call.
    """

    runs: int = COUNT
    name: str = POPULATION
    feedback: bool = True

    @property
    def fingerprint(self) -> str:
        """Changes with the settings."""
        return f"search-{digest(repr((self.name, self.runs, GAP_RANGE, MOVE)))}"

    def result(self, task: ForeignTask, data: Data, seed: int) -> Outcome:
        """See :class:`~lambda_rl.agents.foreign.contestants.Search`."""
        rng = _generator(self.runs, task, seed)
        lr_sum = figures(task, data).lr_sum
        low, high = log_kappa_range(task)
        logs = np.linspace(low, high, self.runs)
        with torch.random.fork_rng(devices=[]):
            members = [PlainRun(task, data, seed, ConstantKappa(10.0**log).schedule) for log in logs.tolist()]
            traces: list[list[float]] = [[] for _ in members]
            while True:
                for trace, log in zip(traces, logs.tolist(), strict=True):
                    trace.append(10.0**log / lr_sum)
                order = _advance(members)
                if members[0].ended:
                    return members[order[0]].outcome(tuple(traces[order[0]]))
                for loser, donor in _pairs(order, rng):
                    _take_over(members[loser], members[donor])
                    traces[loser] = list(traces[donor])
                    moved = logs[donor] + MOVE * float(rng.choice((-1.0, 1.0)))
                    logs[loser] = min(max(moved, low), high)
                    _hold(members[loser], 10.0 ** float(logs[loser]) / lr_sum)


def searches() -> dict[str, Search]:
    """All, by name."""
    return {one.name: one for one in (RandomKappas(), PlainPopulation())}


def _generator(runs: int, task: ForeignTask, seed: int) -> np.random.Generator:
    """Of a search's own draws, others for each seed of a task."""
    return np.random.default_rng((runs, int(digest(task.name), 16), seed))


def _merit(val_accuracy: float, val_loss: float) -> tuple[float, float]:
    """More is better; a loss that is no number is the worst."""
    return val_accuracy, -val_loss if math.isfinite(val_loss) else -math.inf


def _hold(member: PlainRun, lam: float) -> None:
    for group in member.optimizer.param_groups:
        if group["weight_decay"]:
            group["weight_decay"] = lam


def _advance(members: list[PlainRun]) -> list[int]:
    """Trains all to the next call, with the same draws of dropout; from the best on validation to the worst."""
    state, merits = torch.get_rng_state(), []
    for member in members:
        torch.set_rng_state(state)
        member.advance()
        loss, accuracy = member.validation()
        merits.append(_merit(accuracy, loss))
    return sorted(range(len(members)), key=lambda place: merits[place], reverse=True)


def _pairs(order: list[int], rng: np.random.Generator) -> list[tuple[int, int]]:
    """Who gives up, and whose weights it takes."""
    share = max(len(order) // 5, 1)
    best: npt.NDArray[np.int64] = np.array(order[:share])
    return [(loser, int(rng.choice(best))) for loser in order[-share:]]


def _take_over(member: PlainRun, donor: PlainRun) -> None:
    member.model.load_state_dict(donor.model.state_dict())
    # A copy: an optimizer keeps the tensors that it is given.
    member.optimizer.load_state_dict(copy.deepcopy(donor.optimizer.state_dict()))
