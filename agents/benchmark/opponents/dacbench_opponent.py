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
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from lambda_rl.agents.benchmark.opponents.base import Opponent, Setting
from lambda_rl.agents.benchmark.opponents.torch_layers import LAYERS
from lambda_rl.agents.benchmark.timing import Row
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.run import network_of

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


class DACBench(Opponent):
    """Processes with one environment and one thread each; a run of the row is a few steps of each."""

    label = "DACBench"

    def missing(self, setting: Setting) -> str:
        """See :meth:`Opponent.missing`."""
        if find_python(setting.dacbench_python):
            return ""
        return "DACBench is not installed: pip install 'lambda-rl[bench]', or give --dacbench-python"

    def rows(self, task: Task, setting: Setting) -> Iterator[tuple[str, Row]]:
        """See :meth:`Opponent.rows`; in fp32 alone, on the CPU."""
        python = find_python(setting.dacbench_python)
        if python and "fp32" in setting.precisions:
            yield self.label, _row(python, task, setting)


def _row(python: str, task: Task, setting: Setting) -> Row:
    decisions = 1 if setting.tiny else 3
    folder = tempfile.TemporaryDirectory(prefix="lambda-rl-")
    spec = _spec(task, setting, Path(folder.name) / "images.npz")
    errors = [Path(folder.name) / f"errors{i}.txt" for i in range(setting.processes)]
    workers = [_Worker(python, spec, file) for file in errors]

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

    return Row(steps, close=close, versions={name: str(value) for name, value in versions[0].items()})


def _spec(task: Task, setting: Setting, file: Path) -> dict[str, object]:
    """What a worker is told; writes the images that it reads."""
    data = setting.images
    train = task.batch_size * task.boundary(1)
    chosen = torch.arange(train + task.val_size + setting.outer_size) % len(data.labels)
    images = data.images[chosen].float()
    if task.resolution != images.shape[-1]:
        images = F.avg_pool2d(images, images.shape[-1] // task.resolution)
    pixels = images.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    np.savez(file, images=pixels, labels=data.labels[chosen].numpy())
    network = network_of(task, data.num_classes, data.images.shape[1])
    return {
        "images": str(file),
        "train": train,
        "num_classes": data.num_classes,
        "layers": LAYERS[type(network)](network),
        "batch_size": task.batch_size,
        "learning_rate": task.learning_rate,
        "momentum": task.momentum,
    }
