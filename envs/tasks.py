"""A task: all that defines an inner run but λ."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NETWORKS = ("mlp", "cnn3", "resnet9")
OPTIMIZERS = ("sgd", "adamw")
LR_SCHEDULES = ("constant", "cosine", "exponential", "step")
TASK_PENALTIES = ("l2", "l1", "l0.5")
DECAYS = ("coupled", "decoupled")
RESOLUTIONS = (16, 32)
PIXELS = ("standardised", "mean-subtracted")


@dataclass(frozen=True)
class Task:
    """One inner run, but for λ. The fields are those of a suite file, with these defaults.

    Attributes:
        network: ``mlp`` (two layers), ``cnn3`` (conv-ReLU-pool-affine-ReLU-affine) or ``resnet9``.
        width: hidden units of ``mlp``, filters of ``cnn3``, first-layer filters of ``resnet9``.
        resolution: side of the input images in pixels, 16 or 32; at 16 the images are averaged 2x2.
        train_size: training examples drawn from the fold's ``inner-train`` part.
        val_size: validation examples drawn from its ``inner-val`` part, which the signals are measured on.
        label_noise: share of the training labels replaced by another class drawn uniformly. Validation and test
            labels stay clean.
        optimizer: ``sgd`` (with momentum) or ``adamw``.
        learning_rate: at the start.
        lr_schedule: ``constant``, ``cosine`` (to 0 at the end), ``exponential`` (to 1/100 at the end) or ``step``
            (times ``lr_decay`` after every ``lr_decay_every`` steps).
        momentum: of SGD; β₁ of AdamW.
        batch_size: examples in a minibatch.
        steps: optimizer steps in the run.
        decisions: intervals that the run is divided into; λ is chosen once for each.
        penalty: ``l2`` (½‖w‖²), ``l1`` (‖w‖₁) or ``l0.5`` (Σ|w|^½), on weights, not on biases or norms.
        decay: ``coupled`` adds λ·R'(w) to the gradient; ``decoupled`` shrinks weights by lr·λ (L2 only).
        initial_lam: the start λ of schedules that are given none, the learned policy among them.
        augment: random crops and horizontal flips.
        pixels: ``standardised`` (mean 0 and deviation 1 per channel) or ``mean-subtracted`` (0…255 minus the mean
            training image).
        init_std: initial weights are normal with this deviation and biases 0; 0: both uniform in ±1/√fan-in.
        lr_decay: factor of ``lr_schedule=step``.
        lr_decay_every: steps between two of its decays; 0: an epoch (``train_size`` // ``batch_size``, at least 1).
        seed: of all that is random in the run: subset, label noise, initial weights, minibatches, augmentation.

    Raises:
        ValueError: a value is out of its range; the message names the field and what is allowed.
    """

    network: str = "mlp"
    width: int = 32
    resolution: int = 16
    train_size: int = 5000
    val_size: int = 1000
    label_noise: float = 0.0
    optimizer: str = "sgd"
    learning_rate: float = 0.05
    lr_schedule: str = "cosine"
    momentum: float = 0.9
    batch_size: int = 64
    steps: int = 300
    decisions: int = 15
    penalty: str = "l2"
    decay: str = "coupled"
    initial_lam: float = 0.01
    augment: bool = False
    pixels: str = "standardised"
    init_std: float = 0.0
    lr_decay: float = 0.95
    lr_decay_every: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks every field."""
        self._one_of("network", NETWORKS)
        self._one_of("resolution", RESOLUTIONS)
        self._one_of("optimizer", OPTIMIZERS)
        self._one_of("lr_schedule", LR_SCHEDULES)
        self._one_of("penalty", TASK_PENALTIES)
        self._one_of("decay", DECAYS)
        self._one_of("pixels", PIXELS)
        for name in ("width", "resolution", "train_size", "val_size", "batch_size", "steps", "decisions"):
            self._integer(name, least=1)
        for name in ("seed", "lr_decay_every"):
            self._integer(name, least=0)
        if self.decisions > self.steps:
            raise ValueError(f"task: decisions={self.decisions} must be at most steps={self.steps}")
        self._number("label_noise", 0.0, 0.95)
        self._number("learning_rate", 1e-8, 1e4)
        self._number("momentum", 0.0, 0.9999)
        self._number("initial_lam", 1e-12, 1e6)
        self._number("init_std", 0.0, 10.0)
        self._number("lr_decay", 1e-6, 1.0)
        if not isinstance(self.augment, bool):
            raise ValueError(f"task: augment must be true or false, got {self.augment!r}")
        if self.decay == "decoupled" and self.penalty != "l2":
            raise ValueError(
                f"task: decay=decoupled is defined for penalty=l2 only, got penalty={self.penalty}"
            )

    def _one_of(self, name: str, allowed: tuple[Any, ...]) -> None:
        if getattr(self, name) not in allowed:
            choices = ", ".join(map(str, allowed))
            raise ValueError(f"task: {name} must be one of {choices}; got {getattr(self, name)!r}")

    def _integer(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"task: {name} must be a whole number of at least {least}, got {value!r}")

    def _number(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(f"task: {name} must be a finite number, got {value!r}")
        if not low <= value <= high:
            raise ValueError(f"task: {name} must be between {low:g} and {high:g}, got {value!r}")

    @property
    def name(self) -> str:
        """A short name without the seed; two tasks of a suite may share it (see ``Suite.task_names``)."""
        noise = f"-noise{self.label_noise:g}" if self.label_noise else ""
        return f"{self.network}{self.width}-n{self.train_size}{noise}-val{self.val_size}"

    @property
    def group_key(self) -> tuple[object, ...]:
        """Runs whose keys agree have the same shapes and update rule, so that they can be trained as one network."""
        return (
            self.network, self.width, self.resolution, self.batch_size, self.optimizer, self.penalty, self.decay,
            self.augment, self.pixels,
        )  # fmt: skip

    def boundary(self, decision: int) -> int:
        """How many steps are done when ``decision`` (0 … decisions) is taken."""
        return round(decision * self.steps / self.decisions)

    def with_seed(self, seed: int) -> Task:
        """The same task with another seed."""
        return dataclasses.replace(self, seed=seed)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], where: str = "task") -> Task:
        """A task from a mapping, as a suite file has it.

        Args:
            mapping: field names to values.
            where: what to call it in an error.

        Raises:
            ValueError: unknown field, or a value out of range.
        """
        allowed = [item.name for item in dataclasses.fields(cls)]
        unknown = sorted(map(str, set(mapping) - set(allowed)))
        if unknown:
            raise ValueError(f"{where}: unknown field {', '.join(unknown)}; allowed are {', '.join(allowed)}")
        values = dict(mapping)
        for item in dataclasses.fields(cls):
            # YAML reads `1` as a whole number and `1e-3` as text; both are fine where a number is meant.
            value = values.get(item.name)
            if item.type == "float" and isinstance(value, (int, str)) and not isinstance(value, bool):
                try:
                    values[item.name] = float(value)
                except ValueError:
                    raise ValueError(f"{where}: {item.name} must be a number, got {value!r}") from None
        try:
            return cls(**values)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
