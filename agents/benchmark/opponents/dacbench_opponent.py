"""DACBench's SGD environment as an opponent, in processes of its own and, where told, in a Python of its own.

What had to be changed to compare it: its data set is our images (uint8 arrays under a torchvision data set class, as
its own CIFAR-10), as many as an interval takes, so that one epoch, its step, is one interval; its network is the
task's, with a log-softmax; its optimizer, always AdamW, is replaced by the task's SGD; its validation images are as
many as ours of both kinds; its action sets the learning rate, which is held. It never resets while it is timed. Nothing
within its step is changed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from lambda_rl.agents.benchmark.timing import Row
from lambda_rl.envs.data import ImageData
from lambda_rl.envs.tasks.task import Task

WORKER = Path(__file__).with_name("dacbench_worker.py")


def find_python(wanted: str) -> str | None:
    """The Python to run it with: the one named, this one if it has ``dacbench``, or None.

    Raises:
        ValueError: there is no such program.
    """
    if wanted:
        if shutil.which(wanted) is None:
            raise ValueError(f"--dacbench-python {wanted}: there is no such program")
        return wanted
    return sys.executable if importlib.util.find_spec("dacbench") else None


class _Worker:
    """One process that steps one environment."""

    def __init__(self, python: str, spec: dict[str, object], errors: Path) -> None:
        self._errors = errors
        with errors.open("w") as file:
            self._process = subprocess.Popen(
                [python, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True
            )
        self.ask(json.dumps(spec))

    def ask(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # answer() tells why it ended
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def answer(self) -> dict[str, int | str]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            lines = self._errors.read_text().strip().splitlines() or ["no message"]
            raise ValueError(f"DACBench's process ended: {lines[-1]}")
        return dict(json.loads(line))

    def close(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # closing writes what is left
                self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def dacbench(
    python: str, data: ImageData, task: Task, outer_size: int, *, processes: int, decisions: int
) -> tuple[Row, dict[str, int | str]]:
    """Processes with one environment and one thread each; a run of the row is ``decisions`` steps of each.

    Returns:
        The row, and the versions of dacbench and torch that it runs with.

    Raises:
        ValueError: it cannot be started, with its last line of output.
    """
    train = task.batch_size * task.boundary(1)
    count = train + task.val_size + outer_size
    chosen = torch.arange(count) % len(data.labels)
    images = data.images[chosen].float()
    if task.resolution != images.shape[-1]:
        images = F.avg_pool2d(images, images.shape[-1] // task.resolution)
    folder = tempfile.TemporaryDirectory(prefix="lambda-rl-")
    file = Path(folder.name) / "images.npz"
    pixels = images.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    np.savez(file, images=pixels, labels=data.labels[chosen].numpy())
    spec: dict[str, object] = {
        "images": str(file),
        "train": train,
        "num_classes": data.num_classes,
        **{
            name: getattr(task, name)
            for name in ("network", "width", "resolution", "batch_size", "learning_rate", "momentum")
        },
    }
    workers = [_Worker(python, spec, Path(folder.name) / f"errors{i}.txt") for i in range(processes)]

    def close() -> None:
        for worker in workers:
            worker.close()
        folder.cleanup()

    try:
        versions = [worker.answer() for worker in workers]
    except ValueError:
        close()
        raise

    def steps() -> int:
        for worker in workers:
            worker.ask(str(decisions))
        return sum(int(worker.answer()["steps"]) for worker in workers)

    return Row(steps, close=close), versions[0]
