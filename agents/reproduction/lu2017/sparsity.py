"""How many weights are at zero over a run, which of them come back, and the experiment of bringing them back by hand.

"At zero" is below a share of the deviation of the layer's initial weights (``ZERO_FACTORS``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from lambda_rl.agents.reproduction.lu2017.settings import ZERO_FACTOR, ZERO_FACTORS
from lambda_rl.envs.training.run import InnerRun

Redraw = Literal["", "initial", "living"]
"""How weights at zero are drawn anew: with the deviation of the layer's initial weights, or of those not at zero."""


@dataclass
class WeightTrace:
    """What was seen of one run's weights, one value an interval's end (the first before the first interval).

    Attributes:
        zero: by factor, the share of penalised weights that are at zero.
        dead: share of hidden units of a two-layer network all of whose incoming weights are at zero (by
            ``ZERO_FACTOR``).
        revived: by factor, of the weights at zero when the first stage ended, the share that is not any more; from
            that moment on. NaN if none was at zero.
    """

    zero: dict[float, list[float]] = field(default_factory=dict)
    dead: list[float] = field(default_factory=list)
    revived: dict[float, list[float]] = field(default_factory=dict)


class WeightWatch:
    """Follows the weights of runs; hand :meth:`on_interval` to ``run_schedules``.

    Args:
        first_stage: by job, after how many decisions its first stage ends.
        redraw_at: by job, the decisions after which weights at zero (by ``ZERO_FACTOR``) are drawn anew.
        redraw: by job, how; empty for most.
        seeds: by job, of those draws.
        factors: thresholds of zero, in deviations of the initial weights.
    """

    def __init__(
        self,
        first_stage: Sequence[int],
        redraw_at: Sequence[tuple[int, ...]],
        redraw: Sequence[Redraw],
        seeds: Sequence[int],
        factors: Sequence[float] = ZERO_FACTORS,
    ) -> None:
        self.first_stage, self.redraw_at, self.redraw, self.seeds = first_stage, redraw_at, redraw, seeds
        self.factors = tuple(factors)
        self._traces: dict[int, WeightTrace] = {}
        self._deviation: dict[int, dict[str, float]] = {}
        self._early: dict[
            int, dict[float, Tensor]
        ] = {}  # by factor: which were at zero when the first stage ended

    def take(self, index: int) -> WeightTrace:
        """The trace of a job that is done; it is forgotten here."""
        self._deviation.pop(index, None)
        self._early.pop(index, None)
        return self._traces.pop(index)

    @torch.no_grad()
    def on_interval(self, index: int, run: InnerRun) -> None:
        """Looks at the weights, and draws those at zero anew where that is asked for.

        Args:
            index: of the job.
            run: at its start or at the end of an interval.
        """
        weights = {name: run.params[name] for name in run.network.penalised}
        if run.decision == 0:
            self._traces[index] = WeightTrace(
                {f: [] for f in self.factors}, [], {f: [] for f in self.factors}
            )
            self._deviation[index] = {name: float(w.std()) for name, w in weights.items()}
        trace, deviation = self._traces[index], self._deviation[index]
        # In units of the initial deviation, all layers in one row.
        scaled = torch.cat([w.abs().flatten() / deviation[name] for name, w in weights.items()])
        if run.decision == self.first_stage[index]:
            self._early[index] = {f: scaled < f for f in self.factors}
        for factor in self.factors:
            trace.zero[factor].append(float((scaled < factor).double().mean()))
            if index in self._early:
                was = self._early[index][factor]
                trace.revived[factor].append(float((scaled[was] >= factor).double().mean()))
        if run.task.network == "mlp":
            incoming = weights["fc1.weight"].abs().amax(1) / deviation["fc1.weight"]
            trace.dead.append(float((incoming < ZERO_FACTOR).double().mean()))
        if self.redraw[index] and run.decision in self.redraw_at[index]:
            generator = torch.Generator().manual_seed(self.seeds[index] * 1000 + run.decision)
            for name, weight in weights.items():
                _draw_anew(weight, deviation[name], self.redraw[index], generator)


def _draw_anew(weight: Tensor, initial: float, how: Redraw, generator: torch.Generator) -> None:
    zero = weight.abs() < ZERO_FACTOR * initial
    living = weight[~zero]
    deviation = float(living.std()) if how == "living" and len(living) > 1 else initial
    fresh = deviation * torch.randn(weight.shape, generator=generator)
    weight.copy_(torch.where(zero, fresh.to(weight), weight))
