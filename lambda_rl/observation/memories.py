"""What is remembered of a run beyond its last decision: the best so far, trends, what decay has done.

A memory is updated at each decision from what was measured and from all memories of before. Before the first interval
it stands where the run does then: at chance level and at the start λ.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from lambda_rl.observation.view import Value, View
from lambda_rl.registry import Registry

LOG_KAPPA_BOUND = 6.0
"""log₁₀ κ counts as within ± this: beyond it decay does nothing at all, or everything."""

HALF_LIVES = {"fast": 1.5, "slow": 5.0}
"""Decisions after which a trend has forgotten half of what was, by name."""

TRENDS = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "gap")
"""What there are trends of."""


class Memory(NamedTuple):
    """A number that is remembered.

    Attributes:
        start: its value before the first interval: from the signals there, their levels, and the memories that were
            registered before.
        update: its next value. ``view.before`` holds all memories and levels of the last decision, ``view.now`` the
            levels of this one and the memories that were registered before. Signals of the
            start give the start value.
    """

    start: Callable[[View], Value]
    update: Callable[[View], Value]


MEMORIES: Registry[Memory] = Registry("memory")
"""What is remembered beyond the last decision, for the features that say so."""


def _same(formula: Callable[[View], Value]) -> Memory:
    """What follows from this decision alone, kept for the next one."""
    return Memory(formula, formula)


def _sum(name: str, term: Callable[[View], Value]) -> Memory:
    return Memory(lambda view: 0.0, lambda view: view.before[name] + term(view))


def _log_kappa(view: View) -> Value:
    log_kappa = view.ops.if_nan(view.signals.log_lam + view.run["log_decay_sum"], 0.0)
    return view.ops.clip(log_kappa, -LOG_KAPPA_BOUND, LOG_KAPPA_BOUND)


def _extreme(level: str, *, largest: bool) -> Memory:
    def update(view: View) -> Value:
        keep = view.ops.at_least if largest else view.ops.at_most
        return keep(view.now[level], view.before[f"{'most' if largest else 'least'}_{level}"])

    return Memory(lambda view: view.now[level], update)


def trended(view: View, name: str) -> Value:
    """The level that a trend is of."""
    return view.now["val_loss"] - view.now["train_loss"] if name == "gap" else view.now[name]


def _trend(pace: str, name: str) -> Memory:
    share = 1.0 - 2.0 ** (-1.0 / HALF_LIVES[pace])

    def update(view: View) -> Value:
        before = view.before[f"{pace}_{name}"]
        return before + share * (trended(view, name) - before)

    return Memory(lambda view: trended(view, name), update)


def _interval(view: View) -> Value:
    """Progress since the last decision; of a run that goes on when it was to be over, what it was before."""
    passed = view.ops.at_least(view.now["progress"] - view.before["progress"], 0.0)
    return view.ops.where(view.now["progress"] < 1.0, passed, view.before["interval"])


def shrunk(view: View) -> Value:
    """E-foldings by which decay alone shrank the weights since the last decision."""
    rate = 0.5 * (view.now["lr_ratio"] + view.before["lr_ratio"])
    return 10.0 ** view.now["log_kappa"] * view.now["interval"] * rate


def _at_best(name: str) -> Memory:
    """A memory as it was when the validation loss was best."""

    def update(view: View) -> Value:
        better = view.now["val_loss"] < view.before["least_val_loss"]
        return view.ops.where(better, view.now[name], view.before[f"{name}_at_best"])

    return Memory(lambda view: view.now[name], update)


MEMORIES.register("progress", _same(lambda v: v.signals.progress))
MEMORIES.register("interval", Memory(lambda v: 0.0, _interval))
MEMORIES.register("elapsed", _sum("elapsed", lambda v: v.now["interval"]))
MEMORIES.register(
    "lr_ratio", _same(lambda v: v.ops.clip(v.ops.if_not_finite(v.signals.lr_ratio, 1.0), 0.0, 1e3))
)
MEMORIES.register("log_kappa", _same(_log_kappa))
for _level in ("train_loss", "val_loss"):
    MEMORIES.register(f"least_{_level}", _extreme(_level, largest=False))
    MEMORIES.register(f"most_{_level}", _extreme(_level, largest=True))
for _level in ("train_accuracy", "val_accuracy", "log_weight_norm"):
    MEMORIES.register(f"most_{_level}", _extreme(_level, largest=True))
for _pace in HALF_LIVES:
    for _trended in TRENDS:
        MEMORIES.register(f"{_pace}_{_trended}", _trend(_pace, _trended))
MEMORIES.register(
    "kappa_spent", _sum("kappa_spent", lambda v: 10.0 ** v.now["log_kappa"] * v.now["interval"])
)
MEMORIES.register("decay_spent", _sum("decay_spent", shrunk))
for _name in ("log_kappa", "elapsed"):
    MEMORIES.register(f"{_name}_at_best", _at_best(_name))


def log_growth(view: View) -> Value:
    """Change of ln ‖w‖ since the last decision."""
    return math.log(10.0) * (view.now["log_weight_norm"] - view.before["log_weight_norm"])
