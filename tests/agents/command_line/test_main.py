"""The command as a user meets it: quick help, one line for what is wrong, every command there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

import lambda_rl
from lambda_rl.agents.command_line.main import COMMANDS, main

OPTIONS = {
    "train": "--preset", "train-any-loop": "--finish", "compare": "--families", "run": "--schedule", "export": "--last",
    "info": "FILE", "card": "FILE", "list": "--help", "suites": "STR", "suggest": "--lr-schedule",
    "generality": "--processes", "foreign-rivals": "--law-tasks", "fresh-tasks": "--blind",
    "gallery": "--script-seeds", "atlas": "--drawn",
    "reproduce": "--budget", "bench": "--repeats",
    "fit-kappa": "--curves", "ablate-features": "--run", "write-card": "--results", "completion": "bash",
}  # fmt: skip
"""A word of each command's help."""


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, check=False)


def test_help_is_quick_because_nothing_heavy_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from lambda_rl.agents.command_line.main import main\n"
        "assert main([]) == 0\n"
        "heavy = {'torch', 'numpy', 'tyro', 'rich', 'pydantic', 'matplotlib', 'wandb', 'importlib.metadata'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)


def test_the_module_is_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert python("-m", "lambda_rl", cwd=tmp_path).stdout == capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"lambda-rl {lambda_rl.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert not end.value.code
    out = capsys.readouterr().out
    assert OPTIONS[name] in out
    assert ":class:" not in out
    assert "``" not in out


def test_every_script_is_the_door_to_a_command() -> None:
    doors = {"task_fields"}  # of the checkout alone
    for path in (ROOT / "scripts").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        where = [command.where.split(":") for command in COMMANDS.values() if command.where]
        called = [f"{module} import {name}" for module, name in where]
        assert path.stem in doors or sum(line in text for line in called) == 1, path.name


def test_an_unknown_command_is_told_with_the_one_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compair\x1b[2J"]) == 2
    assert main(["compair"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.isprintable()
    assert second.startswith("error: unknown command 'compair'; allowed: train, ")
    assert second.endswith("; did you mean 'compare'?")


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('tyro', 'rich', 'pydantic'): sys.modules[name] = None\n"
        "from lambda_rl.agents.command_line.main import main\n"
        "assert main(['list']) == 0\n"
        "assert main(['suggest', '--optimizer', 'sgd', '--lr', '0.1', '--steps', '10']) == 0\n"
        "sys.exit(main(['train', '--preset', 'quick']))\n"
    )
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 2
    told = "error: lambda-rl train needs packages that are not installed, such as {}: pip install 'lambda-rl[train]'\n"
    assert done.stderr in {told.format(name) for name in ("tyro", "rich", "pydantic")}


def test_a_card_is_shown_in_the_width_of_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["card", "any-loop"]) == 0
    out = capsys.readouterr().out
    assert "When not to use it" in out
    assert "## When" not in out
    assert "license: mit" not in out
    assert max(map(len, re.sub(r"\x1b\[[\d;]*m", "", out).splitlines())) <= 80


def test_suites_and_their_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["quick-held-out"], ["quick"]):
        main(["suites", *arguments])
    out = capsys.readouterr().out
    assert "quick-held-out                 6 tasks         on held-out images\n" in out
    assert "\nmlp32-n300-val400\n" in out
    assert "quick is a distribution; its largest tasks:\n" in out
    with pytest.raises(SystemExit, match="2"):
        main(["suites", "quick-heldout"])
    assert capsys.readouterr().err.endswith("; did you mean 'quick-held-out'?\n")


def test_completion_knows_commands_options_and_choices(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["completion", "bash"])
    assert not end.value.code
    script = capsys.readouterr().out
    for word in (
        "train-any-loop",
        "suggest",
        "--ppo.learning-rate",
        "cifar-mixed",
        "--families",
        "lambda-rl",
    ):
        assert word in script, word
