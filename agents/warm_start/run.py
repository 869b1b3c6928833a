"""A warm start from its options to a run folder: config, learning curve, checkpoints, policy."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from pydantic import TypeAdapter
from rich.console import Console

from lambda_rl.agents.ppo.checkpoint_file import load_newest, write_checkpoint
from lambda_rl.agents.presenting.progress import Bar
from lambda_rl.agents.record.provenance import code_commit, without_places
from lambda_rl.agents.record.run_folder import RunFolder
from lambda_rl.agents.warm_start.actor import CLIP_OBS, EPSILON, Arrays
from lambda_rl.agents.warm_start.config import WarmStartConfig
from lambda_rl.agents.warm_start.curves import LOG_KAPPAS
from lambda_rl.agents.warm_start.learner import Learner, Round, reinforcement, warm_start
from lambda_rl.agents.warm_start.players import Players, Stage
from lambda_rl.agents.warm_start.selection import Selection, Verdict
from lambda_rl.envs.tasks.suites import load_suite
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.files import atomic_write
from lambda_rl.knobs import KAPPA, Knob
from lambda_rl.observation import KAPPA_FEATURES
from lambda_rl.policy.actor import Policy, policy_from_arrays
from lambda_rl.policy.card import ANY, PolicyCard
from lambda_rl.policy.file import save_policy

_OPTIONS = TypeAdapter(WarmStartConfig)
CURVES = "curves.csv"
"""File of a run folder: every task's facts, and the final accuracies of constants of κ."""

_FREE = ("name", "out", "threads", "data", "data_root", "ray", "committee", "reinforce")
"""Options that may differ when a run is taken up again."""


def train(
    config: WarmStartConfig,
    *,
    command: str = "",
    resume: bool = False,
    stop_after: int | None = None,
    finish: bool = False,
) -> Path:
    """Trains a policy; the folder of the run.

    The same options and seed give the same policy on the same machine, however many processes play.

    Args:
        config: all options.
        command: the command line, for the record.
        resume: go on from the last checkpoint of the folder.
        stop_after: end after this many rounds of this session.
        finish: with ``resume``: play no more, and make the policy of what was played so far.

    Raises:
        ValueError: an option is wrong, there is a run of that name already, or none to go on with.
        FileNotFoundError: the data is not there.
    """
    config.check_all()
    if finish and not (resume and config.committee.members):
        raise ValueError("--finish goes on with a run (--resume), and makes its policy of a committee")
    name = config.name or f"{Path(config.suite).stem}-seed{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    config = dataclasses.replace(config, name=name)
    folder = RunFolder(Path(config.out) / name)
    if not resume:
        folder.refuse_run()
    with folder.locked():
        folder.sweep()
        learner = Learner(config, KAPPA_FEATURES)
        record = _Record(folder, config, command)
        if resume:
            record.take_up(learner)
        else:
            for other in config.together:
                learner.take_in(_checkpoint(RunFolder(Path(config.out) / other)))
            folder.record_command(command, first=True)
            options = _OPTIONS.dump_python(config, mode="json")
            atomic_write(folder.config, yaml.safe_dump(options, sort_keys=False, allow_unicode=True))
        _play(learner, record, stop_after, finish=finish)
    return folder.path


def _checkpoint(folder: RunFolder) -> dict[str, Any]:
    """The last one of a run."""
    found = load_newest(folder) if folder.config.is_file() else None
    if found is None:
        raise ValueError(f"{folder.path}: there is no checkpoint to go on from")
    return found[0]


class _Stop(Exception):  # noqa: N818 - no error, a way out
    """Ends a session after a checkpoint."""


def _play(learner: Learner, record: _Record, stop_after: int | None, *, finish: bool) -> None:
    config = learner.config
    side_by_side = len(LOG_KAPPAS) + config.exploration.copies  # all runs of a task are one stack
    trainer = TrainerConfig(config.device, config.precision, 1, side_by_side, config.compile)
    processes = config.trainer.threads if config.trainer.threads > 1 else 0
    stage = Stage(load_suite(config.suite).on("agent"), config, trainer, config.control, learner.features,
                  config.exploration)  # fmt: skip
    tasks = validation_tasks(config)
    players = Players(stage, processes, config.ray)
    begun, console = learner.rounds, Console(highlight=False)
    bar = Bar("warm start", console, unit="rounds", width=24, period=600.0, below=True, lines="tenths")

    def tell(done: Round, arrays: Arrays) -> None:
        record.round(done, arrays)
        if done.verdict is not None or done.number == learner.all_rounds:
            write_checkpoint(record.folder, {**learner.state_dict(), "best": record.best_state()})
        bar(done.number, learner.all_rounds, record.note)
        if stop_after is not None and done.number - begun >= stop_after:
            write_checkpoint(record.folder, {**learner.state_dict(), "best": record.best_state()})
            raise _Stop

    try:
        with bar:
            selection = Selection(tasks, players, learner.sent)
            record.reference = selection.reference
            if not finish:
                warm_start(learner, players, selection, tell)
            if config.committee.members and not learner.promoted:
                learner.promote()
                record.hand_on(selection.judge(learner.sent), learner.rounds, learner.sent)
                write_checkpoint(record.folder, {**learner.state_dict(), "best": record.best_state()})
            if not finish:
                reinforcement(learner, players, selection, tell)
    except _Stop:
        pass
    finally:
        players.close()


def read_config(folder: RunFolder) -> WarmStartConfig:
    """The options of a run."""
    return _OPTIONS.validate_python(yaml.safe_load(folder.config.read_text(encoding="utf-8")))


def validation_tasks(config: WarmStartConfig) -> list[Task]:
    """The tasks that actors are selected on: of a list each with as many seeds, of a distribution as many."""
    suite = load_suite(config.validation_suite)
    if suite.tasks:
        seeds = range(config.validation_seeds)
        return [task.with_seed(task.seed + 1000 * number) for number in seeds for task in suite.tasks]
    rng = np.random.default_rng(VALIDATION_SEED)
    return [suite.sample(rng) for _ in range(config.validation_tasks)]


VALIDATION_SEED = 7
"""Draws the validation tasks, the same ones for every seed of a run."""


class _Record:
    """What is written down: a row a round, and the best policy so far."""

    def __init__(self, folder: RunFolder, config: WarmStartConfig, command: str) -> None:
        self.folder, self.config, self.command = folder, config, command
        self.rows: list[dict[str, Any]] = []
        self.best: tuple[Verdict, int, Arrays] | None = None
        self.landscapes: list[dict[str, Any]] = []
        self.curves = folder.path / CURVES
        self.note, self.reference = "", {}  # type: str, dict[str, float]
        self._clock = time.monotonic()

    def take_up(self, learner: Learner) -> None:
        """Goes on from the folder's last checkpoint."""
        state = _checkpoint(self.folder)
        saved = read_config(self.folder)
        for item in dataclasses.fields(WarmStartConfig):
            was, now = getattr(saved, item.name), getattr(self.config, item.name)
            if item.name not in _FREE and was != now:
                raise ValueError(f"{self.folder.path}: cannot go on: {item.name} was {was!r}, now {now!r}")
        learner.load_state_dict(state)
        if state["best"] is not None:
            verdict, number, arrays = state["best"]
            self.best = (
                Verdict(**{**verdict, "regrets": tuple(verdict["regrets"])}),
                int(number),
                {name: value.numpy() for name, value in arrays.items()},
            )
        self.rows, self.landscapes = (
            [row for row in _read_table(path) if int(row["round"]) <= learner.rounds]
            for path in (self.folder.metrics, self.curves)
        )
        self.folder.record_command(self.command)

    def best_state(self) -> list[Any] | None:
        """The best actor so far, as a checkpoint holds it."""
        if self.best is None:
            return None
        verdict, number, arrays = self.best
        return [
            {**dataclasses.asdict(verdict), "regrets": list(verdict.regrets)},
            number,
            {name: torch.from_numpy(value) for name, value in arrays.items()},
        ]

    def round(self, done: Round, arrays: Arrays) -> None:
        """A row of the learning curve; the policy, if it is the best so far."""
        verdict = done.verdict
        row: dict[str, Any] = {
            "round": done.number,
            "tasks": done.tasks,
            "seconds": round(time.monotonic() - self._clock, 1),
            "fitted_regret": round(done.regret, 4),
            "own_regret": round(done.own, 4),
        }
        for name in ("regret", "tail", "gain", "worst_loss", "score"):
            row[f"validation_{name}"] = "" if verdict is None else round(getattr(verdict, name), 4)
        self.rows.append(row)
        _write_table(self.folder.metrics, self.rows)
        self.landscapes += [{"round": done.number, **each} for each in done.landscapes]
        _write_table(self.curves, self.landscapes)
        if verdict is not None and (self.best is None or verdict.score > self.best[0].score):
            self.best = (verdict, done.number, arrays)
            save_policy(self.folder.policy, self.policy())
        best = (
            ""
            if self.best is None
            else f", validation regret {self.best[0].regret:.2f} (tail {self.best[0].tail:.1f})"
        )
        self.note = f"regret of its own runs {done.own:.2f}{best}"

    def hand_on(self, verdict: Verdict, number: int, arrays: Arrays) -> None:
        """Writes the policy of the committee, in place of the best actor's; reinforcement has to be above it."""
        self.best = (verdict, number, arrays)
        save_policy(self.folder.policy, self.policy())

    def policy(self) -> Policy:
        """The best policy so far, with its card."""
        assert self.best is not None
        verdict, number, arrays = self.best
        results = {
            name: round(getattr(verdict, name), 3) for name in ("regret", "tail", "gain", "worst_loss")
        }
        validation = {
            "suite": without_places(self.config.validation_suite),
            "after_rounds": number,
            **results,
        }
        lines = self.folder.command.read_text(encoding="utf-8").splitlines()
        told = "; ".join(dict.fromkeys(filter(None, lines)))
        return make_policy(arrays, self.config, {"validation": {**validation, **self.reference}}, told)


def _write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    atomic_write(path, text.getvalue())


def _read_table(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def make_policy(
    arrays: Arrays,
    config: WarmStartConfig,
    results: dict[str, Any],
    command: str,
    features: tuple[str, ...] = KAPPA_FEATURES,
) -> Policy:
    """A deployable policy of an actor's numbers."""
    control = config.control
    count = sum(name.endswith(".weight") for name in arrays)
    layers = [(arrays[f"layers.{i}.weight"], arrays[f"layers.{i}.bias"]) for i in range(count)]
    card = PolicyCard(
        knobs=(Knob(KAPPA, control.log_lam_min, control.log_lam_max, control.max_change),),
        lam_meaning=ANY,
        decisions=config.decisions,
        suite=without_places(config.suite),
        data=without_places(config.data),
        commit=code_commit(),
        command=command,
        results=json.loads(json.dumps(results)),
        initial=(START_KAPPA,),
        features=features,
    )
    return policy_from_arrays(
        obs_mean=np.clip(arrays["mean"], -5, 5), obs_var=arrays["var"], layers=layers, card=card,
        clip_obs=CLIP_OBS, epsilon=EPSILON,
    )  # fmt: skip


START_KAPPA = 1.0
"""κ before the first decision, in training (``Task.initial_kappa`` of the suite) as in a user's loop."""
