"""Runs that begin together.

All that is random in a run is drawn on the CPU, from generators of its own; everything else is done for all of them at
once: one transfer of numbers, one gather of images, one copy a parameter. A run's tensors are its own part of what was
made for all, so that a GPU is asked a few dozen times, however many runs begin, and never waited for.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lambda_rl.envs.hardware.device import available_cores
from lambda_rl.envs.networks import Network, Params
from lambda_rl.envs.optimizers import OPTIMIZERS
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.evaluation import weight_measures
from lambda_rl.envs.training.resident import EvaluationSet, Reading
from lambda_rl.envs.training.run import InnerRun, learning_rates, run_facts
from lambda_rl.envs.training.sources import Source, check_task
from lambda_rl.envs.training.stack import rows_of
from lambda_rl.observation import RunFacts
from lambda_rl.penalties import PENALTIES

_FOLD_NUMBER = {"agent": 0, "held-out": 1}

LARGE = 100_000
"""Weights of a network from which on drawing them takes longer than a thread costs."""

CPU_STARTS = 64
"""Runs that are started together on a CPU, at most: for more, memory would have to be asked of the system anew."""


@dataclass
class _Drawn:
    """What is random in a run, on the CPU.

    Attributes:
        train: images of the training set.
        labels: theirs, noise included.
        val: images.
        outer: images.
        stream: int32, places in the training set, of all minibatches one after the other.
        params: of the network, initial scale included.
        buffers: of the network.
        augmentation: see :class:`InnerRun`.
        noise: see there.
    """

    train: Tensor
    labels: Tensor
    val: Tensor
    outer: Tensor
    stream: Tensor
    params: Params
    buffers: Params
    augmentation: torch.Generator
    noise: torch.Generator


@dataclass
class _Part:
    """Some runs.

    Attributes:
        drawn: without parameters and buffers, which are in what follows.
        params: side by side, where they are trained.
        buffers: likewise.
        measures: norm and R of the weights of each.
    """

    drawn: list[_Drawn]
    params: Params
    buffers: Params
    measures: list[tuple[float, float]]


def together(tasks: Sequence[Task], device: torch.device, threads: int) -> list[list[int]]:
    """Indices of the tasks of each call of :func:`start_runs`: alike, and some for every thread."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, task in enumerate(tasks):
        groups.setdefault(task.group_key, []).append(i)
    most = CPU_STARTS if device.type == "cpu" else len(tasks)
    found = []
    for group in groups.values():
        size = min(-(-len(group) // threads), most)
        found += [group[start : start + size] for start in range(0, len(group), size)]
    return found


def start_runs(
    tasks: Sequence[Task], network: Network, source: Source, dtype: torch.dtype, compute: torch.dtype
) -> list[InnerRun]:
    """Runs at their beginning. All that is random in one comes from ``(task.seed, fold)`` alone.

    Args:
        tasks: what to train; alike in ``Task.group_key``.
        network: their architecture.
        source: their data set's share; the same seed gives other numbers in another fold.
        dtype: of parameters and optimizer state.
        compute: of activations, hence of the images that are evaluated.

    Raises:
        ValueError: see :func:`~.sources.check_task`.
    """
    known = _known(tasks, network, source)
    parts = _parts(tasks, network, source, dtype)
    drawn = [one for part in parts for one in part.drawn]
    minibatches, sets = _images(tasks, drawn, network, source, compute)
    params = _joined([part.params for part in parts])
    zeros = (
        {name: torch.zeros_like(value) for name, value in params.items()}
        for _ in OPTIMIZERS[tasks[0].optimizer].state_names
    )
    optimizer = [rows_of(tensors, len(tasks)) for tensors in zeros]
    each_params = rows_of(params, len(tasks))
    each_buffers = rows_of(_joined([part.buffers for part in parts]), len(tasks))
    measures = [pair for part in parts for pair in part.measures]
    return [
        InnerRun(
            task=task,
            network=network,
            facts=known[i][0],
            params=each_params[i],
            buffers=each_buffers[i],
            optimizer={
                kind: tensors[i]
                for kind, tensors in zip(OPTIMIZERS[task.optimizer].state_names, optimizer, strict=True)
            },
            order=minibatches[i][0],
            labels=minibatches[i][1],
            learning_rates=known[i][1],
            val_index=sets[i][0],
            val=sets[i][1],
            outer_index=sets[i][2],
            outer=sets[i][3],
            augmentation=drawn[i].augmentation,
            noise=drawn[i].noise,
            start_measures=measures[i],
        )
        for i, task in enumerate(tasks)
    ]


def _known(tasks: Sequence[Task], network: Network, source: Source) -> list[tuple[RunFacts, Tensor]]:
    """Facts and learning rates of each run, made once for tasks that differ in their seeds alone; checks them too."""
    made: dict[tuple[object, ...], tuple[RunFacts, Tensor]] = {}
    found = []
    for task in tasks:
        key = tuple(value for name, value in vars(task).items() if name != "seed")
        if key not in made:
            check_task(task, source)
            rates = learning_rates(task)
            made[key] = run_facts(task, network, rates), rates
        found.append(made[key])
    return found


def _parts(tasks: Sequence[Task], network: Network, source: Source, dtype: torch.dtype) -> list[_Part]:
    """All runs, in one part; where a GPU trains large networks, in one for each core, for these have little to do."""
    begun = functools.partial(_part, network=network, source=source, dtype=dtype)
    workers = min(len(tasks), available_cores()) if source.images.device.type != "cpu" else 1
    if workers < 2 or network.num_penalised < LARGE:
        return [begun(tasks)]
    size = -(-len(tasks) // workers)
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(begun, (tasks[at : at + size] for at in range(0, len(tasks), size))))


def _part(tasks: Sequence[Task], network: Network, source: Source, dtype: torch.dtype) -> _Part:
    drawn = [_draw(task, network, source, dtype) for task in tasks]
    params, buffers = (
        _stacked(each) for each in zip(*((one.params, one.buffers) for one in drawn), strict=True)
    )
    measured = weight_measures(network, PENALTIES[tasks[0].penalty], params)[:2]
    measures = list(zip(*(values.tolist() for values in measured), strict=True))
    device = source.images.device
    return _Part(drawn, _sent(params, device), _sent(buffers, device), measures)


def _joined(parts: Sequence[Params]) -> Params:
    if len(parts) == 1:
        return parts[0]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _draw(task: Task, network: Network, source: Source, dtype: torch.dtype) -> _Drawn:
    """Draws from seven generators: of subset, noise, weights, minibatches, augmentation, outer images, dropout."""
    entropy = np.random.SeedSequence((task.seed, _FOLD_NUMBER[source.fold])).generate_state(7, np.uint32)
    seeds = [int(seed) for seed in entropy]
    split, images, generator = source.split, source.images, torch.Generator()
    generator.manual_seed(seeds[0])
    train = _some(split.inner_train, task.train_size, generator)
    val = _some(split.inner_val, task.val_size, generator)
    labels = images.labels_on_cpu.index_select(0, train)
    if task.label_noise:
        labels = _noisy(labels, task.label_noise, images.num_classes, generator.manual_seed(seeds[1]))
    params, buffers = network.init(generator.manual_seed(seeds[2]), dtype, task.init_std)
    if task.init_scale != 1.0:
        for name in network.penalised:
            params[name] = params[name] * task.init_scale
    stream = _minibatches(task, generator.manual_seed(seeds[3]))
    outer = _some(split.outer_val, source.outer_size, generator.manual_seed(seeds[5]))
    return _Drawn(
        train, labels, val, outer, stream, params, buffers,
        augmentation=torch.Generator().manual_seed(seeds[4]), noise=torch.Generator().manual_seed(seeds[6]),
    )  # fmt: skip


def _some(part: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return part.index_select(0, torch.randperm(len(part), generator=generator)[:count])


def _noisy(clean: Tensor, share: float, num_classes: int, generator: torch.Generator) -> Tensor:
    """Labels of which a share is replaced by another class each."""
    noisy = torch.randperm(len(clean), generator=generator)[: round(share * len(clean))]
    labels = clean.clone()
    shift = torch.randint(1, num_classes, (len(noisy),), generator=generator)
    labels[noisy] = (clean[noisy] + shift) % num_classes
    return labels


def _minibatches(task: Task, generator: torch.Generator) -> Tensor:
    """Places in the training set, int32 ``[steps · batch_size]``.

    Shuffled epochs one after the other; a minibatch may span two of them.
    """
    wanted, size = task.steps * task.batch_size, task.train_size
    stream = torch.empty(-(-wanted // size) * size, dtype=torch.int32)
    for epoch in stream.split(size):
        torch.randperm(size, generator=generator, out=epoch)
    return stream[:wanted]


def _images(
    tasks: Sequence[Task], drawn: Sequence[_Drawn], network: Network, source: Source, compute: torch.dtype
) -> tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, EvaluationSet, Tensor, EvaluationSet]]]:
    """Of each run (order, labels) of its minibatches, and its evaluation sets with the images that are in them."""
    images = source.images
    trains = [one.train for one in drawn]
    before = np.cumsum([0, *map(len, trains)]).tolist()
    streams = [one.stream.add_(first) for one, first in zip(drawn, before, strict=False)]
    evaluated = [part for one in drawn for part in (one.val, one.outer)]
    few = torch.cat([*trains, *(one.labels for one in drawn), *evaluated]).int()
    sent = torch.cat([few, *streams]).to(images.device, non_blocking=True)
    trained, labels, evaluation, stream = sent.split(
        [before[-1], before[-1], len(few) - 2 * before[-1], len(sent) - len(few)]
    )
    shapes = [(task.steps, task.batch_size) for task in tasks]
    order, shown = (
        [
            part.view(shape)
            for part, shape in zip(_cut(values.long().index_select(0, stream), streams), shapes, strict=True)
        ]
        for values in (trained, labels)
    )
    index, sizes = evaluation.long(), [len(part) for part in evaluated]
    made = images.evaluation_sets(index, sizes, network, compute, Reading.of(tasks[0]))
    pieces = list(zip(index.split(sizes), made, strict=True))
    sets = [(*val, *outer) for val, outer in zip(pieces[::2], pieces[1::2], strict=True)]
    return list(zip(order, shown, strict=True)), sets


def _cut(values: Tensor, like: Iterable[Tensor]) -> tuple[Tensor, ...]:
    return values.split([len(part) for part in like])


def _stacked(each: Sequence[Params]) -> Params:
    """Side by side, ``[n, …]``; each is emptied, for there may be no room for two of all."""
    made = {name: value.new_empty((len(each), *value.shape)) for name, value in each[0].items()}
    for i, one in enumerate(each):
        for name, value in made.items():
            value[i] = one.pop(name)
    return made


def _sent(values: Params, device: torch.device) -> Params:
    # Without waiting, which is safe: nothing writes into this memory again, and it has been read when it is given back.
    return {name: value.to(device, non_blocking=True) for name, value in values.items()}
