"""Golden records: what the program gave before its rooms were rebuilt, to the last bit.

``python tests/helpers/golden.py tests/golden`` writes them anew; do that only where numbers are meant to change, and
say why in the commit.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lambda_rl.envs.data import load_train
from lambda_rl.envs.judging import ScheduleJob, run_schedules
from lambda_rl.envs.tasks.suites import Suite, TaskList, load_suite, suite_names
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv
from lambda_rl.schedules.text_form import parse_schedule

DECISIONS = 4
DRAWS = 12


def tasks() -> list[Task]:
    """Two networks x two optimizers x three penalties, and one of decoupled decay, one augmented, one that diverges."""
    made = []
    for network, width, rate in (("mlp", 8, 0.05), ("cnn3", 4, 0.02)):
        for optimizer in ("sgd", "adamw"):
            for penalty in ("l2", "l1", "l0.5"):
                made.append(
                    Task(
                        network=network,
                        width=width,
                        train_size=200,
                        val_size=60,
                        label_noise=0.2,
                        optimizer=optimizer,
                        learning_rate=rate if optimizer == "sgd" else 1e-3,
                        batch_size=16,
                        steps=20,
                        decisions=DECISIONS,
                        penalty=penalty,
                        seed=len(made),
                    )
                )
    base = made[0]
    made.append(dataclasses.replace(base, optimizer="adamw", decay="decoupled", learning_rate=1e-3, seed=20))
    made.append(dataclasses.replace(base, augment=True, seed=21))
    made.append(dataclasses.replace(base, learning_rate=1e4, seed=22))
    return made


def _hex(values: Any) -> list[Any]:
    array = np.asarray(values, np.float64)
    return [float(v).hex() for v in array.ravel()]


def _digest(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def environment_traces() -> dict[str, Any]:
    """Observations, rewards, losses and λ of every task in one vector environment, under fixed actions."""
    torch.set_num_threads(1)
    listed = tasks()
    env = CifarLambdaVectorEnv(
        len(listed),
        suite=Suite("golden", "agent", TaskList(tuple(listed))),
        data="synthetic",
        precision="fp32",
    )
    observations, _ = env.reset(seed=0, options={"tasks": listed})
    actions = np.random.default_rng(0).uniform(-1, 1, (DECISIONS, len(listed), 1)).astype(np.float32)
    record = {"start": [_digest(row) for row in observations], "steps": []}
    alive = np.ones(len(listed), bool)
    for action in actions:
        observations, rewards, ended, _, infos = env.step(action)
        seen = np.stack([infos["final_obs"][i] if ended[i] else observations[i] for i in range(len(listed))])
        final = infos.get("final_info", {})
        step = []
        for i in range(len(listed)):
            if not alive[i]:
                step.append(None)
                continue
            at = final if ended[i] else infos
            keys = ("train_loss", "val_loss", "val_accuracy", "outer_loss", "log_lam")
            log_lam = _hex([at[key][i] for key in keys])
            step.append({"observation": _digest(seen[i]), "reward": float(rewards[i]).hex(), "told": log_lam})
        record["steps"].append(step)
        alive &= ~ended
    env.close()
    return record


def judged_traces() -> list[dict[str, Any]]:
    """Every task under a constant and the gap rule, judged as the comparison does."""
    torch.set_num_threads(1)
    specs = {
        "constant:0.03": "constant:0.03",
        "gap:initial=0.01,factor=2,threshold=0.05": "gap:initial=0.01,factor=2,threshold=0.05",
        "learned": "learned:cifar-mlp",  # the default when the records were made
    }
    jobs = [
        ScheduleJob(task, name, parse_schedule(spec))
        for name, spec in specs.items()
        for task in tasks()
        if name != "learned" or task.decay == "coupled"
    ]
    results = run_schedules(jobs, load_train("synthetic"), "held-out", config=TrainerConfig(precision="fp32"))
    return [
        {
            "schedule": result.schedule,
            "seed": result.task.seed,
            "outer": _hex([result.outer_accuracy, result.outer_loss]),
            "diverged": result.diverged,
            "val_loss": _hex(result.history["val_loss"]),
            "log_lam": _hex(result.history["log_lam"]),
        }
        for result in results
    ]


def suite_samples(fields: Sequence[str] | None = None) -> dict[str, Any]:
    """All built-in suites: their tasks, or the first draws of two seeds.

    Args:
        fields: fields of a task to record; None: all. A file that was written before a field came lacks it.
    """
    found: dict[str, Any] = {}

    def recorded(task: Task) -> dict[str, Any]:
        return {
            name: value for name, value in dataclasses.asdict(task).items() if not fields or name in fields
        }

    for name in suite_names():
        suite = load_suite(name)
        rngs = [np.random.default_rng(seed) for seed in (0, 1)]
        found[name] = {
            "fold": suite.fold,
            "tasks": [recorded(task) for task in suite.tasks],
            "samples": [[recorded(suite.sample(rng)) for _ in range(DRAWS)] for rng in rngs],
        }
    return found


def machine() -> dict[str, str]:
    """What numbers depend on to the last bit."""
    return {
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "vendor": vendor(),
    }


def vendor() -> str:
    """The CPU's model, where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def write(folder: Path) -> None:
    """Writes both files."""
    traces = {"machine": machine(), "environment": environment_traces(), "judged": judged_traces()}
    (folder / "traces.json").write_text(json.dumps(traces, indent=1) + "\n", encoding="utf-8")
    text = json.dumps(suite_samples(), separators=(",", ":"), sort_keys=True)
    (folder / "suites.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
