"""A policy as text: its numbers without end in sight, and texts of others that reach a terminal."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file
from tiny_policies import CARD, FORMAT_1, LAM, content, make_policy, rewrite

from lambda_rl import FEATURES, Knob, describe, save_policy
from lambda_rl.cli import main
from lambda_rl.policy.text import policy_facts

HOSTILE = "\x1b]0;title\x07\x1b[2Ja\nfingerprint         0000\r\u202eb\u2066\x00\ud800\u2028c"


def test_describe() -> None:
    text = describe(make_policy())
    for part in ("cifar-mlp", "abc123", "coupled", "test_accuracy: 0.36", "1e-05 to 3.16", "train_agent.py"):
        assert part in text
    facts = policy_facts(make_policy())
    assert facts["knobs"] == "lam (λ)"
    assert facts["largest change"] == "a factor of 3.16 a decision"
    assert facts["features read"] == f"version 1: {', '.join(FEATURES)}"


def test_every_knob_and_the_features_read_are_shown() -> None:
    card = dataclasses.replace(
        CARD, knobs=(LAM, Knob("dropout", 0.0, 0.7, 0.1)), initial=(0.02, None),
        features=("val_loss", "progress"), feature_versions=(),
    )  # fmt: skip
    facts = policy_facts(make_policy(card=card))
    assert facts["network"] == "2 → 16 → 16 → 2, tanh"
    assert facts["knobs"] == "lam (λ), dropout"
    assert facts["λ range"] == "1e-05 to 3.16, start 0.02"
    assert facts["dropout range"] == "0 to 0.7, start middle of the range"
    assert facts["largest change of dropout"] == "0.1 a decision"
    assert facts["features read"] == "version 1: val_loss, progress"


def test_what_a_foreign_card_says_cannot_act_on_a_terminal() -> None:
    texts = dict.fromkeys(("suite", "data", "commit", "command", "notes"), HOSTILE)
    policy = make_policy(card=dataclasses.replace(CARD, **texts, results={HOSTILE: HOSTILE, "b": [HOSTILE]}))
    lines = describe(policy).split("\n")
    assert lines.pop() == ""
    assert all(line.isprintable() for line in lines)
    assert [line for line in lines if line.startswith("fingerprint")] == [
        f"fingerprint         {policy.fingerprint}"
    ]
    assert any("]0;title" in line for line in lines)  # it is shown, not hidden
    assert all(text.isprintable() for text in policy_facts(policy).values())
    long = describe(make_policy(card=dataclasses.replace(CARD, results={"a": "x" * 10**6})))
    assert len(long) < 6000


@pytest.mark.parametrize("command", [["info", "FILE"], ["card", "FILE"]])
def test_the_command_prints_no_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    path = tmp_path / "p.safetensors"
    hostile = HOSTILE.replace("\ud800", "")  # no file in UTF-8 can hold it
    save_policy(path, make_policy(card=dataclasses.replace(CARD, notes=HOSTILE, results={HOSTILE: 1})))
    path.with_suffix(".md").write_text(f"# A card\n{hostile}\n", encoding="utf-8")
    arguments = [str(path) if word == "FILE" else word for word in command]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "]0;title" in out
    assert all(line.isprintable() for line in out.split("\n"))
    # nor in what it says of a broken one
    rewrite(path, metadata=lambda about: about["card"].update({HOSTILE: 1, "penalty": HOSTILE}))
    assert main(["info", str(path)]) == 2
    rewrite(path, tensors={hostile.replace("\x00", ""): content(FORMAT_1)[1]["layers.0.bias"]})
    assert main(["info", str(path)]) == 2
    assert main(["info", "nowhere\x1b[2J"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 3
    assert err.replace("\n", "").isprintable()


NUMBERS = ("1" + "0" * 30, "9" * 400, "1e308")


@pytest.mark.parametrize(
    ("key", "number"),
    [
        *itertools.product(("log_lam_max", "max_change", "decisions", "initial_lam"), NUMBERS),
        ("log_lam_max", "400"),
        ("max_change", "400"),
    ],
)
def test_the_command_ends_whatever_the_numbers(tmp_path: Path, key: str, number: str) -> None:
    """A range of 10^(10^30), as whole numbers, used to be computed."""
    about: dict[str, Any]
    about, tensors = content(FORMAT_1)
    about["card"][key] = "@@"
    path = tmp_path / "p.safetensors"
    save_file(tensors, path, metadata={"lambda_rl_policy": json.dumps(about).replace('"@@"', number)})
    assert main(["info", str(path)]) == 2


def test_the_command_ends_in_a_process_of_its_own(tmp_path: Path) -> None:
    about, tensors = content(FORMAT_1)
    about["card"]["log_lam_max"] = 10**30
    path = tmp_path / "p.safetensors"
    save_file(tensors, path, metadata={"lambda_rl_policy": json.dumps(about)})
    done = subprocess.run(
        [sys.executable, "-m", "lambda_rl.cli", "info", str(path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "knob lam: log10 of its largest value must be a number from -30 to 30" in done.stderr


def test_the_widest_range_can_be_described() -> None:
    card = dataclasses.replace(CARD, knobs=(Knob("lam", -30, 30, 60),), decisions=10**9)
    facts = policy_facts(make_policy(card=card))
    assert facts["λ range"] == "1e-30 to 1e+30, start middle of the range"
    assert facts["largest change"] == "a factor of 1e+60 a decision"
