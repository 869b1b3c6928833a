"""Constrained parameter regularization: a bound on each matrix, held by a multiplier of its own, in place of one λ."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lambda_rl.arguments import real_number, whole_number

RULES = ("warm-start", "dependent", "inflection")
EVERY, EMA, LEAST_GROWTH = 200, 0.99, 0.01
"""Of the rule ``inflection``: steps between two looks, weight of the past in the mean, relative growth of a norm below
which it is no growth; as in the package ``pytorch-cpr``."""


@dataclass
class _Member:
    """A weight with its bound.

    Attributes:
        weight: what is bounded.
        bound: κ, the largest ‖W‖² that costs nothing; infinite where it was not found yet.
        multiplier: m.
        mean: of the norm, for ``inflection``, as the next two.
        before: that mean at the last look.
        growth: of it at the last look.
    """

    weight: Tensor
    bound: float = math.inf
    multiplier: float = 0.0
    mean: float = 0.0
    before: float = 0.0
    growth: float = 0.0


class BoundedNorms:
    """CPR: after each step of the optimizer m ← max(0, m + (‖W‖² - κ)/numel W), then W ← W - 2mW, for each matrix.

    Franke, Hefenbrock, Koehler & Hutter (NeurIPS 2024, "Improving deep learning optimization through constrained
    parameter regularization", arXiv 2311.09058), as their package ``pytorch-cpr`` does it for l2.
    With SGD or AdamW it is a decay of 2m/η (:meth:`decays`); the optimizer's own is to be 0 for these weights.

        bounds = BoundedNorms(weights, "warm-start", 500)
        optimizer.step()
        bounds.step()

    Args:
        weights: one for each bound.
        rule: where κ comes from: ``warm-start`` takes ‖W‖² after so many steps, ``dependent`` so many times ‖W‖² at the
            start, ``inflection`` ‖W‖² when its growth slows down, which is looked for after 600 steps.
        value: steps, or factor; ``inflection`` has none.

    Raises:
        ValueError: no weights, an unknown rule, or a value that the rule cannot have.
    """

    def __init__(self, weights: Iterable[Tensor], rule: str = "inflection", value: float = 0.0) -> None:
        if rule not in RULES:
            raise ValueError(f"unknown rule {rule!r}; allowed: {', '.join(RULES)}")
        self.rule, self.value, self.steps = rule, real_number("value of the bound", value), 0
        if rule == "warm-start":
            whole_number("steps of warm-start", value)
        self.members = [_Member(weight) for weight in weights]
        if not self.members:
            raise ValueError("no weights to bound")
        if rule == "dependent":
            for member in self.members:
                member.bound = self.value * _square(member.weight)

    @torch.no_grad()
    def step(self) -> None:
        """To be called after each step of the optimizer."""
        self.steps += 1
        for member in self.members:
            square = _square(member.weight)
            if math.isfinite(member.bound):
                excess = (square - member.bound) / member.weight.numel()
                member.multiplier = max(0.0, member.multiplier + excess)
                if member.multiplier:
                    member.weight.mul_(1.0 - 2.0 * member.multiplier)
            elif self.rule == "warm-start" and self.steps == self.value:
                member.bound = square
            elif self.rule == "inflection":
                self._look(member, math.sqrt(square))

    def _look(self, member: _Member, norm: float) -> None:
        """Sets the bound where the growth of the norm has passed its peak."""
        member.mean = EMA * member.mean + (1.0 - EMA) * norm if self.steps >= EVERY else norm
        if self.steps <= EVERY or self.steps % EVERY:
            return
        growth, member.before = (member.mean - member.before) / member.mean, member.mean
        if self.steps > 3 * EVERY and member.growth > growth > LEAST_GROWTH:
            member.bound = norm * norm
        if self.steps > 2 * EVERY:
            member.growth = growth

    def decays(self, lr: float) -> list[float]:
        """The λ of each weight that would take as much off in a step at a learning rate: 2m/η."""
        return [2.0 * member.multiplier / lr for member in self.members]

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        numbers = ("bound", "multiplier", "mean", "before", "growth")
        return {
            "rule": [self.rule, self.value],
            "steps": self.steps,
            "members": [{name: getattr(member, name) for name in numbers} for member in self.members],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what :meth:`state_dict` gave.

        Raises:
            ValueError: it is of another rule, or of another number of weights.
        """
        if state["rule"] != [self.rule, self.value] or len(state["members"]) != len(self.members):
            raise ValueError(
                f"state is of {len(state['members'])} weights under {state['rule']}, these are {len(self.members)} "
                f"under {[self.rule, self.value]}"
            )
        self.steps = int(state["steps"])
        for member, saved in zip(self.members, state["members"], strict=True):
            for name, value in saved.items():
                setattr(member, name, float(value))


def _square(weight: Tensor) -> float:
    return float(weight.detach().square().sum())
