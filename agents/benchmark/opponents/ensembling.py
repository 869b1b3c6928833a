"""N networks as one by ``torch.func``: ``stack_module_state``, ``functional_call``, ``vmap`` and ``grad``.

After the tutorial "Model ensembling" of PyTorch, with the gradient and the update that it leaves out.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap

from lambda_rl.agents.benchmark.machine import DTYPES
from lambda_rl.agents.benchmark.opponents.plain import PlainData, plain_network
from lambda_rl.agents.benchmark.timing import Row
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.run import learning_rates

Params = dict[str, Tensor]


def ensemble(
    data: str, task: Task, precision: str, outer_size: int, *, count: int, threads: int, device: str = "cpu"
) -> Row:
    """``count`` networks of the task, trained and evaluated together by ``vmap``.

    Args:
        data: see :func:`load_train`.
        task: what is trained.
        precision: ``fp32`` or ``bf16``; products in bf16 take copies of the fp32 weights.
        outer_size: images evaluated besides the validation images, at each decision.
        count: N.
        threads: torch's.
        device: where.
    """
    where, dtype = torch.device(device), DTYPES[precision]
    images = PlainData(data, task, dtype, where)
    generator = torch.Generator().manual_seed(task.seed)
    skeleton = copy.deepcopy(plain_network(task, images.num_classes)).to("meta")
    rates = learning_rates(task).tolist()
    lam = torch.full((count,), task.initial_lam, device=where)

    def logits(params: Params, x: Tensor) -> Tensor:
        return functional_call(
            skeleton, ({name: p.to(dtype) for name, p in params.items()}, {}), (x,)
        ).float()

    def loss(params: Params, x: Tensor, y: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        out = logits(params, x)
        value = F.cross_entropy(out, y)
        return value, (value, (out.argmax(1) == y).float().mean())

    def measure(params: Params, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        out = logits(params, x)
        return F.cross_entropy(out, y), (out.argmax(1) == y).float().mean()

    gradients: Callable[..., tuple[Params, tuple[Tensor, Tensor]]] = vmap(grad(loss, has_aux=True))
    measures: Callable[..., tuple[Tensor, Tensor]] = vmap(measure)

    def begin() -> tuple[Params, Params, Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
        networks = [plain_network(task, images.num_classes).to(where) for _ in range(count)]
        params = {name: p.detach() for name, p in stack_module_state(networks)[0].items()}
        velocity = {name: torch.zeros_like(p) for name, p in params.items()}
        orders, labels = [], []
        for _ in range(count):
            train = images.draw(images.split.inner_train, task.train_size, generator)
            noisy = images.noisy_labels(train, task.label_noise, generator)
            index = torch.randint(len(train), (task.steps, task.batch_size), generator=generator).to(where)
            orders.append(train[index])
            labels.append(noisy[index])
        held = []
        for part, size in ((images.split.inner_val, task.val_size), (images.split.outer_val, outer_size)):
            drawn = torch.stack([images.draw(part, size, generator) for _ in range(count)])
            held.append((images.inputs[drawn], images.labels[drawn]))
        return params, velocity, torch.stack(orders, 1), torch.stack(labels, 1), held

    def episode() -> int:
        params, velocity, order, labels, held = begin()
        for decision in range(task.decisions):
            total = torch.zeros(2, count, device=where)
            for t in range(task.boundary(decision), task.boundary(decision + 1)):
                grads, measured = gradients(params, images.inputs[order[t]], labels[t])
                for name, weight in params.items():
                    step = grads[name]
                    if weight.dim() > 2:
                        step.addcmul_(weight, lam.view(-1, *[1] * (weight.dim() - 1)))
                    velocity[name].mul_(task.momentum).add_(step)
                    weight.sub_(velocity[name], alpha=rates[t])
                total += torch.stack(measured)
            with torch.no_grad():
                results = [torch.stack(measures(params, x, y)) for x, y in held]
                torch.stack([total, *results]).cpu()
        return count * task.steps

    return Row(episode, threads=threads)
