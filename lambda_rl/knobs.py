"""Knobs: numbers that a policy may move while a network trains, λ first, and what turning them does."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.optim import Optimizer

from lambda_rl.checks import bounded, shown
from lambda_rl.ops import V
from lambda_rl.penalties import PENALTIES
from lambda_rl.registry import Registry

LAM = "lam"
"""Name of the knob that is λ, the strength of the penalty."""

KAPPA = "kappa"
"""Name of the knob that is κ = λ · Σ effective learning rate of the run, the decay budget: by how many e-foldings decay
alone would shrink the weights. It makes λ comparable between learning rates, momenta, budgets and scales of weights."""

UNITS = (LAM, KAPPA)
"""What the first knob of a policy that sets λ may be."""

LARGEST_LOG = 30.0
"""Knobs lie within 10 to the power of ± this."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class Knob:
    """One number under a policy's control: its name, its range, and how far one decision may move it.

    It is moved by its *level*, log₁₀ of its value; a kind of knob whose scale is linear (:attr:`KnobKind.scale`) by the
    value itself, and all that is said here of logarithms is then said of the value.

    Attributes:
        name: 1 to 64 letters, digits, ``_``, ``.`` or ``-``; :data:`LAM` is λ, :data:`KAPPA` the decay budget.
        log_low: log₁₀ of the smallest value, -30 or more.
        log_high: log₁₀ of the largest value, 30 or less.
        max_change: what an action of 1 adds to the logarithm, in decades; above 0, 60 or less.

    Raises:
        ValueError: a number outside of these, a range that is reversed or empty, or another name.
    """

    name: str
    log_low: float
    log_high: float
    max_change: float

    def __post_init__(self) -> None:
        """Checks all, and makes the numbers floats."""
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ValueError(
                f"a knob's name must be 1 to 64 letters, digits, '_', '.' or '-', got {shown(self.name)}"
            )
        knob = f"knob {self.name}"
        low = bounded(f"{knob}: log10 of its smallest value", self.log_low, -LARGEST_LOG, LARGEST_LOG)
        high = bounded(f"{knob}: log10 of its largest value", self.log_high, -LARGEST_LOG, LARGEST_LOG)
        change = bounded(f"{knob}: max_change (decades)", self.max_change, 0.0, 2 * LARGEST_LOG)
        if low >= high:
            raise ValueError(f"{knob}: range reversed or empty: log_low={low} must be below log_high={high}")
        if change == 0:
            raise ValueError(f"{knob}: max_change must be positive (decades per decision), got 0")
        for field, number in (("log_low", low), ("log_high", high), ("max_change", change)):
            object.__setattr__(self, field, number)


class KnobKind:
    """What turning a knob does. A new knob is a subclass and a registration in :data:`KNOBS`.

    λ itself is no kind: how it enters the loss is a penalty's business, and how it is written to an optimizer that of
    the parameter groups with decay. All other knobs are moved beside it.

    Attributes:
        log_low: the smallest level, for those who name no range.
        log_high: the largest level.
        max_change: by how much of the level an action of 1 moves it.
        neutral: the value at which a run is as without the knob; it starts there.
        scale: whether the level is log₁₀ of the value, or the value.
        bounds: the smallest and the largest value that there can be.
        step_input: name of the tensor that a training step needs for it beside those that it always has; empty: none.
        entries: whether it is one number of a vector, named ``<kind>.1``, ``<kind>.2``, …
        entry: which one, from 1.
    """

    log_low: float = -1.0
    log_high: float = 1.0
    max_change: float = 0.25
    neutral: float = 1.0
    scale: ClassVar[Literal["log10", "linear"]] = "log10"
    bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)
    step_input: ClassVar[str] = ""
    entries: ClassVar[bool] = False
    entry: int = 0

    def train(self, inputs: dict[str, Tensor], value: Tensor) -> None:
        """Changes what the steps of an interval depend on, in place, for N stacked networks.

        Args:
            inputs: ``lam`` ``[N]``, ``momentum`` ``[N]`` and ``learning_rate`` ``[steps, N]``; and
                :attr:`step_input`, ``[N]``, or ``[N, L]`` of L layers.
            value: the knob's, ``[N]``.
        """
        if not self.step_input:
            raise NotImplementedError
        inputs[self.step_input].copy_(value)

    def deploy(self, optimizers: Sequence[Optimizer], value: float, before: float) -> None:
        """Does the same to the optimizers of a user's loop, before the steps of an interval.

        Args:
            optimizers: those that the schedule is attached to.
            value: the knob's.
            before: its value until now, so that a factor can be taken back.
        """
        if not self.step_input:
            raise NotImplementedError

    def turn(self, model: nn.Module, value: float) -> None:
        """Does it to the network of a user's loop, where that is the place.

        Raises:
            ValueError: the network has no such place.
        """

    def level(self, value: float) -> float:
        """The level of a value."""
        return value if self.scale == "linear" else math.log10(value)

    def value(self, level: V) -> V:
        """The value of a level, plain numbers or arrays."""
        return level if self.scale == "linear" else 10.0**level

    def knob(self, name: str) -> Knob:
        """The knob under the kind's own range."""
        return Knob(name, self.log_low, self.log_high, self.max_change)

    def check(self, knob: Knob) -> None:
        """Refuses a range beyond what the value can be.

        Raises:
            ValueError: it is.
        """
        low, high = self.value(knob.log_low), self.value(knob.log_high)
        if low < self.bounds[0] or high > self.bounds[1]:
            raise ValueError(
                f"knob {knob.name}: its range, {low:g} to {high:g}, is beyond what it can be, "
                f"{self.bounds[0]:g} to {self.bounds[1]:g}"
            )


KNOBS: Registry[KnobKind] = Registry("knob")
"""Kinds of knobs beside λ, by name."""

MOST_ENTRIES = 1000
"""Entries of a vector, at most."""

_LAMBDAS = (LAM, KAPPA)


class Dropout(KnobKind):
    """p, the share of hidden units that are dropped (Srivastava et al. 2014); what is left is divided by 1 - p."""

    log_low, log_high, max_change, neutral = 0.0, 0.7, 0.1, 0.0
    scale, bounds = "linear", (0.0, 0.95)
    step_input = "dropout"

    def turn(self, model: nn.Module, value: float) -> None:
        """Sets p of all modules whose class has Dropout in its name."""
        found = [m for m in model.modules() if "Dropout" in type(m).__name__ and hasattr(m, "p")]
        if not found:
            raise ValueError(
                f"knob dropout: {type(model).__name__} has no dropout module; put torch.nn.Dropout() or "
                "lambda_rl.attach.model_knobs.Dropout() where units are to be dropped"
            )
        for module in found:
            if isinstance(module.p, Tensor):  # data of a compiled network, not code
                module.p.fill_(value)
            else:
                module.p = value  # type: ignore[assignment]  # whatever module has a number there


class LabelSmoothing(KnobKind):
    """ε: the target is (1 - ε) of the label and ε of all classes alike (Szegedy et al. 2016), as in torch."""

    log_low, log_high, max_change, neutral = 0.0, 0.4, 0.05, 0.0
    scale, bounds = "linear", (0.0, 1.0)
    step_input = "label_smoothing"


class Augmentation(KnobKind):
    """How far crops and flips go: 0 not at all, 1 as ``Task.augment`` says."""

    log_low, log_high, max_change, neutral = 0.0, 1.0, 0.2, 1.0
    scale, bounds = "linear", (0.0, 1.0)
    step_input = "augmentation"


class Alpha(KnobKind):
    """α of the loss α·J(x) + (1 - α)·J(x'), x' the adversarial example of the fast gradient sign method.

    Goodfellow et al. (2015), arXiv:1412.6572, equation after (5); see :func:`lambda_rl.attach.model_knobs.adversarial`.
    """

    log_low, log_high, max_change, neutral = 0.0, 1.0, 0.2, 1.0
    scale, bounds = "linear", (0.0, 1.0)
    step_input = "alpha"


class Layer(KnobKind):
    """A factor of λ for the weights of one layer, counted from the input."""

    log_low, log_high, max_change = -1.5, 1.5, 0.3
    step_input = "layer"
    entries = True

    def train(self, inputs: dict[str, Tensor], value: Tensor) -> None:
        """See :meth:`KnobKind.train`."""
        inputs[self.step_input][:, self.entry - 1].copy_(value)

    def deploy(self, optimizers: Sequence[Optimizer], value: float, before: float) -> None:
        """See :meth:`KnobKind.deploy`; the factor is read where λ is written."""
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        own = [group for group in groups if group.get("layer") == self.entry]
        if not own:
            have = sum("layer" in group for group in groups)
            raise ValueError(
                f"knob layer.{self.entry}: {have} parameter groups say which layer they are; "
                "lambda_rl.split_parameters(model, decay, per_layer=True) makes one for each layer with weights"
            )
        for group in own:
            group["lam_factor"] = value


KNOBS.register("dropout", Dropout())
KNOBS.register("label_smoothing", LabelSmoothing())
KNOBS.register("augmentation", Augmentation())
KNOBS.register("alpha", Alpha())
KNOBS.register("layer", Layer())


def kind_of(name: str) -> KnobKind:
    """The kind of a knob beside λ; of one of several, such as ``layer.2``, with its number.

    Raises:
        ValueError: there is no such knob; the message lists those that there are.
    """
    base, dot, number = name.rpartition(".")
    if dot and base in KNOBS and KNOBS[base].entries:
        if not number.isdecimal() or not 1 <= int(number) <= MOST_ENTRIES:
            raise ValueError(
                f"knob {shown(name)}: entries of {base} are {base}.1, {base}.2, … {base}.{MOST_ENTRIES}"
            )
        kind = copy.copy(KNOBS[base])
        kind.entry = int(number)
        return kind
    if KNOBS[name].entries:
        raise ValueError(f"knob {name} is a vector; name its entries: {name}.1, {name}.2, …")
    return KNOBS[name]


def knob_scale(name: str) -> KnobKind:
    """What turns levels into values: the knob's kind, or a logarithmic one where it is of no known kind, or λ."""
    try:
        return KnobKind() if name in _LAMBDAS else kind_of(name)
    except ValueError:
        return KnobKind()


def further_knobs(knobs: Iterable[str | Knob]) -> tuple[Knob, ...]:
    """Knobs beside λ: those that are named under their kind's own range, others as they are.

    λ itself may be named first, as ``lam``, ``kappa`` or by its penalty, such as ``l2``.

    Raises:
        ValueError: there is no such knob, one is named twice, or its range is beyond what it can be.
    """
    given = list(knobs)
    if given and isinstance(given[0], str) and given[0] in (*_LAMBDAS, *PENALTIES):
        del given[0]
    found = tuple(kind_of(knob).knob(knob) if isinstance(knob, str) else knob for knob in given)
    for number, knob in enumerate(found):
        if any(knob.name == other.name for other in found[:number]):
            raise ValueError(f"knob {knob.name} is named twice")
        knob_scale(knob.name).check(knob)
    return found
