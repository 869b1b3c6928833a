"""What the callbacks of all frameworks have in common, checked with each; and the integrations without them."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from tiny_schedules import CARD, KAPPA_CARD, history, make_policy

from lambda_rl import Knob, LearnedSchedule, PullDown, load_policy, save_policy

FRAMEWORKS = {"lightning": ("lightning", "pytorch_lightning"), "huggingface": ("transformers",)}
NEEDS = {"lightning": ("lightning",), "huggingface": ("transformers", "accelerate")}


@pytest.fixture(params=list(FRAMEWORKS))
def tiny(request: pytest.FixtureRequest) -> ModuleType:
    """The module tests/tiny_<framework>.py: tiny runs, and the framework's ``ScheduleCallback``."""
    for package in NEEDS[request.param]:
        pytest.importorskip(package)
    return importlib.import_module(f"tiny_{request.param}")


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    # Small changes, so that λ still moves in the last decision of a run and is not at an end of its range.
    policy = make_policy(card=dataclasses.replace(CARD, knobs=(Knob("lam", -5.0, 0.5, 0.1),)))
    save_policy(tmp_path / "policy.safetensors", policy)
    return tmp_path / "policy.safetensors"


def test_decides_at_each_validation_and_writes_only_to_groups_with_decay(
    tiny: ModuleType, tmp_path: Path
) -> None:
    callback = tiny.ScheduleCallback("pull-down:0.3,0.003")
    with_decay, without = tiny.Session(tmp_path, callback).train()
    rows = history(callback)
    assert [row["progress"] for row in rows] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert rows[1]["lam"] == pytest.approx(0.3 * 0.01**0.25)
    assert with_decay["weight_decay"] == rows[-1]["lam"] == pytest.approx(0.003)
    assert without["weight_decay"] == 0


def test_every_counts_optimizer_steps_not_batches(tiny: ModuleType, tmp_path: Path) -> None:
    callback = tiny.ScheduleCallback(PullDown, every=8, high=0.3, low=0.003, shape="linear")
    tiny.Session(tmp_path, callback, accumulated=4, validating=False).train()
    assert [row["progress"] for row in history(callback)] == [0.0, 8 / 20, 16 / 20]


def test_learned_schedule_reads_the_facts_off_the_data(
    tiny: ModuleType, tmp_path: Path, policy_file: Path
) -> None:
    callback = tiny.ScheduleCallback(LearnedSchedule, policy=policy_file, **tiny.LEARNED)
    tiny.Session(tmp_path, callback).train()
    assert isinstance(callback.schedule, LearnedSchedule)
    facts = callback.schedule.facts
    epochs = tiny.STEPS * tiny.PER_STEP / tiny.NUM_TRAIN
    assert (facts.num_train, facts.val_size, facts.epochs) == (tiny.NUM_TRAIN, tiny.VAL_SIZE, epochs)
    assert len({row["lam"] for row in history(callback)}) > 2


@pytest.mark.filterwarnings("ignore:LearnedSchedule")  # what the guard says depends on the policy
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_the_default_policy_takes_any_optimizer(tiny: ModuleType, tmp_path: Path, optimizer: str) -> None:
    """``learned`` alone will do: no policy, start or meaning of λ is named."""
    callback = tiny.ScheduleCallback("learned", **tiny.LEARNED)
    with_decay, without = tiny.Session(tmp_path, callback, optimizer=optimizer).train()
    schedule = callback.schedule
    assert schedule.policy.fingerprint == load_policy().fingerprint
    assert [row["progress"] for row in history(callback)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert with_decay["weight_decay"] == schedule.value > 0
    assert without["weight_decay"] == 0
    assert (schedule.facts.adaptive, schedule.facts.pull) == (
        optimizer != "sgd",
        100 if optimizer == "adam" else 1,
    )
    assert schedule.kappa == pytest.approx(schedule.value * schedule.facts.decay_sum)


def test_a_policy_that_moves_kappa_is_told_the_model_and_may_be_told_a_horizon(
    tiny: ModuleType, tmp_path: Path
) -> None:
    policy = make_policy(1, card=KAPPA_CARD)
    known = tiny.ScheduleCallback(LearnedSchedule, policy=policy, **tiny.LEARNED)
    tiny.Session(tmp_path, known).train()
    assert [row["progress"] for row in history(known)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert known.schedule.facts.normalised is True
    assert known.schedule.kappa == pytest.approx(known.schedule.value * known.schedule.facts.lr_sum)
    guessed = tiny.ScheduleCallback(
        LearnedSchedule, policy=policy, horizon=tiny.STEPS // 2, decisions=2, **tiny.LEARNED
    )
    tiny.Session(tmp_path, guessed).train()
    rows = history(guessed)
    assert [row["progress"] for row in rows] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert len({row["lam"] for row in rows[2:]}) > 1  # it goes on deciding


def test_a_second_run_starts_anew_and_validation_alone_decides_nothing(
    tiny: ModuleType, tmp_path: Path
) -> None:
    callback = tiny.ScheduleCallback("pull-down:0.3,0.003")
    session = tiny.Session(tmp_path, callback)
    for _ in range(2):
        session.train()
        assert [row["progress"] for row in history(callback)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    session.validate()
    assert len(history(callback)) == 5


@pytest.mark.filterwarnings("ignore:LearnedSchedule. not given. train_accuracy")  # the Trainer has none
def test_train_save_new_process_load_train(tiny: ModuleType, policy_file: Path) -> None:
    """Must show: λ, weights and the schedule's state are those of a run that was never interrupted.

    200 steps against 100, the framework's own checkpoint, a new process and 100 more; SGD, and AdamW with λ converted.
    """
    folder = policy_file.parent
    whole = {kind: tiny.run(folder, kind) for kind in ("sgd", "adamw")}
    halves = {kind: tiny.run(folder, kind, half=True) for kind in whole}
    command = [sys.executable, str(tiny.__file__), str(folder), ",".join(whole)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    for kind, expected in whole.items():
        resumed = torch.load(folder / f"{kind}-resumed.pt", weights_only=True)
        rows, first = resumed["schedule"]["history"], halves[kind]["schedule"]["history"]
        trace = [row["lam"] for row in rows]
        assert trace == [row["lam"] for row in expected["schedule"]["history"]]
        assert trace[: len(first)] == [row["lam"] for row in first]
        assert len(set(trace[len(first) :])) > 5  # λ moves in the second half too, or this shows little
        assert resumed["schedule"] == expected["schedule"]
        assert resumed["callback"] == expected["callback"]
        assert resumed["decays"] == expected["decays"]
        assert all(torch.equal(resumed["weights"][key], w) for key, w in expected["weights"].items())
        assert any(not torch.equal(halves[kind]["weights"][key], w) for key, w in expected["weights"].items())
        assert all(math.isfinite(row["train_loss"]) for row in rows[1:])
    factors = {kind: state["schedule"]["factor"] for kind, state in whole.items()}
    assert factors["sgd"] == 1.0 != factors["adamw"]


def test_refusals(tiny: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown schedule 'cosin'"):
        tiny.ScheduleCallback("cosin:1,2")
    with pytest.raises(ValueError, match="every must be 1 or more"):
        tiny.ScheduleCallback("constant:1", every=0)
    with pytest.raises(TypeError, match="the optimizer is not made yet"):
        tiny.ScheduleCallback(PullDown(0.1, 0.01))
    with pytest.raises(ValueError, match="; give every="):
        tiny.Session(tmp_path, tiny.ScheduleCallback("constant:1"), validating=False).train()
    with pytest.raises(TypeError, match="made a float"):
        tiny.Session(tmp_path, tiny.ScheduleCallback(lambda optimizer, total_steps: 0.1)).train()


def arguments(documentation: str) -> dict[str, str]:
    """The entries of a docstring's section ``Args``, each on one line."""
    section = re.search(r"\nArgs:\n(.*?)\n\n", inspect.cleandoc(documentation), flags=re.DOTALL)
    assert section is not None
    entries = re.findall(r"^    \**(\w+): (.*(?:\n {8}.*)*)", section[1], flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def test_the_callbacks_have_the_same_arguments() -> None:
    """They are written out in each, to be seen in help() and editors; only the names of metrics may differ."""
    signatures, texts = [], []
    for framework, packages in NEEDS.items():
        for package in packages:
            pytest.importorskip(package)
        callback = importlib.import_module(f"lambda_rl.integrations.{framework}").ScheduleCallback
        signatures.append(inspect.signature(callback).parameters)
        texts.append(arguments(callback.__doc__))
        assert list(texts[-1]) == list(signatures[-1])
    one, other = signatures
    assert list(one) == list(other)
    metrics = {"train_loss", "train_accuracy", "val_loss", "val_accuracy"}
    for name, parameter in one.items():
        assert (parameter.kind, parameter.annotation) == (other[name].kind, other[name].annotation)
        assert name in metrics or parameter.default == other[name].default
    assert all(texts[0][name] == texts[1][name] for name in ("schedule", "name"))


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_missing_framework_is_said_clearly(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = f"lambda_rl.integrations.{name}"
    monkeypatch.delitem(sys.modules, module, raising=False)
    for framework in FRAMEWORKS[name]:
        for loaded in [key for key in sys.modules if key.split(".")[0] == framework]:
            monkeypatch.setitem(sys.modules, loaded, None)
        monkeypatch.setitem(sys.modules, framework, None)
    importlib.import_module("lambda_rl.integrations")  # needs none
    with pytest.raises(ImportError, match=rf"pip install 'lambda-rl\[{name}\]'"):
        importlib.import_module(module)
