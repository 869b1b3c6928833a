"""Figures and report.html: from files alone, in one file, offline, numbers as in the summary."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from comparisons import OWN_SUITE, schedule_summary, summary
from rich.console import Console

from lambda_rl.agents.baselines import BASELINES
from lambda_rl.agents.comparison.command import CompareConfig, run_comparison
from lambda_rl.agents.comparison.figures import FIGURES
from lambda_rl.agents.comparison.figures.looks import looks
from lambda_rl.agents.comparison.report import write_report
from lambda_rl.agents.presenting.style import LEARNED_PALETTE, PALETTE


class Reader(HTMLParser):
    """Collects what a page would load, its tags and whether they close, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        self.tags.add(tag)
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compare")
    (out / "own.yaml").write_text(OWN_SUITE.format(name="<tiny & own>"))
    config = CompareConfig(
        out=str(out / "result"), suite=str(out / "own.yaml"), seeds=2, tune="none", constants=(0.001, 0.1, 3.0),
        threads=1,
    )  # fmt: skip
    console = Console(record=True, width=120)
    comparison = run_comparison(config, console)
    text = console.export_text()
    assert "oracle-constant" in text
    assert "report.html" in text
    assert comparison.summary.schedules["oracle-constant"].inner_runs == 3
    return out / "result"


def test_everything_is_there(folder: Path) -> None:
    expected = {
        "results.csv",
        "trajectories.csv",
        "summary.json",
        "runs.jsonl",
        "report.html",
        *(f"{name}.png" for name in FIGURES),
    }
    assert {path.name for path in folder.iterdir()} == expected
    for name in FIGURES:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_is_one_file_without_outside_resources(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    reader = read(page)
    assert len(reader.sources) == len(FIGURES)
    assert all(source.startswith("data:image/png;base64,") for source in reader.sources)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script", re.sub(r'base64,[^"]*', "", page))


def test_the_page_says_the_numbers_and_escapes_names(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "&lt;tiny &amp; own&gt;" in page
    assert "<tiny" not in page
    assert "3 tasks × 2 seeds" in page
    comparison = run_comparison(CompareConfig(out=str(folder), redraw=True), Console(quiet=True))
    text = read(page).text
    for name, item in comparison.summary.schedules.items():
        assert re.search(rf"{re.escape(name)}\s*{item.test_accuracy_mean:.2f}\s", text), name


def test_redrawing_gives_the_same_files(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    run_comparison(CompareConfig(out=str(folder), redraw=True), Console(quiet=True))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_whatever_stands_in_a_summary_becomes_text(tmp_path: Path) -> None:
    """Every text of a summary is foreign to the page: a name, a note, a command, a version."""
    evil = "<script>alert('1')</script>\" onload=\"x"
    for name in FIGURES:
        (tmp_path / f"{name}.png").write_bytes(b"\x89PNG" + bytes(30))
    item = schedule_summary(kind=evil, spec=evil, tasks={evil: 1.0})
    found = summary({evil: item, "oracle-constant": dataclasses.replace(item, kind="derived", diverged=0.5)})
    found = dataclasses.replace(
        found, suite=evil, best_single_constant=evil, best_single_constant_chosen_on=evil, notes=(evil,),
        command=evil, commit=evil, device=evil, hardware=evil, time=evil, versions={evil: evil},
        data=dataclasses.replace(found.data, name=evil, train_fingerprint=evil, test_fingerprint=evil),
        oracle_constants={evil: f"constant:{evil}"},
    )  # fmt: skip
    page = write_report(tmp_path, found).read_text(encoding="utf-8")
    reader = read(page)
    assert "script" not in reader.tags
    assert reader.text.count(evil) >= 15


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"results\.csv"):
        run_comparison(CompareConfig(out=str(tmp_path), redraw=True))
    with pytest.raises(FileNotFoundError, match=r"\.png"):
        write_report(
            tmp_path, summary({"learned": schedule_summary(), "oracle-constant": schedule_summary()})
        )


def test_learned_schedules_stand_out_and_families_keep_their_colour() -> None:
    hand = schedule_summary("hand-designed")
    found = looks(
        summary({"learned": schedule_summary(), "gap": hand, "constant:1": schedule_summary("constant")})
    )
    assert found["learned"].learned
    assert found["learned"].colour == LEARNED_PALETTE[0]
    assert found["gap"].colour == PALETTE[list(BASELINES).index("gap") - 1]  # as in any other comparison
    assert found["constant:1"].colour not in (*PALETTE, *LEARNED_PALETTE)


def test_more_schedules_than_colours_go_round() -> None:
    names = [f"replay:{letter}.csv" for letter in "abcdef"]
    found = looks(summary({name: schedule_summary("hand-designed") for name in names}))
    assert [found[name].colour for name in names] == [PALETTE[place % 5] for place in range(6)]
    assert found["replay:a.csv"].marker != found["replay:b.csv"].marker
