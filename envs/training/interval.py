"""One interval of a stack: k training steps without a word to the rest of the program."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lambda_rl.envs.networks import Network, Params
from lambda_rl.envs.networks.layers import DROPOUT
from lambda_rl.envs.optimizers import OPTIMIZERS, Decay
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.resident import Reading, ResidentImages, crop_and_flip
from lambda_rl.envs.training.run import InnerRun
from lambda_rl.envs.training.stack import Stack
from lambda_rl.envs.training.step import Minibatch, StepSpec, Sums, compiled_step, training_step
from lambda_rl.knobs import kind_of
from lambda_rl.penalties import PENALTIES

Capture = Callable[[Callable[[], None], Iterable[Tensor]], Callable[[], None]]
"""From a function and the tensors that it changes to one that does the same again."""


AUGMENTATION, LAYER = "augmentation", "layer"
"""Inputs of steps that are made or shaped otherwise than a number for each network."""


class Interval:
    """k training steps of a stack.

    All that they read lies in tensors that stay where they are, so that on a GPU the interval is captured once, as one
    CUDA graph, and replayed: λ and learning rates are data of it, and the processor waits for nothing in between.

    Args:
        stack: what is trained.
        runs: some of its runs; only what they have in common is looked at.
        steps: k.
        data: the training images.
        formats: of parameters and optimizer state; of activations and matrix products.
        compiled: whether each step is compiled.
        capture: makes one call of all steps; None: they are called one by one.
        knobs: names of all that are moved beside λ.

    Attributes:
        steps: k.
        factors: of λ for each layer, ``[N, L]``, those of the last call; None: there are none.
    """

    def __init__(
        self,
        stack: Stack,
        runs: Sequence[InnerRun],
        steps: int,
        data: ResidentImages,
        formats: tuple[torch.dtype, torch.dtype],
        *,
        compiled: bool,
        capture: Capture | None,
        knobs: Iterable[str] = (),
    ) -> None:
        task, network, device, count = runs[0].task, runs[0].network, data.device, len(stack)
        dtype, compute = formats
        self.steps, self._network = steps, network
        self._params, self._buffers, self._optimizer = stack.params, stack.buffers, stack.optimizer
        self._plan = stack.plan
        self._kinds = {name: kind_of(name) for name in knobs}
        more = tuple(dict.fromkeys(kind.step_input for kind in self._kinds.values() if kind.step_input))
        spec = _step_spec(task, network, formats, more)
        on_cpu = device.type == "cpu"
        self._step = (
            compiled_step(spec, task.batch_size, on_cpu)
            if compiled
            else functools.partial(training_step, spec)
        )
        self._images = data.images(task.resolution) if task.augment else data.rows(network)
        self._scale, self._shift = data.affine(network, compute, Reading.of(task))

        def zeros(*shape: int, dtype: torch.dtype = dtype) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        batch = (steps, count, task.batch_size)
        self._order, self._labels = zeros(*batch, dtype=torch.int64), zeros(*batch, dtype=torch.int64)
        self._offsets = zeros(*batch, 2, dtype=torch.int64) if task.augment else None
        self._flips = zeros(*batch, dtype=torch.bool) if task.augment else None
        self._rates, self._done = zeros(steps, count), zeros(steps, count, dtype=torch.float64)
        self._held = {"lam": zeros(count), "momentum": zeros(count)}
        layers = len(network.penalised)
        self._held |= {name: zeros(count, layers) + 1 if name == LAYER else zeros(count) for name in more}
        self.factors = self._held.get(LAYER)
        self._noise = {
            name: zeros(*batch, width, dtype=torch.float32)
            for name, width in (network.noises.items() if DROPOUT in more else ())
        }
        self._sums: Sums = {"loss": zeros(count), "correct": zeros(count)}
        self._raw = zeros(count * task.batch_size, *self._images.shape[1:], dtype=torch.uint8)
        self._capture = capture
        self._call: Callable[[], None] | None = None if capture is not None else self._all_steps

    def __call__(
        self,
        runs: Sequence[InnerRun],
        lam: npt.NDArray[np.float64],
        knobs: Mapping[str, npt.NDArray[np.float64]],
    ) -> tuple[Tensor, Tensor]:
        """Trains the stack's n runs for their next k steps with λ and all other knobs held.

        Args:
            runs: as they sit in the stack; if they are fewer than N, the last places are trained at learning rate 0.
            lam: λ ``[n]``.
            knobs: values ``[n]`` of further knobs, by name.

        Returns:
            Mean loss and accuracy ``[n]`` over the minibatches.
        """
        seats = slice(len(runs))
        done = np.array([run.step for run in runs])
        order, labels = self._plan.minibatches(done, self.steps)
        self._order[:, seats].copy_(order)
        self._labels[:, seats].copy_(labels)
        self._rates.zero_()
        inputs = {name: values[seats] for name, values in self._held.items()}
        for held, given in (
            (self._rates[:, seats], self._plan.rates(done, self.steps)),
            (self._done[:, seats], done + np.arange(self.steps)[:, None]),
            (inputs["lam"], lam),
            (inputs["momentum"], self._plan.momentum(len(runs))),
        ):
            # Not waiting is safe, since this memory is not pinned: it has been read when the call returns.
            held.copy_(torch.from_numpy(given), non_blocking=True)
        inputs["learning_rate"] = self._rates[:, seats]
        for name, values in knobs.items():
            self._kinds[name].train(inputs, torch.from_numpy(values).to(self._rates))
        if self._offsets is not None and self._flips is not None:
            self._draw(runs, self._offsets[:, seats], self._flips[:, seats], knobs.get(AUGMENTATION))
        for noise in self._noise.values():
            self._draw_noise(runs, noise)
        self._sums["loss"].zero_()
        self._sums["correct"].zero_()
        if self._call is None:
            assert self._capture is not None
            self._call = self._capture(self._all_steps, self._changed())
        self._call()
        for run in runs:
            run.step += self.steps
            run.decision += 1
        return self._sums["loss"][seats] / self.steps, self._sums["correct"][seats] / self.steps

    def _draw(
        self,
        runs: Sequence[InnerRun],
        offsets: Tensor,
        flips: Tensor,
        strength: npt.NDArray[np.float64] | None,
    ) -> None:
        """Crops and flips of an interval, from each run's generator; where that is a knob, of each run's strength."""
        size, middle = runs[0].task.batch_size, runs[0].task.resolution // 8
        shape = (self.steps, size)
        drawn = [torch.randint(2 * middle + 1, (*shape, 2), generator=run.augmentation) for run in runs]
        turned = [torch.randint(2, shape, generator=run.augmentation).bool() for run in runs]
        if strength is not None:
            for n, share in enumerate(strength.tolist()):
                drawn[n] = middle + torch.round(share * (drawn[n] - middle).double()).long()
                turned[n] &= torch.rand(shape, generator=runs[n].noise, dtype=torch.float64) < share
        offsets.copy_(torch.stack(drawn, 1))
        flips.copy_(torch.stack(turned, 1))

    def _draw_noise(self, runs: Sequence[InnerRun], values: Tensor) -> None:
        """What decides which units are dropped, from each run's generator."""
        shape = (values.shape[0], *values.shape[2:])
        for n, run in enumerate(runs):
            values[:, n] = torch.rand(shape, generator=run.noise).to(values.device)

    def _changed(self) -> list[Tensor]:
        groups = [self._params, self._buffers, *self._optimizer.values()]
        return [
            self._sums["loss"],
            self._sums["correct"],
            *(value for group in groups for value in group.values()),
        ]

    def _minibatch(self, t: int) -> Tensor:
        raw = torch.index_select(self._images, 0, self._order[t].flatten(), out=self._raw)
        if self._offsets is not None and self._flips is not None:
            raw = crop_and_flip(raw, self._offsets[t].flatten(0, 1), self._flips[t].flatten())
            raw = self._network.arranged(raw)
        return raw.view(*self._order.shape[1:], -1)

    @torch.enable_grad()  # callers often step an environment under torch.no_grad()
    def _all_steps(self) -> None:
        for t in range(self.steps):
            batch: Minibatch = {
                "raw": self._minibatch(t), "scale": self._scale, "shift": self._shift, "labels": self._labels[t],
            }  # fmt: skip
            inputs = {
                **self._held,
                "learning_rate": self._rates[t],
                "step": self._done[t],
                **_at(self._noise, t),
            }
            self._step(self._params, self._buffers, self._optimizer, self._sums, batch, inputs)


def _step_spec(
    task: Task, network: Network, formats: tuple[torch.dtype, torch.dtype], knobs: tuple[str, ...]
) -> StepSpec:
    decay = Decay(PENALTIES[task.penalty], task.decay == "decoupled", network.penalised)
    return StepSpec(network, OPTIMIZERS[task.optimizer], decay, *formats, knobs)


def _at(values: Params, t: int) -> Params:
    return {name: value[t] for name, value in values.items()}


def cuda_graph(function: Callable[[], None], changed: Iterable[Tensor]) -> Callable[[], None]:
    """Captures a function as a CUDA graph (pytorch.org/docs, "CUDA Graphs").

    It runs twice before, as libraries set themselves up at their first use; what it changed is put back. Where it
    cannot be captured, one warning says why, and the function itself is returned.

    Args:
        function: reads and writes memory that stays where it is, and never waits for the GPU.
        changed: all that it changes.
    """
    changed = list(changed)
    before = [value.clone() for value in changed]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        function()
        function()
    torch.cuda.current_stream().wait_stream(side)
    for value, old in zip(changed, before, strict=True):
        value.copy_(old)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            function()
    except RuntimeError as error:  # what torch raises for anything that cannot be captured
        reason = " ".join(str(error).split())[:200]
        warnings.warn(f"the interval is not captured: {reason}", RuntimeWarning, stacklevel=2)
        return function
    return graph.replay
