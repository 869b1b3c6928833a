"""docs/rivals.md names every rival, and what it shows runs."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from places import DOCS

from lambda_rl.agents.baselines import BASELINES, families_to_choose, hand_designed_families
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
