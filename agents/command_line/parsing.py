"""Options of a command, read by tyro: in the ways that people and ``wandb agent`` write them, errors in one line."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import shlex
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

import tyro

from lambda_rl.agents.record.provenance import program
from lambda_rl.checks import did_you_mean

T = TypeVar("T")

# tyro draws frames in ASCII where the terminal knows no better.
_TITLE = re.compile(r"[╭+][─-]+ (.*?) [─-]+[╮+]")
_SIDES = re.compile(r"^\s*[│|]|[│|]\s*$")
_RULE = re.compile(r"^[\s╭+╰─-]*[╮+╯─-]{3,}[\s╮+╯─-]*$")
_CHOICE = re.compile(
    r"invalid choice '(?P<value>.*)' for argument '(?P<option>.*?)'\. Expected one of \((?P<choices>.*)\)\."
)
_STARTS = {
    r"^Error parsing (?!-)\S+: ": "",  # the name of a class of ours says nothing
    r"^Error parsing (-\S+): ": r"\1: ",
    r"^Unrecognized options: (--[^\s,]+).*": r"unknown option \1",  # what follows is taken for its value
    r"^Unrecognized options: ": "unknown option ",
    r"^Missing from .*?: ": "missing: ",
    r"^Missing value ": "missing value ",
}
"""Words that a message begins with, and ours."""


def parse(
    options: type[T],
    arguments: Sequence[str] | None = None,
    *,
    default: T | None = None,
    description: str | None = None,
    config: tuple[Any, ...] = (),
) -> T:
    """Options from the command line. ``--help`` prints them and ends the process.

    Args:
        options: dataclass of the options.
        arguments: without the program's name; None: those of the process.
        default: options that are not given are taken from here.
        description: in place of the dataclass's.
        config: markers of tyro.

    Raises:
        ValueError: an option is wrong; the message is one line, with names that are like a wrong one.
    """
    prog = shlex.join(program())
    start: dict[str, Any] = {} if default is None else {"default": default}
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            return tyro.cli(
                options,
                prog=prog,
                description=description,
                args=arguments_of(arguments),
                config=config,
                **start,
            )
    except SystemExit as end:
        if not end.code:  # help, or a completion
            raise
        raise ValueError(f"{one_line(told.getvalue())} (see {prog} --help)") from None


def arguments_of(arguments: Sequence[str] | None = None) -> list[str]:
    """Arguments as tyro reads them; None: those of the process.

    ``wandb agent`` sends values as Python writes them: ``--compile=False`` is ``--no-compile``, and
    ``--ppo.hidden=[32, 32]`` is ``--ppo.hidden 32 32``; likewise where a blank stands for the ``=``.
    """
    found: list[str] = []
    name = ""  # of the option before, if it has no value yet
    for word in sys.argv[1:] if arguments is None else arguments:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            found += _plain(name, value) or [word] if equals else [word]
            name = "" if equals else name
        else:
            spelled = _plain(name, word) if name else []
            found = found[:-1] + spelled if spelled else [*found, word]
            name = ""
    return found


def _plain(name: str, value: str) -> list[str]:
    """An option with a truth value or a list in Python's spelling; empty: it is something else."""
    if value in ("True", "true"):
        return [name]
    if value in ("False", "false"):
        group, dot, last = name.removeprefix("--").rpartition(".")
        return [f"--{group}{dot}no-{last}"]
    if value[:1] in ("[", "("):
        with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            items = ast.literal_eval(value)
            if isinstance(items, (list, tuple)):
                return [name, *map(str, items)]
    return []


def one_line(told: str) -> str:
    """The framed message of tyro as one line: what is wrong, and which names are like a wrong one."""
    title, *parts = _paragraphs(told) or [["wrong options"]]
    message = " ".join(parts[0] if parts else title)
    if wrong := _CHOICE.fullmatch(message):
        allowed = re.findall(r"'(.*?)'", wrong["choices"])
        hint = did_you_mean(wrong["value"], allowed)
        return f"{wrong['option']} must be one of {', '.join(allowed)}; got {wrong['value']!r}{hint}"
    for start, instead in _STARTS.items():
        message = re.sub(start, instead, message)
    near = [
        name
        for part in parts[1:]
        if "meant" in part[0] or "imilar" in part[0]
        for name in re.findall(r"(?<![\w-])--[a-z][\w.-]*", " ".join(part))
        if name != "--help"
    ]
    hint = f"; did you mean {' or '.join(list(dict.fromkeys(near))[:3])}?" if near else ""
    return f"{message}{hint}"


def _paragraphs(told: str) -> list[list[str]]:
    """The title, then lines without their frame, those between two rules together."""
    parts: list[list[str]] = [[]]
    for line in told.splitlines():
        title = _TITLE.fullmatch(line.strip())
        words = title[1] if title else _RULE.sub("", _SIDES.sub("", line)).strip()
        if words:
            parts[-1].append(words)
        if title or not words:
            parts.append([])
    return [part for part in parts if part]
