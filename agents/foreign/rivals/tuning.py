"""Tunes rivals on tasks of the training distribution alone, with every inner run counted.

Families of schedules are tuned as everywhere (:func:`lambda_rl.agents.baselines.tune`), on tasks drawn from
``any-loop``, their settings in κ. Laws are constants: for them curves of constants are measured, on more such tasks.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, cast

import numpy as np

from lambda_rl.agents.baselines import BASELINES, Announcing, Judge, Tuned, tune, tuning_cells
from lambda_rl.agents.baselines.crew import Ground, ProcessCrew
from lambda_rl.agents.baselines.fingerprints import trainer_fingerprint
from lambda_rl.agents.baselines.kappa_law import regret_at
from lambda_rl.agents.baselines.rivals.laws import Law
from lambda_rl.agents.baselines.rivals.searches import KnotSearch, SearchedKnots, SearchedLong
from lambda_rl.agents.comparison.store import RunStore
from lambda_rl.agents.foreign.contestants import GAP_RANGE
from lambda_rl.agents.foreign.rivals.choices import Choice, Choices
from lambda_rl.agents.foreign.rivals.units import IN_KAPPA, PER_LAM, InKappa, in_kappa, scaled
from lambda_rl.envs.data import Images
from lambda_rl.envs.tasks.space import TaskList
from lambda_rl.envs.tasks.suites import Suite, load_suite
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.run import network_of, run_facts

Progress = Callable[[int, int], None] | None

FAMILIES = (
    "pull-down", "pull-up", "cosine", "steps", "to-zero", "flat-cosine", "early-only", "late-only", "adamc",
    "gap", "plateau", "awd", "swd", "hypergradient",
)  # fmt: skip
"""Families that are tuned over their grids, in κ."""

CPR, POPULATION, COPY = "cpr", "pbt", "pbt-replay"
LAWS = ("kappa", "tau", "power-law", "fitted-law")
OWN_UNITS = ("awd", "swd")
"""Rules whose number is no λ for every optimizer: they are tuned in κ and as they are, and the better one is taken."""

CPR_SETTINGS = 8
"""Of the grid of CPR, spread over it: two of its settings cannot be trained as one network, so that each is dear."""

SUITE, SEED = "any-loop", 14
"""The distribution, and the seed of the draw from it."""

LOG_KAPPAS = (-2.0, -1.4, -0.9, -0.5, -0.2, 0.1, 0.35, 0.6, 0.85, 1.15, 1.55, 2.1)
"""log₁₀ κ of the constants that laws are tuned on: those that policies are trained on."""

COPIED = 12
"""Knots that a copied trajectory is kept at."""


class KnotsInKappa(InKappa):
    """The Bayesian search over four knots, in κ."""

    name = "knots-in-kappa"
    of: ClassVar[type[SearchedKnots]] = SearchedKnots

    def search(self) -> KappaSearch:
        """A fresh one."""
        return KappaSearch(KnotSearch("knots:{}", self.of.trials))


class LongKnotsInKappa(KnotsInKappa):
    """The same with ten times the budget."""

    name = "knots-long-in-kappa"
    of = SearchedLong


SEARCHED = (KnotsInKappa(), LongKnotsInKappa())
"""Families that are searched for."""


class KappaSearch:
    """A search over λ, whose settings are told in κ.

    Args:
        inner: the search.
    """

    def __init__(self, inner: KnotSearch) -> None:
        self._inner = inner
        self._texts: dict[str, str] = {}

    def ask(self) -> list[str]:
        """The settings to try next."""
        self._texts = {spec: InKappa.form.format(scaled(spec, PER_LAM)) for spec in self._inner.ask()}
        return list(self._texts.values())

    def tell(self, scores: Mapping[str, float]) -> None:
        """Their scores, by their text."""
        self._inner.tell({spec: scores[text] for spec, text in self._texts.items()})


@dataclass(frozen=True)
class Tuning:
    """How rivals are tuned.

    Attributes:
        tasks: drawn from the suite, for schedules.
        law_tasks: likewise, for laws.
        kept: file for every run as soon as it is done.
        workers: processes; 1: this one.
    """

    tasks: int
    law_tasks: int
    kept: Path
    workers: int = 1


def tunable() -> tuple[str, ...]:
    """Names of all rivals that are tuned."""
    return (*LAWS, *FAMILIES, CPR, *map(_own_name, SEARCHED), COPY)


def choose(
    tuning: Tuning,
    images: Images,
    origin: Mapping[str, str],
    progress: Progress = None,
    names: Collection[str] = (),
) -> Choices:
    """Tunes rivals.

    Args:
        tuning: how.
        images: training images of the suite's tasks.
        origin: command, commit and hardware.
        progress: called with (runs done, runs in all).
        names: of rivals; none: all.
    """
    wanted = names or tunable()
    suite = drawn(tuning.tasks)
    config = TrainerConfig("cpu", "auto", 1)
    store = RunStore(tuning.kept, {"suite": suite.name})
    tuning.kept.parent.mkdir(parents=True, exist_ok=True)
    store.open()
    ground = Ground(images, suite.fold, None, config, trainer_fingerprint(config))
    with contextlib.ExitStack() as held:
        crew = held.enter_context(ProcessCrew(ground, tuning.workers)) if tuning.workers > 1 else None
        judge = functools.partial(Judge, images, suite.fold, config=config, kept=store, crew=crew)
        found, seconds = tuned_families(suite, judge(traces=False), progress, wanted)
        if COPY in wanted:
            copied, more = copied_population(suite, judge())
            found, seconds = [*found, copied], seconds + more
        if laws := [name for name in LAWS if name in wanted]:
            fitted, more = tuned_laws(drawn(tuning.law_tasks), judge(traces=False), laws)
            found, seconds = [*fitted, *found], seconds + more
    return Choices(
        format_version=Choices.version, suite=SUITE, tasks=tuning.tasks, law_tasks=tuning.law_tasks,
        seconds=round(seconds, 1), command=origin["command"], commit=origin["commit"],
        hardware=origin["hardware"], rivals=tuple(found),
    )  # fmt: skip


def drawn(count: int, suite: str = SUITE) -> Suite:
    """Tasks of a training distribution, the same at every call.

    Args:
        count: of tasks.
        suite: the distribution; it must be of the training side.
    """
    source, rng = load_suite(suite).on("agent"), np.random.default_rng(SEED)
    return Suite(f"{suite}-drawn-{count}", "agent", TaskList(tuple(source.sample(rng) for _ in range(count))))


def tuned_families(
    tasks: Suite, judge: Judge, progress: Progress, names: Collection[str]
) -> tuple[list[Choice], float]:
    """The best setting of each family, by mean accuracy on the outer validation part of the tasks.

    Args:
        tasks: see :func:`drawn`.
        judge: of their images.
        progress: called with (runs done, runs in all).
        names: of families; what is none is passed over.

    Returns:
        Them, and the seconds that it took.
    """
    settings = {name: in_kappa(name) for name in FAMILIES}
    for name in OWN_UNITS:
        settings[name] += BASELINES[name].grid()
    settings[CPR] = BASELINES[CPR].settings(most=CPR_SETTINGS)
    settings = {name: found for name, found in settings.items() if name in names}
    searched = [one for one in SEARCHED if _own_name(one) in names]
    with contextlib.ExitStack() as held:
        for one in (InKappa(), *searched):
            held.enter_context(BASELINES.temporarily(one.name, one))
        found = tune(
            tasks,
            judge,
            seeds=1,
            settings=settings,
            searches=[one.name for one in searched],
            progress=progress,
        )
    return [_choice(name.removesuffix(f"-{IN_KAPPA}"), found, name) for name in found.families], found.seconds


def _own_name(searched: InKappa) -> str:
    return searched.name.removesuffix(f"-{IN_KAPPA}")


def _choice(name: str, tuned: Tuned, family: str) -> Choice:
    tried = {setting.spec: round(setting.score, 4) for setting in tuned.families[family]}
    return Choice(name, tuned.best(family), tuned.inner_runs[family], tried)


def tuned_laws(tasks: Suite, judge: Judge, names: Iterable[str]) -> tuple[list[Choice], float]:
    """The best setting of each law by mean regret, its accuracy read off the curve of constants of each task.

    Args:
        tasks: see :func:`drawn`.
        judge: of their images.
        names: of laws.

    Returns:
        Them, and the seconds that the curves took.
    """
    cells, grid = tuning_cells(tasks, 1), np.array(LOG_KAPPAS)
    constants = [InKappa().contestant(f"{IN_KAPPA}:constant:{10.0**log:.6g}") for log in LOG_KAPPAS]
    judge([job for one in constants for job in cast("Announcing", one).jobs(cells)])
    played = [list(one.play(cells, judge)) for one in constants]
    accuracy = 100.0 * np.nan_to_num([[item.result.outer_accuracy for item in each] for each in played]).T
    regret = accuracy.max(1, keepdims=True) - accuracy
    facts = [run_facts(cell.task, network_of(cell.task, judge.train.num_classes)) for cell in cells]
    found = []
    for name in names:
        law = BASELINES[name]
        assert isinstance(law, Law)
        scores = {}
        for spec in law.grid():
            numbers = [float(word) for word in spec.partition(":")[2].split(",")]
            logs = np.log10([law.kappa(one, *numbers) for one in facts])
            scores[spec] = round(-float(regret_at(grid, regret, logs).mean()), 4)
        found.append(Choice(name, max(scores, key=scores.__getitem__), accuracy.size, scores))
    return found, sum(item.seconds for each in played for item in each)


def copied_population(tasks: Suite, judge: Judge) -> tuple[Choice, float]:
    """The mean of log κ that the winners of populations went through on the tasks, one population a task.

    Args:
        tasks: see :func:`drawn`.
        judge: of their images; it keeps traces.

    Returns:
        It, and the seconds that it took.
    """
    population = BASELINES[POPULATION].contestant(BASELINES[POPULATION].untuned)
    cells = tuning_cells(tasks, 1)
    logs, runs, seconds = [], 0, 0.0
    for cell, played in zip(cells, judge.games(population, cells), strict=True):
        facts = run_facts(cell.task, network_of(cell.task, judge.train.num_classes))
        levels = np.array(played.result.history["log_lam"]) + np.log10(facts.decay_sum)
        at = np.linspace(0, len(levels) - 1, COPIED).round().astype(int)
        logs.append(np.clip(levels[at], *np.log10(GAP_RANGE)))
        runs, seconds = runs + played.inner_runs, seconds + played.seconds
    knots = ",".join(f"{kappa:.4g}" for kappa in 10.0 ** np.mean(logs, axis=0))
    return Choice(COPY, InKappa.form.format(f"knots:{knots}"), runs, {}), seconds
