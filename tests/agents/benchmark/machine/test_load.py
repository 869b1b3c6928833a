"""How busy others keep the machine: what counts as theirs, and what as ours."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from lambda_rl.agents.benchmark.machine import load
from lambda_rl.agents.benchmark.machine.load import OthersMeter


def test_only_the_time_of_others_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, every, own = iter([0.0, 10.0]), iter([100.0, 115.0]), iter([3.0, 12.0])
    monkeypatch.setattr(load.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(load, "_cpu_seconds", lambda: next(every))
    monkeypatch.setattr(load, "_own_seconds", lambda: next(own))
    monkeypatch.setattr(load, "available_cores", lambda: 2)
    assert OthersMeter().share() == pytest.approx((15 - 9) / 10 / 2)


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs /proc")
def test_work_of_our_own_processes_is_ours() -> None:
    before, machine_before = load._own_seconds(), load._cpu_seconds()
    burn = "import time\nwhile time.process_time() < 0.5: pass\ninput()"
    process = subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        stat = Path(f"/proc/{process.pid}/stat")
        while sum(map(int, stat.read_text().rsplit(")", 1)[1].split()[11:13])) < 40:
            time.sleep(0.01)
        assert load._own_seconds() - before > 0.3  # alive
    finally:
        process.communicate(b"\n")
    assert load._own_seconds() - before > 0.3  # ended
    machine_now = load._cpu_seconds()
    assert machine_now is not None
    assert machine_before is not None
    assert machine_now - machine_before > 0.3
