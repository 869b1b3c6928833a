"""The inner trainer: N runs in lockstep, in stacks that are trained as one network with N groups.

This is the only training loop of the project. The single environment, the vector environment, the comparison and
``train_network.py`` all call :meth:`Trainer.advance`; a single run is the case N = 1.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lambda_rl.envs.calibration import kept_sizes, stack_kind
from lambda_rl.envs.compiled import Compiled
from lambda_rl.envs.data import ImageData
from lambda_rl.envs.device import resolve_device, resolve_precision
from lambda_rl.envs.evaluation import compiled_sums, evaluate, evaluate_shared
from lambda_rl.envs.interval import Interval, cuda_graph
from lambda_rl.envs.networks import Network, Params
from lambda_rl.envs.resident import EvaluationSet, ResidentImages
from lambda_rl.envs.runs import InnerRun, network_of, start_run
from lambda_rl.envs.split import Fold, split_data
from lambda_rl.envs.stack import ROWS, Stack, StackedSets, stack_params, take
from lambda_rl.envs.tasks import Task
from lambda_rl.penalties import PENALTIES

Array = npt.NDArray[np.float64]
T = TypeVar("T")


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
            each kind of network; the same numbers up to rounding. How much faster is in
            docs/performance.md. Needs a C++ compiler on
            a CPU; without one a warning is given and nothing is compiled.
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


@dataclass
class Measurements:
    """What :meth:`Trainer.advance` measured, float64 arrays of n runs.

    Losses are in nats without the penalty, accuracies fractions. ``train_*`` are means over the interval's
    minibatches, each taken before its own update. ``finite`` is false where a loss or a weight is not.
    """

    train_loss: Array
    train_accuracy: Array
    val_loss: Array
    val_accuracy: Array
    outer_loss: Array
    outer_accuracy: Array
    weight_norm: Array
    penalty: Array
    finite: npt.NDArray[np.bool_]


class Trainer:
    """Trains and measures inner runs.

    Args:
        data: training images; the trainer never sees the test images, but for what :meth:`test` is handed.
        fold: ``agent`` or ``held-out``: which images the runs are cut from.
        config: device, precision, threads, chunk.
        outer_size: images of ``outer-val`` that each run is scored on at its decisions; the last one takes the
            whole part. 0 scores at the end only.
        sizes: of stacks on a CPU, by :func:`~lambda_rl.envs.calibration.stack_kind`; None: those that were measured on
            this machine, if any were.
    """

    def __init__(
        self,
        data: ImageData,
        fold: Fold,
        config: TrainerConfig | None = None,
        *,
        outer_size: int = 500,
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        self.config = config or TrainerConfig()
        self.device = resolve_device(self.config.device)
        resolve_precision(self.config.precision, self.device, convolutional=False)  # refuses an unknown name
        self.fold = fold
        self.split = split_data(len(data.labels), fold)
        self.data = ResidentImages(data, self.device)
        self.outer_size = min(outer_size, len(self.split.outer_val))
        self._outer_all = self.split.outer_val.to(self.device)
        # By the images themselves, which are kept so: others may come to have the place, hence the id, of lost ones.
        self._whole: dict[tuple[object, ...], EvaluationSet] = {}
        threads = self.config.threads if self.device.type == "cpu" else 1
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._threads = threads
        self._stacks: dict[tuple[object, ...], Stack] = {}
        self._sizes = kept_sizes() if sizes is None else sizes

    def close(self) -> None:
        """Ends the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _dtypes(self, network: Network) -> tuple[torch.dtype, torch.dtype]:
        return resolve_precision(self.config.precision, self.device, network.convolutional)

    def start(self, task: Task) -> InnerRun:
        """A run at its beginning (see :func:`start_run`)."""
        return self.start_all([task])[0]

    def start_all(self, tasks: Sequence[Task]) -> list[InnerRun]:
        """Many at once, on the threads if there are any."""
        return self._each([self._prepare(task) for task in tasks])

    def _prepare(self, task: Task) -> Callable[[], InnerRun]:
        """Starts a run when called; what it shares with others is made before, lest two threads make it."""
        network = network_of(task, self.data.num_classes, self.data.channels)
        dtype, compute = self._dtypes(network)
        self.data.prepare(task.resolution)
        if not task.augment:
            self.data.rows(network)
        self._evaluation_set(self.data, self._outer_all, network, task.pixels)
        return functools.partial(
            start_run, task, network, self.data, self.split, self.fold, dtype, compute, self.outer_size
        )

    def _evaluation_set(
        self, data: ResidentImages, index: Tensor, network: Network, pixels: str
    ) -> EvaluationSet:
        """A set that all runs share, made once; :meth:`start` and :meth:`test` make it before threads ask for it."""
        compute = self._dtypes(network)[1]
        key = (data, network.resolution, network.arrangement, compute, pixels)
        if key not in self._whole:
            self._whole[key] = data.evaluation_set(index, network, compute, pixels)
        return self._whole[key]

    @torch.no_grad()
    def weight_measures(self, run: InnerRun) -> tuple[float, float]:
        """(Euclidean norm of the penalised weights, R of them)."""
        measured = _weight_measures(run, {name: value.unsqueeze(0) for name, value in run.params.items()})
        norm, penalty, _ = (float(value) for value in measured)
        return norm, penalty

    def advance(self, runs: Sequence[InnerRun], log_lam: npt.ArrayLike) -> Measurements:
        """Trains every run for its next interval with λ held, then measures it.

        Args:
            runs: any mixture of tasks; those alike are fused.
            log_lam: log₁₀ λ of each; -inf is no penalty.

        Returns:
            Measurements in the order of ``runs``. ``outer_*`` is NaN where the run is not scored.
        """
        lam = 10.0 ** np.asarray(log_lam, np.float64)
        chunks = self._chunks(runs)
        seated = [[runs[i] for i in chunk] for chunk in chunks]
        stacks = self._seat(seated)
        work = [
            functools.partial(self._advance, stack, members, lam[chunk])
            for stack, members, chunk in zip(stacks, seated, chunks, strict=True)
        ]
        results = self._each(work)
        table = np.empty((len(runs), 9))
        if chunks:  # one transfer from the device for all stacks
            table[np.concatenate(chunks)] = torch.cat(results).cpu().numpy()
        columns = table.T
        return Measurements(
            train_loss=columns[0],
            train_accuracy=columns[1],
            val_loss=columns[2],
            val_accuracy=columns[3],
            outer_loss=columns[4],
            outer_accuracy=columns[5],
            weight_norm=columns[6],
            penalty=columns[7],
            finite=columns[8] > 0.5,
        )

    def test(self, runs: Sequence[InnerRun], test: ResidentImages) -> tuple[Array, Array]:
        """Loss and accuracy of each run on all test images."""
        table = np.zeros((len(runs), 2))
        everything = torch.arange(len(test), device=self.device)

        def measured(members: list[InnerRun]) -> Tensor:
            network = members[0].network
            images = self._evaluation_set(test, everything, network, members[0].task.pixels)
            prepared = network.prepared(
                stack_params([run.params for run in members]), self._dtypes(network)[1]
            )
            buffers = stack_params([run.buffers for run in members])
            return torch.stack(evaluate_shared(network, prepared, buffers, images, len(members)), 1)

        for run in runs:
            test.prepare(run.task.resolution)
            self._evaluation_set(test, everything, run.network, run.task.pixels)
        chunks = self._chunks(runs)
        parts = [[runs[i] for i in chunk] for chunk in chunks]
        results = self._each([functools.partial(measured, members) for members in parts])
        for index, found in zip(chunks, results, strict=True):
            table[index] = found.cpu().numpy()
        return table[:, 0], table[:, 1]

    def _chunks(self, runs: Sequence[InnerRun]) -> list[npt.NDArray[np.int64]]:
        """Indices of the runs that are trained together; those with many validation images first."""
        groups: dict[tuple[object, ...], list[int]] = {}
        for i, run in enumerate(runs):
            groups.setdefault((*run.task.group_key, run.interval), []).append(i)
        chunks = []
        for group in groups.values():
            group.sort(key=lambda i: -len(runs[i].val.labels))
            for size in self._chunk_sizes(runs[group[0]].network, len(group)):
                chunks.append(np.array(group[:size]))
                group = group[size:]
        return chunks

    def _chunk_sizes(self, network: Network, count: int) -> list[int]:
        """Sizes of the stacks that ``count`` runs alike are trained in."""
        if self.config.chunk:
            size = self.config.chunk
        elif self.device.type != "cpu":
            size = count
        elif self._compiles(network):
            # Two sizes, each compiled once; the larger one only where there is one for each thread.
            small, large = self._compiled_sizes(network)
            size = large if count >= large * self._threads else small
        else:
            size = min(self._side_by_side(network), -(-count // self._threads))
        return [min(size, count - at) for at in range(0, count, size)]

    def _compiles(self, network: Network, count: int | None = None) -> bool:
        """Whether steps of such networks are compiled; if ``count`` is given, of so many side by side.

        On a CPU only for two sizes of a stack; large convolutions gain nothing by it.
        """
        if not self.config.compile:
            return False
        if self.device.type != "cpu":
            return True
        return network.side_by_side > 1 and (count is None or count in self._compiled_sizes(network))

    def _side_by_side(self, network: Network) -> int:
        """Networks of a stack on a CPU, at most."""
        kind = stack_kind(network, self._dtypes(network)[1], self.config.compile)
        return self._sizes.get(kind, network.side_by_side)

    def _compiled_sizes(self, network: Network) -> tuple[int, int]:
        large = self._side_by_side(network)
        return max(1, large // 2), large

    def _compiled_sums(self, network: Network, count: int) -> Compiled | None:
        """The compiled evaluation of ``count`` such networks; on a GPU none, for there it is a small part."""
        if self.device.type != "cpu" or not network.evaluation_compiled or not self._compiles(network, count):
            return None
        return compiled_sums(network, self._dtypes(network)[1])

    def _each(self, work: Sequence[Callable[[], T]]) -> list[T]:
        """All results, on the threads if there are any."""
        if self._pool is None:
            return [call() for call in work]
        return list(self._pool.map(lambda call: call(), work))

    def _seat(self, chunks: list[list[InnerRun]]) -> list[Stack]:
        """A stack for each chunk, the one of the last time if it is there."""
        used: dict[tuple[object, ...], Stack] = {}
        for members in chunks:
            run, count = members[0], len(members)
            kind = (*run.task.group_key, count)
            key = (*kind, sum(other[:-1] == kind for other in used))
            block = run.network.evaluated_at_once if self._compiled_sums(run.network, count) else ROWS
            used[key] = self._stacks.get(key) or Stack(members, block)
            used[key].seat(members)
        kept = {key: stack for key, stack in self._stacks.items() if not stack.deserted}
        self._stacks = {**kept, **used}
        return list(used.values())

    def _advance(self, stack: Stack, runs: list[InnerRun], lam: Array) -> Tensor:
        """Trains and measures a stack; float64 ``[n, 9]`` on the device, in the order of ``Measurements``."""
        train = self._train(stack, runs, lam)
        with torch.no_grad():
            val, outer = self._evaluate(stack, runs)
            norm, penalty, finite = _weight_measures(runs[0], stack.params)
            lam_tensor = torch.from_numpy(lam).to(self.device)
            columns = [c.double() for c in (*train, *val, *outer, norm, penalty * lam_tensor)]
            finite &= torch.isfinite(columns[0]) & torch.isfinite(columns[2])
        return torch.stack([*columns, finite.double()], 1)

    def _train(self, stack: Stack, runs: list[InnerRun], lam: Array) -> tuple[Tensor, Tensor]:
        """One interval in place; mean loss and accuracy ``[N]`` over its minibatches."""
        steps = runs[0].interval
        if steps not in stack.intervals:
            stack.intervals[steps] = Interval(
                stack, runs, steps, self.data, *self._dtypes(runs[0].network),
                compiled=self._compiles(runs[0].network, len(runs)),
                capture=cuda_graph if self.device.type == "cuda" and self.config.capture else None,
            )  # fmt: skip
        return stack.intervals[steps](runs, lam)

    def _evaluate(
        self, stack: Stack, runs: list[InnerRun]
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Loss and accuracy of each network on its validation images, and on ``outer-val``.

        Of the latter on each run's own sample, and at a run's end on the whole part.
        """
        network, buffers = runs[0].network, stack.buffers
        prepared = network.prepared(stack.params, self._dtypes(network)[1])
        compiled = self._compiled_sums(network, len(runs))

        def own(sets: StackedSets) -> tuple[Tensor, Tensor]:
            return evaluate(network, prepared, buffers, sets.inputs, sets.labels, sets.sizes, compiled)

        val = own(stack.val)
        ended = [place for place, run in enumerate(runs) if run.finished]
        if len(ended) < len(runs):
            loss, accuracy = own(stack.outer)
            if not ended:
                return val, (loss, accuracy)
        else:
            loss, accuracy = torch.empty_like(val[0]), torch.empty_like(val[1])
        some = slice(None) if len(ended) == len(runs) else torch.tensor(ended, device=self.device)
        whole = self._evaluation_set(self.data, self._outer_all, network, runs[0].task.pixels)
        loss[some], accuracy[some] = evaluate_shared(
            network, take(prepared, some), take(buffers, some), whole, len(ended)
        )
        return val, (loss, accuracy)


def _weight_measures(run: InnerRun, params: Params) -> tuple[Tensor, Tensor, Tensor]:
    """Norm and R of the penalised weights, and whether all parameters are finite; ``[N]`` each."""
    names = run.network.penalised
    # Summed row by row: torch splits one long sum among its threads, but many sums at once by row, and then a network
    # measures the same to the last bit alone and among others.
    squares = torch.stack([params[name].square().flatten(2).sum(2).sum(1) for name in names]).sum(0)
    penalty = squares / 2  # what L2 is; another reads the weights once more
    rule = PENALTIES[run.task.penalty]
    if not rule.is_weight_decay:
        penalty = torch.stack([rule.values(params[name]) for name in names]).sum(0)
    finite = torch.isfinite(squares)
    for name, value in params.items():
        if name not in names:
            finite = finite & torch.isfinite(value.flatten(1).sum(1))
    return squares.sqrt(), penalty, finite


def to_log(lam: float) -> float:
    """log₁₀ λ; -inf for λ = 0."""
    return float(np.log10(lam)) if lam > 0 else -np.inf
