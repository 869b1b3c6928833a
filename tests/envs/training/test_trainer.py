"""The inner trainer: runs side by side are single ones, whatever the precision and the number of threads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_envs import BASE, tiny_data

from lambda_rl.envs.hardware.device import _cpu_has_bf16, resolve_device, resolve_precision
from lambda_rl.envs.networks import NetworkSpec, make_network
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.resident import ResidentImages
from lambda_rl.envs.training.run import InnerRun
from lambda_rl.envs.training.trainer import Trainer

DATA = tiny_data()

FP64 = TrainerConfig(precision="fp64")

NETWORKS = {"mlp": (8, 16), "cnn3": (3, 16), "resnet9": (2, 32)}


def different(task: Task, count: int = 3) -> list[Task]:
    return [
        replace(
            task,
            seed=i,
            train_size=60 + 40 * i,
            val_size=10 + 7 * i,
            label_noise=0.2 * i,
            learning_rate=task.learning_rate * (1 + i),
            momentum=0.5 + 0.2 * i,
            lr_schedule=("constant", "cosine", "exponential")[i % 3],
        )
        for i in range(count)
    ]


LOG_LAM = np.array([-1.0, -3.0, -np.inf])


def stacked_and_single(
    tasks: list[Task], config: TrainerConfig, lams: np.ndarray = LOG_LAM
) -> list[tuple[InnerRun, InnerRun]]:
    """Trains the tasks together and each alone, compares all that is measured, returns the pairs of runs."""
    trainer = Trainer(DATA, "agent", config, outer_size=20)
    assert len(trainer._chunks([trainer.start(task) for task in tasks])) == 1
    together, alone = [trainer.start(t) for t in tasks], [trainer.start(t) for t in tasks]
    rtol = 1e-6 if config.precision == "fp64" else 1e-4
    for _ in range(tasks[0].decisions):
        many = trainer.advance(together, lams)
        for i, run in enumerate(alone):
            one = trainer.advance([run], lams[i : i + 1])
            for key, values in vars(one).items():
                np.testing.assert_allclose(getattr(many, key)[i], values[0], rtol=rtol, err_msg=key)
    return list(zip(together, alone, strict=True))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("network", list(NETWORKS))
def test_networks_side_by_side_are_single_ones(network: str, optimizer: str) -> None:
    width, resolution = NETWORKS[network]
    task = replace(
        BASE, network=network, width=width, resolution=resolution, optimizer=optimizer, learning_rate=0.003
    )
    for one, other in stacked_and_single(different(task), TrainerConfig(precision="fp64", chunk=8)):
        for name, value in {**one.params, **one.buffers}.items():
            reference = {**other.params, **other.buffers}[name]
            assert (value - reference).norm() <= 1e-12 * reference.norm(), name


@pytest.mark.parametrize("width", [4, 32])
def test_mlps_side_by_side_are_bit_identical(width: int) -> None:
    """Of the batched products of one machine; environments rely on it (single equals vector)."""
    for one, other in stacked_and_single(different(replace(BASE, width=width)), TrainerConfig("cpu", "fp32")):
        for name, value in one.params.items():
            assert torch.equal(value, other.params[name]), name


def test_only_alike_runs_are_fused() -> None:
    """Runs of the same shape that differ in their update rule or rhythm go on side by side as they would alone."""
    tasks = [
        BASE,
        replace(BASE, optimizer="adamw", learning_rate=0.003),
        replace(BASE, penalty="l1"),
        replace(BASE, penalty="l0.5"),
        replace(BASE, decay="decoupled"),
        replace(BASE, augment=True),
        replace(BASE, batch_size=6),
        replace(BASE, width=5),
        replace(BASE, resolution=32),
        replace(BASE, steps=16),
    ]
    trainer = Trainer(DATA, "agent", TrainerConfig(precision="fp32"))
    together, alone = [trainer.start(t) for t in tasks], [trainer.start(t) for t in tasks]
    lams = np.linspace(-1.0, -2.0, len(tasks))
    for _ in range(2):
        many = trainer.advance(together, lams)
        for i, run in enumerate(alone):
            one = trainer.advance([run], lams[i : i + 1])
            assert all(np.array_equal(getattr(many, key)[[i]], value) for key, value in vars(one).items())
    assert len(set(many.train_loss)) == len(tasks)


def test_no_penalty_is_the_limit_of_a_small_one() -> None:
    trainer = Trainer(DATA, "agent", FP64)
    none, small, large = (trainer.start(replace(BASE, lr_schedule="constant")) for _ in range(3))
    for _ in range(BASE.decisions):
        measured = trainer.advance([none, small, large], [-np.inf, -300.0, 0.0])
    assert measured.finite.all()
    assert measured.penalty[0] == 0.0
    for name, value in none.params.items():
        assert torch.equal(value, small.params[name])
    assert measured.weight_norm[2] < measured.weight_norm[0]


@pytest.mark.parametrize("network", list(NETWORKS))
def test_bf16_is_near_fp32(network: str) -> None:
    if not _cpu_has_bf16():
        pytest.skip("no bf16 in this machine's hardware")
    width, resolution = NETWORKS[network]
    task = replace(
        BASE, network=network, width=width, resolution=resolution, augment=network == "resnet9",
        learning_rate=0.002, batch_size=32, steps=6, decisions=2,
    )  # fmt: skip
    losses = {}
    for precision in ("fp32", "bf16"):
        trainer = Trainer(DATA, "agent", TrainerConfig(precision=precision))
        run = trainer.start(task)
        measured = [trainer.advance([run], [-2.0]) for _ in range(2)]
        losses[precision] = [float(getattr(m, k)[0]) for m in measured for k in ("train_loss", "val_loss")]
        assert all(value.dtype == torch.float32 for value in {**run.params, **run.buffers}.values())
    assert losses["bf16"] != losses["fp32"]
    np.testing.assert_allclose(losses["bf16"], losses["fp32"], rtol=0.03)


def test_precision_and_device_errors() -> None:
    with pytest.raises(ValueError, match=r"unknown precision 'fp8'; allowed are auto, fp32, bf16, fp64"):
        Trainer(DATA, "agent", TrainerConfig(precision="fp8"))
    with pytest.raises(ValueError, match=r"unknown device 'tpu0'; allowed are auto, cpu, cuda"):
        Trainer(DATA, "agent", TrainerConfig(device="tpu0"))
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match=r"device 'cuda' asked for, but torch finds no GPU"):
            resolve_device("cuda")
    else:
        with pytest.raises(ValueError, match="there are"):
            resolve_device("cuda:99")
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        TrainerConfig(threads=0)
    with pytest.raises(ValueError, match="chunk must be at least 0"):
        TrainerConfig(chunk=-1)
    with pytest.raises(ValueError, match="unknown network 'vgg'; allowed: mlp, cnn3, resnet9"):
        make_network(NetworkSpec("vgg", 4, 16))
    assert resolve_precision("auto", torch.device("cpu"), convolutional=False)[1] is torch.float32


def test_state_goes_on_bit_for_bit() -> None:
    task = replace(BASE, network="resnet9", width=2, resolution=32, augment=True, steps=8)
    trainer = Trainer(DATA, "agent", TrainerConfig(precision="fp32"))
    run = trainer.start(task)
    trainer.advance([run], [-2.0])
    state = run.state_dict()
    copy = Trainer(DATA, "agent", TrainerConfig(precision="fp32")).start(task)
    trainer.advance([run], [-3.0])
    copy.load_state_dict(state)
    trainer.advance([copy], [-3.0])
    assert (copy.step, copy.decision) == (run.step, run.decision) == (4, 2)
    for name, value in {**run.params, **run.buffers}.items():
        assert torch.equal(value, {**copy.params, **copy.buffers}[name]), name


def test_training_works_under_no_grad() -> None:
    trainer = Trainer(DATA, "agent")
    one, other = trainer.start(BASE), trainer.start(BASE)
    trainer.advance([one], [-2.0])
    with torch.no_grad():
        trainer.advance([other], [-2.0])
    assert all(torch.equal(value, other.params[name]) for name, value in one.params.items())


def test_threads_change_nothing() -> None:
    tasks = [*different(BASE), *different(replace(BASE, network="cnn3", width=2))]
    lams = np.tile([-1.0, -2.0, -3.0], 2)
    results = []
    for threads in (1, 2):
        trainer = Trainer(DATA, "agent", TrainerConfig(precision="fp32", threads=threads))
        runs = [trainer.start(task) for task in tasks]
        measured = [trainer.advance(runs, lams) for _ in range(BASE.decisions)]
        results.append([getattr(m, key) for m in measured for key in vars(m)])
        trainer.close()
    assert all(map(np.array_equal, *results))


def test_test_images_that_take_the_place_of_others_are_not_taken_for_them() -> None:
    test = tiny_data(90, seed=5)
    brighter = replace(test, images=test.images + 60)
    trainer = Trainer(DATA, "agent", FP64)
    run = trainer.start(BASE)
    expected = [trainer.test([run], ResidentImages(data, trainer.device, trainer.data.statistics))[0][0]
                for data in (test, brighter)]  # fmt: skip
    assert expected[0] != expected[1]
    for _ in range(5):  # each is gone when the next is made, often at its address
        for data, loss in zip((test, brighter), expected, strict=True):
            found, _ = trainer.test([run], ResidentImages(data, trainer.device, trainer.data.statistics))
            assert found[0] == loss
