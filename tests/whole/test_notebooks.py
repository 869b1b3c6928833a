"""The notebooks run from top to bottom, on a short budget."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from places import DOCS

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

pytestmark = pytest.mark.timeout(600)  # each starts processes that load torch

NOTEBOOKS = DOCS / "notebooks"
SHORT = {
    "your-own-loop": "EPOCHS, NOISE, SEEDS, GRID = 3, 0.3, 1, (0.0, 1e-3)",
    "a-policy-for-your-set-up": "DECISIONS, SEEDS = 384, 1",
}
"""In place of the cell of parameters."""


def read(name: str) -> Any:
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def said(notebook: Any) -> str:
    """What its cells printed."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "".join(output.get("text", "") for output in outputs)


def test_each_notebook_is_run_here() -> None:
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == SHORT.keys()


@pytest.mark.parametrize("name", SHORT)
def test_a_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "jupyter"))
    monkeypatch.setenv("LAMBDA_RL_CACHE", os.environ["LAMBDA_RL_CACHE"])
    notebook = read(name)
    (parameters,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    assert re.findall(r"^(\w+) =", parameters.source, re.MULTILINE) == re.findall(r"[A-Z]{2,}", SHORT[name])
    parameters.source = SHORT[name]
    nbclient.NotebookClient(
        notebook, timeout=500, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert "<LearnedSchedule(" in said(notebook)
    assert "rror" not in said(notebook)
