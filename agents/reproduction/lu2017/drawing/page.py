"""Fills the marked blocks of ``docs/lu2017.md``, or of a page like it, out of ``summary.json``."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lambda_rl.agents.presenting.markdown import fill_page, markdown_table
from lambda_rl.agents.reproduction.lu2017.drawing.figures import DRAWN
from lambda_rl.files import atomic_path

RESULTS = "results/{}"
"""Where figures, ``summary.json`` and ``results.csv`` are copied to, beside the page of a name."""

NOT_RUN = "*Not run yet: `python scripts/reproduce_lu2017.py --page docs/lu2017.md …` fills this in.*"

CAPTIONS: dict[str, str] = {
    "figure-1": "Gain over the best constant, by iterations per constant, a line for each number of hidden units",
    "figure-1-sensitivity": "Pull-down and pull-up with one thing changed at a time",
    "figure-2": "Test accuracy by hidden units",
    "figure-3": "Gain of the gap rule by hidden units",
    "figure-4": "The convolutional network over its epochs",
    "figures-5-to-7": "Three penalties and their pull on a weight",
    "figure-8": "Accuracy change of schedules under L½",
    "figure-8-sparsity": "Weights at zero, by penalty",
    "figure-8-sensitivity": "L½ with other lists of constants",
}


def _signed(value: Sequence[float | None]) -> str:
    mean, low, high = value
    if mean is None or low is None or high is None:
        return "–"
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"


def claim_text(item: Mapping[str, Any]) -> str:
    """A claim, its verdict and the numbers behind it."""
    rows = [
        [
            part["text"],
            _signed(part["estimate"]),
            part["unit"],
            ("yes" if part["holds"] else "no") if part["counts"] else "(told only)",
        ]
        for part in item["parts"]
    ]
    where = f"\nCell by cell: {item['where']}.\n" if item["where"] else ""
    return (
        f"**({item['key']}) {item['claim']}** Verdict: **{item['verdict']}**.\n\n"
        + markdown_table(["part", "mean [95 %]", "unit", "above 0"], rows)
        + where
    )


def _verdicts(summary: Mapping[str, Any]) -> str:
    rows = []
    for item in summary["claims"]:
        effect = _signed(item["parts"][0]["estimate"])
        rows.append([f"({item['key']})", item["figure"], item["claim"], f"**{item['verdict']}**", effect])
    return markdown_table(["", "figure", "claim", "verdict", "the effect, mean [95 %]"], rows)


def _origin(summary: Mapping[str, Any]) -> str:
    settings, origin = summary["settings"], summary["origin"]
    budget = settings["budget"]
    side, filters, epochs = (budget[key] for key in ("resolution", "cnn_width", "cnn_epochs"))
    widths, iterations = (", ".join(map(str, budget[key])) for key in ("widths", "iterations"))
    nonconvex = settings["policy_l0.5"] or "none was given, so Figure 8 has no learned curve"
    lines = [
        f"- `{origin['command']}`, {origin['seconds'] / 60:.0f} minutes on {origin['hardware']}; commit "
        f"{origin['commit'][:12]}, torch {origin['versions']['torch']}.",
        f"- {summary['runs']:,} runs, {budget['seeds']} seeds. Budget {settings['budget_name']}: {widths} hidden "
        f"units; {iterations} iterations per constant (Figures 2, 3 and 8: {budget['column']:,}); images of "
        f"{side}×{side} pixels, {budget['train_size']:,} for training and {budget['val_size']:,} for validation. "
        f"Convolutional network: {filters} filters, {epochs} epochs, {budget['cnn_val_size']:,} validation images. "
        f"Sensitivity: {budget['sensitivity_width']} hidden units, {budget['sensitivity_iterations']} iterations per "
        "constant. Gains are on all test images.",
        f"- Data: {origin['data']}, training images {settings['train_fingerprint'][:12]}, test images "
        f"{settings['test_fingerprint'][:12]}. Learned policy: {settings['policy'] or 'none'}; for L½: {nonconvex}.",
    ]
    if summary["diverged"]:
        listed = "; ".join(f"{name}: {count}" for name, count in summary["diverged"].items())
        lines.append(f"- Runs that diverged count as guessing: {listed}.")
    if summary["warned"]:
        listed = "; ".join(f"{count} × “{text}”" for text, count in summary["warned"].items())
        lines.append(f"- Of {summary['learned_runs']} learned runs, so many warned: {listed}.")
    return "\n".join([*lines, *_added(summary)]) + "\n"


def _added(summary: Mapping[str, Any]) -> list[str]:
    """What was added to published rows, if anything was."""
    if "added" not in summary:
        return []
    added, origin = summary["added"], summary["added"]["origin"]
    again = added["again"]
    return [
        f"- The learned curve of Figure 8 was added later, {added['runs']} runs: `{origin['command']}`, commit "
        f"{origin['commit'][:12]}, torch {origin['versions']['torch']}, {origin['hardware']}. {again['runs']} runs "
        "under constants were done once more with it: their accuracies differ from the published ones by "
        f"{again['mean']:.2f} points on average, by {again['largest']:.2f} at most."
    ]


def blocks(summary: Mapping[str, Any], page: str) -> dict[str, str]:
    """All blocks that the summary can fill, by name.

    ``verdicts``, ``origin``; ``claim-a`` …; ``table-1-pull-down`` …; ``image-figure-1`` ….

    Args:
        summary: content of ``summary.json``.
        page: name of the page, without its ending.
    """
    made = {"verdicts": _verdicts(summary), "origin": _origin(summary)}
    made |= {f"claim-{item['key']}": claim_text(item) for item in summary["claims"]}
    for number, tables in summary["tables"].items():
        for name, table in tables.items():
            made[f"table-{number}-{name}"] = markdown_table(table["columns"], table["rows"])
    for number in summary["figures"]:
        for name in DRAWN[number]:
            made[f"image-{name}"] = f"![{CAPTIONS[name]}]({RESULTS.format(page)}/{name}.png)\n"
    return made


def publish_added(page: Path, summary: Mapping[str, Any]) -> None:
    """Fills what changes where learned runs are added to Figure 8.

    Raises:
        ValueError: the page lacks one of the blocks.
    """
    made = blocks({**summary, "figures": []}, page.stem)
    fill_page(page, {name: made[name] for name in ("origin", "table-8-widths")}, None)


def publish(page: Path, summary: Mapping[str, Any], folder: Path) -> None:
    """Fills the page, and copies figures, ``summary.json`` and ``results.csv`` beside it.

    Args:
        page: has the blocks.
        summary: content of ``summary.json``.
        folder: where the figures are.

    Raises:
        ValueError: the page has no blocks, or lacks one that could be filled.
    """
    fill_page(page, blocks(summary, page.stem), NOT_RUN)
    target = page.parent / RESULTS.format(page.stem)
    names = [f"{name}.png" for number in summary["figures"] for name in DRAWN[number]]
    for name in ("summary.json", "results.csv", *names):
        with atomic_path(target / name) as temporary:
            shutil.copyfile(folder / name, temporary)
