"""Optimizers for N stacked networks, with λ, learning rate and momentum as tensors of N.

λ is data, not code: changing it never recompiles, recaptures or synchronises. Each update is the one of
``torch.optim`` for a single network (the parity test compares 20 steps in float64).

Another optimizer is a class and a line, ``OPTIMIZERS.register("lion", Lion())``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lambda_rl.envs.networks import Params
from lambda_rl.observation.facts import ADAM_PULL
from lambda_rl.penalties import Penalty
from lambda_rl.registry import Registry

ADAM_BETA2 = 0.999
ADAM_EPSILON = 1e-8

StepInputs = dict[str, Tensor]
"""What a step depends on besides its gradients, by name, ``[N]`` each.

``lam``, ``learning_rate`` and ``momentum`` (β₁ of Adam) in the format of the parameters, and ``step``, float64: how
many steps each network had before this one. Where knobs are moved beside λ, more: ``layer`` ``[N, L]`` has a
factor of λ for each of the penalised weights.
"""


def per_network(values: Tensor, target: Tensor) -> Tensor:
    """``[N]`` shaped so that it multiplies ``[N, …]``."""
    return values.view(-1, *[1] * (target.dim() - 1))


@dataclass(frozen=True)
class Decay:
    """How λ acts on the weights.

    Attributes:
        penalty: R.
        decoupled: weights shrink by learning rate x λ before the step (Loshchilov & Hutter 2019, algorithms 1 and 2),
            which is defined for ``Penalty.is_weight_decay`` only; else λ R'(w) is added to the gradient.
        weights: names of the parameters that λ acts on, in the order of their factors.
    """

    penalty: Penalty
    decoupled: bool
    weights: tuple[str, ...]

    def apply(self, name: str, weight: Tensor, grad: Tensor, inputs: StepInputs) -> None:
        """Changes the weight of that name or its gradient in place, both ``[N, …]``."""
        lam = inputs["lam"]
        if "layer" in inputs:
            lam = lam * inputs["layer"][:, self.weights.index(name)]
        if self.decoupled:
            weight.mul_(1 - per_network(inputs["learning_rate"] * lam, weight))
        else:
            grad.addcmul_(self.penalty.gradient(weight), per_network(lam, weight))


class StackedOptimizer:
    """An update rule of one parameter of N networks.

    Attributes:
        name: what those of this package are registered as.
        state_names: names of the tensors that it keeps for each parameter; they begin at zero.
        adaptive: whether it divides by the size of the gradients, as Adam does: schedules are told.
    """

    name: ClassVar[str] = ""
    adaptive: ClassVar[bool] = False
    state_names: tuple[str, ...] = ()

    def step(self, weight: Tensor, grad: Tensor, state: Params, inputs: StepInputs) -> None:
        """Takes one step with one parameter, in place.

        Tensor operations alone, none that waits for the device: steps are compiled and captured.

        Args:
            weight: ``[N, …]``, changed in place.
            grad: of its shape, coupled decay included; may be changed.
            state: by :attr:`state_names`, of its shape; changed in place.
            inputs: see :data:`StepInputs`.
        """
        raise NotImplementedError

    def shared(self, inputs: StepInputs) -> StepInputs:
        """The inputs, and what :meth:`step` would else make of them anew for each parameter."""
        return inputs

    def effective_lr_sum(self, lr_sum: float, momentum: float, decay: str) -> float:
        """How far λ pulls over a run: the sum of the learning rates that the penalty's gradient is multiplied with.

        Args:
            lr_sum: sum of the learning rates of all steps.
            momentum: see ``Task.momentum``.
            decay: see ``Task.decay``.
        """
        return lr_sum

    def pull(self, decay: str) -> float:
        """What the pull of λ is multiplied by beside the learning rate; see :class:`lambda_rl.RunFacts`."""
        return 1.0

    @torch.no_grad()
    def update(
        self, params: Params, grads: Params, state: dict[str, Params], inputs: StepInputs, decay: Decay
    ) -> None:
        """One step of all parameters in place.

        Args:
            params: stacked ``[N, …]``, changed in place.
            grads: of the data loss, changed in place.
            state: by :attr:`state_names` and parameter, changed in place.
            inputs: see :data:`StepInputs`.
            decay: what λ does.
        """
        inputs = self.shared(inputs)
        for name, weight in params.items():
            grad = grads[name]
            if name in decay.weights:
                decay.apply(name, weight, grad, inputs)
            self.step(weight, grad, {kind: state[kind][name] for kind in self.state_names}, inputs)


OPTIMIZERS: Registry[StackedOptimizer] = Registry("optimizer")
"""Optimizers of inner runs, by name."""


class SGD(StackedOptimizer):
    """Polyak momentum as in torch, no dampening."""

    name = "sgd"
    state_names = ("momentum",)

    def step(self, weight: Tensor, grad: Tensor, state: Params, inputs: StepInputs) -> None:
        """See :meth:`StackedOptimizer.step`."""
        velocity = state["momentum"]
        velocity.mul_(per_network(inputs["momentum"], weight)).add_(grad)
        weight.addcmul_(velocity, per_network(inputs["learning_rate"], weight), value=-1)

    def effective_lr_sum(self, lr_sum: float, momentum: float, decay: str) -> float:
        """See :meth:`StackedOptimizer.effective_lr_sum`; momentum repeats what was added to the gradient."""
        return lr_sum / (1 - momentum) if decay == "coupled" else lr_sum


class Adam(StackedOptimizer):
    """Adam where decay is coupled (L2 in the gradient), AdamW where it is decoupled."""

    name = "adamw"
    adaptive = True
    state_names = ("first_moment", "second_moment")

    def shared(self, inputs: StepInputs) -> StepInputs:
        """See :meth:`StackedOptimizer.shared`: a gradient's share in the mean, the corrected rate and root."""
        momentum, after, rate = inputs["momentum"], inputs["step"] + 1, inputs["learning_rate"]
        # In double: in single, 1 - 0.999 loses five digits at the first steps.
        correction1 = (1 - momentum.double() ** after).to(rate.dtype)
        correction2 = (1 - ADAM_BETA2**after).sqrt().to(rate.dtype)
        return {**inputs, "share": 1 - momentum, "corrected": rate / correction1, "root": correction2}

    def step(self, weight: Tensor, grad: Tensor, state: Params, inputs: StepInputs) -> None:
        """See :meth:`StackedOptimizer.step`."""
        if "share" not in inputs:
            inputs = self.shared(inputs)
        first, second = state["first_moment"], state["second_moment"]
        first.lerp_(grad, per_network(inputs["share"], weight))
        second.mul_(ADAM_BETA2).addcmul_(grad, grad, value=1 - ADAM_BETA2)
        denominator = (second.sqrt() / per_network(inputs["root"], weight)).add_(ADAM_EPSILON)
        weight.addcmul_(first / denominator, per_network(inputs["corrected"], weight), value=-1)

    def pull(self, decay: str) -> float:
        """See :meth:`StackedOptimizer.pull`; a coupled penalty is divided by the size of the gradient."""
        return ADAM_PULL if decay == "coupled" else 1.0


for _rule in (SGD(), Adam()):
    OPTIMIZERS.register(_rule.name, _rule)
OPTIMIZERS.register("adam", OPTIMIZERS[Adam.name])  # the same: whether it is AdamW is for the decay to say
