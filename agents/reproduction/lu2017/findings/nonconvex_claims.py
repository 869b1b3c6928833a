"""Claims about L½, Figures 5 to 8, and our hypothesis for what the paper leaves open."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from lambda_rl.agents.reproduction.lu2017 import gains
from lambda_rl.agents.reproduction.lu2017.experiments import PULL_DOWN, PULL_UP, REDRAWN, REVIVED
from lambda_rl.agents.reproduction.lu2017.findings.verdicts import Finding, Part, cell_estimates, width_names
from lambda_rl.agents.reproduction.lu2017.gains import by_width, estimate
from lambda_rl.agents.reproduction.lu2017.settings import PAPER_CONSTANTS, ZERO_FACTOR, Budget

AFFORDABLE = 2.0
"""Points of validation accuracy that sparsity may cost in claim (g)."""


def _gain(
    runs: pd.DataFrame, budget: Budget, penalty: str, schedule: str, against: str = "validation"
) -> np.ndarray:
    return by_width(runs, budget, partial(gains.gain, schedule=schedule, against=against), penalty)


def trace_by_width(
    runs: pd.DataFrame, budget: Budget, penalty: str, schedule: str, kind: str, factor: float = ZERO_FACTOR
) -> np.ndarray:
    """Percent of weights at zero, or come back, over the run: ``[widths, seeds, intervals]``."""
    follow = partial(gains.trace, schedule=schedule, kind=kind, factor=factor)
    return 100 * by_width(runs, budget, follow, penalty)


def nonconvex_schedules_hurt(runs: pd.DataFrame, budget: Budget) -> Finding:
    """(f) Under L½ schedules hurt, more with more hidden units."""
    down, up = (-_gain(runs, budget, "l0.5", name) for name in (PULL_DOWN, PULL_UP))
    both = (down + up) / 2
    loss_l2 = -_gain(runs, budget, "l2", PULL_DOWN)
    names = [f"{name}, {width}" for name in (PULL_DOWN, PULL_UP) for width in width_names(budget)]
    return Finding(
        "f",
        "8",
        "With the L½ penalty both schedules do worse than the best constant, the more so the more hidden units there "
        "are.",
        (
            Part("loss of pull-down against the best constant, mean over widths", estimate(down)),
            Part("loss of pull-up against the best constant, mean over widths", estimate(up)),
            Part(
                "growth of the loss (mean of both) per doubling of hidden units",
                estimate(gains.slopes(both, budget.widths)),
                "points per doubling",
            ),
            Part(
                "loss of pull-down under L½ beyond its loss under L2", estimate(down - loss_l2), counts=False
            ),
        ),
        cell_estimates(dict(zip(names, [*down, *up], strict=True))),
    )


def affordable_zeros(cell: pd.DataFrame) -> np.ndarray:
    """The largest share of zeros, percent, among constants that cost at most :data:`AFFORDABLE` points, ``[seeds]``."""
    free = gains.scores(cell, "constant:0", "val_accuracy")
    best = np.zeros_like(free)
    for name in gains.constant_names(cell):
        share = gains.trace(cell, name, "zero", ZERO_FACTOR)[:, -1]
        fine = gains.scores(cell, name, "val_accuracy") >= free - AFFORDABLE
        best = np.where(fine, np.fmax(best, share), best)
    return 100 * best


def nonconvex_is_sparser(runs: pd.DataFrame, budget: Budget) -> Finding:
    """(g) L½ makes more weights zero than L1, and L1 than L2, at a like cost in accuracy."""
    half, one, two = (by_width(runs, budget, affordable_zeros, penalty) for penalty in ("l0.5", "l1", "l2"))
    strongest = f"constant:{PAPER_CONSTANTS[0]:g}"
    same = [trace_by_width(runs, budget, kind, strongest, "zero")[..., -1] for kind in ("l0.5", "l1")]
    return Finding(
        "g",
        "5–7",
        "L½ promotes sparsity even more than L1, and L1 more than L2.",
        (
            Part(
                f"share of weights at zero that {AFFORDABLE:g} points of accuracy can buy: L½ minus L1",
                estimate(half - one),
            ),
            Part("the same, L1 minus L2", estimate(one - two)),
            Part(
                "share at zero under the strongest constant (same λ, whatever it costs): L½ minus L1",
                estimate(same[0] - same[1]),
                counts=False,
            ),
        ),
        cell_estimates(dict(zip(width_names(budget), half - one, strict=True))),
    )


def zeros_stay_zero(runs: pd.DataFrame, budget: Budget) -> Finding:
    """(h) Our hypothesis for (f): weights that the early strong L½ pull sets to zero never come back."""
    stay = {
        penalty: 100 - trace_by_width(runs, budget, penalty, PULL_DOWN, "revived")[..., -1]
        for penalty in ("l0.5", "l2")
    }
    zero = trace_by_width(runs, budget, "l0.5", PULL_DOWN, "zero")
    early = zero[..., gains.stage_ends(zero.shape[-1])[0]]
    regained = {
        (penalty, name): _gain(runs, budget, penalty, name, PULL_DOWN)
        for penalty in ("l0.5", "l1")
        for name in (REVIVED, REDRAWN)
    }
    effect = regained["l0.5", REVIVED]
    loss = -_gain(runs, budget, "l0.5", PULL_DOWN)
    # A share of the mean loss: seed by seed the loss may be near 0.
    share = 100 * effect.mean(0) / max(float(loss.mean()), 1e-9)
    return Finding(
        "h",
        "8",
        "Our hypothesis for (f): weights that the strong L½ pull of the first stage sets to zero never come back, and "
        "that costs the accuracy.",
        (
            Part(
                "accuracy regained by drawing the weights at zero anew, as large as the living ones, whenever λ falls "
                "(pull-down, L½)",
                estimate(effect),
            ),
            Part(
                "of the weights at zero after the first stage, the share still there at the end, beyond one half (L½)",
                estimate(stay["l0.5"] - 50),
            ),
            Part("the same share, L½ minus L2", estimate(stay["l0.5"] - stay["l2"])),
            Part(
                "what drawing anew regains, as a share of pull-down's loss, beyond one half of it",
                estimate(share - 50),
            ),
            Part("share of weights at zero after the first stage (L½)", estimate(early), counts=False),
            Part(
                "accuracy regained if they are drawn as small as the initial weights (L½)",
                estimate(regained["l0.5", REDRAWN]),
                counts=False,
            ),
            Part(
                "accuracy regained under L1, as large as the living ones",
                estimate(regained["l1", REVIVED]),
                counts=False,
            ),
        ),
        cell_estimates(dict(zip(width_names(budget), effect, strict=True))),
    )
