"""Figures and report.html: from files alone, in one file, offline, numbers as in the summary."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from comparisons import OWN_SUITE, schedule_summary, summary
from rich.console import Console

from lambda_rl.agents.baselines import BASELINES
from lambda_rl.agents.comparison.command import CompareConfig, run_comparison
from lambda_rl.agents.comparison.figures import FIGURES, inlined, svg
from lambda_rl.agents.comparison.figures.looks import by_training, looks, together
from lambda_rl.agents.comparison.figures.svg import tip
from lambda_rl.agents.comparison.report import page, write_report
from lambda_rl.agents.comparison.results import PolicySummary, Summary
from lambda_rl.agents.comparison.tables import Comparison, Results
from lambda_rl.agents.comparison.words import headline, verdict
from lambda_rl.agents.presenting.style import LEARNED_PALETTE, PALETTE, new_figure


class Reader(HTMLParser):
    """Collects what a page would load, its tags and whether they close, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []
        self.tags: dict[str, int] = {}
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = ("src", "href", "xlink:href", "srcset", "action")
        self.sources += [value or "" for name, value in attrs if name in names]
        assert not [name for name, _ in attrs if name.startswith("on")]
        self.tags[tag] = self.tags.get(tag, 0) + 1
        if tag not in ("meta", "img", "link", "br", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)  # within SVG
        if tag not in ("meta", "img", "link", "br", "input"):
            self.handle_endtag(tag)

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
    expected = {"results.csv", "trajectories.csv", "summary.json", "runs.jsonl"}
    expected |= {"report.html", "standings.csv", "pairs.csv"}
    expected |= {f"{name}.{ending}" for name in FIGURES for ending in ("png", "svg")}
    assert {path.name for path in folder.iterdir()} == expected
    for name in FIGURES:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert ElementTree.parse(folder / f"{name}.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"
    standings = pd.read_csv(folder / "standings.csv")
    assert set(standings["schedule"]) >= {"gap", "oracle-constant", "constant:0.1"}
    assert standings["test_accuracy"].is_monotonic_decreasing


def test_the_page_is_one_file_that_asks_for_nothing(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    reader = read(page)
    assert reader.tags["svg"] == 2 * (
        len(FIGURES) - 1
    )  # for a page and for a phone; by task there is a table
    beside = {"summary.json", "standings.csv", "pairs.csv", "results.csv"}
    assert {source for source in reader.sources if not source.startswith("#")} == {"data:,", *beside}
    names = re.findall(r' id="([^"]*)"', page)
    assert len(names) == len(set(names))
    assert {source[1:] for source in reader.sources if source.startswith("#")} <= set(names)
    assert set(re.findall(r"url\(#([^)]*)\)", page)) <= set(names)
    assert not re.search(r"https?:|[\"'(]//[a-z]|@import|url\((?!#)|NaN", page)
    (script,) = re.findall(r"<script>(.*)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'" in page
    )


def test_the_page_says_the_numbers_and_escapes_names(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "&lt;tiny &amp; own&gt;" in page
    assert "<tiny" not in page
    assert "3 tasks × 2 seeds" in page
    summary = Summary.load(folder / "summary.json")
    text = read(page).text
    for name, item in summary.schedules.items():
        if name != "best-single-constant-hindsight":
            assert re.search(rf"{re.escape(name)}\s[^%]*?{item.test_accuracy_mean:.2f}\s", text), name
    assert "best on the tuning suite" not in text  # nothing was tuned
    assert "chosen in hindsight on test: " + summary.best_single_constant in text


def test_drawings_say_what_they_are_and_legends_what_they_stand_for(folder: Path) -> None:
    figure = (folder / "profiles.svg").read_text(encoding="utf-8")
    assert re.search(r"<title>gap: \d+ % of the runs lose less than 1 point", figure)
    for name in ("gap", "no-penalty"):
        assert f'data-legend="{name}"' in figure
        assert f'data-schedule="{name}"' in figure


def test_redrawing_gives_the_same_files(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    run_comparison(CompareConfig(out=str(folder), redraw=True), Console(quiet=True))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def of_summary(found: Summary) -> Comparison:
    """A comparison whose runs are the means of a summary, and of which no decisions were kept."""
    rows = [
        {"task": task, "seed": 0, "schedule": name, "test_accuracy": accuracy}
        for name, item in found.schedules.items()
        for task, accuracy in item.tasks.items()
    ]
    return Comparison(Results(pd.DataFrame(rows)), pd.DataFrame(), found)


def test_whatever_stands_in_a_summary_becomes_text() -> None:
    """Every text of a summary is foreign to the page: a name, a note, a command, a version."""
    evil = "<script>alert('1')</script>\" onload=\"x"
    item = schedule_summary(kind="learned", spec=evil, tasks={evil: 1.0})
    derived = dataclasses.replace(item, kind="derived", diverged=0.5)
    found = summary({evil: item, "oracle-constant": derived, "best-single-constant": derived})
    found = dataclasses.replace(
        found, suite=evil, best_single_constant=evil, best_single_constant_chosen_on=evil, notes=(evil,),
        command=evil, commit=evil, device=evil, hardware=evil, time=evil, versions={evil: evil},
        data=dataclasses.replace(found.data, name=evil, train_fingerprint=evil, test_fingerprint=evil),
        oracle_constants={evil: f"constant:{evil}"},
        policies={evil: PolicySummary(file=evil, fingerprint=evil, suite=evil, data=evil, commit=evil)},
    )  # fmt: skip
    reader = read(page(of_summary(found), {}))
    assert reader.tags["script"] == 1
    assert reader.text.count(evil) >= 20


def test_names_within_a_figure_stay_text() -> None:
    figure = new_figure(3.0, 2.0)
    text = figure.text(0.5, 0.5, "<b>")
    tip(text, 'say <i>"so"', "a & b")
    drawn = inlined(svg(figure), "mine", 'it\'s "seen"')
    assert re.search('<g data-schedule="a &amp; b">\\s*<title>say &lt;i&gt;"so"</title>', drawn)
    assert 'aria-label="it\'s &quot;seen&quot;"' in drawn
    assert "&lt;b&gt;" in drawn
    assert svg(figure) == svg(figure)


def test_few_cells_conclude_nothing_and_many_do() -> None:
    def said(tasks: int, learned: float) -> tuple[str, str]:
        names = [f"t{place}" for place in range(tasks)]
        base = schedule_summary("derived", tasks={name: 40.0 + place for place, name in enumerate(names)})
        gains = {name: learned + 0.1 * (place % 3) for place, name in enumerate(names)}
        ours = schedule_summary(tasks={name: base.tasks[name] + gain for name, gain in gains.items()})
        schedules = {"learned": ours} | dict.fromkeys(("oracle-constant", "best-single-constant"), base)
        found = of_summary(summary(schedules))
        (sentence,) = headline(found.summary, found.evidence)
        return verdict(found.evidence.learned[0].against, found.evidence).value, sentence

    word, sentence = said(6, 2.0)
    assert word == "too few to conclude"
    assert "(6 cells: too few to conclude)" in sentence
    word, sentence = said(21, 2.0)
    assert word == "better"
    assert (
        "+2.10 points, above the best single constant (95 % interval over 21 tasks +2.06 to +2.14)"
        in sentence
    )
    word, sentence = said(21, -2.0)
    assert word == "worse"
    assert "−1.90 points, below" in sentence
    assert said(21, -0.1)[0] == "not told apart"


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"results\.csv"):
        run_comparison(CompareConfig(out=str(tmp_path), redraw=True))
    item = schedule_summary("derived")
    found = summary({"learned": schedule_summary(), "oracle-constant": item, "best-single-constant": item})
    with pytest.raises(FileNotFoundError, match=r"\.svg"):
        write_report(tmp_path, of_summary(found))


def test_what_needs_decisions_is_left_out_where_none_were_kept(folder: Path, tmp_path: Path) -> None:
    for name in ("results.csv", "summary.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    found = Comparison.load(tmp_path)
    possible = {name for name, drawing in FIGURES.items() if drawing.possible(found)}
    assert set(FIGURES) - possible == {"lambda_trajectories", "accuracy_over_run"}


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


def test_policies_of_one_training_are_one_in_figures() -> None:
    """Each run of theirs is a seed of its own."""
    agents = by_training(["learned:b-seed1", "learned:a", "learned:b-seed0"])
    assert agents == {"learned:b": ["learned:b-seed1", "learned:b-seed0"], "learned:a": ["learned:a"]}
    names = ["learned:b-seed1", "learned:b-seed0", "learned:a", "tau"]
    rows = together(pd.DataFrame({"schedule": names, "seed": [0, 0, 3, 4]}), agents)
    assert rows["schedule"].tolist() == ["learned:b", "learned:b", "learned:a", "tau"]
    assert rows["seed"].tolist() == ["learned:b-seed1 0", "learned:b-seed0 0", "learned:a 3", "4"]
