"""A tiny run in Lightning, for test_lightning.py and test_integrations.py.

As a script it goes on from checkpoints in a new process: python tests/tiny_lightning.py FOLDER OPTIMIZER[,OPTIMIZER]
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from lambda_rl import split_parameters
from lambda_rl.integrations.lightning import ScheduleCallback

EPOCHS, BATCHES, ACCUMULATED = 4, 20, 2
STEPS = EPOCHS * BATCHES // ACCUMULATED  # of the optimizer
NUM_TRAIN, VAL_SIZE, PER_STEP = 16 * BATCHES, 8 * BATCHES, 16 * ACCUMULATED  # examples
LEARNED = {"num_classes": 3, "train_accuracy": "train_acc", "val_accuracy": "val_acc"}
MEANING: dict[str, dict[str, Any]] = {"sgd": {}, "adamw": {"lam_meaning": "convert"}}
LONG_EPOCHS = 20
LONG = LONG_EPOCHS * BATCHES // ACCUMULATED  # 200 steps


class TinyModule(pl.LightningModule):
    def __init__(self, optimizer: str = "sgd", on_epoch: bool = False, steps: int = STEPS) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 3))
        self.kind, self.on_epoch, self.steps = optimizer, on_epoch, steps

    def measure(self, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.net(batch[0])
        return cross_entropy(logits, batch[1]), (logits.argmax(1) == batch[1]).float().mean()

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss, accuracy = self.measure(batch)
        self.log("train_acc", accuracy, on_step=True, on_epoch=self.on_epoch)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        loss, accuracy = self.measure(batch)
        self.log_dict({"val_loss": loss, "val_acc": accuracy})

    def configure_optimizers(self) -> Any:
        groups = split_parameters(self, 0.01)
        kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
        optimizer = kinds[self.kind](groups, lr=0.05)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        return [optimizer], [{"scheduler": cosine, "interval": "step"}]


def loaders() -> tuple[DataLoader[Any], DataLoader[Any]]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(NUM_TRAIN + VAL_SIZE, 8, generator=generator)
    y = (x @ torch.randn(8, 3, generator=generator)).argmax(1)
    train, val = (TensorDataset(x[part], y[part]) for part in (slice(NUM_TRAIN), slice(NUM_TRAIN, None)))
    return DataLoader(train, batch_size=16), DataLoader(val, batch_size=64)


def fit(
    module: pl.LightningModule,
    callback: ScheduleCallback | list[pl.Callback],
    *,
    ckpt_path: Path | None = None,
    data: Any = None,
    **options: Any,
) -> pl.Trainer:
    callbacks = callback if isinstance(callback, list) else [callback]
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "max_epochs": EPOCHS,
        "accumulate_grad_batches": ACCUMULATED,
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning|pytorch_lightning")
        warnings.filterwarnings("ignore", message=".*num_workers.*|.*isinstance.treespec.*")
        trainer = pl.Trainer(**{**defaults, **options}, callbacks=callbacks)
        trainer.fit(module, *(data or loaders()), ckpt_path=None if ckpt_path is None else str(ckpt_path))
    return trainer


class Session:
    """A model that can be trained several times, for the checks that all frameworks share.

    Args:
        folder: for what the framework writes.
        callback: the callback.
        optimizer: ``sgd``, ``adam`` or ``adamw``.
        accumulated: batches an optimizer step.
        validating: four times in a run, or never.
    """

    def __init__(
        self,
        folder: Path,
        callback: ScheduleCallback,
        *,
        optimizer: str = "sgd",
        accumulated: int = ACCUMULATED,
        validating: bool = True,
    ) -> None:
        self.module, self.callback = TinyModule(optimizer), callback
        self.options = {
            "default_root_dir": folder,
            "accumulate_grad_batches": accumulated,
            "limit_val_batches": 1.0 if validating else 0,
        }

    def train(self) -> list[dict[str, Any]]:
        """One run from the start; returns the optimizer's groups."""
        self.trainer = fit(self.module, self.callback, **self.options)
        return self.trainer.optimizers[0].param_groups

    def validate(self) -> None:
        self.trainer.validate(self.module, loaders()[1], verbose=False)


class StopAt(pl.Callback):
    """Ends the run early, as a time limit would: the trainer still plans with all steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        trainer.should_stop = trainer.should_stop or trainer.global_step == self.step


def run(folder: Path, optimizer: str, *, half: bool = False, resumed: bool = False) -> dict[str, Any]:
    """200 steps, the first 100 of them, which leave a checkpoint, or from there to the end.

    SGD decides each 7 steps (never at the end of an epoch), AdamW at validations, each 5 steps.
    """
    torch.manual_seed(3)
    module, every = TinyModule(optimizer, steps=LONG), 7 if optimizer == "sgd" else None
    policy = f"learned:{folder / 'policy.safetensors'}"
    callback = ScheduleCallback(policy, every=every, **LEARNED, **MEANING[optimizer])
    callbacks: list[pl.Callback] = [callback]
    checkpoint = folder / f"{optimizer}.ckpt"
    if half:
        keep = ModelCheckpoint(
            folder, optimizer, every_n_epochs=LONG_EPOCHS // 2, save_on_train_epoch_end=True
        )
        callbacks += [StopAt(LONG // 2), keep]
    trainer = fit(
        module,
        callbacks,
        ckpt_path=checkpoint if resumed else None,
        enable_checkpointing=half,
        max_epochs=LONG_EPOCHS,
        val_check_interval=10,
    )
    assert trainer.global_step == (LONG // 2 if half else LONG)
    assert callback.schedule is not None
    return {
        "weights": module.state_dict(),
        "schedule": callback.schedule.state_dict(),
        "callback": callback.state_dict(),
        "decays": [group["weight_decay"] for group in trainer.optimizers[0].param_groups],
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    for kind in sys.argv[2].split(","):
        base = Path(sys.argv[1])
        torch.save(run(base, kind, resumed=True), base / f"{kind}-resumed.pt")
