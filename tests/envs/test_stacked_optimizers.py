"""The optimizers of stacked networks: by name, in place, each network with its own numbers."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tiny_envs import tiny_data

from lambda_rl.envs.optimizers import OPTIMIZERS, Decay, StackedOptimizer, per_network
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.run import run_facts
from lambda_rl.envs.training.trainer import Trainer, TrainerConfig
from lambda_rl.penalties import PENALTIES

TASK = Task(width=4, train_size=100, val_size=20, batch_size=8, steps=12, decisions=4, learning_rate=1e-3)


class SignDescent(StackedOptimizer):
    """Moves by the sign of the gradient, and counts its steps."""

    state_names = ("count",)

    def step(self, weight, grad, state, inputs):
        weight.addcmul_(grad.sign(), per_network(inputs["learning_rate"], weight), value=-1)
        state["count"].add_(1)


def trained(task: Task) -> dict[str, torch.Tensor]:
    trainer = Trainer(tiny_data(2000), "agent", TrainerConfig(precision="fp64"), outer_size=20)
    runs = [trainer.start(task.with_seed(seed)) for seed in range(2)]
    for _ in range(task.decisions):
        trainer.advance(runs, [-2.0, -1.0])
    return {**runs[1].params, **{f"state {k}": v["fc1.weight"] for k, v in runs[1].optimizer.items()}}


def test_an_unknown_optimizer_is_refused_and_not_taken_for_another() -> None:
    with pytest.raises(ValueError, match=r"task: optimizer must be one of sgd, adamw, adam; got 'lion'"):
        dataclasses.replace(TASK, optimizer="lion")
    with pytest.raises(ValueError, match="unknown optimizer 'lion'; allowed: sgd, adamw, adam"):
        OPTIMIZERS.get("lion")


def test_an_optimizer_that_is_registered_trains() -> None:
    with OPTIMIZERS.temporarily("sign", SignDescent()):
        found = trained(dataclasses.replace(TASK, optimizer="sign"))
    assert found["state count"].eq(TASK.steps).all()
    assert not torch.equal(found["fc1.weight"], trained(TASK)["fc1.weight"])


def test_adam_and_adamw_are_two_names_of_one() -> None:
    one, other = (trained(dataclasses.replace(TASK, optimizer=name)) for name in ("adam", "adamw"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("decoupled", [False, True])
def test_an_update_is_in_place_and_of_each_network_alone(name: str, decoupled: bool) -> None:
    rule = OPTIMIZERS[name]
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    decay = Decay(PENALTIES["l2"], decoupled, frozenset({"w"}))
    params = {"w": drawn(3, 4, 2), "b": drawn(3, 4)}
    grads = {key: drawn(*value.shape) for key, value in params.items()}
    state = {
        kind: {key: torch.zeros_like(value) for key, value in params.items()} for kind in rule.state_names
    }
    inputs = {key: drawn(3) for key in ("lam", "learning_rate", "momentum")} | {
        "step": torch.zeros(3).double()
    }
    alone = []
    for n in range(3):
        own = {key: value[n : n + 1].clone() for key, value in params.items()}
        kept = {
            kind: {key: value[n : n + 1].clone() for key, value in each.items()}
            for kind, each in state.items()
        }
        rule.update(
            own, {key: value[n : n + 1].clone() for key, value in grads.items()}, kept,
            {key: value[n : n + 1] for key, value in inputs.items()}, decay,
        )  # fmt: skip
        alone.append(own)
    places = [value.data_ptr() for value in params.values()]
    rule.update(params, grads, state, inputs, decay)
    assert places == [value.data_ptr() for value in params.values()]
    for key, value in params.items():
        assert torch.equal(value, torch.cat([own[key] for own in alone]))


def test_lam_acts_on_weights_only() -> None:
    decay = Decay(PENALTIES["l1"], False, frozenset({"w"}))
    grads = {"w": torch.zeros(2, 3, 1), "b": torch.zeros(2, 3)}
    params = {"w": torch.ones(2, 3, 1), "b": torch.ones(2, 3)}
    state = {"momentum": {key: torch.zeros_like(value) for key, value in params.items()}}
    inputs = {"lam": torch.tensor([0.0, 0.5]), "learning_rate": torch.ones(2), "momentum": torch.zeros(2)}
    OPTIMIZERS["sgd"].update(params, grads, state, inputs, decay)
    assert params["w"].flatten(1).tolist() == [[1.0] * 3, [0.5] * 3]
    assert params["b"].eq(1).all()


@pytest.mark.parametrize(
    ("name", "decay", "factor"),
    [
        ("sgd", "coupled", 10.0),
        ("sgd", "decoupled", 1.0),
        ("adamw", "coupled", 1.0),
        ("adamw", "decoupled", 1.0),
    ],
)
def test_momentum_repeats_what_lam_adds_to_the_gradient(name: str, decay: str, factor: float) -> None:
    assert OPTIMIZERS[name].effective_lr_sum(2.0, 0.9, decay) == pytest.approx(2.0 * factor)
    task = dataclasses.replace(TASK, optimizer=name, decay=decay, lr_schedule="constant", momentum=0.9)
    network = Trainer(tiny_data(2000), "agent").start(task).network
    assert run_facts(task, network).lr_sum == pytest.approx(TASK.steps * TASK.learning_rate * factor)
