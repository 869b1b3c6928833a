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
    """Follows the weights of one run; :meth:`on_interval` is called at its start and after each of its intervals.

    Args:
        stages: after how many decisions its stages end; the last is the end of the run.
        redraw: how weights at zero (by ``ZERO_FACTOR``) are drawn anew between stages.
        seed: of those draws.
        factors: thresholds of zero, in deviations of the initial weights.

    Attributes:
        trace: what was seen so far.
    """

    def __init__(
        self,
        stages: Sequence[int],
        redraw: Redraw = "",
        seed: int = 0,
        factors: Sequence[float] = ZERO_FACTORS,
    ) -> None:
        self.stages, self.redraw, self.seed = stages, redraw, seed
        self.trace = WeightTrace({f: [] for f in factors}, [], {f: [] for f in factors})
        self._deviation: dict[str, float] = {}
        self._early: dict[float, Tensor] = {}  # by factor: which were at zero when the first stage ended

    @torch.no_grad()
    def on_interval(self, run: InnerRun) -> None:
        """Looks at the weights, and draws those at zero anew where that is asked for."""
        weights = {name: run.params[name] for name in run.network.penalised}
        if not self._deviation:
            self._deviation = {name: float(w.std()) for name, w in weights.items()}
        trace, deviation = self.trace, self._deviation
        # In units of the initial deviation, all layers in one row.
        scaled = torch.cat([w.abs().flatten() / deviation[name] for name, w in weights.items()])
        if run.decision == self.stages[0]:
            self._early = {factor: scaled < factor for factor in trace.zero}
        for factor, zero in trace.zero.items():
            zero.append(float((scaled < factor).double().mean()))
        for factor, was in self._early.items():
            trace.revived[factor].append(float((scaled[was] >= factor).double().mean()))
        if run.task.network == "mlp":
            incoming = weights["fc1.weight"].abs().amax(1) / deviation["fc1.weight"]
            trace.dead.append(float((incoming < ZERO_FACTOR).double().mean()))
        if self.redraw and run.decision in self.stages[:-1]:
            generator = torch.Generator().manual_seed(self.seed * 1000 + run.decision)
            for name, weight in weights.items():
                _draw_anew(weight, deviation[name], self.redraw, generator)


def _draw_anew(weight: Tensor, initial: float, how: Redraw, generator: torch.Generator) -> None:
    zero = weight.abs() < ZERO_FACTOR * initial
    living = weight[~zero]
    deviation = float(living.std()) if how == "living" and len(living) > 1 else initial
    fresh = deviation * torch.randn(weight.shape, generator=generator)
    weight.copy_(torch.where(zero, fresh.to(weight), weight))
