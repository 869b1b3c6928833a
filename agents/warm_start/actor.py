"""The actor in torch, while it is trained on regret curves; what leaves it is a :class:`lambda_rl.Policy`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.running_mean_std import RunningMeanStd
from torch import Tensor, nn

CLIP_OBS = 10.0
EPSILON = 1e-8

Arrays = dict[str, npt.NDArray[np.float64]]
"""Tensors of an actor by name, as they go to worker processes."""


class TorchActor(nn.Module):
    """Tanh layers on normalised observations; the mean of the action.

    Args:
        features: F.
        hidden: units of each hidden layer.
        generator: draws the initial weights (orthogonal; the last layer small, so that a new actor holds κ).
    """

    mean: Tensor
    var: Tensor

    def __init__(self, features: int, hidden: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        sizes = (features, *hidden, 1)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        for number, layer in enumerate(self.linears()):
            gain = 0.01 if number == len(hidden) else 2.0**0.5
            nn.init.orthogonal_(layer.weight, gain, generator=generator)
            nn.init.zeros_(layer.bias)
        self.register_buffer("mean", torch.zeros(features, dtype=torch.float64))
        self.register_buffer("var", torch.ones(features, dtype=torch.float64))

    def linears(self) -> list[nn.Linear]:
        """The layers, first to last."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def normalise(self, moments: RunningMeanStd) -> None:
        """Takes the moments of observations."""
        self.mean.copy_(torch.from_numpy(moments.mean))
        self.var.copy_(torch.from_numpy(moments.var))

    def forward(self, observations: Tensor) -> Tensor:
        """Actions ``[n]``, not clipped, of observations ``[n, F]``."""
        hidden = (observations.double() - self.mean) / (self.var + EPSILON).sqrt()
        hidden = hidden.clamp(-CLIP_OBS, CLIP_OBS).float()
        *inner, last = self.linears()
        for layer in inner:
            hidden = torch.tanh(layer(hidden))
        actions: Tensor = last(hidden)[:, 0]
        return actions

    def arrays(self) -> Arrays:
        """All numbers."""
        return {name: value.detach().numpy().astype(np.float64) for name, value in self.state_dict().items()}


def actor_of(arrays: Arrays) -> TorchActor:
    """The actor that has these numbers."""
    count = sum(name.endswith(".weight") for name in arrays)
    shapes = [arrays[f"layers.{i}.weight"].shape for i in range(count)]
    actor = TorchActor(shapes[0][1], [rows for rows, _ in shapes[:-1]], torch.Generator())
    actor.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
    return actor


def act_with(arrays: Arrays, observations: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The actor in numpy: actions ``[n]``, not clipped."""
    hidden = (observations - arrays["mean"]) / np.sqrt(arrays["var"] + EPSILON)
    hidden = np.clip(hidden, -CLIP_OBS, CLIP_OBS)
    count = sum(name.endswith(".weight") for name in arrays)
    for i in range(count):
        hidden = hidden @ arrays[f"layers.{i}.weight"].T + arrays[f"layers.{i}.bias"]
        if i < count - 1:
            hidden = np.tanh(hidden)
    return np.asarray(hidden[:, 0])
