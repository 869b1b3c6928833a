"""The progress bar of all commands."""

from __future__ import annotations

import io
import warnings

from rich.console import Console

from lambda_rl.agents.presenting.progress import Bar, many_runs


def test_a_bar_shows_names_as_they_are_and_where_there_is_no_terminal_its_end() -> None:
    console = Console(file=io.StringIO(), width=100)
    with Bar("[/] of [red]", console, unit="[runs]") as bar:
        for done in range(4):
            bar(done, 3, "[b]")
    assert isinstance(console.file, io.StringIO)
    (line,) = console.file.getvalue().splitlines()
    assert line.startswith("[/] of [red] ━")
    assert "3/3 [runs]" in line
    assert line.rstrip().endswith("[b]")


def test_a_bar_tells_each_tenth_or_nothing_where_there_is_no_terminal() -> None:
    console = Console(file=io.StringIO(), width=100)
    with Bar("training", console, unit="", lines="tenths") as bar:
        for done in (0.0, 0.05, 0.1, 0.31, 0.32, 1.0):
            bar(done, 1.0, f"{done:g} [of]")
    with Bar("training", console, lines="none") as bar:
        bar(1, 2)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert lines[:3] == ["10 %, 0.1 [of]", "30 %, 0.31 [of]", "100 %, 1 [of]"]
    assert len(lines) == 4
    assert "100 %" in lines[3]


def test_many_words_stand_below_a_bar_that_a_narrow_terminal_shows_whole() -> None:
    console = Console(file=io.StringIO(), width=80)
    with Bar("training", console, unit="decisions", width=24, below=True) as bar:
        bar(96, 96, "return +1.500, validation score +0.2500 (best +0.2500) [of]")
    assert isinstance(console.file, io.StringIO)
    above, below = console.file.getvalue().splitlines()
    assert "━" * 24 in above
    assert "96/96 decisions" in above
    assert below.rstrip() == "return +1.500, validation score +0.2500 (best +0.2500) [of]"


def test_of_many_runs_no_schedule_says_anything() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with many_runs():
            warnings.warn("LearnedSchedule: decay undoes what was learned", RuntimeWarning, stacklevel=1)
            warnings.warn("LearnedSchedule: this run is unlike others", UserWarning, stacklevel=1)
            warnings.warn("other", RuntimeWarning, stacklevel=1)
        warnings.warn("LearnedSchedule: again", RuntimeWarning, stacklevel=1)
    assert [str(one.message) for one in caught] == ["other", "LearnedSchedule: again"]
