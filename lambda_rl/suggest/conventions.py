"""One λ, as many numbers as there are ways to write the penalty: what is meant by λ = 0.01 must be said.

With w the penalised weights, P their number, and m training examples:

===============  ==================  =============================================================
name             penalty             who writes it so
===============  ==================  =============================================================
``half``         λ/2 ‖w‖²            this project, ``weight_decay`` of ``torch.optim.SGD``
``whole``        λ ‖w‖²              Keras' ``l2``, and a sum of squares added to the loss by hand
``per-example``  λ/(2m) ‖w‖²         textbooks, with a mean of the loss over all m examples
``per-weight``   λ/(2P) ‖w‖²         those who fear that more weights mean a larger penalty
===============  ==================  =============================================================

Each adds the same gradient to each weight once it is converted. ``weight_decay`` of AdamW, which is no penalty, is read
as ``half``: it shrinks weights by learning rate · λ, as plain gradient descent on that penalty does. For L1 and L½ see
:func:`lambda_rl.lam_per_example` and :func:`lambda_rl.lam_per_parameter`, where the ½ is no matter.
"""

from __future__ import annotations

from collections.abc import Callable

from lambda_rl.arguments import real_number, whole_number
from lambda_rl.checks import did_you_mean

HALF = "half"

CONVENTIONS: dict[str, Callable[[int | None, int | None], float]] = {
    HALF: lambda num_train, num_params: 1.0,
    "whole": lambda num_train, num_params: 0.5,
    "per-example": lambda num_train, num_params: whole_number("num_train", num_train),
    "per-weight": lambda num_train, num_params: whole_number("num_params", num_params),
}
"""Ways to write the penalty, and what λ of ``half`` is multiplied by to be λ there, from m and P."""


def convert_lam(
    lam: float,
    *,
    given: str = HALF,
    to: str = HALF,
    num_train: int | None = None,
    num_params: int | None = None,
) -> float:
    """λ of one way to write the L2 penalty, in another: the gradient stays the same.

    Args:
        lam: λ, 0 or more.
        given: how it is written: ``half`` (λ/2 ‖w‖², as in torch), ``whole`` (λ ‖w‖²), ``per-example`` (λ/(2m) ‖w‖²) or
            ``per-weight`` (λ/(2P) ‖w‖²).
        to: how it is wanted; likewise.
        num_train: m, training examples; needed for ``per-example``.
        num_params: P, penalised weights; needed for ``per-weight``.

    Returns:
        λ.

    Raises:
        ValueError: there is no such way, λ is negative or not finite, or m or P is needed and not a whole number of 1
            or more.

    >>> convert_lam(1.0, given="per-example", num_train=1000)
    0.001
    """
    for name, way in (("given", given), ("to", to)):
        if way not in CONVENTIONS:
            raise ValueError(
                f"{name} must be one of {', '.join(CONVENTIONS)}; got {way!r}{did_you_mean(way, CONVENTIONS)}"
            )
    size = (num_train, num_params)
    return real_number("lam", lam) * CONVENTIONS[to](*size) / CONVENTIONS[given](*size)
