"""The least time that one training step could take on this machine, from its operations and bytes.

The model is a roofline (Williams et al. 2009, doi:10.1145/1498765.1498785) for each part of a step. The parts follow
each other: the gather of the minibatch, each matrix product or convolution forward and backward, the optimizer's
update, and the step's share of the evaluations at a decision. A part cannot be faster than its floating-point
operations at the measured peak of matrix products, nor than its bytes at the measured bandwidth of copies; the larger
of the two is its floor, and the floor of a step is the sum. Peaks and bandwidths are those of all threads together, as
throughput is what is measured.

Bytes are the fewest: a product reads each operand once and writes its result once; everything elementwise (bias, ReLU,
pooling, batch norm, loss) is done on the way and costs nothing; the update reads weight, gradient and momentum and
writes weight and momentum. Images are read from far memory, as uint8 for training and normalised for evaluation; all
else is at the bandwidth of the second-level cache if one network's weights, momentum, gradients and activations fit
in one core's, since nothing keeps an implementation from training its networks one after another there.

Convolutions count at their direct algorithm, 2·k²·C_in·C_out operations a position; an input's gradient is not
needed for the first layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from lambda_rl.agents.benchmark.machine.peaks import Peaks, element_bytes, l2_bytes
from lambda_rl.envs.networks import Network
from lambda_rl.envs.networks.layers import Layer, Pool, Sequential
from lambda_rl.envs.tasks.task import Task


@dataclass(frozen=True)
class Product:
    """One layer's matrix product or convolution, for one image.

    Attributes:
        name: of the layer.
        inputs: numbers that it reads.
        outputs: numbers that it writes.
        weights: numbers in its weight.
        positions: where the weight is applied: 1 in a linear layer, pixels of the output in a convolution.
    """

    name: str
    inputs: int
    outputs: int
    weights: int
    positions: int

    @property
    def flops(self) -> float:
        """Of the forward pass."""
        return 2.0 * self.weights * self.positions


@dataclass(frozen=True)
class Part:
    """A part of a step of one network.

    Attributes:
        name: what it is.
        flops: floating-point operations of products.
        near: bytes read and written that could be in a core's cache.
        far: bytes that lie in far memory.
    """

    name: str
    flops: float
    near: float
    far: float = 0.0

    def seconds(self, peaks: Peaks, precision: str, near_rate: float) -> float:
        """The least time that it takes."""
        return max(self.flops / peaks.flops[precision], self.near / near_rate + self.far / peaks.far)


def products(network: Network) -> list[Product]:
    """The layers of a network that have a weight, in order."""
    made, side = [], network.resolution
    for layer in _flat(network):
        if isinstance(layer, Pool):
            side = side // layer.side if layer.side else 1
        for key, spec in layer.specs.items():
            if not spec.penalised:
                continue
            outputs, inputs, *kernel = spec.shape
            positions = side**2 if kernel else 1  # padding keeps the side
            numbers = inputs * positions, outputs * positions, math.prod(spec.shape), positions
            made.append(Product(key.removesuffix(".weight"), *numbers))
    return made


def _flat(layer: Layer) -> Iterator[Layer]:
    if isinstance(layer, Sequential):
        for part in layer.parts:
            yield from _flat(part)
    else:
        yield layer


def evaluations_per_step(task: Task, outer_size: int, outer_all: int) -> float:
    """Images evaluated over an episode, per training step.

    Args:
        task: what is trained.
        outer_size: images of ``outer-val`` at each decision but the last.
        outer_all: images of ``outer-val`` at the last one.
    """
    images = task.decisions * task.val_size + (task.decisions - 1) * min(outer_size, outer_all) + outer_all
    return images / task.steps


def step_parts(task: Task, network: Network, precision: str, evaluated: float) -> list[Part]:
    """The parts of one training step of one network.

    Args:
        task: what is trained.
        network: its network.
        precision: ``fp32`` or ``bf16``, of activations and products; parameters and momentum are fp32.
        evaluated: images evaluated per training step.
    """
    size, batch, pixels = element_bytes(precision), task.batch_size, network.channels * task.resolution**2
    layers = products(network)
    parts = [Part("gather", 0.0, batch * pixels * size, batch * pixels)]
    for number, layer in enumerate(layers):
        inputs, outputs, weights = batch * layer.inputs * size, batch * layer.outputs * size, layer.weights
        flops = batch * layer.flops
        parts.append(Part(f"{layer.name} forward", flops, inputs + outputs + weights * size))
        parts.append(Part(f"{layer.name} weight gradient", flops, inputs + outputs + weights * 4))
        if number:
            parts.append(Part(f"{layer.name} input gradient", flops, inputs + outputs + weights * size))
    # Momentum SGD: three reads and two writes, and the copy that products in a lower precision read.
    parts.append(Part("update", 0.0, _numbers(network) * (5 * 4 + (size if size < 4 else 0))))
    for number, layer in enumerate(layers):
        read, written = evaluated * layer.inputs * size, evaluated * layer.outputs * size
        near, far = (read + written, 0.0) if number else (written, read)
        parts.append(Part(f"{layer.name} evaluation", evaluated * layer.flops, near, far))
    return parts


def _numbers(network: Network) -> int:
    return sum(math.prod(spec.shape) for spec in network.specs.values())


def working_set(task: Task, network: Network, precision: str) -> float:
    """Bytes of one network's weights, momentum, gradients and activations in a training step."""
    size, layers = element_bytes(precision), products(network)
    activations = task.batch_size * (layers[0].inputs + sum(layer.outputs for layer in layers))
    return _numbers(network) * (12 + (size if size < 4 else 0)) + activations * size


def floor(
    task: Task, network: Network, precision: str, evaluated: float, peaks: Peaks
) -> dict[str, float | dict[str, float]]:
    """The model's numbers for one network.

    Returns:
        ``seconds`` a network-step, ``steps_per_second``, ``flops`` and ``bytes`` a step, ``working_set`` in bytes, and
        ``parts``, the seconds of each.
    """
    parts = step_parts(task, network, precision, evaluated)
    held = working_set(task, network, precision)
    near_rate = peaks.near if held <= l2_bytes() else peaks.far
    seconds = {part.name: part.seconds(peaks, precision, near_rate) for part in parts}
    total = sum(seconds.values())
    return {
        "seconds": total,
        "steps_per_second": 1.0 / total,
        "flops": sum(part.flops for part in parts),
        "bytes": sum(part.near + part.far for part in parts),
        "working_set": held,
        "parts": seconds,
    }
