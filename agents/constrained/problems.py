"""Problems with constraints whose solutions are known in closed form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Measured:
    """What a step sees.

    Attributes:
        loss: with gradient.
        violation: g of each constraint with gradient, ``[constraints]``.
        strict: what the multipliers follow, ``[constraints]``; the same where g has a gradient itself.
    """

    loss: Tensor
    violation: Tensor
    strict: Tensor


@dataclass(frozen=True)
class Score:
    """Where a run ended, measured on everything and without noise.

    Attributes:
        objective: the loss.
        violation: of the constraint that is violated most; below 0 where all hold.
        gap: distance of the weights from the solution; NaN where that is not known.
    """

    objective: float
    violation: float
    gap: float


class Problem(ABC):
    """A loss, constraints, and an optimizer for the weights.

    Args:
        seed: of the problem and of all that is drawn while it is solved.
    """

    name: ClassVar[str]
    constraints: ClassVar[int] = 1
    steps: ClassVar[int] = 400
    lr: ClassVar[float] = 0.1
    dual_lr: ClassVar[float] = 0.1
    dtype: ClassVar[torch.dtype] = torch.float64

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    @abstractmethod
    def optimizer(self) -> torch.optim.Optimizer:
        """Of the weights."""

    @abstractmethod
    def measure(self) -> Measured:
        """Loss and violations of the next step."""

    @abstractmethod
    def score(self) -> Score:
        """Of the weights as they are."""


class _Vector(Problem):
    """Weights that are one vector."""

    size: ClassVar[int]

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.weights = nn.Parameter(torch.zeros(self.size, dtype=self.dtype))
        self.solution = torch.full((self.size,), torch.nan, dtype=self.dtype)

    def draw(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(*shape, generator=self.generator, dtype=self.dtype)

    def optimizer(self) -> torch.optim.Optimizer:
        """SGD."""
        return torch.optim.SGD([self.weights], lr=self.lr)

    @abstractmethod
    def loss(self) -> Tensor:
        """To be minimised."""

    @abstractmethod
    def violations(self) -> Tensor:
        """``[constraints]``."""

    def measure(self) -> Measured:
        """Loss and violations, without noise."""
        violation = self.violations()
        return Measured(self.loss(), violation, violation.detach())

    def score(self) -> Score:
        """Of the weights as they are."""
        with torch.no_grad():
            gap = (self.weights - self.solution).norm().item()
            return Score(self.loss().item(), self.violations().max().item(), gap)


class Quadratic(_Vector):
    """½‖w - a‖² subject to b·w <= c, which a violates: w = a - λb with λ = (b·a - c) / ‖b‖²."""

    name = "quadratic"
    size = 20

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.target, self.normal = self.draw(self.size), self.draw(self.size)
        self.normal /= self.normal.norm()
        self.bound = self.normal @ self.target - 1.0
        self.multiplier = 1.0
        self.solution = self.target - self.multiplier * self.normal

    def loss(self) -> Tensor:
        """½‖w - a‖²."""
        return (self.weights - self.target).square().sum() / 2

    def violations(self) -> Tensor:
        """How far b·w lies above c."""
        return (self.normal @ self.weights - self.bound).reshape(1)


class Box(_Vector):
    """½‖w - a‖² subject to w <= u, entry by entry; about half of the constraints are active."""

    name = "box"
    size = constraints = 10

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.target, self.bound = self.draw(self.size), self.draw(self.size)
        self.solution = torch.minimum(self.target, self.bound)

    def loss(self) -> Tensor:
        """½‖w - a‖²."""
        return (self.weights - self.target).square().sum() / 2

    def violations(self) -> Tensor:
        """How far w lies above u."""
        return self.weights - self.bound


class Flat(_Vector):
    """½ε‖w‖² - a·w subject to w <= u: hardly curved, so that nothing damps the swings of plain dual ascent."""

    name = "flat"
    size = constraints = 5
    curvature: ClassVar[float] = 0.01

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        uniform = torch.rand(2, self.size, generator=self.generator, dtype=self.dtype)
        self.pull, self.bound = 0.5 + uniform[0], uniform[1]
        self.solution = self.bound  # since a > εu

    def loss(self) -> Tensor:
        """½ε‖w‖² - a·w."""
        return self.curvature / 2 * self.weights.square().sum() - self.pull @ self.weights

    def violations(self) -> Tensor:
        """How far w lies above u."""
        return self.weights - self.bound


class NoisyBox(Box):
    """The box, with loss and violations measured under noise, as on minibatches."""

    name = "noisy-box"
    noise: ClassVar[float] = 0.3

    def measure(self) -> Measured:
        """Loss and violations, each with noise of its own."""
        loss = self.loss() + self.noise * (self.draw(self.size) @ self.weights)
        violation = self.violations() + self.noise * self.draw(self.size)
        return Measured(loss, violation, violation.detach())
