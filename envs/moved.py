"""What knobs beside λ ask of the tasks that they are moved in; refused before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable

from lambda_rl.envs.networks import Network
from lambda_rl.envs.tasks.task import Task
from lambda_rl.knobs import KAPPA, LAM, Knob, kind_of
from lambda_rl.penalties import PENALTIES


def check_penalty(knobs: Iterable[str | Knob], tasks: Iterable[Task]) -> None:
    """Refuses λ under the name of a penalty that a task does not have.

    Args:
        knobs: as a user names them; the first one may be λ, as ``lam``, ``kappa`` or by its penalty.
        tasks: all kinds that there are.

    Raises:
        ValueError: a task has another penalty.
    """
    first = next(iter(knobs), None)
    if not isinstance(first, str) or first in (LAM, KAPPA) or first not in PENALTIES:
        return
    for task in tasks:
        if task.penalty != first:
            raise ValueError(
                f"knob {first}: task {task.name} has the penalty {task.penalty}; name that one, or {LAM}"
            )


def check_knobs(knobs: Iterable[str], task: Task, network: Network) -> None:
    """Refuses knobs that would turn nothing in a task.

    Args:
        knobs: names of those beside λ.
        task: what is trained.
        network: its architecture.

    Raises:
        ValueError: the network drops no units or has fewer layers with weights, or the task does not augment.
    """
    for name in knobs:
        kind = kind_of(name)
        if kind.step_input == "dropout" and not network.noises:
            raise ValueError(
                f"knob {name}: the network {network.kind} of task {task.name} has no dropout layer"
            )
        if kind.step_input == "augmentation" and not task.augment:
            raise ValueError(
                f"knob {name}: task {task.name} does not augment its images; give it augment: true"
            )
        if kind.entries and kind.entry > len(network.penalised):
            raise ValueError(
                f"knob {name}: the network {network.kind} of task {task.name} has {len(network.penalised)} layers with "
                f"weights: {', '.join(network.penalised)}"
            )
