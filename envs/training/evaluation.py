"""Loss and accuracy of stacked networks on images that need no gradients."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lambda_rl.envs.hardware.compiled import Compiled
from lambda_rl.envs.networks import Network, Params
from lambda_rl.envs.training.resident import EvaluationSet
from lambda_rl.envs.training.stack import NO_LABEL, ROWS, rounded_up, take
from lambda_rl.envs.training.step import adversarial
from lambda_rl.penalties import Penalty

GPU_BLOCK = 16_384
"""Images that are evaluated at once on a GPU, of all networks together: enough to fill it, and of the largest network
that tasks have, a residual one of width 32 on 32×32 pixels, some 10 GB of activations."""


def block_size(network: Network, count: int, device: torch.device) -> int:
    """Images of each of N networks that an evaluation takes at once; a multiple of :data:`.stack.ROWS` on a GPU."""
    if device.type == "cpu":
        return network.evaluated_at_once
    return rounded_up(max(1, GPU_BLOCK // count), ROWS)


def _logits(network: Network, prepared: Params, buffers: Params, inputs: Tensor) -> Tensor:
    logits = network.outputs(prepared, buffers, inputs, training=False)
    return logits.float() if logits.dtype == torch.bfloat16 else logits


def block_sums(
    network: Network, prepared: Params, buffers: Params, inputs: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Summed losses (float64) and the number of right answers ``[N]`` on some images."""
    logits = _logits(network, prepared, buffers, inputs)
    losses = F.cross_entropy(logits, labels, reduction="none", ignore_index=NO_LABEL)
    return losses.sum(1, dtype=torch.float64), (logits.max(1).indices == labels).sum(1)


@functools.cache
def compiled_sums(network: Network, compute: torch.dtype) -> Compiled:  # noqa: ARG001 - a key of the cache
    """:func:`block_sums` of a network on a CPU, compiled for images in a format."""
    return Compiled(functools.partial(block_sums, network), "the evaluation", on_cpu=True)


@torch.no_grad()
def evaluate(
    network: Network,
    prepared: Params,
    buffers: Params,
    inputs: Tensor,
    labels: Tensor,
    sizes: Sequence[int],
    compiled: Compiled | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean loss and accuracy of N networks, each on its own images.

    Args:
        network: the architecture.
        prepared: stacked, see :meth:`Network.prepared`.
        buffers: stacked.
        inputs: ``[N, V, D]``.
        labels: int64 ``[N, V]``, :data:`NO_LABEL` beyond a network's last image.
        sizes: images of each network; those with many had better come first.
        compiled: see :func:`compiled_sums`; takes blocks of ``Network.evaluated_at_once`` images of all networks.

    Returns:
        Loss in nats and accuracy, float64 ``[N]``; NaN for a network without images.
    """
    loss = torch.zeros(len(sizes), dtype=torch.float64, device=labels.device)
    right = torch.zeros_like(loss)
    block = block_size(network, len(sizes), inputs.device)
    longest = min(rounded_up(max(sizes), ROWS), inputs.shape[1])
    for start in range(0, longest, block):
        # Up to the last network that has so many images: all of them, or nearly, if those with many come first.
        count = 1 + max(place for place, size in enumerate(sizes) if size > start)
        stop = min(start + block, longest)
        if compiled is not None and start + block <= inputs.shape[1]:
            # Copied, for the layout is compiled in, and it would be another for each size of a set.
            x, y = (part[:, start : start + block].contiguous() for part in (inputs, labels))
            sums = compiled(prepared, buffers, x, y)
            loss += sums[0]
            right += sums[1]
            continue
        part = slice(count)
        some, stats = take(prepared, part), take(buffers, part)
        sums = block_sums(network, some, stats, inputs[part, start:stop], labels[part, start:stop])
        loss[part] += sums[0]
        right[part] += sums[1]
    many = torch.tensor(sizes, dtype=torch.float64).to(labels.device, non_blocking=True)
    # To the precision of the computation: in the last digits of a double, a sum depends on how it was cut up.
    return _rounded(loss / many, prepared), right / many


@dataclass(frozen=True)
class Attack:
    """Adversarial images that are scored beside the clean ones.

    Attributes:
        share: of the score, from 0 to 1.
        affine: scale and shift ``[D]`` by which pixels are read, see :meth:`ResidentImages.affine`.
    """

    share: float
    affine: tuple[Tensor, Tensor]


def evaluate_attacked(
    network: Network,
    prepared: Params,
    buffers: Params,
    inputs: Tensor,
    labels: Tensor,
    sizes: Sequence[int],
    affine: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """:func:`evaluate` on images that are moved against each network, see :func:`adversarial`."""
    block = block_size(network, len(sizes), inputs.device)

    logits_of = functools.partial(_logits, network, prepared, buffers)
    with torch.enable_grad():
        parts = [
            adversarial(logits_of, x.contiguous(), y.contiguous(), affine)
            for x, y in zip(inputs.split(block, 1), labels.split(block, 1), strict=True)
        ]
    return evaluate(network, prepared, buffers, torch.cat(parts, 1).detach(), labels, sizes)


def scored(
    network: Network,
    prepared: Params,
    buffers: Params,
    sets: tuple[Tensor, Tensor, Sequence[int]],
    attack: Attack | None,
    compiled: Compiled | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`evaluate`, or the mean of it and of :func:`evaluate_attacked`, weighted by the attack's share.

    Args:
        network: the architecture.
        prepared: stacked.
        buffers: stacked.
        sets: inputs, labels and sizes.
        attack: None: clean images are all that counts.
        compiled: see :func:`evaluate`.
    """
    clean = evaluate(network, prepared, buffers, *sets, compiled)
    if attack is None:
        return clean
    harder = evaluate_attacked(network, prepared, buffers, *sets, attack.affine)
    loss, accuracy = ((1 - attack.share) * a + attack.share * b for a, b in zip(clean, harder, strict=True))
    return loss, accuracy


def evaluate_shared(
    network: Network,
    prepared: Params,
    buffers: Params,
    images: EvaluationSet,
    count: int,
    attack: Attack | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`scored` of N networks on the same images."""
    inputs, labels = images.inputs.expand(count, -1, -1), images.labels.expand(count, -1)
    return scored(network, prepared, buffers, (inputs, labels, [len(images.labels)] * count), attack)


def _rounded(loss: Tensor, prepared: Params) -> Tensor:
    double = all(value.dtype == torch.float64 for value in prepared.values())
    return loss if double else loss.float().double()


def weight_measures(
    network: Network, rule: Penalty, params: Params, factors: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Norm and R of the penalised weights, and whether all parameters are finite; ``[N]`` each.

    Args:
        network: the architecture.
        rule: R.
        params: stacked ``[N, …]``.
        factors: of λ for each layer, ``[N, L]``, by which R is weighted; None: 1.
    """
    names = network.penalised
    # Summed row by row: torch splits one long sum among its threads, but many sums at once by row, and then a network
    # measures the same to the last bit alone and among others.
    squares = torch.stack([params[name].square().flatten(2).sum(2).sum(1) for name in names], 1).sum(1)
    penalty = squares / 2  # what L2 is; another reads the weights once more
    if factors is not None:
        penalty = (factors * torch.stack([rule.values(params[name]) for name in names], 1)).sum(1)
    elif not rule.is_weight_decay:
        penalty = torch.stack([rule.values(params[name]) for name in names], 1).sum(1)
    others = [value.flatten(1).sum(1) for name, value in params.items() if name not in names]
    finite = torch.isfinite(torch.stack([squares, *others], 1)).all(1)
    return squares.sqrt(), penalty, finite
