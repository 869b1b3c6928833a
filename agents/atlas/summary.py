"""The atlas in numbers: what laws cost on families left out, exponents of sizes, and the table that suggest takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from lambda_rl.agents.atlas.curves import FINE, Array, CellCurve
from lambda_rl.agents.atlas.laws import (
    GROUPINGS,
    LAWS,
    STATIC_TERMS,
    Error,
    Law,
    error_of,
    error_of_policy,
    left_out,
    outside_basin,
    static_law,
)
from lambda_rl.agents.atlas.sizes import Exponent, exponents
from lambda_rl.agents.comparison.statistics import bootstrap_interval
from lambda_rl.suggest.atlas import FORMAT, RANGES, Atlas
from lambda_rl.suggest.kappa_law import Known, load_kappa_law

NONE, SHIPPED = "no penalty", "one κ of the policies' training"
SUGGESTED = (STATIC_TERMS, ("log_epochs", "adaptive", "normalised"))
"""Terms of the laws that suggest takes, the one that asks for most first. Σ lr is not among them: with an optimizer
that a law was not fitted to, whose rates are of another size, it costs most."""
DECIMALS = 4


@dataclass(frozen=True)
class Fitted:
    """A law and what it costs.

    Attributes:
        law: the law.
        coefficients: fitted to all cells.
        predicted: log κ of each cell by the law fitted to other families of data, ``[n]``.
        error: of these.
        in_basin: share of the cells whose basin they hit.
        others: mean regret with families of another kind left out, by the kind.
    """

    law: Law
    coefficients: Array
    predicted: Array
    error: Error
    in_basin: float
    others: Mapping[str, float]


@dataclass(frozen=True)
class Summary:
    """All that the page says.

    Attributes:
        curves: of all cells.
        distinct: the same, each run once: some are in two stars.
        seeds: of each cell.
        laws: by name.
        references: errors of what is not fitted here, by name.
        exponents: of sizes.
        policy: the policy's name; empty: none played.
    """

    curves: Sequence[CellCurve]
    distinct: Sequence[CellCurve]
    seeds: int
    laws: Mapping[str, Fitted]
    references: Mapping[str, Error]
    exponents: Sequence[Exponent]
    policy: str

    @property
    def errors(self) -> dict[str, Error]:
        """Everybody's, references that learn nothing first and the policy last."""
        ours = {name: one.error for name, one in self.laws.items()}
        found = {**self.references, **ours}
        if self.policy:
            found[self.policy] = found.pop(self.policy)
        return found

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Of the mean regret, 95 %, by bootstrap over cells."""
        return {
            name: bootstrap_interval(error.regret[:, None], np.random.default_rng(0), resamples=2000)
            for name, error in self.errors.items()
        }

    def above_policy(self, name: str) -> list[float] | None:
        """Somebody's regret minus the policy's with an interval, 95 %; None for the policy itself or without one."""
        if not self.policy or name == self.policy:
            return None
        errors = self.errors
        more = errors[name].regret - errors[self.policy].regret
        interval = bootstrap_interval(more[:, None], np.random.default_rng(0), resamples=2000)
        return [float(more.mean()), *interval]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        errors, intervals = self.errors, self.intervals
        return {
            "cells": len(self.distinct),
            "seeds": self.seeds,
            "regret": {
                name: [_short(error.regret.mean()), *map(_short, intervals[name])]
                for name, error in errors.items()
            },
            "laws": {
                name: {
                    "form": one.law.form,
                    "coefficients": [_short(c) for c in one.coefficients],
                    "decades": _short(np.nanmean(one.error.decades)),
                    "in_basin": _short(one.in_basin),
                    "others_left_out": {kind: _short(value) for kind, value in one.others.items()},
                }
                for name, one in self.laws.items()
            },
            "exponents": [asdict(one) for one in self.exponents],
        }


def summarise(curves: Sequence[CellCurve], seeds: int, policy: str) -> Summary:
    """Fits and counts.

    Args:
        curves: of two families of each kind or more.
        seeds: of each cell.
        policy: its name; empty: none played.

    Raises:
        ValueError: there are cells of one family alone.
    """
    each = {curve.row.digest: curve for curve in reversed(curves)}
    distinct = list(reversed(each.values()))
    same = np.zeros(len(distinct))
    shipped = np.log10(load_kappa_law().kappa(Known())[0])
    references = {NONE: error_of(distinct, same + FINE[0]), SHIPPED: error_of(distinct, same + shipped)}
    if policy:
        references[policy] = error_of_policy(distinct)
    laws = {law.name: _fitted(law, distinct) for law in LAWS}
    return Summary(curves, distinct, seeds, laws, references, exponents(curves), policy)


def _fitted(law: Law, curves: Sequence[CellCurve]) -> Fitted:
    predicted = left_out(law, curves, GROUPINGS["data"])
    others = {
        kind: float(error_of(curves, left_out(law, curves, family)).regret.mean())
        for kind, family in GROUPINGS.items()
        if kind != "data"
    }
    hit = float((outside_basin(curves, predicted) == 0.0).mean())
    return Fitted(law, law.fit(curves), predicted, error_of(curves, predicted), hit, others)


def suggest_table(curves: Sequence[CellCurve], command: str) -> dict[str, Any]:
    """``atlas.json`` of :mod:`lambda_rl.suggest.atlas`.

    Args:
        curves: of all cells.
        command: that made them, for the reader.
    """
    laws = []
    for terms in SUGGESTED:
        law = static_law("", terms)
        off = outside_basin(curves, left_out(law, curves, GROUPINGS["data"]))
        below, above = np.quantile(off, (0.025, 0.975))
        laws.append(
            {
                "coefficients": dict(zip(("", *terms), map(_short, law.fit(curves)), strict=True)),
                "below": min(_short(below), 0.0),
                "above": max(_short(above), 0.0),
            }
        )
    table = {
        "format": FORMAT,
        "laws": laws,
        "ranges": {name: _range(curves, name) for name in RANGES},
        "lowest": float(FINE[0]),
        "highest": float(FINE[-1]),
        "lr_mean": _short(np.mean([_LR_MEAN[curve.cell.task.lr_schedule] for curve in curves])),
        "cells": len(curves),
        "command": command,
    }
    Atlas.from_dict(table)  # what cannot be loaded is not written
    return table


_LR_MEAN = {"cosine": 0.5, "linear": 0.5, "constant": 1.0}
"""Mean learning rate over its peak."""
_FACTS: dict[str, Callable[[CellCurve], float]] = {
    "steps": lambda curve: curve.cell.task.steps,
    "epochs": lambda curve: curve.row.epochs,
    "num_train": lambda curve: curve.row.num_train,
    "num_params": lambda curve: curve.row.num_params,
    "params_per_example": lambda curve: curve.row.num_params / curve.row.num_train,
}


def _range(curves: Sequence[CellCurve], name: str) -> list[float]:
    values = [float(f"{_FACTS[name](curve):.4g}") for curve in curves]
    return [min(values), max(values)]


def _short(value: float | np.floating[Any]) -> float:
    return round(float(value), DECIMALS)


def table_of(curves: Sequence[CellCurve]) -> pd.DataFrame:
    """A line a cell, for people."""
    rows = []
    for curve in curves:
        cell, task, row = curve.cell, curve.cell.task, curve.row
        low, high = curve.interval
        basin_low, basin_high = curve.basin
        shift = 10.0**curve.shift
        rows.append(
            {
                "cell": cell.name, "family": cell.family, "data": task.data or "images", "network": task.network,
                "width": task.width, "hidden_layers": cell.depth, "norm": cell.norm, "resolution": task.resolution,
                "train_size": task.train_size, "label_noise": task.label_noise, "optimizer": cell.optimizer,
                "learning_rate": task.learning_rate, "lr_schedule": task.lr_schedule, "batch_size": task.batch_size,
                "steps": task.steps, "epochs": row.epochs, "num_params": row.num_params, "seeds": curve.seeds,
                "best_kappa": 10.0**curve.log_kappa, "kappa_low": 10.0**low, "kappa_high": 10.0**high,
                "best_lam": 10.0**curve.log_kappa * shift, "lam_low": 10.0**low * shift, "lam_high": 10.0**high * shift,
                "basin_low": 10.0**basin_low, "basin_high": 10.0**basin_high, "basin_decades": curve.width,
                "sharp": curve.sharp, "accuracy": float(curve.curve.max()), "gain": curve.gain,
                "policy_accuracy": curve.policy, "policy_kappa": 10.0**curve.policy_log_kappa,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)
