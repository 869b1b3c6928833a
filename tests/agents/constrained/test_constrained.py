"""Cooper and lambda-rl come to the same; the command writes what the page is made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from places import DOCS

from lambda_rl.agents.constrained.command import ConstrainedConfig, compare_constraints, table
from lambda_rl.agents.constrained.comparison import PROBLEMS, cells
from lambda_rl.agents.constrained.methods import METHODS, Method, cooper_is_missing, run_cooper, run_ours
from lambda_rl.agents.presenting.markdown import fill

RESULTS = DOCS / "results" / "constraints"
needs_cooper = pytest.mark.skipif(bool(cooper_is_missing()), reason=cooper_is_missing() or "Cooper is there")


@needs_cooper
@pytest.mark.parametrize("method", ["plain", "pi", "augmented"])
@pytest.mark.parametrize("name", ["quadratic", "floor", "recall"])
def test_step_by_step_the_same_as_cooper(name: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as no multiplier is clipped, PI control is the same too."""
    monkeypatch.setattr(PROBLEMS[name], "steps", 30)
    chosen = METHODS[method] if method != "pi" else Method(kp=2.0)
    ours, theirs = PROBLEMS[name](1), PROBLEMS[name](1)
    np.testing.assert_allclose(run_ours(ours, chosen), run_cooper(theirs, chosen), rtol=1e-4, atol=1e-6)
    assert ours.score().objective == pytest.approx(theirs.score().objective, rel=1e-5)


def test_the_command_without_cooper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for problem in PROBLEMS.values():
        monkeypatch.setattr(problem, "steps", 20)
    page = tmp_path / "page.md"
    page.write_text("<!-- block: cooper -->\n<!-- end: cooper -->\n", encoding="utf-8")
    out = tmp_path / "out"
    compare_constraints(
        ConstrainedConfig(out=out, problems=("flat", "recall"), seeds=2, cooper=False, page=str(page))
    )
    rows = pd.read_csv(out / "rows.csv")
    assert len(rows) == 2 * 2 * (1 + len(METHODS))
    history = pd.read_csv(out / "history.csv")
    assert len(history) == 10 * 2 * (1 + len(METHODS))
    assert (out / "histories.png").stat().st_size > 10_000
    assert not (out / "libraries.png").exists()
    assert {cell.within for cell in cells(rows)} == {None}
    filled = page.read_text(encoding="utf-8")
    assert filled.count("\n|") == 2 + 2 * (1 + len(METHODS))
    compare_constraints(ConstrainedConfig(out=out, page=str(page), measure=False))
    assert page.read_text(encoding="utf-8") == filled
    with pytest.raises(ValueError, match="unknown problem x; there are quadratic, box"):
        compare_constraints(ConstrainedConfig(out=out, problems=("x",)))
    with pytest.raises(ValueError, match="--seeds must be a whole number from 2"):
        compare_constraints(ConstrainedConfig(out=out, seeds=1))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="Cooper is not installed: pip install 'lambda-rl"):
        compare_constraints(ConstrainedConfig(out=out))


def test_the_page_says_what_the_rows_say() -> None:
    """Must show: objective and violation of both libraries within each other's intervals."""
    rows = pd.read_csv(RESULTS / "rows.csv")
    found = cells(rows)
    page = (DOCS / "constraints.md").read_text(encoding="utf-8")
    assert fill(page, {"cooper": table(found)}) == page
    assert {cell.problem for cell in found} == set(PROBLEMS)
    # The one that is not is told on the page.
    other = {(cell.problem, cell.method) for cell in found if cell.within is False}
    assert other == {("flat", "momentum")}
    gaps = rows[(rows["problem"] == "noisy-box") & (rows["method"] == "pi")].groupby("library")["gap"].mean()
    assert (
        f"end {gaps['lambda-rl']:.2f} from the solution on average, with Cooper {gaps['cooper']:.2f}," in page
    )
