"""A picture of an inner run so far: λ, losses and accuracies over progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

__all__ = ["draw_run"]

# Colours of Okabe and Ito, which people with colour-blindness can tell apart.
_LAM, _TRAIN, _VAL = "#009E73", "#0072B2", "#D55E00"
_INK, _FAINT = "#333333", "#DDDDDD"
_DPI = 100


def draw_run(
    history: Mapping[str, Sequence[float]],
    *,
    title: str,
    size: tuple[int, int] = (640, 480),
) -> npt.NDArray[np.uint8]:
    """Draws the run so far in three panels that share the axis of progress.

    Uses matplotlib's object interface on an Agg canvas: no display, no pyplot, no state outside this call.

    Args:
        history: One list a key, one entry a decision: ``progress`` in [0, 1], ``log_lam`` (log10 of λ),
            ``train_loss``, ``val_loss``, ``train_accuracy``, ``val_accuracy`` (fractions). Keys may be missing and
            lists may be empty or of unequal length; non-finite values leave a gap in the line.
        title: One line over the panels.
        size: Width and height in pixels, at least 64 each.

    Returns:
        The picture, uint8 ``[height, width, 3]``, RGB.

    Raises:
        ValueError: If the size is too small.
    """
    width, height = size
    if width < 64 or height < 64:
        raise ValueError(f"size of the picture is {width} x {height} pixels; at least 64 x 64 is needed")
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white", layout="constrained")
    canvas = FigureCanvasAgg(figure)
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    figure.suptitle(title, fontsize=10, color=_INK)

    progress = _column(history, "progress")
    _lambda_panel(top, progress, _column(history, "log_lam"))
    for axes, what in ((middle, "loss"), (bottom, "accuracy")):
        _style(axes, what)
        for key, label, colour in ((f"train_{what}", "train", _TRAIN), (f"val_{what}", "validation", _VAL)):
            _line(axes, progress, _column(history, key), colour, label)
    middle.legend(loc="best", fontsize=8, frameon=False, labelcolor=_INK, ncols=2)
    bottom.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0))
    bottom.set_xlim(0.0, 1.0)
    bottom.set_xlabel("progress of the inner run", fontsize=8, color=_INK)
    bottom.xaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0))

    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _column(history: Mapping[str, Sequence[float]], key: str) -> npt.NDArray[np.float64]:
    """One key as an array with NaN where it is not finite: a diverged run must not break the axes."""
    values = np.asarray(history.get(key, ()), dtype=np.float64).reshape(-1)
    return np.where(np.isfinite(values), values, np.nan)


def _style(axes: Axes, label: str) -> None:
    axes.set_ylabel(label, fontsize=8, color=_INK)
    axes.tick_params(labelsize=8, colors=_INK, length=0)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.grid(color=_FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_FAINT)


def _line(
    axes: Axes,
    progress: npt.NDArray[np.float64],
    values: npt.NDArray[np.float64],
    colour: str,
    label: str,
) -> None:
    n = min(len(progress), len(values))
    axes.plot(progress[:n], values[:n], color=colour, label=label, linewidth=1.6, marker="o", markersize=3)


def _lambda_panel(axes: Axes, progress: npt.NDArray[np.float64], log_lam: npt.NDArray[np.float64]) -> None:
    """λ is held over an interval, so it is drawn as steps that end where a row of the history was written."""
    _style(axes, r"log$_{10}$ λ")
    n = min(len(progress), len(log_lam))
    if n == 0:
        return
    # Row i was measured at the end of interval i, in which λ was log_lam[i]: it holds from row i-1 to row i.
    edges = np.concatenate([[0.0], progress[:n]])
    axes.stairs(log_lam[:n], edges, baseline=None, color=_LAM, linewidth=1.8)
    finite = log_lam[:n][np.isfinite(log_lam[:n])]
    if finite.size and float(np.ptp(finite)) < 0.5:  # a constant must not look like noise
        middle = float(finite.mean())
        axes.set_ylim(middle - 0.5, middle + 0.5)
