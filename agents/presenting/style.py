"""The style of all figures: size, ink, colours, axes, and how they become a file.

Colours are those of Okabe and Ito (2008), which people with colour-blindness can tell apart.
"""

from __future__ import annotations

import io
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 160
INK = "#333333"
"""Of text and of what stands for all."""
GREY = "#6B6B6B"
"""Of references: constants, and what others are measured against."""

PALETTE = ("#D55E00", "#E69F00", "#CC79A7", "#56B4E9", "#009E73")
"""Of lines that are told apart by their order; begins anew when it is used up."""
LEARNED_PALETTE = ("#0072B2", "#882255", "#117733", "#332288")
"""Of learned schedules, in every figure of the project."""
MARKERS = ("v", "^", "D", "s", "P")
"""Go with :data:`PALETTE`."""


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, grid: Literal["both", "x", "y"] = "both") -> None:
    """Quiet spines, ticks and grid lines."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.tick_params(which="both", colors=INK, labelsize=8)
    axes.grid(True, axis=grid, color="#E6E6E6", linewidth=0.7)
    axes.set_axisbelow(True)


def png(figure: Figure) -> bytes:
    """A figure as a PNG file, without a date in it: the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()
