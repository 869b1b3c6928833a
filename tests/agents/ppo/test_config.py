from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from lambda_rl.agents.ppo.config import PPOConfig, TrainConfig
from lambda_rl.agents.ppo.config_file import (
    check_resumable,
    differences,
    from_dict,
    load_config,
    save_config,
    to_dict,
)
from lambda_rl.agents.ppo.presets import PRESETS, preset
from lambda_rl.control import ControlLaw
from lambda_rl.envs.tasks.suites import load_suite


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_yaml(name: str, tmp_path: Path) -> None:
    config = dataclasses.replace(PRESETS[name], control=ControlLaw(-4.0, 0.0, 0.25))
    save_config(tmp_path / "config.yaml", config)
    assert load_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize("name", PRESETS)
def test_presets_name_what_exists(name: str) -> None:
    config = PRESETS[name].resolved("x")
    assert config.preset == name
    assert load_suite(config.suite).fold == "agent"
    validation = load_suite(config.validation_suite)
    assert validation.fold == "agent"
    assert validation.tasks


def test_resolved_leaves_nothing_open() -> None:
    config = TrainConfig(total_decisions=2000, threads=0, device="auto").resolved("given")
    assert config.name == "given"
    assert config.total_decisions == 2 * 1920
    assert config.num_rollouts == 2
    assert config.threads >= 1
    assert config.device in ("cpu", "cuda")
    assert config.validation_suite == "quick-validation"
    assert config.resolved("other") == config


def test_suite_file_validates_on_itself() -> None:
    assert TrainConfig(suite="mine.yaml").resolved("x").validation_suite == "mine.yaml"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"total_decisions": 0}, "total_decisions must be a whole number from 1 to"),
        ({"seed": -1}, "seed must be"),
        ({"precision": "fp8"}, "precision must be one of auto, fp32"),
        ({"name": "a/b"}, "plain folder name"),
        ({"data": ""}, "data must not be empty"),
    ],
)
def test_bad_options(change: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        dataclasses.replace(TrainConfig(), **change)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"batch_size": 7}, "must divide a rollout of n_envs x n_steps = 16 x 120 = 1920"),
        ({"hidden": ()}, "ppo.hidden"),
        ({"gamma": 1.5}, "ppo.gamma"),
        ({"learning_rate": float("nan")}, "ppo.learning_rate"),
        ({"n_envs": 0}, "ppo.n_envs"),
    ],
)
def test_bad_ppo_options(change: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        PPOConfig(**change)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"learning_rate": 1}, "config.yaml: unknown option learning_rate$"),
        ({"ppo": {"lr": 1}}, "config.yaml: unknown option ppo.lr$"),
        ({"seed": "three"}, "seed must be a valid integer, got 'three'"),
        ({"seed": True}, "seed must be a valid integer, got True"),
        ({"ppo": {"hidden": 64}}, "ppo.hidden must be a valid array, got 64"),
        ({"wandb": "maybe"}, "wandb must be 'online', 'offline' or 'disabled', got 'maybe'"),
        ({"control": {"log_lam_min": 1.0, "log_lam_max": 0.0}}, "λ range reversed"),
    ],
)
def test_bad_mappings(change: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        from_dict({**to_dict(TrainConfig()), **change}, "config.yaml")


def test_broken_yaml_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("a: [1, 2")
    with pytest.raises(ValueError, match=r"config\.yaml: not a YAML file"):
        load_config(path)
    with pytest.raises(FileNotFoundError, match="run folder"):
        load_config(tmp_path / "none.yaml")


def test_unknown_preset_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"unknown preset 'slow'; allowed are quick, demo, cifar-mlp"):
        preset("slow")


def test_differences_by_dotted_name() -> None:
    one = TrainConfig()
    other = dataclasses.replace(one, seed=3, ppo=PPOConfig(gamma=0.9))
    assert differences(one, other) == {"seed": (0, 3), "ppo.gamma": (1.0, 0.9)}
    assert differences(one, one) == {}


def test_resume_check_names_options_and_both_values() -> None:
    saved = TrainConfig()
    fine = dataclasses.replace(saved, threads=7, wandb="disabled", checkpoint_every=3, out="elsewhere")
    check_resumable(saved, fine, Path("runs/x"))
    with pytest.raises(
        ValueError, match=r"runs/x.*another configuration: seed was 0, now 3; ppo.gamma was 1.0, now 0.9"
    ):
        check_resumable(saved, dataclasses.replace(fine, seed=3, ppo=PPOConfig(gamma=0.9)), Path("runs/x"))


def test_no_gpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no GPU"):
        TrainConfig(device="cuda").resolved("x")


@pytest.mark.parametrize(
    "line",
    [
        b"suite: " + b"[" * 3000 + b"]" * 3000,
        b"seed: " + b"9" * 5000,
        b"ppo: {learning_rate: " + b"9" * 400 + b"}",
        b"suite: \xff",
        b"name: 2020-99-99",
        b"ppo: {n_envs: [",
        b"ppo: &p {hidden: [*p]}",
        b"ppo: {? [1, 2] : 3}",
        b"- 1",
    ],
)
def test_a_damaged_configuration_is_one_error_that_names_the_file(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "config.yaml").write_bytes(line + b"\n")
    with pytest.raises(ValueError, match=r"config\.yaml: ") as told:
        load_config(tmp_path / "config.yaml")
    assert len(str(told.value)) < 500


@pytest.mark.parametrize("name", ["new\nline", "esc\033[31m", "bell\a", "right\u202eleft"])
def test_names_that_a_terminal_would_obey_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name must be printable") as told:
        TrainConfig(name=name)
    assert str(told.value).isprintable()
