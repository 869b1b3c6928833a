"""The inner trainer: N runs in lockstep, trained as one network with N groups.

This is the only training loop of the project. The single environment, the vector environment, the comparison and
``train_network.py`` all call :meth:`Trainer.advance`; a single run is the case N = 1.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from lambda_rl.envs.data import ImageData
from lambda_rl.envs.device import resolve_device, resolve_precision
from lambda_rl.envs.networks import ARCHITECTURES, Params
from lambda_rl.envs.resident import EvaluationSet, ResidentImages
from lambda_rl.envs.runs import InnerRun, start_run
from lambda_rl.envs.split import Fold, split_data
from lambda_rl.envs.step import COMPILED_SIZES, StepSpec, compiled_step, training_step
from lambda_rl.envs.tasks import Task
from lambda_rl.penalties import penalty_terms

Array = npt.NDArray[np.float64]

EVALUATION_BLOCK = 500
"""Images per network that an evaluation takes at once: enough for efficient products, small enough for the cache."""


@dataclass(frozen=True)
class TrainerConfig:
    """How inner runs are computed; none of it is part of a task.

    Attributes:
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``auto``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp64`` (see :func:`resolve_precision`).
        threads: chunks of networks that are trained at the same time on a CPU. With more than 1, call
            ``torch.set_num_threads(1)`` first, or the threads of the products get in each other's way.
        chunk: networks fused at once; 0 chooses: on a GPU all, on a CPU at most 16 MLPs (32 compiled) or 1
            convolutional network (fused convolutions are slower there).
        compile: compile the training step of MLPs, and on a GPU of all networks, with ``torch.compile``, which takes
            10 to 20 seconds at the first use; the same numbers up to rounding. Experimental: the step alone is up to
            three times as fast on a CPU, whole decisions not always, and with other processes on the cores it is far
            slower. Needs a C++ compiler on a CPU; without one a warning is given and nothing is compiled.
    """

    device: str = "cpu"
    precision: str = "auto"
    threads: int = 1
    chunk: int = 0
    compile: bool = False

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
    """

    def __init__(
        self, data: ImageData, fold: Fold, config: TrainerConfig | None = None, *, outer_size: int = 500
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
        self._whole: dict[tuple[ResidentImages, int, torch.dtype, str], EvaluationSet] = {}
        threads = self.config.threads if self.device.type == "cpu" else 1
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._threads = threads

    def close(self) -> None:
        """Ends the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _dtypes(self, run: InnerRun) -> tuple[torch.dtype, torch.dtype]:
        return resolve_precision(self.config.precision, self.device, run.network.convolutional)

    def start(self, task: Task) -> InnerRun:
        """A run at its beginning (see :func:`start_run`)."""
        convolutional = ARCHITECTURES[task.network].convolutional
        dtype, compute = resolve_precision(self.config.precision, self.device, convolutional)
        self.data.prepare(task.resolution)
        self._evaluation_set(self.data, self._outer_all, task, compute)
        return start_run(task, self.data, self.split, self.fold, dtype, compute, self.outer_size)

    def _evaluation_set(
        self, data: ResidentImages, index: Tensor, task: Task, compute: torch.dtype
    ) -> EvaluationSet:
        """A set that all runs share, made once; :meth:`start` and :meth:`test` make it before threads ask for it."""
        key = (data, task.resolution, compute, task.pixels)
        if key not in self._whole:
            self._whole[key] = data.evaluation_set(index, task.resolution, compute, task.pixels)
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
        return self._map(runs, lambda chunk: self._advance_chunk([runs[i] for i in chunk], lam[chunk]))

    def test(self, runs: Sequence[InnerRun], test: ResidentImages) -> tuple[Array, Array]:
        """Loss and accuracy of each run on all test images."""
        table = np.zeros((len(runs), 2))
        everything = torch.arange(len(test), device=self.device)

        def work(index: npt.NDArray[np.int64]) -> Tensor:
            chunk = [runs[i] for i in index]
            params, buffers = _stack([run.params for run in chunk]), _stack([run.buffers for run in chunk])
            whole = self._evaluation_set(test, everything, chunk[0].task, self._dtypes(chunk[0])[1])
            return torch.stack(self._evaluate(chunk, params, buffers, [whole] * len(chunk)), 1)

        for run in runs:
            test.prepare(run.task.resolution)
            self._evaluation_set(test, everything, run.task, self._dtypes(run)[1])
        chunks = self._chunks(runs)
        for index, measured in zip(chunks, self._each(work, chunks, runs), strict=True):
            table[index] = measured.double().cpu().numpy()
        return table[:, 0], table[:, 1]

    def _chunks(self, runs: Sequence[InnerRun]) -> list[npt.NDArray[np.int64]]:
        """Indices of the runs that are trained together."""
        groups: dict[tuple[object, ...], list[int]] = {}
        for i, run in enumerate(runs):
            groups.setdefault((*run.task.group_key, run.interval), []).append(i)
        chunks = []
        for group in groups.values():
            for size in self._chunk_sizes(runs[group[0]], len(group)):
                chunks.append(np.array(group[:size]))
                group = group[size:]
        return chunks

    def _chunk_sizes(self, run: InnerRun, count: int) -> list[int]:
        """Sizes of the chunks that ``count`` runs alike are trained in."""
        if self.config.chunk == 0 and self.device.type == "cpu" and self._compiles(run):
            sizes: list[int] = []
            for size in COMPILED_SIZES:  # few sizes, each of them compiled once; what is left is not compiled
                sizes += [size] * ((count - sum(sizes)) // size)
            rest = count - sum(sizes)
            return [*sizes, rest] if rest else sizes
        size = self.config.chunk or self._chunk_size(run, count)
        return [min(size, count - at) for at in range(0, count, size)]

    def _chunk_size(self, run: InnerRun, count: int) -> int:
        if self.device.type != "cpu":
            return count
        if run.network.convolutional:
            return 1
        return min(16, -(-count // self._threads))

    def _each(
        self,
        work: Callable[[npt.NDArray[np.int64]], Tensor],
        chunks: list[npt.NDArray[np.int64]],
        runs: Sequence[InnerRun],
    ) -> list[Tensor]:
        """``work`` of every chunk, on the threads if there are any."""
        if self._pool is None:
            return list(map(work, chunks))
        results: dict[int, Tensor] = {}
        pooled = [i for i, chunk in enumerate(chunks) if not self._compiles(runs[chunk[0]])]
        results.update(zip(pooled, self._pool.map(work, [chunks[i] for i in pooled]), strict=True))
        # Compiled code holds Python's lock: torch's threads inside of it serve it better than ours around it.
        with _torch_threads(self._threads):
            results.update((i, work(chunk)) for i, chunk in enumerate(chunks) if i not in results)
        return [results[i] for i in range(len(chunks))]

    def _map(self, runs: Sequence[InnerRun], work: Callable[[npt.NDArray[np.int64]], Tensor]) -> Measurements:
        chunks = self._chunks(runs)
        results = self._each(work, chunks, runs)
        table = np.empty((len(runs), 9))
        if chunks:  # one transfer from the device for all chunks
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

    def _advance_chunk(self, runs: list[InnerRun], lam: Array) -> Tensor:
        """Trains and measures one chunk; float64 ``[n, 9]`` on the device, in the order of ``Measurements``."""
        params = _stack([run.params for run in runs])
        buffers = _stack([run.buffers for run in runs])
        lam_tensor = torch.from_numpy(lam).to(self.device)
        train = self._train(runs, params, buffers, lam_tensor)
        with torch.no_grad():
            val = self._evaluate(runs, params, buffers, [run.val for run in runs])
            outer = self._score(runs, params, buffers)
            norm, penalty, finite = _weight_measures(runs[0], params)
            columns = [c.double() for c in (*train, *val, *outer, norm, penalty * lam_tensor)]
            finite &= torch.isfinite(columns[0]) & torch.isfinite(columns[2])
        for i, run in enumerate(runs):
            run.params = {name: value[i] for name, value in params.items()}
            run.buffers = {name: value[i] for name, value in buffers.items()}
        return torch.stack([*columns, finite.double()], 1)

    def _compiles(self, run: InnerRun) -> bool:
        """Whether the steps of such runs are compiled: on a CPU convolutions gain nothing by it."""
        return self.config.compile and (self.device.type != "cpu" or not run.network.convolutional)

    def _step_function(self, runs: list[InnerRun]) -> Callable[..., None]:
        """The training step of a chunk, compiled or not."""
        task, network = runs[0].task, runs[0].network
        spec = StepSpec(
            (task.network, task.width, task.resolution, network.num_classes), task.optimizer, task.penalty, task.decay,
            *self._dtypes(runs[0]),
        )  # fmt: skip
        whole = self.device.type != "cpu" or len(runs) in COMPILED_SIZES
        if self._compiles(runs[0]) and whole:
            return compiled_step(spec)
        return functools.partial(training_step, spec, network)

    @torch.enable_grad()  # callers often step an environment under torch.no_grad()
    def _train(
        self, runs: list[InnerRun], params: Params, buffers: Params, lam: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One interval of SGD in place; mean loss and accuracy ``[N]`` over its minibatches."""
        task, count = runs[0].task, len(runs)
        dtype, compute = self._dtypes(runs[0])
        steps = runs[0].interval
        state = {kind: _stack([run.optimizer[kind] for run in runs]) for kind in runs[0].optimizer}
        order = torch.stack([run.order[run.step : run.step + steps] for run in runs], 1)
        labels = torch.stack([run.labels[run.step : run.step + steps] for run in runs], 1)
        rates = torch.stack([run.learning_rates[run.step : run.step + steps] for run in runs], 1)
        rates = rates.to(self.device, dtype)
        momentum = torch.tensor([run.task.momentum for run in runs], dtype=dtype, device=self.device)
        done = torch.tensor([run.step for run in runs], dtype=torch.float64, device=self.device)
        crops = self._augmentation(runs, steps) if task.augment else ()
        lam = lam.to(dtype)
        loss_sum = torch.zeros(count, dtype=dtype, device=self.device)
        correct = torch.zeros(count, dtype=dtype, device=self.device)
        images = self.data.images(task.resolution)
        scale, shift = self.data.affine(task.resolution, compute, task.pixels)
        step = self._step_function(runs)
        for t in range(steps):
            step(
                params, buffers, state, loss_sum, correct, images, scale, shift, order[t], labels[t], lam, rates[t],
                momentum, done + t, *(part[t] for part in crops),
            )  # fmt: skip
        for i, run in enumerate(runs):
            run.optimizer = {
                kind: {name: value[i] for name, value in tensors.items()} for kind, tensors in state.items()
            }
            run.step += steps
            run.decision += 1
        return loss_sum / steps, correct / steps

    def _augmentation(self, runs: list[InnerRun], steps: int) -> tuple[Tensor, Tensor]:
        """Crop offsets ``[steps, N, B, 2]`` and flips ``[steps, N, B]`` of an interval, from each run's generator."""
        size, reach = runs[0].task.batch_size, runs[0].task.resolution // 4 + 1
        offsets = [torch.randint(reach, (steps, size, 2), generator=run.augmentation) for run in runs]
        flips = [torch.randint(2, (steps, size), generator=run.augmentation).bool() for run in runs]
        return torch.stack(offsets, 1).to(self.device), torch.stack(flips, 1).to(self.device)

    def _score(self, runs: list[InnerRun], params: Params, buffers: Params) -> tuple[Tensor, Tensor]:
        """Loss and accuracy on ``outer-val``: the whole part at a run's end, each run's own sample before."""
        if not self.outer_size and not any(run.finished for run in runs):
            nothing = torch.full((len(runs),), torch.nan, device=self.device)
            return nothing, nothing
        whole = self._evaluation_set(self.data, self._outer_all, runs[0].task, self._dtypes(runs[0])[1])
        sets = [whole if run.finished else run.outer for run in runs]
        return self._evaluate(runs, params, buffers, sets)

    @torch.no_grad()
    def _evaluate(
        self, runs: list[InnerRun], params: Params, buffers: Params, sets: list[EvaluationSet]
    ) -> tuple[Tensor, Tensor]:
        """Mean loss and accuracy ``[N]`` of each stacked network on its own images."""
        network = runs[0].network
        params = network.cast(params, self._dtypes(runs[0])[1])
        loss = torch.full((len(runs),), torch.nan, device=self.device)
        accuracy = loss.clone()

        def evaluate(part: tuple[slice | list[int], Tensor, Tensor]) -> None:
            members, inputs, labels = part
            some = {name: value[members] for name, value in params.items()}
            stats = {name: value[members] for name, value in buffers.items()}
            total, right = torch.zeros_like(loss[members]), torch.zeros_like(loss[members])
            blocks = zip(inputs.split(EVALUATION_BLOCK, 1), labels.split(EVALUATION_BLOCK, 1), strict=True)
            with torch.no_grad():  # in each thread
                for x, y in blocks:
                    logits = network.forward(some, stats, x, training=False).float().transpose(1, 2)
                    total += F.cross_entropy(logits, y, reduction="none").sum(1)
                    right += (logits.argmax(1) == y).sum(1)
                loss[members], accuracy[members] = total / labels.shape[1], right / labels.shape[1]

        # A compiled chunk is not on our threads itself, so they are free.
        free = self._pool is not None and self._compiles(runs[0])
        list((self._pool.map if self._pool is not None and free else map)(evaluate, self._together(sets)))
        return loss, accuracy

    def _together(self, sets: list[EvaluationSet]) -> Iterator[tuple[slice | list[int], Tensor, Tensor]]:
        """Members, images ``[n, V, …]`` and labels ``[n, V]`` of networks that are evaluated at once.

        Networks that share a set are; others only on a GPU, and only if their sets are of one size: on a CPU copying
        images side by side costs more than it saves.
        """
        if all(part is sets[0] for part in sets):
            if len(sets[0].labels):
                count = len(sets)
                yield (
                    slice(None),
                    sets[0].inputs.expand(count, -1, -1, -1, -1),
                    sets[0].labels.expand(count, -1),
                )
            return
        groups: dict[int, list[int]] = {}
        for i, part in enumerate(sets):
            groups.setdefault(i if self.device.type == "cpu" else -len(part.labels), []).append(i)
        for members in groups.values():
            if len(sets[members[0]].labels):
                index = slice(members[0], members[0] + 1) if len(members) == 1 else members
                yield (
                    index,
                    torch.stack([sets[i].inputs for i in members])
                    if len(members) > 1
                    else sets[members[0]].inputs[None],
                    torch.stack([sets[i].labels for i in members]),
                )


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    """Torch's own threads, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _stack(parts: Sequence[Params]) -> Params:
    return {name: torch.stack([part[name] for part in parts]) for name in parts[0]}


def _weight_measures(run: InnerRun, params: Params) -> tuple[Tensor, Tensor, Tensor]:
    """Norm and R of the penalised weights, and whether all parameters are finite; ``[N]`` each."""
    names = run.network.penalised
    # Summed row by row: torch splits one long sum among its threads, but many sums at once by row, and then a network
    # measures the same to the last bit alone and among others.
    squares = torch.stack([params[name].square().flatten(2).sum(2).sum(1) for name in names]).sum(0)
    if run.task.penalty == "l2":
        penalty = squares / 2
    else:
        terms = [penalty_terms(params[name], run.task.penalty).flatten(2).sum(2).sum(1) for name in names]
        penalty = torch.stack(terms).sum(0)
    finite = torch.isfinite(squares)
    for name, value in params.items():
        if name not in names:
            finite = finite & torch.isfinite(value.flatten(1).sum(1))
    return squares.sqrt(), penalty, finite


def to_log(lam: float) -> float:
    """log₁₀ λ; -inf for λ = 0."""
    return float(np.log10(lam)) if lam > 0 else -np.inf
