"""What all schedules of λ have in common: attachment to an optimizer, progress, history, state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch.optim import Optimizer

from lambda_rl.arguments import plain_number, whole_number
from lambda_rl.attach.counting import Standstill, StepCounter
from lambda_rl.attach.groups import DecayGroups
from lambda_rl.checks import did_you_mean, shown
from lambda_rl.first_look.setting import decayed_vectors
from lambda_rl.observation.collector import Number, numbers, one_number
from lambda_rl.seeing.visible import Visible
from lambda_rl.seeing.words import Row

SIGNALS = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
"""The signals that every schedule may be given."""


def checked_range(lam_range: tuple[float, float] | None) -> tuple[float, float]:
    """A range of λ as plain numbers; None stands for 0 and more.

    Raises:
        ValueError: it is not (smallest, largest) with 0 <= smallest <= largest, or the smallest is infinite.
    """
    if lam_range is None:
        return 0.0, math.inf
    try:
        low, high = (plain_number(end) for end in lam_range)
        if low is not None and high is not None and 0 <= low <= high and low < math.inf:
            return float(low), float(high)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(
        f"λ range reversed or negative: lam_range={shown(lam_range)} must be (smallest, largest) with 0 <= smallest "
        "<= largest; the largest may be infinite"
    )


class Schedule(Visible):
    """Gives λ over a run, one value an interval.

    At construction :attr:`value` is the λ of the first interval; each :meth:`step`, called at the end of an
    interval, gives that of the next one. With an optimizer attached, λ is also written to ``weight_decay`` of
    its groups that have decay (see :class:`lambda_rl.attach.groups.DecayGroups`); without one, read :attr:`value`
    and multiply a penalty.

    Args:
        optimizer: one, several or none.
        total_steps: optimizer steps of the whole run; needed unless ``progress`` is given at each step.
        lam_range: smallest and largest λ; what a schedule asks for is clipped to it. None: only ``λ >= 0``.

    Attributes:
        history: one row for the start and one for each call of :meth:`step`: ``progress``, ``lam`` (the λ of
            the interval that begins there), the signals given, and the values of :attr:`knobs`. :meth:`plot` draws it.
        verbose: set it to True, and each new row is printed.

    Raises:
        ValueError: ``total_steps`` no whole number of 1 or more, range reversed or negative, no parameter group with
            decay.
    """

    needs_progress: ClassVar[bool] = True
    asks: ClassVar[tuple[str, ...]] = ()
    """Names of the signals that it reads beside :data:`SIGNALS`."""
    _open_ended = False  # the run may be longer than total_steps, which was a guess
    _settled = False  # nobody touched the groups between the last call and this one

    def __init__(
        self,
        optimizer: Optimizer | Sequence[Optimizer] | None = None,
        *,
        total_steps: int | None = None,
        lam_range: tuple[float, float] | None = None,
    ) -> None:
        self.total_steps = None if total_steps is None else whole_number("total_steps", total_steps)
        self.lam_range = checked_range(lam_range)
        self.history: list[Row] = []
        self.groups = None if optimizer is None else DecayGroups(optimizer)
        self._value = math.nan
        self._config: dict[str, Any] = {}  # what a state must agree on to be loaded; subclasses fill it
        self._warned: set[str] = set()
        self._counter: StepCounter | None = None
        if self.groups is not None:
            self._counter = StepCounter(self.groups.optimizers[0])
            self._standstill = Standstill(self.groups.version())
            self._note("vectors", decayed_vectors(self.groups))

    @property
    def value(self) -> float:
        """The λ in force now."""
        return self._value

    def get_last_lambda(self) -> float:
        """The λ in force now, under the name that ``torch.optim.lr_scheduler`` has made usual."""
        return self._value

    def step(
        self,
        *unnamed: Any,
        step: int | None = None,
        progress: float | None = None,
        train_loss: Any = None,
        val_loss: Any = None,
        train_accuracy: Any = None,
        val_accuracy: Any = None,
        **more: Any,
    ) -> float:
        """Ends an interval and sets λ for the next one.

        Args:
            step: optimizer steps done so far; or
            progress: their share of the whole run, in [0, 1] (beyond 1 counts as 1). With neither, steps are
                counted by a hook on the (first) optimizer.
            train_loss: mean data loss over the interval, nats, without the penalty.
            val_loss: mean data loss on validation examples.
            train_accuracy: fraction over the interval's minibatches.
            val_accuracy: fraction on validation examples.
            **more: other signals, which are recorded; numbers or tensors of one element, as all signals. None is a
                missing signal. One whose name is almost that of a signal that was not given is warned of.
            *unnamed: nothing: signals are given by name.

        Returns:
            λ of the next interval; finite, within the range.

        Raises:
            ValueError: progress unknown or not a number, a signal that is not a number, or parameter groups that were
                removed, moved, or added with a decay that cannot be.
            TypeError: a signal without its name.
        """
        if unnamed:
            raise TypeError(
                f"signals are given by name, as step(train_loss=..., val_loss=...), got step({shown(unnamed[0])})"
            )
        self._settled = self.groups is None or self.groups.settled()
        if not self._settled:
            self._look_at_groups()
        share = self._progress(step, progress)
        given = {
            "train_loss": train_loss,
            "val_loss": val_loss,
            "train_accuracy": train_accuracy,
            "val_accuracy": val_accuracy,
            **more,
        }
        if more:
            self._look_at_names(given, more)
        self._take(
            share,
            {
                name: one_number(f"signal {name}", signal)
                for name, signal in given.items()
                if signal is not None
            },
        )
        return self._value

    def _look_at_groups(self) -> None:
        """Refuses groups that cannot be written to; warns where somebody else did."""
        assert self.groups is not None  # which are not settled
        self.groups.check()
        if self.groups.overwritten():
            self._warn_once(
                "overwritten",
                "weight_decay was changed by somebody else since the last call (a second schedule on the same "
                "optimizer, or a checkpoint loaded without the schedule's state); this schedule writes its own λ "
                "over it",
            )

    def _look_at_names(self, given: Mapping[str, Any], more: Mapping[str, Any]) -> None:
        """Warns of signals that nobody reads, and whose names are almost those of signals that are missing."""
        for name in more:
            if name not in self.asks and f"signal {name}" not in self._warned:
                self._warned.add(f"signal {name}")
                missing = [other for other in (*SIGNALS, *self.asks) if given.get(other) is None]
                hint = did_you_mean(name, missing)
                self._note(f"unknown {name}", hint and f"unknown signal {name}{hint}")

    def _take(self, progress: float | None, given: dict[str, Number]) -> None:
        """Acts on what one call of :meth:`step` was given."""
        signals = numbers(given)
        self._set(self._next(progress, signals))
        self._record(self._row(progress, signals))

    def _row(self, progress: float | None, signals: Mapping[str, float]) -> Row:
        """What is recorded of the decision just made."""
        return {**signals, "progress": progress, "lam": self._value, **self.knobs}

    def _progress(self, step: int | None, progress: float | None) -> float | None:
        """The share of the run that is done; None if it is not known and not needed."""
        if progress is not None:
            share = float(one_number("progress", progress))
        elif self.total_steps is None or (step is None and self._counter is None):
            if not self.needs_progress:
                return None
            raise ValueError(
                f"{type(self).__name__}.step: progress is not known; give progress= in [0, 1], or total_steps= "
                "at construction together with step= or an attached optimizer"
            )
        else:
            done = self._counted() if step is None else float(one_number("step", step))
            if done > self.total_steps and self.needs_progress and not self._open_ended:
                self._warn_once(
                    "over",
                    f"the run is longer than it was said to be: step {done:.0f} of total_steps={self.total_steps}; λ "
                    "stays as it is at the end. If these are epochs: total_steps counts optimizer steps, epochs times "
                    "the minibatches of one",
                )
            share = done / self.total_steps
        if not (math.isfinite(share) and share >= 0):
            raise ValueError(f"progress must be a finite number, 0 or more, got {share}")
        return share if self._open_ended else min(share, 1.0)

    def _counted(self) -> int:
        """Steps of the optimizer so far."""
        assert self.groups is not None  # whose optimizer is counted
        assert self._counter is not None
        if self._standstill.found(self._counter.calls, self.groups.version()) and self.needs_progress:
            self._warn_once(
                "standstill",
                "no optimizer step was counted since the last call, so λ stays. The schedule counts the steps of the "
                "optimizer that it was made with; if that was made anew, or the schedule copied without it, make a "
                "new schedule for the optimizer that trains and load this one's state_dict(), or give step= or "
                "progress=",
            )
        return self._counter.steps

    def _next(self, progress: float | None, signals: dict[str, float]) -> float:
        """λ of the interval that begins at ``progress``; a non-finite answer holds λ."""
        raise NotImplementedError

    def _start(self, lam: float) -> None:
        """Sets the first λ; a subclass calls it at the end of its constructor."""
        if not (math.isfinite(lam) and lam >= 0):
            raise ValueError(f"the first λ must be finite and 0 or more, got {lam}")
        self._set(lam)
        self._record(self._row(0.0, {}))

    def _set(self, lam: float) -> None:
        if math.isfinite(lam):
            self._value = float(min(max(lam, self.lam_range[0]), self.lam_range[1]))
        if self.groups is not None:
            self.groups.write(self._value)

    def _keep(self) -> None:
        """λ stays; it is written again where somebody may have touched the groups."""
        if not self._settled and self.groups is not None:
            self.groups.write(self._value)

    def _note(self, reason: str, text: str) -> None:
        """Warns once of what is mostly a slip of the user's; an empty text is nothing."""
        if text:
            self._warn_once(reason, text, UserWarning)

    def _agreed(self) -> dict[str, Any]:
        """What a state must agree on to be loaded."""
        return {**self._config, **({"total_steps": self.total_steps} if self.needs_progress else {})}

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, as plain values (JSON can hold them)."""
        return {
            "schedule": type(self).__name__,
            "config": self._agreed(),
            "value": self._value,
            "steps_done": 0 if self._counter is None else self._counter.steps,
            "history": [dict(row) for row in self.history],
            "groups": None if self.groups is None else self.groups.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where the state was taken, and writes its λ to the optimizer.

        Args:
            state: from :meth:`state_dict` of a schedule made with the same arguments.

        Raises:
            ValueError: the state is of another schedule, of other arguments or of other parameter groups.
        """
        if state.get("schedule") != type(self).__name__:
            raise ValueError(f"state is of a {state.get('schedule')}, this is a {type(self).__name__}")
        self._compare(state["config"])
        value = float(state["value"])
        if self.groups is not None:
            if state["groups"] is None:
                self.groups.write(value)
            else:
                self.groups.load_state_dict(state["groups"], value)
        if self._counter is not None:
            self._counter.steps = int(state["steps_done"])
        self.history = [dict(row) for row in state["history"]]
        self._value = value

    def _compare(self, saved: Mapping[str, Any]) -> None:
        """Refuses the state of a schedule that was made with other arguments."""
        mine = self._agreed()
        absent = [name for name in mine if name not in saved]
        if absent:
            raise ValueError(
                f"state is of an older lambda_rl, which did not keep {', '.join(absent)}; it cannot be told whether it "
                "fits. Go on with a new schedule"
            )
        other = sorted(name for name in {*saved, *mine} if saved.get(name) != mine.get(name))
        if "total_steps" in other:
            raise ValueError(
                f"state is of a run of total_steps={saved['total_steps']}, this schedule is for {mine['total_steps']}; "
                "progress is a share of the run, so its length cannot change on the way. To train longer, make the "
                "schedule with the old total_steps (λ stays when they are over), or go on with a new schedule for the "
                "steps that are left, without this state"
            )
        if other:
            listing = ", ".join(f"{k}: {saved.get(k)!r} in the state, {mine.get(k)!r} here" for k in other)
            raise ValueError(f"state is of a {type(self).__name__} with other arguments ({listing})")

    def __getstate__(self) -> dict[str, Any]:
        # A copy is another run: it has no listeners, which mostly cannot be copied either.
        counted = None if self._counter is None else self._counter.steps
        return {**self.__dict__, "_counter": counted, "_listeners": ()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.groups is not None:
            # A copied optimizer has lost its hooks.
            self._counter = StepCounter(self.groups.optimizers[0], state["_counter"])
            self._standstill.hooked_anew()
