"""The Lightning callback with the real Lightning: signals, counting, loggers, checkpoints."""

from __future__ import annotations

import csv
import dataclasses
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from test_learned import CARD, make_policy

from lambda_rl import LearnedSchedule, PullDown, Schedule, save_policy, split_parameters

pytest.importorskip("lightning")

import lightning.pytorch as pl
from lightning.pytorch.loggers import CSVLogger
from tiny_lightning import BATCHES, EPOCHS, LEARNED, TinyModule, fit, loaders, run

from lambda_rl.integrations.lightning import ScheduleCallback

STEPS = EPOCHS * BATCHES // 2


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    save_policy(
        tmp_path / "policy.safetensors", make_policy(card=dataclasses.replace(CARD, lam_meaning="any"))
    )
    return tmp_path / "policy.safetensors"


class Recording(Schedule):
    """Keeps what it is told; λ counts its calls."""

    def __init__(self, optimizer: Any = None, *, total_steps: int | None = None) -> None:
        super().__init__(optimizer, total_steps=total_steps)
        self._start(1e-3)

    def _next(self, progress: float | None, signals: dict[str, float]) -> float:
        return 1e-3 * (len(self.history) + 1)


def history(callback: ScheduleCallback) -> list[dict[str, Any]]:
    assert callback.schedule is not None
    return callback.schedule.history


def test_decides_at_each_validation_and_writes_only_to_groups_with_decay() -> None:
    callback = ScheduleCallback("pull-down:0.3,0.003")
    trainer = fit(TinyModule(), callback)
    rows = history(callback)
    assert [row["progress"] for row in rows] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert rows[1]["lam"] == pytest.approx(0.3 * 0.01**0.25)
    with_decay, without = trainer.optimizers[0].param_groups
    assert with_decay["weight_decay"] == rows[-1]["lam"]
    assert without["weight_decay"] == 0


def test_every_counts_optimizer_steps_not_batches() -> None:
    callback = ScheduleCallback(PullDown, every=8, high=0.3, low=0.003, shape="linear")
    fit(TinyModule(), callback, accumulate_grad_batches=4)
    assert [row["progress"] for row in history(callback)] == [0.0, 8 / 20, 16 / 20]


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


def test_learned_schedule_needs_only_the_classes(policy_file: Path) -> None:
    callback = ScheduleCallback(LearnedSchedule, policy=policy_file, **LEARNED)
    fit(TinyModule("adamw"), callback)
    assert isinstance(callback.schedule, LearnedSchedule)
    facts = callback.schedule.facts
    assert (facts.num_train, facts.val_size, facts.epochs) == (16 * BATCHES, 8 * BATCHES, EPOCHS)
    assert len({row["lam"] for row in history(callback)}) > 2


def test_lambda_goes_to_the_loggers_and_the_metrics(tmp_path: Path) -> None:
    callback = ScheduleCallback("pull-down:0.3,0.003", name="decay")
    trainer = fit(TinyModule(), callback, logger=CSVLogger(tmp_path, version="v"), log_every_n_steps=1)
    with open(Path(trainer.loggers[0].log_dir) / "metrics.csv", newline="") as file:  # type: ignore[arg-type]
        logged = {int(row["step"]): float(row["decay"]) for row in csv.DictReader(file) if row["decay"]}
    rows = history(callback)
    assert [logged[step] for step in (0, 10, 20, 30, 40)] == pytest.approx([row["lam"] for row in rows])
    assert float(trainer.callback_metrics["decay"]) == pytest.approx(rows[-1]["lam"])


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


def test_train_save_new_process_load_train(policy_file: Path) -> None:
    """Must show: the λ trace, weights and schedule state are those of a run that was never interrupted."""
    folder = policy_file.parent
    whole = {kind: run(folder, kind) for kind in ("sgd", "adamw")}
    for kind in whole:
        run(folder, kind, epochs=EPOCHS // 2)
    script = Path(__file__).with_name("tiny_lightning.py")
    command = [sys.executable, str(script), str(folder), "sgd,adamw"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    for kind, expected in whole.items():
        resumed = torch.load(folder / f"{kind}-resumed.pt", weights_only=True)
        assert resumed["callback"] == expected["callback"]
        assert resumed["decays"] == expected["decays"]
        assert all(torch.equal(resumed["weights"][key], w) for key, w in expected["weights"].items())
        rows = resumed["callback"]["schedule"]["history"]
        assert len(rows) == (6 if kind == "sgd" else 9)
        assert len({row["lam"] for row in rows}) > 2
        assert all(math.isfinite(row["train_loss"]) for row in rows[1:])


def test_a_second_fit_starts_anew_and_validate_decides_nothing() -> None:
    callback = ScheduleCallback("pull-down:0.3,0.003")
    module = TinyModule()
    for _ in range(2):
        trainer = fit(module, callback)
        assert [row["progress"] for row in history(callback)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    trainer.validate(module, loaders()[1], verbose=False)
    assert len(history(callback)) == 5


def test_refusals() -> None:
    with pytest.raises(ValueError, match="unknown schedule 'cosin'"):
        ScheduleCallback("cosin:1,2")
    with pytest.raises(ValueError, match="every must be 1 or more"):
        ScheduleCallback("constant:1", every=0)
    with pytest.raises(TypeError, match="the optimizer is not made yet"):
        ScheduleCallback(PullDown(0.1, 0.01))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the run has none; give every="):
        fit(TinyModule(), ScheduleCallback("constant:1"), limit_val_batches=0)
    with pytest.raises(ValueError, match="give total_steps="):
        fit(TinyModule(), ScheduleCallback("constant:1"), max_epochs=-1, max_time="00:00:00:01")
    with pytest.raises(TypeError, match="made a float"):
        fit(TinyModule(), ScheduleCallback(lambda optimizer, total_steps: 0.1))  # type: ignore[arg-type, return-value]
