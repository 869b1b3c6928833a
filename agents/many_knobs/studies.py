"""What is measured together: the knobs, the constants that they are compared with, and the tables of pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lambda_rl.penalties import L1, LHalf

ONE, LAYERS, BY_NORM, CPR = "one λ", "λ per layer", "λ by norm", "cpr"
"""Names of what is chosen, beside the grids of two knobs."""

WORDS = {
    "label_smoothing": "smoothing",
    "dropout": "dropout",
    "augmentation": "augmentation",
    "alpha": "α",
}
"""What a table calls the second of two knobs, by its name."""

CLEAN, HALF, BEST, EACH = "no attacks, α 1", "α 0.5", "one α", "best α of each task, in hindsight"
"""Names of constants of α."""

GRIDS = {knob: f"grid of λ and {word}" for knob, word in WORDS.items()}
"""Names of grids, by the knob beside λ."""

LEARNED = {
    "one": "policy, λ",
    "layers": "policy, λ per layer",
    "plain": "policy, λ, not augmented",
    **{knob: f"policy, λ and {word}" for knob, word in WORDS.items()},
    "alpha": "policy, α",
}
"""Names of what is learned, by the word before "-seed" in the name of its file."""


LAMBDAS = (1e-4, 0.1)
"""Smallest and largest λ of L2 in all searches; above, nothing is learned in these tasks."""


@dataclass(frozen=True)
class Study:
    """Contestants on the tasks of one folder.

    Attributes:
        folder: of validation.yaml, held-out.yaml and policies/ (one-seed0.safetensors, dropout-seed0…); tables go
            there.
        knobs: those whose grid with λ is searched.
        layers: whether constants of a λ per layer, λ weighted by norms, and CPR take part.
        attacked: whether accuracy under attack counts as much as on clean images.
        lambdas: smallest and largest λ of the grid of λ alone.
        blocks: contestants of each block of a page, in their order.
    """

    folder: Path
    knobs: tuple[str, ...]
    layers: bool = False
    attacked: bool = False
    lambdas: tuple[float, float] = LAMBDAS
    blocks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_MANY = (ONE, LAYERS, BY_NORM, CPR, LEARNED["one"], LEARNED["layers"])
_SMOOTHING, _DROPOUT = "label_smoothing", "dropout"

STUDIES = {
    "two-knobs": Study(
        Path("docs/results/two-knobs"),
        (_SMOOTHING, _DROPOUT),
        layers=True,
        blocks={
            "two-knobs": (
                ONE, GRIDS[_SMOOTHING], GRIDS[_DROPOUT],
                LEARNED["one"], LEARNED[_SMOOTHING], LEARNED[_DROPOUT],
            ),
            "one-or-many": _MANY,
        },
    ),
    "augmentation": Study(
        Path("docs/results/knob-augmentation"),
        ("augmentation",),
        blocks={"augmentation": (ONE, GRIDS["augmentation"], LEARNED["plain"], LEARNED["augmentation"])},
    ),
    "alpha": Study(
        Path("docs/results/knob-alpha"), ("alpha",), attacked=True,
        blocks={"alpha": (CLEAN, HALF, BEST, EACH, LEARNED["alpha"])},
    ),
    L1.name: Study(
        Path("docs/results/knob-l1"), (), lambdas=(1e-5, 1e-2), blocks={"knob-l1": (ONE, LEARNED["one"])}
    ),
    LHalf.name: Study(
        Path("docs/results/knob-l0.5"), (), lambdas=(1e-6, 1e-3), blocks={"knob-l0.5": (ONE, LEARNED["one"])}
    ),
    "convolution": Study(Path("docs/results/one-or-many-cnn3"), (), layers=True, blocks={"one-or-many-cnn3": _MANY}),
}  # fmt: skip
"""By name."""
