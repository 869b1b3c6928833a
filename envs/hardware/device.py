"""Where inner training runs, and in which number format."""

from __future__ import annotations

import os

import torch

PRECISIONS = ("auto", "fp32", "bf16", "fp64")


def resolve_device(name: str) -> torch.device:
    """``cpu``, ``cuda``, ``cuda:N`` or ``auto`` (a GPU if there is one).

    Raises:
        ValueError: unknown name, or no such GPU on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"unknown device {name!r}; allowed are auto, cpu, cuda, cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device {name!r} asked for, but torch finds no GPU on this machine; use --device cpu"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {name!r} asked for, but there are {torch.cuda.device_count()} GPUs (from cuda:0)"
        )
    return device


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_has_bf16() -> bool:
    """Whether bf16 matrix products run in hardware (AMX or AVX512-BF16); elsewhere they are slower than fp32."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # torch 2.4 does not tell: then fp32
    return bool(supported is not None and supported())


def resolve_precision(
    name: str, device: torch.device, convolutional: bool
) -> tuple[torch.dtype, torch.dtype]:
    """Number formats for master weights and for computation.

    ``auto`` is bf16 for convolutional networks where the hardware has it, and on any GPU that has it; small MLPs on
    a CPU gain nothing from it and stay in fp32.

    Returns:
        (dtype of parameters and optimizer state, dtype of activations and matrix products).
    """
    if name not in PRECISIONS:
        raise ValueError(f"unknown precision {name!r}; allowed are {', '.join(PRECISIONS)}")
    if name == "auto":
        on_gpu = device.type == "cuda"
        bf16 = torch.cuda.is_bf16_supported() if on_gpu else convolutional and _cpu_has_bf16()
        name = "bf16" if bf16 else "fp32"
    compute = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp64": torch.float64}[name]
    return (torch.float64 if name == "fp64" else torch.float32), compute
