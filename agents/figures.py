"""Figures of a comparison, drawn from its files alone, so that they can be drawn again at any time.

Colours are those of Okabe and Ito (2008), which people with colour-blindness can tell apart.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from lambda_rl.agents.statistics import mean_interval
from lambda_rl.agents.summary import (
    BEST_SINGLE,
    BEST_SINGLE_HINDSIGHT,
    GRID_SEARCH,
    MEAN_CONSTANT,
    NO_PENALTY,
    ORACLE,
    scores_of,
)
from lambda_rl.files import atomic_write

COLOURS = {
    "pull-down": "#D55E00",
    "pull-up": "#E69F00",
    "cosine": "#CC79A7",
    "steps": "#56B4E9",
    "gap": "#009E73",
    BEST_SINGLE: "#6B6B6B",
    ORACLE: "#111111",
    GRID_SEARCH: "#6B6B6B",
}
LEARNED_COLOURS = ("#0072B2", "#882255", "#117733", "#332288")
OTHER = "#A0A0A0"
MARKERS = {
    "pull-down": "v",
    "pull-up": "^",
    "cosine": "D",
    "steps": "s",
    "gap": "P",
    ORACLE: "*",
    GRID_SEARCH: "X",
}
MAX_PANELS = 12
LEGEND_WIDTH = 7.2  # inches that the legend over the panels needs, however few panels there are
LOWEST_LAM = 1e-7  # where λ = 0 is drawn on a logarithmic axis
DPI = 160
_INK = "#333333"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, grid: str = "both") -> None:
    """Quiet spines, ticks and grid lines."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.tick_params(which="both", colors=_INK, labelsize=8)
    axes.grid(True, axis=grid, color="#E6E6E6", linewidth=0.7)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def png(figure: Figure) -> bytes:
    """A figure as a PNG file, without a date in it: the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def learned_names(summary: Mapping[str, Any]) -> list[str]:
    """The policies' names, best first."""
    return [name for name, item in summary["schedules"].items() if item["kind"] == "learned"]


def hand_designed_names(summary: Mapping[str, Any]) -> list[str]:
    """The hand-designed schedules' names, best first."""
    return [name for name, item in summary["schedules"].items() if item["kind"] == "hand-designed"]


def _colour(name: str, summary: Mapping[str, Any]) -> str:
    learned = sorted(learned_names(summary))
    if name in learned:
        return LEARNED_COLOURS[learned.index(name) % len(LEARNED_COLOURS)]
    return COLOURS.get(name, OTHER)


def _panels(tasks: Sequence[str]) -> list[str]:
    """At most ``MAX_PANELS`` tasks, spread over the list."""
    if len(tasks) <= MAX_PANELS:
        return list(tasks)
    return [tasks[i] for i in np.linspace(0, len(tasks) - 1, MAX_PANELS).round().astype(int)]


def lam_trajectories(results: pd.DataFrame, trajectories: pd.DataFrame, summary: Mapping[str, Any]) -> Figure:
    """λ over the run, one panel a task: learned runs (each seed, and their mean), tuned schedules, best constants."""
    tasks = _panels(summary["tasks"])
    # Of the widths that leave the fewest panels empty, the largest.
    columns = min(len(tasks), max((4, 3), key=lambda width: (-(-len(tasks) % width), width)))
    rows = math.ceil(len(tasks) / columns)
    figure = new_figure(max(2.6 * columns + 0.8, LEGEND_WIDTH), 2.05 * rows + 1.1)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    shown = learned_names(summary) + hand_designed_names(summary)
    best_lam = float(summary["best_single_constant"].partition(":")[2])
    for axes, task in zip(grid.flat, tasks, strict=False):
        dress(axes)
        part = trajectories[trajectories["task"] == task]
        oracle_lam = float(summary["oracle_constants"][task].partition(":")[2])
        axes.axhline(
            max(best_lam, LOWEST_LAM), color=COLOURS[BEST_SINGLE], linestyle=":", linewidth=1.4, zorder=2
        )
        axes.axhline(
            max(oracle_lam, LOWEST_LAM), color=COLOURS[ORACLE], linestyle="--", linewidth=1.2, zorder=2
        )
        for name in reversed(shown):
            lines = part[part["schedule"] == name]
            if lines.empty:
                continue
            learned = name in learned_names(summary)
            table = np.log10(
                np.maximum(lines.pivot(index="decision", columns="seed", values="lam").to_numpy(), LOWEST_LAM)
            )
            edges = _edges(lines)
            if learned:
                for seed in table.T:
                    axes.step(
                        edges, 10.0 ** _closed(seed), where="post", color=_colour(name, summary), alpha=0.3,
                        linewidth=0.7, zorder=4,
                    )  # fmt: skip
            mean = np.array([row[np.isfinite(row)].mean() for row in table])
            axes.step(
                edges, 10.0 ** _closed(mean), where="post", color=_colour(name, summary),
                alpha=1.0 if learned else 0.85, linewidth=2.2 if learned else 1.1, zorder=5 if learned else 3,
            )  # fmt: skip
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(10, numticks=6))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_title(task, fontsize=8, color=_INK)
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xticks([0, 0.5, 1.0])
    for place, axes in enumerate(grid.flat):
        if place >= len(tasks):
            axes.remove()
        elif place + columns >= len(tasks):
            axes.tick_params(labelbottom=True)
    handles = [
        Line2D(
            [],
            [],
            color=_colour(name, summary),
            linewidth=2.2 if name in learned_names(summary) else 1.3,
            label=name,
        )
        for name in shown
    ]
    handles.append(
        Line2D([], [], color=COLOURS[BEST_SINGLE], linestyle=":", linewidth=1.6, label="best single constant")
    )
    handles.append(
        Line2D(
            [], [], color=COLOURS[ORACLE], linestyle="--", linewidth=1.4, label="oracle constant of the task"
        )
    )
    figure.legend(
        handles=handles, loc="outside upper center", ncols=min(5, len(handles)), frameon=False, fontsize=8
    )
    figure.supxlabel("share of the run", fontsize=9, color=_INK)
    figure.supylabel("λ (log scale)", fontsize=9, color=_INK)
    return figure


def _edges(lines: pd.DataFrame) -> np.ndarray:
    """Where the intervals begin, and the end of the last one."""
    ends = lines.groupby("decision")["progress"].max().to_numpy()
    return np.concatenate([[0.0], ends])


def _closed(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values, values[-1:]])


def accuracy_over_run(
    results: pd.DataFrame, trajectories: pd.DataFrame, summary: Mapping[str, Any]
) -> Figure:
    """Validation accuracy, mean over tasks and seeds, against the share of the run."""
    figure = new_figure(7.2, 4.3)
    axes = figure.subplots()
    dress(axes)
    best = str(summary["best_single_constant"])
    shown = [*learned_names(summary), *hand_designed_names(summary), best, NO_PENALTY]
    grid = np.linspace(0.0, 1.0, 41)[1:]
    chance = 100.0 / summary.get("num_classes", 10)
    ends = []
    for name in shown:
        curve = _mean_curve(trajectories[trajectories["schedule"] == name], grid, chance)
        learned = name in learned_names(summary)
        label = f"best single constant ({best.partition(':')[2]})" if name == best else name
        colour = COLOURS[BEST_SINGLE] if name == best else _colour(name, summary)
        style = ":" if name == best else "--" if name == NO_PENALTY else "-"
        axes.plot(
            grid, curve, style, color=colour, linewidth=2.4 if learned else 1.4, label=f"{label}  {curve[-1]:.1f}",
            zorder=5 if learned else 3,
        )  # fmt: skip
        ends.append((curve[-1], label))
    order = np.argsort([-end for end, _ in ends])
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        [handles[i] for i in order], [labels[i] for i in order], frameon=False, fontsize=8, loc="center left",
        bbox_to_anchor=(1.01, 0.5), title="schedule, accuracy at the end (%)", title_fontsize=8, alignment="left",
    )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("share of the run", fontsize=9, color=_INK)
    axes.set_ylabel("validation accuracy, mean (%)", fontsize=9, color=_INK)
    return figure


def _mean_curve(lines: pd.DataFrame, grid: np.ndarray, chance: float) -> np.ndarray:
    """Mean over runs at equal shares of the run; a run that diverged early stays at chance from there on."""
    curves = []
    for _, run in lines.groupby(["task", "seed"]):
        progress, accuracy = run["progress"].to_numpy(), run["val_accuracy"].to_numpy(np.float64)
        accuracy = np.where(np.isfinite(accuracy), accuracy, chance)
        end = chance if progress[-1] < 0.999 else accuracy[-1]
        curves.append(np.interp(grid, progress, accuracy, left=np.nan, right=end))
    return np.mean(curves, axis=0)


def accuracy_by_task(results: pd.DataFrame, trajectories: pd.DataFrame, summary: Mapping[str, Any]) -> Figure:
    """Difference in test accuracy to the best single constant, by task; intervals of the learned ones over seeds.

    An open triangle at the left edge is a schedule whose mean lies further left.
    """
    tasks = list(summary["tasks"])
    learned = learned_names(summary)
    figure = new_figure(7.8, 0.42 * len(tasks) + 1.9)
    axes = figure.subplots()
    dress(axes, "x")
    base = scores_of(results, BEST_SINGLE)
    places = np.arange(len(tasks))[::-1].astype(float)
    for place in places[::2]:
        axes.axhspan(place - 0.5, place + 0.5, color="#F6F6F6", zorder=0)
    axes.axvline(0, color=COLOURS[BEST_SINGLE], linestyle=":", linewidth=1.4, zorder=1)
    shown = [*hand_designed_names(summary), GRID_SEARCH, ORACLE]
    means = {name: (scores_of(results, name) - base).mean(1) for name in [*shown, *learned]}
    low = _low_end(means, learned)
    for name in shown:
        outside = means[name] < low
        axes.scatter(
            np.full(outside.sum(), low), places[outside], s=30, marker="<", facecolors="none",
            edgecolors=_colour(name, summary), zorder=3,
        )  # fmt: skip
        mean = np.where(outside, np.nan, means[name])
        axes.scatter(
            mean, places, s=70 if name == ORACLE else 26, marker=MARKERS.get(name, "o"), color=_colour(name, summary),
            linewidths=0, alpha=0.9, zorder=3, label=name,
        )  # fmt: skip
    for index, name in enumerate(learned):
        difference = scores_of(results, name) - base
        offset = 0.16 * (index - (len(learned) - 1) / 2)
        ends = np.array([mean_interval(row) for row in difference])
        axes.hlines(
            places - offset, ends[:, 0], ends[:, 1], color=_colour(name, summary), linewidth=1.8, zorder=4
        )
        axes.scatter(
            difference.mean(1), places - offset, s=48, color=_colour(name, summary), edgecolors="white",
            linewidths=0.7, zorder=5, label=name,
        )  # fmt: skip
    axes.set_yticks(places, tasks)
    axes.set_ylim(-0.6, len(tasks) - 0.4)
    axes.set_xlabel("test accuracy minus the best single constant's (points)", fontsize=9, color=_INK)
    high = max(0.0, *(float(mean.max()) for mean in means.values()))
    axes.set_xlim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    handles, labels = axes.get_legend_handles_labels()
    order = [*range(len(shown), len(labels)), *range(len(shown))]
    figure.legend(
        [handles[i] for i in order], [labels[i] for i in order], loc="outside lower center", frameon=False, fontsize=8,
        ncols=4,
    )  # fmt: skip
    return figure


def _low_end(means: Mapping[str, np.ndarray], learned: Sequence[str]) -> float:
    """Left end of the axis: all learned means lie on it; a much worse schedule must not squeeze all others."""
    values = np.concatenate([np.ravel(mean) for mean in means.values()])
    own = [float(means[name].min()) for name in learned]
    return min(0.0, -0.5, *own, float(np.quantile(values, 0.1)))


def differences(results: pd.DataFrame, trajectories: pd.DataFrame, summary: Mapping[str, Any]) -> Figure:
    """Every schedule's mean difference to the best single constant with its 95% interval, and what it costs."""
    drop = {BEST_SINGLE_HINDSIGHT, str(summary["best_single_constant"])}
    items = [
        (name, item)
        for name, item in summary["schedules"].items()
        if name not in drop and (item["kind"] != "constant" or name == NO_PENALTY)
    ]
    far = MEAN_CONSTANT  # off the scale in most suites; its number stands in the table
    items = [(name, item) for name, item in items if name != far][::-1]
    figure = new_figure(7.2, 0.34 * len(items) + 1.0)
    axes = figure.subplots()
    dress(axes, "x")
    axes.axvline(0, color=COLOURS[BEST_SINGLE], linestyle=":", linewidth=1.4)
    for place, (name, item) in enumerate(items):
        colour = _colour(name, summary)
        learned = item["kind"] == "learned"
        axes.hlines(place, *item["ci95"], color=colour, linewidth=2.4 if learned else 1.5)
        axes.scatter(
            item["difference_mean"], place, s=60 if learned else 30, color=colour, edgecolors="white", linewidths=0.6,
            zorder=4,
        )  # fmt: skip
        runs = item["inner_runs"]
        axes.annotate(
            f"{item['difference_mean']:+.2f}   {runs} run{'s' if runs > 1 else ''}", (1.01, place),
            xycoords=("axes fraction", "data"), va="center", fontsize=8, color=_INK,
        )  # fmt: skip
    axes.set_yticks(range(len(items)), [name for name, _ in items])
    for label, (_, item) in zip(axes.get_yticklabels(), items, strict=True):
        label.set_fontweight("bold" if item["kind"] == "learned" else "normal")
    axes.set_ylim(-0.6, len(items) - 0.4)
    axes.set_xlabel(
        "test accuracy minus the best single constant's (points), 95 % interval", fontsize=9, color=_INK
    )
    return figure


def constants(results: pd.DataFrame, trajectories: pd.DataFrame, summary: Mapping[str, Any]) -> Figure:
    """Test accuracy against a constant λ: each task, their mean, and the learned schedules' means."""
    figure = new_figure(7.2, 4.0)
    axes = figure.subplots()
    dress(axes)
    names = [name for name in summary["constants"] if float(name.partition(":")[2]) > 0]
    lams = [float(name.partition(":")[2]) for name in names]
    table = np.stack([scores_of(results, name).mean(1) for name in names], 1)
    for row in table:
        axes.plot(lams, row, color="#C4C4C4", linewidth=0.9, zorder=2)
        axes.scatter(lams[int(row.argmax())], row.max(), s=14, color="#8C8C8C", zorder=3, linewidths=0)
    axes.plot(lams, table.mean(0), color=_INK, linewidth=2.0, marker="o", markersize=4, zorder=4)
    for name in learned_names(summary):
        mean = summary["schedules"][name]["test_accuracy_mean"]
        axes.axhline(mean, color=_colour(name, summary), linewidth=2.0, zorder=3)
    handles = [
        Line2D([], [], color=_INK, marker="o", markersize=4, linewidth=2.0, label="constant λ, mean over tasks"),
        Line2D([], [], color="#C4C4C4", marker="o", markersize=4, markerfacecolor="#8C8C8C",
               markeredgewidth=0, label="one task, and its best constant"),
        *(
            Line2D([], [], color=_colour(name, summary), linewidth=2.0, label=f"{name}, mean over tasks")
            for name in learned_names(summary)
        ),
    ]  # fmt: skip
    figure.legend(
        handles=handles, frameon=False, fontsize=8, loc="outside lower center", ncols=min(3, len(handles))
    )
    axes.set_xscale("log")
    axes.set_xlabel("constant λ (log scale)", fontsize=9, color=_INK)
    axes.set_ylabel("test accuracy (%)", fontsize=9, color=_INK)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return figure


Drawing = Callable[[pd.DataFrame, pd.DataFrame, Mapping[str, Any]], Figure]

FIGURES: dict[str, Drawing] = {
    "differences": differences,
    "accuracy_by_task": accuracy_by_task,
    "lambda_trajectories": lam_trajectories,
    "accuracy_over_run": accuracy_over_run,
    "constants": constants,
}
"""File stem to the function that draws it."""


def draw_all(
    results: pd.DataFrame, trajectories: pd.DataFrame, summary: Mapping[str, Any], folder: str | Path
) -> list[Path]:
    """Writes every figure of a comparison as PNG into ``folder``, and returns their paths."""
    paths = []
    for name, draw in FIGURES.items():
        path = Path(folder) / f"{name}.png"
        atomic_write(path, png(draw(results, trajectories, summary)))
        paths.append(path)
    return paths
