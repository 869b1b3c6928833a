"""A tiny run in Lightning, for test_lightning.py; as a script it goes on from a checkpoint in a new process.

python tests/tiny_lightning.py FOLDER OPTIMIZER[,OPTIMIZER]
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from lambda_rl import split_parameters
from lambda_rl.integrations.lightning import ScheduleCallback

EPOCHS, BATCHES, ACCUMULATED = 4, 20, 2  # 40 optimizer steps
LEARNED = {"num_classes": 3, "train_accuracy": "train_acc", "val_accuracy": "val_acc"}


class TinyModule(pl.LightningModule):
    def __init__(self, optimizer: str = "sgd", on_epoch: bool = False) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 3))
        self.kind, self.on_epoch = optimizer, on_epoch

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
        kinds = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}
        optimizer = kinds[self.kind](groups, lr=0.05)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * BATCHES // ACCUMULATED)
        return [optimizer], [{"scheduler": cosine, "interval": "step"}]


def loaders() -> tuple[DataLoader[Any], DataLoader[Any]]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(24 * BATCHES, 8, generator=generator)
    y = (x @ torch.randn(8, 3, generator=generator)).argmax(1)
    train, val = (
        TensorDataset(x[part], y[part]) for part in (slice(16 * BATCHES), slice(16 * BATCHES, None))
    )
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


def run(
    folder: Path, optimizer: str, *, epochs: int = EPOCHS, ckpt_path: Path | None = None
) -> dict[str, Any]:
    """Trains up to an epoch; SGD decides each 7 optimizer steps (never at an epoch's end), AdamW at validations."""
    torch.manual_seed(3)
    module = TinyModule(optimizer)
    callback = ScheduleCallback(
        f"learned:{folder / 'policy.safetensors'}",
        every=7 if optimizer == "sgd" else None,
        total_steps=EPOCHS * BATCHES // ACCUMULATED,
        **LEARNED,
    )
    trainer = fit(module, callback, ckpt_path=ckpt_path, max_epochs=epochs, val_check_interval=10)
    trainer.save_checkpoint(folder / f"{optimizer}-{epochs}.ckpt")
    decays = [group["weight_decay"] for group in trainer.optimizers[0].param_groups]
    return {"weights": module.state_dict(), "callback": callback.state_dict(), "decays": decays}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for kind in sys.argv[2].split(","):
        base = Path(sys.argv[1])
        torch.save(run(base, kind, ckpt_path=base / f"{kind}-2.ckpt"), base / f"{kind}-resumed.pt")
