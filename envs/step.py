"""One training step of N stacked networks, as a function of tensors alone: what is compiled, and what runs if not."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lambda_rl.envs.compiled import Compiled
from lambda_rl.envs.networks import Kind, Network, Params, make_network
from lambda_rl.envs.optim import update
from lambda_rl.envs.resident import normalised


@dataclass(frozen=True)
class StepSpec:
    """What a step is written (and compiled) for; everything else is a tensor.

    Attributes:
        network: see :attr:`Network.kind`.
        optimizer: ``sgd`` or ``adamw``.
        penalty: see ``Task.penalty``.
        decay: see ``Task.decay``.
        dtype: of parameters and optimizer state.
        compute: of activations and matrix products.
    """

    network: Kind
    optimizer: str
    penalty: str
    decay: str
    dtype: torch.dtype
    compute: torch.dtype


@functools.cache
def compiled_step(spec: StepSpec, batch_size: int, on_cpu: bool) -> Compiled:
    """The compiled step for one kind of network and size of minibatch; λ and rates are data of it."""
    step = functools.partial(training_step, spec, make_network(*spec.network))
    return Compiled(step, "the training step", on_cpu=on_cpu)


def _gradients(
    losses: Callable[[Params], tuple[Tensor, tuple[Tensor, Tensor]]], params: Params
) -> tuple[Params, tuple[Tensor, Tensor]]:
    """Gradients of the first output, and the other outputs."""
    if torch.compiler.is_compiling():
        # torch.compile traces func.grad, but not autograd.grad, which is the faster one when not compiled.
        grads, more = torch.func.grad(losses, has_aux=True)(params)
        return grads, more
    leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
    total, (loss, logits) = losses(leaves)
    grads = dict(zip(leaves, torch.autograd.grad(total, list(leaves.values())), strict=True))
    return grads, (loss.detach(), logits.detach())


def training_step(
    spec: StepSpec,
    network: Network,
    params: Params,
    buffers: Params,
    optimizer: dict[str, Params],
    loss_sum: Tensor,
    correct: Tensor,
    raw: Tensor,
    scale: Tensor,
    shift: Tensor,
    labels: Tensor,
    lam: Tensor,
    learning_rate: Tensor,
    momentum: Tensor,
    step: Tensor,
) -> None:
    """Takes a step with a minibatch for each network, in place: parameters, buffers, optimizer and sums change.

    Args:
        spec: what the step is for.
        network: the architecture that it names.
        params: stacked ``[N, …]``.
        buffers: batch norm's running statistics, likewise.
        optimizer: see :func:`~lambda_rl.envs.optim.state_names`, by kind and parameter.
        loss_sum: ``[N]``; the minibatch losses, nats without the penalty, are added to it.
        correct: ``[N]``; the minibatch accuracies, taken before the update, are added to it.
        raw: uint8 ``[N, B, D]``, images as the network reads them; gathered before, as compiled gathers are slow.
        scale: ``[D]`` in the format of the computation.
        shift: likewise; an image is ``raw · scale + shift``.
        labels: int64 ``[N, B]``.
        lam: ``[N]``, in the format of the parameters, as the next two.
        learning_rate: ``[N]``.
        momentum: ``[N]``; β₁ of AdamW.
        step: float64 ``[N]``, how many steps each network had before this one.
    """
    x = normalised(raw, scale, shift)

    def losses(leaves: Params) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        logits = network.forward(leaves, buffers, x, training=True).to(spec.dtype)
        loss = F.cross_entropy(logits, labels, reduction="none").mean(1)
        return loss.sum(), (loss, logits)

    grads, (loss, logits) = _gradients(losses, network.prepared(params, spec.compute))
    grads = network.gradients(grads, spec.dtype)
    update(
        spec.optimizer, spec.penalty, spec.decay, params, grads, optimizer, frozenset(network.penalised),
        lam=lam, learning_rate=learning_rate, momentum=momentum, step=step,
    )  # fmt: skip
    with torch.no_grad():
        loss_sum += loss
        correct += (logits.max(1).indices == labels).to(spec.dtype).mean(1)
