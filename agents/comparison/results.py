"""``summary.json`` as types: what figures, report, W&B, model cards and pages read of a comparison."""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue, TypeAdapter, ValidationError

from lambda_rl.agents.ablation.contestants import ABLATION as ABLATION

FORMAT_VERSION = 1


ORACLE = "oracle-constant"
BEST_SINGLE = "best-single-constant"
BEST_SINGLE_HINDSIGHT = "best-single-constant-hindsight"
MEAN_CONSTANT = "mean-constant"
NO_PENALTY = "no-penalty"

LEARNED, HAND_DESIGNED, CONSTANT, DERIVED = "learned", "hand-designed", "constant", "derived"
KINDS = (LEARNED, HAND_DESIGNED, CONSTANT, DERIVED, ABLATION)
"""Kinds of schedules."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class ScheduleSummary:
    """What a schedule came to, over all tasks and seeds.

    Attributes:
        kind: one of :data:`KINDS`.
        spec: the schedule as text; of a derived one, what it is in words.
        test_accuracy_mean: percent.
        test_loss_mean: nats; None if a run's was not finite.
        difference_mean: test accuracy minus the best single constant's, points.
        ci95: its 95 % interval by a paired bootstrap over task x seed.
        ci95_tasks: the same over tasks, then seeds.
        regret_mean: test accuracy of the oracle constant minus this one's, points.
        iqm: interquartile mean of the test accuracy, percent.
        probability_of_improvement: over the best single constant, on a random task.
        inner_runs: that a user pays for one result.
        tuning_runs: inner runs that were spent before, on tuning it, or on training a policy (0: not known).
        diverged: share of runs.
        tasks: mean test accuracy on each task, percent.
    """

    kind: str
    spec: str
    test_accuracy_mean: float
    test_loss_mean: float | None
    difference_mean: float
    ci95: Interval
    ci95_tasks: Interval
    regret_mean: float
    iqm: float
    probability_of_improvement: float
    inner_runs: int
    tuning_runs: int
    diverged: float
    tasks: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class PolicySummary:
    """Where a learned schedule comes from.

    Attributes:
        file: as it was named.
        fingerprint: of the policy; empty in the oldest files.
        suite: that it was trained on.
        data: likewise.
        commit: of the code that trained it.
    """

    file: str
    fingerprint: str = ""
    suite: str
    data: str
    commit: str


@dataclass(frozen=True)
class TuningSummary:
    """What the baselines were tuned on.

    Attributes:
        suite: name of the suite.
        data: name of the data.
        seeds: all seeds used.
        inner_runs: of all families together.
        settings: how many each family was tuned over.
        seconds: how long it took.
    """

    suite: str
    data: str
    seeds: tuple[int, ...]
    inner_runs: int
    settings: dict[str, int]
    seconds: float


@dataclass(frozen=True)
class DataSummary:
    """Name and fingerprints of the images."""

    name: str
    train_fingerprint: str
    test_fingerprint: str


@dataclass(frozen=True)
class Question:
    """What was asked.

    Attributes:
        format_version: of the file.
        suite: name of the suite.
        fold: of the training images.
        seeds: all seeds, over all tasks.
        seeds_per_task: how many each task has.
    """

    format_version: int
    suite: str
    fold: str
    seeds: tuple[int, ...]
    seeds_per_task: int


@dataclass(frozen=True)
class Findings:
    """What follows from the runs alone.

    Attributes:
        tasks: names, in the suite's order.
        best_single_constant: name of that constant.
        best_single_constant_chosen_on: ``tuning suite``, or ``test, in hindsight``.
        oracle_constants: the best constant of each task, by the task's name.
        constants: names of the grid's constants.
        schedules: by name, the best first.
    """

    tasks: tuple[str, ...]
    best_single_constant: str
    best_single_constant_chosen_on: str
    oracle_constants: dict[str, str]
    constants: tuple[str, ...]
    schedules: dict[str, ScheduleSummary]

    def of_kind(self, kind: str) -> list[str]:
        """Names of the schedules of a kind, the best first."""
        return [name for name, schedule in self.schedules.items() if schedule.kind == kind]


@dataclass(frozen=True)
class Setup:
    """What the numbers hold for.

    Attributes:
        task_fields: all fields of each task, with its first seed, by the task's name.
        policies: learned schedules by name.
        tuning: None if nothing was tuned.
        data: what the images were.
        test_images: how many.
        num_classes: of the images.
        inner_runs_done: each counted once.
        seconds: how long they took.
        trainer: how inner runs were computed.
        notes: what a reader should know before believing the numbers.
    """

    task_fields: dict[str, dict[str, JsonValue]]
    policies: dict[str, PolicySummary]
    tuning: TuningSummary | None
    data: DataSummary
    test_images: int
    num_classes: int
    inner_runs_done: int
    seconds: float
    trainer: dict[str, JsonValue]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Origin:
    """Command, code, time and machine."""

    command: str
    commit: str
    time: str
    device: str
    hardware: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Summary(Origin, Setup, Findings, Question):
    """``summary.json``: its keys are the attributes of this class, in the order of its bases from the last.

    Attributes:
        digests: SHA-256 of the tables beside it, by file name; empty in older files.
    """

    digests: dict[str, str] = dataclasses.field(default_factory=dict)

    def to_json(self) -> str:
        """The text of the file.

        Raises:
            ValueError: a number is not finite.
        """
        content = dataclasses.asdict(self)
        if not self.digests:
            del content["digests"]
        for name, policy in self.policies.items():
            if not policy.fingerprint:
                del content["policies"][name]["fingerprint"]
        return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Summary:
        """Reads what :meth:`to_json` gives, of any version of this program.

        Raises:
            ValueError: it is something else; the message says where.
        """
        try:
            found = _adapter().validate_json(text, strict=True)
        except ValidationError as error:
            first, *more = error.errors()
            place = ".".join(map(str, first["loc"])) or "the whole"
            raise ValueError(
                f"not the summary of a comparison: {place}: {first['msg']}"
                + (f" (and {len(more)} more)" if more else "")
            ) from None
        if found.format_version != FORMAT_VERSION:
            raise ValueError(f"summary of format {found.format_version}, this program reads {FORMAT_VERSION}")
        return found

    @classmethod
    def load(cls, path: str | Path) -> Summary:
        """Reads a file.

        Raises:
            OSError: there is none.
            ValueError: see :meth:`from_json`; the message names the file.
        """
        try:
            return cls.from_json(Path(path).read_bytes())
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


@functools.cache
def _adapter() -> TypeAdapter[Summary]:
    return TypeAdapter(Summary)
