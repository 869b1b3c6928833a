"""What has to be changed in a loop for a policy to set its λ, as a diff."""

from __future__ import annotations

from torch.optim import SGD

from lambda_rl.agents.foreign.loop import START_DECAY, RunFigures
from lambda_rl.agents.foreign.task import ForeignTask

MOST_LINES = 10
"""That a diff of the gallery adds or takes away."""


def diff_of(task: ForeignTask, run: RunFigures) -> str:
    """The lines of the loop that change, and those around them.

    Args:
        task: the loop; its optimizer is named with its numbers.
        run: figures of the run, which the schedule is told.
    """
    name = task.optimizer.__name__
    numbers = f"lr={task.lr:g}" + (f", momentum={task.momentum:g}" if task.optimizer is SGD else "")
    facts = (
        f"total_steps={run.total_steps}, num_train={run.num_train}, val_size={run.val_size}, "
        f"num_classes={run.num_classes}, batch_size={run.batch_size}"
    )
    return "\n".join(
        [
            " import torch",
            "+import lambda_rl",
            " ",
            f"-optimizer = torch.optim.{name}(model.parameters(), {numbers})",
            f"+optimizer = torch.optim.{name}(lambda_rl.split_parameters(model, {START_DECAY:g}), {numbers})",
            "+schedule = lambda_rl.LearnedSchedule(",
            f"+    optimizer, {facts}",
            "+)",
            " for epochs in parts_of_the_run:  # validation is looked at after each part",
            "     train_loss, train_accuracy = train(model, optimizer, epochs)",
            "     val_loss, val_accuracy = evaluate(model)",
            "+    schedule.step(train_loss=train_loss, train_accuracy=train_accuracy,",
            "+                  val_loss=val_loss, val_accuracy=val_accuracy)",
            "",
        ]
    )
