"""A warm start from options to a policy file: the same however played or cut up, deployed as it was trained."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from lambda_rl import LearnedSchedule, load_policy
from lambda_rl.agents.options import DataOptions
from lambda_rl.agents.ppo.checkpoint_file import load_newest
from lambda_rl.agents.record.run_folder import RunFolder
from lambda_rl.agents.warm_start.actor import act_with
from lambda_rl.agents.warm_start.committee import CommitteeConfig
from lambda_rl.agents.warm_start.config import WarmStartConfig
from lambda_rl.agents.warm_start.curves import LOG_KAPPAS
from lambda_rl.agents.warm_start.episodes import Exploration
from lambda_rl.agents.warm_start.imitation import ImitationConfig
from lambda_rl.agents.warm_start.learner import Learner
from lambda_rl.agents.warm_start.players import Job, Player, Stage
from lambda_rl.agents.warm_start.reinforce import ReinforceConfig
from lambda_rl.agents.warm_start.run import train
from lambda_rl.control import ControlLaw
from lambda_rl.envs.data import load_train
from lambda_rl.envs.judging import ScheduleJob, run_schedules
from lambda_rl.envs.tasks.suites import load_suite
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.observation import KAPPA_FEATURES
from lambda_rl.schedules.guard import OPENING

TABLE = "table:clusters:8x3x2000:0"
BASE = {
    "network": "mlp", "data": TABLE, "width": 6, "resolution": 1, "train_size": 40, "val_size": 20, "steps": 24,
    "decisions": 4, "batch_size": 8, "initial_kappa": 1.0, "lr_told": "nominal",
}  # fmt: skip


def suite(folder: Path) -> str:
    drawn = {"kinds": ["clusters"], "inputs": [8, 16], "classes": [2, 3], "rows": 2000, "seeds": [10, 20]}
    made = {"bases": [BASE], "vary": {"data": {"tables": drawn}, "label_noise": {"choice": [0.0, 0.4]}}}
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(made))
    return str(path)


def config(folder: Path, **more: object) -> WarmStartConfig:
    options: dict[str, object] = {
        "name": "run", "out": str(folder), "suite": suite(folder), "validation_suite": suite(folder),
        "validation_tasks": 3, "rounds": 3, "tasks": 3, "eval_every": 2, "branch_after": 0.0, "hidden": (8,),
        "threads": 1, "exploration": Exploration(copies=2), "imitation": ImitationConfig(steps=4, batch_size=32),
        "committee": CommitteeConfig(members=2, hidden=(4,), steps=20),
        "reinforce": ReinforceConfig(rounds=2, tasks=2, copies=3, batch_size=8, n_epochs=1, anchor=1),
    }  # fmt: skip
    return WarmStartConfig(**{**options, **more})  # type: ignore[arg-type]


def player(folder: Path) -> Player:
    whole = config(folder)
    stage = Stage(
        load_suite(whole.suite).on("agent"), DataOptions(), TrainerConfig(), ControlLaw(-2.0, 2.2, 0.5),
        KAPPA_FEATURES, Exploration(copies=3),
    )  # fmt: skip
    return Player(stage)


def test_a_run_that_was_cut_up_is_the_one_that_was_not(tmp_path: Path) -> None:
    whole, parts = (config(tmp_path, name=name) for name in ("a", "b"))
    one = train(whole)
    train(parts, stop_after=1)
    train(parts, resume=True, stop_after=3)
    two = train(parts, resume=True)
    assert (
        load_policy(one / "policy.safetensors").fingerprint
        == load_policy(two / "policy.safetensors").fingerprint
    )
    rows = [(each / "metrics.csv").read_text().splitlines() for each in (one, two)]
    assert len(rows[0]) == 1 + 5
    assert rows[0][0] == rows[1][0]
    ours, theirs = ([[float(x or "nan") for x in line.split(",")] for line in each[1:]] for each in rows)
    for one_row, other in zip(ours, theirs, strict=True):
        del one_row[2], other[2]  # the clock
        assert one_row == pytest.approx(other, abs=2e-4, nan_ok=True)  # what is written is rounded
    with pytest.raises(ValueError, match="there is a run in this folder"):
        train(whole)
    with pytest.raises(ValueError, match="cannot go on: seed was 0, now 1"):
        train(dataclasses.replace(parts, seed=1), resume=True)
    card = load_policy(one / "policy.safetensors").card
    assert card.unit == "kappa"
    assert card.features == KAPPA_FEATURES
    assert {"regret", "tail", "regret_best_constant"} <= set(card.results["validation"])


def test_reinforcement_begins_with_the_committee(tmp_path: Path) -> None:
    whole = config(tmp_path)
    learner = Learner(whole, KAPPA_FEATURES)
    learner.learn([player(tmp_path).play(Job((0, i)), learner.sent) for i in range(3)])
    learner.promote()
    assert [layer.out_features for layer in learner.actor.linears()] == [8, 1]  # two members of 4 units
    taken = Learner(whole, KAPPA_FEATURES)
    taken.load_state_dict(learner.state_dict())
    assert taken.promoted
    seen = torch.randn(5, len(KAPPA_FEATURES), generator=torch.Generator().manual_seed(0))
    assert torch.equal(taken.actor(seen), learner.actor(seen))


def test_runs_together_make_one_committee(tmp_path: Path) -> None:
    """A run that plays nothing takes in what others have played; it may go on with reinforcement."""
    plain = ReinforceConfig()
    for seed in (0, 1):
        train(config(tmp_path, name=f"run-seed{seed}", seed=seed, rounds=1, reinforce=plain))
    names = ("run-seed0", "run-seed1")
    folder = train(config(tmp_path, name="both", rounds=0, reinforce=plain, together=names))
    states = {}
    for name in (*names, "both"):
        found = load_newest(RunFolder(tmp_path / name))
        assert found is not None
        states[name] = found[0]
    both = Learner(config(tmp_path), KAPPA_FEATURES)
    both.load_state_dict(states["both"])
    assert len(both.experience) == 6
    assert both.experience.states().task.unique().tolist() == list(range(6))
    assert both.moments.count == pytest.approx(sum(states[name]["moments"][2] for name in names))
    policies = {load_policy(tmp_path / name / "policy.safetensors").fingerprint for name in states}
    assert len(policies) == 3
    assert load_policy(folder / "policy.safetensors").card.results["validation"]["after_rounds"] == 0
    with pytest.raises(ValueError, match="nobody: there is no checkpoint to go on from"):
        train(config(tmp_path, name="x", rounds=0, together=("nobody",)))
    with pytest.raises(ValueError, match="--rounds"):
        train(config(tmp_path, name="y", rounds=0))


def test_bad_options_are_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--branch"):
        train(config(tmp_path, branch=1.5))
    assert not (tmp_path / "run").exists()


def test_constants_are_held_and_copies_share_the_numbers_of_their_task(tmp_path: Path) -> None:
    here = player(tmp_path)
    arrays = Learner(config(tmp_path), KAPPA_FEATURES).sent
    one, two = here.play(Job((0, 1)), arrays), here.play(Job((0, 1)), arrays)
    assert np.array_equal(one.accuracy, two.accuracy)
    assert one.observations.shape == (4, len(LOG_KAPPAS) + 3, len(KAPPA_FEATURES))
    assert one.log_kappa[1:, : len(LOG_KAPPAS)] == pytest.approx(np.tile(LOG_KAPPAS, (3, 1)), abs=1e-9)
    own = slice(len(LOG_KAPPAS), None)
    follower = act_with(arrays, one.observations[0, own])
    assert one.actions[0, own][0] == pytest.approx(follower[0])
    assert abs(one.actions[0, own][1] - follower[1]) > 1e-3
    branched = here.play(Job((0, 1), branch=1.0), arrays)
    first = branched.hold_from
    assert 1 <= first < 4
    held = branched.log_kappa[: first + 1, : len(LOG_KAPPAS)]
    assert np.ptp(held, axis=1) == pytest.approx(np.zeros(first + 1), abs=1e-9)  # all on the actor's way


def test_the_policy_file_does_what_its_actor_did(tmp_path: Path) -> None:
    """The κ that the actor's run had is that of the deployed schedule on the same task."""
    whole = config(tmp_path, reinforce=ReinforceConfig(), rounds=2)
    policy = load_policy(train(whole) / "policy.safetensors")
    task = load_suite(whole.suite).sample(np.random.default_rng(3))
    arrays = {"mean": policy.obs_mean, "var": policy.obs_var}
    for i, (weight, bias) in enumerate(policy.layers):
        arrays |= {f"layers.{i}.weight": weight.astype(float), f"layers.{i}.bias": bias.astype(float)}
    played = player(tmp_path).play(Job((0, 0), task, (), 1), arrays)

    def make(**given: object) -> LearnedSchedule:
        given.pop("initial_lam")
        return LearnedSchedule(policy=policy, **given)  # type: ignore[arg-type]

    job = ScheduleJob(task, "learned", make)
    (result,) = run_schedules([job], load_train("synthetic"), "agent")
    log_kappa = np.array(result.history["log_lam"]) + np.log10(schedule_sum(task))
    assert log_kappa[OPENING:-1] == pytest.approx(played.log_kappa[OPENING + 1 :, 0], abs=1e-4)
    assert log_kappa[:OPENING] == pytest.approx(
        np.log10([0.05, 0.03])
    )  # the guard's; the policy goes on without it
    assert result.outer_accuracy == pytest.approx(played.accuracy[0])


def schedule_sum(task: object) -> float:
    """What λ is multiplied by to give κ."""
    return float(task.learning_rate * task.steps / (1 - task.momentum))  # type: ignore[attr-defined]
