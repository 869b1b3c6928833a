"""The Lightning callback with the real Lightning: signals, counting, loggers, checkpoints."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_schedules import KAPPA_CARD, Recording, history, make_policy

from lambda_rl import LearnedSchedule, split_parameters

pytest.importorskip("lightning")

import lightning.pytorch as pl
from lightning.pytorch.loggers import CSVLogger
from tiny_lightning import BATCHES, TinyModule, fit

from lambda_rl.integrations.lightning import ScheduleCallback


class Collect(pl.Callback):
    """What the callback ought to see, gathered in another way."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.accuracies: list[float] = []
        self.validations: list[tuple[float, float]] = []

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.losses.append(float(outputs["loss"]) * trainer.accumulate_grad_batches)
        self.accuracies.append(float(trainer.callback_metrics["train_acc"]))

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            found = trainer.callback_metrics
            self.validations.append((float(found["val_loss"]), float(found["val_acc"])))


@pytest.mark.parametrize("on_epoch", [False, True])
def test_signals_are_means_over_the_interval_and_the_newest_validation(on_epoch: bool) -> None:
    collect, callback = (
        Collect(),
        ScheduleCallback(Recording, train_accuracy="train_acc", val_accuracy="val_acc"),
    )
    fit(TinyModule(on_epoch=on_epoch), [collect, callback])
    for i, row in enumerate(history(callback)[1:]):
        part = slice(i * BATCHES, (i + 1) * BATCHES)
        assert row["train_loss"] == pytest.approx(sum(collect.losses[part]) / BATCHES, rel=1e-5)
        assert row["train_accuracy"] == pytest.approx(sum(collect.accuracies[part]) / BATCHES, rel=1e-5)
        assert (row["val_loss"], row["val_accuracy"]) == pytest.approx(collect.validations[i])


def test_with_every_a_validation_at_the_same_step_counts() -> None:
    collect, callback = Collect(), ScheduleCallback(Recording, every=10, val_accuracy="val_acc")
    fit(TinyModule(), [collect, callback])
    rows = history(callback)[1:]
    assert [row["progress"] for row in rows] == [0.25, 0.5, 0.75, 1.0]
    assert [row["val_loss"] for row in rows] == pytest.approx([loss for loss, _ in collect.validations])
    assert all("train_accuracy" not in row for row in rows)  # nobody logs the default name


def test_metrics_that_training_step_returns_are_used() -> None:
    class Returning(TinyModule):
        def training_step(self, batch: Any, batch_idx: int) -> Any:  # type: ignore[override]
            loss, _ = self.measure(batch)
            return {"loss": loss, "hits": torch.tensor(0.25), "bare": loss.detach() * 2}

    callback = ScheduleCallback(Recording, train_accuracy="hits", train_loss="bare")
    plain = ScheduleCallback(Recording, name="plain")
    fit(Returning(), [callback, plain])
    assert history(callback)[1]["train_accuracy"] == 0.25
    assert history(callback)[1]["train_loss"] == pytest.approx(2 * history(plain)[1]["train_loss"], rel=1e-5)


@pytest.mark.parametrize("every", [None, 10])
def test_lambda_goes_to_the_loggers_and_the_metrics(every: int | None, tmp_path: Path) -> None:
    callback = ScheduleCallback("pull-down:0.3,0.003", every=every, name="decay")
    trainer = fit(TinyModule(), callback, logger=CSVLogger(tmp_path, version="v"), log_every_n_steps=1)
    with (Path(trainer.loggers[0].log_dir) / "metrics.csv").open(newline="") as file:  # type: ignore[arg-type]
        logged = {int(row["step"]): float(row["decay"]) for row in csv.DictReader(file) if row["decay"]}
    rows = history(callback)
    assert [logged[step] for step in (0, 10, 20, 30, 40)] == pytest.approx([row["lam"] for row in rows])
    assert float(trainer.callback_metrics["decay"]) == pytest.approx(rows[-1]["lam"])
    assert trainer.progress_bar_metrics["decay"] == rows[-1]["lam"]


def test_the_progress_bar_shows_lambda_all_the_time() -> None:
    class Bar(pl.callbacks.ProgressBar):
        def __init__(self) -> None:
            super().__init__()
            self.shown: list[Any] = []

        def disable(self) -> None:
            pass

        def on_train_batch_end(self, trainer: Any, pl_module: Any, *rest: Any) -> None:
            self.shown.append(self.get_metrics(trainer, pl_module)["lambda"])

    bar, callback = Bar(), ScheduleCallback("pull-down:0.3,0.003")
    fit(TinyModule(), [bar, callback], enable_progress_bar=True)
    lams = [row["lam"] for row in history(callback)]
    assert [bar.shown[i * BATCHES + 5] for i in range(4)] == lams[:4]


def test_a_policy_without_its_validation_accuracy_is_told_what_is_logged() -> None:
    callback = ScheduleCallback(LearnedSchedule, policy=make_policy(card=KAPPA_CARD), num_classes=3)
    with pytest.warns(
        RuntimeWarning, match=r"without val_accuracy .*it has .*val_acc.*did you mean 'val_acc'"
    ):
        fit(TinyModule(), callback)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="ScheduleCallback")
        fit(TinyModule(), ScheduleCallback("pull-down:0.3,0.003"))  # needs none


def test_several_optimizers_and_two_callbacks() -> None:
    class Adversarial(TinyModule):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> Any:  # type: ignore[override]
            for optimizer in self.optimizers():  # type: ignore[union-attr]
                optimizer.zero_grad()
                self.manual_backward(self.measure(batch)[0])
                optimizer.step()

        def configure_optimizers(self) -> Any:
            first, last = self.net[0], self.net[3]
            return [
                torch.optim.SGD(split_parameters(first, 0.01), lr=0.05),
                torch.optim.SGD(split_parameters(last, 0.02), lr=0.05),
            ]

    one = ScheduleCallback("constant:0.2", every=10)
    two = ScheduleCallback(lambda optimizer, total_steps: Recording(None), name="unattached")
    trainer = fit(Adversarial(), [one, two], accumulate_grad_batches=1)
    decays = [group["weight_decay"] for opt in trainer.optimizers for group in opt.param_groups]
    assert decays == [0.1, 0.0, 0.2, 0.0]  # the ratio between them stays
    assert [row["progress"] for row in history(one)] == [i / 8 for i in range(9)]
    assert history(two)[-1]["progress"] == 1.0  # steps are counted without an attached optimizer too
    assert one.state_key != two.state_key


def test_a_run_of_unknown_length_needs_total_steps() -> None:
    with pytest.raises(ValueError, match="give total_steps="):
        fit(TinyModule(), ScheduleCallback("constant:1"), max_epochs=-1, max_time="00:00:00:01")
