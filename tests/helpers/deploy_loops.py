"""Loops that a user might write, for the tests of deployment; also run as a script, in a new process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lambda_rl import LearnedSchedule, split_parameters

OPTIMIZERS = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}


class Loop:
    """A small classifier on fixed random data, 200 steps, a call of the schedule every 10."""

    def __init__(self, kind: str, policy: str, **options: Any) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        self.x, self.y = torch.randn(64, 8), torch.randint(4, (64,))
        self.val = torch.randn(32, 8), torch.randint(4, (32,))
        self.optimizer = OPTIMIZERS[kind](split_parameters(self.model, 1e-2), lr=0.02)
        self.rates = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 200)
        meaning = "convert" if kind == "adamw" else None
        self.schedule = LearnedSchedule(
            self.optimizer, policy=policy, total_steps=200, num_train=64, val_size=32, num_classes=4,
            batch_size=16, lam_meaning=meaning, **options,
        )  # fmt: skip

    def parts(self) -> dict[str, Any]:
        return {"model": self.model, "optimizer": self.optimizer, "rates": self.rates, "lam": self.schedule}

    def train(self, steps: range, every: int = 1) -> None:
        """``every``: calls of the schedule with training signals; it gets validation signals each 10 steps."""
        for step in steps:
            index = torch.arange(16 * step, 16 * step + 16) % 64
            logits = self.model(self.x[index])
            loss = F.cross_entropy(logits, self.y[index])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.rates.step()
            signals = {
                "train_loss": loss,
                "train_accuracy": (logits.argmax(1) == self.y[index]).float().mean(),
            }
            if (step + 1) % 10 == 0:
                with torch.no_grad():
                    guess = self.model(self.val[0])
                signals["val_loss"] = F.cross_entropy(guess, self.val[1])
                signals["val_accuracy"] = (guess.argmax(1) == self.val[1]).float().mean()
            if (step + 1) % every == 0:
                self.schedule.step(**signals)


def half_a_run(mode: str, kind: str, policy: str, folder: str) -> None:
    """``first``: steps 0 to 104 and a checkpoint; ``second``: the rest from it; ``whole``: all 200."""
    loop = Loop(kind, policy)
    path = Path(folder)
    if mode == "second":
        state = torch.load(path / "checkpoint.pt", weights_only=True)
        for name, part in loop.parts().items():
            part.load_state_dict(state[name])
    loop.train({"first": range(105), "second": range(105, 200), "whole": range(200)}[mode])
    state = {name: part.state_dict() for name, part in loop.parts().items()}
    torch.save(state, path / ("checkpoint.pt" if mode == "first" else f"{mode}.pt"))


def worker(rank: int, policy: str, folder: str) -> None:
    """One of two processes: DDP, other minibatches on each rank, a group without decay."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    model[0].weight.requires_grad_(folder.endswith("free"))
    wrapped = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(split_parameters(model, 1e-2), lr=0.1, momentum=0.9)
    schedule = LearnedSchedule(
        optimizer, policy=policy, total_steps=60, num_train=64, val_size=32, num_classes=4, batch_size=16
    )
    generator = torch.Generator().manual_seed(rank)
    other, heard = [], []
    for step in range(60):
        x, y = torch.randn(8, 8, generator=generator), torch.randint(4, (8,), generator=generator)
        loss = F.cross_entropy(wrapped(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        other.append(float(optimizer.param_groups[1]["weight_decay"]))
        if (step + 1) % 3 == 0:
            heard.append(loss.item())
            # Only rank 0 validates, and from the middle on only rank 1 has accuracies.
            val = {"val_loss": 1.4 + 0.01 * step} if rank == 0 else {}
            seen = {"train_accuracy": 0.5} if rank == 1 or step < 30 else {}
            schedule.step(train_loss=loss.detach(), **val, **seen)
    torch.save(
        {"history": schedule.history, "other": other, "heard": heard, "lam": schedule.value,
         "decay": optimizer.param_groups[0]["weight_decay"], "frozen": model[0].weight.detach()},
        f"{folder}/rank{rank}.pt",
    )  # fmt: skip
    dist.destroy_process_group()


if __name__ == "__main__":
    half_a_run(*sys.argv[1:])
