"""What the callbacks of all frameworks share: a schedule that is made, fed and saved by somebody else's loop."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from lambda_rl.attach.counting import StepCounter
from lambda_rl.attach.groups import unwrapped
from lambda_rl.checks import did_you_mean, listed
from lambda_rl.schedules.base import Schedule
from lambda_rl.schedules.learned import LearnedSchedule
from lambda_rl.schedules.text_form import parse_schedule

ScheduleMaker = str | Callable[..., Schedule]


class Attached:
    """A schedule on the optimizers of a trainer that exist only once training begins.

    Signals come in two kinds: those that are averaged over the interval (:meth:`add`, summed on their device, so that
    nothing waits for it) and those of which the last one counts (:meth:`put`).

    Args:
        schedule: what makes the schedule when training begins. A text as :func:`lambda_rl.parse_schedule` takes it,
            a class of schedule, or a function; classes and functions are called as
            ``schedule(optimizer=…, total_steps=…, **options)``.
        options: passed on to it. With ``horizon``, a guess of the steps, it is made without ``total_steps``.
        names: what the trainer calls the signals, by signal; None: it has no such metric.
        total_steps: optimizer steps of the run; None: what the trainer says.
        every: decide each so many optimizer steps; None: whenever there has been a validation.

    Attributes:
        train: training signal to metric, of those that have one.
        val: validation signal to metric, likewise.
        schedule: None before training.

    Raises:
        ValueError: a text that is not a schedule, ``every`` or ``total_steps`` below 1.
        TypeError: ``schedule`` is a schedule already made, or none of the above.
    """

    def __init__(
        self,
        schedule: ScheduleMaker,
        options: Mapping[str, Any],
        names: Mapping[str, str | None],
        *,
        total_steps: int | None = None,
        every: int | None = None,
    ) -> None:
        for name, number in (("every", every), ("total_steps", total_steps)):
            if number is not None and number < 1:
                raise ValueError(f"{name} must be 1 or more optimizer steps, got {number}")
        if isinstance(schedule, Schedule) or not (isinstance(schedule, str) or callable(schedule)):
            raise TypeError(
                "schedule must be a text such as 'pull-down:0.3,0.003', a class of schedule, or a function "
                f"(optimizer, total_steps) -> Schedule, since the optimizer is not made yet; got {schedule!r}"
            )
        self._make = parse_schedule(schedule) if isinstance(schedule, str) else schedule
        learned = inspect.isclass(schedule) and issubclass(schedule, LearnedSchedule)
        self._takes_facts = isinstance(schedule, str) or learned
        self._options = dict(options)
        there = {signal: name for signal, name in names.items() if name is not None}
        self.train = {signal: name for signal, name in there.items() if signal.startswith("train_")}
        self.val = {signal: name for signal, name in there.items() if signal.startswith("val_")}
        self._total_steps = total_steps
        self.every = every
        self.schedule: Schedule | None = None
        self.total_steps = 0
        self._decided_at = 0
        self._sums: dict[str, Any] = {}
        self._counts: dict[str, float] = {}
        self._last: dict[str, Any] = {}
        self._saved: dict[str, Any] | None = None
        self._counter: StepCounter | None = None
        self._steps = 0  # when nothing counts
        self._warned = False

    def start(
        self,
        optimizers: Sequence[Optimizer],
        *,
        total_steps: float,
        steps: int = 0,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Makes the schedule, and goes on from a state that was loaded before.

        Args:
            optimizers: those of the trainer.
            total_steps: what the trainer expects; not finite or not positive if it does not know.
            steps: optimizer steps done already, for a run resumed without a state of this schedule.
            facts: options that the trainer knows (``num_train``, ``batch_size``, ``val_size``, ``model``); those that
                the user gave count more.

        Raises:
            ValueError: length of the run unknown, no optimizer, or what the schedule itself refuses.
        """
        self.stop()
        if not optimizers:
            raise ValueError("the trainer has no optimizer to schedule the decay of")
        length = self._length(total_steps)
        known = {k: v for k, v in (facts or {}).items() if v is not None} if self._takes_facts else {}
        with warnings.catch_warnings():
            # The trainer counts its steps itself; a run of less than one epoch is one.
            warnings.filterwarnings("ignore", message=".*is less than one epoch")
            made = self._make(
                optimizer=optimizers[0] if len(optimizers) == 1 else list(optimizers),
                **length,
                **{**known, **self._options},
            )
        if not isinstance(made, Schedule):
            raise TypeError(f"schedule= made a {type(made).__name__}, not a lambda_rl.Schedule")
        self.schedule = made
        self._decided_at = steps
        self._sums, self._counts, self._last = {}, {}, {}
        saved, self._saved = self._saved, None
        if saved is not None:
            made.load_state_dict(saved["schedule"])
            steps, self._decided_at = int(saved["steps"]), int(saved["decided_at"])
            self._sums, self._counts = dict(saved["sums"]), dict(saved["counts"])
            self._last = dict(saved["last"])
        self._counter = StepCounter(unwrapped(optimizers[0]))
        self._counter.steps = steps

    def _length(self, expected: float) -> dict[str, int]:
        """The option that tells the schedule how long the run is, unless ``horizon`` does."""
        guessed = self._options.get("horizon")
        if guessed is not None and self._total_steps is None:
            self.total_steps = int(guessed)
            return {}
        if self._total_steps is None and not 1 <= expected < float("inf"):
            raise ValueError(
                "the trainer does not know how many optimizer steps the run has; give total_steps=, or horizon=, a "
                "guess of them, to a policy that moves κ"
            )
        self.total_steps = int(expected) if self._total_steps is None else self._total_steps
        return {"total_steps": self.total_steps}

    @property
    def steps(self) -> int:
        """Optimizer steps done, counted on the first optimizer."""
        return self._steps if self._counter is None else self._counter.steps

    def stop(self) -> None:
        """Stops counting steps; the schedule stays, to be read."""
        if self._counter is not None:
            self._steps = self._counter.steps
            self._counter.remove()
            self._counter = None

    @property
    def running(self) -> bool:
        """Whether training has begun and not ended."""
        return self._counter is not None

    @property
    def value(self) -> float:
        """The λ in force; NaN before training."""
        return float("nan") if self.schedule is None else self.schedule.value

    def logged(self, name: str) -> dict[str, float]:
        """What is in force, for a trainer's logs: λ under ``name``, the rest under ``name/…``; nothing before training.

        Args:
            name: of λ.
        """
        if self.schedule is None:
            return {}
        found = self.schedule.log_dict(name)
        return {
            name: found.pop(f"{name}/value"),
            **{key: v for key, v in found.items() if key != f"{name}/progress"},
        }

    @property
    def due(self) -> bool:
        """Whether ``every`` optimizer steps have passed since the last decision."""
        return self.running and self.every is not None and self.steps - self._decided_at >= self.every

    def add(self, name: str, value: Any, weight: float = 1.0) -> None:
        """Counts a value into the interval's mean of a signal."""
        if isinstance(value, Tensor):
            value = value.detach().float()
        self._sums[name] = self._sums.get(name, 0.0) + value * weight
        self._counts[name] = self._counts.get(name, 0.0) + weight

    def put(self, name: str, value: Any) -> None:
        """Sets a signal to its newest value."""
        self._last[name] = value.detach() if isinstance(value, Tensor) else value

    def put_validation(self, metrics: Mapping[str, Any]) -> bool:
        """Sets the validation signals to what a validation measured; False if none of them is among its metrics."""
        found = {signal: metrics[name] for signal, name in self.val.items() if name in metrics}
        for signal, value in found.items():
            self.put(signal, value)
        return bool(found)

    def warn_of_names(self, metrics: Iterable[str], effect: str) -> None:
        """Warns once of an evaluation that has none of the metrics that are followed, or one of almost that name.

        Args:
            metrics: those that it had.
            effect: what comes of it.
        """
        there = [name for name in metrics if not name.startswith("train")]
        missing = [name for name in self.val.values() if name not in there]
        hint = next(filter(None, (did_you_mean(name, there) for name in missing)), "")
        if self._warned or not missing or (len(missing) < len(self.val) and not hint):
            return
        self._warned = True
        warnings.warn(
            f"ScheduleCallback: an evaluation without {' and '.join(missing)} {effect} (it has "
            f"{listed(sorted(there))}){hint}; name its metrics with val_loss= and val_accuracy=, or give every=",
            RuntimeWarning,
            stacklevel=2,  # further up there is only the framework, which no user has written either
        )

    def decide(self) -> bool:
        """Ends the interval: gives the signals to the schedule, which sets λ for the next one.

        Returns:
            False if nothing was trained since the last decision, and so nothing was decided.
        """
        if self.schedule is None or not self.running or self.steps == self._decided_at:
            return False
        for name, total in self._sums.items():
            self._last[name] = total / self._counts[name]
        self._sums, self._counts = {}, {}
        self.schedule.step(progress=self.steps / self.total_steps, **self._last)
        self._decided_at = self.steps
        return True

    def finish(self) -> bool:
        """Ends the run: decides if it is due, so that the history has the last interval, and stops.

        Returns:
            Whether something was decided.
        """
        decided = self.due and self.decide()
        self.stop()
        return decided

    def state_dict(self) -> dict[str, Any]:
        """State of the schedule and of the interval that is under way, as plain values; empty before training."""
        if self.schedule is None:
            return {} if self._saved is None else dict(self._saved)
        return {
            "schedule": self.schedule.state_dict(),
            "steps": self.steps,
            "decided_at": self._decided_at,
            "sums": {name: float(value) for name, value in self._sums.items()},
            "counts": dict(self._counts),
            "last": {name: float(value) for name, value in self._last.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes a state for the next :meth:`start`; an empty one is none."""
        self._saved = dict(state) if state else None


class AttachedCallback:
    """What the callbacks of all frameworks have in common for their user.

    Their constructors are written out in each, since the names of metrics, and what they default to, are the
    framework's own.

    Attributes:
        name: what λ is logged as.
    """

    name: str
    _attached: Attached

    @property
    def schedule(self) -> Schedule | None:
        """The schedule; None before training begins."""
        return self._attached.schedule


def num_examples(loader: Any) -> int | None:
    """Examples in the data set of a data loader; None if it does not know."""
    try:
        length = len(loader.dataset)
    except (AttributeError, TypeError):
        return None
    return length if math.isfinite(length) else None
