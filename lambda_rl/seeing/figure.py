"""The figure of a history: κ or λ over a run, where a rule held it, and the signals that were given."""

from __future__ import annotations

from collections.abc import Sequence

from lambda_rl.seeing.words import Row, number, signals

try:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter
except ImportError as error:
    raise ImportError("plot() needs matplotlib: pip install matplotlib") from error

__all__ = ["Figure", "draw"]

# Colours of Okabe and Ito (2008), which people with colour-blindness can tell apart.
_INK, _FAINT = "#333333", "#E6E6E6"
_TRAIN, _VAL = "#0072B2", "#D55E00"
_HOLDERS = ("#D55E00", "#CC79A7", "#E69F00", "#009E73", "#56B4E9")
_MOST_PANELS = 6
_NAMES = {
    "train_loss": "training",
    "train_accuracy": "training",
    "val_loss": "validation",
    "val_accuracy": "validation",
}


def draw(history: Sequence[Row], title: str) -> Figure:
    """Draws a history; object interface of matplotlib, no display and no state outside.

    Args:
        history: of a schedule, a row or more.
        title: one line over it.
    """
    panels = _panels(history)
    figure = Figure(figsize=(6.4, 2.0 + 1.4 * len(panels)), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    column = figure.subplots(
        1 + len(panels), 1, sharex=True, squeeze=False, height_ratios=[1.6, *[1] * len(panels)]
    )
    top, *others = column[:, 0]
    at = [number(row, "progress") for row in history]
    known = None not in at
    x = [float(p) for p in at if p is not None] if known else [float(i) for i in range(len(history))]
    _strength(top, history, x)
    top.set_title(title if len(title) <= 80 else title[:79] + "…", fontsize=9, color=_INK)
    for axes, names in zip(others, panels, strict=True):
        _lines(axes, history, x, names)
    for axes in (top, *others):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(which="both", colors=_INK, labelsize=8)
        axes.grid(True, color=_FAINT, linewidth=0.7)
        axes.set_axisbelow(True)
    last = column[-1, 0]
    last.set_xlabel("share of the run" if known else "calls of step()", fontsize=9)
    last.set_xlim(0, max(1.0, *x))
    if known:
        last.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    figure.align_ylabels()
    return figure


def _panels(history: Sequence[Row]) -> list[list[str]]:
    """The names of the signals of each panel below λ: losses, accuracies, and one for each other signal."""
    names = list(dict.fromkeys(name for row in history for name in signals(row)))
    kinds = [[name for name in names if name.endswith(end)] for end in ("loss", "accuracy")]
    others = [[name] for name in names if not name.endswith(("loss", "accuracy"))]
    return [names for names in (*kinds, *others) if names][: _MOST_PANELS - 1]


def _strength(axes: Axes, history: Sequence[Row], x: Sequence[float]) -> None:
    """λ as steps, κ where all rows have it; what was asked for instead, and by which rule it was held."""
    moves_kappa = all(number(row, "kappa") is not None for row in history)
    lams = [number(row, "lam") or 0.0 for row in history]
    values = [number(row, "kappa") or 0.0 for row in history] if moves_kappa else lams
    end = max(1.0, x[-1]) if len(x) == 1 else x[-1]
    axes.step([*x, end], [*values, values[-1]], where="post", color=_INK, linewidth=1.8)
    if min(values) > 0:
        axes.set_yscale("log")
        digits = "25" if max(values) > 3 * min(values) else "2345678"  # of the labels between powers of ten
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda value, _: f"{value:.3g}" if f"{value:e}"[0] in digits else "")
    axes.set_ylabel("κ (decay budget)" if moves_kappa else "λ", fontsize=9)
    held: dict[str, list[int]] = {}
    for i, row in enumerate(history):
        if row.get("held"):
            held.setdefault(str(row["held"]), []).append(i)
    for j, (rule, rows) in enumerate(held.items()):
        colour = _HOLDERS[j % len(_HOLDERS)]
        axes.scatter(
            [x[i] for i in rows],
            [values[i] for i in rows],
            s=26,
            color=colour,
            zorder=3,
            label=f"held: {rule}",
        )
        for i in rows:
            asked = number(history[i], "asked")
            if asked is not None and asked > 0 and lams[i] > 0:
                wish = asked * values[i] / lams[i]
                axes.plot([x[i], x[i]], [values[i], wish], ":", color=colour, linewidth=1.0, zorder=2)
                axes.scatter([x[i]], [wish], s=26, facecolors="none", edgecolors=colour, zorder=3)
    if held:
        axes.legend(frameon=False, fontsize=8, title="filled: in force, hollow: asked for", title_fontsize=7)


def _lines(axes: Axes, history: Sequence[Row], x: Sequence[float], names: Sequence[str]) -> None:
    """Signals over the run, each a line through the rows that have it."""
    for name in names:
        there = [
            (at, value)
            for at, row in zip(x, history, strict=True)
            if (value := signals(row).get(name)) is not None
        ]
        colour = _TRAIN if name.startswith("train") else _VAL if name.startswith("val") else _INK
        axes.plot(
            *zip(*there, strict=True),
            ".-",
            color=colour,
            linewidth=1.5,
            markersize=4,
            label=_NAMES.get(name, name),
        )
    several = len(names) > 1
    axes.set_ylabel(names[0].rpartition("_")[2] if several else names[0], fontsize=9)
    if several:
        axes.legend(frameon=False, fontsize=8)
