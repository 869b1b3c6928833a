"""The comparison: learned policies, tuned hand-designed schedules and constants on the same tasks and seeds.

All randomness of an inner run comes from its task and seed (common random numbers), so schedules of one task and
seed share initial weights, subset, label noise and minibatches, and their difference is theirs alone. The test part
is read after a run's schedule has finished, and nothing is chosen with it but what is named hindsight.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lambda_rl.agents.provenance import provenance
from lambda_rl.agents.summary import NO_PENALTY, Plan, summarise
from lambda_rl.agents.tuning import CONSTANT_GRID, UNTUNED, Tuned, check_constants, constant_name
from lambda_rl.envs.data import ImageData
from lambda_rl.envs.rollout import RunResult, ScheduleJob, run_schedules
from lambda_rl.envs.suites import Suite, suite_names
from lambda_rl.envs.trainer import TrainerConfig
from lambda_rl.files import atomic_write
from lambda_rl.parse import parse_schedule
from lambda_rl.policy_file import load_policy

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Entry:
    """A schedule that takes part.

    Attributes:
        name: in tables and files.
        kind: ``learned``, ``hand-designed`` or ``constant``.
        spec: as :func:`lambda_rl.parse.parse_schedule` takes it.
    """

    name: str
    kind: str
    spec: str


@dataclass
class Comparison:
    """What a comparison found.

    Attributes:
        results: one row per task x seed x schedule, the derived schedules among them; ``results.csv``.
        trajectories: one row per decision of each run that was really done; ``trajectories.csv``.
        summary: ``summary.json``.
    """

    results: pd.DataFrame
    trajectories: pd.DataFrame
    summary: dict[str, Any]

    def write(self, folder: str | Path) -> None:
        """Writes ``results.csv``, ``trajectories.csv`` and ``summary.json``."""
        folder = Path(folder)
        atomic_write(folder / "results.csv", self.results.to_csv(index=False))
        atomic_write(folder / "trajectories.csv", self.trajectories.to_csv(index=False, float_format="%.6g"))
        text = json.dumps(self.summary, indent=1, ensure_ascii=False, allow_nan=False)
        atomic_write(folder / "summary.json", text + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> Comparison:
        """Reads what :meth:`write` wrote.

        Raises:
            FileNotFoundError: a file is missing.
        """
        folder = Path(folder)
        for name in ("results.csv", "trajectories.csv", "summary.json"):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder} holds no comparison: {name} is missing")
        return cls(
            results=pd.read_csv(folder / "results.csv", keep_default_na=False, na_values=[""]).fillna(
                {"spec": ""}
            ),
            trajectories=pd.read_csv(folder / "trajectories.csv"),
            summary=json.loads((folder / "summary.json").read_text(encoding="utf-8")),
        )


def policy_names(policies: Sequence[str | Path]) -> list[str]:
    """``learned`` for a single policy, ``learned:<stem>`` for several, with the folder where stems are equal."""
    paths = [Path(path) for path in policies]
    if len(set(paths)) != len(paths):
        raise ValueError("the same policy file is named twice")
    if len(paths) == 1:
        return ["learned"]
    for depth in range(1, max((len(path.parts) for path in paths), default=0) + 1):
        names = ["/".join((*path.parts[-depth:-1], path.stem)) for path in paths]
        if len(set(names)) == len(names):
            return [f"learned:{name}" for name in names]
    return [f"learned:{path}" for path in paths]


def default_tuning_suite(suite: Suite, data: str = "") -> str:
    """The validation suite that hand-designed schedules are tuned on if the user names none.

    The one that belongs to a built-in suite; for a suite of the user's own, that of the same kind of network.
    """
    match = re.fullmatch(r"(.+?)-(held-out.*|validation)", suite.name)
    if match and f"{match[1]}-validation" in suite_names():
        return f"{match[1]}-validation"
    networks = {task.network for task in suite.tasks}
    if networks == {"mlp"} and data.startswith("synthetic"):
        return "quick-validation"
    kinds = {frozenset({"mlp"}): "mlp", frozenset({"cnn3"}): "cnn", frozenset({"resnet9"}): "resnet9"}
    return f"cifar-{kinds.get(frozenset(networks), 'mixed')}-validation"


def entries(
    policies: Sequence[str | Path],
    constants: Sequence[float],
    tuned: Tuned | None,
    *,
    lam_meaning: str = "",
    families: Sequence[str] = tuple(UNTUNED),
    extra: Sequence[str] = (),
) -> tuple[list[Entry], Plan]:
    """All schedules that take part, each once, and what the constants mean.

    Args:
        policies: policy files.
        constants: the grid.
        tuned: result of tuning; None: untuned settings, and the best single constant is chosen in hindsight.
        lam_meaning: for policies on tasks of the other meaning, see :class:`~lambda_rl.LearnedSchedule`.
        families: hand-designed schedules that take part.
        extra: further schedules, as :func:`lambda_rl.parse.parse_schedule` takes them.

    Raises:
        ValueError: a family that there is not, or a schedule named twice.
    """
    unknown = sorted(set(families) - set(UNTUNED))
    if unknown:
        raise ValueError(
            f"unknown hand-designed schedule {', '.join(unknown)}; allowed are {', '.join(UNTUNED)}"
        )
    grid = [constant_name(value) for value in check_constants(constants)]
    told = f",lam_meaning={lam_meaning}" if lam_meaning else ""
    listed = [
        Entry(name, "learned", f"learned:{path}{told}")
        for name, path in zip(policy_names(policies), policies, strict=True)
    ]
    for family in families:
        spec = UNTUNED[family] if tuned is None else tuned.best(family)
        listed.append(Entry(family, "hand-designed", spec))
    best = "" if tuned is None else tuned.best("constant")
    more = [best] if best and best not in grid else []
    listed += [Entry(name, "constant", name) for name in grid + more]
    listed.append(Entry(NO_PENALTY, "constant", "constant:0"))
    for spec in extra:
        if spec in {word for entry in listed for word in (entry.name, entry.spec)}:
            raise ValueError(f"schedule {spec} takes part already")
        listed.append(Entry(spec, "constant" if spec.startswith("constant:") else "hand-designed", spec))
    return listed, Plan(grid, best, {} if tuned is None else dict(tuned.inner_runs))


def check_meanings(policies: Sequence[str | Path], suite: Suite, lam_meaning: str) -> None:
    """Raises ``ValueError`` if a policy's λ means another thing than the suite's, and nobody said what to do."""
    for policy in policies:
        meaning = load_policy(policy).card.lam_meaning
        other = sorted({task.decay for task in suite.tasks} - {meaning})
        if other and meaning != "any" and not lam_meaning:
            raise ValueError(
                f"the λ of policy {policy} is {meaning} decay, suite {suite.name} has {' and '.join(other)}; say "
                f"--lam-meaning convert, or {meaning} to use λ unconverted"
            )


def compare(
    policies: Sequence[str | Path],
    suite: Suite,
    seeds: int,
    train: ImageData,
    test: ImageData,
    *,
    tuned: Tuned | None = None,
    constants: Sequence[float] = CONSTANT_GRID,
    lam_meaning: str = "",
    families: Sequence[str] = tuple(UNTUNED),
    extra: Sequence[str] = (),
    config: TrainerConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Runs every schedule on every task and seed.

    Args:
        policies: policy files; may be empty.
        suite: a list of tasks. Its tasks' seeds are the first ones; ``seeds - 1`` more follow each.
        seeds: per task.
        train: training images.
        test: test images.
        tuned: hand-designed schedules, tuned on the training side; None: untuned ones.
        constants: the grid.
        lam_meaning: see :func:`entries`, as for the next two.
        families: hand-designed schedules that take part.
        extra: further schedules.
        config: device, precision and threads of the inner runs.
        progress: called with (runs done, runs in all).

    Returns:
        Rows, trajectories and summary.

    Raises:
        ValueError: the suite is a distribution, fewer than 1 seed, tuning seeds that are test seeds, a policy file
            that cannot be used, or tasks that want more images than there are.
    """
    if not suite.tasks:
        raise ValueError(
            f"suite {suite.name} is a distribution; compare needs a list of tasks, as {suite.name}-held-out"
        )
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")
    check_meanings(policies, suite, lam_meaning)
    taking_part, plan = entries(
        policies, constants, tuned, lam_meaning=lam_meaning, families=families, extra=extra
    )
    runs = [
        (name, task.with_seed(task.seed + offset))
        for name, task in zip(suite.task_names, suite.tasks, strict=True)
        for offset in range(seeds)
    ]
    if tuned is not None and set(tuned.seeds) & {task.seed for _, task in runs}:
        raise ValueError(
            "the suite's seeds are among those that schedules were tuned with; give its tasks others"
        )
    notes = _notes(policies, suite, train, tuned, lam_meaning)
    config = config or TrainerConfig()
    started = time.monotonic()
    makers = {entry.name: parse_schedule(entry.spec) for entry in taking_part}
    jobs = [ScheduleJob(task, entry.name, makers[entry.name]) for entry in taking_part for _, task in runs]
    done = run_schedules(jobs, train, suite.fold, test=test, config=config, progress=progress)
    seconds = time.monotonic() - started

    rows, decisions = [], []
    for index, result in enumerate(done):
        entry, (name, _) = taking_part[index // len(runs)], runs[index % len(runs)]
        rows.append(_row(name, entry, result))
        decisions += _decisions(name, entry, result)
    results, summary = summarise(pd.DataFrame(rows), plan)
    summary = {
        "format_version": FORMAT_VERSION,
        "suite": suite.name,
        "fold": suite.fold,
        "seeds": sorted({task.seed for _, task in runs}),
        "seeds_per_task": seeds,
        **summary,
        "task_fields": {n: asdict(task) for n, task in zip(suite.task_names, suite.tasks, strict=True)},
        "policies": {
            name: {
                "file": str(path),
                "fingerprint": policy.fingerprint,
                "suite": policy.card.suite,
                "data": policy.card.data,
                "commit": policy.card.commit,
            }
            for name, path in zip(policy_names(policies), policies, strict=True)
            for policy in [load_policy(path)]
        },
        "tuning": None
        if tuned is None
        else {
            "suite": tuned.suite,
            "data": tuned.data,
            "seeds": tuned.seeds,
            "inner_runs": sum(tuned.inner_runs.values()),
            "settings": {name: len(settings) for name, settings in tuned.families.items()},
            "seconds": tuned.seconds,
        },
        "data": {
            "name": train.name,
            "train_fingerprint": train.fingerprint,
            "test_fingerprint": test.fingerprint,
        },
        "test_images": len(test.labels),
        "num_classes": train.num_classes,
        "inner_runs_done": len(done),
        "seconds": seconds,
        "trainer": asdict(config),
        "notes": notes,
        **provenance(config.device),
    }
    return Comparison(results, pd.DataFrame(decisions), summary)


def _notes(
    policies: Sequence[str | Path], suite: Suite, train: ImageData, tuned: Tuned | None, lam_meaning: str
) -> list[str]:
    """What a reader should know before believing the numbers, one line each."""
    notes = []
    if suite.fold != "held-out":
        notes.append(
            f"the suite runs on the fold {suite.fold}, images that an agent may have been trained on"
        )
    if tuned is None:
        notes.append(
            "the best single constant is chosen in hindsight; hand-designed schedules, if any, are untuned"
        )
    else:
        notes += tuned.warnings(suite, train)
    decays = {task.decay for task in suite.tasks}
    penalties = {task.penalty for task in suite.tasks}
    for name, path in zip(policy_names(policies), policies, strict=True):
        card = load_policy(path).card
        if card.lam_meaning != "any" and decays != {card.lam_meaning}:
            notes.append(
                f"{name} was trained with {card.lam_meaning} decay, the suite has {' and '.join(sorted(decays))}; "
                + ("its λ is converted" if lam_meaning == "convert" else "its λ is used unconverted")
            )
        if card.penalty != "any" and penalties != {card.penalty}:
            notes.append(
                f"{name} was trained with the penalty {card.penalty}, the suite has {' and '.join(sorted(penalties))}"
            )
    return notes


def _row(task_name: str, entry: Entry, result: RunResult) -> dict[str, Any]:
    fields = asdict(result.task)
    seed = fields.pop("seed")
    log_lam = np.array(result.history["log_lam"], np.float64)
    return {
        "task": task_name,
        "seed": seed,
        "schedule": entry.name,
        "kind": entry.kind,
        "spec": entry.spec,
        "test_accuracy": 100.0 * result.test_accuracy,
        "test_loss": result.test_loss,
        "val_accuracy": 100.0 * result.val_accuracy,
        "val_loss": result.val_loss,
        "outer_accuracy": 100.0 * result.outer_accuracy,
        "outer_loss": result.outer_loss,
        "diverged": bool(result.diverged),
        "final_log_lam": float(log_lam[-1]) if log_lam.size else np.nan,
        "mean_log_lam": float(log_lam.mean()) if log_lam.size else np.nan,
        **fields,
    }


def _decisions(task_name: str, entry: Entry, result: RunResult) -> list[dict[str, Any]]:
    history = result.history
    return [
        {
            "task": task_name,
            "seed": result.task.seed,
            "schedule": entry.name,
            "decision": k,
            "progress": history["progress"][k],
            "lam": 0.0 if entry.spec == "constant:0" else 10.0 ** history["log_lam"][k],
            "train_loss": history["train_loss"][k],
            "val_loss": history["val_loss"][k],
            "train_accuracy": 100.0 * history["train_accuracy"][k],
            "val_accuracy": 100.0 * history["val_accuracy"][k],
        }
        for k in range(len(history["log_lam"]))
    ]


def headline(summary: Mapping[str, Any]) -> list[str]:
    """The result in sentences, one for each policy, out of the numbers."""
    sentences = []
    schedules = summary["schedules"]
    hand = {n: s for n, s in schedules.items() if s["kind"] == "hand-designed"}
    runs = schedules["oracle-constant"]["inner_runs"]
    for name, item in schedules.items():
        if item["kind"] != "learned":
            continue
        low, high = item["ci95"]
        relation = "above" if low > 0 else "below" if high < 0 else "not told apart from"
        best = max(hand, key=lambda key: hand[key]["test_accuracy_mean"]) if hand else ""
        text = (
            f"In one run, {name} reaches {item['test_accuracy_mean']:.2f} % test accuracy: "
            f"{item['difference_mean']:+.2f} points against the best single constant "
            f"(95 % interval {low:+.2f} to {high:+.2f}: {relation} it)"
        )
        regret = item["regret_mean"]
        place = "below" if regret >= 0 else "above"
        text += (
            f", and {abs(regret):.2f} points {place} the oracle constant, which costs {runs} runs per task"
        )
        if best:
            margin = item["test_accuracy_mean"] - hand[best]["test_accuracy_mean"]
            text += f"; {margin:+.2f} points against the best hand-designed schedule ({best})"
        sentences.append(text + ".")
    return sentences
