"""The fit of what suggests a weight decay finds the law that made the curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lambda_rl.agents.baselines.kappa_curves import FitKappaConfig, cross_validated, fit_kappa, read_curves
from lambda_rl.agents.baselines.kappa_law import CurveRow, fit, mean_regret, write
from lambda_rl.suggest.kappa_law import KappaLaw, Known, load_kappa_law

GRID = tuple(np.linspace(-2.0, 2.0, 17).tolist())


def curves(count: int = 120, seed: int = 0) -> list[CurveRow]:
    """Tasks whose best log₁₀ κ is 0.2 + 0.5 · log₁₀ epochs, about; above it accuracy falls four times as fast."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        epochs = 10.0 ** rng.uniform(0.0, 2.0)
        off = np.array(GRID) - (0.2 + 0.5 * np.log10(epochs) + 0.1 * rng.normal())
        accuracy = 0.9 - np.where(off > 0, 0.2, 0.05) * np.abs(off)
        rows.append(CurveRow(GRID, tuple(accuracy.tolist()), Known(epochs=epochs)))
    return rows


def test_the_law_that_made_the_curves_is_found(tmp_path: Path) -> None:
    rows = curves()
    write(fit(rows, ["log_epochs"], resamples=20, source="made"), tmp_path / "law.json")
    law = load_kappa_law(tmp_path / "law.json")
    for epochs in (1.0, 10.0, 100.0):
        middle, low, high = law.kappa(Known(epochs=epochs))
        # a hair below: what is too large costs more
        assert np.log10(middle) == pytest.approx(0.15 + 0.5 * np.log10(epochs), abs=0.12)
        assert low < middle < high < 2 * middle
    constant = KappaLaw.from_dict(fit(rows, resamples=20))
    # where a fifth of the tasks have their best, for the same reason
    assert np.log10(constant.kappa(Known())[0]) == pytest.approx(0.4, abs=0.15)
    assert mean_regret(rows, law) < 0.5 * mean_regret(rows, constant)
    assert mean_regret(curves(seed=1), law) < 0.5 * mean_regret(curves(seed=1), constant)


def test_the_interval_of_the_constant_holds_it_and_shrinks_with_tasks() -> None:
    def width(count: int) -> float:
        constant = fit(curves(count), resamples=50)["constant"]
        assert constant["low"] <= constant["kappa"] <= constant["high"]
        return float(np.log10(constant["high"] / constant["low"]))

    assert width(400) < width(20)


def test_rows_that_cannot_be_fitted_are_refused() -> None:
    with pytest.raises(ValueError, match="no rows"):
        fit([])
    with pytest.raises(ValueError, match="unknown terms: moon"):
        fit(curves(3), ["moon"])
    with pytest.raises(ValueError, match="say enough"):
        fit([CurveRow(GRID, tuple(GRID))], ["log_epochs"])
    with pytest.raises(ValueError, match="same constants"):
        fit([CurveRow((0.0, 1.0), (0.1, 0.2)), CurveRow((0.0, 2.0), (0.1, 0.2))])
    with pytest.raises(ValueError, match="rising"):
        fit([CurveRow((1.0, 0.0), (0.1, 0.2))])


def written(path: Path, rows: list[CurveRow]) -> Path:
    """As a training writes them (``agents/warm_start``)."""
    lines = [
        "round,num_train,num_params,epochs,adaptive,normalised," + ",".join(f"accuracy_{x:g}" for x in GRID)
    ]
    for number, row in enumerate(rows):
        flags = ("True,False", "False,", ",True")[number % 3]
        lines.append(f"1,500,1000,{row.known.epochs},{flags}," + ",".join(f"{x:.4f}" for x in row.accuracy))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_command_fits_the_curves_of_a_training(tmp_path: Path) -> None:
    path = written(tmp_path / "curves.csv", curves(60))
    rows = read_curves(path)
    assert rows[0].known == Known(curves(60)[0].known.epochs, 2.0, True, False)
    assert (rows[1].known.normalised, rows[2].known.adaptive) == (None, None)
    told = fit_kappa(
        FitKappaConfig(curves=path, out=str(tmp_path / "law.json"), terms=("log_epochs",), resamples=5),
        "made by",
    )
    numbers = [float(line.split(": ")[1].split()[0]) for line in told.splitlines()[1:]]
    none, thumb, single, single_left_out, law_left_out = numbers
    assert single < thumb < none
    assert law_left_out < 0.5 * single_left_out
    assert single_left_out >= single - 0.01
    assert load_kappa_law(tmp_path / "law.json").coefficients["log_epochs"] == pytest.approx(0.5, abs=0.1)
    assert '"source": "' + tmp_path.name in (tmp_path / "law.json").read_text()


def test_what_is_no_file_of_curves_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"curves\.csv: not the curves of a training"):
        read_curves(path)
    text = written(path, curves(6)).read_text()
    path.write_text(text.replace("True", "perhaps", 1))
    with pytest.raises(ValueError, match=r"curves\.csv, line 2: KeyError\('perhaps'\)"):
        read_curves(path)
    with pytest.raises(ValueError, match="folds"):
        cross_validated(curves(4), [])
