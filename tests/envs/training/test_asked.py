"""What schedules ask for in the environment is what autograd says of the run, and asking changes nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_envs import BASE, tiny_data

from lambda_rl import parse_schedule
from lambda_rl.envs.judging import ScheduleJob, run_schedules
from lambda_rl.envs.training.asked import SIGNALS, Asked
from lambda_rl.envs.training.resident import Reading
from lambda_rl.envs.training.run import InnerRun
from lambda_rl.envs.training.trainer import Trainer
from lambda_rl.schedules.rules.measured import MEASURED

DATA = tiny_data()


def asked(trainer: Trainer, run: InnerRun) -> Asked:
    images = trainer.source(run.task).images
    return Asked(run, images, *trainer.placement.dtypes(run.network))


def by_hand(
    trainer: Trainer, run: InnerRun, index: torch.Tensor, labels: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Gradients of an MLP's loss, written out."""
    images = trainer.source(run.task).images
    x = images.evaluation_set(index, run.network, torch.float32, Reading.of(run.task)).inputs
    leaves = {name: value.detach().clone().requires_grad_() for name, value in run.params.items()}
    buffers = {name: value[None].clone() for name, value in run.buffers.items()}
    stacked = {name: value[None] for name, value in leaves.items()}
    logits = run.network.forward(stacked, buffers, x[None], training=True)[0].T
    F.cross_entropy(logits, labels).backward()
    return {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}


def test_names_agree_with_those_of_the_rules() -> None:
    assert set(SIGNALS) == set(MEASURED)
    trainer = Trainer(DATA, "agent")
    with pytest.raises(ValueError, match="no signal noise can be asked for; there are grad_norm"):
        asked(trainer, trainer.start(BASE)).signals(["noise"])


def test_signals_of_a_run() -> None:
    trainer = Trainer(DATA, "agent", outer_size=0)
    task = replace(BASE, optimizer="adamw", learning_rate=3e-3, label_noise=0.3)
    run = trainer.start(task)
    start = asked(trainer, run).signals(SIGNALS)
    first = by_hand(trainer, run, run.order[0], run.labels[0])
    squares = torch.cat([g.flatten() for g in first.values()]).square()
    assert start["second_moment"] == pytest.approx(float(squares.mean()), rel=1e-5)
    trainer.advance([run], [-2.0])
    before = {name: value.clone() for name, value in run.params.items()}
    now = asked(trainer, run).signals(SIGNALS)
    grads = by_hand(trainer, run, run.order[run.step], run.labels[run.step])
    norm = math.sqrt(sum(float(grads[name].square().sum()) for name in run.network.penalised))
    assert now["grad_norm"] == pytest.approx(norm, rel=1e-5)
    grads = by_hand(trainer, run, run.val_index, run.val.labels)
    along = sum(float((grads[name] * run.params[name]).sum()) for name in run.network.penalised)
    assert now["val_pull"] == pytest.approx(along, rel=1e-4)
    moments = torch.cat([v.flatten() for v in run.optimizer["second_moment"].values()])
    assert now["second_moment"] == pytest.approx(float(moments.mean()) / (1 - 0.999**run.step), rel=1e-5)
    assert math.isfinite(now["train_pull"])
    assert all(torch.equal(before[name], value) for name, value in run.params.items())
    plain = trainer.start(BASE)
    assert math.isnan(asked(trainer, plain).signals(["second_moment"])["second_moment"])


@pytest.mark.parametrize("network", ["mlp", "cnn3", "resnet9"])
def test_every_network_can_be_asked(network: str) -> None:
    trainer = Trainer(DATA, "agent", outer_size=0)
    run = trainer.start(replace(BASE, network=network, width=2, augment=network == "cnn3"))
    buffers = {name: value.clone() for name, value in run.buffers.items()}
    augmentation = run.augmentation.get_state()
    found = asked(trainer, run).signals(["grad_norm", "val_pull", "train_pull"])
    assert all(math.isfinite(value) for value in found.values())
    assert all(torch.equal(buffers[name], value) for name, value in run.buffers.items())
    assert torch.equal(augmentation, run.augmentation.get_state())


@pytest.mark.parametrize("spec", ["awd:0.1", "swd:0.0001", "hypergradient:rate=30", "adamc:0.1", "plateau"])
def test_rules_play_in_the_environment(spec: str) -> None:
    task = replace(BASE, optimizer="adamw", learning_rate=3e-3)
    job = ScheduleJob(task, spec, parse_schedule(spec))
    alone = run_schedules([job], DATA, "agent")[0]
    among = run_schedules([ScheduleJob(BASE, "constant", parse_schedule("constant:0.1")), job], DATA, "agent")
    log_lam = np.array(alone.history["log_lam"])
    assert np.isfinite(log_lam).all()
    assert among[1].history == alone.history
    if spec != "plateau":
        assert len(set(log_lam)) > 1


def test_training_loss_alone_wants_no_decay() -> None:
    """The warning twin: where the network can memorise, λ falls on training loss and stays up on validation loss."""
    task = replace(
        BASE, width=32, train_size=40, val_size=30, label_noise=0.4, steps=300, decisions=20, learning_rate=0.02
    )  # fmt: skip
    last = {}
    for side in ("val", "train"):
        make = parse_schedule(f"hypergradient:initial=0.01,rate=300,on={side}")
        jobs = [ScheduleJob(task.with_seed(seed), side, make) for seed in range(3)]
        last[side] = [result.history["log_lam"][-1] for result in run_schedules(jobs, DATA, "agent")]
    assert max(last["train"]) < -3.0 < min(last["val"])
