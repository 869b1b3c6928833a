"""From signals to observations, with the memory of the last decision."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from lambda_rl.control import ControlLaw
from lambda_rl.knobs import Knob
from lambda_rl.observation.facts import CONSTANTS, YES_OR_NO, RunFacts, constants
from lambda_rl.observation.features import LEVELS, TINY, all_features, bounded
from lambda_rl.observation.further import default_features
from lambda_rl.observation.memories import MEMORIES
from lambda_rl.observation.signals import Signals
from lambda_rl.observation.view import Value, Values, View
from lambda_rl.ops import ARRAYS, EXACT_ARRAYS, NUMBERS, Array, Ops, V


class Observer:
    """Turns signals into features, and remembers the last decision's for the differences.

    Before the first interval nothing has been measured: the signals stand at chance level, and what a policy can know
    are the static facts of the run and the start λ.

    Args:
        num_slots: N.
        control: gives the range of λ.
        features: names of those that are observed, in order; None: :func:`default_features` of λ.
        knobs: that are moved beside λ.

    Attributes:
        features: names of the entries of an observation.

    Raises:
        ValueError: a feature that there is not; the message lists those that there are.
    """

    def __init__(
        self,
        num_slots: int,
        control: ControlLaw,
        features: Sequence[str] | None = None,
        knobs: Sequence[Knob] = (),
    ) -> None:
        known = all_features(knobs)
        self.features = default_features(knobs=knobs) if features is None else tuple(features)
        unknown = [name for name in self.features if name not in known]
        if unknown:
            raise ValueError(f"unknown feature {', '.join(unknown)}; allowed: {', '.join(known)}")
        self.control, self.num_slots, self.knobs = control, num_slots, tuple(knobs)
        self._computed = [known[name].compute for name in self.features]
        self._levels = dict(LEVELS.items())
        for knob in self.knobs:
            self._levels[f"{knob.name}:log"] = lambda signals, run, ops, name=knob.name: signals.knobs[name]  # type: ignore[misc]
        remembers = any(known[name].remembers for name in self.features)
        self._memories = dict(MEMORIES.items()) if remembers else {}
        self._kept = (*self._levels, *self._memories)
        self._previous = np.zeros((len(self._kept), num_slots))
        self._constants = np.ones((len(CONSTANTS), num_slots))

    def reset(
        self,
        slot: int,
        facts: RunFacts,
        *,
        log_lam: float,
        weight_norm: float,
        penalty: float,
        log_knobs: dict[str, float] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Starts a run in a slot.

        Args:
            slot: which slot.
            facts: the run's static facts.
            log_lam: log₁₀ of the start λ.
            weight_norm: norm of the initial penalised weights.
            penalty: λ · R(w) at the start.
            log_knobs: log₁₀ of the start values of further knobs, by name.

        Returns:
            The observation before the first interval, ``[F]``: signals at chance level.
        """
        run = constants(facts, max(float(weight_norm), TINY))
        self._constants[:, slot] = [run[name] for name in CONSTANTS]
        start: Signals[float] = _at_chance(
            facts.num_classes, (float(log_lam), float(weight_norm), float(penalty)), dict(log_knobs or {})
        )
        self._previous[:, slot] = list(self._begin(start, run, NUMBERS).values())
        return self.observe_one(start, slot)

    def reset_many(
        self,
        slots: Sequence[int] | npt.NDArray[np.int64],
        facts: Sequence[RunFacts],
        *,
        log_lam: Array,
        weight_norm: Array,
        penalty: Array,
        log_knobs: Mapping[str, Array] = MappingProxyType({}),
    ) -> npt.NDArray[np.float32]:
        """Starts runs in several slots, to the same bits as :meth:`reset` would in each.

        Args:
            slots: which slots.
            facts: of each run.
            log_lam: as in :meth:`reset`, arrays of ``len(slots)``, and so the others.
            weight_norm: see there.
            penalty: see there.
            log_knobs: see there.

        Returns:
            float32 ``[len(slots), F]``.
        """
        index = np.asarray(slots, np.int64)
        alike = {id(each): constants(each, 1.0) for each in facts}  # runs alike share their facts
        run = {name: np.array([alike[id(each)][name] for each in facts]) for name in CONSTANTS}
        run["initial_norm"] = np.maximum(weight_norm, TINY)
        for row, name in zip(self._constants, CONSTANTS, strict=True):
            row[index] = run[name]
        classes = [each.num_classes for each in facts]
        start = _at_chance(classes, (log_lam, weight_norm, penalty), log_knobs)
        for row, value in zip(self._previous, self._begin(start, run, EXACT_ARRAYS).values(), strict=True):
            row[index] = value
        return self._observe(start, index, EXACT_ARRAYS)

    def _begin(self, start: Signals[Any], run: Values, ops: Ops) -> dict[str, Value]:
        """Levels and memories before the first interval."""
        values: dict[str, Value] = {name: level(start, run, ops) for name, level in self._levels.items()}
        view = View(start, values, dict(values), run, self.control, ops)
        for name, memory in self._memories.items():
            values[name] = memory.start(view)
        return values

    def observe_one(self, signals: Signals[float], slot: int = 0) -> npt.NDArray[np.float32]:
        """Features of one slot, and the memory for the next call.

        Args:
            signals: plain floats.
            slot: which slot they belong to.

        Returns:
            float32 ``[F]``, finite, within ±FEATURE_BOUND.
        """
        run = dict(zip(CONSTANTS, self._constants[:, slot].tolist(), strict=True))
        before = dict(zip(self._kept, self._previous[:, slot].tolist(), strict=True))
        view = self._view(signals, before, run, NUMBERS)
        self._previous[:, slot] = list(view.now.values())
        return np.array([bounded(compute(view), NUMBERS) for compute in self._computed], np.float32)

    def observe(
        self, signals: Signals[Array], slots: Sequence[int] | npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Features of the slots named, and the memory for the next call.

        Args:
            signals: arrays of ``len(slots)``.
            slots: which slots they belong to.

        Returns:
            float32 ``[len(slots), F]``, finite, within ±FEATURE_BOUND.
        """
        return self._observe(signals, np.asarray(slots, np.int64), ARRAYS)

    def _observe(
        self, signals: Signals[Array], index: npt.NDArray[np.int64], ops: Ops
    ) -> npt.NDArray[np.float32]:
        run = dict(zip(CONSTANTS, self._constants[:, index], strict=True))
        before = dict(zip(self._kept, self._previous[:, index], strict=True))
        table = np.empty((len(index), len(self._computed)))
        with np.errstate(all="ignore"):
            view = self._view(signals, before, run, ops)
            for i, compute in enumerate(self._computed):
                table[:, i] = compute(view)
        for row, value in zip(self._previous, view.now.values(), strict=True):
            row[index] = value
        return np.asarray(bounded(table, ops), np.float32)

    def _view(self, signals: Signals[Any], before: Values, run: Values, ops: Ops) -> View:
        """What features are computed from, with the levels and memories of now."""
        now: dict[str, Value] = {name: level(signals, run, ops) for name, level in self._levels.items()}
        view = View(signals, now, before, run, self.control, ops)
        for name, memory in self._memories.items():
            now[name] = memory.update(view)
        return view

    def state_dict(self) -> dict[str, dict[str, list[float]]]:
        """Everything remembered, as plain lists."""
        return {
            "levels": {name: row.tolist() for name, row in zip(self._kept, self._previous, strict=True)},
            "run": {name: row.tolist() for name, row in zip(CONSTANTS, self._constants, strict=True)},
        }

    def load_state_dict(self, state: dict[str, dict[str, list[float]]]) -> None:
        """Takes back what :meth:`state_dict` gave; the number of slots must agree."""
        for names, table, saved in (
            (self._kept, self._previous, state["levels"]),
            (CONSTANTS, self._constants, state["run"]),
        ):
            for name, row in zip(names, table, strict=True):
                row[:] = np.asarray(_saved(saved, name), np.float64)

    def __reduce__(self) -> tuple[Any, ...]:
        # Formulas cannot be pickled; the copy takes them from the registry.
        arguments = (self.num_slots, self.control, self.features, self.knobs)
        return type(self), arguments, self.state_dict()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.load_state_dict(state)


def _at_chance(classes: int | Sequence[int], known: tuple[V, V, V], log_knobs: Mapping[str, V]) -> Signals[V]:
    """The signals before the first interval: of guessing, and what is known: log₁₀ λ, weight norm and penalty."""
    loss: Any = math.log(classes) if isinstance(classes, int) else np.array([math.log(c) for c in classes])
    accuracy: Any = 1.0 / (classes if isinstance(classes, int) else np.array(classes))
    log_lam, weight_norm, penalty = known
    ones: Any = 1.0 if isinstance(classes, int) else np.ones(len(classes))
    return Signals(0.0 * ones, log_lam, loss, loss, accuracy, accuracy, weight_norm, penalty, ones, log_knobs)


def _saved(rows: dict[str, list[float]], name: str) -> list[float] | float:
    """A row of a state; those of before had neither facts that may be unknown, nor another sum than Σ learning rate."""
    if name in rows:
        return rows[name]
    return 0.0 if name in YES_OR_NO else rows[{"log_decay_sum": "log_lr_sum"}.get(name, name)]
