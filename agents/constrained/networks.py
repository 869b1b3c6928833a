"""Networks with constraints: an output that must not fall below 3, and a class whose recall must be 0.9."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from lambda_rl.agents.constrained.problems import Measured, Problem, Score
from lambda_rl.constraints import recall, recall_at_least, shortfall


class _Network(Problem):
    """Weights that are those of a network of one hidden layer."""

    dtype = torch.float32
    lr: ClassVar[float] = 0.01

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # initial weights of torch's layers come from the global generator
            self.model = self.network()

    def network(self) -> nn.Module:
        """New, with initial weights."""
        raise NotImplementedError

    def optimizer(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.model.parameters(), lr=self.lr)


class Floor(_Network):
    """A regression whose output must not fall below 3, on average by no more than 0.01; the targets do."""

    name = "floor"
    steps = 800
    dual_lr = 0.1
    floor: ClassVar[float] = 3.0
    tolerance: ClassVar[float] = 0.01

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.x = 2 * torch.rand(512, 1, generator=self.generator) - 1
        noise = 0.1 * torch.randn(512, 1, generator=self.generator)
        self.y = 3.5 + torch.sin(math.pi * self.x) + noise

    def network(self) -> nn.Module:
        """1-32-1."""
        return nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1))

    def _measured(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        output = self.model(x)
        return mse_loss(output, y), shortfall(output, self.floor).mean() - self.tolerance

    def measure(self) -> Measured:
        """On a minibatch of 128."""
        index = torch.randint(len(self.x), (128,), generator=self.generator)
        loss, violation = self._measured(self.x[index], self.y[index])
        return Measured(loss, violation.reshape(1), violation.detach().reshape(1))

    def score(self) -> Score:
        """On all examples."""
        with torch.no_grad():
            loss, violation = self._measured(self.x, self.y)
        return Score(loss.item(), violation.item(), math.nan)


class Recall(_Network):
    """Three overlapping classes in the plane, one of them rare, whose recall must be 0.9 or more."""

    name = "recall"
    steps = 400
    dual_lr = 0.2
    counts: ClassVar[tuple[int, ...]] = (400, 400, 80)
    rare: ClassVar[int] = 2
    least: ClassVar[float] = 0.9

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.y = torch.repeat_interleave(torch.arange(3), torch.tensor(self.counts))
        centres = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 0.7]])
        self.x = centres[self.y] + 0.7 * torch.randn(len(self.y), 2, generator=self.generator)

    def network(self) -> nn.Module:
        """2-16-3."""
        return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 3))

    def measure(self) -> Measured:
        """On all examples: the true rate for the multiplier, a bound with gradient for the weights."""
        logits = self.model(self.x)
        violation = self.least - recall_at_least(logits, self.y, self.rare)
        strict = self.least - recall(logits, self.y, self.rare)
        return Measured(cross_entropy(logits, self.y), violation.reshape(1), strict.reshape(1))

    def score(self) -> Score:
        """On all examples; the violation is that of the true rate."""
        with torch.no_grad():
            found = self.measure()
        return Score(found.loss.item(), found.strict.item(), math.nan)
