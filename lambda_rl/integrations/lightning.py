"""Schedules of λ in Lightning: a callback, whose state goes into Lightning's own checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from lambda_rl.integrations._attached import Attached, AttachedCallback, ScheduleMaker, num_examples
from lambda_rl.schedules.learned import LearnedSchedule

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer
else:
    try:
        from lightning.pytorch import Callback
    except ImportError:
        try:
            from pytorch_lightning import Callback
        except ImportError as error:
            raise ImportError(
                "lambda_rl.integrations.lightning needs Lightning: pip install 'lambda-rl[lightning]' "
                "(or pip install lightning)"
            ) from error


class ScheduleCallback(AttachedCallback, Callback):
    """Lets a schedule set the decay of the optimizers of a Lightning module.

    λ is set when training begins, and again after each validation or each ``every`` optimizer steps. Optimizer steps
    are counted, not batches, so gradient accumulation is right. λ goes to the trainer's loggers, its progress bar and
    its ``callback_metrics`` under ``name``; of a learned schedule the loggers get ``name/kappa``, ``name/asked`` and
    ``name/held``, too.

    Train signals are means over the interval. The loss is what ``training_step`` returns, unless ``train_loss`` names
    another. A named one is looked up in what ``training_step`` returns, then among the logged metrics; log it by
    step (the default in ``training_step``): one that is logged by epoch only arrives an epoch late. Validation
    signals are logged metrics. A metric that nobody logs is a missing signal.

    With several optimizers, the schedule is made with the list of them.

    Args:
        schedule: a text as :func:`lambda_rl.parse_schedule` takes it, a class of schedule, or a function; the latter
            two are called as ``schedule(optimizer=…, total_steps=…, **options)`` when training begins.
        every: decide each so many optimizer steps; None: after each validation.
        total_steps: optimizer steps of the run; None: ``trainer.estimated_stepping_batches``. Give it with several
            optimizers and ``max_steps``, which then counts the steps of all of them.
        train_loss: name of the metric; None: the loss that ``training_step`` returns.
        train_accuracy: name of the metric (a fraction); None: none.
        val_loss: the same on validation examples.
        val_accuracy: the same on validation examples.
        name: what λ is logged as; it tells several callbacks apart in a checkpoint.
        **options: for the schedule. ``num_train``, ``val_size`` and ``batch_size`` of a
            :class:`~lambda_rl.LearnedSchedule` are read off the data loaders if not given, and it is told the model.

    Raises:
        ValueError: a text that is not a schedule; when training begins: no validation and no ``every``, length of the
            run unknown, or what the schedule refuses.
        TypeError: ``schedule`` is none of the above.
    """

    def __init__(
        self,
        schedule: ScheduleMaker,
        *,
        every: int | None = None,
        total_steps: int | None = None,
        train_loss: str | None = None,
        train_accuracy: str | None = "train_accuracy",
        val_loss: str | None = "val_loss",
        val_accuracy: str | None = "val_accuracy",
        name: str = "lambda",
        **options: Any,
    ) -> None:
        super().__init__()
        names = {
            "train_loss": train_loss, "train_accuracy": train_accuracy,
            "val_loss": val_loss, "val_accuracy": val_accuracy,
        }  # fmt: skip
        self._attached = Attached(schedule, options, names, total_steps=total_steps, every=every)
        self._seen: dict[str, Any] = {}
        self.name = name

    @property
    def state_key(self) -> str:
        """Where Lightning keeps the state in a checkpoint; one key a ``name``."""
        return f"{type(self).__qualname__}[{self.name}]"

    def state_dict(self) -> dict[str, Any]:
        """For Lightning's checkpoints; plain values."""
        return self._attached.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From Lightning's checkpoints; takes effect when training begins."""
        self._attached.load_state_dict(state_dict)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Makes the schedule, by now with the optimizers (and their state, in a resumed run)."""
        if self._attached.every is None and not trainer.enable_validation:
            raise ValueError(
                "ScheduleCallback decides after each validation, but the run has none; give every=, in optimizer steps"
            )
        self._seen = dict(trainer.callback_metrics)  # left over from before: of no interval of this run
        self._attached.start(
            trainer.optimizers,
            total_steps=trainer.estimated_stepping_batches,
            steps=trainer.global_step // max(len(trainer.optimizers), 1),
            facts={**_facts(trainer), "model": pl_module},
        )
        self._log(trainer)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Decides here what was due after the batch before, since a validation may have come in between."""
        if self._attached.due:
            self._decide(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts the batch's loss and accuracy into the interval's means."""
        returned = outputs if isinstance(outputs, Mapping) else {"loss": outputs}
        named = self._attached.train
        if "train_loss" not in named and returned.get("loss") is not None:
            # Lightning hands the loss out divided by the number of accumulated batches.
            self._attached.add("train_loss", returned["loss"] * trainer.accumulate_grad_batches)
        logged = trainer.callback_metrics if any(key not in returned for key in named.values()) else {}
        for signal, key in named.items():
            if key in returned:
                self._attached.add(signal, returned[key])
            # A metric of this batch is a new tensor; one of an earlier epoch is still the old one.
            elif key in logged and logged[key] is not self._seen.get(key):
                self._seen[key] = logged[key]
                self._attached.add(signal, logged[key])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the validation metrics, and decides unless there is an ``every``."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self._attached.put_validation(trainer.callback_metrics)
        if isinstance(self._attached.schedule, LearnedSchedule):
            self._attached.warn_of_names(
                trainer.callback_metrics, "leaves the policy to guess, or λ as it is"
            )
        if self._attached.every is None:
            self._decide(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Records the last interval, and lets go of the optimizer."""
        if self._attached.finish():
            self._log(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Lets go of the optimizer."""
        self._attached.stop()

    def _decide(self, trainer: Trainer) -> None:
        if self._attached.decide():
            self._log(trainer)

    def _log(self, trainer: Trainer) -> None:
        trainer.callback_metrics[self.name] = torch.tensor(self._attached.value)
        trainer.progress_bar_metrics[self.name] = self._attached.value
        for logger in trainer.loggers:
            logger.log_metrics(self._attached.logged(self.name), step=trainer.global_step)


def _facts(trainer: Trainer) -> dict[str, Any]:
    """What the data loaders tell about the run; what they do not tell is left out."""
    facts: dict[str, Any] = {}
    loader = trainer.train_dataloader
    batch = getattr(loader, "batch_size", None)
    if isinstance(batch, int):
        facts["batch_size"] = batch * trainer.accumulate_grad_batches * trainer.world_size
    facts["num_train"] = num_examples(loader)
    validation = trainer.val_dataloaders
    facts["val_size"] = num_examples(
        validation[0] if isinstance(validation, list) and len(validation) == 1 else validation
    )
    return facts
