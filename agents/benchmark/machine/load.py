"""Whether others are using the machine."""

from __future__ import annotations

import os
import time
from pathlib import Path

from lambda_rl.envs.hardware.device import available_cores

BUSY = 0.1
"""Share of the cores that other processes may use before the numbers are no longer believed."""


def _cpu_seconds() -> float | None:
    """Seconds that the cores which this process may use were busy since the machine started, stolen time included."""
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return None
    total = 0
    for line in lines:
        name, *values = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in mine:
            user, nice, system, _, _, irq, softirq, steal = (int(value) for value in values[:8])
            total += user + nice + system + irq + softirq + steal
    return total / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """CPU seconds of this process and of all that descend from it, the ended ones too."""
    parents: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue  # it ended meanwhile
        parents[int(entry.name)] = int(fields[1])
        seconds[int(entry.name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    total, left = 0.0, [os.getpid()]
    while left:
        process = left.pop()
        total += seconds.get(process, 0.0)
        left += [child for child, parent in parents.items() if parent == process]
    return total


class OthersMeter:
    """The share of the cores that other processes use, from when it is made.

    The load average lags by a minute, so it is not asked where ``/proc/stat`` is there to count the time that the
    cores were busy; this process and its children are taken off.
    """

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._all, self._own = _cpu_seconds(), 0.0
        if self._all is not None:
            self._own = _own_seconds()

    def share(self) -> float:
        """0 … 1, of all cores that this process may use; elsewhere than on Linux the load average over the cores."""
        now = _cpu_seconds()
        if now is None or self._all is None:
            return min(1.0, os.getloadavg()[0] / available_cores()) if hasattr(os, "getloadavg") else 0.0
        others = (now - self._all) - (_own_seconds() - self._own)
        return min(1.0, max(0.0, others / (time.perf_counter() - self._start) / available_cores()))


def others_share(seconds: float = 1.0) -> float:
    """The share of the cores that other processes use during the next ``seconds``."""
    meter = OthersMeter()
    time.sleep(seconds)
    return meter.share()


def check_quiet(share: float, when: str) -> None:
    """Refuses a busy machine.

    Raises:
        ValueError: other processes use more than :data:`BUSY` of the cores.
    """
    if share > BUSY:
        raise ValueError(
            f"the machine is busy: {when}, other processes used {share:.0%} of the {available_cores()} cores "
            f"(at most {BUSY:.0%} is believed); wait, or say --force"
        )
