"""All foreign tasks, the cheap ones first."""

from __future__ import annotations

from collections.abc import Iterable

from lambda_rl.agents.foreign.families import (
    characters,
    convolutional,
    digits,
    fresh,
    grokking,
    later,
    pictures,
    signals,
    tables,
)
from lambda_rl.agents.foreign.task import ForeignTask

_FAMILIES = (digits, tables, pictures, grokking, signals, convolutional, characters, later, fresh)

TASKS: tuple[ForeignTask, ...] = tuple(
    sorted((task for family in _FAMILIES for task in family.TASKS), key=lambda task: task.seconds)
)


LOOKED_AT = frozenset(task.name for task in TASKS if task not in fresh.TASKS)
"""Tasks that choices about the policy and its guard were made with in view, one to three seeds of each; the page tells
the others apart."""


def by_name(name: str) -> ForeignTask:
    """A task of the suite.

    Raises:
        ValueError: there is none of that name.
    """
    for task in TASKS:
        if task.name == name:
            return task
    raise ValueError(f"unknown foreign task {name!r}; allowed: {', '.join(task.name for task in TASKS)}")


def selected(names: Iterable[str]) -> tuple[ForeignTask, ...]:
    """Tasks by name or family, in the suite's order; all if none is named.

    Raises:
        ValueError: there is no task or family of a name.
    """
    wanted = set(names)
    families = {task.family for task in TASKS}
    for name in sorted(wanted - families):
        by_name(name)
    return tuple(task for task in TASKS if not wanted or {task.name, task.family} & wanted)
