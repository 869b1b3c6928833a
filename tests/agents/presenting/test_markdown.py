"""Markdown: tables, blocks of pages, and the tables of the docs that are made of the code."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lambda_rl.agents.presenting.feature_table import feature_table
from lambda_rl.agents.presenting.markdown import cell_text, fill, fill_page, markdown_table
from lambda_rl.agents.presenting.task_tables import option_table, task_table

PAGE = "a\n<!-- block: x -->\nold\n<!-- end: x -->\nb\n"


def test_a_block_is_filled_and_all_else_stays() -> None:
    assert fill(PAGE, {"x": "new\n"}) == PAGE.replace("old", "new")
    assert fill(PAGE, {}, "*Later.*") == PAGE.replace("old", "*Later.*")
    assert fill(PAGE, {}, None) == PAGE
    assert fill(PAGE + PAGE.replace("x", "y"), {"y": "new\n"}, None).count("old") == 1


def test_a_page_without_a_place_for_a_block_is_refused_by_name(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    with pytest.raises(ValueError, match=r"page\.md: the page lacks the blocks y"):
        fill_page(page, {"x": "new\n", "y": "more\n"})
    assert page.read_text() == PAGE
    with pytest.raises(ValueError, match="has no blocks to fill"):
        fill("text", {})


def test_a_page_says_whether_it_changed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert fill_page(page, {"x": "new\n"})
    assert not fill_page(page, {"x": "new\n"})
    assert page.read_text() == PAGE.replace("old", "new")


def test_cells_of_tables() -> None:
    assert cell_text([1.0, None, None]) == "1.00"
    assert cell_text([1.0, 0.5, 1.5]) == "1.00 [0.50, 1.50]"
    assert cell_text([None, None, None]) == "–"
    assert markdown_table(["a", "b"], [[1, "x"]]) == "| a | b |\n| --- | --- |\n| 1 | x |\n"
    assert markdown_table(["a"], [["x|y"]]).splitlines()[2] == "| x\\|y |"  # else it were two cells


@pytest.mark.parametrize(
    ("page", "block", "made", "columns"),
    [
        ("suites", "task-fields", task_table, 4),
        ("suites", "network-options", option_table, 5),
        ("how-it-works", "features", feature_table, 4),
    ],
)
def test_the_tables_in_the_docs_are_those_of_the_fields(
    repository: Path, page: str, block: str, made: Callable[[], str], columns: int
) -> None:
    text = (repository / "docs" / f"{page}.md").read_text(encoding="utf-8")
    (written,) = re.findall(rf"<!-- block: {block} -->\n(.*?)<!-- end: {block} -->", text, flags=re.DOTALL)
    assert written == made(), "run `python scripts/task_fields.py`"
    assert all(row.replace("\\|", "").count("|") == columns + 1 for row in written.splitlines())
