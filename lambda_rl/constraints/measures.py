"""What constraints are made of: how far outputs are out of bounds, rates, and their differentiable bounds.

A rate, such as recall, is a share of examples: it has no useful gradient. Its multiplier follows the true rate, and the
weights follow a bound of it that has one, a proxy (Cotter, Jiang & Sridharan, "Two-player games for efficient
non-convex constrained optimization", 2019). The bounds are hinges::

    min(1, s)  <=  1[s > 0]  <=  max(0, 1 + s)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lambda_rl.arguments import whole_number
from lambda_rl.checks import shown


def shortfall(output: Tensor, floor: float | Tensor) -> Tensor:
    """max(floor - output, 0), entry by entry: how far an output lies below what it should not fall below."""
    return (floor - output).clamp(min=0)


def excess(output: Tensor, ceiling: float | Tensor) -> Tensor:
    """max(output - ceiling, 0), entry by entry."""
    return (output - ceiling).clamp(min=0)


def rate(scores: Tensor) -> Tensor:
    """The share of scores above 0; without gradient.

    Raises:
        ValueError: there are no scores.
    """
    _some(scores)
    return (scores.detach() > 0).to(_floating(scores)).mean()


def rate_at_least(scores: Tensor) -> Tensor:
    """A concave function of the scores that :func:`rate` is never below: the mean of min(1, score).

    Raises:
        ValueError: there are no scores.
    """
    _some(scores)
    return scores.clamp(max=1).mean()


def rate_at_most(scores: Tensor) -> Tensor:
    """A convex function of the scores that :func:`rate` is never above: the mean of max(0, 1 + score).

    Raises:
        ValueError: there are no scores.
    """
    _some(scores)
    return (1 + scores).clamp(min=0).mean()


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """By how much the logit of the label exceeds all others; above 0 where the prediction is right.

    Args:
        logits: ``[examples, classes]``, of two classes or more.
        labels: whole numbers, ``[examples]``.

    Returns:
        ``[examples]``.

    Raises:
        ValueError: shapes do not fit.
    """
    if logits.ndim != 2 or logits.shape[1] < 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            "margins are of logits [examples, classes], two classes or more, and labels [examples], got shapes "
            f"{tuple(logits.shape)} and {tuple(labels.shape)}"
        )
    own = labels.unsqueeze(1).long()
    others = logits.scatter(1, own, -torch.inf).amax(1)
    return logits.gather(1, own).squeeze(1) - others


def recall(logits: Tensor, labels: Tensor, label: int) -> Tensor:
    """The share of a class that is predicted as that class; without gradient.

    Args:
        logits: ``[examples, classes]``.
        labels: whole numbers, ``[examples]``.
        label: the class.

    Raises:
        ValueError: shapes do not fit, or the class has no example here.
    """
    return rate(_of_class(logits, labels, label))


def recall_at_least(logits: Tensor, labels: Tensor, label: int) -> Tensor:
    """A differentiable function that :func:`recall` is never below; arguments and errors are the same."""
    return rate_at_least(_of_class(logits, labels, label))


def _of_class(logits: Tensor, labels: Tensor, label: Any) -> Tensor:
    label = whole_number("label", label, 0)
    found = margins(logits, labels)[labels == label]
    if len(found) == 0:
        raise ValueError(
            f"no example has the label {shown(label)}: measure recall over more examples, or leave the constraint out "
            "of this step"
        )
    return found


def _some(scores: Tensor) -> None:
    if scores.numel() == 0:
        raise ValueError("a rate is of one score or more, got none")


def _floating(scores: Tensor) -> torch.dtype:
    return scores.dtype if scores.is_floating_point() else torch.get_default_dtype()
