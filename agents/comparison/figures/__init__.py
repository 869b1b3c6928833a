"""Figures of a comparison, drawn from its files alone, so that they can be drawn again at any time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from lambda_rl.agents.comparison.figures.accuracy_by_task import accuracy_by_task
from lambda_rl.agents.comparison.figures.accuracy_over_run import accuracy_over_run
from lambda_rl.agents.comparison.figures.constants import constants
from lambda_rl.agents.comparison.figures.cost import cost
from lambda_rl.agents.comparison.figures.differences import differences
from lambda_rl.agents.comparison.figures.lambda_trajectories import MAX_PANELS, lambda_trajectories
from lambda_rl.agents.comparison.figures.profiles import profiles
from lambda_rl.agents.comparison.figures.svg import inlined, svg
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.agents.presenting.style import png
from lambda_rl.files import atomic_write

__all__ = ["FIGURES", "MAX_PANELS", "NARROW", "WIDE", "Drawing", "draw_all", "inlined", "svg"]

WIDE, NARROW = 7.2, 3.7
"""Widths in inches, for a page and for a phone."""


@dataclass(frozen=True)
class Drawing:
    """A figure.

    Attributes:
        draw: draws it in a width in inches.
        of_decisions: whether it needs the trajectories, which may not have been kept.
    """

    draw: Callable[[Comparison, float], Figure]
    of_decisions: bool = False

    def possible(self, comparison: Comparison) -> bool:
        """Whether a comparison has what it needs."""
        return not self.of_decisions or not comparison.trajectories.empty


FIGURES: dict[str, Drawing] = {
    "accuracy_and_cost": Drawing(cost),
    "lambda_trajectories": Drawing(lambda_trajectories, of_decisions=True),
    "differences": Drawing(differences),
    "accuracy_by_task": Drawing(accuracy_by_task),
    "profiles": Drawing(profiles),
    "accuracy_over_run": Drawing(accuracy_over_run, of_decisions=True),
    "constants": Drawing(constants),
}
"""File stem to what draws it, in the order of the report."""


def draw_all(comparison: Comparison, folder: str | Path) -> list[Path]:
    """Writes every figure of a comparison as PNG and SVG into ``folder``, and returns their paths."""
    paths = []
    for name, drawing in FIGURES.items():
        if drawing.possible(comparison):
            figure = drawing.draw(comparison, WIDE)
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # laid out once for both files
            for ending, content in (("png", png(figure)), ("svg", svg(figure))):
                path = Path(folder) / f"{name}.{ending}"
                atomic_write(path, content)
                paths.append(path)
    return paths
