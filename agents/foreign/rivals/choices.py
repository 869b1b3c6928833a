"""``rivals.json``: what tuning chose, on what, and what it cost."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from lambda_rl.agents.record.typed_file import TypedFile


@dataclass(frozen=True)
class Choice:
    """A rival as it takes part.

    Attributes:
        name: in tables.
        spec: its setting.
        runs: inner runs that finding it cost.
        tried: every setting's score, points: of schedules the mean accuracy over the tasks, of laws the mean distance
            to the best constant of each task (0 or less); of a copied trajectory there is none.
    """

    name: str
    spec: str
    runs: int
    tried: dict[str, float]


@dataclass(frozen=True)
class Choices(TypedFile):
    """The file.

    Attributes:
        format_version: of the file.
        suite: that the tasks were drawn from.
        tasks: that schedules were tuned on.
        law_tasks: that laws were tuned on.
        seconds: that inner runs took.
        command: that made it.
        commit: of the code.
        hardware: it ran on.
        rivals: all.
    """

    what = "a file of tuned rivals"

    format_version: int
    suite: str
    tasks: int
    law_tasks: int
    seconds: float
    command: str
    commit: str
    hardware: str
    rivals: tuple[Choice, ...]

    def joined(self, more: Choices) -> Choices:
        """These and others that were tuned later on the same tasks."""
        return dataclasses.replace(
            self,
            seconds=round(self.seconds + more.seconds, 1),
            command=f"{self.command}; {more.command}",
            commit=f"{self.commit}; {more.commit}",
            hardware="; ".join(dict.fromkeys((self.hardware, more.hardware))),
            rivals=(*self.rivals, *more.rivals),
        )
