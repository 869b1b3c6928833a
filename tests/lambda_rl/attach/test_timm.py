"""A schedule in a loop with timm's conventions, with timm's own optimizers and learning-rate schedulers."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from lambda_rl import PullDown

pytest.importorskip("timm")

from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2

EPOCHS, UPDATES = 4, 5
DECAYS = [1.0, 0.1, 0.01, 0.001]  # after each epoch; 10.0 at the start


class Loop:
    """As timm's train.py: step_update after each update, step after each epoch with the epoch to come."""

    def __init__(self, opt: str) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3))
        self.data = torch.randn(UPDATES, 16, 6)
        self.optimizer = create_optimizer_v2(self.model, opt=opt, lr=0.05, weight_decay=0.01)
        self.lr_scheduler, _ = create_scheduler_v2(
            self.optimizer, sched="cosine", num_epochs=EPOCHS, step_on_epochs=False, updates_per_epoch=UPDATES
        )
        self.schedule = PullDown(10.0, 0.001, optimizer=self.optimizer, total_steps=EPOCHS * UPDATES)

    def train(self, first: int, last: int) -> None:
        for epoch in range(first, last):
            for update in range(UPDATES):
                loss = self.model(self.data[update]).square().mean()
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.lr_scheduler.step_update(num_updates=epoch * UPDATES + update + 1, metric=loss.item())
            self.lr_scheduler.step(epoch + 1, loss.item())
            self.schedule.step(train_loss=loss)

    def decays(self) -> dict[float, int]:
        """How many parameters have which decay."""
        found: dict[float, int] = {}
        for group in self.optimizer.param_groups:
            decay = float(group["weight_decay"])
            found[decay] = found.get(decay, 0) + len(group["params"])
        return found


@pytest.mark.parametrize("opt", ["momentum", "adamw", "nadamw", "lamb", "lookahead_adamw"])
def test_lambda_falls_and_groups_without_decay_stay_so(opt: str) -> None:
    loop = Loop(opt)
    assert loop.decays() == {0.0: 4, 10.0: 2}
    for epoch in range(EPOCHS):
        loop.train(epoch, epoch + 1)
        assert loop.decays() == {0.0: 4, loop.schedule.value: 2}
        assert loop.schedule.value == pytest.approx(DECAYS[epoch])
    assert [row["progress"] for row in loop.schedule.history] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert loop.optimizer.param_groups[0]["lr"] < 0.05  # the learning rate is timm's business, and falls too


@pytest.mark.parametrize("opt", ["momentum", "adamw"])
def test_train_save_load_train(opt: str) -> None:
    """As timm resumes: optimizer loaded, scheduler told how far it is; the schedule loads its own state."""
    whole, half, resumed = Loop(opt), Loop(opt), Loop(opt)
    whole.train(0, EPOCHS)
    half.train(0, 2)
    state = json.loads(json.dumps(half.schedule.state_dict()))
    resumed.model.load_state_dict(half.model.state_dict())
    resumed.optimizer.load_state_dict(half.optimizer.state_dict())
    resumed.lr_scheduler.step_update(2 * UPDATES)
    resumed.schedule.load_state_dict(state)
    resumed.train(2, EPOCHS)
    assert resumed.schedule.state_dict() == whole.schedule.state_dict()
    assert resumed.decays() == whole.decays()
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name])
