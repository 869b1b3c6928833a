"""The blocks of ``docs/atlas.md``, and what the command prints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lambda_rl.agents.atlas.curves import TOLERANCE, CellCurve
from lambda_rl.agents.atlas.design import DRAWN
from lambda_rl.agents.atlas.figures import NAMES, NUMBERS, WRITTEN
from lambda_rl.agents.atlas.laws import GROUPINGS, by_family
from lambda_rl.agents.atlas.sizes import ray_of
from lambda_rl.agents.atlas.summary import Summary
from lambda_rl.agents.presenting.markdown import markdown_table
from lambda_rl.suggest.conventions import HALF

CLEAR = 1.0
"""Points that decay must be worth for a cell to count as one where it matters."""


def page_blocks(summary: Summary, origin: str) -> dict[str, str]:
    """The blocks of the page, by name.

    Args:
        summary: the numbers.
        origin: command, commit and hardware.
    """
    return {
        "cells": _cells(summary.distinct),
        "spread": _spread(summary.distinct),
        "rays": _rays(summary.curves),
        "sizes": _sizes(summary),
        "laws": laws_table(summary),
        "families": _families(summary),
        "coefficients": _coefficients(summary),
        "origin": origin + "\n",
    }


def _cells(curves: Sequence[CellCurve]) -> str:
    families = list(dict.fromkeys(curve.cell.family for curve in curves))
    rows = []
    for name in [*families, "all"]:
        own = [curve for curve in curves if name in (curve.cell.family, "all")]
        gain = np.array([curve.gain for curve in own])
        rows.append(
            (
                name,
                len(own),
                f"{100 * (gain > CLEAR).mean():.0f} %",
                f"{100 * np.mean([curve.sharp for curve in own]):.0f} %",
                _quartiles([10.0**curve.log_kappa for curve in own if curve.gain > CLEAR]),
                _quartiles([10.0 ** (curve.log_kappa + curve.shift) for curve in own if curve.gain > CLEAR]),
                _quartiles([curve.width for curve in own if curve.gain > CLEAR]),
            )
        )
    heads = (
        "family", "cells", f"decay is worth {CLEAR:g} point or more", "a best κ within the grid",
        "best κ there: median (quartiles)", "best λ", f"decades within {TOLERANCE:g} points",
    )  # fmt: skip
    return markdown_table(heads, rows)


def _quartiles(values: Sequence[float]) -> str:
    if not values:
        return "–"
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return f"{middle:.2g} ({low:.2g}–{high:.2g})"


def _spread(curves: Sequence[CellCurve]) -> str:
    """How many decades the best λ and the best κ span where decay matters."""
    own = [curve for curve in curves if curve.gain > CLEAR]
    kappa = np.array([curve.log_kappa for curve in own])
    lam = np.array([curve.log_kappa + curve.shift for curve in own])
    if not own:
        return "Decay is worth a point in no cell.\n"
    spans = [np.quantile(values, 0.9) - np.quantile(values, 0.1) for values in (lam, kappa)]
    return (
        f"In the {len(own)} cells where decay is worth a point, the best λ spans {spans[0]:.1f} decades from the "
        f"10th to the 90th percentile (standard deviation {lam.std():.2f}), the best κ "
        f"{spans[1]:.1f} ({kappa.std():.2f}).\n"
    )


def _rays(curves: Sequence[CellCurve]) -> str:
    """The best κ at both ends of each ray."""
    rows = []
    for factor, words in {
        **{k: v[0] for k, v in NUMBERS.items()},
        **{k: v[0] for k, v in NAMES.items()},
    }.items():
        for base in dict.fromkeys(curve.cell.base for curve in curves):
            own = ray_of(curves, base, factor)
            if base == DRAWN or len(own) < 2:
                continue
            ordered = sorted(own, key=lambda one: _key(factor, one))
            shown = "; ".join(f"{_level(factor, one)}: {_best(one)}" for one in ordered)
            rows.append((words, base, shown))
    return markdown_table(
        ("factor", "star", "level: best κ [95 %] (in brackets: no best one within the grid)"), rows
    )


def _key(factor: str, curve: CellCurve) -> float:
    if factor in NUMBERS:
        return float(NUMBERS[factor][1](curve))
    return NAMES[factor][1].index(NAMES[factor][2](curve))


def _level(factor: str, curve: CellCurve) -> str:
    return f"{_key(factor, curve):g}" if factor in NUMBERS else NAMES[factor][2](curve)


def _best(curve: CellCurve) -> str:
    low, high = (10.0**end for end in curve.interval)
    text = f"{10.0**curve.log_kappa:.2g}" + (f" [{low:.2g}, {high:.2g}]" if curve.seeds > 1 else "")
    return text if curve.sharp else f"({text})"


def _sizes(summary: Summary) -> str:
    rows = [
        (
            one.base,
            f"{one.size} ({one.ray})",
            f"{one.smallest:,} – {one.largest:,}",
            one.cells,
            *(_exponent(one.exponents[name], summary.seeds) for name in WRITTEN),
        )
        for one in summary.exponents
    ]
    heads = ("star", "what grows", "from – to", "cells", *(f"λ in {words}" for words in WRITTEN.values()))
    return (
        markdown_table(heads, rows)
        + "\n"
        + "".join(_steadiest(summary, size) for size in ("weights", "examples"))
    )


def _exponent(ends: tuple[float, float, float], seeds: int) -> list[float] | str:
    """With its interval, if seeds tell one."""
    return list(ends) if seeds > 1 else f"{ends[0]:.2f}"


def _steadiest(summary: Summary, size: str) -> str:
    """Which way to write the penalty keeps the best λ where it is."""
    own = [one for one in summary.exponents if one.size == size]
    if not own:
        return ""
    means = {name: np.mean([one.exponents[name][0] for one in own]) for name in WRITTEN}
    off = {name: round(float(np.mean([abs(one.exponents[name][0]) for one in own])), 6) for name in WRITTEN}
    best = min(off, key=lambda name: (off[name], name != HALF))
    each = ", ".join(f"{means[name]:.2f} in {WRITTEN[name]}" for name in WRITTEN)
    return (
        f"As the number of {size} grows, the exponent is on average {each} ({len(own)} rays): the best λ stays "
        f"nearest to where it is in {WRITTEN[best]} (exponents {off[best]:.2f} from 0 on average).\n\n"
    )


def laws_table(summary: Summary) -> str:
    """Everybody's mean regret."""
    rows = []
    for name, error in summary.errors.items():
        law = summary.laws.get(name)
        regret = error.regret
        decades = error.decades[np.isfinite(error.decades)]
        worst = np.sort(regret)[-max(1, len(regret) // 5) :].mean()
        rows.append(
            (
                name,
                law.law.form if law else "–",
                [float(regret.mean()), *summary.intervals[name]],
                f"{worst:.1f}",
                f"{decades.mean():.2f}" if len(decades) else "–",
                f"{100 * law.in_basin:.0f} %" if law else f"{100 * (regret <= TOLERANCE).mean():.0f} %",
                *(f"{law.others[kind]:.2f}" if law else "–" for kind in GROUPINGS if kind != "data"),
                summary.above_policy(name) or "–",
            )
        )
    heads = (
        "", "law", "regret, points [95 %]", "worst fifth", "decades from the best κ",
        f"cells within {TOLERANCE:g} points",
        *(f"regret, {kind} left out" for kind in GROUPINGS if kind != "data"),
        f"minus that of {summary.policy or 'a policy'} [95 %]",
    )  # fmt: skip
    return markdown_table(heads, rows)


def _families(summary: Summary) -> str:
    found = by_family(summary.distinct, summary.errors, GROUPINGS["data"])
    counts = {name: sum(curve.cell.family == name for curve in summary.distinct) for name in found}
    rows = [
        (name, counts[name], *(f"{value:.2f}" for value in values.values())) for name, values in found.items()
    ]
    mean = [np.mean([values[name] for values in found.values()]) for name in summary.errors]
    rows.append(("mean of families", len(summary.distinct), *(f"{value:.2f}" for value in mean)))
    return markdown_table(("family left out", "cells", *summary.errors), rows)


def _coefficients(summary: Summary) -> str:
    rows = [
        (name, one.law.form, ", ".join(f"{c:.2f}" for c in one.coefficients))
        for name, one in summary.laws.items()
    ]
    return markdown_table(("law", "form", "coefficients (log₁₀), all cells"), rows)
