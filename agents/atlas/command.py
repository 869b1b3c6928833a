"""What ``lambda-rl atlas`` does: measure what is missing, keep it, sum up, draw, fill the page."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from lambda_rl import load_policy
from lambda_rl.agents.atlas.curves import curves_of
from lambda_rl.agents.atlas.design import Cell, design
from lambda_rl.agents.atlas.figures import costs, factors, sizes
from lambda_rl.agents.atlas.laws import GROUPINGS
from lambda_rl.agents.atlas.measure import Ground, Piece, survey
from lambda_rl.agents.atlas.page import laws_table, page_blocks
from lambda_rl.agents.atlas.rows import LOG_KAPPAS, Key, add, order, read_constants, read_policies
from lambda_rl.agents.atlas.summary import Summary, suggest_table, summarise, table_of
from lambda_rl.agents.clusters import Spread
from lambda_rl.agents.options import ClusterOptions, DataOptions
from lambda_rl.agents.presenting.markdown import fill_page
from lambda_rl.agents.presenting.progress import Bar
from lambda_rl.agents.presenting.style import png
from lambda_rl.agents.record.provenance import provenance
from lambda_rl.checks import bounded_int, did_you_mean
from lambda_rl.files import atomic_write

LARGE = 3.0
"""Seconds of a core from which on a cell waits for the smaller ones."""


@dataclass(frozen=True, kw_only=True)
class AtlasConfig(ClusterOptions, DataOptions):
    """Measures the best constant λ and κ over networks, data, optimizers and budgets, and fits laws to it.

    A command that was cut off goes on when it is given again, and nothing is ever done twice.

    Attributes:
        out: folder for rows.csv, cells.csv, summary.json and figures.
        cells: beginnings of names of cells, such as cifar-adamw or drawn-0; none: all.
        drawn: cells of which all factors are drawn, beside the stars.
        seeds: of each cell.
        policy: what the laws are held against, a file or the name of a shipped one; empty: nothing.
        workers: processes of one thread each; up to 1: this one.
        measure: run what is missing; without it, rows are only summed up.
        page: Markdown page whose blocks are filled, such as docs/atlas.md; empty: none.
        table: where the laws go that suggest_weight_decay takes, such as lambda_rl/suggest/atlas.json; empty: nowhere.
    """

    out: Path = Path("docs/results/atlas")
    cells: tuple[str, ...] = ()
    drawn: int = 134
    seeds: int = 3
    policy: str = "any-loop"
    workers: int = 0
    measure: bool = True
    page: str = ""
    table: str = ""


def run_atlas(config: AtlasConfig) -> None:
    """Measures and writes.

    Raises:
        ValueError: an option is out of range, the folder holds something else, or there is too little to sum up.
    """
    bounded_int("--drawn", config.drawn, 0, 100_000)
    bounded_int("--seeds", config.seeds, 1, 1000)
    bounded_int("--workers", config.workers, 0, 256)
    if config.page and not Path(config.page).is_file():
        raise ValueError(f"{config.page}: no such page to fill")
    cells = selected(design(config.drawn), config.cells)
    pieces = _pieces(config, cells)
    fingerprint = load_policy(config.policy).fingerprint if config.policy else ""
    if config.measure:
        _measured(config, pieces, fingerprint)
    known = read_constants(config.out)
    played = {
        row.key[:2]: row for row in read_policies(config.out).values() if row.fingerprint == fingerprint
    }
    curves = curves_of(_in_order(cells, pieces), known, config.seeds, played)
    if len(curves) < len(cells):
        print(f"{len(curves)} of {len(cells)} cells have all their seeds; the others are left out")
    if any(len({family(curve) for curve in curves}) < 2 for family in GROUPINGS.values()):
        print(
            "laws need cells of two families of data, two kinds of network and two optimizers: nothing is summed up"
        )
        return
    everywhere = all(math.isfinite(curve.policy) for curve in curves)
    if config.policy and not everywhere:
        print(f"{config.policy} has not run on all of these cells: it is left out")
    summary = summarise(curves, config.seeds, Path(config.policy).stem if everywhere else "")
    _write(config, summary, sum(row.seconds for row in known.values()))
    Console().print(laws_table(summary), markup=False, highlight=False, soft_wrap=True)


def _pieces(config: AtlasConfig, cells: Sequence[Cell]) -> list[Piece]:
    """All small cells with the first seed, then with the next, then the large ones.

    Among themselves they are mixed, by their digests: wherever it is stopped, it has seen all kinds.
    """
    images = config.data.partition(":")[0]
    pieces = [
        Piece(cell, seed, cell.digest([LOG_KAPPAS, "" if cell.task.data else images]))
        for seed in range(config.seeds)
        for cell in cells
    ]
    return sorted(pieces, key=lambda piece: (*_turn(piece), piece.digest))


def _turn(piece: Piece) -> tuple[bool, int]:
    """Small ones first, each seed of all in turn."""
    return piece.whole_work > LARGE, piece.seed


def _in_order(cells: Sequence[Cell], pieces: Sequence[Piece]) -> list[tuple[Cell, str]]:
    """Cells in the order of the design, with their digests."""
    digests = {piece.cell.name: piece.digest for piece in pieces}
    return [(cell, digests[cell.name]) for cell in cells]


def selected(cells: Sequence[Cell], names: Sequence[str]) -> list[Cell]:
    """The cells whose names begin with one of some words; all, if there are none.

    Raises:
        ValueError: no cell begins so.
    """
    for name in names:
        if not any(cell.name.startswith(name) for cell in cells):
            hint = did_you_mean(name, [cell.name for cell in cells])
            raise ValueError(f"--cells: no cell begins with {name!r}{hint}")
    return [cell for cell in cells if not names or cell.name.startswith(tuple(names))]


def _measured(config: AtlasConfig, pieces: Sequence[Piece], fingerprint: str) -> None:
    """Does what is missing."""
    known, played = read_constants(config.out), read_policies(config.out)
    missing: dict[Key, Piece] = {}
    for piece in pieces:
        key = piece.digest, piece.seed
        policy = bool(fingerprint) and (*key, fingerprint) not in played
        if key not in missing and (policy or key not in known):
            missing[key] = dataclasses.replace(piece, constants=key not in known, policy=policy)
    if not missing:
        return
    work = sorted(missing.values(), key=lambda piece: (*_turn(piece), not piece.constants, piece.digest))
    todo, done, count, began = sum(piece.work for piece in work), 0.0, 0, time.monotonic()
    spread = Spread(config.workers, config.ray)
    with Bar("atlas", Console(), unit="", lines="tenths") as bar:
        for rows, policies in survey(work, Ground(config, config.policy), spread):
            add(config.out, rows, policies)
            keys = {row.key for row in rows} | {row.key[:2] for row in policies}
            count += len(keys)
            done += sum(missing[key].work for key in keys)
            left = (time.monotonic() - began) * (todo - done) / done
            bar(done, todo, f"{count} of {len(work)} rows, {left / 60:.0f} min left")
    order(config.out)


def _write(config: AtlasConfig, summary: Summary, seconds: float) -> None:
    """Everything that is made of the rows."""
    out, curves, count = config.out, summary.curves, len(summary.distinct)
    made = provenance("cpu")
    atomic_write(out / "cells.csv", table_of(curves).to_csv(index=False, float_format="%.4g"))
    atomic_write(out / "summary.json", _json(summary.plain() | {"core_seconds": round(seconds), **made}))
    figures = {
        "kappa": factors(curves, lam=False),
        "lambda": factors(curves, lam=True),
        "sizes": sizes(curves),
        "laws": costs(summary.errors, summary.intervals, summary.policy),
    }
    for name, figure in figures.items():
        atomic_write(out / f"{name}.png", png(figure))
    origin = (
        f"{count} cells, {len(LOG_KAPPAS) + bool(summary.policy)} runs of each, seeds: {summary.seeds}; "
        f"{seconds / 60:.0f} core-minutes, `{made['command']}`, commit {made['commit']}, {made['hardware']}."
    )
    if config.page:
        fill_page(Path(config.page), page_blocks(summary, origin))
    if config.table:
        atomic_write(config.table, _json(suggest_table(summary.distinct, made["command"])))


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"
