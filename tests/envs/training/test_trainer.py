"""The inner trainer against a plain PyTorch loop, and what a run is made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_envs import BASE, tiny_data
from torch import nn

from lambda_rl.envs.data.split import FOLDS, Fold, split_data
from lambda_rl.envs.hardware.device import _cpu_has_bf16, resolve_device, resolve_precision
from lambda_rl.envs.networks import NetworkSpec, make_network
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.resident import ResidentImages, crop_and_flip
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
        (trainer.split.outer_val, measured[-1].outer_loss, measured[-1].outer_accuracy),
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
    assert trainer.weight_measures(run) == pytest.approx(
        (measured[-1].weight_norm[0], measured[-1].penalty[0] / lam), rel=1e-9
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


# What a run is made of


def test_label_noise() -> None:
    trainer = Trainer(DATA, "agent")
    task = replace(BASE, train_size=200, label_noise=0.3, batch_size=50, steps=4, decisions=2)
    run, clean = trainer.start(task), trainer.start(replace(task, label_noise=0.0))
    assert torch.equal(run.order, clean.order)  # one epoch: every example once
    truth = DATA.labels[run.order]
    assert torch.equal(clean.labels, truth)
    assert int((run.labels != truth).sum()) == 60
    assert 0 <= int(run.labels.min()) <= int(run.labels.max()) < 10
    wrong = ((run.labels - truth) % 10)[run.labels != truth]
    assert set(wrong.tolist()) == set(range(1, 10))  # any other class

    # An example keeps its wrong label in every epoch.
    long = trainer.start(replace(task, steps=12))
    told: dict[int, set[int]] = {}
    for image, label in zip(long.order.flatten().tolist(), long.labels.flatten().tolist(), strict=True):
        told.setdefault(image, set()).add(label)
    assert len(told) == 200
    assert {len(labels) for labels in told.values()} == {1}


@pytest.mark.parametrize(("size", "batch", "steps"), [(50, 10, 20), (30, 8, 25), (7, 20, 9)])
def test_order_covers_every_epoch_once(size: int, batch: int, steps: int) -> None:
    run = Trainer(DATA, "agent").start(replace(BASE, train_size=size, batch_size=batch, steps=steps))
    stream = run.order.flatten().tolist()
    assert len(stream) == batch * steps
    epochs = [stream[i : i + size] for i in range(0, len(stream), size)]
    for epoch in epochs:
        assert len(set(epoch)) == len(epoch)
        assert set(epoch) <= set(epochs[0])
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("fold", ["agent", "held-out"])
def test_parts_are_disjoint(fold: Fold) -> None:
    trainer = Trainer(DATA, fold, outer_size=8)
    split = split_data(len(DATA.labels), fold)
    for seed in range(3):
        run = trainer.start(replace(BASE, train_size=200, batch_size=50, val_size=25, seed=seed))
        train, val, outer = (
            set(index.flatten().tolist()) for index in (run.order, run.val_index, run.outer_index)
        )
        assert (len(train), len(val), len(outer)) == (200, 25, 8)
        assert train <= set(split.inner_train.tolist())
        assert val <= set(split.inner_val.tolist())
        assert outer <= set(split.outer_val.tolist())
        assert not train & val
        assert not (train | val) & outer


def test_folds_share_no_image() -> None:
    seen = {}
    for fold in FOLDS:
        trainer = Trainer(DATA, fold)
        run = trainer.start(replace(BASE, train_size=200, batch_size=50))
        parts = (run.order, run.val_index, trainer.sources[""]._outer_all)
        seen[fold] = set().union(*(set(part.flatten().tolist()) for part in parts))
    assert not seen["agent"] & seen["held-out"]


def run_tensors(run: InnerRun) -> list[torch.Tensor]:
    return [run.order, run.labels, run.val_index, run.outer_index, *run.params.values()]


def test_a_run_follows_from_seed_and_fold() -> None:
    task = replace(BASE, label_noise=0.2)

    def made(task: Task, fold: Fold) -> list[torch.Tensor]:
        torch.manual_seed(torch.initial_seed() % 1000 + 1)  # the global generator must not matter
        return run_tensors(Trainer(DATA, fold, outer_size=12).start(task))

    first = made(task, "agent")
    assert all(map(torch.equal, first, made(task, "agent")))
    # Common random numbers: nothing that λ or the optimizer could change has a say.
    other = replace(task, learning_rate=0.5, initial_lam=1.0, optimizer="adamw", penalty="l1")
    assert all(map(torch.equal, first, made(other, "agent")))
    assert not any(map(torch.equal, first, made(replace(task, seed=1), "agent")))
    assert not any(map(torch.equal, first, made(task, "held-out")))


def test_subset_larger_than_the_data() -> None:
    trainer = Trainer(DATA, "agent")
    with pytest.raises(ValueError, match=r"train_size=241, but the inner-train part has 240 images"):
        trainer.start(replace(BASE, train_size=241))
    with pytest.raises(ValueError, match=r"val_size=31, but the inner-val part has 30 images"):
        trainer.start(replace(BASE, val_size=31))
    trainer.start(replace(BASE, train_size=240, val_size=30))


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


# Images


def naive_crop(image: np.ndarray, row: int, column: int, flip: bool) -> np.ndarray:
    side = image.shape[-1]
    pad = side // 8
    padded = np.zeros((3, side + 2 * pad, side + 2 * pad), np.uint8)
    padded[:, pad : pad + side, pad : pad + side] = image
    crop = padded[:, row : row + side, column : column + side]
    return crop[:, :, ::-1] if flip else crop


@pytest.mark.parametrize("side", [16, 32])
def test_crop_and_flip_is_the_naive_one(side: int) -> None:
    generator = torch.Generator().manual_seed(1)
    raw = torch.randint(256, (40, 3, side, side), generator=generator).to(torch.uint8)
    offset = torch.randint(side // 4 + 1, (40, 2), generator=generator)
    offset[0], offset[1] = 0, side // 4
    flip = torch.randint(2, (40,), generator=generator).bool()
    made = crop_and_flip(raw, offset, flip)
    for i in range(40):
        row, column = offset[i].tolist()
        assert np.array_equal(made[i].numpy(), naive_crop(raw[i].numpy(), row, column, bool(flip[i])))
    still = crop_and_flip(raw, torch.full_like(offset, side // 8), torch.zeros_like(flip))
    assert torch.equal(still, raw)


def test_augmentation_is_reproducible_and_does_something() -> None:
    task = replace(BASE, network="cnn3", width=2, augment=True)
    norms: dict[str, list[float]] = {}
    for name, seed, augment in (("a", 0, True), ("b", 0, True), ("seed", 1, True), ("none", 0, False)):
        trainer = Trainer(DATA, "agent", TrainerConfig(precision="fp32"))
        run = trainer.start(replace(task, augment=augment))
        if seed:
            run.augmentation.manual_seed(seed)
        norms[name] = [float(trainer.advance([run], [-2.0]).weight_norm[0]) for _ in range(2)]
    assert norms["a"] == norms["b"]
    assert norms["a"] != norms["seed"]
    assert norms["a"] != norms["none"]


def test_images_are_normalised_and_averaged() -> None:
    resident = ResidentImages(DATA, torch.device("cpu"))
    everything = torch.arange(len(resident))
    mlp = make_network(NetworkSpec("mlp", 4, 32))
    x = resident.evaluation_set(everything, mlp, torch.float64).inputs.unflatten(1, (3, 32, 32))
    assert x.mean((0, 2, 3)).abs().max() < 1e-9
    assert (x.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-9
    resident.prepare(16)
    blocks = DATA.images.double().view(-1, 3, 16, 2, 16, 2).mean((3, 5))
    assert (resident.images(16).double() - blocks).abs().max() <= 0.5
    with pytest.raises(ValueError, match="resolution 12 must divide the images' side, 32 pixels"):
        resident.prepare(12)


@pytest.mark.parametrize(
    ("kind", "factor"),
    [
        ("constant", lambda s: 1.0),
        ("cosine", lambda s: 0.5 * (1 + math.cos(math.pi * s))),
        ("exponential", lambda s: 0.01**s),
    ],
)
def test_lr_ratio_is_that_of_the_next_step(kind: str, factor: Callable[[float], float]) -> None:
    trainer = Trainer(DATA, "agent")
    run = trainer.start(replace(BASE, lr_schedule=kind))
    assert run.lr_ratio == 1.0
    for decision in range(1, BASE.decisions + 1):
        trainer.advance([run], [-2.0])
        assert run.progress == decision / BASE.decisions
        assert run.lr_ratio == pytest.approx(factor(run.progress), abs=1e-12)
    assert run.finished


def test_facts_are_what_a_user_knows() -> None:
    trainer = Trainer(DATA, "agent")
    task = replace(BASE, lr_schedule="constant", learning_rate=0.1, momentum=0.9, steps=10)
    facts = trainer.start(task).facts
    assert (facts.num_train, facts.val_size, facts.num_classes) == (100, 20, 10)
    assert facts.epochs == pytest.approx(0.8)
    assert facts.lr_sum == pytest.approx(10.0)  # coupled SGD: 10 steps x 0.1 / (1 - 0.9)
    assert trainer.start(replace(task, decay="decoupled")).facts.lr_sum == pytest.approx(1.0)
    assert trainer.start(replace(task, optimizer="adamw")).facts.lr_sum == pytest.approx(1.0)
