"""The λ atlas: its design, what is read off a curve, laws on families left out, and the command that goes on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from lambda_rl.agents.atlas.command import AtlasConfig, run_atlas, selected
from lambda_rl.agents.atlas.curves import FINE, CellCurve, curves_of
from lambda_rl.agents.atlas.design import BASES, DRAWN, Cell, design
from lambda_rl.agents.atlas.laws import GROUPINGS, LAWS, error_of, left_out, outside_basin
from lambda_rl.agents.atlas.measure import Piece, chunks
from lambda_rl.agents.atlas.page import page_blocks
from lambda_rl.agents.atlas.rows import LOG_KAPPAS, PolicyRow, Row, add, order, read_constants, read_policies
from lambda_rl.agents.atlas.sizes import exponents
from lambda_rl.agents.atlas.summary import suggest_table, summarise, table_of
from lambda_rl.agents.presenting.markdown import NOT_MEASURED, block_names
from lambda_rl.suggest.atlas import Atlas
from lambda_rl.suggest.kappa_law import Known

CELLS = design()
CHEAP = ("clusters-sgd:steps=100", "tree-adamw:steps=100", "tree-adamw:norm=batch")


def row_of(cell: Cell, best: float, seed: int = 0, *, decay_sum: float = 10.0, fall: float = 8.0) -> Row:
    """A parabola over log κ with its best at ``best``, and a little noise by the seed."""
    noise = 0.1 * np.random.default_rng([seed, 1]).standard_normal(len(LOG_KAPPAS))
    accuracy = 80.0 - fall * (np.array(LOG_KAPPAS) - best) ** 2 + noise
    task = cell.task
    epochs = task.steps * task.batch_size / task.train_size
    return Row(
        cell.name, cell.name, seed, 100 * task.width, task.train_size, 5, epochs, decay_sum, 1.0, tuple(accuracy)
    )  # fmt: skip


def known_curves(best: dict[str, float], **options: float) -> list[CellCurve]:
    cells = [cell for cell in CELLS if cell.name in best]
    rows = {
        row.key: row
        for cell in cells
        for row in (row_of(cell, best[cell.name], seed, **options) for seed in range(3))
    }
    played = {key: PolicyRow(*key[:1], *key, "any-loop", "f", 79.0, 0.1) for key in rows}
    return curves_of([(cell, cell.name) for cell in cells], rows, 3, played)


def test_the_design_has_hundreds_of_cells_and_stars_differ_in_one_factor() -> None:
    assert len({cell.name for cell in CELLS}) == len(CELLS)
    assert len({cell.digest(0) for cell in CELLS}) >= 300
    assert {cell.base for cell in CELLS} == {*BASES, DRAWN}
    middle = {cell.name: cell.task for cell in CELLS if cell.factor == "base"}
    also = {
        "train_size": {"val_size", "data"}, "optimizer": {"momentum", "decay", "learning_rate"}, "table": {"data"},
        "rate": {"learning_rate"}, "depth": {"network_options"}, "norm": {"network_options"},
    }  # fmt: skip
    for cell in CELLS:
        if cell.base == DRAWN or cell.factor == "base":
            continue
        base = middle[cell.base]
        differ = {
            item.name
            for item in dataclasses.fields(base)
            if getattr(base, item.name) != getattr(cell.task, item.name)
        }
        assert differ, cell.name
        assert differ <= {cell.factor, *also.get(cell.factor, ())}, cell.name
    widths = {cell.task.width for cell in CELLS}
    assert min(widths) <= 16
    assert max(widths) >= 512
    assert {cell.depth for cell in CELLS} == {0, 1, 2, 3, 4}
    assert design(20)[: len(CELLS) - 134] == CELLS[: len(CELLS) - 134]


def test_cells_are_chosen_by_the_beginning_of_their_names() -> None:
    assert selected(CELLS, ()) == CELLS
    assert {cell.base for cell in selected(CELLS, ("tree-adamw", "drawn-00"))} == {"tree-adamw", DRAWN}
    with pytest.raises(ValueError, match=r"no cell begins with 'tree-adamv'; did you mean 'tree-adamw'"):
        selected(CELLS, ("tree-adamv",))


def test_work_is_cut_into_pieces_that_lose_nothing() -> None:
    pieces = [Piece(cell, 0, cell.name) for cell in CELLS]
    parts = chunks(pieces)
    assert [piece for part in parts for piece in part] == pieces
    assert 10 < len(parts) < len(pieces)


def test_a_row_is_kept_once_and_a_torn_line_is_passed_over(tmp_path: Path) -> None:
    assert read_constants(tmp_path) == {}
    one = row_of(CELLS[0], 0.3)
    other = PolicyRow(one.cell, one.digest, 0, "any-loop", "abc", 80.0, 0.5)
    add(tmp_path, [one], [other])
    path = tmp_path / "rows.csv"
    with path.open("a") as file:
        file.write("tree,abc,1,2")
    add(tmp_path, [dataclasses.replace(one, seed=1), dataclasses.replace(one, epochs=12.0)], [])
    for _ in range(2):
        found = read_constants(tmp_path)
        assert found.keys() == {(CELLS[0].name, 0), (CELLS[0].name, 1)}
        assert found[one.key].epochs == 12.0
        assert found[one.key].accuracy == pytest.approx(one.accuracy, abs=0.006)
        assert read_policies(tmp_path) == {other.key: other}
        order(tmp_path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"rows.csv: not the rows of an atlas"):
        read_constants(tmp_path)


def test_best_interval_and_basin_of_a_curve() -> None:
    (curve,) = known_curves({"cifar-adamw": 0.4})
    low, high = curve.interval
    assert low <= curve.log_kappa <= high
    assert curve.log_kappa == pytest.approx(0.4, abs=0.15)
    # 8 x² = 0.5 at a quarter of a decade
    assert curve.basin == pytest.approx((0.15, 0.65), abs=0.2)
    assert curve.sharp
    assert curve.gain == pytest.approx(8 * 2.4**2, rel=0.15)
    assert curve.shift == pytest.approx(-1.0)
    (flat,) = known_curves({"cifar-adamw": 0.4}, fall=0.0)
    assert flat.width > 3
    assert not flat.sharp
    assert flat.gain < 0.5
    assert flat.interval[1] - flat.interval[0] > high - low
    (edge,) = known_curves({"cifar-adamw": -4.0})
    assert edge.log_kappa == FINE[0]
    assert not edge.sharp


def test_cells_without_all_seeds_are_left_out() -> None:
    cell = CELLS[0]
    rows = {row.key: row for row in (row_of(cell, 0.0, seed) for seed in (0, 2))}
    assert curves_of([(cell, cell.name)], rows, 3) == []
    assert len(curves_of([(cell, cell.name)], rows, 1)) == 1


def by_epochs(slope: float) -> dict[str, float]:
    """Cells whose best κ is a power of their epochs."""
    epochs = {c.name: c.task.steps * c.task.batch_size / c.task.train_size for c in CELLS}
    return {name: slope * float(np.log10(value)) - 0.5 for name, value in epochs.items()}


def test_a_law_that_holds_is_found_on_families_that_it_was_not_fitted_to() -> None:
    best = by_epochs(1.0)
    wanted = [cell.name for cell in CELLS if cell.base in ("cifar-momentum", "tree-adamw", "clusters-sgd")]
    curves = known_curves({name: best[name] for name in wanted if abs(best[name]) < 1.8})
    errors = {law.name: error_of(curves, left_out(law, curves, GROUPINGS["data"])) for law in LAWS}
    regret = {name: float(error.regret.mean()) for name, error in errors.items()}
    assert regret["τ rule"] < 0.5 < regret["constant κ"]
    assert regret["static facts"] < 0.8
    assert np.nanmean(errors["τ rule"].decades) < 0.1
    tau = next(law for law in LAWS if law.name == "τ rule")
    assert tau.fit(curves)[0] == pytest.approx(-0.5, abs=0.1)  # 1 / τ
    assert np.abs(outside_basin(curves, tau.predict(curves, np.array([-0.5])))).max() < 0.1
    far = outside_basin(curves, tau.predict(curves, np.array([0.5])))
    assert far.max() <= 0
    assert far.min() < -0.5
    with pytest.raises(ValueError, match="two families"):
        left_out(tau, [curve for curve in curves if curve.cell.family == "tree"], GROUPINGS["data"])


def test_exponents_tell_the_ways_to_write_the_penalty_apart() -> None:
    sizes = {cell.name: cell.task for cell in CELLS if cell.base == "cifar-momentum"}
    best = {name: 0.6 - 0.5 * float(np.log10(task.train_size / 1000)) for name, task in sizes.items()}
    curves = known_curves({n: b for n, b in best.items() if n == "cifar-momentum" or ":train_size=" in n})
    (found,) = exponents(curves)
    assert (found.base, found.size) == ("cifar-momentum", "examples")
    assert found.exponents["half"][0] == pytest.approx(-0.5, abs=0.1)
    assert found.exponents["per-example"][0] == pytest.approx(found.exponents["half"][0] + 1.0)
    assert found.exponents["whole"] == pytest.approx(found.exponents["half"])
    assert found.exponents["per-weight"] == pytest.approx(found.exponents["half"])
    low, high = found.exponents["half"][1:]
    assert low <= found.exponents["half"][0] <= high


def test_all_of_the_page_and_the_table_of_suggest_come_from_the_curves() -> None:
    best = by_epochs(0.8)
    stars = [cell.name for cell in CELLS if cell.base in ("cifar-momentum", "tree-adamw", "clusters-sgd")]
    curves = known_curves({name: float(np.clip(best[name], -1.5, 1.8)) for name in stars})
    summary = summarise(curves, 3, "any-loop")
    page = (Path(__file__).parents[3] / "docs" / "atlas.md").read_text(encoding="utf-8")
    blocks = page_blocks(summary, "origin")
    assert set(blocks) == set(block_names(page))
    assert NOT_MEASURED not in page
    assert blocks["laws"].count("\n") == 2 + len(summary.errors)
    assert list(summary.errors)[-1] == "any-loop"
    json.dumps(summary.plain(), allow_nan=False)
    assert len(table_of(curves)) == len(curves)
    atlas = Atlas.from_dict(json.loads(json.dumps(suggest_table(curves, "command"))))
    answer = atlas.answer(Known(10.0, None, False, False, 10.0), {"epochs": 10.0, "steps": 400})
    assert answer is not None
    assert not answer.outside
    assert answer.interval[0] <= answer.kappa <= answer.interval[1]
    assert np.log10(answer.kappa) == pytest.approx(0.3, abs=0.4)


def test_the_command_measures_goes_on_and_does_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = AtlasConfig(out=tmp_path / "atlas", cells=CHEAP[:1], seeds=1, policy="")
    run_atlas(config)
    assert "nothing is summed up" in capsys.readouterr().out
    first = (config.out / "rows.csv").read_text()
    table = tmp_path / "atlas.json"
    config = dataclasses.replace(config, cells=CHEAP, table=str(table))
    run_atlas(config)
    second = (config.out / "rows.csv").read_text()
    assert set(first.splitlines()) <= set(second.splitlines())
    rows = read_constants(config.out)
    assert {row.cell for row in rows.values()} == set(CHEAP)
    assert all(max(row.accuracy) > 30 for row in rows.values())
    assert "constant κ" in capsys.readouterr().out
    assert Atlas.from_dict(json.loads(table.read_text())).cells == 3
    assert json.loads((config.out / "summary.json").read_text())["cells"] == 3
    for name in ("kappa.png", "lambda.png", "sizes.png", "laws.png", "cells.csv"):
        assert (config.out / name).stat().st_size > 500
    before = (config.out / "rows.csv").stat().st_mtime_ns
    run_atlas(dataclasses.replace(config, cells=CHEAP[1:2]))
    assert (config.out / "rows.csv").stat().st_mtime_ns == before
    # a policy runs alone on cells whose constants are there
    run_atlas(dataclasses.replace(config, cells=CHEAP[1:2], policy="any-loop", workers=1))
    (played,) = read_policies(config.out).values()
    assert (played.cell, played.policy) == (CHEAP[1], "any-loop")
    assert played.accuracy > 20
    assert len(read_constants(config.out)) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 0}, "--seeds"),
        ({"workers": -1}, "--workers"),
        ({"drawn": -1}, "--drawn"),
        ({"page": "no-such-page.md"}, "no-such-page.md: no such page to fill"),
        ({"cells": ("moon",)}, "--cells: no cell begins with 'moon'"),
    ],
)
def test_bad_options_are_refused(change: dict[str, object], message: str, tmp_path: Path) -> None:
    config = dataclasses.replace(AtlasConfig(out=tmp_path), **change)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        run_atlas(config)
