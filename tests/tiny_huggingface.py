"""A tiny run in the Trainer of Transformers, for test_huggingface.py; as a script it goes on in a new process.

python tests/tiny_huggingface.py FOLDER OPTIMIZER[,OPTIMIZER]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from lambda_rl.integrations.huggingface import ScheduleCallback

STEPS = 40
LEARNED = {"num_classes": 3, "val_size": 96}


class Points(Dataset[dict[str, torch.Tensor]]):
    def __init__(self, size: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(size, 8, generator=generator)
        self.y = self.x[:, :3].argmax(1)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"x": self.x[index], "labels": self.y[index]}


class TinyModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.net(x)
        return {"loss": cross_entropy(logits, labels), "logits": logits}


class StopAt(TrainerCallback):
    """Ends the run early, as a time limit would: the trainer still plans with all steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = control.should_training_stop or state.global_step == self.step


def accuracy(prediction: Any) -> dict[str, float]:
    return {"accuracy": float((prediction.predictions.argmax(1) == prediction.label_ids).mean())}


def trainer(folder: Path, callbacks: Sequence[TrainerCallback], **options: Any) -> Trainer:
    defaults: dict[str, Any] = {
        "use_cpu": True,
        "report_to": [],
        "disable_tqdm": True,
        "max_steps": STEPS,
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 96,
        "gradient_accumulation_steps": 2,
        "learning_rate": 0.01,
        "weight_decay": 0.01,
        "eval_strategy": "steps",
        "eval_steps": 10,
        "logging_steps": 4,
        "save_strategy": "no",
        "seed": 5,
    }
    arguments = TrainingArguments(output_dir=str(folder), **{**defaults, **options})
    torch.manual_seed(3)
    return Trainer(
        model=TinyModel(),
        args=arguments,
        train_dataset=Points(320, 1),
        eval_dataset=Points(96, 2),
        compute_metrics=accuracy,
        callbacks=list(callbacks),
    )


def run(
    folder: Path, optimizer: str, *, stop: int | None = None, resume: Path | None = None
) -> dict[str, Any]:
    """SGD decides each 7 optimizer steps (the checkpoint is at 20), AdamW at evaluations."""
    callback = ScheduleCallback(
        f"learned:{folder / 'policy.safetensors'}", every=7 if optimizer == "sgd" else None, **LEARNED
    )
    made = trainer(
        folder / (f"{optimizer}-half" if stop or resume else optimizer),
        [callback, *([StopAt(stop)] if stop else [])],
        optim={"sgd": "sgd", "adamw": "adamw_torch"}[optimizer],
        save_strategy="steps",
        save_steps=20,
        eval_steps=6,  # so that nothing but the callback asks for a log at the checkpoint
        logging_steps=6,
    )
    made.train(resume_from_checkpoint=None if resume is None else str(resume))
    assert made.optimizer is not None
    decays = [group["weight_decay"] for group in made.optimizer.param_groups]
    return {"weights": made.model.state_dict(), "saved": callback.state()["attributes"], "decays": decays}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for kind in sys.argv[2].split(","):
        base = Path(sys.argv[1])
        torch.save(
            run(base, kind, resume=base / f"{kind}-half" / "checkpoint-20"), base / f"{kind}-resumed.pt"
        )
