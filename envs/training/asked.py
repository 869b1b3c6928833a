"""What a schedule may ask for beyond the usual signals: gradients and optimizer state of one run, at a decision.

The weights are read where they are, and nothing of the run changes; who asks pays a backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from lambda_rl.envs.networks import Params
from lambda_rl.envs.optimizers import ADAM_BETA2
from lambda_rl.envs.training.resident import Reading, ResidentImages
from lambda_rl.envs.training.run import InnerRun

TRAIN_EXAMPLES = 512
"""Examples that the gradient of the training loss is taken on, at most: those that were trained on last."""


class Asked:
    """A run whose gradients are asked for.

    Args:
        run: at a decision.
        images: of its data set.
        dtype: of parameters.
        compute: of activations and products.
    """

    def __init__(
        self, run: InnerRun, images: ResidentImages, dtype: torch.dtype, compute: torch.dtype
    ) -> None:
        self.run, self.images, self.dtype, self.compute = run, images, dtype, compute

    def signals(self, names: Iterable[str]) -> dict[str, float]:
        """Signals by name; NaN where there is none.

        Args:
            names: of :data:`SIGNALS`.

        Raises:
            ValueError: there is no such signal.
        """
        unknown = [name for name in names if name not in SIGNALS]
        if unknown:
            raise ValueError(
                f"no signal {', '.join(unknown)} can be asked for; there are {', '.join(SIGNALS)}"
            )
        return {name: SIGNALS[name](self) for name in names}

    def next_minibatch(self) -> Params:
        """Gradients on the minibatch that comes next; at the end, on the last one."""
        step = min(self.run.step, len(self.run.order) - 1)
        return self._on_trained(slice(step, step + 1))

    def trained(self) -> Params:
        """Gradients on what was trained on last; before that on the first minibatch."""
        size = self.run.task.batch_size
        last = max(self.run.step, 1)
        return self._on_trained(slice(max(last - max(TRAIN_EXAMPLES // size, 1), 0), last))

    def validation(self) -> Params:
        """Gradients on the validation images, as they are evaluated."""
        return self._gradients(self.run.val.inputs, self.run.val.labels, training=False)

    def _on_trained(self, steps: slice) -> Params:
        run = self.run
        index, labels = run.order[steps].flatten(), run.labels[steps].flatten()
        part = self.images.evaluation_set(index, run.network, self.compute, Reading.of(run.task))
        return self._gradients(part.inputs, labels, training=True)

    @torch.enable_grad()
    def _gradients(self, inputs: Tensor, labels: Tensor, *, training: bool) -> Params:
        network = self.run.network
        params = {name: value.detach()[None] for name, value in self.run.params.items()}
        leaves = {
            name: value.detach().requires_grad_()
            for name, value in network.prepared(params, self.compute).items()
        }
        buffers = {name: value.clone()[None] for name, value in self.run.buffers.items()}
        logits = network.forward(leaves, buffers, inputs[None], training=training).to(self.dtype)
        loss = F.cross_entropy(logits, labels[None])
        found = torch.autograd.grad(loss, list(leaves.values()))
        grads = network.gradients(dict(zip(leaves, found, strict=True)), self.dtype)
        return {name: value[0] for name, value in grads.items()}

    def pull(self, grads: Params) -> float:
        """⟨gradient, w⟩ over the penalised weights."""
        return float(
            sum((grads[n] * self.run.params[n]).sum(dtype=torch.float64) for n in self.run.network.penalised)
        )

    def second_moment(self) -> float:
        """Mean over all parameters, corrected for its bias; before the first step that of the first gradient."""
        run = self.run
        moments = run.optimizer.get("second_moment")
        if moments is None:
            return math.nan
        squares, correction = list(moments.values()), 1.0 - ADAM_BETA2**run.step
        if not run.step:
            squares, correction = [gradient.square() for gradient in self.next_minibatch().values()], 1.0
        count = sum(value.numel() for value in squares)
        return float(sum(value.sum(dtype=torch.float64) for value in squares)) / count / correction

    def grad_norm(self) -> float:
        """Over the penalised weights."""
        grads = self.next_minibatch()
        return math.sqrt(
            sum(float(grads[n].square().sum(dtype=torch.float64)) for n in self.run.network.penalised)
        )


SIGNALS: dict[str, Callable[[Asked], float]] = {
    "grad_norm": Asked.grad_norm,
    "second_moment": Asked.second_moment,
    "val_pull": lambda asked: asked.pull(asked.validation()),
    "train_pull": lambda asked: asked.pull(asked.trained()),
}
"""As :data:`lambda_rl.schedules.rules.measured.MEASURED` has them."""
