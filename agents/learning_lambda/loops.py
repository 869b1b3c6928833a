"""Plain loops on scikit-learn's digits in which λ, or α, moves by gradient.

An MLP of one hidden layer, SGD without momentum. With w' = w - η(∇L + λw) the effect of λ on the weights of the next
step is dw'/d log λ = -ηλw, so that the loss on any examples moves with log λ by -ηλ⟨∇L(w'), w⟩ (T1-T2, Luketina et al.,
"Scalable gradient-based tuning of continuous regularization hyperparameters", 2016). With
w' = w - η(α∇J + (1 - α)∇J_adv) it moves with α by -η⟨∇L(w'), ∇J - ∇J_adv⟩.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lambda_rl import LearnedSchedule, split_parameters

STEPS, BATCH, HIDDEN, LR = 1000, 64, 128, 0.1
NUM_TRAIN, NUM_VAL, NOISE = 300, 300, 0.3
LAMBDAS = tuple(10 ** (half / 2) for half in range(-10, 1))
"""Constants of λ; the first and the last are the bounds of a λ that moves."""
ALPHAS = tuple(fifth / 5 for fifth in range(6))
RATE = 0.02
"""Of log λ, and of the logit of α, a step: Adam's, so that steps are alike though gradients are not."""
FGSM = 0.1
"""Largest change of a pixel, of which values lie in [0, 1]."""

INTERVAL = 50
"""Steps from one decision of a policy to the next."""

Split = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Digits:
    """Training, validation and test examples."""

    train: Split
    val: Split
    test: Split

    @classmethod
    def draw(cls, seed: int, noise: float) -> Digits:
        """Splits the 1,797 digits anew; a share of the labels is drawn anew, but for those of the test."""
        rng = np.random.default_rng(seed)
        digits = load_digits()
        order = rng.permutation(len(digits.target))
        x = torch.tensor(digits.data[order] / 16.0, dtype=torch.float32)
        y = torch.tensor(digits.target[order], dtype=torch.long)
        end = NUM_TRAIN + NUM_VAL
        wrong = torch.tensor(rng.random(end) < noise)
        y[:end] = torch.where(wrong, torch.tensor(rng.integers(10, size=end)), y[:end])
        return cls((x[:NUM_TRAIN], y[:NUM_TRAIN]), (x[NUM_TRAIN:end], y[NUM_TRAIN:end]), (x[end:], y[end:]))


@dataclass(frozen=True)
class Run:
    """What a run comes to.

    Attributes:
        trace: λ or α after each step.
        train_loss: without penalty, all training examples, at the end.
        test_accuracy: percent.
        fgsm_accuracy: percent, of test examples changed by :data:`FGSM` against this network.
    """

    trace: tuple[float, ...]
    train_loss: float
    test_accuracy: float
    fgsm_accuracy: float


class Loop:
    """One network and its minibatches."""

    def __init__(self, digits: Digits, seed: int) -> None:
        self.digits = digits
        self.generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # torch's layers draw their weights from the global generator
            self.model = nn.Sequential(nn.Linear(64, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))
        self.weights = list(self.model.parameters())

    def batch(self) -> Split:
        """A minibatch of training examples."""
        index = torch.randint(NUM_TRAIN, (BATCH,), generator=self.generator)
        return self.digits.train[0][index], self.digits.train[1][index]

    def attacked(self, split: Split) -> Split:
        """Inputs moved by the fast gradient sign method (Goodfellow et al., 2015)."""
        x = split[0].clone().requires_grad_()
        (slope,) = torch.autograd.grad(cross_entropy(self.model(x), split[1]), x)
        return (split[0] + FGSM * slope.sign()).clamp(0, 1), split[1]

    def gradient(self, *splits: Split) -> list[Tensor]:
        """Of the mean loss over splits."""
        losses = [cross_entropy(self.model(x), y) for x, y in splits]
        return list(torch.autograd.grad(torch.stack(losses).mean(), self.weights))

    def move(self, direction: Sequence[Tensor]) -> None:
        """One step of SGD."""
        with torch.no_grad():
            for weight, slope in zip(self.weights, direction, strict=True):
                weight.sub_(LR * slope)

    def run(self, trace: Sequence[float]) -> Run:
        """What it comes to."""
        test = self.digits.test
        attacked = self.attacked(test)
        with torch.no_grad():
            loss = cross_entropy(self.model(self.digits.train[0]), self.digits.train[1]).item()
            clean, robust = (
                100 * (self.model(x).argmax(1) == y).float().mean().item() for x, y in (test, attacked)
            )
        return Run(tuple(trace), loss, clean, robust)


def _dot(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    return sum(float((a * b).sum()) for a, b in zip(one, other, strict=True))


def slope_of_log_lambda(lam: float, before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """How a loss moves with log λ of the last step.

    Args:
        lam: λ of that step.
        before: weights that it began with.
        after: gradient of the loss at the weights that it led to.
    """
    return -LR * lam * _dot(after, before)


def slope_of_alpha(clean: Sequence[Tensor], robust: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """How a loss moves with α of the last step.

    Args:
        clean: gradient of J at the weights that it began with.
        robust: of J_adv.
        after: gradient of the loss at the weights that it led to.
    """
    return -LR * (_dot(after, clean) - _dot(after, robust))


class _Moved:
    """A number that Adam moves within bounds."""

    def __init__(self, start: float, low: float, high: float) -> None:
        self.raw = nn.Parameter(torch.tensor(start, dtype=torch.float64))
        self._low, self._high = low, high
        self._adam = torch.optim.Adam([self.raw], lr=RATE)

    def descend(self, slope: float) -> None:
        self.raw.grad = torch.tensor(slope, dtype=torch.float64)
        self._adam.step()
        with torch.no_grad():
            self.raw.clamp_(self._low, self._high)


def run_lambda(digits: Digits, seed: int, start: float, learn: str) -> Run:
    """Trains with a λ that starts somewhere.

    Args:
        digits: data.
        seed: of weights and minibatches.
        start: first λ.
        learn: "constant"; "penalised loss", where log λ descends training loss + λ/2 ‖w‖²; "training" or
            "validation", where it descends the loss without penalty on a minibatch of such examples, one step on.
    """
    loop = Loop(digits, seed)
    log_lam = _Moved(np.log(start), np.log(LAMBDAS[0]), np.log(LAMBDAS[-1]))
    trace = []
    for _ in range(STEPS):
        lam = float(log_lam.raw.detach().exp())
        before = [weight.detach().clone() for weight in loop.weights]
        gradient = loop.gradient(loop.batch())
        loop.move([slope + lam * weight for slope, weight in zip(gradient, before, strict=True)])
        if learn == "penalised loss":
            log_lam.descend(lam / 2 * _dot(before, before))
        elif learn != "constant":
            split = loop.batch() if learn == "training" else digits.val
            log_lam.descend(slope_of_log_lambda(lam, before, loop.gradient(split)))
        trace.append(lam)
    return loop.run(trace)


def run_alpha(digits: Digits, seed: int, start: float, learn: str) -> Run:
    """Trains on α · J + (1 - α) · J_adv, where J_adv is the loss of inputs moved by FGSM.

    Args:
        digits: data.
        seed: of weights and minibatches.
        start: first α.
        learn: "constant"; "penalised loss", where α descends that same loss; "validation", where it descends the mean
            of clean and FGSM loss on validation examples, one step on.
    """
    loop = Loop(digits, seed)
    logit = _Moved(float(np.log(start / (1 - start))) if learn != "constant" else 0.0, -7.0, 7.0)
    trace = []
    for _ in range(STEPS):
        alpha = start if learn == "constant" else float(logit.raw.detach().sigmoid())
        batch = loop.batch()
        attacked = loop.attacked(batch)
        clean, robust = loop.gradient(batch), loop.gradient(attacked)
        slope = 0.0
        if learn == "penalised loss":
            with torch.no_grad():
                slope = float(
                    cross_entropy(loop.model(batch[0]), batch[1])
                    - cross_entropy(loop.model(attacked[0]), batch[1])
                )
        loop.move([alpha * c + (1 - alpha) * r for c, r in zip(clean, robust, strict=True)])
        if learn == "validation":
            wanted = loop.gradient(digits.val, loop.attacked(digits.val))
            slope = slope_of_alpha(clean, robust, wanted)
        if learn != "constant":
            logit.descend(slope * alpha * (1 - alpha))
        trace.append(alpha)
    return loop.run(trace)


def run_policy(digits: Digits, seed: int, policy: str) -> Run:
    """Trains on α · J + (1 - α) · J_adv under a policy that moves α.

    Args:
        digits: data.
        seed: of weights and minibatches.
        policy: its file. It watches clean examples, as in its training, and has λ where there is next to no penalty.
    """
    loop = Loop(digits, seed)
    optimizer = torch.optim.SGD(split_parameters(loop.model, 1e-6), lr=LR)
    schedule = LearnedSchedule(
        optimizer, policy=policy, total_steps=STEPS, num_train=NUM_TRAIN, val_size=NUM_VAL, num_classes=10,
        batch_size=BATCH, model=loop.model,
    )  # fmt: skip
    trace, seen = [], []
    for step in range(1, STEPS + 1):
        alpha = schedule.knob("alpha")
        batch = loop.batch()
        with torch.no_grad():
            seen.append(_told(loop.model, batch))
        clean, robust = loop.gradient(batch), loop.gradient(loop.attacked(batch))
        for weight, c, r in zip(loop.weights, clean, robust, strict=True):
            weight.grad = alpha * c + (1 - alpha) * r
        optimizer.step()
        trace.append(alpha)
        if step % INTERVAL == 0 and step < STEPS:
            with torch.no_grad():
                val_loss, val_accuracy = _told(loop.model, digits.val)
            train_loss, train_accuracy = np.mean(seen, 0)
            schedule.step(
                train_loss=float(train_loss), train_accuracy=float(train_accuracy),
                val_loss=val_loss, val_accuracy=val_accuracy,
            )  # fmt: skip
            seen = []
    return loop.run(trace)


def _told(model: nn.Module, split: Split) -> tuple[float, float]:
    """Loss and accuracy, a fraction."""
    logits = model(split[0])
    return cross_entropy(logits, split[1]).item(), (logits.argmax(1) == split[1]).float().mean().item()
