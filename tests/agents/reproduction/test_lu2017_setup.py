"""The set-up of Lu (2017) in the one trainer: raw pixels, tiny weights, steps of the learning rate, what λ means."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lambda_rl import Constant, Steps
from lambda_rl.agents.reproduction.lu2017.settings import our_lam
from lambda_rl.envs.data import ImageData
from lambda_rl.envs.data.synthetic import make_synthetic
from lambda_rl.envs.judging import Hooks, RunResult, ScheduleJob, run_schedules
from lambda_rl.envs.networks import NetworkSpec, make_network
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.resident import Reading, ResidentImages
from lambda_rl.envs.training.run import InnerRun, learning_rates
from lambda_rl.envs.training.trainer import Trainer


def images(part: str) -> ImageData:
    pixels, labels = make_synthetic(5, part)  # type: ignore[arg-type]
    return ImageData(part, torch.from_numpy(pixels[:1500]), torch.from_numpy(labels[:1500]).long(), 10, part)


TRAIN, TEST = images("train"), images("test")
FP64 = TrainerConfig(precision="fp64")
RAW = Task(
    width=6, train_size=200, val_size=40, batch_size=20, steps=24, decisions=4, momentum=0.0, learning_rate=1e-3,
    lr_schedule="step", lr_decay=0.8, lr_decay_every=7, pixels="mean-subtracted", init_std=1e-3, seed=3,
)  # fmt: skip


def pooled(data: ImageData, side: int) -> Tensor:
    """Images at a resolution, from the definition: averaged blocks, rounded to whole pixel values."""
    full = data.images.double()
    return full if side == 32 else F.avg_pool2d(full, 2).round()


def forward(task: Task, w: dict[str, Tensor], x: Tensor) -> Tensor:
    if task.network == "cnn3":
        x = F.relu(F.conv2d(x, w["conv.weight"], w["conv.bias"], padding=2))
        x = F.max_pool2d(x, 2)
    hidden = F.relu(x.flatten(1) @ w["fc1.weight"].T + w["fc1.bias"])
    return hidden @ w["fc2.weight"].T + w["fc2.bias"]


def plain_loop(task: Task, run: InnerRun, paper_lam: float) -> dict[str, Tensor]:
    """SGD on ``loss + λ·Σ‖W‖²`` by autograd, as the course's assignment has it, with nothing of the project's."""
    pixels = pooled(TRAIN, task.resolution)
    centred = pixels - pixels.mean(0)
    weights = {
        name: value.clone().requires_grad_() for name, value in run.network.exported(run.params).items()
    }
    for t, (order, labels) in enumerate(zip(run.order, run.labels, strict=True)):
        loss = F.cross_entropy(forward(task, weights, centred[order]), labels)
        loss = loss + paper_lam * torch.stack([(w**2).sum() for w in weights.values() if w.ndim > 1]).sum()
        gradients = torch.autograd.grad(loss, list(weights.values()))
        rate = task.learning_rate * task.lr_decay ** (t // (task.lr_decay_every or 10))
        with torch.no_grad():
            for w, g in zip(weights.values(), gradients, strict=True):
                w -= rate * g
    return weights


@pytest.mark.parametrize(
    "changes", [{}, {"resolution": 32}, {"network": "cnn3", "width": 2, "learning_rate": 1e-4}, {"lr_decay_every": 0}]
)  # fmt: skip
def test_the_trainer_does_what_the_paper_says(changes: dict[str, Any]) -> None:
    """Raw pixels minus the mean image, tiny normal weights, λ·‖W‖² and stepped learning rate, against autograd."""
    task = replace(RAW, **changes)
    trainer = Trainer(TRAIN, "held-out", FP64)
    run = trainer.start(task)
    expected = plain_loop(task, run, paper_lam=3.0)
    start = {name: value.clone() for name, value in run.network.exported(run.params).items()}
    for _ in range(task.decisions):
        trainer.advance([run], [math.log10(our_lam(3.0))])
    for name, value in run.network.exported(run.params).items():
        assert (value - expected[name]).norm() <= 1e-9 * (expected[name] - start[name]).norm(), name


def test_lam_of_the_paper_is_half_of_ours() -> None:
    assert our_lam(3.0) == 6.0
    assert our_lam(0.0) == 0.0
    assert our_lam(1.0, scale=0.1) == 0.2
    assert our_lam(3.0, "l0.5") == our_lam(3.0, "l1") == 0.0015
    w = torch.randn(5, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(3.0 * (w**2).sum(), w)
    assert torch.equal(gradient, our_lam(3.0) * w.detach())


def test_initial_weights_are_normal_and_biases_zero() -> None:
    trainer = Trainer(TRAIN, "held-out", FP64)
    weights = trainer.start(replace(RAW, width=200)).params
    for name in ("fc1.weight", "fc2.weight"):
        scaled = weights[name] / RAW.init_std
        count = scaled.numel()
        assert abs(scaled.mean()) < 5 / math.sqrt(count)
        assert scaled.std() == pytest.approx(1, abs=5 / math.sqrt(2 * count))
        assert (scaled**4).mean() == pytest.approx(
            3, abs=5 * math.sqrt(96 / count)
        )  # of a normal; a uniform has 1.8
    assert all(not weights[name].any() for name in ("fc1.bias", "fc2.bias"))
    uniform = trainer.start(replace(RAW, init_std=0.0)).params
    assert uniform["fc1.bias"].any()
    assert uniform["fc1.weight"].abs().max() <= 1 / math.sqrt(768)


def test_the_mean_image_is_the_training_images_own() -> None:
    """Of the test images, too, the training images' mean is taken."""
    trainer = Trainer(TRAIN, "held-out", FP64)
    test = ResidentImages(TEST, trainer.device, trainer.data.statistics, reference=trainer.data)
    for side in (16, 32):
        trainer.data.prepare(side)
        test.prepare(side)
        mean = pooled(TRAIN, side).mean(0)
        mlp = make_network(NetworkSpec("mlp", 4, side))
        got = test.evaluation_set(torch.arange(50), mlp, torch.float64, Reading("mean-subtracted")).inputs
        got = got.unflatten(1, (3, side, side))
        assert torch.allclose(got, pooled(TEST, side)[:50] - mean, atol=1e-9)
    standard = test.evaluation_set(
        torch.arange(50), make_network(NetworkSpec("mlp", 4, 16)), torch.float64
    ).inputs
    assert standard.abs().max() < 10  # the two are not mixed up in a cache
    assert got.abs().max() > 50


def test_both_kinds_of_pixels_side_by_side() -> None:
    """Runs that differ in pixels alone are not fused, and each gets its own images and evaluation sets."""
    other = replace(RAW, pixels="standardised", init_std=0.0, learning_rate=0.05)
    jobs = [ScheduleJob(task, "none", lambda **_: Constant(0.0)) for task in (RAW, other)]
    together = run_schedules(jobs, TRAIN, "held-out", test=TEST, config=FP64)
    for job, result in zip(jobs, together, strict=True):
        (alone,) = run_schedules([job], TRAIN, "held-out", test=TEST, config=FP64)
        assert (alone.test_loss, alone.val_loss) == (result.test_loss, result.val_loss)
    assert together[0].test_loss != together[1].test_loss


def test_learning_rate_by_steps() -> None:
    rates = learning_rates(replace(RAW, learning_rate=1.0, steps=16, lr_decay=0.5, lr_decay_every=5))
    assert rates.tolist() == [1.0] * 5 + [0.5] * 5 + [0.25] * 5 + [0.125] * 2
    epoch = learning_rates(
        replace(RAW, learning_rate=1.0, lr_decay=0.5, lr_decay_every=0)
    )  # 200 images by 20
    assert epoch[9] == 1.0
    assert epoch[10] == 0.5
    assert learning_rates(replace(RAW, train_size=5, lr_decay_every=0))[1] == pytest.approx(0.8e-3)


def test_hooks_see_each_run_and_may_change_its_weights() -> None:
    seen: list[tuple[int, int]] = []
    done: list[tuple[int, RunResult]] = []

    def freeze(index: int, run: InnerRun) -> None:
        seen.append((index, run.decision))
        if index == 1 and run.decision == 2:
            run.params["fc2.weight"].zero_()

    values = [[0.1], [0.1], [0.1]]
    jobs = [
        ScheduleJob(RAW.with_seed(0), str(i), lambda v=v, **_: Steps(v, total_steps=24))  # type: ignore[misc]
        for i, v in enumerate(values)
    ]
    results = run_schedules(
        jobs,
        TRAIN,
        "held-out",
        config=FP64,
        hooks=Hooks(on_interval=freeze, on_result=lambda i, result: done.append((i, result))),
        keep_runs=True,
    )
    assert sorted(seen) == [(i, k) for i in range(3) for k in range(5)]
    assert [i for i, _ in done] == [0, 1, 2]
    assert [result for _, result in done] == results
    weights = [result.run.params["fc2.weight"] for result in results if result.run is not None]
    assert torch.equal(weights[0], weights[2])  # the same task and schedule, untouched
    assert not torch.equal(weights[0], weights[1])
    assert results[0].history["val_loss"][:2] == results[1].history["val_loss"][:2]
    assert results[0].history["val_loss"][2] != pytest.approx(results[1].history["val_loss"][3])


def test_a_diverged_run_is_shown_to_the_hook_no_more() -> None:
    seen: list[int] = []
    job = ScheduleJob(replace(RAW, learning_rate=1e4, init_std=1.0), "wild", lambda **_: Constant(0.0))
    (result,) = run_schedules(
        [job],
        TRAIN,
        "held-out",
        test=TEST,
        config=TrainerConfig(precision="fp32"),
        hooks=Hooks(on_interval=lambda _, run: seen.append(run.decision)),
    )
    assert result.diverged
    assert seen == list(range(len(result.history["progress"])))  # the start, and all intervals but the last
    assert len(seen) < 5
    assert np.isfinite(result.test_loss)
