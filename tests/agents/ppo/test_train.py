from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from rich.console import Console
from tiny_runs import PPO, metrics, policy_arrays, same_policy, tiny_config

import lambda_rl.envs.data.sets as data_module
from lambda_rl.agents.ppo.between_rollouts import ProgressBar
from lambda_rl.agents.ppo.checkpoint import Learner, Progress
from lambda_rl.agents.ppo.checkpoint_file import load_checkpoint
from lambda_rl.agents.ppo.config import TrainConfig
from lambda_rl.agents.ppo.config_file import load_config
from lambda_rl.agents.ppo.export import CONSTANT_VARIANCE, actor_arrays, export_policy, make_card, make_policy
from lambda_rl.agents.ppo.run import _build, train
from lambda_rl.agents.ppo.validation import Validator
from lambda_rl.agents.presenting import script as cli
from lambda_rl.agents.record.run_folder import RunFolder
from lambda_rl.envs.data import load_train
from lambda_rl.envs.tasks.suites import load_suite
from lambda_rl.observation import FEATURES
from lambda_rl.policy.file import load_policy


def quiet(config: TrainConfig, **options: Any) -> Path:
    return train(config, show_progress=False, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 4 rollouts."""
    config = tiny_config(tmp_path_factory.mktemp("finished"), "one")
    return quiet(config, command="python scripts/train_agent.py --name one")


def test_run_folder_has_everything(finished: Path) -> None:
    config = load_config(finished / "config.yaml")
    assert config.name == "one"
    assert config.validation_suite == config.suite
    assert (finished / "command.txt").read_text() == "python scripts/train_agent.py --name one\n"
    assert sorted(p.name for p in finished.iterdir()) == [
        "checkpoints", "command.txt", "config.yaml", "metrics.csv", "policy.safetensors",
    ]  # fmt: skip
    assert sorted(p.name for p in (finished / "checkpoints").iterdir()) == ["latest.pt", "previous.pt"]


def test_learning_curve(finished: Path) -> None:
    rows = metrics(finished)
    assert [int(row["decisions"]) for row in rows] == [24, 48, 72, 96]
    rates = [float(row["train/learning_rate"]) for row in rows]
    np.testing.assert_allclose(rates, [1e-3, 0.75e-3, 0.5e-3, 0.25e-3])
    scores = [row["validation/score"] for row in rows]
    assert [bool(score) for score in scores] == [False, True, False, True]
    assert float(rows[3]["validation/best_score"]) == max(float(scores[1]), float(scores[3]))
    assert all(np.isfinite(float(row["rollout/return_mean"])) for row in rows)


def test_policy_card(finished: Path) -> None:
    card = load_policy(finished / "policy.safetensors").card
    assert card.features == FEATURES.names()
    assert (card.lam_meaning, card.penalty, card.decisions) == ("coupled", "l2", 3)
    assert (card.log_lam_min, card.log_lam_max, card.max_change) == (-5.0, 0.5, 0.5)
    assert card.suite == "tiny"
    assert card.data.startswith("synthetic (")
    assert card.command == "python scripts/train_agent.py --name one"
    validation = card.results["validation"]
    assert validation["after_decisions"] in (48, 96)
    assert validation["runs"] == 2
    assert validation["score"] == max(
        float(row["validation/score"]) for row in metrics(finished) if row["validation/score"]
    )


def test_same_seed_same_policy(finished: Path, tmp_path: Path) -> None:
    again = quiet(tiny_config(tmp_path, "again"))
    assert same_policy(finished, again)
    assert metrics(finished) == metrics(again)
    other = quiet(tiny_config(tmp_path, "other", seed=1))
    assert not same_policy(finished, other)


def test_test_images_are_never_loaded(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the test part is read, not even its labels: so nothing of it can matter."""
    asked: list[str] = []
    real = data_module._load

    def watched(spec: str, part: str, *rest: Any, **more: Any) -> Any:
        asked.append(part)
        return real(spec, part, *rest, **more)

    monkeypatch.setattr(data_module, "_load", watched)
    run = quiet(tiny_config(tmp_path, "watched"))
    assert set(asked) == {"train"}
    assert same_policy(finished, run)


def test_best_policy_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Validator.__call__
    seen: list[Any] = []

    def falling(self: Validator, policy: Any) -> Any:
        seen.append(policy)
        return dataclasses.replace(real(self, policy), score=-float(len(seen)))

    monkeypatch.setattr(Validator, "__call__", falling)
    run = quiet(tiny_config(tmp_path, "falling"))
    assert len(seen) == 2
    kept = load_policy(run / "policy.safetensors")
    assert kept.fingerprint == seen[0].fingerprint != seen[1].fingerprint
    assert kept.card.results["validation"]["after_decisions"] == 48
    last = load_policy(export_policy(run, tmp_path / "last.safetensors", last=True))
    assert last.fingerprint == seen[1].fingerprint


def test_export_from_checkpoint_is_the_same(finished: Path, tmp_path: Path) -> None:
    exported = export_policy(finished, tmp_path / "copy.safetensors")
    assert exported.read_bytes() == (finished / "policy.safetensors").read_bytes()
    again = export_policy(RunFolder(finished).latest, tmp_path / "again.safetensors")
    assert again.read_bytes() == exported.read_bytes()
    with pytest.raises(FileNotFoundError, match="nothing to export"):
        export_policy(tmp_path)


def test_without_validation_the_last_policy_is_exported(tmp_path: Path) -> None:
    run = quiet(tiny_config(tmp_path, "blind", rollouts=1, eval_every=0))
    card = load_policy(run / "policy.safetensors").card
    assert card.results == {"validation": {"after_decisions": 24}}


def test_policy_acts_as_sb3_does(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "x").resolved("x")
    data = load_train("synthetic")
    learner = _build(config, load_suite(config.suite).on("agent"), data)
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.1, 2.0, len(FEATURES))
    learner.normalize.obs_rms.mean = rng.normal(size=len(FEATURES))
    learner.normalize.obs_rms.var = scale**2
    with torch.no_grad():
        for parameter in learner.model.policy.parameters():
            parameter.copy_(torch.from_numpy(rng.normal(0, 0.3, parameter.shape)))
    origin = load_checkpoint_origin(config, data)
    policy = make_policy(arrays_of(learner), config.ppo.clip_obs, make_card(origin))
    obs = rng.uniform(-5, 5, (200, len(FEATURES))).astype(np.float32)
    expected, _ = learner.model.predict(learner.normalize.normalize_obs(obs), deterministic=True)
    np.testing.assert_allclose(policy.act(obs), expected, atol=1e-5)
    learner.normalize.close()


def test_features_that_never_varied_are_disconnected(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "x").resolved("x")
    learner = _build(config, load_suite(config.suite).on("agent"), load_train("synthetic"))
    learner.normalize.obs_rms.var = np.ones(len(FEATURES))
    learner.normalize.obs_rms.var[3] = CONSTANT_VARIANCE / 10
    arrays = arrays_of(learner)
    assert (arrays["layers.0.weight"][:, 3] == 0).all()
    assert (np.delete(arrays["layers.0.weight"], 3, 1) != 0).any(0).all()
    assert (learner.model.policy.mlp_extractor.policy_net[0].weight[:, 3] != 0).any(), (
        "training must not notice"
    )
    learner.normalize.close()


def arrays_of(learner: Learner) -> dict[str, np.ndarray]:
    moments = learner.normalize.obs_rms
    return actor_arrays(learner.model.policy.state_dict(), moments.mean, moments.var)


def load_checkpoint_origin(config: TrainConfig, data: Any) -> Any:
    from lambda_rl.agents.ppo.checkpoint import Origin

    return Origin(config, data.name, data.fingerprint, "", "unknown")


def test_seeds_share_no_tasks(tmp_path: Path) -> None:
    """SB3 numbers slots upward from the seed: with plain seeds, run 1's slot 0 would be run 0's slot 1."""
    seen = []
    for seed in (0, 1):
        config = tiny_config(tmp_path, "x", seed=seed).resolved("x")
        learner = _build(config, load_suite(config.suite).on("agent"), load_train("synthetic"))
        learner.normalize.reset()
        runs = learner.env._core.runs
        seen.append({run.task.seed for run in runs})
        assert len(seen[-1]) == PPO.n_envs
        learner.normalize.close()
    assert not seen[0] & seen[1]


def test_an_existing_run_is_not_overwritten_by_chance(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "mine", rollouts=1)
    run = quiet(config)
    before = policy_arrays(run)
    with pytest.raises(ValueError, match=r"--resume .*--name.*--overwrite"):
        quiet(dataclasses.replace(config, seed=5))
    assert load_config(run / "config.yaml").seed == 0
    quiet(dataclasses.replace(config, seed=5), overwrite=True)
    assert load_config(run / "config.yaml").seed == 5
    assert not np.array_equal(before["layers.0.weight"], policy_arrays(run)["layers.0.weight"])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"suite": "no-such-suite"}, "no-such-suite"),
        ({"validation_suite": "quick"}, "needs a list of tasks"),
        ({"device": "tpu"}, "tpu"),
        ({"data": "folder:/no/such/folder"}, "/no/such/folder"),
        ({"data": "cifar11"}, "cifar11"),
    ],
)
def test_what_is_wrong_is_told_before_a_folder_is_made(tmp_path: Path, changes: dict, told: str) -> None:
    config = tiny_config(tmp_path, "wrong", **changes)
    with pytest.raises((ValueError, FileNotFoundError), match=told):
        quiet(config)
    assert not config.folder.exists()


def test_config_file_is_plain_yaml(finished: Path) -> None:
    content = yaml.safe_load((finished / "config.yaml").read_text())
    assert content["ppo"]["hidden"] == [64, 64]
    assert content["total_decisions"] == 96
    assert content["device"] == "cpu"


def test_checkpoint_can_be_read_without_executing_anything(finished: Path) -> None:
    state = load_checkpoint(RunFolder(finished).latest)
    assert state["model"]["num_timesteps"] == 96
    assert state["origin"]["data_fingerprint"]


def test_progress_off_a_terminal_is_one_line_a_score(tmp_path: Path) -> None:
    out = io.StringIO()
    progress = Progress()
    bar = ProgressBar(96, progress, Console(file=out, force_terminal=False, width=40))

    class Model:
        num_timesteps = 0
        ep_info_buffer = [{"r": 1.5, "l": 3}]  # noqa: RUF012

    bar.model = Model()  # type: ignore[assignment]
    bar._on_training_start()
    Model.num_timesteps = 48
    bar._on_rollout_start()
    assert out.getvalue() == ""
    progress.last_score = progress.best_score = 0.25
    bar._on_rollout_start()
    bar._on_training_end()
    lines = out.getvalue().splitlines()
    assert len(lines) == 1
    assert "48 of 96 decisions" in lines[0]
    assert "left, return +1.500, validation score +0.2500 (best +0.2500)" in lines[0]


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (ValueError("too\n many"), 2, "error: too many\n"),
        (FileNotFoundError("x: gone"), 2, "error: x: gone\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_scripts_tell_errors_in_one_line(
    error: BaseException, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as exit_:
        cli.run_script(main)
    assert exit_.value.code == code
    assert capsys.readouterr().err == told
