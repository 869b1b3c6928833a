"""Runs cells: all constants of κ and the policy side by side in one stack, in this process or in several."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lambda_rl.agents.atlas.design import Cell
from lambda_rl.agents.atlas.rows import LOG_KAPPAS, PolicyRow, Row
from lambda_rl.agents.baselines import BASELINES, Contestant, ScheduleContestant
from lambda_rl.agents.baselines import Cell as Named
from lambda_rl.agents.clusters import Spread
from lambda_rl.agents.comparison.contestants import read_policies as contestants
from lambda_rl.agents.options import DataOptions
from lambda_rl.agents.presenting.progress import many_runs
from lambda_rl.envs.data import Images, by_name, data_set
from lambda_rl.envs.data.sets import PartName
from lambda_rl.envs.judging import RunResult, ScheduleJob, run_schedules
from lambda_rl.envs.networks import NETWORKS
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.run import network_of, run_facts
from lambda_rl.observation import RunFacts

CHUNK_SECONDS = 15.0
"""Work that is done before its rows are kept: what an interruption may cost."""


ALONE = 0.4
"""What a policy's run takes on its own, over what it takes with all constants beside it."""

Found = tuple[list[Row], list[PolicyRow]]


@dataclass(frozen=True)
class Piece:
    """A cell with one seed.

    Attributes:
        cell: what is trained.
        seed: of the runs.
        digest: what its rows are known by.
        constants: whether they are still to be run.
        policy: whether it is still to be run.
    """

    cell: Cell
    seed: int
    digest: str
    constants: bool = True
    policy: bool = True

    @property
    def work(self) -> float:
        """How long it takes, about, in seconds of a core."""
        return self.whole_work * (1.0 if self.constants else ALONE)

    @property
    def whole_work(self) -> float:
        """With the constants: what grows with the network, and what does not."""
        task, hidden = self.cell.task, self.cell.depth
        inputs = 24 if task.data else 3 * task.resolution**2
        weights = inputs * task.width + max(0, hidden - 1) * task.width**2
        products = 200 * inputs * task.width if NETWORKS[task.network].convolutional else weights
        per_step = 2.0 * task.batch_size * products + 8.0 * weights + 2e5 * (1 + hidden)
        return 1e-9 * (task.steps * per_step + 3e8)


@dataclass(frozen=True)
class Ground:
    """What all cells have in common.

    Attributes:
        data: images of cells that name no data.
        policy: a policy file or the name of a shipped one; empty: constants alone.
    """

    data: DataOptions
    policy: str


class Surveyor:
    """Measures pieces in this process.

    Args:
        ground: see there.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        law = BASELINES["kappa"]
        self._constants = [
            _schedule(law.contestant(law.form.format(f"{10.0**log:.6g}"))) for log in LOG_KAPPAS
        ]
        self._policy = contestants([ground.policy])[0] if ground.policy else None
        self._parts: dict[PartName, Images] = {}

    def images(self, part: PartName) -> Images:
        """Training or test images, loaded when they are first asked for."""
        if part not in self._parts:
            self._parts[part] = self._ground.data.load_parts(part)
        return self._parts[part]

    def measure(self, pieces: Sequence[Piece]) -> Found:
        """Rows of each, of what is still to be run."""
        started = time.process_time()
        jobs = [self._jobs(piece) for piece in pieces]
        with many_runs():
            results = iter(
                run_schedules(
                    [job for own in jobs for job in own],
                    self.images("train"),
                    "held-out",
                    test=self.images("test"),
                )
            )
        seconds, total = time.process_time() - started, sum(piece.work for piece in pieces)
        found: Found = ([], [])
        for piece, own in zip(pieces, jobs, strict=True):
            came = [next(results) for _ in own]
            facts = self._facts(piece.cell.task)
            if piece.constants:
                found[0].append(_row(piece, facts, came[: len(LOG_KAPPAS)], seconds * piece.work / total))
            if piece.policy and self._policy is not None:
                found[1].append(
                    _policy_row(piece, facts, came[-1], self._ground.policy, self._policy.policy.fingerprint)
                )
        return found

    def _jobs(self, piece: Piece) -> list[ScheduleJob]:
        named = Named(piece.cell.name, piece.cell.task.with_seed(piece.seed))
        everybody = self._constants if piece.constants else []
        if piece.policy and self._policy is not None:
            everybody = [*everybody, self._policy.contestant]
        return [job for one in everybody for job in one.jobs([named])]

    def _facts(self, task: Task) -> RunFacts:
        if task.data:
            has = data_set(task.data).dimensions
            return run_facts(task, network_of(task, has.num_classes, has.channels))
        images = by_name(self.images("train"))[""]
        return run_facts(task, network_of(task, images.num_classes, images.images.shape[1]))


def _schedule(contestant: Contestant) -> ScheduleContestant:
    assert isinstance(contestant, ScheduleContestant)
    return contestant


def _row(piece: Piece, facts: RunFacts, results: Sequence[RunResult], seconds: float) -> Row:
    return Row(
        cell=piece.cell.name,
        digest=piece.digest,
        seed=piece.seed,
        num_params=facts.num_params,
        num_train=facts.num_train,
        num_classes=facts.num_classes,
        epochs=facts.epochs,
        decay_sum=facts.decay_sum,
        seconds=seconds,
        accuracy=tuple(100 * one.test_accuracy for one in results),
    )


def _policy_row(piece: Piece, facts: RunFacts, result: RunResult, policy: str, fingerprint: str) -> PolicyRow:
    log_kappa = float(np.mean(result.history["log_lam"])) + math.log10(facts.decay_sum)
    accuracy = 100 * result.test_accuracy
    return PolicyRow(
        piece.cell.name, piece.digest, piece.seed, Path(policy).stem, fingerprint, accuracy, log_kappa
    )  # fmt: skip


def chunks(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Pieces in their order, as many together as :data:`CHUNK_SECONDS` says."""
    found: list[list[Piece]] = []
    room = 0.0
    for piece in pieces:
        if piece.work > room or not found:
            found.append([])
            room = CHUNK_SECONDS
        found[-1].append(piece)
        room -= piece.work
    return found


def survey(pieces: Sequence[Piece], ground: Ground, spread: Spread) -> Iterator[Found]:
    """Rows of all pieces, some at a time.

    Args:
        pieces: what is to be done.
        ground: what they have in common.
        spread: who runs them.
    """
    return spread(functools.partial(_measure, ground), chunks(pieces))


@functools.lru_cache(maxsize=1)
def _surveyor(ground: Ground) -> Surveyor:
    return Surveyor(ground)


def _measure(ground: Ground, pieces: Sequence[Piece]) -> Found:
    return _surveyor(ground).measure(pieces)
