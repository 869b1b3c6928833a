"""One training step of N stacked networks, as a function of tensors alone: what is compiled, and what runs if not."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lambda_rl.envs.networks import Network, Params, make_network
from lambda_rl.envs.optim import update
from lambda_rl.envs.resident import crop_and_flip, normalised


@dataclass(frozen=True)
class StepSpec:
    """What a step is written (and compiled) for; everything else is a tensor.

    Attributes:
        network: its name, width, resolution and number of classes, as :func:`make_network` takes them.
        optimizer: ``sgd`` or ``adamw``.
        penalty: see ``Task.penalty``.
        decay: see ``Task.decay``.
        dtype: of parameters and optimizer state.
        compute: of activations and matrix products.
    """

    network: tuple[str, int, int, int]
    optimizer: str
    penalty: str
    decay: str
    dtype: torch.dtype
    compute: torch.dtype


COMPILED_SIZES = (32, 16, 8)
"""How many networks a compiled step is compiled for on a CPU: few sizes, for each takes 10 to 20 seconds at its first
use on a machine. What is left over is not compiled."""

_LIMIT = 64  # kinds and sizes of steps in a process; torch's own limit of 8 is for one function


class CompiledStep:
    """:func:`training_step` for one kind of network, compiled at the first call for each N.

    Sizes are compiled in: with symbolic ones the products of stacked matrices took ten times as long. λ, learning rate,
    momentum and the number of steps are tensors, so changing them compiles nothing. Where compiling fails (no C++
    compiler), one warning says so, and the step runs as it is.
    """

    def __init__(self, spec: StepSpec) -> None:
        self._plain = functools.partial(training_step, spec, make_network(*spec.network))
        self._compiled = torch.compile(self._plain, dynamic=False, fullgraph=True)
        self._ready: set[int] = set()
        self._failed = False
        self._lock = threading.Lock()

    def __call__(self, params: Params, *more: object) -> None:
        """See :func:`training_step`."""
        count = len(next(iter(params.values())))
        if count not in self._ready and not self._failed:
            with self._lock, torch._dynamo.config.patch(recompile_limit=_LIMIT):
                try:
                    self._compiled(params, *more)
                    self._ready.add(count)
                    return
                except Exception as error:  # compilers fail in many ways, all before anything is computed
                    self._failed = True
                    reason = " ".join(str(error).split())[:200]
                    warnings.warn(
                        f"the training step is not compiled: {reason}", RuntimeWarning, stacklevel=2
                    )
        (self._plain if self._failed else self._compiled)(params, *more)


@functools.cache
def compiled_step(spec: StepSpec) -> CompiledStep:
    """The compiled step for one kind of network; each is compiled once in a process."""
    return CompiledStep(spec)


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
    images: Tensor,
    scale: Tensor,
    shift: Tensor,
    index: Tensor,
    labels: Tensor,
    lam: Tensor,
    learning_rate: Tensor,
    momentum: Tensor,
    step: Tensor,
    offsets: Tensor | None = None,
    flips: Tensor | None = None,
) -> None:
    """Gathers a minibatch for each network, and changes ``params``, ``buffers``, ``optimizer`` and the sums in place.

    Args:
        spec: what the step is for.
        network: the architecture that it names.
        params: stacked ``[N, …]``.
        buffers: batch norm's running statistics, likewise.
        optimizer: see :func:`~lambda_rl.envs.optim.state_names`, by kind and parameter.
        loss_sum: ``[N]``; the minibatch losses, nats without the penalty, are added to it.
        correct: ``[N]``; the minibatch accuracies, taken before the update, are added to it.
        images: uint8 ``[n, 3, R, R]``, all of them.
        scale: ``[3·R·R]`` in the format of the computation.
        shift: likewise; an image is ``raw · scale + shift``.
        index: int64 ``[N, B]``.
        labels: int64 ``[N, B]``.
        lam: ``[N]``, in the format of the parameters, as the next two.
        learning_rate: ``[N]``.
        momentum: ``[N]``; β₁ of AdamW.
        step: float64 ``[N]``, how many steps each network had before this one.
        offsets: int64 ``[N, B, 2]``, random crops; None: no augmentation.
        flips: bool ``[N, B]``.
    """
    raw = images.index_select(0, index.flatten())
    if offsets is not None and flips is not None:
        raw = crop_and_flip(raw, offsets.flatten(0, 1), flips.flatten())
    x = normalised(raw, scale, shift).unflatten(0, index.shape)

    def losses(leaves: Params) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        logits = network.forward(network.cast(leaves, spec.compute), buffers, x, training=True).to(spec.dtype)
        # Classes first: that is how the logits lie in memory, and softmax over them is several times faster.
        logits = logits.transpose(1, 2)
        loss = F.cross_entropy(logits, labels, reduction="none").mean(1)
        return loss.sum(), (loss, logits)

    grads, (loss, logits) = _gradients(losses, params)
    update(
        spec.optimizer, spec.penalty, spec.decay, params, grads, optimizer, frozenset(network.penalised),
        lam=lam, learning_rate=learning_rate, momentum=momentum, step=step,
    )  # fmt: skip
    with torch.no_grad():
        loss_sum += loss
        correct += (logits.argmax(1) == labels).to(spec.dtype).mean(1)
