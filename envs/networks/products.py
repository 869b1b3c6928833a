"""Batched products whose memory layout decides their speed.

Autograd's own rules for batched products give gradients in transposed layouts, which cost more to read than the
products themselves; here forward and backward passes are written out, all of them in the layout of the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def applied(function: type[torch.autograd.Function]) -> Callable[..., Any]:
    """What calls a function whose passes are written out, with a context apart from the forward pass.

    ``torch.func`` wants the context apart, hence compiled steps do. Without them torch looks up the signature of the
    forward pass at each call, which takes longer than a product of a small network, so both are called as one there.
    """

    class Together(torch.autograd.Function):
        """The same, as one."""

        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            output = function.forward(*inputs)
            function.setup_context(ctx, inputs, output)
            return output

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return function.backward(ctx, *grads)

    def call(*inputs: Any) -> Any:
        return (function if torch.compiler.is_compiling() else Together).apply(*inputs)

    return call


class _Linear(torch.autograd.Function):
    """``x @ weightᵀ + bias``, batched."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if bias is None:
            return torch.bmm(x, weight.transpose(1, 2))
        return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(inputs[0], inputs[1])
        ctx.biased = inputs[2] is not None

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, Tensor, Tensor | None]:
        (grad,) = grads
        x, weight = ctx.saved_tensors
        # Of weight and bias this says nothing: compiled, torch 2.14 calls what func.grad differentiates by unneeded.
        wants_x = ctx.needs_input_grad[0]
        return (
            torch.bmm(grad, weight) if wants_x else None,
            torch.bmm(grad.transpose(1, 2), x),
            grad.sum(1) if ctx.biased else None,
        )


_linear = applied(_Linear)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A linear layer of N networks.

    Args:
        x: ``[N, B, in]``.
        weight: ``[N, out, in]``.
        bias: ``[N, out]``.

    Returns:
        ``[N, B, out]``.
    """
    out: Tensor = _linear(x, weight, bias)
    return out


class _Logits(torch.autograd.Function):
    """``weight @ xᵀ + bias``, batched."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.baddbmm(bias.unsqueeze(2), weight, x.transpose(1, 2))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(inputs[0], inputs[1])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor, Tensor]:
        (grad,) = grads
        x, weight = ctx.saved_tensors
        return torch.bmm(grad.transpose(1, 2), weight), torch.bmm(grad, x), grad.sum(2)


_logits = applied(_Logits)


def logits(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A linear layer whose outputs come first: over the last dimension, softmax is ten times slower.

    Args:
        x: ``[N, B, in]``.
        weight: ``[N, out, in]``.
        bias: ``[N, out]``.

    Returns:
        ``[N, out, B]``.
    """
    out: Tensor = _logits(x, weight, bias)
    return out
