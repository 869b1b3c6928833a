"""The callback for the Trainer of Transformers with the real Trainer: signals, counting, logs, checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_schedules import KAPPA_CARD, Recording, history, make_policy

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from tiny_huggingface import STEPS, Points, StopAt, trainer
from transformers import TrainerCallback

from lambda_rl import LearnedSchedule
from lambda_rl.integrations.huggingface import ScheduleCallback


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
    made = trainer(
        tmp_path, [reporter, callback]
    )  # as it is with report_to=: the user's callbacks are the last
    made.train()
    assert len(set(reporter.seen)) == 4
    assert len(history(callback)) == 5
    order = [type(one).__name__ for one in made.callback_handler.callbacks]
    assert order.index("DefaultFlowCallback") < order.index("ScheduleCallback") < order.index("Reporter")
    assert len(order) == len(set(order))


def test_logs_have_what_a_policy_asked_for(tmp_path: Path) -> None:
    callback = ScheduleCallback(
        LearnedSchedule, policy=make_policy(card=KAPPA_CARD), num_classes=3, val_size=96
    )
    made = trainer(tmp_path, [callback])
    made.train()
    row = next(row for row in made.state.log_history if row.get("step") == 20 and "loss" in row)
    before = history(callback)[1]  # in force up to the evaluation at this step
    assert (row["lambda"], row["lambda/kappa"], row["lambda/asked"], row["lambda/held"]) == (
        before["lam"], before["kappa"], before["asked"], 0.0,
    )  # fmt: skip
    assert not [name for name in row if name.startswith("lambda/") and name.endswith(("value", "progress"))]


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


def test_refusals_and_warnings(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no parameter group has decay"):
        trainer(tmp_path, [ScheduleCallback("constant:1")], weight_decay=0.0).train()
    callback = ScheduleCallback(Recording, val_loss="val_loss", val_accuracy="eval_accuracy")
    made = trainer(tmp_path, [callback])
    made.compute_metrics = None
    with pytest.warns(RuntimeWarning, match="without val_loss and eval_accuracy decides nothing"):
        made.train()
    assert len(history(callback)) == 1
