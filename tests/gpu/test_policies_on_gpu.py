"""Training an agent on a GPU, and deploying a schedule in loops there."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tiny_runs import metrics, tiny_config
from torch import nn

import lambda_rl
from lambda_rl import LearnedSchedule, RunFacts
from lambda_rl.agents.ppo.run import train

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]

STEPS = 100
FACTS = RunFacts(num_train=400, num_params=676, val_size=112, num_classes=4, epochs=16.0, lr_sum=10.0)


def test_an_agent_is_trained(tmp_path: Path) -> None:
    folders = [
        train(tiny_config(tmp_path, name, device=device, precision="fp32"), show_progress=False)
        for name, device in (("here", "cpu"), ("there", "cuda"))
    ]
    here, there = ([float(row["rollout/return_mean"]) for row in metrics(folder)] for folder in folders)
    assert there == pytest.approx(here, abs=0.05)
    assert lambda_rl.load_policy(folders[1] / "policy.safetensors").card.knobs


def run(
    make: object, *, compiled: bool = False, wait: bool = True, **options: object
) -> tuple[list[dict], float]:
    """A loop on a GPU with a schedule in it: its history, and the last loss."""
    torch.manual_seed(0)
    inputs = torch.randn(512, 16, device="cuda")
    labels = (inputs[:, :4].argmax(1)).long()
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)).cuda()
    optimizer = make(lambda_rl.split_parameters(model, 1e-3), **options)  # type: ignore[operator]
    schedule = LearnedSchedule(optimizer, policy="any-loop", total_steps=STEPS, decisions=5, facts=FACTS)
    forward = torch.compile(model) if compiled else model
    loss = torch.zeros((), device="cuda")
    for step in range(1, STEPS + 1):
        rows = torch.randint(400, (64,), device="cuda")
        logits = forward(inputs[rows])
        loss = F.cross_entropy(logits, labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            held = model(inputs[400:])
            signals = {
                "train_loss": loss.detach(), "train_accuracy": (logits.argmax(1) == labels[rows]).float().mean(),
                "val_loss": F.cross_entropy(held, labels[400:]),
                "val_accuracy": (held.argmax(1) == labels[400:]).float().mean(),
            }  # fmt: skip
        decides = step % (STEPS // 5) == 0
        torch.cuda.set_sync_debug_mode("default" if decides or wait else "error")
        try:
            schedule.step(step=step, **signals)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return schedule.history, float(loss)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
        (torch.optim.SGD, {"lr": 0.1, "fused": True}),
        (torch.optim.AdamW, {"lr": 0.01}),
        (torch.optim.AdamW, {"lr": 0.01, "fused": True}),
        (torch.optim.AdamW, {"lr": 0.01, "capturable": True}),
    ],
    ids=["sgd", "sgd-fused", "adamw", "adamw-fused", "adamw-capturable"],
)
def test_a_schedule_runs_there_and_waits_only_to_decide(make: object, options: dict) -> None:
    history, loss = run(make, wait=False, **options)
    assert len(history) == 6
    assert all(math.isfinite(row["lam"]) for row in history)
    assert loss < 1.0


def test_a_schedule_in_a_compiled_loop() -> None:
    plain, _ = run(torch.optim.AdamW, lr=0.01)
    compiled, _ = run(torch.optim.AdamW, lr=0.01, compiled=True)
    assert [row["lam"] for row in compiled] == pytest.approx([row["lam"] for row in plain], rel=0.05)
