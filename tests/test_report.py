"""Figures and report.html: from files alone, in one file, offline, numbers as in the summary."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from lambda_rl.agents.compare import headline
from lambda_rl.agents.compare_command import CompareConfig, run_comparison
from lambda_rl.agents.figures import FIGURES
from lambda_rl.agents.report import write_report

SUITE = """
name: <tiny & own>
defaults: {width: 4, train_size: 64, val_size: 40, steps: 6, decisions: 3, batch_size: 16}
tasks:
  - {}
  - {label_noise: 0.4}
  - {network: cnn3, width: 2, decisions: 2}
"""


class Reader(HTMLParser):
    """Collects what a page would load, and whether its tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compare")
    (out / "own.yaml").write_text(SUITE)
    config = CompareConfig(
        out=str(out / "result"), suite=str(out / "own.yaml"), seeds=2, tune="none", constants=(0.001, 0.1, 3.0),
        threads=1,
    )  # fmt: skip
    console = Console(record=True, width=120)
    comparison = run_comparison(config, console)
    text = console.export_text()
    assert "oracle-constant" in text
    assert "report.html" in text
    assert comparison.summary["schedules"]["oracle-constant"]["inner_runs"] == 3
    return out / "result"


def test_everything_is_there(folder: Path) -> None:
    expected = {
        "results.csv",
        "trajectories.csv",
        "summary.json",
        "report.html",
        *(f"{name}.png" for name in FIGURES),
    }
    assert {path.name for path in folder.iterdir()} == expected
    for name in FIGURES:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_is_one_file_without_outside_resources(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert len(reader.sources) == len(FIGURES)
    assert all(source.startswith("data:image/png;base64,") for source in reader.sources)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script", re.sub(r'base64,[^"]*', "", page))


def test_the_page_says_the_numbers_and_escapes_names(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "&lt;tiny &amp; own&gt;" in page
    assert "<tiny" not in page
    assert "3 tasks × 2 seeds" in page
    comparison = run_comparison(CompareConfig(out=str(folder), redraw=True), Console(quiet=True))
    item = comparison.summary["schedules"]["oracle-constant"]
    assert f"{item['test_accuracy_mean']:.2f}" in page


def test_redrawing_gives_the_same_files(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    run_comparison(CompareConfig(out=str(folder), redraw=True), Console(quiet=True))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"results\.csv"):
        run_comparison(CompareConfig(out=str(tmp_path), redraw=True))
    with pytest.raises(FileNotFoundError, match=r"\.png"):
        write_report(tmp_path, {"tasks": [], "seeds_per_task": 1}, [])


def test_headline_says_which_side() -> None:
    def summary(low: float, high: float, regret: float) -> dict[str, object]:
        common = {"inner_runs": 9, "test_accuracy_mean": 50.0}
        learned = {
            "kind": "learned", "test_accuracy_mean": 51.0, "difference_mean": (low + high) / 2, "ci95": [low, high],
            "regret_mean": regret, "inner_runs": 1,
        }  # fmt: skip
        hand = {"kind": "hand-designed", **common}
        return {
            "schedules": {"learned": learned, "gap": hand, "oracle-constant": {"kind": "derived", **common}}
        }

    (sentence,) = headline(summary(0.2, 0.8, -0.1))
    assert "above it" in sentence
    assert "0.10 points above the oracle constant, which costs 9 runs" in sentence
    assert "+1.00 points against the best hand-designed schedule (gap)" in sentence
    assert "not told apart" in headline(summary(-0.2, 0.8, 0.1))[0]
    assert "below it" in headline(summary(-0.8, -0.2, 0.1))[0]
