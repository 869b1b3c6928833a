"""The inner trainer: N runs in lockstep, in stacks that are trained as one network with N groups.

This is the only training loop of the project. The single environment, the vector environment, the comparison and
``train_network.py`` all call :meth:`Trainer.advance`; a single run is the case N = 1.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lambda_rl.envs.data import Images, load_train
from lambda_rl.envs.data.split import Fold
from lambda_rl.envs.networks import Network
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.begin import start_runs, together
from lambda_rl.envs.training.evaluation import Attack, evaluate_shared, scored, weight_measures
from lambda_rl.envs.training.interval import Interval, cuda_graph
from lambda_rl.envs.training.placement import Placement, TrainerConfig
from lambda_rl.envs.training.resident import EvaluationSet, Reading, ResidentImages
from lambda_rl.envs.training.run import InnerRun, network_of
from lambda_rl.envs.training.sources import Load, Source, Sources
from lambda_rl.envs.training.stack import (
    ROWS,
    Knobs,
    Stack,
    StackedSets,
    stack_params,
    take,
)
from lambda_rl.knobs import kind_of
from lambda_rl.penalties import PENALTIES

Array = npt.NDArray[np.float64]
T = TypeVar("T")


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
    """Trains and measures inner runs, of one data set or of several.

    Args:
        data: training images, or those of several data sets by the name that tasks give them (``Task.data``), ""
            for the ones of tasks that name none; the trainer never sees test images, but for what :meth:`test` is
            handed.
        fold: ``agent`` or ``held-out``: which images the runs are cut from.
        config: device, precision, threads, chunk.
        outer_size: images of ``outer-val`` that each run is scored on at its decisions; the last one takes the
            whole part. 0 scores at the end only.
        sizes: see :class:`~lambda_rl.envs.training.placement.Placement`.
        load: makes the training images of data sets that are generated, when a task first names them; None: those that
            were given are all.
        attacked: share of the score that is of adversarial images, see :class:`~.evaluation.Attack`.

    Attributes:
        sources: each data set's share, by name.
    """

    def __init__(
        self,
        data: Images,
        fold: Fold,
        config: TrainerConfig | None = None,
        *,
        outer_size: int = 500,
        sizes: Mapping[str, int] | None = None,
        load: Load | None = load_train,
        attacked: float = 0.0,
    ) -> None:
        self.config = config or TrainerConfig()
        self.placement = Placement(self.config, sizes)
        self.device = self.placement.device
        self.fold, self.attacked = fold, attacked
        self.sources = Sources(data, fold, self.device, outer_size, load)
        threads = self.placement.threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._stacks: dict[tuple[object, ...], Stack] = {}
        self._closed = False

    def __getstate__(self) -> object:
        """Refuses to be copied or pickled: runs sit in memory that stacks share."""
        raise TypeError(
            "a trainer, hence an environment, can be neither copied nor pickled: make another one "
            "(a vector environment's state_dict() can be loaded into it)"
        )

    def source(self, task: Task) -> Source:
        """The data set that a task names.

        Raises:
            ValueError: it was not loaded.
        """
        return self.sources.of(task)

    @property
    def data(self) -> ResidentImages:
        """The images of tasks that name no data set."""
        return self.sources[""].images

    def close(self) -> None:
        """Ends the threads; nothing can be trained any more."""
        self._closed = True
        if self._pool is not None:
            self._pool.shutdown()

    def side_by_side(self, task: Task) -> int:
        """How many runs of a task a thread trains at once, at most."""
        return self.placement.side_by_side(self.network(task))

    def network(self, task: Task) -> Network:
        """The architecture that a task trains."""
        images = self.source(task).images
        return network_of(task, images.num_classes, images.channels)

    def start(self, task: Task) -> InnerRun:
        """A run at its beginning (see :func:`~.begin.start_runs`)."""
        return self.start_all([task])[0]

    def start_all(self, tasks: Sequence[Task]) -> list[InnerRun]:
        """Many at once, those alike together, on the threads if there are any."""
        parts = together(tasks, self.device, self.placement.threads)
        made = self._each([self._prepare([tasks[i] for i in part]) for part in parts])
        runs = dict(zip(chain(*parts), chain(*made), strict=True))
        for run in runs.values():
            self.sources.use(run)
        return [runs[i] for i in range(len(tasks))]

    def _prepare(self, tasks: Sequence[Task]) -> Callable[[], list[InnerRun]]:
        """Starts runs alike when called; what they share with others is made before, lest two threads make it."""
        source, network = self.source(tasks[0]), self.network(tasks[0])
        dtype, compute = self.placement.dtypes(network)
        source.images.prepare(network.resolution)
        if not tasks[0].augment:
            source.images.rows(network)
        source.outer(network, compute, Reading.of(tasks[0]))
        return functools.partial(start_runs, tasks, network, source, dtype, compute)

    def advance(
        self,
        runs: Sequence[InnerRun],
        log_lam: npt.ArrayLike,
        log_knobs: Mapping[str, Array] = MappingProxyType({}),
    ) -> Measurements:
        """Trains every run for its next interval with λ, and all other knobs, held; then measures it.

        Args:
            runs: any mixture of tasks; those alike are fused.
            log_lam: log₁₀ λ of each; -inf is no penalty.
            log_knobs: levels of further knobs, of each, by name.

        Returns:
            Measurements in the order of ``runs``. ``outer_*`` is NaN where the run is not scored.
        """
        lam = 10.0 ** np.asarray(log_lam, np.float64)
        knobs = {
            name: kind_of(name).value(np.asarray(values, np.float64)) for name, values in log_knobs.items()
        }
        chunks = self._chunks(runs)
        seated = [[runs[i] for i in chunk] for chunk in chunks]
        stacks = self._seat(seated)
        work = [
            functools.partial(
                self._advance, stack, members, lam[chunk], {k: v[chunk] for k, v in knobs.items()}
            )
            for stack, members, chunk in zip(stacks, seated, chunks, strict=True)
        ]
        results = self._each(work)
        table = np.empty((len(runs), 9))
        if chunks:  # one transfer from the device for all stacks
            table[np.concatenate(chunks)] = torch.cat(results).cpu().numpy()
        finite = (table[:, 8] > 0.5) & np.isfinite(table[:, (0, 2)]).all(1)
        with np.errstate(all="ignore"):
            penalty = lam * table[:, 7]
        return Measurements(*(*table.T[:7], penalty, finite))

    def test(
        self, runs: Sequence[InnerRun], test: ResidentImages | Mapping[str, ResidentImages]
    ) -> tuple[Array, Array]:
        """Loss and accuracy of each run on all test images of its data set.

        Args:
            runs: any mixture.
            test: made by :meth:`Source.tested`, by name if there are several data sets.
        """
        parts = {"": test} if isinstance(test, ResidentImages) else test
        table = np.zeros((len(runs), 2))

        def images_for(run: InnerRun) -> EvaluationSet:
            images, source = parts[run.task.data], self.source(run.task)
            images.prepare(run.task.resolution)
            everything = torch.arange(len(images), device=self.device)
            compute = self.placement.dtypes(run.network)[1]
            return source.whole(images, everything, run.network, compute, Reading.of(run.task))

        def measured(members: list[InnerRun]) -> Tensor:
            network = members[0].network
            compute = self.placement.dtypes(network)[1]
            prepared = network.prepared(stack_params([run.params for run in members]), compute)
            buffers = stack_params([run.buffers for run in members])
            images = images_for(members[0])
            return torch.stack(evaluate_shared(network, prepared, buffers, images, len(members)), 1)

        for run in runs:  # before threads ask for them
            images_for(run)
        chunks = self._chunks(runs)
        seated = [[runs[i] for i in chunk] for chunk in chunks]
        results = self._each([functools.partial(measured, members) for members in seated])
        for index, found in zip(chunks, results, strict=True):
            table[index] = found.cpu().numpy()
        return table[:, 0], table[:, 1]

    def _chunks(self, runs: Sequence[InnerRun]) -> list[npt.NDArray[np.int64]]:
        """Indices of the runs that are trained together; those with many validation images first."""
        groups: dict[tuple[object, ...], list[int]] = {}
        for i, run in enumerate(runs):
            groups.setdefault((run.kind, run.interval), []).append(i)
        chunks = []
        for group in groups.values():
            group.sort(key=lambda i: -runs[i].task.val_size)
            for size in self.placement.chunk_sizes(runs[group[0]].network, len(group)):
                chunks.append(np.array(group[:size]))
                group = group[size:]
        return chunks

    def _each(self, work: Sequence[Callable[[], T]]) -> list[T]:
        """All results, on the threads if there are any."""
        if self._closed:
            raise RuntimeError("the environment, or its trainer, was closed")
        if self._pool is None:
            return [call() for call in work]
        return list(self._pool.map(lambda call: call(), work))

    def _seat(self, chunks: list[list[InnerRun]]) -> list[Stack]:
        """A stack for each chunk, the one of the last time if it is there."""
        used: dict[tuple[object, ...], Stack] = {}
        for members in chunks:
            run = members[0]
            places = self.placement.places(run.network, len(members))
            kind = (*run.kind, places)
            key = (*kind, sum(other[:-1] == kind for other in used))
            block = run.network.evaluated_at_once if self.placement.compiled_sums(run.network) else ROWS
            used[key] = self._stacks.get(key) or Stack(members, block, places)
            used[key].seat(members)
        kept = {key: stack for key, stack in self._stacks.items() if not stack.deserted}
        self._stacks = {**kept, **used}
        return list(used.values())

    def _advance(self, stack: Stack, runs: list[InnerRun], lam: Array, knobs: Knobs) -> Tensor:
        """Trains and measures a stack; float64 ``[n, 9]`` on the device, as ``Measurements``, but R, not λ · R."""
        train, factors = self._train(stack, runs, lam, knobs)
        with torch.no_grad():
            val, outer = self._evaluate(stack, runs)
            seats = slice(len(runs))
            own = None if factors is None else factors[seats]
            rule, network = PENALTIES[runs[0].task.penalty], runs[0].network
            norm, penalty, finite = weight_measures(network, rule, take(stack.params, seats), own)
            columns = (*train, *val, *outer, norm, penalty, finite)
            return torch.stack([column.double() for column in columns], 1)

    def _train(
        self, stack: Stack, runs: list[InnerRun], lam: Array, knobs: Knobs
    ) -> tuple[tuple[Tensor, Tensor], Tensor | None]:
        """One interval in place; each run's mean loss and accuracy over its minibatches, and factors of λ."""
        key = (runs[0].interval, frozenset(knobs))
        if key not in stack.intervals:
            stack.intervals[key] = Interval(
                stack, runs, key[0], self.source(runs[0].task).images, self.placement.dtypes(runs[0].network),
                compiled=self.placement.compiles(runs[0].network),
                capture=cuda_graph if self.device.type == "cuda" and self.config.capture else None,
                knobs=sorted(knobs),
            )  # fmt: skip
        interval = stack.intervals[key]
        return interval(runs, lam, knobs), interval.factors

    def _attack(self, run: InnerRun) -> Attack | None:
        """What its score has beside clean images."""
        if not self.attacked:
            return None
        images, compute = self.source(run.task).images, self.placement.dtypes(run.network)[1]
        return Attack(self.attacked, images.affine(run.network, compute, Reading.of(run.task)))

    def _evaluate(
        self, stack: Stack, runs: list[InnerRun]
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Loss and accuracy of each network on its validation images, and on ``outer-val``.

        Of the latter on each run's own sample, and at a run's end on the whole part.
        """
        network, buffers = runs[0].network, stack.buffers
        prepared = network.prepared(stack.params, self.placement.dtypes(network)[1])
        compiled, seats = self.placement.compiled_sums(network), slice(len(runs))
        attack = self._attack(runs[0])

        def own(sets: StackedSets, attack: Attack | None = None) -> tuple[Tensor, Tensor]:
            given = sets.inputs, sets.labels, sets.sizes
            found = scored(network, prepared, buffers, given, attack, compiled)
            return found[0][seats], found[1][seats]

        val = own(stack.val)
        ended = [place for place, run in enumerate(runs) if run.finished]
        if len(ended) < len(runs):
            loss, accuracy = own(stack.outer, attack)
            if not ended:
                return val, (loss, accuracy)
        else:
            loss, accuracy = torch.empty_like(val[0]), torch.empty_like(val[1])
        some = seats if len(ended) == len(runs) else torch.tensor(ended, device=self.device)
        compute, reading = self.placement.dtypes(network)[1], Reading.of(runs[0].task)
        whole = self.source(runs[0].task).outer(network, compute, reading)
        loss[some], accuracy[some] = evaluate_shared(
            network, take(prepared, some), take(buffers, some), whole, len(ended), attack
        )
        return val, (loss, accuracy)


def to_log(lam: float) -> float:
    """log₁₀ λ; -inf for λ = 0."""
    return float(np.log10(lam)) if lam > 0 else -np.inf
