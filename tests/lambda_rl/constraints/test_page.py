"""The blocks of docs/constraints.md run as they stand, and do what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from places import DOCS

PAGE = DOCS / "constraints.md"


def test_blocks_run_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "docs"}
    with torch.random.fork_rng():
        for i, block in enumerate(
            re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)
        ):
            exec(compile(block, f"{PAGE.name}, block {i}", "exec"), names)  # the page is ours
    said = capsys.readouterr().out
    lowest = re.search(r"lowest output ([\d.]+), λ ([\d.]+)", said)
    assert lowest is not None
    assert float(lowest[1]) > 2.9
    assert float(lowest[2]) > 0.1
    without, kept = (float(found) for found in re.findall(r"recall of class 2 ([\d.]+)", said))
    assert without < 0.7
    assert kept >= 0.88
    assert "the multiplier of 'g' has grown to max_multiplier=1000 in 334 steps" in said
    assert (tmp_path / "floor.png").is_file()
