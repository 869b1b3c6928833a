"""Training from the command line: presets, interruption and going on."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import metrics, same_policy, tiny_config

from lambda_rl.agents.command_line.main import main
from lambda_rl.agents.ppo.between_rollouts import BetweenRollouts
from lambda_rl.agents.ppo.config import TrainConfig
from lambda_rl.agents.ppo.config_file import load_config
from lambda_rl.agents.ppo.run import train


def called(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """What the command comes to: its exit code."""
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/lambda-rl", *arguments])
    try:
        return main()
    except SystemExit as end:
        return int(end.code or 0)


def options(config: TrainConfig, *more: str) -> list[str]:
    ppo = config.ppo
    return [
        "train", "--name", config.name, "--out", config.out, "--suite", config.suite, "--wandb", "disabled",
        "--threads", "1", "--total-decisions", str(config.total_decisions), "--eval-every", str(config.eval_every),
        "--eval-seeds", str(config.eval_seeds), "--ppo.n-envs", str(ppo.n_envs), "--ppo.n-steps", str(ppo.n_steps),
        "--ppo.batch-size", str(ppo.batch_size), "--ppo.n-epochs", str(ppo.n_epochs), *more,
    ]  # fmt: skip


def test_an_interrupted_training_says_how_to_go_on_and_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C in the third rollout: 2 of 4 are kept, and the line that is printed ends where a whole run does."""
    whole = train(tiny_config(tmp_path, "whole"), show_progress=False)
    config = tiny_config(tmp_path, "a λ")
    rollouts: list[int] = []
    real = BetweenRollouts._on_rollout_start

    def start(self: Any) -> None:
        real(self)
        rollouts.append(1)
        if len(rollouts) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(BetweenRollouts, "_on_rollout_start", start)
        assert called(monkeypatch, *options(config)) == 130
    err = capsys.readouterr().err
    assert err.startswith("interrupted: after 48 of 96 decisions; to go on: lambda-rl train --resume ")
    again = shlex.split(err.partition("to go on: lambda-rl ")[2])
    assert again == ["train", "--resume", str(config.folder)]
    assert called(monkeypatch, *again) == 0
    assert f"policy: {config.folder}/policy.safetensors" in capsys.readouterr().out
    assert same_policy(whole, config.folder)
    assert metrics(whole) == metrics(config.folder)
    first, second = (config.folder / "command.txt").read_text().splitlines()
    assert first.startswith("lambda-rl train --name 'a λ' --out runs --suite tiny.yaml --wandb disabled")
    assert second.startswith("lambda-rl train --resume ")


def test_interrupted_before_anything_was_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lambda_rl.agents.command_line.training.train", stopped)
    assert called(monkeypatch, "train") == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("module", "work", "told"),
    [
        ("foreign.command", "run_generality", "kept in docs/results/foreign; the same command goes on"),
        ("reproduction.lu2017.command", "run_reproduction", "kept in x; the same command goes on"),
        (
            "command_line.any_loop",
            "train",
            "the same command with --name NAME (its folder in runs) and --resume goes on",
        ),
    ],
)
def test_other_commands_that_can_go_on_say_so(
    module: str, work: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"lambda_rl.agents.{module}.{work}", stopped)
    command = {"run_generality": ["generality"], "run_reproduction": ["reproduce", "--out", "x"]}
    assert called(monkeypatch, *command.get(work, ["train-any-loop"])) == 130
    err = capsys.readouterr().err
    assert err.startswith("interrupted: ")
    assert err.endswith(f"{told}\n")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["quick"], "unknown option quick; did you mean --preset quick?"),
        (["--preset", "cifar-mpl"], "did you mean 'cifar-mlp'?"),
        (["--preset"], "missing value for argument '--preset'"),
        (["--resume", "nowhere"], "nowhere/config.yaml: no such file"),
        (["--suite", "quik"], "did you mean 'quick'?"),
        (["--ppo.hidden=[]"], "ppo.hidden must name at least one layer"),
    ],
)
def test_what_is_wrong_is_one_line(
    given: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert called(monkeypatch, "train", *given) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert told in err
    assert not list(tmp_path.iterdir())


def test_a_preset_is_the_default_of_the_other_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[TrainConfig] = []

    def noted(config: TrainConfig, **_: object) -> Path:
        asked.append(config)
        return config.folder

    monkeypatch.setattr("lambda_rl.agents.command_line.training.train", noted)
    monkeypatch.chdir(tmp_path)
    given = ["--preset=cifar-mlp", "--compile=False", "--data", "synthetic", "--wandb-tags=['a', 'b']"]
    assert called(monkeypatch, "train", *given) == 0
    (config,) = asked
    assert (config.suite, config.compile, config.ppo.n_envs) == ("cifar-mlp", False, 32)
    assert (config.data, config.wandb_tags) == ("synthetic", ("a", "b"))
    assert config.name.startswith("cifar-mlp-seed0-20")


def test_the_policy_of_a_stopped_run_can_be_exported(
    half: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "policy.safetensors"
    assert called(monkeypatch, "export", str(half), "--out", str(out)) == 0
    assert capsys.readouterr().out == f"policy: {out}\n"
    assert out.is_file()
    assert load_config(half / "config.yaml").name == "run"
