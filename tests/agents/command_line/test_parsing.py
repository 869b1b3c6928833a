"""Options in the spellings of people and of ``wandb agent``, and errors in one line."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field
from typing import Literal

import pytest
import yaml
from places import ROOT
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from lambda_rl.agents.command_line.parsing import arguments_of, parse
from lambda_rl.agents.command_line.training import TrainOptions


@dataclass(frozen=True)
class Inner:
    """What is inside.

    Attributes:
        sizes: a list.
        flag: a switch.
    """

    sizes: tuple[int, ...] = (1, 2)
    flag: bool = False


@dataclass(frozen=True)
class Options:
    """All kinds of options.

    Attributes:
        name: a text.
        rate: a number.
        mode: one of three.
        words: a list.
        flag: a switch.
        inner: nested ones.
    """

    name: str
    rate: float = 0.1
    mode: Literal["online", "offline", "disabled"] = "online"
    words: tuple[str, ...] = ()
    flag: bool = True
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ValueError(f"rate must be above 0, got {self.rate}")


@pytest.fixture(autouse=True)
def _called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/lambda-rl", "train", "--others"])


@pytest.mark.parametrize(
    "given",
    [
        "--name x --no-flag --inner.flag --inner.sizes 32 -8 --words a b --rate -1e-3",
        "--name=x --flag=False --inner.flag=True --inner.sizes=[32,-8] --words=['a','b'] --rate=-1e-3",
        "--name x --flag False --inner.flag True --inner.sizes '[32, -8]' --words '(\"a\", \"b\")' --rate -1e-3",
    ],
)
def test_people_and_agents_may_write_it_their_way(given: str) -> None:
    words = [
        word.replace("-1e-3", "0.5") for word in shlex.split(given.replace("['a','b']", "\"['a','b']\""))
    ]
    assert parse(Options, words) == Options(
        "x", 0.5, words=("a", "b"), flag=False, inner=Inner((32, -8), True)
    )


@pytest.mark.parametrize(
    "word", ["[not a list", "[1, two]", "(3)", "a=b", "learned:policy.safetensors", "", "[" * 300]
)
def test_other_values_stay_as_they_are(word: str) -> None:
    assert arguments_of(["--name", word, word]) == ["--name", word, word]
    assert arguments_of([f"--name={word}"]) == [f"--name={word}"]


def test_empty_lists() -> None:
    assert parse(Options, ["--name", "x", "--inner.sizes=[]", "--words", "[]"]) == Options(
        "x", inner=Inner(())
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("--rate 1", "missing: --name STR a text. (required)"),
        ("--name x --rat 1", "unknown option --rat; did you mean --rate?"),
        ("--name x --inner.sises 1", "unknown option --inner.sises; did you mean --inner.sizes?"),
        (
            "--name x --mode onlin",
            "--mode must be one of online, offline, disabled; got 'onlin'; did you mean 'online'?",
        ),
        ("--name x --rate fast", "--rate: could not convert string to float: 'fast'"),
        ("--name x --rate 0", "rate must be above 0, got 0.0"),
        ("--name x y", "unknown option y"),
        ("--name", "missing value for argument '--name'. Expected 1 values."),
    ],
)
def test_what_is_wrong_is_one_line(given: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="see lambda-rl train --help") as error:
        parse(Options, given.split())
    assert str(error.value) == f"{told} (see lambda-rl train --help)"
    assert capsys.readouterr() == ("", "")


def test_options_come_from_a_default() -> None:
    assert parse(Options, [], default=Options("y", 0.2)) == Options("y", 0.2)


@pytest.mark.parametrize("macro", ["${args}", "${args_no_equals}"])
@pytest.mark.parametrize("which", [0, -1])
def test_the_sweep_is_read_as_its_agent_sends_it(macro: str, which: int) -> None:
    """Each parameter at its first and its last value, in the forms of the installed ``wandb agent``."""
    sweep = yaml.safe_load((ROOT / "sweeps" / "ppo.yaml").read_text(encoding="utf-8"))
    values = {
        name: about.get(
            "value", about["values"][which] if "values" in about else about.get(("min", "max")[which])
        )
        for name, about in sweep["parameters"].items()
    }
    forms = create_sweep_command_args({"args": {name: {"value": value} for name, value in values.items()}})
    command = create_sweep_command(sweep["command"])
    assert "${args}" in command
    words: list[str] = []
    for word in command:
        words += forms[macro.strip("${}")] if word == "${args}" else [word]
    program, name, *arguments = words
    assert (program, name) == ("lambda-rl", "train")
    options = parse(TrainOptions, arguments)
    for dotted, value in values.items():
        found: object = options
        for part in dotted.split("."):
            found = getattr(found, part)
        assert found == (tuple(value) if isinstance(value, list) else value), dotted
    assert sweep["metric"] == {"name": "validation/best_score", "goal": "maximize"}
