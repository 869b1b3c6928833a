"""Which κ to take when nothing of a run has been seen: one constant for all, or a law of what is known before it.

The numbers are a JSON file that a command makes (``lambda_rl.agents.baselines.kappa_law`` fits them)::

    {"format": 1,
     "constant": {"kappa": 2.0, "low": 1.0, "high": 4.0},
     "law": {"intercept": 0.4, "terms": {"log_epochs": 0.2}, "covariance": [[0.01, 0.0], [0.0, 0.01]],
             "lowest": -2.0, "highest": 2.0},
     "tasks": 2000, "source": "any-loop", "command": "python scripts/…"}

``law`` may be null. Its log₁₀ κ is the intercept and the sum of coefficient · term, within ``lowest`` and ``highest``;
``covariance`` is that of intercept and coefficients, in this order. Intervals are of 95 %, by bootstrap over tasks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from lambda_rl.checks import bounded, bounded_int, shown

FORMAT = 1
WIDTH_95 = 1.96
"""Standard deviations on each side of an interval of 95 %."""
LARGEST_LOG = 6.0
"""log₁₀ κ lies within ± this."""


@dataclass(frozen=True)
class Known:
    """What is known of a run before it; None is what is not.

    Attributes:
        epochs: passes over the training examples.
        params_per_example: parameters with decay over training examples.
        adaptive: whether the optimizer is Adam or its like.
        normalised: whether the network has norm layers.
        decay_sum: κ over λ: the peak learning rate times the steps, for SGD over 1 - momentum.
    """

    epochs: float | None = None
    params_per_example: float | None = None
    adaptive: bool | None = None
    normalised: bool | None = None
    decay_sum: float | None = None


def _log(number: float | None) -> float | None:
    return None if number is None else math.log10(number)


def _sign(flag: bool | None) -> float:
    return 0.0 if flag is None else 1.0 if flag else -1.0


TERMS: dict[str, Callable[[Known], float | None]] = {
    "log_epochs": lambda known: _log(known.epochs),
    "log_params_per_example": lambda known: _log(known.params_per_example),
    "adaptive": lambda known: _sign(known.adaptive),
    "normalised": lambda known: _sign(known.normalised),
}
"""Terms that a law may have; None where a run does not say enough."""


@dataclass(frozen=True)
class KappaLaw:
    """The numbers of the file; see the module.

    Attributes:
        constant: (log₁₀ κ, lower end, upper end) of the best single value.
        coefficients: by term, the first one named "" for the intercept; empty: no law.
        covariance: of the coefficients.
        ends: smallest and largest log₁₀ κ of the law.
    """

    constant: tuple[float, float, float]
    coefficients: Mapping[str, float]
    covariance: tuple[tuple[float, ...], ...] = ()
    ends: tuple[float, float] = (-LARGEST_LOG, LARGEST_LOG)

    def kappa(self, known: Known) -> tuple[float, float, float]:
        """(κ, lower end, upper end) for a run: by the law if the run says all that it asks for, else the constant."""
        terms = [1.0 if not name else TERMS[name](known) for name in self.coefficients]
        values = [value for value in terms if value is not None]
        low, high = self.ends
        middle, *around = self.constant
        if self.coefficients and len(values) == len(terms):
            log = sum(c * value for c, value in zip(self.coefficients.values(), values, strict=True))
            middle = min(max(log, low), high)
            around = [middle - self._width(values), middle + self._width(values)]
        return 10.0**middle, 10.0 ** around[0], 10.0 ** around[1]

    def _width(self, values: list[float]) -> float:
        """Half of the interval, in decades."""
        rows = zip(values, self.covariance, strict=True)
        variance = sum(a * b * c for a, row in rows for b, c in zip(values, row, strict=True))
        return WIDTH_95 * math.sqrt(max(variance, 0.0))

    @classmethod
    def from_dict(cls, values: Any) -> KappaLaw:
        """From the JSON's content.

        Raises:
            ValueError: something is missing, unknown or out of range.
        """
        check_keys("table of κ", values, {"format", "constant", "law", "tasks", "source", "command"})
        bounded_int("format", values["format"], FORMAT, FORMAT)
        bounded_int("tasks", values["tasks"], 0, 10**9)
        constant = values["constant"]
        check_keys("constant", constant, {"kappa", "low", "high"})
        least, most = 10.0**-LARGEST_LOG, 10.0**LARGEST_LOG
        low, middle, high = (bounded(name, constant[name], least, most) for name in ("low", "kappa", "high"))
        if not low <= middle <= high:
            raise ValueError(f"constant: {low:g} <= {middle:g} <= {high:g} does not hold")
        logs = (math.log10(middle), math.log10(low), math.log10(high))
        return cls(logs, {}) if values["law"] is None else cls(logs, *_law(values["law"]))


def check_keys(what: str, values: Any, names: set[str]) -> None:
    """Raises ``ValueError`` unless values are a mapping with these keys."""
    if not isinstance(values, dict) or values.keys() != names:
        raise ValueError(f"{what} must have the keys {', '.join(sorted(names))}, got {shown(values)}")


def _law(
    values: Any,
) -> tuple[dict[str, float], tuple[tuple[float, ...], ...], tuple[float, float]]:
    check_keys("law", values, {"intercept", "terms", "covariance", "lowest", "highest"})
    terms, covariance = values["terms"], values["covariance"]
    if not isinstance(terms, dict) or not terms.keys() <= TERMS.keys():
        raise ValueError(f"law: terms must be some of {', '.join(TERMS)}, got {shown(terms)}")
    numbers = {"": values["intercept"], **terms}
    coefficients = {name: bounded(f"law: {name or 'intercept'}", c, -1e3, 1e3) for name, c in numbers.items()}
    size = len(coefficients)
    square = isinstance(covariance, list) and [len(row) for row in covariance] == [size] * size
    if not square:
        raise ValueError(f"law: covariance must be {size} × {size}, got {shown(covariance)}")
    table = tuple(tuple(bounded("law: covariance", c, -1e6, 1e6) for c in row) for row in covariance)
    low, high = (bounded(name, values[name], -LARGEST_LOG, LARGEST_LOG) for name in ("lowest", "highest"))
    if low > high:
        raise ValueError(f"law: lowest={low:g} is above highest={high:g}")
    return coefficients, table, (low, high)


def load_kappa_law(path: str | Path | None = None) -> KappaLaw:
    """The law in a file; None: the one that comes with the package.

    Raises:
        ValueError: it is none; the message names the file.
    """
    source = resources.files(__package__) / "kappa_law.json" if path is None else Path(path)
    try:
        return KappaLaw.from_dict(json.loads(source.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{source}: {error}") from error
