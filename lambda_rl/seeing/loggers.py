"""λ in W&B, TensorBoard or a file as it is decided: listeners for :meth:`lambda_rl.Schedule.on_decision`.

Each is a function of the schedule; one of your own is as short.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lambda_rl.seeing.visible import Visible

Listener = Callable[[Visible], object]

_USUAL = ("trust", "underfitting", "lower", "upper")
"""Bounds that a sound run may lie at: nearly each begins at that of underfitting."""


def to_wandb(run: Any, prefix: str = "lambda", *, alerts: bool = True) -> Listener:
    """Logs to Weights & Biases, into the row that the loop's own next ``run.log`` writes.

    Args:
        run: what ``wandb.init()`` returns, or the module ``wandb``.
        prefix: of the names.
        alerts: send ``run.alert``, once for each reason, when the run diverges or a rule of the guard has λ otherwise
            than the policy asked for. W&B passes alerts on, by mail or Slack, only to who turned them on there.
    """
    told = {"", *_USUAL}

    def log(schedule: Visible) -> None:
        run.log(schedule.log_dict(prefix), commit=False)
        rule = str(schedule.history[-1].get("held") or "")
        if alerts and rule not in told:
            told.add(rule)
            title = "the run diverged" if rule == "finite" else f"λ is held: {rule}"
            run.alert(title=title, text=repr(schedule), level="WARN")

    return log


def to_tensorboard(writer: Any, prefix: str = "lambda") -> Listener:
    """Logs to TensorBoard, at the optimizer step where the schedule knows it, else at the number of the call.

    Args:
        writer: a ``torch.utils.tensorboard.SummaryWriter``.
        prefix: of the names.
    """

    def log(schedule: Visible) -> None:
        for name, value in schedule.log_dict(prefix).items():
            writer.add_scalar(name, value, schedule.at_step)

    return log


def to_csv(path: str | Path) -> Listener:
    """Keeps a file that has all of the history; it is replaced at each decision, and complete at any time.

    Args:
        path: the file; :class:`lambda_rl.ReplaySchedule` takes it.
    """
    return lambda schedule: schedule.to_csv(path)
