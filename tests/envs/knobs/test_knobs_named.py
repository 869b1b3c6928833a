"""Environments that turn knobs beside λ: Gymnasium's checkers, the way into a user's loop, and what is refused."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_sb3
from tiny_envs import BASE, tiny_data
from torch import nn
from whole_way import FACTS, compared, deployed, loaded, suite_file, trained_and_exported

from lambda_rl import Knob, LearnedSchedule, split_parameters
from lambda_rl.attach.layers import inverse_frobenius
from lambda_rl.attach.model_knobs import Dropout, adversarial
from lambda_rl.envs.env import CifarLambdaEnv
from lambda_rl.envs.tasks.suites import Suite, TaskSpace
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv
from lambda_rl.knobs import KNOBS, kind_of
from lambda_rl.schedules.open_loop import Constant

ALL = ("l2", "dropout", "label_smoothing", "augmentation", "alpha", "layer.1", "layer.2")


def suite(**changes: object) -> Suite:
    task = dataclasses.replace(BASE, **{"augment": True, **changes})  # type: ignore[arg-type]
    return Suite("tiny", "agent", TaskSpace(bases=(task,), vary={}))


def made(knobs: tuple[str | Knob, ...], **changes: object) -> CifarLambdaEnv:
    return CifarLambdaEnv(suite=suite(**changes), data=tiny_data(), knobs=knobs)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("knobs", "penalty"), [(ALL, "l2"), (("l1",), "l1"), (("l0.5", "dropout"), "l0.5")])
def test_both_checkers_pass_with_every_knob(knobs: tuple[str, ...], penalty: str) -> None:
    env = made(knobs, penalty=penalty)
    assert env.action_space.shape == (len(knobs),)
    assert env.observation_space.shape is not None
    check_env(env, skip_render_check=True)
    check_env_sb3(env)


def test_every_knob_moves_within_its_range_and_the_vector_environment_does_the_same() -> None:
    one = made(ALL)
    many = CifarLambdaVectorEnv(2, suite=suite(), data=tiny_data(), knobs=ALL)
    assert isinstance(many, gym.vector.VectorEnv)
    obs, _ = one.reset(seed=3)
    rows, _ = many.reset(seed=[3, 4])
    assert np.array_equal(obs, rows[0])
    rng = np.random.default_rng(0)
    for _ in range(BASE.decisions):
        action = rng.uniform(-1, 1, (2, len(ALL))).astype(np.float32)
        obs, reward, *_ = one.step(action[0])
        rows, rewards, *_ = many.step(action)
        assert np.allclose(reward, rewards[0])


@pytest.mark.parametrize(
    ("knobs", "changes", "message"),
    [
        (("dropuot",), {}, "unknown knob 'dropuot'; allowed: dropout, .*did you mean"),
        (("l1", "dropout"), {}, "knob l1: task .* has the penalty l2"),
        (("dropout", "dropout"), {}, "knob dropout is named twice"),
        (("dropout",), {"network_options": (("depth", 1),)}, "the network .* has no dropout layer"),
        (("layer.3",), {}, "knob layer.3: the network .* has 2 layers with weights: fc1.weight, fc2.weight"),
        (("layer",), {}, "knob layer is a vector; name its entries: layer.1"),
        (("layer.0",), {}, "entries of layer are layer.1"),
        ((Knob("dropout", 0.0, 1.5, 0.1),), {}, "its range, 0 to 1.5, is beyond what it can be, 0 to 0.95"),
        ((Knob("alpha", -1.0, 1.0, 0.1),), {}, "knob alpha: its range, -1 to 1, is beyond"),
    ],
)  # fmt: skip
def test_what_cannot_be_turned_is_refused_early(
    knobs: tuple[str | Knob, ...], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        made(knobs, **changes)
    assert "\n" not in str(error.value)


def test_augmentation_wants_tasks_that_augment() -> None:
    with pytest.raises(ValueError, match="does not augment its images; give it augment: true"):
        made(("augmentation",), augment=False)


def test_a_schedule_that_is_judged_turns_knobs_that_the_task_must_have() -> None:
    from lambda_rl.envs.judging import ScheduleJob, run_schedules

    class Both(Constant):
        knobs = {"dropout": 0.3}  # type: ignore[assignment]  # noqa: RUF012 - a schedule that holds it

    def run(task: Task) -> float:
        job = ScheduleJob(task, "both", lambda **_: Both(0.01))
        return run_schedules([job], tiny_data(), "agent")[0].outer_loss

    without = run_schedules([ScheduleJob(BASE, "one", lambda **_: Constant(0.01))], tiny_data(), "agent")
    assert run(BASE) != without[0].outer_loss
    with pytest.raises(ValueError, match="has no dropout layer"):
        run(dataclasses.replace(BASE, network_options=(("depth", 1),)))


# ---- in a user's loop


class Net(nn.Sequential):
    def __init__(self, drop: nn.Module) -> None:
        super().__init__(nn.Linear(6, 8), nn.ReLU(), drop, nn.Linear(8, 2))


@pytest.mark.filterwarnings("ignore")
def test_a_policy_of_several_knobs_goes_the_whole_way(tmp_path: Path) -> None:
    names = ("l2", "dropout", "label_smoothing", "layer.2")
    tasks = suite_file(tmp_path)
    path = trained_and_exported(tmp_path, tasks, knobs=names)
    policy = loaded(path)
    assert [knob.name for knob in policy.card.knobs] == ["lam", *names[1:]]

    model = Net(Dropout())
    optimizer = torch.optim.SGD(split_parameters(model, 0.01, per_layer=True), lr=0.1)
    schedule = deployed(policy, optimizer, facts=FACTS, model=model)
    for progress in (0.4, 0.7):
        schedule.step(progress=progress, train_loss=0.6, val_loss=0.7, train_accuracy=0.6, val_accuracy=0.5)
        assert model[2].p.item() == pytest.approx(schedule.knob("dropout"))
        assert 0.0 <= schedule.knob("label_smoothing") <= 0.4
        first, second, rest = (group["weight_decay"] for group in optimizer.param_groups)
        assert first == schedule.value
        assert second == pytest.approx(schedule.value * schedule.knob("layer.2"))
        assert rest == 0.0
    assert schedule.groups is not None
    halves = [float(p.detach().square().sum()) / 2 for p in (model[0].weight, model[3].weight)]
    assert schedule.groups.norms()[1] == pytest.approx(halves[0] + schedule.knob("layer.2") * halves[1])
    with pytest.raises(ValueError, match="moves no knob 'alpha'; beside λ it moves dropout, label_smoothing"):
        schedule.knob("alpha")

    again = Net(Dropout())
    fresh = torch.optim.SGD(split_parameters(again, 0.01, per_layer=True), lr=0.1)
    resumed = deployed(policy, fresh, facts=FACTS, model=again)
    resumed.load_state_dict(schedule.state_dict())
    assert again[2].p.item() == model[2].p.item()

    compared(tmp_path, tasks, path)
    refused(policy, Net(nn.Identity()), "Net has no dropout module", per_layer=True)
    refused(policy, Net(Dropout()), "knob layer.2: 0 parameter groups say which layer", per_layer=False)


def refused(policy: object, model: nn.Module, message: str, *, per_layer: bool) -> None:
    optimizer = torch.optim.SGD(split_parameters(model, 0.01, per_layer=per_layer), lr=0.1)
    with pytest.raises(ValueError, match=message):
        LearnedSchedule(
            optimizer,
            policy=policy,
            facts=FACTS,
            total_steps=9,
            model=model,
            lam_meaning="coupled",  # type: ignore[arg-type]
        )


def test_dropout_of_a_compiled_network_is_data() -> None:
    drop = Dropout(0.5)
    x = torch.ones(20_000)
    kept = drop(x)
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert float(kept.mean()) == pytest.approx(1.0, abs=0.05)
    KNOBS["dropout"].turn(drop, 0.0)
    assert torch.equal(drop(x), x)
    KNOBS["dropout"].turn(nn.Sequential(plain := nn.Dropout(0.1)), 0.25)
    assert plain.p == 0.25
    assert torch.equal(Dropout(0.5).eval()(x), x)
    with pytest.raises(ValueError, match="p must be a number from 0 to"):
        Dropout(1.0)


def test_adversarial_examples_are_those_of_the_sign_of_the_slope() -> None:
    model = nn.Linear(3, 2)
    x, y = torch.tensor([[0.5, 0.0, 1.0]]), torch.tensor([1])
    found = adversarial(model, nn.functional.cross_entropy, x, y, radius=0.1)
    slope = (model.weight[0] - model.weight[1]).sign().detach()
    assert torch.allclose(found, (x + 0.1 * slope).clamp(0, 1))
    assert model.weight.grad is None
    assert not found.requires_grad


def test_layers_have_groups_and_weights_of_their_own() -> None:
    model = Net(nn.Identity())
    one, two, rest = split_parameters(model, 0.1, per_layer=True, layer_weights=[1.0, 4.0])
    assert (one["layer"], one["weight_decay"], two["layer"], two["weight_decay"]) == (1, 0.1, 2, 0.4)
    assert len(rest["params"]) == 2
    schedule = Constant(0.01, torch.optim.SGD([one, two, rest], lr=0.1))
    assert schedule.groups is not None
    assert (one["weight_decay"], two["weight_decay"]) == pytest.approx((0.01, 0.04))
    factors = inverse_frobenius([model[0].weight, model[3].weight])
    norms = [float(w.detach().norm()) for w in (model[0].weight, model[3].weight)]
    assert factors[0] * norms[0] == pytest.approx(factors[1] * norms[1])
    assert sum(f * n * n for f, n in zip(factors, norms, strict=True)) == pytest.approx(
        sum(n * n for n in norms)
    )
    made = split_parameters(model, 0.1, per_layer=True, layer_weights="inverse-frobenius")
    assert [group["wd_mult"] for group in made[:2]] == pytest.approx(factors)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_weights": [1.0]}, "layer_weights need per_layer=True"),
        (
            {"per_layer": True, "layer_weights": [1.0]},
            "1 numbers for 2 layers with weights: 0.weight, 3.weight",
        ),
        ({"per_layer": True, "layer_weights": [1.0, -1.0]}, "each of layer_weights"),
        ({"per_layer": True, "layer_weights": "frobenius"}, "one number a layer or 'inverse-frobenius'"),
    ],
)
def test_weights_of_layers_that_do_not_fit_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_parameters(Net(nn.Identity()), 0.1, **options)  # type: ignore[arg-type]


def test_a_network_without_weights_has_no_layers() -> None:
    with pytest.raises(ValueError, match="the model has no layer with weights"):
        split_parameters(nn.LayerNorm(4), 0.1, per_layer=True)
    dead = nn.Linear(2, 2)
    nn.init.zeros_(dead.weight)
    with pytest.raises(ValueError, match="the weights of layer 1 are all 0"):
        split_parameters(dead, 0.1, per_layer=True, layer_weights="inverse-frobenius")


def test_linear_knobs_are_moved_by_their_value_and_others_by_its_logarithm() -> None:
    assert kind_of("dropout").value(0.3) == kind_of("dropout").level(0.3) == 0.3
    assert kind_of("layer.2").level(10.0) == pytest.approx(1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kind_of("alpha").value(np.array([0.0, 1.0])).tolist() == [0.0, 1.0]
