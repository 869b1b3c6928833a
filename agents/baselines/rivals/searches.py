"""Searches: at random over constants, task by task, and Bayesian over open-loop schedules, on the tuning suite."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lambda_rl import ScheduleFactory, parse_schedule
from lambda_rl.agents.baselines.contestant import Contestant, ScheduleContestant
from lambda_rl.agents.baselines.families import BASELINES, CONSTANT_GRID, Search, number
from lambda_rl.agents.baselines.grid_search import chosen
from lambda_rl.agents.baselines.judge import Cell, Judge, Played
from lambda_rl.agents.baselines.rivals.rules import Rival
from lambda_rl.envs.judging import ScheduleJob

if TYPE_CHECKING:
    from optuna import Study, Trial

LOW, HIGH = math.log10(CONSTANT_GRID[0]), math.log10(CONSTANT_GRID[-1])
"""log₁₀ of the smallest and largest λ that are searched: those of the grid."""


@dataclass(frozen=True)
class RandomSearch:
    """For each run some constants, drawn evenly in log λ; the best by final validation accuracy, of equals the first.

    Bergstra & Bengio (2012). Each seed of a task draws its own, so that their mean is that of the method.

    Attributes:
        name: see :class:`~lambda_rl.agents.baselines.Contestant`, as the next two.
        kind: see there.
        spec: see there.
        count: constants.
    """

    name: str
    kind: str
    spec: str
    count: int

    def _tried(self, cell: Cell) -> list[ScheduleContestant]:
        drawn = np.random.default_rng((self.count, cell.task.seed)).uniform(LOW, HIGH, self.count)
        specs = [f"constant:{number(10.0**exponent)}" for exponent in drawn]
        return [ScheduleContestant(spec, self.kind, spec, parse_schedule(spec)) for spec in specs]

    def jobs(self, cells: Sequence[Cell]) -> list[ScheduleJob]:
        """The runs of all constants."""
        return [job for cell in cells for constant in self._tried(cell) for job in constant.jobs([cell])]

    def play(self, cells: Sequence[Cell], judge: Judge) -> Iterator[Played]:
        """See :class:`~lambda_rl.agents.baselines.Contestant`; costs what all constants cost together."""
        judge(self.jobs(cells))
        for cell in cells:
            yield chosen([next(constant.play([cell], judge)) for constant in self._tried(cell)])


class RandomConstants(Rival):
    """Random search with the budget of the grid search; it is not tuned."""

    name = "random-search"
    form = "random-search:{}"
    untuned = f"random-search:{len(CONSTANT_GRID)}"

    def contestant(self, spec: str, name: str = "") -> Contestant:
        """See :class:`~lambda_rl.agents.baselines.families.Baseline`.

        Raises:
            ValueError: the text is no setting.
        """
        word = spec.partition(":")[2].strip()
        if not (word.isdecimal() and 0 < int(word) <= 10_000):
            raise ValueError(f"{spec!r} is no random-search; expected random-search:COUNT, 1 to 10000")
        return RandomSearch(name or self.name, self.kind, spec, int(word))


class KnotSearch:
    """Bayesian optimisation of log λ at knots by optuna's Gaussian process; constants are tried first.

    Args:
        form: of a setting, to be filled in with the values at the knots.
        trials: settings that are tried.
        knots: of a schedule, at equal distances over the run.
        batch: settings that are tried at once.
        seed: of the sampler.

    Raises:
        ModuleNotFoundError: optuna is not installed; the message says how to.
    """

    CONSTANTS: ClassVar[tuple[float, ...]] = (-3.0, -2.0, -1.5, -1.0)

    def __init__(self, form: str, trials: int, knots: int = 4, batch: int = 4, seed: int = 0) -> None:
        self.form, self.trials, self.batch = form, trials, batch
        self.names = [f"knot{k}" for k in range(knots)]
        self.study = _study(seed, len(self.CONSTANTS))
        for exponent in self.CONSTANTS[:trials]:
            self.study.enqueue_trial(dict.fromkeys(self.names, exponent))
        self._asked: list[tuple[str, Trial]] = []
        self._done = 0

    def ask(self) -> list[str]:
        """The settings to try next; none when the budget is spent."""
        count = min(self.batch, self.trials - self._done)
        self._asked = []
        for _ in range(count):
            trial = self.study.ask()
            with _quiet():
                lams = [10.0 ** trial.suggest_float(name, LOW, HIGH) for name in self.names]
            self._asked.append((self.form.format(",".join(map(number, lams))), trial))
        return [spec for spec, _ in self._asked]

    def tell(self, scores: Mapping[str, float]) -> None:
        """What the settings asked for came to, by their text; more is better."""
        for spec, trial in self._asked:
            self.study.tell(trial, scores[spec])
        self._done += len(self._asked)
        self._asked = []


def _study(seed: int, random_first: int) -> Study:
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Bayesian optimisation needs optuna: pip install 'lambda-rl[train,search]'"
        ) from error
    with _quiet():
        sampler = optuna.samplers.GPSampler(
            seed=seed, n_startup_trials=random_first + 4, deterministic_objective=False
        )
        return optuna.create_study(sampler=sampler, direction="maximize")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without optuna's lines of a new study, and of packages that would make it faster; its level is put back."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


class SearchedKnots(Rival):
    """An open-loop schedule of four knots, searched on the tuning suite with about the budget of a family's grid."""

    name = "knots"
    form = "knots:{}"
    untuned = "knots:0.01,0.01,0.01,0.01"
    trials: ClassVar[int] = 24

    def make(self, spec: str) -> ScheduleFactory:
        """See :class:`~lambda_rl.agents.baselines.families.Baseline`."""
        return parse_schedule(f"knots:{spec.partition(':')[2]}")

    def search(self) -> Search:
        """See :class:`~lambda_rl.agents.baselines.families.Baseline`."""
        return KnotSearch(self.form, self.trials)


class SearchedLong(SearchedKnots):
    """The same with ten times the budget, which comes near that of training a policy."""

    name = "knots-long"
    form = "knots-long:{}"
    untuned = "knots-long:0.01,0.01,0.01,0.01"
    trials: ClassVar[int] = 240


for _family in (RandomConstants(), SearchedKnots(), SearchedLong()):
    BASELINES.register(_family.name, _family)
