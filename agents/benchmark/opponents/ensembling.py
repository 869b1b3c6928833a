"""N networks as one by ``torch.func``: ``stack_module_state``, ``functional_call``, ``vmap`` and ``grad``.

After the tutorial "Model ensembling" of PyTorch, with the gradient and the update that it leaves out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap

from lambda_rl.agents.benchmark.opponents.base import Opponent, Setting
from lambda_rl.agents.benchmark.opponents.plain import PlainData
from lambda_rl.agents.benchmark.opponents.torch_layers import plain_network
from lambda_rl.agents.benchmark.timing import Row
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.run import learning_rates

Params = dict[str, Tensor]

LARGEST = 16
"""Networks side by side at most: on a GPU, or where ours says as much."""


class Ensembling(Opponent):
    """As many networks together as ours holds in a stack; a run of the row is one episode of all of them."""

    label = "torch.func.vmap"

    def rows(self, task: Task, setting: Setting) -> Iterator[tuple[str, Row]]:
        """See :meth:`Opponent.rows`; in fp32 alone."""
        if "fp32" in setting.precisions:
            ensemble = Ensemble(task, setting)
            label = f"{self.label}, fp32, N={ensemble.count}"
            yield label, Row(ensemble.episode, threads=setting.threads)


class _Episode(NamedTuple):
    """N runs at their beginning.

    Attributes:
        params: ``[N, …]`` each.
        velocity: likewise.
        order: ``[steps, N, B]``, images of each minibatch.
        labels: ``[steps, N, B]``.
        held: images ``[N, n, …]`` and labels ``[N, n]`` of each evaluation.
    """

    params: Params
    velocity: Params
    order: Tensor
    labels: Tensor
    held: list[tuple[Tensor, Tensor]]


class Ensemble:
    """N networks of a task, trained and evaluated together by ``vmap``.

    Args:
        task: what is trained.
        setting: images, device, slots.

    Attributes:
        count: N.
    """

    def __init__(self, task: Task, setting: Setting) -> None:
        self._task, self._device, self._outer_size = task, setting.device, setting.outer_size
        self._data = PlainData(setting.images, task, torch.float32, self._device)
        network = self._data.network
        largest = min(network.side_by_side, LARGEST) if setting.device.type == "cpu" else LARGEST
        self.count = min(setting.slots, largest)
        self._generator = torch.Generator().manual_seed(task.seed)
        self._skeleton = plain_network(network).to("meta")
        self._rates = learning_rates(task).tolist()
        self._lam = torch.full((self.count,), task.initial_lam, device=self._device)
        self._gradients: Callable[..., tuple[Params, tuple[Tensor, Tensor]]] = vmap(
            grad(self._loss, has_aux=True)
        )
        self._measures: Callable[..., tuple[Tensor, Tensor]] = vmap(self._measure)

    def _measure(self, params: Params, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and accuracy of one network."""
        logits = functional_call(self._skeleton, (params, {}), (x,))
        return F.cross_entropy(logits, y), (logits.argmax(1) == y).float().mean()

    def _loss(self, params: Params, x: Tensor, y: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        loss, accuracy = self._measure(params, x, y)
        return loss, (loss, accuracy)

    def _begin(self) -> _Episode:
        task, data, generator = self._task, self._data, self._generator
        networks = [plain_network(data.network).to(self._device) for _ in range(self.count)]
        params = {name: p.detach() for name, p in stack_module_state(networks)[0].items()}
        orders, labels = [], []
        for _ in range(self.count):
            train = data.draw(data.split.inner_train, task.train_size, generator)
            noisy = data.noisy_labels(train, task.label_noise, generator)
            index = torch.randint(len(train), (task.steps, task.batch_size), generator=generator)
            orders.append(train[index.to(self._device)])
            labels.append(noisy[index.to(self._device)])
        held = []
        for part, size in ((data.split.inner_val, task.val_size), (data.split.outer_val, self._outer_size)):
            drawn = torch.stack([data.draw(part, size, generator) for _ in range(self.count)])
            held.append((data.inputs[drawn], data.labels[drawn]))
        velocity = {name: torch.zeros_like(p) for name, p in params.items()}
        return _Episode(params, velocity, torch.stack(orders, 1), torch.stack(labels, 1), held)

    def _update(self, run: _Episode, grads: Params, rate: float) -> None:
        """Momentum SGD with weight decay of weights."""
        for name, weight in run.params.items():
            step = grads[name]
            if weight.dim() > 2:
                step.addcmul_(weight, self._lam.view(-1, *[1] * (weight.dim() - 1)))
            run.velocity[name].mul_(self._task.momentum).add_(step)
            weight.sub_(run.velocity[name], alpha=rate)

    def episode(self) -> int:
        """Trains anew from beginning to end; the network-steps that it took."""
        task, run = self._task, self._begin()
        for decision in range(task.decisions):
            total = torch.zeros(2, self.count, device=self._device)
            for t in range(task.boundary(decision), task.boundary(decision + 1)):
                grads, measured = self._gradients(run.params, self._data.inputs[run.order[t]], run.labels[t])
                self._update(run, grads, self._rates[t])
                total += torch.stack(measured)
            with torch.no_grad():
                results = [torch.stack(self._measures(run.params, x, y)) for x, y in run.held]
                torch.stack([total, *results]).cpu()
        return self.count * task.steps
