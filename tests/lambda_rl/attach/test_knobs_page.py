"""The blocks of docs/knobs.md run as they stand, and its table has the kinds that there are."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from places import DOCS

from lambda_rl.knobs import KNOBS

PAGE = (DOCS / "knobs.md").read_text("utf-8")


class Schedule:
    """Stands in for a policy of two knobs."""

    def knob(self, name: str) -> float:
        return {"label_smoothing": 0.1, "alpha": 0.5}[name]


def test_blocks_run_and_say_what_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "docs"}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    for i, block in enumerate(blocks):
        exec(compile(block, f"knobs.md, block {i}", "exec"), names)  # the page is ours
    assert capsys.readouterr().out.splitlines() == re.findall(r"print\(.*\)  # (.*)", PAGE)
    loss = names["loss_of"](Schedule(), torch.rand(8, 20), torch.zeros(8, dtype=torch.long))
    loss.backward()
    assert loss.item() > 0


def test_the_table_has_every_knob_with_its_range_and_neutral_value() -> None:
    rows = dict(re.findall(r"^\| `(\w+)(?:\.1)?`.*?\| (.*?) \| \S+ \|", PAGE, flags=re.MULTILINE))
    assert list(rows) == list(KNOBS)
    found = re.findall(
        r"^\| `(\w+)(?:\.1)?`[^|]*\|[^|]*\| ([\d.]+) to ([\d.]+) \| ([\d.]+) \|", PAGE, flags=re.MULTILINE
    )
    for name, low, high, neutral in found:
        kind = KNOBS[name]
        assert float(low) == pytest.approx(kind.value(kind.log_low), rel=0.06)
        assert float(high) == pytest.approx(kind.value(kind.log_high), rel=0.06)
        assert float(neutral) == kind.neutral
    assert len(found) == len(KNOBS)
