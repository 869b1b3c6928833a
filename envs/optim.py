"""SGD and AdamW for N stacked networks, with λ, learning rate and momentum as tensors of N.

λ is data, not code: changing it never recompiles, recaptures or synchronises. Each update is the one of
``torch.optim`` for a single network (the parity test compares 20 steps in float64).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lambda_rl.envs.networks import Params
from lambda_rl.penalties import penalty_gradient

ADAM_BETA2 = 0.999
ADAM_EPSILON = 1e-8


def state_names(optimizer: str) -> tuple[str, ...]:
    """Names of the tensors that the optimizer keeps for each parameter."""
    return ("momentum",) if optimizer == "sgd" else ("first_moment", "second_moment")


def _like(values: Tensor, target: Tensor) -> Tensor:
    """``[N]`` shaped so that it multiplies ``[N, …]``."""
    return values.view(-1, *[1] * (target.dim() - 1))


@torch.no_grad()
def update(
    optimizer: str,
    penalty: str,
    decay: str,
    params: Params,
    grads: Params,
    state: dict[str, Params],
    penalised: frozenset[str],
    *,
    lam: Tensor,
    learning_rate: Tensor,
    momentum: Tensor,
    step: Tensor,
) -> None:
    """One optimizer step in place.

    Args:
        optimizer: ``sgd`` (Polyak momentum as in torch, no dampening) or ``adamw``.
        penalty: which R(w); its gradient times λ is added to the gradient when ``decay`` is ``coupled``.
        decay: ``coupled`` or ``decoupled``: weights shrink by learning rate x λ before the step
            (Loshchilov & Hutter 2019, algorithms 1 and 2).
        params: stacked ``[N, …]``, changed in place.
        grads: of the data loss, changed in place.
        state: see :func:`state_names`; changed in place.
        penalised: names of the weights that the penalty acts on.
        lam: ``[N]``.
        learning_rate: ``[N]``.
        momentum: ``[N]``; β₁ of AdamW.
        step: float64 ``[N]``, how many steps each network had before this one.
    """
    for name, weight in params.items():
        grad = grads[name]
        if name in penalised:
            if decay == "decoupled":
                weight.mul_(1 - _like(learning_rate * lam, weight))
            elif penalty == "l2":
                grad.addcmul_(weight, _like(lam, weight))
            else:
                grad.addcmul_(penalty_gradient(weight, penalty), _like(lam, weight))
        if optimizer == "sgd":
            velocity = state["momentum"][name]
            velocity.mul_(_like(momentum, weight)).add_(grad)
            weight.addcmul_(velocity, _like(learning_rate, weight), value=-1)
        else:
            first, second = state["first_moment"][name], state["second_moment"][name]
            first.lerp_(grad, _like(1 - momentum, weight))
            second.mul_(ADAM_BETA2).addcmul_(grad, grad, value=1 - ADAM_BETA2)
            # In double: in single, 1 - 0.999 loses five digits at the first steps.
            correction1 = (1 - momentum.double() ** (step + 1)).to(weight.dtype)
            correction2 = (1 - ADAM_BETA2 ** (step + 1)).sqrt().to(weight.dtype)
            denominator = (second.sqrt() / _like(correction2, weight)).add_(ADAM_EPSILON)
            weight.addcmul_(first / denominator, _like(learning_rate / correction1, weight), value=-1)
