"""Schedules of λ in the Trainer of Hugging Face Transformers: a callback, with its state in ``trainer_state.json``."""

from __future__ import annotations

import json
import sys
from typing import Any

from lambda_rl.attach.groups import unwrapped
from lambda_rl.integrations._attached import Attached, AttachedCallback, ScheduleMaker, num_examples

try:
    from transformers.trainer_callback import (
        CallbackHandler,
        DefaultFlowCallback,
        ExportableState,
        TrainerCallback,
    )
except ImportError as error:
    raise ImportError(
        "lambda_rl.integrations.huggingface needs Transformers and Accelerate: pip install 'lambda-rl[huggingface]' "
        "(or pip install transformers accelerate)"
    ) from error


class ScheduleCallback(AttachedCallback, TrainerCallback, ExportableState):
    """Lets a schedule set the decay of the optimizer of a ``Trainer``.

    λ is set when training begins, and again after each evaluation or each ``every`` optimizer steps. The trainer must
    be given some decay (``TrainingArguments(weight_decay=0.01)``, any value but 0), which marks the groups that have
    it; the trainer's group of biases and norms stays at 0.

    The train loss is the trainer's own mean (``loss`` in its logs); the callback makes the trainer log before each
    evaluation, decision and checkpoint, so that the loss is that of the interval and survives a checkpoint. λ appears
    in ``state.log_history`` and in the logs of TensorBoard, W&B and their like, under ``name`` (and ``name/kappa``,
    ``name/asked``, ``name/held`` of a learned schedule): when training begins, the callback takes a place before them.

    The state goes into ``trainer_state.json`` of each checkpoint and is taken up by
    ``trainer.train(resume_from_checkpoint=…)``. The option ``restore_callback_states_from_checkpoint`` is not needed;
    with it, the trainer makes a new callback out of the file, so ``schedule`` has to be a text and the options plain
    values.

    Args:
        schedule: a text as :func:`lambda_rl.parse_schedule` takes it, a class of schedule, or a function; the latter
            two are called as ``schedule(optimizer=…, total_steps=…, **options)`` when training begins.
        every: decide each so many optimizer steps; None: after each evaluation.
        total_steps: optimizer steps of the run; None: ``state.max_steps``.
        train_loss: its name in the trainer's logs.
        train_accuracy: the same for the accuracy (a fraction), for a trainer that logs one; None: none.
        val_loss: its name in the metrics of an evaluation; with several evaluation sets, the one to follow, such as
            ``eval_first_loss``.
        val_accuracy: the same for the accuracy.
        name: what λ is logged as; it tells several callbacks apart in a checkpoint.
        **options: for the schedule. ``num_train`` and ``batch_size`` (and ``val_size``, if the trainer has loaded its
            evaluation data by then) of a :class:`~lambda_rl.LearnedSchedule` are read off the data if not given, and
            it is told the model.

    Raises:
        ValueError: a text that is not a schedule; when training begins: no evaluation and no ``every``, or what the
            schedule refuses.
        TypeError: ``schedule`` is none of the above.
    """

    def __init__(
        self,
        schedule: ScheduleMaker,
        *,
        every: int | None = None,
        total_steps: int | None = None,
        train_loss: str | None = "loss",
        train_accuracy: str | None = "accuracy",
        val_loss: str | None = "eval_loss",
        val_accuracy: str | None = "eval_accuracy",
        name: str = "lambda",
        **options: Any,
    ) -> None:
        if schedule is None:
            raise ValueError(
                "ScheduleCallback needs a schedule. If the trainer made this callback out of a checkpoint: that cannot "
                "be done where the schedule is a class or a function, or the options are not plain values; leave "
                "restore_callback_states_from_checkpoint off (the schedule's state is restored without it)"
            )
        names = {
            "train_loss": train_loss, "train_accuracy": train_accuracy,
            "val_loss": val_loss, "val_accuracy": val_accuracy,
        }  # fmt: skip
        self._attached = Attached(schedule, options, names, total_steps=total_steps, every=every)
        self._logged_at: dict[str, int] = {}
        self._met: set[str] = set()  # metrics of the evaluation under way
        self._matched = False
        self.name = name
        arguments = {
            "schedule": schedule,
            "every": every,
            "total_steps": total_steps,
            **names,
            "name": name,
            **options,
        }
        try:
            json.dumps(arguments)
        except TypeError:
            arguments = {"schedule": None}
        self._arguments = arguments

    def state(self) -> dict[str, Any]:
        """For the trainer's checkpoints; what JSON can hold."""
        return {
            "args": dict(self._arguments),
            "attributes": {"name": self.name, "saved": self._attached.state_dict()},
        }

    @property
    def saved(self) -> dict[str, Any]:
        """The state, as :meth:`state` has it; setting it takes effect when training begins."""
        return self._attached.state_dict()

    @saved.setter
    def saved(self, state: dict[str, Any]) -> None:
        self._attached.load_state_dict(state)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Makes the schedule, and takes up its state if the run is resumed."""
        strategy = getattr(args.eval_strategy, "value", args.eval_strategy)
        if self._attached.every is None and strategy == "no":
            raise ValueError(
                "ScheduleCallback decides after each evaluation, but eval_strategy is 'no'; give every=, in optimizer "
                "steps"
            )
        _before_reporters(self)
        self._attached.load_state_dict(self._enter(state.stateful_callbacks, state.global_step))
        self._logged_at = dict.fromkeys(self._attached.train, state.global_step)
        self._met, self._matched = set(), False
        # Accelerate's wrapper has neither the hooks nor all methods of an optimizer.
        self._attached.start(
            [unwrapped(kwargs["optimizer"])],
            total_steps=state.max_steps,
            steps=state.global_step,
            facts={
                "num_train": num_examples(kwargs.get("train_dataloader")),
                "val_size": num_examples(kwargs.get("eval_dataloader")),
                "batch_size": args.train_batch_size * args.gradient_accumulation_steps * args.world_size,
                "model": kwargs.get("model"),
            },
        )

    def _enter(self, stored: dict[str, Any], global_step: int) -> dict[str, Any]:
        """This callback's newest state in a checkpoint, empty in a run that starts; and a place for the next ones."""
        entries = self._entries(stored)
        mine = [entry["attributes"]["saved"] for entry in entries if entry["attributes"]["name"] == self.name]
        if not mine:
            # A checkpoint from before the callback was added: the trainer expects an entry when it saves.
            entries = [*entries, self.state()]
        stored[type(self).__name__] = entries[0] if len(entries) == 1 else entries
        return mine[-1] if mine and global_step > 0 else {}

    def _entries(self, stored: dict[str, Any]) -> list[Any]:
        """What the trainer keeps for all callbacks of this class: one entry, or a list of them."""
        entries = stored.get(type(self).__name__, [])
        return entries if isinstance(entries, list) else [entries]

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keeps the newest entry of each callback: where there are several, the trainer only ever adds."""
        entries = self._entries(state.stateful_callbacks)
        newest = {entry["attributes"]["name"]: entry for entry in entries}
        if len(entries) > 1:
            state.stateful_callbacks[type(self).__name__] = list(newest.values())

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Decides here what was due after the step before, since a log and an evaluation may have come in between."""
        self._check_evaluation()
        if self._attached.due:
            self._attached.decide()

    def _check_evaluation(self) -> None:
        """Warns once if the evaluation just ended, with all its data sets, had none of the metrics."""
        met, matched, self._met, self._matched = self._met, self._matched, set(), False
        if met and not matched:
            self._attached.warn_of_names(met, "decides nothing")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Has the trainer log first what it is about to evaluate, decide or save."""
        if self._attached.due or control.should_evaluate or control.should_save:
            control.should_log = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The same at the end of an epoch."""
        self.on_step_end(args, state, control)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Takes the train signals, and adds λ."""
        if logs is None or not self._attached.running:
            return
        for signal, key in self._attached.train.items():
            steps = state.global_step - self._logged_at[signal]
            if key in logs and steps > 0:
                self._attached.add(signal, logs[key], steps)  # the trainer's mean over these steps
                self._logged_at[signal] = state.global_step
        logs.update(self._attached.logged(self.name))
        if state.log_history and state.log_history[-1].get("step") == state.global_step:
            state.log_history[-1].update(self._attached.logged(self.name))

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Takes the validation signals, and decides unless there is an ``every``."""
        if not self._attached.running:
            return
        metrics = metrics or {}
        found = self._attached.put_validation(metrics)
        if self._attached.every is not None:
            return
        if found:
            self._attached.decide()
        self._matched = self._matched or found
        self._met.update(metrics)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Records the last interval, and lets go of the optimizer."""
        self._check_evaluation()
        self._attached.finish()


def _before_reporters(callback: TrainerCallback) -> None:
    """Moves a callback to the front of those that its trainer calls, so that what it logs reaches the reporters.

    The trainer puts the callbacks that a user gives after them, and passes neither itself nor its list to any: the
    list is found at the caller, which is a ``CallbackHandler``. Where it is not, the order stays.
    """
    frame = sys._getframe()
    while frame.f_back is not None and not isinstance(frame.f_locals.get("self"), CallbackHandler):
        frame = frame.f_back
    handler = frame.f_locals.get("self")
    if not isinstance(handler, CallbackHandler) or not any(other is callback for other in handler.callbacks):
        return
    # Not before the callback that says when to log, evaluate and save. The handler is walking through the list: what
    # moves is behind where it goes to, so that nobody is called twice or left out.
    flow = [i for i, other in enumerate(handler.callbacks) if isinstance(other, DefaultFlowCallback)]
    now = next(i for i, other in enumerate(handler.callbacks) if other is callback)
    place = max(flow, default=-1) + 1
    if place < now:
        handler.callbacks.insert(place, handler.callbacks.pop(now))
