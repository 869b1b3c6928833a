"""A score of which a share is of adversarial images, against a plain loop in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_envs import tiny_data

from lambda_rl import Constant
from lambda_rl.attach.model_knobs import adversarial
from lambda_rl.envs.judging import ScheduleJob, run_schedules
from lambda_rl.envs.reward import RewardConfig
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.run import InnerRun
from lambda_rl.envs.training.step import RADIUS
from lambda_rl.envs.training.trainer import Trainer

DATA = tiny_data(2000)
FP64 = TrainerConfig(precision="fp64")
TASKS = [
    Task(
        width=8, train_size=100, val_size=40, batch_size=8, steps=6, decisions=2, seed=seed, learning_rate=0.1
    )
    for seed in (0, 1)
]
SHARE = 0.4


def plain(trainer: Trainer, run: InnerRun, index: torch.Tensor) -> tuple[float, float]:
    """Loss and accuracy of a run, clean and under attack, weighted."""
    mean, deviation = (s.view(3, 1, 1) for s in trainer.data.statistics)
    raw = trainer.data.images(run.task.resolution)[index].double()
    labels, weights = trainer.data.labels[index], run.params

    def network(images: torch.Tensor) -> torch.Tensor:
        hidden = F.relu(F.linear(images.flatten(1), weights["fc1.weight"], weights["fc1.bias"]))
        return F.linear(hidden, weights["fc2.weight"], weights["fc2.bias"])

    def pixels(images: torch.Tensor) -> torch.Tensor:
        return network((images - mean) / deviation)

    harder = adversarial(pixels, F.cross_entropy, raw, labels, radius=RADIUS, bounds=(0, 255))
    found = [
        (F.cross_entropy(out, labels), (out.argmax(1) == labels).double().mean())
        for out in map(pixels, (raw, harder))
    ]
    loss, accuracy = ((1 - SHARE) * a + SHARE * b for a, b in zip(*found, strict=True))
    return float(loss), float(accuracy)


def test_the_score_is_of_clean_and_of_adversarial_images() -> None:
    trainer, clean = (Trainer(DATA, "agent", FP64, outer_size=1000, attacked=share) for share in (SHARE, 0.0))
    runs, others = ([made.start(task) for task in TASKS] for made in (trainer, clean))
    for _ in range(2):
        found = trainer.advance(runs, np.array([-2.0, -3.0]))
        without = clean.advance(others, np.array([-2.0, -3.0]))
        for place, run in enumerate(runs):
            index = trainer.sources[""].split.outer_val
            loss, accuracy = plain(trainer, run, index)
            assert found.outer_loss[place] == pytest.approx(loss, rel=1e-9)
            assert found.outer_accuracy[place] == pytest.approx(accuracy, rel=1e-9)
        assert (found.outer_loss > without.outer_loss).all()  # attacks are harder, and that is seen
        np.testing.assert_array_equal(found.val_loss, without.val_loss)  # what a policy watches is clean


def test_schedules_are_judged_by_it_too() -> None:
    jobs = [ScheduleJob(task, "held", lambda **_: Constant(0.01)) for task in TASKS]
    clean, mixed = (run_schedules(jobs, DATA, "agent", config=FP64, attacked=share) for share in (0.0, 1.0))
    for one, other in zip(clean, mixed, strict=True):
        assert other.outer_loss > one.outer_loss
        assert other.val_loss == one.val_loss


def test_a_share_is_from_0_to_1() -> None:
    with pytest.raises(ValueError, match="attacked must be a share from 0 to 1, got 2"):
        RewardConfig(attacked=2.0)
