"""The figures of the atlas: best constants against each factor, against sizes, and what laws cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lambda_rl.agents.atlas.curves import FINE, CellCurve
from lambda_rl.agents.atlas.design import DRAWN, OPTIMIZERS
from lambda_rl.agents.atlas.laws import Error
from lambda_rl.agents.atlas.sizes import log_lam, ray_of, size_of
from lambda_rl.agents.presenting.style import (
    GREY,
    INK,
    LEARNED_PALETTE,
    MARKERS,
    PALETTE,
    dress,
    new_figure,
)
from lambda_rl.suggest.conventions import CONVENTIONS, HALF

Value = Callable[[CellCurve], float]

NUMBERS: dict[str, tuple[str, Value]] = {
    "width": ("width", lambda curve: curve.cell.task.width),
    "depth": ("hidden layers", lambda curve: curve.cell.depth),
    "train_size": ("training examples", lambda curve: curve.cell.task.train_size),
    "label_noise": ("wrong labels", lambda curve: curve.cell.task.label_noise),
    "steps": ("steps", lambda curve: curve.cell.task.steps),
    "batch_size": ("batch size", lambda curve: curve.cell.task.batch_size),
    "rate": ("learning rate, times the base's", lambda curve: curve.cell.task.learning_rate / _rate(curve)),
}
"""Factors on an axis of numbers."""
NAMES: dict[str, tuple[str, Sequence[str], Callable[[CellCurve], str]]] = {
    "norm": ("norm layers", ("none", "batch", "layer"), lambda curve: curve.cell.norm),
    "optimizer": ("optimizer", tuple(OPTIMIZERS), lambda curve: curve.cell.optimizer),
    "lr_schedule": (
        "learning rate schedule", ("cosine", "linear", "constant"), lambda curve: curve.cell.task.lr_schedule
    ),
}  # fmt: skip
"""Factors on an axis of names."""
LINEAR = ("depth", "label_noise")
NAME_LEVELS = 3


def _rate(curve: CellCurve) -> float:
    return float(OPTIMIZERS[curve.cell.optimizer]["learning_rate"])


def factors(curves: Sequence[CellCurve], *, lam: bool) -> Figure:
    """The best κ, or λ, of each star against each factor: point, interval, and the basin as a pale bar."""
    bases = [base for base in dict.fromkeys(curve.cell.base for curve in curves) if base != DRAWN]
    figure = new_figure(13.0, 5.6)
    axes = figure.subplots(2, 5, sharey=True)
    for number, (axis, factor) in enumerate(zip(axes.flat, (*NUMBERS, *NAMES), strict=True)):
        rays = [ray_of(curves, base, factor) for base in bases]
        _ticks(axis, factor, [curve for ray in rays if len(ray) > 1 for curve in ray])
        for place, ray in enumerate(rays):
            _ray(axis, ray, factor, (place, len(bases)), lam=lam)
        axis.set_yscale("log")
        if not lam:
            axis.set_ylim(0.6 * 10.0 ** FINE[0], 1.7 * 10.0 ** FINE[-1])
        title = NUMBERS[factor][0] if factor in NUMBERS else NAMES[factor][0]
        axis.set_xlabel(title, fontsize=9, color=INK)
        if number % 5 == 0:
            axis.set_ylabel("best λ" if lam else "best κ", fontsize=9, color=INK)
        dress(axis)
    for place, base in enumerate(bases):
        colour, marker = _look(place)
        axes[0, 0].plot([], [], marker, color=colour, ms=4.5, label=base)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(bases), fontsize=8, frameon=False)
    return figure


def _look(place: int) -> tuple[str, str]:
    colours = (*PALETTE, *LEARNED_PALETTE)
    return colours[place % len(colours)], (*MARKERS, "o", "X")[place % (len(MARKERS) + 2)]


def _ray(axis: Axes, curves: Sequence[CellCurve], factor: str, place: tuple[int, int], *, lam: bool) -> None:
    """One star's cells; hollow where the basin reaches the end of what was measured."""
    number, count = place
    colour, marker = _look(number)
    side = (number - (count - 1) / 2) / count
    if len({curve.cell.level for curve in curves}) < 2:
        curves = ()  # the base alone shows nothing
    points = sorted((_place(factor, curve, side), n) for n, curve in enumerate(curves))
    for x, n in points:
        shift = curves[n].shift if lam else 0.0
        basin, interval = (10.0 ** (np.array(ends) + shift) for ends in (curves[n].basin, curves[n].interval))
        axis.plot([x, x], basin, color=colour, lw=4, alpha=0.18, solid_capstyle="butt")
        axis.plot([x, x], interval, color=colour, lw=0.9)
    shown = [
        (x, 10.0 ** (curves[n].log_kappa + (curves[n].shift if lam else 0.0)), curves[n].sharp)
        for x, n in points
    ]
    if factor in NUMBERS:
        axis.plot([x for x, *_ in shown], [y for _, y, _ in shown], color=colour, lw=0.7, alpha=0.6)
    for hollow in (False, True):
        own = [(x, y) for x, y, sharp in shown if sharp != hollow]
        axis.plot(
            [x for x, _ in own], [y for _, y in own], marker, color=colour, ms=4.5,
            mfc="white" if hollow else colour, label=None,
        )  # fmt: skip


def _place(factor: str, curve: CellCurve, side: float) -> float:
    if factor in NAMES:
        _, names, name = NAMES[factor]
        return names.index(name(curve)) + 0.6 * side
    value = float(NUMBERS[factor][1](curve))
    if factor in LINEAR:
        return value + side * (0.25 if factor == "depth" else 0.03)
    return value * 10.0 ** (0.09 * side)


def _ticks(axis: Axes, factor: str, curves: Sequence[CellCurve]) -> None:
    """Names, or all numbers that there are."""
    if factor in NAMES:
        _, names, _ = NAMES[factor]
        axis.set_xticks(range(len(names)), names)
        axis.set_xlim(-0.6, len(names) - 0.4)
        return
    if factor not in LINEAR:
        axis.set_xscale("log")
    values = sorted({float(f"{NUMBERS[factor][1](curve):.3g}") for curve in curves})
    axis.set_xticks(values, [f"{v / 1000:g}k" if v >= 1000 else f"{v:g}" for v in values])
    axis.set_xticks([], minor=True)


def sizes(curves: Sequence[CellCurve]) -> Figure:
    """The best λ of two rays in each way to write the penalty."""
    figure = new_figure(9.0, 4.0)
    axes = figure.subplots(1, 2, sharey=True)
    bases = [base for base in dict.fromkeys(curve.cell.base for curve in curves) if base != DRAWN]
    for axis, (ray, size) in zip(axes, (("width", "weights"), ("train_size", "examples")), strict=True):
        for place, base in enumerate(bases):
            own = sorted(
                (curve for curve in ray_of(curves, base, ray) if curve.sharp),
                key=lambda one: size_of(one, size),
            )
            if len(own) < NAME_LEVELS:
                continue
            for colour, name in zip((INK, *PALETTE), CONVENTIONS, strict=False):
                best = [float(log_lam(curve, np.array(curve.log_kappa), name)) for curve in own]
                axis.plot(
                    [size_of(curve, size) for curve in own], 10.0 ** np.array(best), "-", color=colour,
                    marker=_look(place)[1], ms=4, lw=1.4 if name == HALF else 0.8,
                )  # fmt: skip
        axis.set(xscale="log", yscale="log")
        axis.set_xlabel("weights" if size == "weights" else "training examples", fontsize=9, color=INK)
        dress(axis)
    axes[0].set_ylabel("best λ", fontsize=9, color=INK)
    for colour, (name, words) in zip((INK, *PALETTE), WRITTEN.items(), strict=False):
        axes[0].plot([], [], "-", color=colour, label=f"{words} ({name})")
    for place, base in enumerate(bases):
        axes[0].plot([], [], _look(place)[1], color=GREY, ms=4, label=base)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


WRITTEN = {"half": "λ/2 ‖w‖²", "whole": "λ ‖w‖²", "per-example": "λ/(2m) ‖w‖²", "per-weight": "λ/(2P) ‖w‖²"}
"""Ways to write the penalty, by their names."""


def costs(errors: Mapping[str, Error], intervals: Mapping[str, tuple[float, float]], policy: str) -> Figure:
    """Mean regret of each law on families left out, and how it is spread over the cells."""
    figure = new_figure(8.6, 3.6)
    left, right = figure.subplots(1, 2)
    others = (*PALETTE, *LEARNED_PALETTE[1:])
    for place, (name, error) in enumerate(errors.items()):
        colour = LEARNED_PALETTE[0] if name == policy else GREY if place < 2 else others[place % len(others)]
        mean, (low, high) = error.regret.mean(), intervals[name]
        left.plot([low, high], [place, place], color=colour, lw=1.4)
        left.plot([mean], [place], "o", color=colour, ms=5)
        share = 100 * (1 - np.arange(len(error.regret)) / len(error.regret))
        right.plot(np.sort(np.maximum(error.regret, 0.05)), share, color=colour, lw=1.2, label=name)
    left.set_yticks(range(len(errors)), list(errors))
    left.invert_yaxis()
    left.set_xlabel("mean regret, points", fontsize=9, color=INK)
    left.set_xlim(left=0)
    right.set_xscale("log")
    right.set_xlabel("regret of at least, points", fontsize=9, color=INK)
    right.set_ylabel("cells, %", fontsize=9, color=INK)
    right.legend(fontsize=7, frameon=False)
    dress(left, "x")
    dress(right)
    return figure
