"""What is run: the paper's set-up in this project's words, its constants, and how much of it (budgets).

The paper is silent about batch size, learning rate and initial weights. It reads like work for
Stanford's course CS231n of spring 2017 (it does not say so), so what is not said is taken from that course's
assignment 1, "two_layer_net": images of raw pixels 0…255 minus the mean training image, weights normal with deviation
10⁻⁴, biases 0, SGD without momentum on batches of 200, learning rate 10⁻⁴ to 10⁻³, times 0.95 an epoch (49,000
images, hence every 245 iterations), and ``loss + λ·‖W‖²`` without a factor ½ (the assignments of 2016 had one; the
paper differentiates w² to 2w). Of the learning rates, 10⁻³ had the best validation accuracy (50 hidden units, 1,000
iterations per constant).
The convolutional network follows assignment 2: Adam, learning rate 10⁻³, batches of 50, deviation 10⁻³.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lambda_rl.envs.tasks.task import Task

PAPER_CONSTANTS = (3.0, 2.0, 1.0, 0.0)
"""The pull-down schedule of section 4.1, each value for n iterations; also the constants that it is compared with."""

CNN_CONSTANTS = (0.1, 0.03, 0.01, 0.0)
"""Constants for the convolutional network, where the paper names none; in the paper's convention."""

FACTORS: dict[str, float] = {"l2": 2.0, "l1": 5e-4, "l0.5": 5e-4}
"""What the paper's list is multiplied by to be λ of this project.

For L2 it is the convention alone: ``λ·‖W‖²`` is ``2λ · ½‖W‖²``. For L1 and L½ the conventions agree and the factor is
a choice: the list itself stops all learning (see the sensitivity), and with this factor its strongest constant costs
about as much accuracy under L½ as under L2.
"""

STAGES = len(PAPER_CONSTANTS)
"""A run has as many stages as the list has constants; λ of a list is held for a stage."""

INIT_STD = 1e-4
"""Deviation of the two-layer network's initial weights."""

ZERO_FACTORS = (0.01, 0.1, 1.0)
"""A weight counts as zero below this many deviations of its layer's initial weights (L½ is smoothed at 0, see
:mod:`lambda_rl.penalties`, and subgradient steps never end on 0, so exact zeros do not occur)."""

ZERO_FACTOR = 0.1
"""The one that claims are judged by; the others show how much it matters."""


def our_lam(paper_lam: float, penalty: str = "l2", scale: float = 1.0) -> float:
    """λ of this project for a constant of the paper's list.

    Args:
        paper_lam: as it stands before ‖W‖² (before Σ|w|^p for the other penalties).
        penalty: ``l2``, ``l1`` or ``l0.5``.
        scale: the list may be tried stronger or weaker.
    """
    return float(f"{FACTORS[penalty] * scale * paper_lam:.6g}")


@dataclass(frozen=True)
class Variation:
    """The set-up of Figure 1 with one thing changed, to show how much depends on it.

    Attributes:
        name: in files.
        text: in the page.
        changes: task fields.
        scale: of the list of constants.
    """

    name: str
    text: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    scale: float = 1.0


VARIATIONS: tuple[Variation, ...] = (
    Variation("lr-third", "learning rate a third", {"learning_rate": 3e-4}),
    Variation("lr-triple", "learning rate three times", {"learning_rate": 3e-3}),
    Variation("lr-held", "learning rate without decay", {"lr_decay": 1.0}),
    Variation("batch-50", "batches of 50", {"batch_size": 50}),
    Variation("init-1e-3", "initial deviation 10⁻³", {"init_std": 1e-3}),
    Variation("list-third", "list of constants a third", scale=1 / 3),
    Variation("list-tenth", "list of constants a tenth", scale=0.1),
    Variation("pixels-32", "images of 32×32 pixels", {"resolution": 32}),
)

NONCONVEX_VARIATIONS: tuple[Variation, ...] = (
    Variation("list-third", "list of constants a third", scale=1 / 3),
    Variation("list-literal", "the paper's list itself", scale=1 / FACTORS["l0.5"]),
)
"""The same for Figure 8."""

CNN_VARIATION = Variation("sgd", "SGD with momentum 0.9 in place of Adam", {"optimizer": "sgd"})
"""The same for Figure 4: learned policies were trained with SGD, under which λ acts differently."""


@dataclass(frozen=True)
class Budget:
    """How much is run.

    Attributes:
        widths: hidden units of the two-layer network.
        iterations: iterations per constant, Figure 1.
        column: iterations per constant of Figures 2, 3 and 8; one of ``iterations``.
        seeds: runs of each schedule.
        resolution: side of the images.
        train_size: training images.
        val_size: validation images that feedback, and the choice of a constant, see.
        batch_size: of the two-layer network.
        decisions: intervals of a run; a multiple of ``STAGES``.
        cnn_width: filters of the convolutional network.
        cnn_epochs: its epochs.
        cnn_batch_size: its batches.
        cnn_val_size: its validation images; Figure 4 is drawn on them.
        cnn_decisions: its intervals.
        sensitivity_width: hidden units of the sensitivity study.
        sensitivity_iterations: its iterations per constant; one of ``iterations``.
        variations: what it varies, names of :data:`VARIATIONS`.
    """

    widths: tuple[int, ...]
    iterations: tuple[int, ...]
    column: int
    seeds: int
    resolution: int
    train_size: int
    val_size: int
    cnn_width: int
    cnn_epochs: int
    cnn_val_size: int
    sensitivity_width: int
    sensitivity_iterations: int
    batch_size: int = 200
    decisions: int = 20
    cnn_batch_size: int = 50
    cnn_decisions: int = 20
    variations: tuple[str, ...] = tuple(item.name for item in VARIATIONS)

    def __post_init__(self) -> None:
        """Checks what the experiments rely on."""
        if len(self.widths) < 2 or len(self.iterations) < 2 or self.seeds < 2:
            raise ValueError("a budget needs at least 2 widths, 2 numbers of iterations and 2 seeds")
        if self.decisions % STAGES:
            raise ValueError(f"decisions={self.decisions} must be a multiple of the {STAGES} stages")
        for name, allowed in (
            ("column", self.iterations),
            ("sensitivity_iterations", self.iterations),
            ("sensitivity_width", self.widths),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)} must be one of {allowed}")
        unknown = set(self.variations) - {item.name for item in VARIATIONS}
        if unknown:
            raise ValueError(f"unknown variations: {', '.join(sorted(unknown))}")


BUDGETS: dict[str, Budget] = {
    "smoke": Budget(
        widths=(8, 16), iterations=(6, 20), column=20, seeds=2, resolution=16, train_size=1000, val_size=200,
        cnn_width=4, cnn_epochs=2, cnn_val_size=200, cnn_decisions=8, sensitivity_width=16,
        sensitivity_iterations=6, decisions=8, variations=("lr-triple", "list-tenth"),
    ),
    "standard": Budget(
        widths=(25, 50, 100, 200), iterations=(100, 300, 1000), column=1000, seeds=5, resolution=16,
        train_size=20_000, val_size=2000, cnn_width=16, cnn_epochs=10, cnn_val_size=4000, sensitivity_width=100,
        sensitivity_iterations=300,
    ),
    "full": Budget(
        widths=(25, 50, 100, 200, 400, 800), iterations=(100, 300, 1000, 3000), column=1000, seeds=10,
        resolution=32, train_size=20_000, val_size=2000, cnn_width=32, cnn_epochs=20, cnn_val_size=4000,
        cnn_decisions=40, sensitivity_width=100, sensitivity_iterations=300,
        variations=tuple(item.name for item in VARIATIONS if item.name != "pixels-32"),
    ),
}  # fmt: skip
"""``smoke``: does it all run; ``standard``: under an hour on 2 CPU cores; ``full``: for a GPU, at the paper's 32×32."""


NONCONVEX_START = our_lam(1.0, "l0.5")
"""λ that a policy begins with under L½: the smallest of the list above 0. Lists and constants have their own."""


def mlp_task(budget: Budget, width: int, iterations: int, penalty: str = "l2") -> Task:
    """The two-layer network of sections 4 to 6.

    Args:
        budget: sizes.
        width: hidden units.
        iterations: per constant.
        penalty: which R(w).
    """
    task = Task(
        network="mlp", width=width, resolution=budget.resolution, train_size=budget.train_size,
        val_size=budget.val_size, optimizer="sgd", learning_rate=1e-3, lr_schedule="step", lr_decay=0.95,
        lr_decay_every=245, momentum=0.0, batch_size=budget.batch_size, steps=STAGES * iterations,
        decisions=budget.decisions, penalty=penalty, pixels="mean-subtracted", init_std=INIT_STD,
    )  # fmt: skip
    return replace(task, initial_lam=NONCONVEX_START) if penalty == "l0.5" else task


def cnn_task(budget: Budget) -> Task:
    """The three-layer convolutional network of section 5."""
    return Task(
        network="cnn3", width=budget.cnn_width, resolution=budget.resolution, train_size=budget.train_size,
        val_size=budget.cnn_val_size, optimizer="adamw", learning_rate=1e-3, lr_schedule="constant", momentum=0.9,
        batch_size=budget.cnn_batch_size, steps=budget.cnn_epochs * (budget.train_size // budget.cnn_batch_size),
        decisions=budget.cnn_decisions, pixels="mean-subtracted", init_std=1e-3,
    )  # fmt: skip


def varied(task: Task, variation: Variation) -> Task:
    """The task with a variation's changes."""
    return replace(task, **variation.changes)
