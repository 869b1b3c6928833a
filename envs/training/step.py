"""One training step of N stacked networks, as a function of tensors alone: what is compiled, and what runs if not."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor

from lambda_rl.envs.hardware.compiled import Compiled
from lambda_rl.envs.networks import Network, Params
from lambda_rl.envs.networks.layers import DROPOUT
from lambda_rl.envs.optimizers import Decay, StackedOptimizer, StepInputs
from lambda_rl.envs.training.resident import normalised

RADIUS = 8
"""Of adversarial examples, in levels of a pixel, of which there are 256."""


@dataclass(frozen=True)
class StepSpec:
    """What a step is written (and compiled) for; everything else is a tensor.

    Attributes:
        network: the architecture.
        optimizer: the update rule.
        decay: what λ does.
        dtype: of parameters and optimizer state.
        compute: of activations and matrix products.
        knobs: names of the tensors of :data:`~lambda_rl.envs.optimizers.StepInputs` that are there beside the usual
            ones, since knobs are moved beside λ.
    """

    network: Network
    optimizer: StackedOptimizer
    decay: Decay
    dtype: torch.dtype
    compute: torch.dtype
    knobs: tuple[str, ...] = ()


class Minibatch(TypedDict):
    """A minibatch for each network.

    Attributes:
        raw: uint8 ``[N, B, D]``, images as the network reads them; gathered before, as compiled gathers are slow.
        scale: ``[D]`` in the format of the computation.
        shift: likewise; an image is ``raw · scale + shift``.
        labels: int64 ``[N, B]``.
    """

    raw: Tensor
    scale: Tensor
    shift: Tensor
    labels: Tensor


class Sums(TypedDict):
    """What is summed up over the steps of an interval.

    Attributes:
        loss: ``[N]``, minibatch losses, nats without the penalty.
        correct: ``[N]``, minibatch accuracies, taken before the update.
    """

    loss: Tensor
    correct: Tensor


@functools.cache
def compiled_step(spec: StepSpec, batch_size: int, on_cpu: bool) -> Compiled:  # noqa: ARG001 - a key of the cache
    """The compiled step for one kind of network and size of minibatch; λ and rates are data of it."""
    return Compiled(functools.partial(training_step, spec), "the training step", on_cpu=on_cpu)


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


def _smoothed(loss: Tensor, logits: Tensor, inputs: StepInputs) -> Tensor:
    """Cross entropies ``[N]`` with the targets smoothed, where that is a knob."""
    if "label_smoothing" not in inputs:
        return loss
    share = inputs["label_smoothing"]
    return (1.0 - share) * loss - share * F.log_softmax(logits, 1).mean((1, 2))


def adversarial(
    logits_of: Callable[[Tensor], Tensor], x: Tensor, labels: Tensor, affine: tuple[Tensor, Tensor]
) -> Tensor:
    """Images moved by :data:`RADIUS` levels of each pixel to where the loss is higher, within what pixels can be.

    The fast gradient sign method (Goodfellow et al. 2015, arXiv:1412.6572).

    Args:
        logits_of: of N networks, ``[N, C, B]``.
        x: ``[N, B, D]``, as the networks read them.
        labels: int64 ``[N, B]``; an image whose label is negative stays.
        affine: scale and shift ``[D]`` by which pixels are read.
    """

    def loss_of(images: Tensor) -> Tensor:
        losses = F.cross_entropy(logits_of(images), labels, reduction="none", ignore_index=-1)
        return losses.mean(1).sum()

    if torch.compiler.is_compiling():
        slope = torch.func.grad(loss_of)(x)
    else:
        start = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(loss_of(start), start)
    scale, shift = affine
    moved = x + RADIUS * scale * slope.sign()
    return torch.minimum(torch.maximum(moved, shift), 255 * scale + shift)


def training_step(
    spec: StepSpec,
    params: Params,
    buffers: Params,
    optimizer: dict[str, Params],
    sums: Sums,
    batch: Minibatch,
    inputs: StepInputs,
) -> None:
    """Takes a step with a minibatch for each network, in place: parameters, buffers, optimizer and sums change.

    Args:
        spec: what the step is for.
        params: stacked ``[N, …]``.
        buffers: batch norm's running statistics, likewise.
        optimizer: by ``StackedOptimizer.state_names`` and parameter, likewise.
        sums: loss and accuracy of the minibatch are added to them.
        batch: what is learned from.
        inputs: λ, learning rate, momentum and step count of each network, and what ``spec.knobs`` names.
    """
    network, labels = spec.network, batch["labels"]
    x = normalised(batch["raw"], batch["scale"], batch["shift"])
    beside = {name: inputs[name] for name in (DROPOUT, *network.noises) if name in inputs}
    prepared = network.prepared(params, spec.compute)

    def logits_of(leaves: Params, images: Tensor, statistics: Params) -> Tensor:
        return network.outputs({**leaves, **beside}, statistics, images, training=True).to(spec.dtype)

    harder = None
    if "alpha" in spec.knobs:
        kept = {name: value.clone() for name, value in buffers.items()}  # to look at a slope is no training
        affine = batch["scale"], batch["shift"]
        harder = adversarial(lambda images: logits_of(prepared, images, kept), x, labels, affine)

    def losses(leaves: Params) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        logits = logits_of(leaves, x, buffers)
        loss = F.cross_entropy(logits, labels, reduction="none").mean(1)
        total = _smoothed(loss, logits, inputs)
        if harder is not None:
            others = logits_of(leaves, harder, buffers)
            theirs = _smoothed(F.cross_entropy(others, labels, reduction="none").mean(1), others, inputs)
            total = inputs["alpha"] * total + (1.0 - inputs["alpha"]) * theirs
        return total.sum(), (loss, logits)

    grads, (loss, logits) = _gradients(losses, prepared)
    grads = network.gradients(grads, spec.dtype)
    spec.optimizer.update(params, grads, optimizer, inputs, spec.decay)
    with torch.no_grad():
        sums["loss"].add_(loss)
        sums["correct"].add_((logits.max(1).indices == labels).to(spec.dtype).mean(1))
