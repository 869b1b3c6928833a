"""docs/rivals.md names every rival, and what it shows runs."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from places import DOCS

from lambda_rl.agents.baselines import BASELINES, families_to_choose, hand_designed_families
from lambda_rl.agents.comparison.results import BEST_SINGLE
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.agents.comparison.words import signed, spanned
from lambda_rl.envs.tasks.suites import load_suite

PAGE = (DOCS / "rivals.md").read_text(encoding="utf-8")


def test_the_table_has_every_rival_and_no_other() -> None:
    first = re.findall(r"^\| (`.+?) \|", PAGE, flags=re.MULTILINE)
    named = {name for cell in first for name in re.findall(r"`(.+?)`", cell)}
    assert named == set(families_to_choose()) - set(hand_designed_families())


def test_the_command_names_what_there_is() -> None:
    command = PAGE.partition("--families")[2].partition("\n")[0].split()
    assert set(command) <= set(BASELINES)
    load_suite(re.findall(r"--suite (\S+)", PAGE)[0])


def test_the_loop_runs_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    names: dict[str, Any] = {}
    with torch.random.fork_rng():
        exec(compile(block, "rivals.md", "exec"), names)  # the page is ours
    history = [row["lam"] for row in names["schedule"].history]
    assert len(history) == 11
    assert len(set(history)) == 11
    assert any(member.multiplier for member in names["bounds"].members)
    assert all(member.bound > 0 for member in names["bounds"].members)
    assert not capsys.readouterr().out


def test_the_table_of_results_is_that_of_the_comparison() -> None:
    """The block of the page, number for number."""
    table = (
        PAGE.partition("<!-- table of results/cifar-mlp/full -->\n")[2].partition("\n\n")[0].splitlines()[2:]
    )
    evidence = Comparison.load(DOCS / "results/cifar-mlp/full").evidence
    assert len(table) >= 10
    for row in table:
        name, accuracy, difference, better, runs, before = (
            cell.strip(" *") for cell in row.strip("|").split("|")
        )
        item = evidence.standing(name)
        assert accuracy == f"{item.accuracy:.2f}"
        assert int(runs) == item.inner_runs
        assert before == (str(item.tuning_runs) if item.tuning_runs else "–")
        if name != BEST_SINGLE:
            interval = spanned(item.against.interval).replace("\N{NO-BREAK SPACE}", " ")
            assert difference == f"{signed(item.against.difference)} {interval}"
            assert better == f"{item.against.probability:.2f}"
