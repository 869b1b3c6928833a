"""The policies that ship with the package, by name and from the command."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from tiny_policies import CARD, FACTS, content, make_policy

import lambda_rl
from lambda_rl import LearnedSchedule, PolicyFileError, parse_schedule, save_policy
from lambda_rl.cli import main
from lambda_rl.policy.file import DEFAULT_POLICY, policy_path


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped policies with two in it."""
    folder = tmp_path / "policies"
    folder.mkdir()
    card = dataclasses.replace(CARD, decisions=15)
    for seed, name in enumerate((DEFAULT_POLICY, "another")):
        save_policy(folder / f"{name}.safetensors", make_policy(seed, card=card))
    monkeypatch.setattr("lambda_rl.policy.file._shipped_folder", lambda: folder)
    return folder


def test_shipped_policies_by_name(shipped: Path) -> None:
    assert lambda_rl.shipped_policies() == [DEFAULT_POLICY, "another"]
    assert lambda_rl.load_policy().fingerprint == make_policy(0).fingerprint
    assert lambda_rl.load_policy("another").fingerprint == make_policy(1).fingerprint
    assert lambda_rl.load_policy(shipped / "another.safetensors").fingerprint == make_policy(1).fingerprint
    with pytest.raises(PolicyFileError, match="nor a shipped policy; shipped: any-loop, another"):
        lambda_rl.load_policy("cifar")
    default = LearnedSchedule(facts=FACTS, weight_norm=3.0)
    assert default.policy.fingerprint == make_policy(0).fingerprint
    for spec in ("learned", f"learned:{DEFAULT_POLICY}", f"learned:{shipped / DEFAULT_POLICY}.safetensors"):
        assert parse_schedule(spec)(facts=FACTS, weight_norm=3.0, total_steps=10).value == default.value


def test_none_is_shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("lambda_rl.policy.file._shipped_folder", lambda: tmp_path / "none")
    assert lambda_rl.shipped_policies() == []
    with pytest.raises(PolicyFileError, match="no policy is shipped"):
        lambda_rl.load_policy()


def test_the_default_moves_kappa_and_those_of_before_are_there_by_name() -> None:
    assert lambda_rl.shipped_policies()[0] == DEFAULT_POLICY == "any-loop"
    card = lambda_rl.load_policy().card
    assert (card.unit, card.lam_meaning) == ("kappa", "any")
    for name in ("cifar-mlp", "cifar-mixed"):
        before = lambda_rl.load_policy(name).card
        assert (before.unit, before.lam_meaning) == ("lam", "coupled")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW"])
def test_the_default_takes_any_optimizer_without_a_word_on_lambda(kind: str) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    optimizer = getattr(torch.optim, kind)(lambda_rl.split_parameters(model, 1e-4), lr=0.01)
    known = {"num_train": 64, "val_size": 64, "num_classes": 3, "batch_size": 64}
    schedule = LearnedSchedule(optimizer, total_steps=40, **known)
    inputs = torch.randn(64, 6)
    labels = inputs[:, :3].argmax(1)
    for step in range(1, 41):
        logits = model(inputs)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 2 == 0:
            hits = (logits.argmax(1) == labels).float().mean()
            schedule.step(train_loss=loss, train_accuracy=hits, val_loss=loss, val_accuracy=hits)
        assert 0.009 < schedule.kappa < 160
        assert optimizer.param_groups[0]["weight_decay"] == schedule.value
    pull = 100.0 if kind == "Adam" else 1.0
    assert schedule.kappa == pytest.approx(schedule.value * 0.01 * 40 * pull)
    assert len(schedule.history) > 5


def test_every_policy_in_the_package_loads_and_is_small() -> None:
    for name in lambda_rl.shipped_policies():
        path = policy_path(name)
        assert path.stat().st_size < 100_000
        assert content(path)[0]["card"]["format_version"] == 2
        card = lambda_rl.load_policy(name).card
        assert card.command
        assert card.results
        LearnedSchedule(policy=name, facts=FACTS, weight_norm=3.0)


def test_the_command(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(shipped / "another.safetensors")]) == 0
    assert "trained on" in capsys.readouterr().out
    assert main(["info", DEFAULT_POLICY]) == 0
    assert make_policy(0).fingerprint in capsys.readouterr().out
    assert main(["list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [DEFAULT_POLICY, "another"]
    (shipped / "broken.safetensors").write_bytes(b"no")
    for bad in ("nowhere", str(shipped / "broken.safetensors")):
        assert main(["info", bad]) == 2
        out, err = capsys.readouterr()
        assert not out
        assert err.startswith("error: policy file ")
        assert err.count("\n") == 1
        assert bad in err
    assert main(["lst"]) == 2
    assert (
        capsys.readouterr().err
        == "error: unknown command 'lst'; allowed: info, card, list, suggest; did you mean 'list'?\n"
    )


def test_the_command_prints_model_cards(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shipped / "another.md").write_text("what λ is\n", encoding="utf-8")
    assert main(["card", "another"]) == 0
    assert capsys.readouterr().out == "what λ is\n"
    assert main(["card", DEFAULT_POLICY]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.endswith("any-loop.md: no such file; this policy has no model card\n")
    assert main(["card", "nowhere"]) == 2


def test_every_policy_in_the_package_has_a_model_card(capsys: pytest.CaptureFixture[str]) -> None:
    for name in lambda_rl.shipped_policies():
        assert main(["card", name]) == 0
        assert f"# {name}\n" in capsys.readouterr().out
