"""Runs that are trained side by side, held as one network with N groups from interval to interval.

Stacking N networks anew for each interval would cost more than the environment's own arithmetic, and a captured or
compiled interval wants its tensors to stay where they are. So a run that is trained takes a seat in a stack: its
tensors become views of the stack's. When its slot is given to another run, only that seat is written.

An example of three seats. Runs A, B and C begin with memory of their own; :meth:`Stack.seat` copies it into the stack
once, and from then on training the stack is training them::

    before                      after seat([A, B, C])

    A.params ─ a                A.params ─┐    B.params ─┐    C.params ─┐
    B.params ─ b                stack     [ a ............ b ............ c ]     [3, …]
    C.params ─ c                             place 0        place 1        place 2

B ends, and its slot goes on with D. Places 0 and 2 hold whom they held, so nothing is written there. B is sent away
before its place is overwritten: :meth:`~.run.InnerRun.leave` gives it a copy, for whoever still holds
it (a figure, a checkpoint)::

    after seat([A, D, C])

    A.params ─┐    D.params ─┐    C.params ─┐
    stack     [ a ............ d ............ c ]     at the same address: a captured interval is still good
    B.params ─ b

Stack and run know each other by halves. The run holds the stack (``run.seat`` is the stack and the place), since its
tensors live there. The stack holds the run weakly, lest runs that nobody wants any more stay alive; a place counts as
taken only while that run is alive *and* says itself that it sits there, for it may have moved to another stack (of
another size, say). Evaluation sets have seats of the same kind, but are of different lengths. They are filled up with
images of label :data:`NO_LABEL`, and when one comes that is longer than all before, all of them move::

    val.inputs    place 0   x x x x x x x x . . . .
                  place 1   x x x x x x x x x x . .     filled up to 12, where ``rows`` is 4
                  place 2   x x x . . . . . . . . .
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lambda_rl.envs.networks import Params
from lambda_rl.envs.training.resident import EvaluationSet
from lambda_rl.envs.training.run import InnerRun

NO_LABEL = -1
"""Label of the images that fill up the shorter of two evaluation sets."""

ROWS = 16
"""Evaluation sets are filled up to a multiple of this. Products of fewer rows are rounded differently, and a run would
not measure the same alone and beside others."""

Knobs = Mapping[str, npt.NDArray[np.float64]]
"""Values ``[N]`` of knobs beside λ, by name."""


class TrainingInterval(Protocol):
    """Trains runs for some steps under λ and other knobs.

    Attributes:
        factors: of λ for each layer, ``[N, L]``, those of the last call; None: there are none.
    """

    factors: Tensor | None

    def __call__(
        self, runs: Sequence[InnerRun], lam: npt.NDArray[np.float64], knobs: Knobs
    ) -> tuple[Tensor, Tensor]:
        """Mean loss and accuracy ``[n]`` of the minibatches."""
        ...


def rounded_up(count: int, multiple: int) -> int:
    """The next multiple."""
    return -(-count // multiple) * multiple


class StackedSets:
    """Evaluation sets of N runs side by side, each as long as it is.

    Attributes:
        inputs: ``[N, capacity, D]``.
        labels: int64 ``[N, capacity]``; :data:`NO_LABEL` beyond a set's end.
        sizes: images of each.

    Args:
        count: N.
        multiple: what the capacity is a multiple of.
    """

    def __init__(self, count: int, multiple: int) -> None:
        self._multiple = multiple
        self.inputs = self.labels = torch.empty(0)
        self.sizes = [0] * count

    def seat(self, sets: Sequence[EvaluationSet], changed: Sequence[int]) -> list[tuple[int, EvaluationSet]]:
        """Takes in the sets at the changed places; all of them where there is too little room.

        Where there are fewer sets than places, the last places have none.

        Returns:
            Those that were written, as views.
        """
        longest = rounded_up(max(len(part.labels) for part in sets), self._multiple)
        self.sizes[len(sets) :] = [0] * (len(self.sizes) - len(sets))
        if self.inputs.dim() < 3 or self.inputs.shape[1] < longest:
            shape = (len(self.sizes), longest)
            self.inputs = sets[0].inputs.new_zeros(*shape, sets[0].inputs.shape[-1])
            self.labels = sets[0].labels.new_full(shape, NO_LABEL)
            changed = range(len(sets))
        written = []
        for place in changed:
            part = sets[place]
            size = self.sizes[place] = len(part.labels)
            self.inputs[place, :size] = part.inputs
            self.labels[place, :size] = part.labels
            self.labels[place, size:] = NO_LABEL
            written.append((place, EvaluationSet(self.inputs[place, :size], self.labels[place, :size])))
        return written


class Stack:
    """Up to N runs alike: one network with N groups.

    Attributes:
        params: ``[N, …]``, as all that follows.
        buffers: batch norm's running statistics.
        optimizer: by kind and parameter.
        val: what the runs watch.
        outer: what they are scored on.
        intervals: what was captured or laid out for it, by number of steps and names of knobs.

    Args:
        runs: as those that will sit there; they take no seat yet.
        rows: evaluation sets are filled up to a multiple of this.
        places: N; as many as runs if 0.
    """

    def __init__(self, runs: Sequence[InnerRun], rows: int = ROWS, places: int = 0) -> None:
        count = places or len(runs)

        def stacked(parts: Callable[[InnerRun], Params]) -> Params:
            return {name: value.new_zeros((count, *value.shape)) for name, value in parts(runs[0]).items()}

        self.params = stacked(lambda run: run.params)
        self.buffers = stacked(lambda run: run.buffers)
        self.optimizer = {kind: stacked(lambda run: run.params) for kind in runs[0].optimizer}
        self.val, self.outer = StackedSets(count, rows), StackedSets(count, rows)
        self.intervals: dict[tuple[int, frozenset[str]], TrainingInterval] = {}
        self._seated: list[Callable[[], InnerRun | None]] = [lambda: None] * count

    def __len__(self) -> int:
        """N."""
        return len(self._seated)

    @property
    def deserted(self) -> bool:
        """Whether nobody holds any of its runs any more."""
        return all(self._at(place) is None for place in range(len(self)))

    def _at(self, place: int) -> InnerRun | None:
        run = self._seated[place]()
        return run if run is not None and run.seat == (self, place) else None

    def seat(self, runs: Sequence[InnerRun]) -> None:
        """Gives each run its place; a run that loses its place and is still held elsewhere gets its own memory.

        Where there are fewer runs than places, the last places are empty: what lies in them is trained at learning
        rate 0, and nobody looks at it.
        """
        changed = [place for place, run in enumerate(runs) if self._at(place) is not run]
        for place in (*changed, *range(len(runs), len(self))):
            before = self._at(place)
            if before is not None:
                before.leave()
        for place in changed:
            run = runs[place]
            run.params = _written(self.params, place, run.params)
            run.buffers = _written(self.buffers, place, run.buffers)
            run.optimizer = {
                kind: _written(tensors, place, run.optimizer[kind])
                for kind, tensors in self.optimizer.items()
            }
            run.seat = (self, place)
            self._seated[place] = weakref.ref(run)
        if changed:
            for place, part in self.val.seat([run.val for run in runs], changed):
                runs[place].val = part
            for place, part in self.outer.seat([run.outer for run in runs], changed):
                runs[place].outer = part


def _written(stacked: Params, place: int, values: Params) -> Params:
    """Writes values into a place; the views of it."""
    views = {name: value[place] for name, value in stacked.items()}
    for name, view in views.items():
        view.copy_(values[name])
    return views


def stack_params(parts: Sequence[Params]) -> Params:
    """Copies side by side, ``[N, …]``."""
    return {name: torch.stack([part[name] for part in parts]) for name in parts[0]}


def take(params: Params, members: slice | Tensor) -> Params:
    """Some of the networks: views for a slice, copies for int64 indices."""
    return {name: value[members] for name, value in params.items()}
