"""Penalties R(w), their gradients, and what λ means.

The loss is ``data_loss + lam * R(w)`` with, summed over the weights of a network (not over biases or norms):

========  ==============================================  ==============================
kind      R per weight                                    its derivative
========  ==============================================  ==============================
``l2``    ½ w²                                            w
``l1``    |w|                                             sign(w), 0 at 0
``l0.5``  (w² + ε²)^¼ - ε^½, with ε = ``SMOOTHING``       ½ w (w² + ε²)^(-¾)
========  ==============================================  ==============================

L½ (Xu et al., "L1/2 regularization", 2010) has an infinite slope at 0; smoothing makes it 0 at 0 and at most
0.31/√ε anywhere, and leaves R within ε^½ of |w|^½.

Another penalty is a class and a line, ``PENALTIES.register("elastic", Elastic())``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal, overload

import torch
from torch import Tensor, nn

from lambda_rl.arguments import whole_number
from lambda_rl.registry import Registry

SMOOTHING = 2.0**-10
"""ε of the L½ penalty, in units of a weight: well below the scale of usual initial weights (0.01 to 0.1).

A power of 2⁻² so that its roots are exact in every floating-point type, and R(0) is exactly 0.
"""

DECAYS = ("coupled", "decoupled")
"""What λ may mean to an optimizer: λ R'(w) added to the gradient, or weights that shrink by learning rate · λ."""


class Penalty:
    """R of the weights of one layer; that of a network is the sum over its layers.

    A penalty that is a sum over single weights gives :meth:`terms` and :meth:`gradient`, and is done. One that is not
    (a group lasso, a spectral norm) gives :meth:`values` and :meth:`gradient` of N networks' weights.

    Attributes:
        name: what those of this package are registered as.
        is_weight_decay: R is ½‖w‖², hence its gradient w, so that an optimizer's ``weight_decay`` can be λ, and decay
            may be decoupled.
    """

    name: ClassVar[str] = ""
    is_weight_decay = False

    def terms(self, weights: Tensor) -> Tensor:
        """R of each weight: any shape to the same, non-negative, 0 at 0, differentiable by autograd.

        Raises:
            ValueError: the penalty is no sum over weights.
        """
        raise ValueError(f"the penalty {type(self).__name__} is no sum over weights, so it has no terms")

    def gradient(self, stacked: Tensor) -> Tensor:
        """dR/dw of N networks' weights ``[N, …]``, of their shape; may be these weights themselves.

        Written out, so that a fused optimizer needs no autograd graph for it. Finite for finite weights.
        """
        raise NotImplementedError

    def values(self, stacked: Tensor) -> Tensor:
        """R of each of N networks' weights, ``[N, out, …]`` to ``[N]``."""
        # Row by row: torch splits one long sum among its threads, but many sums at once by row, and then a network
        # measures the same to the last bit alone and among others.
        return self.terms(stacked).flatten(2).sum(2).sum(1)

    def value(self, weights: Tensor) -> Tensor:
        """R of one network's weights, a scalar."""
        if type(self).values is Penalty.values:
            return self.terms(weights).sum()
        return self.values(weights.unsqueeze(0)).squeeze(0)


PENALTIES: Registry[Penalty] = Registry("penalty")
"""The kinds of penalty."""


class L2(Penalty):
    """½ w²."""

    name = "l2"
    is_weight_decay = True

    def terms(self, weights: Tensor) -> Tensor:
        """See :meth:`Penalty.terms`."""
        return 0.5 * weights.square()

    def gradient(self, stacked: Tensor) -> Tensor:
        """The weights themselves."""
        return stacked


class L1(Penalty):
    """|w|."""

    name = "l1"

    def terms(self, weights: Tensor) -> Tensor:
        """See :meth:`Penalty.terms`."""
        return weights.abs()

    def gradient(self, stacked: Tensor) -> Tensor:
        """See :meth:`Penalty.gradient`; 0 at 0."""
        return stacked.sign()


class LHalf(Penalty):
    """|w|^½, smoothed at 0."""

    name = "l0.5"

    def terms(self, weights: Tensor) -> Tensor:
        """See :meth:`Penalty.terms`."""
        return (weights.square() + SMOOTHING**2).sqrt().sqrt() - SMOOTHING**0.5

    def gradient(self, stacked: Tensor) -> Tensor:
        """See :meth:`Penalty.gradient`."""
        root = (stacked.square() + SMOOTHING**2).sqrt()
        return 0.5 * stacked / (root * root.sqrt())


for _kind in (L2(), L1(), LHalf()):
    PENALTIES.register(_kind.name, _kind)

DEFAULT = L2.name
"""The penalty where none is named."""


def penalty_terms(weights: Tensor, kind: str) -> Tensor:
    """R of each weight.

    Args:
        weights: any shape, floating point.
        kind: one of :data:`PENALTIES`.

    Returns:
        Same shape and dtype, non-negative, 0 where the weight is 0; differentiable by autograd.

    Raises:
        ValueError: unknown kind, or one that is no sum over weights.
    """
    return PENALTIES[kind].terms(weights)


def penalty_gradient(weights: Tensor, kind: str) -> Tensor:
    """dR/dw of each weight, written out so that a fused optimizer needs no autograd graph for it.

    Args:
        weights: of one layer, floating point; any shape where R is a sum over weights.
        kind: one of :data:`PENALTIES`.

    Returns:
        Same shape and dtype, finite for finite weights, 0 where the weight is 0 (``l2``: in the memory of
        ``weights``).

    Raises:
        ValueError: unknown kind.
    """
    return PENALTIES[kind].gradient(weights.unsqueeze(0)).squeeze(0)


def penalised_weights(model: nn.Module, *, trainable_only: bool = False) -> dict[str, nn.Parameter]:
    """The parameters that a penalty acts on: at least two dimensions, not a bias, not in a norm layer.

    Args:
        model: any module; shared parameters come once.
        trainable_only: leave out parameters with ``requires_grad=False``.

    Returns:
        By full name, in the order of ``model.named_parameters()``.
    """
    norms: set[int] = set()
    for module in model.modules():
        if "Norm" in type(module).__name__:  # torch's, and those that others write, carry it in their name
            norms.update(id(p) for p in module.parameters(recurse=False))
    return {
        name: p
        for name, p in model.named_parameters()
        if p.ndim >= 2
        and id(p) not in norms
        and not name.endswith("bias")
        and (p.requires_grad or not trainable_only)
    }


@overload
def penalty(
    weights: nn.Module | Iterable[Tensor],
    kind: str = ...,
    *,
    normalize: bool = ...,
    per_layer: Literal[False] = ...,
) -> Tensor: ...
@overload
def penalty(
    weights: nn.Module | Iterable[Tensor], kind: str = ..., *, normalize: bool = ..., per_layer: Literal[True]
) -> dict[str, Tensor]: ...
def penalty(
    weights: nn.Module | Iterable[Tensor],
    kind: str = DEFAULT,
    *,
    normalize: bool = False,
    per_layer: bool = False,
) -> Tensor | dict[str, Tensor]:
    """Sums R over the weights of a network, to be added to the loss times λ.

    Args:
        weights: a module (its trainable :func:`penalised_weights` count) or the tensors themselves.
        kind: one of :data:`PENALTIES`.
        normalize: divide by the number of weights (per layer: by the layer's), see :func:`lam_per_parameter`.
        per_layer: one sum for each parameter.

    Returns:
        A scalar tensor, or scalars by parameter name (for tensors: by position, "0", "1", …).

    Raises:
        ValueError: unknown kind, or nothing to penalise.
    """
    rule = PENALTIES[kind]
    named: dict[str, Tensor]
    if isinstance(weights, nn.Module):
        named = dict(penalised_weights(weights, trainable_only=True))
    else:
        named = {str(i): w for i, w in enumerate(weights)}
    if not named:
        raise ValueError("penalty: no weights to penalise (no trainable parameter of two or more dimensions)")
    sums = {name: rule.value(w) for name, w in named.items()}
    if per_layer:
        return {name: s / named[name].numel() if normalize else s for name, s in sums.items()}
    total = torch.stack(list(sums.values())).sum()
    return total / sum(w.numel() for w in named.values()) if normalize else total


def lam_per_example(lam: float, num_train: int) -> float:
    """This project's λ for one given as in ``loss + λ/(2m) ‖w‖²`` with m training examples: λ/m.

    (The L2 penalty here is ½‖w‖², so the 2 is already in it; for L1 and L½ the same λ/m stands before R.)

    Args:
        lam: λ in that convention, 0 or more.
        num_train: m, training examples.

    Raises:
        ValueError: ``num_train`` is no whole number of 1 or more.
    """
    return lam / whole_number("num_train", num_train)


def lam_per_parameter(lam: float, num_params: int) -> float:
    """This project's λ for one that stands before R(w) divided by the number of weights.

    Args:
        lam: λ before the normalised penalty, 0 or more.
        num_params: number of penalised weights.

    Raises:
        ValueError: ``num_params`` is no whole number of 1 or more.
    """
    return lam / whole_number("num_params", num_params)
