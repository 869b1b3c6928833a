"""How long a rollout takes on W workers, by what was measured on one machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lambda_rl.agents.record.typed_file import TypedFile


@dataclass(frozen=True)
class Link:
    """What lies between the learner and its workers.

    Attributes:
        name: of it, in words.
        seconds: there and back, beside what a call takes on one machine.
        bytes_per_second: of all workers together, at the learner's end.
    """

    name: str
    seconds: float
    bytes_per_second: float


LINKS = (
    Link("one machine", 0.0, math.inf),
    Link("1 Gbit/s, 0.5 ms", 5e-4, 1.25e8),
    Link("100 Mbit/s, 5 ms", 5e-3, 1.25e7),
)


@dataclass(frozen=True)
class Costs(TypedFile):
    """What a rollout is made of: the least that was measured of each part, for whatever else runs only adds to it.

    Attributes:
        format_version: of the file.
        preset: of the training.
        slots: inner runs side by side.
        count: times that each was measured.
        steps: decisions of each in a rollout.
        step_seconds: a decision of so many slots on one core, by their number, in seconds of that core.
        learner_seconds: of a rollout, what the learner does alone, of its core.
        measured: seconds of a rollout, of the cores of the learner and of the worker that each decision waits for, by
            the number of workers; 0: one process.
        walls: seconds of a rollout by the clock, on this machine with whatever else ran on it.
        call_seconds: see :class:`~lambda_rl.agents.scaling.measure.Travel`.
        step_bytes: see there.
        state_bytes: see there.
        provenance: command, commit, machine.
    """

    what: ClassVar[str] = "what a rollout costs"

    format_version: int
    preset: str
    slots: int
    count: int
    steps: int
    step_seconds: dict[str, float]
    learner_seconds: float
    measured: dict[str, float]
    walls: dict[str, float]
    call_seconds: float
    step_bytes: int
    state_bytes: int
    provenance: dict[str, str]

    def rollout(self, workers: int, link: Link) -> float:
        """Seconds of a rollout: those of the fullest worker, calls, what travels, and the learner.

        Each step waits for its slowest worker; the model takes all slots to be alike, and is too good where they are
        not.
        """
        fullest = -(-self.slots // workers)
        step = interpolated(self.step_seconds, fullest) + self.call_seconds + link.seconds
        travels = self.steps * self.step_bytes + self.state_bytes
        return self.steps * step + travels / link.bytes_per_second + self.learner_seconds


def interpolated(seconds: Mapping[str, float], slots: int) -> float:
    """Seconds of so many slots, between those that were measured, on logarithmic scales."""
    known = sorted((int(count), value) for count, value in seconds.items())
    counts, values = zip(*known, strict=True)
    return float(np.exp(np.interp(np.log(slots), np.log(counts), np.log(values))))
