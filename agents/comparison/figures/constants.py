"""What λ does where it is held."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from lambda_rl.agents.comparison.figures.looks import by_training, lam_of, looks
from lambda_rl.agents.comparison.figures.svg import legend_entry, tip
from lambda_rl.agents.comparison.results import LEARNED, Summary
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.agents.presenting.style import INK, dress, new_figure

_CLIFF = 8.0  # points below a task's best constant that are shown; below that all training fails


def constants(comparison: Comparison, width: float) -> Figure:
    """Test accuracy against a constant λ: each task by its training images, their mean, and the policies' means."""
    results, summary = comparison.results, comparison.summary
    figure = new_figure(width, 3.9 if width > 5 else 4.4)
    axes = figure.subplots()
    dress(axes)
    names = [name for name in summary.constants if lam_of(name) > 0]
    lams = [lam_of(name) for name in names]
    table = np.stack([results.scores(name).mean(1) for name in names], 1)
    colours = _colours(summary)
    for task, row in zip(summary.tasks, table, strict=True):
        size, best = _images(summary, task), int(row.argmax())
        (line,) = axes.plot(lams, row, color=colours[size], linewidth=1.1, zorder=2)
        point = axes.scatter(lams[best], row[best], s=26, color=colours[size], zorder=3, linewidths=0)
        for artist in (line, point):
            tip(
                artist,
                f"{task}: {row[best]:.1f} % at its best constant, λ = {lams[best]:g}",
                f"{size:,} images",
            )
    axes.plot(lams, table.mean(0), color=INK, linewidth=2.0, marker="o", markersize=4, zorder=4)
    _policies(axes, summary)
    low = min(float((table.max(1) - _CLIFF).min()), summary.schedules[names[0]].test_accuracy_mean)
    axes.set_ylim(max(low, float(table.min()) - 1.0), float(table.max()) + 1.0)
    axes.set_xscale("log")
    axes.set_xlabel("constant λ (log scale)", fontsize=9, color=INK)
    axes.set_ylabel("test accuracy (%)", fontsize=9, color=INK)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _legend(figure, summary, colours, width)
    return figure


def _images(summary: Summary, task: str) -> int:
    return int(str(summary.task_fields[task]["train_size"]))


def _colours(summary: Summary) -> dict[int, str]:
    """By number of training images, from few, light, to many, dark."""
    sizes = sorted({_images(summary, task) for task in summary.tasks})
    low, high = math.log(sizes[0]), math.log(sizes[-1])
    shades = mpl.colormaps["viridis_r"]
    places = [(math.log(size) - low) / (high - low) if high > low else 0.5 for size in sizes]
    return {
        size: mpl.colors.to_hex(shades(0.12 + 0.78 * place))
        for size, place in zip(sizes, places, strict=True)
    }


def _policies(axes: Axes, summary: Summary) -> None:
    look = looks(summary)
    for name, members in by_training(summary.of_kind(LEARNED)).items():
        accuracy = float(np.mean([summary.schedules[member].test_accuracy_mean for member in members]))
        line = axes.axhline(accuracy, color=look[name].colour, linewidth=1.8, linestyle="--", zorder=3)
        tip(line, f"{name}: {accuracy:.2f} %, mean over tasks", name)


def _legend(figure: Figure, summary: Summary, colours: dict[int, str], width: float) -> None:
    look, learned = looks(summary), list(by_training(summary.of_kind(LEARNED)))
    sizes: Sequence[int] = sorted(colours)
    if len(sizes) > 6:
        sizes = [sizes[i] for i in np.linspace(0, len(sizes) - 1, 6).round().astype(int)]
    images = {f"{size:,} images": colours[size] for size in sizes}
    handles = [
        *(
            Line2D([], [], color=colour, marker="o", markersize=4, linewidth=1.1, label=f"task of {text}")
            for text, colour in images.items()
        ),
        Line2D([], [], color=INK, marker="o", markersize=4, linewidth=2.0, label="mean over tasks"),
        *(
            Line2D([], [], color=look[name].colour, linewidth=1.8, linestyle="--", label=f"{name}, mean")
            for name in learned
        ),
    ]
    legend = figure.legend(
        handles=handles, frameon=False, fontsize=8, loc="outside lower center", ncols=3 if width > 5 else 2
    )
    groups = {f"task of {text}": text for text in images} if len(colours) <= 6 else {}
    legend_entry(legend, groups | {f"{name}, mean": name for name in learned})
