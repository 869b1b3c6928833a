"""The callback for the Trainer of Transformers with the real Trainer: signals, counting, logs, checkpoints."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from test_learned import CARD, make_policy

from lambda_rl import LearnedSchedule, PullDown, Schedule, save_policy

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from tiny_huggingface import LEARNED, STEPS, Points, StopAt, run, trainer
from transformers import TrainerCallback

from lambda_rl.integrations.huggingface import ScheduleCallback


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    save_policy(
        tmp_path / "policy.safetensors", make_policy(card=dataclasses.replace(CARD, lam_meaning="any"))
    )
    return tmp_path / "policy.safetensors"


class Recording(Schedule):
    """Keeps what it is told; λ counts its calls."""

    def __init__(self, optimizer: Any = None, *, total_steps: int | None = None) -> None:
        super().__init__(optimizer, total_steps=total_steps)
        self._start(1e-3)

    def _next(self, progress: float | None, signals: dict[str, float]) -> float:
        return 1e-3 * (len(self.history) + 1)


def history(callback: ScheduleCallback) -> list[dict[str, Any]]:
    assert callback.schedule is not None
    return callback.schedule.history


def test_decides_at_each_evaluation_and_writes_only_to_groups_with_decay(tmp_path: Path) -> None:
    callback = ScheduleCallback("pull-down:0.3,0.003")
    made = trainer(tmp_path, [callback])
    made.train()
    rows = history(callback)
    assert [row["progress"] for row in rows] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert made.optimizer is not None
    with_decay, without = made.optimizer.param_groups
    assert with_decay["weight_decay"] == rows[-1]["lam"] == pytest.approx(0.003)
    assert without["weight_decay"] == 0


def test_every_counts_optimizer_steps_not_batches(tmp_path: Path) -> None:
    callback = ScheduleCallback(PullDown, every=8, high=0.3, low=0.003, shape="linear")
    trainer(tmp_path, [callback], gradient_accumulation_steps=4, eval_strategy="no", max_steps=20).train()
    assert [row["progress"] for row in history(callback)] == [0.0, 8 / 20, 16 / 20]


def test_signals_are_the_trainers_own(tmp_path: Path) -> None:
    """The loss is the mean over the interval, though the trainer was told to log each 4 steps."""
    callback = ScheduleCallback(Recording)
    made = trainer(tmp_path, [callback])
    made.train()
    reference = trainer(tmp_path, [], logging_steps=1, weight_decay=1e-3)

    class Constant(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            kwargs["optimizer"].param_groups[0]["weight_decay"] = 1e-3 * (state.global_step // 10 + 1)

    reference.add_callback(Constant())
    reference.train()
    losses = [row["loss"] for row in reference.state.log_history if "loss" in row]
    evaluations = [row for row in reference.state.log_history if "eval_loss" in row]
    assert len(losses) == STEPS
    for i, row in enumerate(history(callback)[1:]):
        assert row["train_loss"] == pytest.approx(sum(losses[10 * i : 10 * i + 10]) / 10, rel=1e-3)
        assert row["val_loss"] == pytest.approx(evaluations[i]["eval_loss"], rel=1e-4)
        assert row["val_accuracy"] == pytest.approx(evaluations[i]["eval_accuracy"])
    logged = [(row["step"], row["lambda"]) for row in made.state.log_history if "loss" in row]
    assert logged[:5] == [(4, 1e-3), (8, 1e-3), (10, 1e-3), (12, 2e-3), (16, 2e-3)]


def test_with_every_an_evaluation_at_the_same_step_counts(tmp_path: Path) -> None:
    callback = ScheduleCallback(Recording, every=10)
    made = trainer(tmp_path, [callback])
    made.train()
    evaluations = [row["eval_loss"] for row in made.state.log_history if "eval_loss" in row]
    assert [row["val_loss"] for row in history(callback)[1:]] == evaluations


def test_reporters_see_lambda(tmp_path: Path) -> None:
    class Reporter(TrainerCallback):
        def __init__(self) -> None:
            self.seen: list[float] = []

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if "loss" in logs:
                self.seen.append(logs["lambda"])

    reporter, callback = Reporter(), ScheduleCallback("pull-down:0.3,0.003", name="lambda")
    made = trainer(tmp_path, [reporter])
    callback.add_to(made)
    made.train()
    assert len(set(reporter.seen)) == 4
    assert len(history(callback)) == 5


def test_a_train_accuracy_that_the_trainer_logs_is_used(tmp_path: Path) -> None:
    callback = ScheduleCallback(Recording, train_accuracy="hits")
    made = trainer(tmp_path, [callback])
    log = made.log

    def with_hits(logs: dict[str, float], *rest: Any) -> None:
        log(logs, *rest)
        if "loss" in logs:
            log({"hits": made.state.global_step / 100})

    made.log = with_hits  # type: ignore[method-assign]
    made.train()
    # logged at 4, 8 and 10, and so of 4, 4 and 2 steps
    assert history(callback)[1]["train_accuracy"] == pytest.approx((4 * 0.04 + 4 * 0.08 + 2 * 0.10) / 10)


@pytest.mark.filterwarnings("error:ScheduleCallback")
def test_epochs_and_several_evaluation_sets(tmp_path: Path) -> None:
    callback = ScheduleCallback(Recording, val_loss="eval_second_loss", val_accuracy=None)
    made = trainer(
        tmp_path,
        [callback],
        eval_strategy="epoch",
        logging_strategy="epoch",
        max_steps=-1,
        num_train_epochs=2,
    )
    made.eval_dataset = {"first": Points(96, 2), "second": Points(96, 3)}
    made.train()
    rows = history(callback)[1:]
    assert [row["progress"] for row in rows] == [0.5, 1.0]
    second = [row["eval_second_loss"] for row in made.state.log_history if "eval_second_loss" in row]
    assert [row["val_loss"] for row in rows] == second
    assert all("train_loss" in row and "val_accuracy" not in row for row in rows)


def test_learned_schedule_reads_the_facts_off_the_data(tmp_path: Path, policy_file: Path) -> None:
    callback = ScheduleCallback(LearnedSchedule, policy=policy_file, **LEARNED)
    trainer(tmp_path, [callback]).train()
    assert isinstance(callback.schedule, LearnedSchedule)
    facts = callback.schedule.facts
    assert (facts.num_train, facts.val_size, facts.epochs) == (320, 96, STEPS * 16 / 320)
    assert len({row["lam"] for row in history(callback)}) > 2


def test_train_save_new_process_load_train(policy_file: Path) -> None:
    """Must show: the λ trace, weights and schedule state are those of a run that was never interrupted."""
    folder = policy_file.parent
    whole = {kind: run(folder, kind) for kind in ("sgd", "adamw")}
    for kind in whole:
        run(folder, kind, stop=STEPS // 2)
    state = json.loads((folder / "sgd-half" / "checkpoint-20" / "trainer_state.json").read_text())
    assert state["stateful_callbacks"]["ScheduleCallback"]["attributes"]["saved"]["steps"] == STEPS // 2
    script = Path(__file__).with_name("tiny_huggingface.py")
    command = [sys.executable, str(script), str(folder), "sgd,adamw"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    for kind, expected in whole.items():
        resumed = torch.load(folder / f"{kind}-resumed.pt", weights_only=True)
        assert resumed["saved"] == expected["saved"]
        assert resumed["decays"] == expected["decays"]
        assert all(torch.equal(resumed["weights"][key], w) for key, w in expected["weights"].items())
        rows = resumed["saved"]["saved"]["schedule"]["history"]
        assert len(rows) == (6 if kind == "sgd" else 8)
        assert len({row["lam"] for row in rows}) > 2


def test_resume_with_the_trainers_own_restoring_of_callbacks(tmp_path: Path) -> None:
    options: dict[str, Any] = {"save_strategy": "steps", "save_steps": 20}
    spec = "pull-down:0.3,0.003"
    trainer(tmp_path / "text", [ScheduleCallback(spec), StopAt(20)], **options).train()
    restored = trainer(
        tmp_path / "text", [ScheduleCallback(spec)], restore_callback_states_from_checkpoint=True, **options
    )
    restored.train(resume_from_checkpoint=True)
    (callback,) = (c for c in restored.callback_handler.callbacks if isinstance(c, ScheduleCallback))
    assert [row["progress"] for row in history(callback)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    trainer(tmp_path / "class", [ScheduleCallback(Recording), StopAt(20)], **options).train()
    refused = trainer(
        tmp_path / "class",
        [ScheduleCallback(Recording)],
        restore_callback_states_from_checkpoint=True,
        **options,
    )
    with pytest.raises(ValueError, match="leave restore_callback_states_from_checkpoint off"):
        refused.train(resume_from_checkpoint=True)


def test_two_callbacks_and_a_checkpoint_from_before_they_were_added(tmp_path: Path) -> None:
    options: dict[str, Any] = {"save_strategy": "steps", "save_steps": 10}
    trainer(tmp_path, [StopAt(10)], **options).train()

    def pair() -> list[ScheduleCallback]:
        return [
            ScheduleCallback(Recording),
            ScheduleCallback(lambda optimizer, total_steps: Recording(None), every=4, name="other"),
        ]

    trainer(tmp_path, [*pair(), StopAt(30)], **options).train(resume_from_checkpoint=True)
    stored = json.loads((tmp_path / "checkpoint-30" / "trainer_state.json").read_text())
    assert len(stored["stateful_callbacks"]["ScheduleCallback"]) <= 4  # the trainer alone would keep adding
    callbacks = pair()
    trainer(tmp_path, callbacks, **options).train(resume_from_checkpoint=True)
    assert [row["progress"] for row in history(callbacks[0])] == [0.0, 0.5, 0.75, 1.0]
    assert [row["progress"] * STEPS for row in history(callbacks[1])] == [0, 14, 18, 22, 26, 30, 34, 38]


def test_a_second_run_starts_anew_and_evaluate_decides_nothing(tmp_path: Path) -> None:
    callback = ScheduleCallback("pull-down:0.3,0.003")
    made = trainer(tmp_path, [callback])
    for _ in range(2):
        made.train()
        assert [row["progress"] for row in history(callback)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    made.evaluate()
    assert len(history(callback)) == 5


def test_refusals_and_warnings(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown schedule 'cosin'"):
        ScheduleCallback("cosin:1,2")
    with pytest.raises(ValueError, match="eval_strategy is 'no'; give every="):
        trainer(tmp_path, [ScheduleCallback("constant:1")], eval_strategy="no").train()
    with pytest.raises(ValueError, match="no parameter group has decay"):
        trainer(tmp_path, [ScheduleCallback("constant:1")], weight_decay=0.0).train()
    callback = ScheduleCallback(Recording, val_loss="val_loss", val_accuracy="eval_accuracy")
    made = trainer(tmp_path, [callback])
    made.compute_metrics = None
    with pytest.warns(RuntimeWarning, match="without val_loss and eval_accuracy decides nothing"):
        made.train()
    assert len(history(callback)) == 1
