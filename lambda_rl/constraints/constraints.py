"""Constraints and their multipliers, as a user's loop sees them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from lambda_rl.arguments import real_number, whole_number
from lambda_rl.attach.distributed import Ranks
from lambda_rl.checks import listed, shown
from lambda_rl.constraints.multiplier import Ascent, Multiplier

Row = dict[str, float]


class Constraints:
    """Minimises a loss subject to g(w) <= 0 as a saddle point: weights descend, multipliers λ >= 0 ascend.

    The weights minimise ``loss + Σ λ · g(w)`` (:meth:`penalty`), and each λ grows while its constraint is violated
    (:meth:`step`), until the constraint just holds. A λ that is learned like a weight goes to 0 instead: no penalty is
    cheaper than a penalty. ::

        constraints = Constraints("floor", lr=0.1)
        for x, y in batches:
            output = model(x)
            g = shortfall(output, 3.0).mean() - 0.01         # <= 0 where the constraint holds
            constraints.step(floor=g)                         # λ moves
            loss = mse_loss(output, y) + constraints.penalty(floor=g)
            optimizer.zero_grad(); loss.backward(); optimizer.step()

    :meth:`step` before :meth:`penalty`, so that the weights already answer to the new λ: then a step costs no second
    forward pass, and the two do not circle each other as they do when both move at once.

    **Without a gradient.** :meth:`step` may be given the true violation, a rate for example, and :meth:`penalty`
    something near it that has a gradient (:mod:`lambda_rl.constraints.measures`); as often as each is known.

    **Where the two oscillate** (λ swings around its value): ``kp``, or ``augmented`` where :meth:`penalty` gets what
    :meth:`step` gets.

    **Several processes**: violations are averaged over the ranks, so that all have the same λ; every rank calls
    :meth:`step` as often.

    Args:
        constraints: the name of one, names of several, or the shape of each by name; names alone are single numbers.
            Each entry of a shape has a multiplier of its own.
        lr: step size of the multipliers: λ per step and unit of violation.
        momentum: of the ascent, in (-1, 1).
        kp: proportional gain of a PI controller, in units of ``lr``; :class:`~lambda_rl.constraints.multiplier.Ascent`.
        smoothing: its ν, in [0, 1): how much the violation that it answers to is a mean over the last steps.
        augmented: c of the augmented Lagrangian: ``([λ + c · g]₊² - λ²) / 2c`` in place of ``λ · g``. That is
            λ · g + c/2 · g² where the constraint is violated (Nocedal & Wright, "Numerical optimization", 17.4).
        max_multiplier: largest λ. One that gets there under a violation gives one warning and stays: the constraint
            cannot be met, or λ was faster than the weights.
        distributed: "auto" averages over ranks if there are any; False: this process on its own.

    Attributes:
        history: rows of ``step``, ``violation/NAME`` and ``multiplier/NAME`` (of a constraint with a shape the
            largest entry); a constraint that was left out of a step has no violation in that row.
        record_every: steps from one row to the next, 1 unless it is set; 0: no rows.
        steps: calls of :meth:`step` so far.

    Raises:
        ValueError: no name, one twice, a shape that is none, or a number out of range.
    """

    def __init__(
        self,
        constraints: str | Sequence[str] | Mapping[str, Sequence[int]],
        *,
        lr: float,
        momentum: float = 0.0,
        kp: float = 0.0,
        smoothing: float = 0.0,
        augmented: float = 0.0,
        max_multiplier: float = 1000.0,
        distributed: Literal["auto", False] = "auto",
    ) -> None:
        self._ascent = Ascent(lr, momentum, kp, smoothing, max_multiplier)
        self._augmented = real_number("augmented", augmented)
        self._ranks = Ranks(distributed)
        self._multipliers = {
            name: Multiplier(shape, self._ascent) for name, shape in _shapes(constraints).items()
        }
        self._warned: set[str] = set()
        self.steps = 0
        self.record_every = 1
        self.history: list[Row] = []

    @property
    def multipliers(self) -> dict[str, Tensor]:
        """λ of each constraint now: float64, on the CPU, of the constraint's shape."""
        return {name: one.value.clone() for name, one in self._multipliers.items()}

    def step(self, /, **violations: Any) -> None:
        """Moves the multipliers along their violations.

        Args:
            **violations: g by constraint, tensors or numbers, > 0 where violated; gradients are not used. A constraint
                that is left out was not measured: its λ stays.

        Raises:
            ValueError: none given, an unknown name, another shape, a number that is not finite. No λ has moved then.
        """
        given = {name: self._measured(name, value) for name, value in self._known(violations).items()}
        if self._ranks.several:
            given = self._averaged(given)
        # After the ranks have met, so that one that is not finite ends all of them.
        for name, violation in given.items():
            if not violation.isfinite().all():
                raise ValueError(f"the violation of {name!r} must be finite, got {shown(violation.tolist())}")
        self.steps += 1
        for name, violation in given.items():
            multiplier = self._multipliers[name]
            multiplier.step(violation)
            if name not in self._warned and multiplier.at_limit(violation):
                self._warned.add(name)
                self._warn_of_limit(name, violation)
        if self.record_every and self.steps % self.record_every == 0:
            self._record(given)

    def penalty(self, /, **violations: Tensor) -> Tensor:
        """What is added to the loss: Σ λ · g, with ``augmented`` its quadratic form; no gradient goes to λ.

        Args:
            **violations: g by constraint, or what stands for it, with a gradient. One left out adds nothing.

        Returns:
            One number, on the device and in the type of the violations.

        Raises:
            ValueError: none given, an unknown name, another shape, or a violation without gradient while gradients
                are recorded.
        """
        terms = []
        for name, violation in self._known(violations).items():
            if torch.is_grad_enabled() and not (isinstance(violation, Tensor) and violation.requires_grad):
                raise ValueError(
                    f"the violation of {name!r} has no gradient, so its penalty would move no weight: give penalty() a "
                    "differentiable bound, such as rate_at_least, and step() the true violation"
                )
            value = self._shaped(name, torch.as_tensor(violation))
            lam, c = self._multipliers[name].value.to(value), self._augmented
            quadratic = (
                ((lam + c * value).clamp(min=0).square() - lam.square()) / (2 * c) if c else lam * value
            )
            terms.append(quadratic.sum())
        return torch.stack(terms).sum()

    def _known(self, violations: Mapping[str, Any]) -> Mapping[str, Any]:
        unknown = violations.keys() - self._multipliers.keys()
        if unknown or not violations:
            what = f"unknown constraint {listed(sorted(unknown))}" if unknown else "no violation was given"
            raise ValueError(f"{what}; there are the constraints {listed(self._multipliers)}")
        return violations

    def _shaped(self, name: str, value: Tensor) -> Tensor:
        shape = self._multipliers[name].value.shape
        if value.shape != shape and not (value.numel() == 1 and not shape):
            raise ValueError(
                f"the violation of {name!r} must have the shape {tuple(shape)}, got {tuple(value.shape)}: take a mean "
                f"or a maximum, or declare Constraints({{{name!r}: {tuple(value.shape)}}}, …)"
            )
        return value.reshape(shape)

    def _measured(self, name: str, given: Any) -> Tensor:
        """A violation in the multipliers' own type."""
        try:
            value = torch.as_tensor(given).detach().to("cpu", torch.float64)
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(
                f"the violation of {name!r} must be a tensor or a number, got {shown(given)}"
            ) from None
        return self._shaped(name, value)

    def _averaged(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The means over ranks; a constraint that no rank has stays out."""
        numbers: list[float | None] = []
        for name, one in self._multipliers.items():
            numbers += given[name].flatten().tolist() if name in given else [None] * one.value.numel()
        means = iter(self._ranks.mean(numbers, {"steps": self.steps}))
        found = {}
        for name, one in self._multipliers.items():
            own = [next(means) for _ in range(one.value.numel())]
            if None not in own:
                found[name] = torch.tensor(own, dtype=torch.float64).reshape(one.value.shape)
        return found

    def _record(self, given: Mapping[str, Tensor]) -> None:
        row: Row = {"step": self.steps}
        row |= {f"violation/{name}": float(violation.max()) for name, violation in given.items()}
        row |= {f"multiplier/{name}": float(one.value.max()) for name, one in self._multipliers.items()}
        self.history.append(row)

    def _warn_of_limit(self, name: str, violation: Tensor) -> None:
        warnings.warn(
            f"Constraints: the multiplier of {name!r} has grown to max_multiplier={self._ascent.max_multiplier:g} in "
            f"{self.steps} steps, and the violation is still {float(violation.max()):.3g}; it grows no further. Either "
            "the constraint cannot be met (loosen it), or the multiplier outran the weights (a smaller lr, here "
            f"{self._ascent.lr:g})",
            RuntimeWarning,
            stacklevel=3,
        )

    def _config(self) -> dict[str, Any]:
        """What a state must agree on to be loaded."""
        shapes = {name: list(one.value.shape) for name, one in self._multipliers.items()}
        return {"shapes": shapes, **vars(self._ascent), "augmented": self._augmented}

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, as plain values (JSON can hold them)."""
        return {
            "config": self._config(),
            "steps": self.steps,
            "multipliers": {name: one.state_dict() for name, one in self._multipliers.items()},
            "warned": sorted(self._warned),
            "history": [dict(row) for row in self.history],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where :meth:`state_dict` was taken.

        Raises:
            ValueError: not such a state, or of other constraints or options; nothing has changed then.
        """
        try:
            config, steps = dict(state["config"]), whole_number("steps", state["steps"], 0)
            states, warned = dict(state["multipliers"]), set(state["warned"])
            history = [dict(row) for row in state["history"]]
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                "not the state of constraints: it must come from Constraints.state_dict()"
            ) from None
        own = self._config()
        other = [name for name in own if config.get(name) != own[name]]
        if other:
            pairs = ", ".join(
                f"{name} {shown(config.get(name))} and not {shown(own[name])}" for name in other
            )
            raise ValueError(f"the state is of constraints with {pairs}")
        found = {}
        for name, one in self._multipliers.items():
            try:
                found[name] = one.read_state(states.get(name))
            except ValueError as error:
                raise ValueError(f"the state of constraint {name!r}: {error}") from None
        for name, tensors in found.items():
            self._multipliers[name].take_state(tensors)
        self.steps, self._warned, self.history = steps, warned, history


def _shapes(constraints: Any) -> dict[str, tuple[int, ...]]:
    """The shape of each constraint by name."""
    names: Iterable[Any] = [constraints] if isinstance(constraints, str) else constraints
    try:
        pairs = list(names.items()) if isinstance(names, Mapping) else [(name, ()) for name in names]
    except TypeError:
        pairs = []
    if not pairs or not all(isinstance(name, str) and name for name, _ in pairs):
        raise ValueError(f"constraints must be a name, names, or shapes by name, got {shown(constraints)}")
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError(f"a constraint is named twice: {listed(name for name, _ in pairs)}")
    try:
        return {name: tuple(whole_number("a length", length) for length in shape) for name, shape in pairs}
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"a shape must be whole numbers such as (10,), got {shown(constraints)}: {error}"
        ) from None
