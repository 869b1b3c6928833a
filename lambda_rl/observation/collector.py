"""Signals of a training run: one number each, collected between decisions, read from their device when one is due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lambda_rl.checks import shown

Number = float | Tensor
"""A signal as it was given: a tensor elsewhere is not read before it has to be, since that waits for its device."""

_AVERAGED = ("train_loss", "train_accuracy")


def one_number(name: str, value: Any) -> Number:
    """A value checked to be one real number; a tensor that is not on the CPU stays one.

    Args:
        name: for the message.
        value: a number of any library, or a tensor of one element on any device.

    Raises:
        ValueError: it is no such number; the message begins with the name.
    """
    if isinstance(value, Tensor):
        on_cpu, floating = value.device.type == "cpu", value.dtype.is_floating_point
        if (
            on_cpu
            and floating
            and value.layout == torch.strided
            and not value.is_nested
            and value.numel() == 1
        ):
            return value.item()  # nothing is waited for, and a number costs less than a copy of the tensor
        readable = value.layout == torch.strided and not (
            value.is_complex() or value.is_meta or value.is_quantized or value.is_nested
        )
        if not readable or value.numel() != 1:
            kind = f"{value.dtype} tensor" + ("" if value.is_nested else f" {list(value.shape)}")
            raise ValueError(f"{name} must be one number, got a {kind} ({value.layout}, {value.device})")
        return value.detach()
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise ValueError(f"{name} must be one number, got {shown(value)}") from error


def numbers(signals: Mapping[str, Number]) -> dict[str, float]:
    """Signals as plain numbers; each device is waited for once."""
    waiting: dict[torch.device, list[str]] = {}
    for name, signal in signals.items():
        if isinstance(signal, Tensor) and signal.device.type != "cpu":
            waiting.setdefault(signal.device, []).append(name)
    read: dict[str, float] = {}
    for device, names in waiting.items():
        # MPS has no double precision
        dtype = torch.float32 if device.type == "mps" else torch.float64
        together = torch.stack([torch.as_tensor(signals[name]).reshape(()).to(dtype) for name in names])
        read.update(zip(names, together.tolist(), strict=True))
    return {name: read[name] if name in read else float(signal) for name, signal in signals.items()}


class Collector:
    """The signals of several calls between two decisions.

    ``train_loss`` and ``train_accuracy`` are averaged over the calls, weighted by the progress that each covers; of
    all other signals the last one counts. Nothing waits for a device before :meth:`read`.
    """

    def __init__(self) -> None:
        # signal: (progress covered, mean or last value)
        self._collected: dict[str, tuple[float, Number]] = {}

    def add(self, given: Mapping[str, Number], covered: float, *, read_now: bool) -> None:
        """Takes the signals of one call.

        Args:
            given: from :func:`one_number`.
            covered: the progress that the call covers, 0 or more.
            read_now: they are read before the loop goes on, so that no copy is needed.
        """
        for name, signal in given.items():
            if isinstance(signal, Tensor) and not (read_now and signal.is_floating_point()):
                # A copy, for the loop may go on adding to its tensor; in double, so that a mean of tensors is
                # the one of numbers (MPS has none).
                dtype = torch.float32 if signal.device.type == "mps" else torch.float64
                signal = signal.to(dtype, copy=True)
                signal = signal.reshape(()) if signal.ndim else signal
            weight, mean = self._collected.get(name, (0.0, signal))
            if name in _AVERAGED and weight > 0:
                weight += covered
                self._collected[name] = (weight, mean + (signal - mean) * (covered / weight))
            else:
                self._collected[name] = (covered, signal)

    def read(self) -> dict[str, float]:
        """What was collected, as plain numbers; waits for their devices."""
        return numbers({name: value for name, (_, value) in self._collected.items()})

    def clear(self) -> None:
        """Begins a new interval."""
        self._collected.clear()

    def state_dict(self) -> dict[str, list[float]]:
        """(Progress covered, value) of each signal; waits for their devices."""
        return {name: [self._collected[name][0], value] for name, value in self.read().items()}

    def load_state_dict(self, state: Mapping[str, Sequence[float]]) -> None:
        """Takes back what :meth:`state_dict` gave."""
        self._collected = {name: (float(w), float(v)) for name, (w, v) in state.items()}
