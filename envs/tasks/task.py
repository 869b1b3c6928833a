"""A task: all that defines an inner run but λ."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lambda_rl.envs.data import DATA_SETS, data_forms, data_set
from lambda_rl.envs.networks import NETWORKS
from lambda_rl.envs.networks.mlp import MLP
from lambda_rl.envs.optimizers import OPTIMIZERS, SGD
from lambda_rl.envs.tasks.fields import (
    FieldHelp,
    OneOf,
    Options,
    Spec,
    choices,
    field_help,
    fields_of,
    number_of,
    one_line_errors,
    shown_name,
)
from lambda_rl.penalties import DECAYS, PENALTIES
from lambda_rl.penalties import DEFAULT as DEFAULT_PENALTY

LR_SCHEDULES = ("constant", "cosine", "linear", "exponential", "step")
LR_TOLD = ("sum", "nominal")
PIXELS = ("standardised", "mean-subtracted")


def option_names() -> str:
    """The options of every network, for people."""
    return "; ".join(f"{name}: {', '.join(network.options) or 'none'}" for name, network in NETWORKS.items())


MOST_IMAGES = 100_000_000
MOST_STEPS = 10_000_000

Images = Annotated[int, Field(ge=1, le=MOST_IMAGES)]


@one_line_errors("task")
@dataclass(frozen=True, config=ConfigDict(strict=True, allow_inf_nan=False, extra="forbid"))
class Task:
    """One inner run, but for λ. The fields are those of a suite file, with these defaults.

    Numbers are taken as they are meant: ``1`` is a rate, ``1.0`` or ``true`` is no whole number.

    Raises:
        ValueError: values are out of their range; the message names each of these fields and what is allowed.
    """

    network: Annotated[
        str,
        OneOf(NETWORKS.names),
        Field(description="`mlp` (two layers), `cnn3` (conv–ReLU–pool–affine–ReLU–affine) or `resnet9`"),
    ] = MLP.name
    width: Annotated[
        int,
        Field(
            ge=1,
            le=65_536,
            description="hidden units of `mlp`, filters of `cnn3`, filters of the first layer of `resnet9`",
        ),
    ] = 32
    resolution: Annotated[
        int,
        Field(
            ge=1,
            le=512,
            description="side of the input in pixels; it divides that of the images, which are averaged in blocks: "
            "2×2 of images of 32 at 16; tables have 1",
        ),
    ] = 16
    train_size: Annotated[
        Images, Field(description="training images, drawn with the seed from the fold's `inner-train` part")
    ] = 5000
    val_size: Annotated[
        Images,
        Field(
            description="validation images that schedules watch, drawn from the fold's `inner-val` part; "
            "a grid search that selects on validation gets the same"
        ),
    ] = 1000
    label_noise: Annotated[
        float,
        Field(
            ge=0.0,
            le=0.95,
            description="share of the training labels replaced by another class drawn uniformly; validation and "
            "test labels stay clean",
        ),
    ] = 0.0
    optimizer: Annotated[
        str,
        OneOf(OPTIMIZERS.names),
        Field(
            description="`sgd` (with momentum) or `adamw`; `adam` is the same, and both are Adam if `decay` is coupled"
        ),
    ] = SGD.name
    learning_rate: Annotated[float, Field(ge=1e-8, le=1e4, description="learning rate at the start")] = 0.05
    lr_schedule: Annotated[
        str,
        OneOf(lambda: LR_SCHEDULES),
        Field(
            description="`constant`, `cosine` or `linear` (both to 0 at the end), `exponential` (to 1/100 at the end) "
            "or `step` (times `lr_decay` after every `lr_decay_every` steps)"
        ),
    ] = "cosine"
    momentum: Annotated[float, Field(ge=0.0, le=0.9999, description="of SGD; β₁ of AdamW")] = 0.9
    batch_size: Annotated[int, Field(ge=1, le=1_000_000, description="images in a minibatch")] = 64
    steps: Annotated[int, Field(ge=1, le=MOST_STEPS, description="optimizer steps in the run")] = 300
    decisions: Annotated[
        int,
        Field(
            ge=1,
            le=MOST_STEPS,
            description="intervals that the run is divided into, at most `steps`; λ is chosen once for each",
        ),
    ] = 15
    penalty: Annotated[
        str,
        OneOf(PENALTIES.names),
        Field(description="`l2` (½‖w‖²), `l1` (‖w‖₁) or `l0.5` (Σ|w|^½), on weights, not on biases or norms"),
    ] = DEFAULT_PENALTY
    decay: Annotated[
        str,
        OneOf(lambda: DECAYS),
        Field(
            description="`coupled` adds λ·R′(w) to the gradient; `decoupled` shrinks weights by lr·λ (`l2` only)"
        ),
    ] = "coupled"
    initial_lam: Annotated[
        float,
        Field(
            ge=1e-12,
            le=1e6,
            description="start λ of schedules that are given none, the learned policy among them",
        ),
    ] = 0.01
    augment: Annotated[bool, Field(description="random crops and horizontal flips")] = False
    pixels: Annotated[
        str,
        OneOf(lambda: PIXELS),
        Field(
            description="`standardised` (mean 0 and deviation 1 per channel) or `mean-subtracted` (0…255 minus the "
            "mean training image)"
        ),
    ] = "standardised"
    init_std: Annotated[
        float,
        Field(
            ge=0.0,
            le=10.0,
            description="initial weights are normal with this deviation and biases 0; 0: both uniform in ±1/√fan-in",
        ),
    ] = 0.0
    lr_decay: Annotated[float, Field(ge=1e-6, le=1.0, description="factor of `lr_schedule: step`")] = 0.95
    lr_decay_every: Annotated[
        int,
        Field(
            ge=0,
            le=MOST_STEPS,
            description="steps between two decays of `lr_schedule: step`; 0: an epoch (`train_size` // `batch_size`, "
            "at least 1)",
        ),
    ] = 0
    warmup: Annotated[
        float,
        Field(
            ge=0.0,
            le=0.9,
            description="share of the steps over which the learning rate rises to what `lr_schedule` says",
        ),
    ] = 0.0
    init_scale: Annotated[
        float, Field(ge=0.001, le=100.0, description="initial weights that λ acts on are multiplied by this")
    ] = 1.0
    input_scale: Annotated[
        float,
        Field(
            ge=1e-3,
            le=1e3,
            description="the network reads `input_scale` times the sum of pixels and `input_shift`",
        ),
    ] = 1.0
    input_shift: Annotated[float, Field(ge=-10.0, le=10.0, description="see `input_scale`")] = 0.0
    horizon: Annotated[
        float,
        Field(
            ge=0.1, le=10.0, description="total steps that schedules are told, over those that the run has"
        ),
    ] = 1.0
    lr_told: Annotated[
        str,
        OneOf(lambda: LR_TOLD),
        Field(
            description="sum of learning rates that schedules are told: the true one, or `learning_rate` times steps"
        ),
    ] = "sum"
    initial_kappa: Annotated[
        float,
        Field(
            ge=0.0,
            le=1e6,
            description="start λ times the told sum of learning rates; 0: `initial_lam` says it",
        ),
    ] = 0.0
    data: Annotated[
        str,
        Spec(DATA_SETS.names, data_forms, data_set),
        Field(
            max_length=4096,
            description="data set, as `--data` takes it; empty: the one that the command or environment was given",
        ),
    ] = ""
    network_options: Annotated[
        tuple[tuple[str, int | float | str | bool], ...],
        Options(option_names),
        Field(description="further options of the network, by name, as in `{depth: 2}`"),
    ] = ()
    seed: Annotated[
        int,
        Field(
            ge=0,
            le=10**15,
            description="of all that is random in the run: subset, label noise, initial weights, minibatches, "
            "augmentation",
        ),
    ] = 0

    def __post_init__(self) -> None:
        """Checks what fields are together."""
        faults = []
        if self.decisions > self.steps:
            faults.append(f"decisions={self.decisions} must be at most steps={self.steps}")
        if self.decay == "decoupled" and not PENALTIES[self.penalty].is_weight_decay:
            names = ", ".join(name for name, penalty in PENALTIES.items() if penalty.is_weight_decay)
            faults.append(f"decay=decoupled is defined for penalty={names} only, got penalty={self.penalty}")
        try:
            NETWORKS[self.network].resolved(self.network_options)
        except ValueError as error:
            faults.append(f"network_options: {error}")
        if faults:
            raise ValueError("; ".join(faults))

    @property
    def name(self) -> str:
        """A short name without the seed; two tasks of a suite may share it (see ``Suite.task_names``)."""
        options = "".join(f"-{name}{value}" for name, value in self.network_options)
        noise = f"-noise{self.label_noise:g}" if self.label_noise else ""
        data = f"-{self.data.partition(':')[0]}" if self.data else ""
        return f"{self.network}{self.width}{options}{data}-n{self.train_size}{noise}-val{self.val_size}"

    @property
    def group_key(self) -> tuple[object, ...]:
        """Runs whose keys agree have the same shapes and update rule, so that they can be trained as one network."""
        return (
            self.network, self.width, self.resolution, self.batch_size, self.optimizer, self.penalty, self.decay,
            self.augment, self.pixels, self.input_scale, self.input_shift, self.data, self.network_options,
        )  # fmt: skip

    def boundary(self, decision: int) -> int:
        """How many steps are done when ``decision`` (0 … decisions) is taken."""
        return round(decision * self.steps / self.decisions)

    @property
    def told_steps(self) -> float:
        """The steps that schedules take the run to have."""
        return self.steps * self.horizon

    def with_seed(self, seed: int) -> Task:
        """The same task with another seed."""
        return dataclasses.replace(self, seed=seed)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], where: str = "task") -> Task:
        """A task from a mapping, as a suite file has it.

        Args:
            mapping: field names to values; a text such as ``1e-3`` is a number where a number that need not be whole
                is meant.
            where: what to call it in an error.

        Raises:
            ValueError: unknown fields, or values out of range; the message lists all of them.
        """
        fields = field_types()
        faults = []
        unknown = sorted(shown_name(name) for name in mapping if name not in fields)
        if unknown:
            faults.append(f"unknown field {', '.join(unknown)}; allowed are {', '.join(fields)}")
        values: dict[str, Any] = {
            name: number_of(value) if fields[name] is float and isinstance(value, str) else value
            for name, value in mapping.items()
            if name in fields
        }
        try:
            made = cls(**values)
        except ValueError as error:
            faults.append(str(error).removeprefix("task: "))
        if faults:
            raise ValueError(f"{where}: {'; '.join(faults)}")
        return made


def field_types() -> dict[str, Any]:
    """The type of each field of a task (``int``, ``float``, …), in order."""
    return {name: info.annotation for name, info in fields_of(Task).items()}


def field_choices(name: str) -> tuple[Any, ...]:
    """All values that a field of a task may have, where they are few; else empty."""
    return choices(fields_of(Task)[name])


def may_range(name: str) -> bool:
    """Whether a field of a task may vary over a range: all numbers within it make sense."""
    return (
        field_types()[name] in (int, float)
        and not field_choices(name)
        and name != "resolution"  # few divide the side of the images
    )


def task_help() -> list[FieldHelp]:
    """Name, default, allowed values and meaning of every field of a task."""
    return field_help(Task)
