"""Figures of a comparison, one file each, drawn from its files alone, so that they can be drawn again at any time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from lambda_rl.agents.comparison.figures.accuracy_by_task import accuracy_by_task
from lambda_rl.agents.comparison.figures.accuracy_over_run import accuracy_over_run
from lambda_rl.agents.comparison.figures.constants import constants
from lambda_rl.agents.comparison.figures.differences import differences
from lambda_rl.agents.comparison.figures.lambda_trajectories import MAX_PANELS, lambda_trajectories
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.agents.presenting.style import png
from lambda_rl.files import atomic_write

__all__ = ["FIGURES", "MAX_PANELS", "draw_all"]

FIGURES: dict[str, Callable[[Comparison], Figure]] = {
    "differences": differences,
    "accuracy_by_task": accuracy_by_task,
    "lambda_trajectories": lambda_trajectories,
    "accuracy_over_run": accuracy_over_run,
    "constants": constants,
}
"""File stem to the function that draws it."""


def draw_all(comparison: Comparison, folder: str | Path) -> list[Path]:
    """Writes every figure of a comparison as PNG into ``folder``, and returns their paths."""
    paths = []
    for name, draw in FIGURES.items():
        path = Path(folder) / f"{name}.png"
        atomic_write(path, png(draw(comparison)))
        paths.append(path)
    return paths
