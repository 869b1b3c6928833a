"""How inner runs are placed: on which device, in which format, how many side by side, what is compiled.

None of it is part of a task, and none changes what a run computes but for rounding; on a CPU, not even that depends on
who is trained beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from lambda_rl.envs.hardware.calibration import kept_sizes, stack_kind
from lambda_rl.envs.hardware.compiled import Compiled
from lambda_rl.envs.hardware.device import resolve_device, resolve_precision
from lambda_rl.envs.networks import Network
from lambda_rl.envs.training.evaluation import compiled_sums


@dataclass(frozen=True)
class TrainerConfig:
    """How inner runs are computed; none of it is part of a task.

    Attributes:
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``auto``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp64`` (see :func:`resolve_precision`).
        threads: chunks of networks that are trained at the same time on a CPU. With more than 1, call
            ``torch.set_num_threads(1)`` first, or the threads of the products get in each other's way.
        chunk: networks side by side in a stack; 0 chooses: on a GPU all, on a CPU what
            ``benchmark.py --calibrate`` found on this machine, else at most 16 MLPs, 4 ``cnn3``, 1 larger one.
        compile: compile the training step with ``torch.compile``, which takes 5 to 20 seconds at the first use for
            each kind of network; the same numbers up to rounding. How much faster is in docs/performance.md. Needs a
            C++ compiler on a CPU; without one a warning is given and nothing is compiled. On a CPU a stack that is not
            full has empty places, which are trained for nothing: with 32 slots, none of them for one kind of network,
            and about as long as compiling them saves for ``cifar-mixed``. The fewer are alike, the more is wasted: one
            ``cnn3`` takes about as long as it would if not compiled, one MLP of width 128 four times as long.
        capture: on a GPU, capture each interval as a CUDA graph.
    """

    device: str = "cpu"
    precision: str = "auto"
    threads: int = 1
    chunk: int = 0
    compile: bool = False
    capture: bool = True

    def __post_init__(self) -> None:
        """Checks the numbers."""
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")
        if self.chunk < 0:
            raise ValueError(f"chunk must be at least 0 (0 chooses), got {self.chunk}")


class Placement:
    """Decides where and how runs are computed.

    **Sizes of chunks, an example.** 40 runs of an MLP alike, on a CPU with 2 threads, not compiled: an MLP says that at
    most 16 are worth stacking, and each thread should have a stack, so stacks have min(16, ⌈40 / 2⌉) = 16, 16 and 8.
    With 20 runs they have min(16, 10) = 10 and 10. Compiled, each size is compiled once and costs seconds, so there are
    two alone, the small one and the large one::

        runs      16 small = 8, large = 16, 2 threads
        40        16 × 2 ≤ 40, so large: 16 16 8
        20        16 × 2 > 20, so small: 8 8 4      (in 8 places, 4 of them empty)

    On a GPU all 40 are one stack, for its kernels are wide enough.

    Args:
        config: what the user asked for.
        sizes: of stacks on a CPU, by :func:`~lambda_rl.envs.hardware.calibration.stack_kind`; None: those measured on
            this machine, if any were.

    Attributes:
        device: where.
        threads: stacks trained at the same time.
    """

    def __init__(self, config: TrainerConfig, sizes: Mapping[str, int] | None = None) -> None:
        self.config = config
        self.device = resolve_device(config.device)
        resolve_precision(config.precision, self.device, convolutional=False)  # refuses an unknown name
        self.threads = config.threads if self.device.type == "cpu" else 1
        self._sizes = kept_sizes() if sizes is None else sizes

    def dtypes(self, network: Network) -> tuple[torch.dtype, torch.dtype]:
        """(Format of parameters and optimizer state, format of activations and products)."""
        return resolve_precision(self.config.precision, self.device, network.convolutional)

    def chunk_sizes(self, network: Network, count: int) -> list[int]:
        """Sizes of the stacks that ``count`` runs alike are trained in."""
        if self.config.chunk:
            size = self.config.chunk
        elif self.device.type != "cpu":
            size = count
        elif self.compiles(network):
            # Two sizes, each compiled once; the larger one only where there is one for each thread.
            small, large = self._compiled_sizes(network)
            size = large if count >= large * self.threads else small
        else:
            size = min(self.side_by_side(network), -(-count // self.threads))
        return [min(size, count - at) for at in range(0, count, size)]

    def places(self, network: Network, count: int) -> int:
        """Places of the stack that ``count`` such networks are trained in.

        Where steps are compiled on a CPU, that is the next of the two sizes. A stack trained as it is would round
        otherwise, and who is left for it depends on all runs; between compiled sizes there is no difference.
        """
        if self.device.type != "cpu" or not self.compiles(network):
            return count
        return next(size for size in self._compiled_sizes(network) if size >= count)

    def compiles(self, network: Network) -> bool:
        """Whether steps of such networks are compiled; large convolutions gain nothing by it.

        On a GPU, where each is trained on its own, the same would be compiled N times over.
        """
        worth = network.side_by_side > 1 if self.device.type == "cpu" else not network.apart_on_gpu
        return self.config.compile and worth

    def side_by_side(self, network: Network) -> int:
        """Networks of a stack on a CPU, at most."""
        kind = stack_kind(network, self.dtypes(network)[1], self.config.compile)
        return self._sizes.get(kind, network.side_by_side)

    def _compiled_sizes(self, network: Network) -> tuple[int, int]:
        if self.config.chunk:
            return self.config.chunk, self.config.chunk
        large = self.side_by_side(network)
        return max(1, large // 2), large

    def compiled_sums(self, network: Network) -> Compiled | None:
        """The compiled evaluation of such networks; on a GPU none, for there it is a small part."""
        if self.device.type != "cpu" or not network.evaluation_compiled or not self.compiles(network):
            return None
        return compiled_sums(network, self.dtypes(network)[1])
