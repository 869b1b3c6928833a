"""Signals averaged over the processes of a distributed run, so that every rank comes to the same λ."""

from __future__ import annotations

import hashlib
import json
import math
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.distributed as dist

from lambda_rl.checks import shown


def active() -> bool:
    """Whether this process is one of several of an initialised default process group."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def speaks() -> bool:
    """Whether this process prints for all of them: it is alone, or the first."""
    return not active() or dist.get_rank() == 0


def _device() -> torch.device:
    """Where the backend of the default group takes its tensors."""
    backend = str(dist.get_backend())
    if "nccl" in backend and "gloo" not in backend:
        return torch.device("cuda", torch.cuda.current_device())
    if "xccl" in backend:
        return torch.device("xpu", torch.xpu.current_device())
    return torch.device("cpu")


def _digest(value: Any) -> float:
    """A number for a plain value, with 48 bits of its hash: exact as a float."""
    text = json.dumps(value, sort_keys=True)
    return float(int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big"))


class Ranks:
    """The processes that train one network together, seen from one of them.

    They speak in a process group of their own, made when first needed, so that nothing here gets between the
    gradients that others reduce at the same time. Every rank must call each method at the same point of the run.

    Args:
        distributed: "auto": all ranks, if there are several; False: this process is alone.

    Raises:
        ValueError: another option.
    """

    def __init__(self, distributed: Literal["auto", False]) -> None:
        if distributed is not False and distributed != "auto":
            raise ValueError(f'distributed must be "auto" or False, got {shown(distributed)}')
        self._wanted = distributed == "auto"
        # Weak: torch keeps its groups until destroy_process_group(); one that outlives it is torn down while the
        # interpreter ends, where a thread of gloo may abort the process.
        self._world: weakref.ref[Any] | None = None
        self._group: weakref.ref[Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Process groups cannot be copied; a copy makes its own.
        return {"_wanted": self._wanted, "_world": None, "_group": None}

    @property
    def several(self) -> bool:
        """Whether there are others to agree with."""
        return self._wanted and active()

    def agree(self, arguments: Mapping[str, Any]) -> None:
        """Compares the arguments of all ranks.

        Args:
            arguments: plain values by name; the names must be the same on all ranks.

        Raises:
            ValueError: on every rank, if they differ anywhere; names them.
        """
        table = self._gathered([_digest(value) for value in arguments.values()])
        columns = zip(*table, strict=True)
        other = [name for name, column in zip(arguments, columns, strict=True) if len(set(column)) > 1]
        if other:
            mine = ", ".join(f"{name}: {shown(arguments[name])}" for name in other)
            raise ValueError(
                "each rank must make the schedule with the same arguments; they differ in "
                f"{', '.join(other)} (on rank {dist.get_rank()}: {mine})"
            )

    def mean(
        self, values: Sequence[float | None], same: Mapping[str, float] | None = None
    ) -> list[float | None]:
        """The mean of each number over the ranks that have it.

        One ``all_gather`` of ``2 · len(values) + len(same)`` numbers; every rank gets the same answer to the last bit.

        Args:
            values: this rank's, as many on each; None is a number that it does not have.
            same: what must be equal on all ranks (to 1e-6 of itself), by name.

        Returns:
            Means; None where no rank has the number. A NaN of any rank gives NaN.

        Raises:
            ValueError: on every rank, if something of ``same`` differs.
            RuntimeError: a rank did not come, or is gone.
        """
        same = same or {}
        given = [0.0 if value is None else value for value in values]
        there = [0.0 if value is None else 1.0 for value in values]
        table = self._gathered([*same.values(), *given, *there])
        columns = list(zip(*table, strict=True))
        for name, column in zip(same, columns, strict=False):
            if not all(math.isclose(value, column[0], rel_tol=1e-6) for value in column):
                raise ValueError(
                    f"the ranks do not agree on {name}: {min(column):g} to {max(column):g}. Each must make the "
                    "schedule from the same arguments or state and call step() at the same steps, or their networks "
                    "drift apart"
                )
        sums = [sum(column) for column in columns[len(same) :]]
        totals, counts = sums[: len(values)], sums[len(values) :]
        return [t / n if n else None for t, n in zip(totals, counts, strict=True)]

    def _own_group(self) -> Any:
        """The group of these ranks, made anew where the default group is another than before."""
        group = self._group() if self._group else None
        if group is None or self._world is None or self._world() is not dist.group.WORLD:
            group = dist.new_group()
            self._world, self._group = weakref.ref(dist.group.WORLD), weakref.ref(group)
        return group

    def _gathered(self, numbers: Sequence[float]) -> list[list[float]]:
        """The numbers of every rank, ``[ranks, len(numbers)]``."""
        group = self._own_group()
        mine = torch.tensor(numbers, dtype=torch.float64, device=_device())
        rows = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
        try:
            dist.all_gather(rows, mine, group=group)
            return torch.stack(rows).tolist()
        except RuntimeError as error:
            raise RuntimeError(
                f"not every rank came to the schedule's step(), which each must call as often as the others: {error}"
            ) from error
