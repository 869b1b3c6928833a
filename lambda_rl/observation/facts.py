"""What is known of a run before it starts."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from lambda_rl.arguments import real_number, whole_number
from lambda_rl.checks import shown

STATIC_SCALES = {
    "num_train": (3.5, 1.5),
    "num_params": (5.0, 1.5),
    "epochs": (1.0, 1.5),
    "val_size": (2.5, 1.0),
}
"""Facts that are features: (log₁₀ of the fact - first) / second."""

ADAM_PULL = 100.0
"""What Adam multiplies a coupled penalty's pull by, about: it divides the penalty's gradient by the root mean square of
the whole gradient, and that is 0.003 to 0.03 for most of a run in networks like those of this package's tasks. With it,
the κ that is best has the size that it has with other optimizers."""


def decay_pull(adaptive: bool | None, *, coupled: bool) -> float:
    """What an optimizer multiplies the pull of the decay by, see ``pull`` of :class:`RunFacts`."""
    return ADAM_PULL if adaptive and coupled else 1.0


CONSTANTS = (
    "initial_norm", "log_classes", "chance", "log_lr_sum", "log_decay_sum", "log_num_train", "log_num_params",
    "log_epochs", "log_val_size", "adaptive", "normalised",
)  # fmt: skip
"""What :func:`constants` gives: the norm of the initial penalised weights, log C and 1/C of C classes, log₁₀ of the
other numbers, and 1, -1 or 0 for yes, no or unknown."""

YES_OR_NO = ("adaptive", "normalised")
"""Facts that are yes, no or unknown."""


@dataclass(frozen=True)
class RunFacts:
    """What is known before a run starts.

    Attributes:
        num_train: training examples.
        num_params: parameters that the penalty acts on.
        val_size: validation examples that the signals are measured on.
        num_classes: classes C; chance loss is log C, chance accuracy 1/C.
        epochs: passes over the training examples in the whole run.
        lr_sum: effective learning rate summed over the steps of the whole run: Σ lr for decoupled decay and Adam,
            Σ lr / (1 - momentum) for SGD with momentum. ``lam * lr_sum`` is how many e-foldings L2 alone would
            shrink the weights by, which makes λ comparable between learning rates, momenta and budgets.
        adaptive: whether the optimizer scales each weight's step by its gradients (Adam and its like); None: unknown.
        normalised: whether the network has layers that normalise, so that the size of the weights before them does
            not matter; None: unknown.
        pull: what the optimizer multiplies the pull of the decay by: 1, or :data:`ADAM_PULL` for Adam with coupled
            decay.

    Raises:
        ValueError: a number is not finite and positive, there are fewer than two classes, or one of the last two is
            neither true, false nor None.
    """

    num_train: int
    num_params: int
    val_size: int
    num_classes: int
    epochs: float
    lr_sum: float
    adaptive: bool | None = None
    normalised: bool | None = None
    pull: float = 1.0

    @property
    def decay_sum(self) -> float:
        """What λ is multiplied by to give κ."""
        return self.lr_sum * self.pull

    def __post_init__(self) -> None:
        """Refuses facts that no run can have, and makes the others plain numbers, so that JSON can hold them."""
        for item in fields(self):
            name, value = f"run facts: {item.name}", getattr(self, item.name)
            if item.name in YES_OR_NO:
                if value is not None and type(value) is not bool:
                    raise ValueError(f"{name} must be True, False or None, got {shown(value)}")
                continue
            if item.type == "int":
                number: float = whole_number(name, value, least=2 if item.name == "num_classes" else 1)
            else:
                number = real_number(name, value, more=True)
            object.__setattr__(self, item.name, number)


_SIGNS = {None: 0.0, False: -1.0, True: 1.0}


def constants(facts: RunFacts, initial_norm: float) -> dict[str, float]:
    """The constants of a run that features are computed from, by the names in :data:`CONSTANTS`."""
    logs = ("lr_sum", "decay_sum", "num_train", "num_params", "epochs", "val_size")
    return {
        "initial_norm": initial_norm,
        "log_classes": math.log(facts.num_classes),
        "chance": 1.0 / facts.num_classes,
        **{f"log_{name}": math.log10(getattr(facts, name)) for name in logs},
        **{name: _SIGNS[getattr(facts, name)] for name in YES_OR_NO},
    }


def typical_fact(name: str, feature: float) -> float:
    """The fact whose feature is ``feature``: with a policy's mean feature, what it was trained on.

    Args:
        name: ``num_train``, ``num_params``, ``epochs`` or ``val_size``.
        feature: of ``log_<name>``.
    """
    middle, width = STATIC_SCALES[name]
    return float(10.0 ** (feature * width + middle))
