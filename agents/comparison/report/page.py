"""Writes the page, and the tables beside it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

import jinja2

from lambda_rl.agents.comparison.evidence import pairs_frame, standings_frame
from lambda_rl.agents.comparison.figures import FIGURES, NARROW, inlined, svg
from lambda_rl.agents.comparison.report import rows, telling
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.files import atomic_write

REPORT_NAME, STANDINGS_NAME, PAIRS_NAME = "report.html", "standings.csv", "pairs.csv"

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("lambda_rl.agents.comparison"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_report(folder: str | Path, comparison: Comparison) -> Path:
    """Writes ``report.html``, ``standings.csv`` and ``pairs.csv``.

    The page has its figures, style and script within it, asks for nothing, and runs no other script: what stands in
    a summary is text.

    Args:
        folder: that the files go to; it holds the figures as SVG files.
        comparison: what was found.

    Returns:
        Path of the report.

    Raises:
        FileNotFoundError: a figure is missing.
    """
    folder, evidence = Path(folder), comparison.evidence
    for name, frame in ((STANDINGS_NAME, standings_frame(evidence)), (PAIRS_NAME, pairs_frame(evidence))):
        atomic_write(folder / name, str(frame.to_csv(index=False, float_format="%.6g")))
    figures = _figures(folder, comparison)
    path = folder / REPORT_NAME
    atomic_write(path, page(comparison, figures))
    return path


def page(comparison: Comparison, figures: Mapping[str, telling.Picture]) -> str:
    """The text of the report."""
    summary, evidence = comparison.summary, comparison.evidence
    script = _source("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _ENVIRONMENT.get_template(f"{REPORT_NAME}.j2").render(
        title=f"λ schedules on {summary.suite}",
        summary=summary,
        meta=telling.meta(summary),
        policies=telling.policies(summary),
        cards=telling.cards(summary, evidence),
        words=telling.glossary(summary),
        caveats=telling.caveats(summary),
        figures=figures,
        schedules=rows.schedules(summary, evidence),
        constants=rows.constants(summary, evidence),
        pairs=rows.pairs(evidence),
        asked=rows.asked(evidence),
        ablations=rows.ablations(summary, evidence),
        costs=rows.costs(evidence),
        by_task=rows.by_task(summary, evidence),
        tasks=rows.tasks(summary),
        style=_source("report.css"),
        script=script,
        digest=digest,
    )


def _source(name: str) -> str:
    """A part of the page that is no template."""
    assert _ENVIRONMENT.loader is not None
    return _ENVIRONMENT.loader.get_source(_ENVIRONMENT, name)[0]


def _figures(folder: Path, comparison: Comparison) -> dict[str, telling.Picture]:
    """Each figure for a page, out of its file, and for a phone; none of decisions where none were kept."""
    captions = telling.captions(comparison.summary)
    pictures = {}
    for name, caption in captions.items():
        drawing = FIGURES[name]
        if drawing.possible(comparison):
            path = folder / f"{name}.svg"
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing; draw the figures first")
            narrow = svg(drawing.draw(comparison, NARROW))
            pictures[name] = telling.Picture(
                caption,
                inlined(path.read_bytes(), f"{name}-wide", caption),
                inlined(narrow, f"{name}-narrow", caption),
            )
    return pictures
