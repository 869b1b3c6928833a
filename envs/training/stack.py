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


class Ragged:
    """Tensors of N runs side by side, each as long as the run has it.

    Attributes:
        tensors: ``[N, capacity, …]``.
        sizes: length of each run's.

    Args:
        count: N.
        multiple: what the capacity is a multiple of.
        fills: what lies beyond the end of a run's, for each tensor; None: anything.
    """

    def __init__(self, count: int, multiple: int, fills: Sequence[int | None]) -> None:
        self._multiple, self._fills = multiple, fills
        self.tensors: list[Tensor] = []
        self.sizes = [0] * count

    @property
    def capacity(self) -> int:
        """How long a run's may be without all being moved."""
        return self.tensors[0].shape[1] if self.tensors else 0

    def seat(
        self, parts: Sequence[Sequence[Tensor]], changed: Sequence[int]
    ) -> list[tuple[int, list[Tensor]]]:
        """Takes in what comes to the changed places; all where there is too little room.

        Where there are fewer parts than places, the last places have none.

        Args:
            parts: of each run, a tensor for each of ``tensors``.
            changed: places.

        Returns:
            Places that were written, with views of them.
        """
        longest = rounded_up(max(part[0].shape[0] for part in parts), self._multiple)
        self.sizes[len(parts) :] = [0] * (len(self.sizes) - len(parts))
        if not self.tensors or self.capacity < longest:
            shape = (len(self.sizes), longest)
            self.tensors = [
                value.new_full((*shape, *value.shape[1:]), fill or 0)
                for value, fill in zip(parts[0], self._fills, strict=True)
            ]
            changed = range(len(parts))
        alike: dict[int, list[int]] = {}
        for place in changed:
            size = self.sizes[place] = parts[place][0].shape[0]
            alike.setdefault(size, []).append(place)
        written: list[tuple[int, list[Tensor]]] = []
        for size, places in alike.items():
            views = []
            for i, (tensor, fill) in enumerate(zip(self.tensors, self._fills, strict=True)):
                views.append(write(tensor[:, :size], places, [parts[place][i] for place in places]))
                if fill is not None and size < self.capacity:
                    tensor[_selected(places, tensor), size:] = fill
            written += [(place, list(of)) for place, *of in zip(places, *views, strict=True)]
        return written


class StackedSets(Ragged):
    """Evaluation sets of N runs side by side; :data:`NO_LABEL` beyond the end of each."""

    def __init__(self, count: int, multiple: int) -> None:
        super().__init__(count, multiple, (None, NO_LABEL))

    @property
    def inputs(self) -> Tensor:
        """``[N, capacity, D]``."""
        return self.tensors[0]

    @property
    def labels(self) -> Tensor:
        """int64 ``[N, capacity]``."""
        return self.tensors[1]


class Plan:
    """What N runs learn from at each of their steps, and how fast.

    Args:
        count: N.
    """

    def __init__(self, count: int) -> None:
        self._minibatches = Ragged(count, 1, (None, None))
        self._rates = np.zeros((count, 0))
        self._momentum = np.zeros(count)

    def seat(self, runs: Sequence[InnerRun], changed: Sequence[int]) -> None:
        """Takes in what the runs at the changed places learn from; they get views of it."""
        for place, (order, labels) in self._minibatches.seat(
            [(run.order, run.labels) for run in runs], changed
        ):
            runs[place].order, runs[place].labels = order, labels
        more = self._minibatches.capacity - self._rates.shape[1]
        self._rates = np.pad(self._rates, ((0, 0), (0, max(more, 0))))
        for place in changed:
            rates = runs[place].learning_rates.numpy()[:-1]
            self._rates[place, : len(rates)] = rates
            self._momentum[place] = runs[place].task.momentum

    def minibatches(self, done: npt.NDArray[np.int64], steps: int) -> tuple[Tensor, Tensor]:
        """Images and labels of the next k steps, int64 ``[k, n, B]``.

        Args:
            done: steps that each of the first n runs has done.
            steps: k.
        """
        order, labels = self._minibatches.tensors
        first, count = int(done[0]), len(done)
        if (done == first).all():
            now = slice(first, first + steps)
            return order[:count, now].transpose(0, 1), labels[:count, now].transpose(0, 1)
        at = torch.from_numpy(done + np.arange(steps)[:, None]).to(order.device, non_blocking=True)
        places = torch.arange(count, device=order.device)
        return order[places, at], labels[places, at]

    def rates(self, done: npt.NDArray[np.int64], steps: int) -> npt.NDArray[np.float64]:
        """Learning rates of the next k steps, ``[k, n]``; see :meth:`minibatches`."""
        rates: npt.NDArray[np.float64] = self._rates[np.arange(len(done)), done + np.arange(steps)[:, None]]
        return rates

    def momentum(self, count: int) -> npt.NDArray[np.float64]:
        """Of the first n runs, ``[n]``."""
        return self._momentum[:count]


class Stack:
    """Up to N runs alike: one network with N groups.

    Attributes:
        params: ``[N, …]``, as all that follows.
        buffers: batch norm's running statistics.
        optimizer: by kind and parameter.
        val: what the runs watch.
        outer: what they are scored on.
        plan: what they learn from.
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
        self.val, self.outer, self.plan = StackedSets(count, rows), StackedSets(count, rows), Plan(count)
        self.intervals: dict[tuple[int, frozenset[str]], TrainingInterval] = {}
        self._seated: list[Callable[[], InnerRun | None]] = [lambda: None] * count
        optimizer = {kind: rows_of(values, count) for kind, values in self.optimizer.items()}
        self._views = [
            (params, buffers, {kind: values[place] for kind, values in optimizer.items()})
            for place, (params, buffers) in enumerate(
                zip(rows_of(self.params, count), rows_of(self.buffers, count), strict=True)
            )
        ]

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
        if not changed:
            return
        some = [runs[place] for place in changed]
        _write_all(self.params, changed, [run.params for run in some])
        _write_all(self.buffers, changed, [run.buffers for run in some])
        for kind, tensors in self.optimizer.items():
            _write_all(tensors, changed, [run.optimizer[kind] for run in some])
        for place, run in zip(changed, some, strict=True):
            run.params, run.buffers, run.optimizer = self._views[place]
            run.seat = (self, place)
            self._seated[place] = weakref.ref(run)
        for place, part in self.val.seat([(run.val.inputs, run.val.labels) for run in runs], changed):
            runs[place].val = EvaluationSet(*part)
        for place, part in self.outer.seat([(run.outer.inputs, run.outer.labels) for run in runs], changed):
            runs[place].outer = EvaluationSet(*part)
        self.plan.seat(runs, changed)


def _selected(places: Sequence[int], target: Tensor) -> slice | Tensor:
    """An index of the places in ``[N, …]``: a slice where they follow each other."""
    if list(places) == list(range(places[0], places[0] + len(places))):
        return slice(places[0], places[0] + len(places))
    return torch.tensor(places).to(target.device, non_blocking=True)


def write(target: Tensor, places: Sequence[int], values: Sequence[Tensor]) -> Sequence[Tensor]:
    """Writes values into places of ``[N, …]`` at once; views of them."""
    where = _selected(places, target)
    if isinstance(where, slice):
        torch.stack(list(values), out=target[where])
        return target[where].unbind()
    target.index_copy_(0, where, torch.stack(list(values)))
    return [target[place] for place in places]


def _write_all(stacked: Params, places: Sequence[int], values: Sequence[Params]) -> None:
    for name, target in stacked.items():
        write(target, places, [each[name] for each in values])


def rows_of(stacked: Params, count: int) -> list[Params]:
    """The parameters of each of N networks, as views."""
    if not stacked:
        return [{} for _ in range(count)]
    rows = zip(*(value.unbind() for value in stacked.values()), strict=True)
    return [dict(zip(stacked, row, strict=True)) for row in rows]


def stack_params(parts: Sequence[Params]) -> Params:
    """Copies side by side, ``[N, …]``."""
    return {name: torch.stack([part[name] for part in parts]) for name in parts[0]}


def take(params: Params, members: slice | Tensor) -> Params:
    """Some of the networks: views for a slice, copies for int64 indices."""
    return {name: value[members] for name, value in params.items()}
