"""The parameter groups of an optimizer that have decay: writing λ to them, and measuring them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

# Optimizers of torch, timm and other libraries that shrink weights by lr·λ without saying so in their groups.
_DECOUPLED = frozenset(
    {
        "adamw",
        "nadamw",
        "adafactor",
        "adafactorbigvision",
        "muon",
        "lion",
        "adamp",
        "adan",
        "laprop",
        "mars",
        "sgdw",
    }
    | {"lamb"}
)
# What those call it that do say it.
_DECOUPLED_KEYS = ("decoupled_decay", "decoupled", "weight_decouple")

DecayState = list[list[float]]


def unwrapped(optimizer: Optimizer) -> Optimizer:
    """The optimizer itself, of a wrapper such as that of ``accelerate``, which looks like one but has no hooks."""
    inner = getattr(optimizer, "optimizer", None)
    while isinstance(inner, Optimizer):
        optimizer, inner = inner, getattr(inner, "optimizer", None)
    return optimizer


def group_meaning(optimizer: Optimizer, group: dict[str, Any]) -> str:
    """What ``weight_decay`` of a group does.

    Args:
        optimizer: its owner.
        group: one of its ``param_groups``.

    Returns:
        "decoupled" (weights shrink by lr·λ: AdamW and its like, or ``decoupled_weight_decay=True`` in the
        group), else "coupled" (λ·w is added to the gradient: SGD, Adam).
    """
    named = group.get("decoupled_weight_decay")
    if named is None:
        name = type(optimizer).__name__.lower()
        named = (
            name in _DECOUPLED or "adamw" in name or any(group.get(key) is True for key in _DECOUPLED_KEYS)
        )
    return "decoupled" if named else "coupled"


class DecayGroups:
    """The groups with decay of one or several optimizers.

    A group is scheduled if its ``weight_decay`` is not 0 at construction, or if it has a ``wd_mult`` other
    than 0. Its decay is then λ · ``wd_mult``; the default of ``wd_mult`` is the group's start decay over the
    largest start decay, so that ratios between groups stay. It is stored in the group, so the optimizer's own
    checkpoint carries it. Groups added later are taken in at the next write by the same rule. Nothing is ever
    written to other groups.

    Args:
        optimizers: one or several.

    Raises:
        ValueError: no group has decay, a decay is negative or not finite, or the optimizer knows no decay.
    """

    def __init__(self, optimizers: Optimizer | Sequence[Optimizer]) -> None:
        given = [optimizers] if isinstance(optimizers, Optimizer) else list(optimizers)
        self.optimizers = [unwrapped(optimizer) for optimizer in given]
        self._mults: DecayState = [
            [] for _ in self.optimizers
        ]  # by position: loading a checkpoint replaces groups
        self._start_lr: DecayState = [[] for _ in self.optimizers]
        groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        for group in groups:
            decay = group.get("weight_decay")
            if isinstance(decay, Tensor) and (not decay.is_floating_point() or decay.requires_grad):
                raise ValueError(
                    "weight_decay as a tensor, to be filled with λ, must be floating point and not require grad"
                )
        decays = [float(group.get("weight_decay", 0.0)) for group in groups]
        if any(not 0.0 <= decay < float("inf") for decay in decays):
            raise ValueError(f"weight_decay of every group must be finite and 0 or more, got {decays}")
        for optimizer in self.optimizers:
            # torch takes any key in a group without a word.
            if "weight_decay" not in optimizer.defaults and any(
                float(group.get("weight_decay", 0.0)) or float(group.get("wd_mult", 0.0))
                for group in optimizer.param_groups
            ):
                raise ValueError(
                    f"{type(optimizer).__name__} has no weight_decay: what is written there would be ignored"
                )
        self._largest = max((d for d in decays if d > 0), default=1.0)
        self._where: list[tuple[Optimizer, int, float, float]] = []
        self._take_in_new_groups()
        if not any(mult != 0 for mults in self._mults for mult in mults):
            raise ValueError(
                "no parameter group has decay: give weight_decay=1e-4 or so (any value but 0) to the groups to be "
                "scheduled when the optimizer is made; lambda_rl.split_parameters(model, 1e-4) makes two groups, "
                "weights with decay, biases and norms without"
            )

    def _take_in_new_groups(self) -> None:
        if all(len(o.param_groups) == len(m) for o, m in zip(self.optimizers, self._mults, strict=True)):
            return
        for optimizer, mults, rates in zip(self.optimizers, self._mults, self._start_lr, strict=True):
            for group in optimizer.param_groups[len(mults) :]:
                mult = float(group.get("wd_mult", float(group.get("weight_decay", 0.0)) / self._largest))
                if mult != 0:
                    group["wd_mult"] = mult
                decay = group.get("weight_decay")
                if isinstance(decay, Tensor):
                    # The default of an optimizer is one tensor for all groups; each needs its own to be filled.
                    others = [g for g in optimizer.param_groups if g is not group]
                    if any(g.get("weight_decay") is decay for g in others):
                        group["weight_decay"] = decay.clone()
                mults.append(mult)
                rates.append(float(group.get("initial_lr", group.get("lr", 1.0))))
        self._find()

    def _scheduled(self) -> list[tuple[Optimizer, dict[str, Any], float, float]]:
        """(optimizer, group, its multiplier, its start learning rate) of the groups with decay."""
        return [(o, o.param_groups[i], mult, rate) for o, i, mult, rate in self._where]

    def _find(self) -> None:
        """By position, for a checkpoint that is loaded replaces the groups."""
        self._where = [
            (optimizer, i, mult, rate)
            for optimizer, mults, rates in zip(self.optimizers, self._mults, self._start_lr, strict=True)
            for i, (mult, rate) in enumerate(zip(mults, rates, strict=True))
            if mult != 0
        ]

    def write(self, lam: float) -> None:
        """Sets ``weight_decay`` to λ · ``wd_mult``; in place where it is a tensor (compiled or captured optimizers)."""
        self._take_in_new_groups()
        for _, group, mult, _ in self._scheduled():
            if isinstance(group.get("weight_decay"), Tensor):
                group["weight_decay"].fill_(lam * mult)
            else:
                group["weight_decay"] = lam * mult

    def meanings(self) -> set[str]:
        """The meanings of decay that occur: "coupled", "decoupled" or both."""
        return {group_meaning(optimizer, group) for optimizer, group, _, _ in self._scheduled()}

    def version(self) -> int:
        """A number that changes whenever the trainable weights with decay do, by whatever hand."""
        return sum(p._version for _, g, _, _ in self._scheduled() for p in g["params"] if p.requires_grad)

    def num_params(self) -> int:
        """How many trainable parameters the decay acts on."""
        return sum(p.numel() for _, g, _, _ in self._scheduled() for p in g["params"] if p.requires_grad)

    def norms(self) -> tuple[float, float]:
        """The Euclidean norm of the trainable weights with decay, and Σ ``wd_mult`` · ½‖w‖² over their groups."""
        total = weighted = 0.0
        elsewhere: list[tuple[Tensor, float]] = []
        for _, group, mult, _ in self._scheduled():
            for parameter in group["params"]:
                if parameter.requires_grad:
                    weight = parameter.detach()
                    if weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.float64):
                        flat = weight.reshape(-1)  # dot sums 20 times as exactly as a norm does here
                        square = torch.dot(flat, flat).item()
                        total += square
                        weighted += mult * square
                    else:
                        elsewhere.append((weight, mult))
        if elsewhere:
            # In half precision a norm would have 3 digits.
            single = [torch.float32 if w.dtype.itemsize < 4 else None for w, _ in elsewhere]
            norms = [
                torch.linalg.vector_norm(w, dtype=dtype)
                for (w, _), dtype in zip(elsewhere, single, strict=True)
            ]
            home = norms[0].device
            # Gathered first, so that the device is waited for once.
            values = torch.stack([n.to(home, torch.float32) for n in norms]).tolist()
            for value, (_, mult) in zip(values, elsewhere, strict=True):
                total += value * value
                weighted += mult * value * value
        return math.sqrt(total), 0.5 * weighted

    def lr_ratio(self) -> float:
        """Learning rate of the first scheduled group over its start (``initial_lr`` where a scheduler set one)."""
        _, group, _, rate = self._scheduled()[0]
        return float(group.get("lr", 1.0)) / rate if rate > 0 else 1.0

    def lr_sum(self, total_steps: int) -> float:
        """Effective learning rate summed over the run, if it stays as at the start.

        ``lr / (1 - momentum) · total_steps`` for groups with ``momentum`` (SGD), else ``lr · total_steps``.
        """
        _, group, _, rate = self._scheduled()[0]
        momentum = float(group.get("momentum", 0.0))
        return rate / max(1.0 - momentum, 1e-3) * total_steps

    def state_dict(self) -> dict[str, Any]:
        """Multipliers and start learning rates by optimizer and group."""
        return {
            "wd_mult": [list(m) for m in self._mults],
            "start_lr": [list(r) for r in self._start_lr],
            "largest": self._largest,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what :meth:`state_dict` gave.

        Raises:
            ValueError: the optimizers have another number of groups.
        """
        have, saved = [len(o.param_groups) for o in self.optimizers], [len(m) for m in state["wd_mult"]]
        if have != saved:
            raise ValueError(
                f"schedule state is for parameter groups {saved}, the optimizer has {have} (per optimizer)"
            )
        self._mults = [list(m) for m in state["wd_mult"]]
        self._start_lr = [list(r) for r in state["start_lr"]]
        self._largest = state["largest"]
        self._find()
