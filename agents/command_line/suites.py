"""The command that shows suites and their tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tyro
from rich.console import Console

from lambda_rl.agents.command_line.parsing import parse
from lambda_rl.checks import printable
from lambda_rl.envs.tasks.suites import Suite, load_suite, suite_names


@dataclass(frozen=True)
class SuiteOptions:
    """Shows the built-in suites; with a name, the tasks of one.

    Attributes:
        suite: a built-in suite or a YAML file; empty: all built-in suites.
    """

    suite: tyro.conf.Positional[str] = ""


def suites(arguments: Sequence[str] | None = None, console: Console | None = None) -> None:
    """Prints a line a suite, or a line a task."""
    named, console = parse(SuiteOptions, arguments).suite, console or Console()
    lines = _tasks(load_suite(named)) if named else [_line(load_suite(name)) for name in suite_names()]
    for line in lines:
        console.print(printable(line), highlight=False, markup=False, soft_wrap=True)


def _line(suite: Suite) -> str:
    tasks = suite.tasks
    use = "training images" if suite.fold == "agent" else "held-out images"
    return f"{suite.name:<30} {f'{len(tasks)} tasks' if tasks else 'a distribution':<15} on {use}"


def _tasks(suite: Suite) -> list[str]:
    if not suite.tasks:
        return [f"{suite.name} is a distribution; its largest tasks:", *(task.name for task in suite.largest)]
    return suite.task_names
