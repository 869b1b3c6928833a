"""What Weights & Biases is told of a training, of its comparison and of one network: read from the offline files."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb
from rich.console import Console
from tiny_runs import same_policy, tiny_config
from tiny_schedules import KAPPA_CARD, make_policy
from wandb.proto.wandb_internal_pb2 import Record

from lambda_rl import LearnedSchedule, split_parameters
from lambda_rl.agents.comparison.command import CompareConfig, run_comparison
from lambda_rl.agents.ppo.run import train
from lambda_rl.agents.single_run import NetworkConfig, train_one
from lambda_rl.envs.tasks.task import Task
from lambda_rl.seeing import to_wandb

TASK = Task(width=4, train_size=64, val_size=40, steps=6, decisions=3, batch_size=16)


@dataclass
class Told:
    """What a run's file holds."""

    run: Any = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    artifacts: list[Any] = field(default_factory=list)

    @property
    def keys(self) -> set[str]:
        return {key for row in self.rows for key in row if not key.startswith("_")}


def records(path: Path) -> Iterator[Record]:
    """The records of a ``.wandb`` file: LevelDB's log format after a header of 7 bytes."""
    content, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        size, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        parts += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def told(folder: Path) -> Told:
    """Reads the only run in a folder; its own process may still be writing."""
    until = time.monotonic() + 30.0
    while True:
        (path,) = folder.glob("wandb/offline-run-*/*.wandb")
        found = list(records(path))
        if any(record.HasField("exit") for record in found) or time.monotonic() > until:
            break
        time.sleep(0.1)
    result = Told()
    for record in found:
        if record.HasField("run"):
            result.run = record.run
        if record.HasField("history"):
            result.rows.append(values(record.history.item))
        result.summary |= values(record.summary.update)
        if record.HasField("metric"):
            result.metrics[record.metric.name or record.metric.glob_name] = record.metric
        if record.HasField("artifact"):
            result.artifacts.append(record.artifact)
    return result


def values(items: Iterable[Any]) -> dict[str, Any]:
    """Values by key; of nested ones, such as tables, by the outermost key the last part."""
    return {item.key or item.nested_key[0]: json.loads(item.value_json) for item in items}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracked training of two validations."""
    folder = tmp_path_factory.mktemp("tracked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.delenv("WANDB_TAGS", raising=False)
        return train(
            tiny_config(folder, "tracked", wandb="offline", wandb_tags=("mine",), wandb_notes="a try"),
            show_progress=False,
        )


def test_a_training(trained: Path) -> None:
    run = told(trained)
    about = run.run
    assert (about.project, about.display_name, about.run_group, about.job_type) == (
        "lambda-rl", "tracked", "tracked", "train",
    )  # fmt: skip
    assert list(about.tags) == ["mine", "quick", "tiny.yaml", "synthetic", "seed0"]
    assert about.notes == "a try"
    assert {
        "decisions", "rollout/return_mean", "train/loss", "time/decisions_per_second", "validation/score",
        "validation/best_score", "validation/best_constant_score", "validation/outer_accuracy",
        "validation/trajectories", "validation/chart_table",
    } <= run.keys  # fmt: skip
    assert [row["decisions"] for row in run.rows if "validation/score" in row] == [48, 96]
    line = [
        row["validation/best_constant_score"] for row in run.rows if "validation/best_constant_score" in row
    ]
    assert len(line) == 2
    assert len(set(line)) == 1
    assert run.metrics["validation/score"].summary.max
    assert run.metrics["validation/outer_loss"].summary.min
    assert run.metrics["*"].step_metric == "decisions"
    (artifact,) = (artifact for artifact in run.artifacts if artifact.type == "model")  # tables are some, too
    assert artifact.name == "policy-tracked"
    assert set(artifact.aliases) == {"latest", "best"}
    assert "fingerprint" in artifact.description
    assert {entry.path for entry in artifact.manifest.contents} == {
        "policy.safetensors",
        "card.txt",
        "metrics.csv",
    }
    metadata = json.loads(artifact.metadata)
    assert metadata["options"]["suite"] == "tiny.yaml"
    assert metadata["score"] == pytest.approx(
        max(r["validation/score"] for r in run.rows if "validation/score" in r)
    )


def test_watching_changes_nothing(trained: Path, tmp_path: Path) -> None:
    """The best constant is measured where somebody watches, and costs the agent no random number."""
    assert same_policy(trained, train(tiny_config(tmp_path, "alone"), show_progress=False))


def test_a_comparison_is_in_the_group_of_the_training(trained: Path, tmp_path: Path) -> None:
    suite = str(trained.parent.parent / "tiny.yaml")
    out = tmp_path / "out"
    run_comparison(
        CompareConfig(
            out=str(out), policy=(str(trained / "policy.safetensors"),), suite=suite, seeds=1, constants=(0.001, 0.01),
            families=(), tune="none", threads=1, wandb="offline",
        ),
        Console(quiet=True),
    )  # fmt: skip
    run = told(out)
    assert (run.run.run_group, run.run.job_type) == ("tracked", "compare")
    assert run.run.display_name == "compare-tracked-tiny"
    assert "compare/learned" not in " ".join(run.keys)  # no chart of one point a schedule
    assert {
        "compare/schedules", "compare/schedules_bars_table", "compare/report", "compare/trajectories",
        "compare/differences", "compare/constants",
    } <= run.keys  # fmt: skip
    folder = next(out.glob("wandb/offline-run-*"))
    table = json.loads(next(folder.rglob("compare/schedules_*.table.json")).read_text())
    assert table["columns"][:4] == ["schedule", "kind", "test_accuracy_mean", "difference_mean"]
    kinds = {row[0]: row[1] for row in table["data"]}
    assert kinds["constant:0.001"] == kinds["constant:0.01"] == "constant"
    assert list(kinds.values()).count("learned") == 1
    page = next(folder.rglob("compare/report_*.html")).read_text(encoding="utf-8")
    assert page == (out / "report.html").read_text(encoding="utf-8")
    assert any(key.endswith("/test_accuracy_mean") for key in run.summary)
    assert str(tmp_path) not in json.dumps([run.rows, run.summary])


def test_one_network(tmp_path: Path) -> None:
    config = NetworkConfig(
        "pull-down:0.1,0.001", TASK, out=str(tmp_path), wandb="offline", wandb_group="tries"
    )
    result = train_one(config, Console(quiet=True))
    run = told(tmp_path)
    assert (run.run.run_group, run.run.job_type) == ("tries", "run")
    assert list(run.run.tags) == ["mlp", "pull-down"]
    rows = [row for row in run.rows if "lambda" in row]
    assert [row["decisions"] for row in rows] == [1, 2, 3]
    assert [row["lambda"] for row in rows] == pytest.approx([10**x for x in result.history["log_lam"]])
    assert run.summary["test_accuracy"] == result.test_accuracy
    assert "history" in run.keys
    written = {path.name for path in tmp_path.iterdir()}
    train_one(dataclasses.replace(config, wandb="disabled"), Console(quiet=True))
    assert {path.name for path in tmp_path.iterdir()} == written


def test_a_deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's loop with a run of its own: rows of the loop have λ in them, and an alert says what the guard did."""
    monkeypatch.setenv("WANDB_SILENT", "true")
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    optimizer = torch.optim.SGD(split_parameters(model, 1e-4), lr=0.1)
    with wandb.init(
        mode="offline",
        dir=tmp_path,
        project="mine",
        group="tries",
        job_type="deploy",
        tags=["any-loop"],
        notes="n",
    ) as run:
        schedule = LearnedSchedule(
            optimizer,
            policy=make_policy(card=KAPPA_CARD, bias=-5.0),
            total_steps=40,
            num_train=400,
            val_size=100,
            num_classes=3,
            batch_size=10,
            model=model,
        )
        schedule.on_decision(to_wandb(run))
        for step in range(1, 41):
            rises = min(step / 20, 1.0)  # validation falls from its best while training improves
            schedule.step(
                train_loss=1.0 - 0.02 * step, train_accuracy=0.5 + 0.01 * step, val_loss=0.8 + rises,
                val_accuracy=0.7 - 0.3 * rises, progress=step / 40,
            )  # fmt: skip
            run.log({"loss": 1.0 - 0.02 * step})
    found = told(tmp_path)
    assert (found.run.project, found.run.run_group, found.run.job_type) == ("mine", "tries", "deploy")
    assert (list(found.run.tags), found.run.notes) == (["any-loop"], "n")
    assert found.keys == {"loss"} | {
        f"lambda/{name}" for name in ("value", "kappa", "progress", "asked", "held")
    }
    rows = [row for row in found.rows if "lambda/value" in row]
    assert all("loss" in row for row in rows)  # one row, not two
    assert [row["lambda/value"] for row in rows][-1] == pytest.approx(schedule.value)
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    alerts = [record.alert for record in records(path) if record.HasField("alert")]
    assert [alert.title for alert in alerts] == ["λ is held: overfitting"]
