"""What the machine is, and what it can do."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from lambda_rl.agents.record.provenance import processor
from lambda_rl.envs.hardware.device import available_cores

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Peaks:
    """What a number of threads reach together, each on arrays of its own.

    Attributes:
        threads: how many.
        flops: floating-point operations a second of square matrix products, the best of a few sizes, by precision.
        near: bytes a second, read and written, of copies within a core's second-level cache.
        far: the same of copies beyond a core's own caches, 32 MiB: as much as the images that runs read.
    """

    threads: int
    flops: dict[str, float]
    near: float
    far: float


def describe(device: torch.device) -> dict[str, object]:
    """Processor, cores and device, for the report."""
    found: dict[str, object] = {
        "processor": processor(),
        "cores": available_cores(),
        "system": f"{platform.system()} {platform.release()}",
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "l2_bytes": l2_bytes(),
    }
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def l2_bytes() -> int:
    """Second-level cache of one core; 1 MiB where the system does not tell."""
    try:
        text = Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text().strip()
        return int(text[:-1]) * {"K": 1024, "M": 1024**2}[text[-1]]
    except (OSError, KeyError, ValueError):
        return 1024**2


def measure_peaks(threads: int, device: torch.device, *, seconds: float = 0.2, tiny: bool = False) -> Peaks:
    """Measures products and copies.

    Args:
        threads: threads of Python, each computing on one core; 1 on a GPU.
        device: where.
        seconds: how long each size is measured, at least.
        tiny: so small that it takes no time; the numbers mean nothing.
    """
    sizes = (64,) if tiny else (512, 1024, 2048) if device.type == "cpu" else (4096, 8192)
    near = l2_bytes() // 4  # source and target fill half of the cache
    far = 2**20 if tiny else 2**25 if device.type == "cpu" else 2**28

    def product(size: int, dtype: torch.dtype) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
            out = torch.empty_like(a)
            return lambda: torch.mm(a, b, out=out)

        return prepare

    def copy(size: int) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            source, target = (torch.zeros(size // 4, device=device) for _ in range(2))
            return lambda: target.copy_(source)

        return prepare

    def rate(prepare: Callable[[], Callable[[], object]]) -> float:
        return _calls_per_second(prepare, threads, seconds, device)

    flops = {
        name: max(2.0 * size**3 * rate(product(size, dtype)) for size in sizes)
        for name, dtype in DTYPES.items()
    }
    far_rate = 2.0 * far * rate(copy(far))
    near_rate = 2.0 * near * rate(copy(near)) if device.type == "cpu" else far_rate
    return Peaks(threads, flops, near_rate, far_rate)


def _calls_per_second(
    prepare: Callable[[], Callable[[], object]], threads: int, seconds: float, device: torch.device
) -> float:
    """Calls a second of all threads together; the best of three."""

    def work(call: Callable[[], object]) -> float:
        count, start = 0, time.perf_counter()
        while (passed := time.perf_counter() - start) < seconds / 3:
            for _ in range(8 if passed > 0.01 * seconds and count > 100 else 1):
                call()
                count += 1
            synchronize(device)
        return count / (time.perf_counter() - start)

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        # Each thread sets it for itself: MKL's setting belongs to a thread, and 1 here is not yet 1 there.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            calls = [prepare() for _ in range(threads)]
            return max(sum(pool.map(work, calls)) for _ in range(3))
    finally:
        torch.set_num_threads(before)


def synchronize(device: torch.device) -> None:
    """Waits for what was started on a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def element_bytes(precision: str) -> int:
    """Bytes of one number."""
    return DTYPES[precision].itemsize
