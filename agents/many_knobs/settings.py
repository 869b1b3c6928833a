"""Constants of λ and of knobs beside it, and the searches that choose among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lambda_rl import Constant
from lambda_rl.agents.baselines import Cell
from lambda_rl.agents.many_knobs.studies import LAMBDAS
from lambda_rl.envs.judging import ScheduleJob
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.run import network_of

FACTORS = (0.03, 30.0)
"""Smallest and largest factor of λ for a layer."""

BESIDE = {
    "label_smoothing": (0.0, 0.1, 0.2, 0.4),
    "dropout": (0.0, 0.1, 0.2, 0.4),
    "augmentation": (1.0, 0.7, 0.3, 0.0),
    "alpha": (1.0, 0.7, 0.3, 0.0),
}
"""Values of a knob in the grid of it and λ, by its name; the neutral one first."""


class Held(Constant):
    """λ and knobs beside it, all constant.

    Args:
        lam: λ.
        held: values of the others.
    """

    def __init__(self, lam: float, held: Mapping[str, float]) -> None:
        self._held = dict(held)
        super().__init__(lam)

    @property
    def knobs(self) -> dict[str, float]:
        """See :class:`lambda_rl.Schedule`."""
        return self._held


@dataclass(frozen=True)
class Setting:
    """Values of λ and of knobs beside it.

    Attributes:
        lam: λ.
        knobs: values by name.
        by_norm: whether λ of each layer is inverse to the Frobenius norm of its initial weights besides.
    """

    lam: float
    knobs: Mapping[str, float] = field(default_factory=dict)
    by_norm: bool = False

    def __str__(self) -> str:
        more = "".join(f", {name} {value:.3g}" for name, value in self.knobs.items())
        return f"λ {self.lam:.2g}{more}{', by norm' if self.by_norm else ''}"

    def job(self, cell: Cell) -> ScheduleJob:
        """A run of a cell under it."""
        held = {**self.knobs, **(inverse_norms(cell.task) if self.by_norm else {})}
        whole = f"held {self.lam!r} {sorted(held.items())!r}"
        return ScheduleJob(cell.task, whole, lambda **_: Held(self.lam, held), key=cell.name)


def inverse_norms(task: Task, num_classes: int = 10) -> dict[str, float]:
    """Factors of λ that are inverse to the Frobenius norms that a network's weights begin with, as expected.

    See :func:`lambda_rl.attach.layers.inverse_frobenius`, which measures them.

    Args:
        task: whose network.
        num_classes: its outputs.
    """
    network = network_of(task, num_classes)
    shapes = [network.specs[name] for name in network.penalised]
    # The mean square of what is uniform in ±bound is bound²/3.
    norms = [spec.bound * float(np.sqrt(np.prod(spec.shape) / 3)) for spec in shapes]
    scale = sum(norm * norm for norm in norms) / sum(norms)
    return {f"layer.{number}": scale / norm for number, norm in enumerate(norms, 1)}


def lambdas(count: int, ends: tuple[float, float] = LAMBDAS) -> list[float]:
    """So many λ, evenly in their logarithm."""
    return [float(x) for x in np.geomspace(*ends, count)]


def one_lambda(trials: int, ends: tuple[float, float] = LAMBDAS, *, by_norm: bool = False) -> list[Setting]:
    """A grid of λ alone, between those ends."""
    return [Setting(lam, by_norm=by_norm) for lam in lambdas(trials, ends)]


def two_knobs(knob: str, trials: int) -> list[Setting]:
    """A grid of λ and another knob, of so many settings at most."""
    values = BESIDE[knob]
    return [Setting(lam, {knob: value}) for lam in lambdas(trials // len(values)) for value in values]


def searched_layers(
    trials: int, layers: int, seed: int, score: Callable[[Sequence[Setting]], list[float]]
) -> list[tuple[Setting, float]]:
    """λ of each layer by a tree-structured Parzen estimator (Bergstra et al. 2011), the one of optuna.

    Args:
        trials: settings in all.
        layers: of the network.
        seed: of the search.
        score: mean scores of settings.

    Returns:
        Each setting that was tried, with its score.
    """
    import optuna  # of the extra "search"; slow to import

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    tried = []
    for _ in range(trials):
        trial = study.ask()
        lam = trial.suggest_float("lam", *LAMBDAS, log=True)
        factors = {
            f"layer.{n}": trial.suggest_float(f"layer.{n}", *FACTORS, log=True) for n in range(2, layers + 1)
        }
        setting = Setting(lam, factors)
        (found,) = score([setting])
        study.tell(trial, found)
        tried.append((setting, found))
    return tried
