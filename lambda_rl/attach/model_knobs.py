"""What a user's loop needs of knobs that are a matter of its network or its loss: dropout, adversarial examples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lambda_rl.arguments import real_number
from lambda_rl.checks import bounded

LEVELS = 8.0 / 255.0
"""Radius of adversarial examples for pixels from 0 to 1."""


class Dropout(nn.Module):
    """As ``torch.nn.Dropout``, but p is data: a compiled network is not compiled again when it changes.

    Args:
        p: share of the units that are dropped, below 1.
    """

    p: Tensor

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        value = bounded("p", p, 0.0, 1.0 - 1e-6)
        self.register_buffer("p", torch.tensor(value), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Drops units while training; else leaves them alone."""
        if not self.training:
            return x
        keep = 1.0 - self.p.to(x.dtype)
        return x * (torch.rand_like(x) < keep) / keep


def adversarial(
    model: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor,
    targets: Tensor,
    *,
    radius: float = LEVELS,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Tensor:
    """Adversarial examples of the fast gradient sign method: x + radius · sign(∂loss/∂x), within the bounds.

    Goodfellow, Shlens and Szegedy (2015), "Explaining and harnessing adversarial examples", arXiv:1412.6572. With a
    schedule that moves ``alpha``::

        x_adv = adversarial(model, F.cross_entropy, x, y)
        alpha = schedule.knob("alpha")
        total = alpha * F.cross_entropy(model(x), y) + (1 - alpha) * F.cross_entropy(model(x_adv), y)

    Args:
        model: from inputs to outputs.
        loss: from outputs and targets to a scalar.
        inputs: of any shape.
        targets: of them.
        radius: of the change of each number, 0 or more.
        bounds: smallest and largest input that there is.

    Returns:
        Of the shape of the inputs, without a graph. Gradients of the parameters are left as they were.
    """
    real_number("radius", radius)
    with torch.enable_grad():
        start = inputs.detach().requires_grad_()
        (slope,) = torch.autograd.grad(loss(model(start), targets), start)
    return (inputs.detach() + radius * slope.sign()).clamp(*bounds)
