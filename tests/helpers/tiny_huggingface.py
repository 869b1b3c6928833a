"""A tiny run in the Trainer of Transformers, for test_huggingface.py and test_integrations.py.

As a script it goes on from checkpoints in a new process: python tests/tiny_huggingface.py FOLDER OPTIMIZER[,OPTIMIZER]
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

from lambda_rl import split_parameters
from lambda_rl.integrations.huggingface import ScheduleCallback

STEPS, ACCUMULATED = 40, 2
NUM_TRAIN, VAL_SIZE, PER_STEP = 320, 96, 8 * ACCUMULATED  # examples
LEARNED = {"num_classes": 3, "val_size": VAL_SIZE}
MEANING: dict[str, dict[str, Any]] = {"sgd": {}, "adamw": {"lam_meaning": "convert"}}
OPTIMIZERS = {"sgd": "sgd", "adamw": "adamw_torch"}
LONG = 200


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
        "per_device_eval_batch_size": VAL_SIZE,
        "gradient_accumulation_steps": ACCUMULATED,
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
        train_dataset=Points(NUM_TRAIN, 1),
        eval_dataset=Points(VAL_SIZE, 2),
        compute_metrics=accuracy,
        callbacks=list(callbacks),
    )


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
        steps = STEPS * ACCUMULATED // accumulated
        self.trainer = trainer(
            folder,
            [callback],
            optim=OPTIMIZERS.get(optimizer, "adamw_torch"),
            gradient_accumulation_steps=accumulated,
            max_steps=steps,
            eval_strategy="steps" if validating else "no",
            eval_steps=steps // 4,
        )
        if optimizer == "adam":  # not one of the trainer's own
            self.trainer.optimizer = torch.optim.Adam(split_parameters(self.trainer.model, 0.01), lr=0.01)

    def train(self) -> list[dict[str, Any]]:
        """One run from the start; returns the optimizer's groups."""
        self.trainer.train()
        assert self.trainer.optimizer is not None
        return self.trainer.optimizer.param_groups

    def validate(self) -> None:
        self.trainer.evaluate()


def run(folder: Path, optimizer: str, *, half: bool = False, resumed: bool = False) -> dict[str, Any]:
    """200 steps, the first 100 of them, which leave a checkpoint, or from there to the end.

    SGD decides each 7 steps, AdamW at evaluations, each 6 steps, so that an interval is under way at the checkpoint.
    """
    every = 7 if optimizer == "sgd" else None
    policy = f"learned:{folder / 'policy.safetensors'}"
    callback = ScheduleCallback(policy, every=every, **LEARNED, **MEANING[optimizer])
    interrupted = folder / f"{optimizer}-interrupted"
    made = trainer(
        interrupted if half or resumed else folder / optimizer,
        [callback, *([StopAt(LONG // 2)] if half else [])],
        optim=OPTIMIZERS[optimizer],
        max_steps=LONG,
        save_strategy="steps",  # in the whole run too: the loss is logged, and so summed up, before a checkpoint
        save_steps=LONG // 2,
        eval_steps=6,  # so that nothing but the callback asks for a log at the checkpoint
        logging_steps=6,
    )
    made.train(resume_from_checkpoint=str(interrupted / f"checkpoint-{LONG // 2}") if resumed else None)
    assert made.state.global_step == (LONG // 2 if half else LONG)
    assert made.optimizer is not None
    assert callback.schedule is not None
    return {
        "weights": made.model.state_dict(),
        "schedule": callback.schedule.state_dict(),
        "callback": callback.state()["attributes"],
        "decays": [group["weight_decay"] for group in made.optimizer.param_groups],
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    for kind in sys.argv[2].split(","):
        base = Path(sys.argv[1])
        torch.save(run(base, kind, resumed=True), base / f"{kind}-resumed.pt")
