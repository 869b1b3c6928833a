"""The inner trainer against a plain PyTorch loop: ordinary modules, torch.optim, torch's schedulers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_envs import BASE, tiny_data
from torch import nn

from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.resident import ResidentImages
from lambda_rl.envs.training.run import InnerRun
from lambda_rl.envs.training.trainer import Trainer, to_log
from lambda_rl.penalties import penalty_terms

DATA = tiny_data()

# Weak enough that L1 and L½, whose slopes jump at 0, do not amplify rounding errors.
LAM = {"l2": 0.03, "l1": 3e-3, "l0.5": 3e-4}

FP64 = TrainerConfig(precision="fp64")


class PlainBlock(nn.Module):
    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(fan_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.norm(self.conv(x)))


class PlainResNet9(nn.Module):
    def __init__(self, w: int) -> None:
        super().__init__()
        self.prep, self.layer1 = PlainBlock(3, w), PlainBlock(w, 2 * w)
        self.res1 = nn.Sequential(PlainBlock(2 * w, 2 * w), PlainBlock(2 * w, 2 * w))
        self.layer2, self.layer3 = PlainBlock(2 * w, 4 * w), PlainBlock(4 * w, 8 * w)
        self.res3 = nn.Sequential(PlainBlock(8 * w, 8 * w), PlainBlock(8 * w, 8 * w))
        self.pool, self.fc = nn.MaxPool2d(2), nn.Linear(8 * w, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.pool(self.layer1(self.prep(x)))
        h = h + self.res1(h)
        h = self.pool(self.layer3(self.pool(self.layer2(h))))
        h = h + self.res3(h)
        return self.fc(h.amax((2, 3)))


def plain_network(task: Task) -> tuple[nn.Module, dict[str, str]]:
    """An ordinary module, and its name for each parameter and buffer of ours."""
    w, side = task.width, task.resolution
    if task.network == "mlp":
        module: nn.Module = nn.Sequential(
            nn.Flatten(), nn.Linear(3 * side**2, w), nn.ReLU(), nn.Linear(w, 10)
        )
        layers = {"fc1": "1", "fc2": "3"}
    elif task.network == "cnn3":
        module = nn.Sequential(
            nn.Conv2d(3, w, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(w * (side // 2) ** 2, 4 * w), nn.ReLU(), nn.Linear(4 * w, 10),
        )  # fmt: skip
        layers = {"conv": "0", "fc1": "4", "fc2": "6"}
    else:
        names = {"fc.weight": "fc.weight", "fc.bias": "fc.bias"}
        blocks = {"prep": "prep", "layer1": "layer1", "layer2": "layer2", "layer3": "layer3",
                  "res1a": "res1.0", "res1b": "res1.1", "res3a": "res3.0", "res3b": "res3.1"}  # fmt: skip
        for ours, theirs in blocks.items():
            names |= {
                f"{ours}.weight": f"{theirs}.conv.weight",
                f"{ours}.scale": f"{theirs}.norm.weight",
                f"{ours}.shift": f"{theirs}.norm.bias",
                f"{ours}.running_mean": f"{theirs}.norm.running_mean",
                f"{ours}.running_var": f"{theirs}.norm.running_var",
            }
        return PlainResNet9(w), names
    return module, {f"{a}.{kind}": f"{b}.{kind}" for a, b in layers.items() for kind in ("weight", "bias")}


def plain_scheduler(task: Task, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    if task.lr_schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=task.steps)
    gamma = 0.01 ** (1 / task.steps) if task.lr_schedule == "exponential" else 1.0
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma)


def plain_loop(task: Task, run: InnerRun, data: ResidentImages, lam: float) -> tuple[nn.Module, list[float]]:
    """What anybody would write: a module, an optimizer of torch.optim, a scheduler, one loop."""
    module, names = plain_network(task)
    module = module.double()
    state = module.state_dict()
    for ours, value in {**run.network.exported(run.params), **run.buffers}.items():
        assert state[names[ours]].shape == value.shape
        state[names[ours]].copy_(value)
    weights = [p for p in module.parameters() if p.ndim >= 2]
    others = [p for p in module.parameters() if p.ndim < 2]
    built_in = task.penalty == "l2" and (task.optimizer == "adamw" or task.decay == "coupled")
    groups = [
        {"params": weights, "weight_decay": lam if built_in else 0.0},
        {"params": others, "weight_decay": 0.0},
    ]
    if task.optimizer == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(
            groups, lr=task.learning_rate, momentum=task.momentum
        )
    else:
        kind = torch.optim.AdamW if task.decay == "decoupled" else torch.optim.Adam
        optimizer = kind(groups, lr=task.learning_rate, betas=(task.momentum, 0.999))
    scheduler = plain_scheduler(task, optimizer)
    mean, deviation = (s.view(3, 1, 1) for s in data.statistics)
    losses = []
    for order, labels in zip(run.order, run.labels, strict=True):
        x = (data.images(task.resolution)[order].double() - mean) / deviation
        loss = F.cross_entropy(module(x), labels)
        losses.append(loss.item())
        if task.penalty != "l2":
            loss = loss + lam * torch.stack([penalty_terms(w, task.penalty).sum() for w in weights]).sum()
        optimizer.zero_grad()
        loss.backward()
        if task.optimizer == "sgd" and task.decay == "decoupled":
            with torch.no_grad():
                for w in weights:
                    w.mul_(1 - optimizer.param_groups[0]["lr"] * lam)
        optimizer.step()
        scheduler.step()
    return module, losses


PENALTIES = [("l2", "coupled"), ("l2", "decoupled"), ("l1", "coupled"), ("l0.5", "coupled")]

SCHEDULES = {"coupled": "cosine", "decoupled": "exponential"}

NETWORKS = {"mlp": (8, 16), "cnn3": (3, 16), "resnet9": (2, 32)}


@pytest.mark.parametrize(("penalty", "decay"), PENALTIES)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("network", list(NETWORKS))
def test_parity_with_plain_torch(network: str, optimizer: str, penalty: str, decay: str) -> None:
    (width, resolution), lam = NETWORKS[network], LAM[penalty]
    task = replace(
        BASE,
        network=network,
        width=width,
        resolution=resolution,
        optimizer=optimizer,
        penalty=penalty,
        decay=decay,
        lr_schedule=SCHEDULES[decay] if penalty == "l2" else "constant",
        learning_rate=0.02 if optimizer == "sgd" else 0.003,
        label_noise=0.2,
        steps=20,
        decisions=4,
    )
    trainer = Trainer(DATA, "agent", FP64)
    run = trainer.start(task)
    start = torch.cat([run.params[name].flatten() for name in run.network.penalised])
    assert run.start_measures == pytest.approx(
        (start.norm().item(), penalty_terms(start, penalty).sum().item()), rel=1e-9
    )
    module, losses = plain_loop(task, run, trainer.data, lam)
    measured = [trainer.advance([run], [math.log10(lam)]) for _ in range(task.decisions)]
    state, (_, names) = module.state_dict(), plain_network(task)
    for ours, value in {**run.network.exported(run.params), **run.buffers}.items():
        theirs = state[names[ours]]
        assert (value - theirs).norm() <= 1e-9 * theirs.norm(), ours
    np.testing.assert_allclose(
        [m.train_loss[0] for m in measured], np.reshape(losses, (4, 5)).mean(1), rtol=1e-9
    )

    # What is measured: evaluation on the run's own images, and the penalised weights.
    module.eval()
    mean, deviation = (s.view(3, 1, 1) for s in trainer.data.statistics)
    for index, loss, accuracy in (
        (run.val_index, measured[-1].val_loss, measured[-1].val_accuracy),
        (trainer.sources[""].split.outer_val, measured[-1].outer_loss, measured[-1].outer_accuracy),
    ):
        with torch.no_grad():
            logits = module((trainer.data.images(resolution)[index].double() - mean) / deviation)
        labels = DATA.labels[index]
        assert loss[0] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
        assert accuracy[0] == pytest.approx((logits.argmax(1) == labels).double().mean().item())
    weights = torch.cat([p.detach().flatten() for p in module.parameters() if p.ndim >= 2])
    assert measured[-1].weight_norm[0] == pytest.approx(weights.norm().item(), rel=1e-9)
    assert measured[-1].penalty[0] == pytest.approx(
        lam * penalty_terms(weights, penalty).sum().item(), rel=1e-9
    )


def test_lam_changes_between_intervals_only() -> None:
    """λ of each interval is the one given for it: 4 intervals with 4 λs against torch."""
    task = replace(BASE, optimizer="sgd", lr_schedule="constant", steps=8, decisions=4)
    trainer = Trainer(DATA, "agent", FP64)
    run, (module, names) = trainer.start(task), plain_network(task)
    module = module.double()
    for ours, value in run.network.exported(run.params).items():
        module.state_dict()[names[ours]].copy_(value)
    weights = [p for p in module.parameters() if p.ndim >= 2]
    optimizer = torch.optim.SGD(
        [{"params": weights}, {"params": [p for p in module.parameters() if p.ndim < 2]}],
        lr=task.learning_rate,
        momentum=task.momentum,
    )
    mean, deviation = (s.view(3, 1, 1) for s in trainer.data.statistics)
    for interval, lam in enumerate((0.5, 0.0, 1e-3, 0.1)):
        trainer.advance([run], [to_log(lam)])
        optimizer.param_groups[0]["weight_decay"] = lam
        for t in (2 * interval, 2 * interval + 1):
            x = (trainer.data.images(16)[run.order[t]].double() - mean) / deviation
            optimizer.zero_grad()
            F.cross_entropy(module(x), run.labels[t]).backward()
            optimizer.step()
    for ours, value in run.network.exported(run.params).items():
        theirs = module.state_dict()[names[ours]]
        assert (value - theirs).norm() <= 1e-9 * theirs.norm(), ours


def test_weights_are_those_that_torch_would_draw_from() -> None:
    """Same bounds as nn.Linear and nn.Conv2d; the number of penalised parameters is that of the module's weights."""
    for name, (width, resolution) in NETWORKS.items():
        task = replace(BASE, network=name, width=width, resolution=resolution)
        run = Trainer(DATA, "agent").start(task)
        module, names = plain_network(task)
        theirs = dict(module.named_parameters())
        assert run.facts.num_params == sum(p.numel() for p in module.parameters() if p.ndim >= 2)
        assert {names[n] for n in run.params} == set(theirs)
        for ours, value in run.network.exported(run.params).items():
            reference = theirs[names[ours]]
            if value.numel() > 50:
                assert value.std().item() == pytest.approx(reference.std().item(), rel=0.3)
                assert value.abs().max().item() == pytest.approx(reference.abs().max().item(), rel=0.2)


def test_test_images_are_normalised_as_the_training_images() -> None:
    test = tiny_data(90, seed=5)
    brighter = replace(test, images=test.images + 60)
    trainer = Trainer(DATA, "agent", FP64)
    run = trainer.start(BASE)
    module, names = plain_network(BASE)
    for ours, value in run.network.exported(run.params).items():
        module.state_dict()[names[ours]].copy_(value)
    for data in (test, brighter):
        loss, accuracy = trainer.test([run], ResidentImages(data, trainer.device, trainer.data.statistics))
        mean, deviation = (s.view(3, 1, 1) for s in trainer.data.statistics)
        small = F.avg_pool2d(data.images.float(), 2).round().double()
        with torch.no_grad():
            logits = module.double()((small - mean) / deviation)
        assert loss[0] == pytest.approx(F.cross_entropy(logits, data.labels).item(), rel=1e-5)
        assert accuracy[0] == pytest.approx((logits.argmax(1) == data.labels).double().mean().item())
