"""Knobs beside λ in the batched trainer: against a plain loop in float64, in any company, and without recompilation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_envs import tiny_data

from lambda_rl.attach.model_knobs import adversarial
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training import step as step_module
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.run import InnerRun
from lambda_rl.envs.training.step import RADIUS
from lambda_rl.envs.training.trainer import Trainer
from lambda_rl.knobs import kind_of

DATA = tiny_data(2000)
DEEP = Task(
    lr_schedule="constant",
    width=8,
    train_size=100,
    val_size=40,
    batch_size=8,
    steps=12,
    decisions=3,
    network_options=(("depth", 3),),
)
FP64 = TrainerConfig(precision="fp64")
LAM = (-2.0, -1.5, -1.0)
MOVED: dict[str, tuple[float, float, float]] = {
    "dropout": (0.0, 0.3, 0.6),
    "label_smoothing": (0.0, 0.1, 0.3),
    "augmentation": (1.0, 0.5, 0.2),
    "alpha": (1.0, 0.5, 0.2),
    "layer.2": (1.0, 0.1, 10.0),
}
"""Values in each of the three intervals."""


def levels(values: Mapping[str, float], count: int = 1) -> dict[str, np.ndarray]:
    return {name: np.full(count, kind_of(name).level(value)) for name, value in values.items()}


def at(moved: Mapping[str, tuple[float, ...]], decision: int) -> dict[str, float]:
    return {name: values[decision] for name, values in moved.items()}


def cropped(images: torch.Tensor, shifts: torch.Tensor, flips: torch.Tensor) -> torch.Tensor:
    padded = F.pad(images, (2, 2, 2, 2))
    found = []
    for image, (row, column), flip in zip(padded, shifts.tolist(), flips.tolist(), strict=True):
        part = image[:, row : row + 16, column : column + 16]
        found.append(part.flip(2) if flip else part)
    return torch.stack(found)


class Loop:
    """What anybody would write: modules' functions, torch.optim, one loop, a generator for what is random."""

    def __init__(self, trainer: Trainer, run: InnerRun) -> None:
        self.run, self.images = run, trainer.data.images(run.task.resolution)
        self.mean, self.deviation = (s.view(3, 1, 1) for s in trainer.data.statistics)
        self.params = {name: value.clone().requires_grad_() for name, value in run.params.items()}
        self.noise = torch.Generator().manual_seed(0)
        self.noise.set_state(run.noise.get_state())
        self.augmentation = torch.Generator().manual_seed(0)
        self.augmentation.set_state(run.augmentation.get_state())
        weights = [{"params": [self.params[f"fc{n}.weight"]], "layer": n} for n in (1, 2, 3)]
        biases = {"params": [self.params[f"fc{n}.bias"] for n in (1, 2, 3)]}
        self.optimizer = torch.optim.SGD([*weights, biases], lr=run.task.learning_rate, momentum=0.9)

    def network(self, x: torch.Tensor, drop: list[torch.Tensor]) -> torch.Tensor:
        for n, mask in zip((1, 2), drop, strict=True):
            x = F.relu(F.linear(x, self.params[f"fc{n}.weight"], self.params[f"fc{n}.bias"])) * mask
        return F.linear(x, self.params["fc3.weight"], self.params["fc3.bias"])

    def interval(self, steps: range, lam: float, knobs: Mapping[str, float]) -> float:
        """Trains; the mean loss."""
        size, width = self.run.task.batch_size, self.run.task.width
        moved = self._crops(len(steps), size, knobs) if self.run.task.augment else None
        masks = [torch.ones(len(steps), size, width)] * 2
        if "dropout" in knobs:
            keep = 1 - knobs["dropout"]
            drawn = [torch.rand(len(steps), size, width, generator=self.noise) for _ in range(2)]
            masks = [(u.double() < keep).double() / keep for u in drawn]
        for group in self.optimizer.param_groups:
            if "layer" in group:
                group["weight_decay"] = lam * knobs.get(f"layer.{group['layer']}", 1.0)
        losses = []
        for t, step in enumerate(steps):
            raw = self.images[self.run.order[step]]
            if moved is not None:
                raw = cropped(raw, moved[0][t], moved[1][t])
            x = ((raw.double() - self.mean) / self.deviation).flatten(1)
            losses.append(self._step(x, self.run.labels[step], [mask[t] for mask in masks], knobs))
        return float(np.mean(losses))

    def _crops(self, steps: int, size: int, knobs: Mapping[str, float]) -> tuple[torch.Tensor, torch.Tensor]:
        shifts = torch.randint(5, (steps, size, 2), generator=self.augmentation)
        flips = torch.randint(2, (steps, size), generator=self.augmentation).bool()
        if "augmentation" in knobs:
            share = knobs["augmentation"]
            shifts = 2 + ((shifts - 2).double() * share).round().long()
            flips &= torch.rand(steps, size, generator=self.noise, dtype=torch.float64) < share
        return shifts, flips

    def _step(
        self, x: torch.Tensor, y: torch.Tensor, drop: list[torch.Tensor], knobs: Mapping[str, float]
    ) -> float:
        def loss(images: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(
                self.network(images, drop), y, label_smoothing=knobs.get("label_smoothing", 0.0)
            )

        total = loss(x)
        if "alpha" in knobs:
            # In units of a standardised pixel, which differ by channel; so are the ends of the range.
            per_pixel = (1 / self.deviation).expand(3, 16, 16).flatten()
            black, white = (
                ((end - self.mean) / self.deviation).expand(3, 16, 16).flatten() for end in (0, 255)
            )
            ones = adversarial(
                lambda unit: self.network(unit * per_pixel, drop), F.cross_entropy, x / per_pixel, y,
                radius=RADIUS, bounds=(-1e9, 1e9),
            )  # fmt: skip
            harder = torch.minimum(torch.maximum(ones * per_pixel, black), white)
            total = knobs["alpha"] * total + (1 - knobs["alpha"]) * loss(harder)
        self.optimizer.zero_grad()
        total.backward()
        clean = float(F.cross_entropy(self.network(x, drop), y).detach())
        self.optimizer.step()
        return clean


@pytest.mark.parametrize("names", [*((name,) for name in MOVED), tuple(MOVED)], ids="+".join)
def test_knobs_do_what_a_plain_loop_does(names: tuple[str, ...]) -> None:
    task = replace(DEEP, augment="augmentation" in names)
    trainer = Trainer(DATA, "agent", FP64, outer_size=50)
    run = trainer.start(task)
    loop = Loop(trainer, run)
    moved = {name: MOVED[name] for name in names}
    for decision, log_lam in enumerate(LAM):
        steps = range(run.step, run.step + run.interval)
        expected = loop.interval(steps, 10.0**log_lam, at(moved, decision))
        measured = trainer.advance([run], [log_lam], levels(at(moved, decision)))
        assert measured.train_loss[0] == pytest.approx(expected, rel=1e-9)
    for name, value in run.params.items():
        torch.testing.assert_close(value, loop.params[name].detach(), rtol=1e-8, atol=1e-10)
    factors = [moved.get(f"layer.{n}", (1.0,) * 3)[-1] for n in (1, 2, 3)]
    halves = [float(loop.params[f"fc{n}.weight"].detach().square().sum()) / 2 for n in (1, 2, 3)]
    assert measured.penalty[0] == pytest.approx(10.0 ** LAM[-1] * np.dot(factors, halves), rel=1e-8)


def trained(count: int, moved: Mapping[str, tuple[float, ...]], **config: object) -> list[torch.Tensor]:
    trainer = Trainer(DATA, "agent", TrainerConfig(precision="fp64", **config), outer_size=50)
    runs = [trainer.start(replace(DEEP, seed=seed)) for seed in range(count)]
    for decision, log_lam in enumerate(LAM):
        trainer.advance(runs, [log_lam] * count, levels(at(moved, decision), count))
    return list(runs[0].params.values())


def test_a_run_is_the_same_in_any_company_and_at_neutral_values_as_without_knobs() -> None:
    moved = {name: values for name, values in MOVED.items() if name != "augmentation"}
    assert all(map(torch.equal, trained(1, moved), trained(5, moved)))
    neutral = {name: (kind_of(name).neutral,) * 3 for name in moved if name != "alpha"}
    assert all(map(torch.equal, trained(2, neutral), trained(2, {})))


def test_no_knob_is_compiled_anew_over_a_thousand_changes() -> None:
    step_module.compiled_step.cache_clear()
    task = replace(DEEP, width=4, batch_size=4, steps=1001, decisions=1001, val_size=10, augment=True)
    trainer = Trainer(DATA, "agent", TrainerConfig(compile=True, chunk=1), outer_size=0)
    run = trainer.start(task)
    rng = np.random.default_rng(0)

    def change() -> None:
        trainer.advance([run], rng.uniform(-4, -1, 1), levels({n: rng.uniform(0.1, 0.9) for n in MOVED}))

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        change()
    if any("not compiled" in str(w.message) for w in said):
        pytest.skip(f"no compiler here: {said[-1].message}")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(1000):
            change()
    assert run.finished
    assert step_module.compiled_step.cache_info().currsize == 1


@pytest.mark.parametrize("penalty", ["l1", "l0.5"])
def test_other_penalties_are_not_traced_anew(penalty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced as for the compiler, and run as it is: that is faster, and says the same."""
    compiled, traced = torch.compile, []

    def trace(function: Callable[..., object], *, dynamic: bool, **_: object) -> object:
        traced.append(function)
        return compiled(function, backend="eager", dynamic=dynamic)

    monkeypatch.setattr(torch, "compile", trace)
    step_module.compiled_step.cache_clear()
    changes = 200
    task = replace(
        DEEP, width=4, batch_size=4, steps=changes + 1, decisions=changes + 1, val_size=10, penalty=penalty
    )
    trainer = Trainer(DATA, "agent", TrainerConfig(compile=True, chunk=1), outer_size=0)
    run = trainer.start(task)
    rng = np.random.default_rng(0)
    trainer.advance([run], rng.uniform(-4, -1, 1), {})
    assert traced
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(changes):
            trainer.advance([run], rng.uniform(-4, -1, 1), {})
    assert run.finished
    step_module.compiled_step.cache_clear()
