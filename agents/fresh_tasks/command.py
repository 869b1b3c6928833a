"""What ``lambda-rl fresh-tasks`` does: play what is missing, sum up, fill the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lambda_rl import Policy, load_policy
from lambda_rl.agents.foreign.contestants import short_name
from lambda_rl.agents.fresh_tasks.playing import SideBySide, common, played, still
from lambda_rl.agents.fresh_tasks.rows import CONSTANTS, Row, add_rows, read_rows
from lambda_rl.agents.fresh_tasks.summary import FreshSummary, markdown, summarise
from lambda_rl.agents.fresh_tasks.variants import checked, variants
from lambda_rl.agents.options import ClusterOptions, DataOptions, SuiteName
from lambda_rl.agents.presenting.markdown import fill_page
from lambda_rl.agents.presenting.progress import Bar
from lambda_rl.agents.record.provenance import provenance
from lambda_rl.agents.warm_start.episodes import Episodes, landscape
from lambda_rl.agents.warm_start.players import Players, Stage
from lambda_rl.checks import bounded_int, printable
from lambda_rl.envs.tasks.suites import Suite, load_suite
from lambda_rl.envs.training.placement import TrainerConfig

ROWS = "rows.csv"


@dataclass(frozen=True, kw_only=True)
class FreshConfig(ClusterOptions, DataOptions):
    """Plays policies of κ side by side with constants on fresh tasks of a distribution, the same ones for all.

    Training selects on 64 tasks, on which differences of half a point say nothing. A command that was cut off goes on
    when it is given again, and no policy is ever played on a task twice.

    Attributes:
        policy: name of a shipped policy or a policy file; may be given several times. Others are compared with the
            first.
        blind: families of features (lambda-rl ablate-features --help lists them); each policy also blind to each.
        max_change: decades of κ; each policy also with steps of at most so much.
        mean: also the mean of all policies.
        suite: a distribution of tasks.
        tasks: how many of them.
        seed: of the tasks.
        processes: of one thread each, side by side; 1: this one.
        out: folder for rows.csv and summary.json.
        measure: play what is missing; without it, rows are only summed up.
        page: Markdown page whose block "fresh" is filled; empty: none.
    """

    policy: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    blind: tuple[str, ...] = ()
    max_change: tuple[float, ...] = ()
    mean: bool = False
    suite: SuiteName = "any-loop-validation"
    tasks: int = 200
    seed: int = 1
    processes: int = 1
    out: Path = Path("docs/results/fresh-tasks")
    measure: bool = True
    page: str = ""


def run_fresh_tasks(config: FreshConfig) -> None:
    """Plays and writes.

    Raises:
        ValueError: an option is out of range, or a file holds something else.
        lambda_rl.PolicyFileError: a policy cannot be used.
    """
    bounded_int("--tasks", config.tasks, 1, 100_000)
    bounded_int("--processes", config.processes, 1, 256)
    bounded_int("--seed", config.seed, 0, 2**32 - 1)
    if config.page and not Path(config.page).is_file():
        raise ValueError(f"{config.page}: no such page to fill")
    given = {short_name(name): load_policy(name) for name in config.policy}
    checked(given)
    if len(given) < len(config.policy):
        raise ValueError("two policies have the same name in tables")
    policies = variants(given, config.blind, config.max_change, mean=config.mean)
    suite = load_suite(config.suite).on("agent")
    if suite.tasks:
        raise ValueError(
            f"--suite {config.suite} is a list of tasks; fresh ones are drawn from a distribution"
        )
    path, console = config.out / ROWS, Console()
    if config.measure:
        _measure(config, suite, policies, path, console)
    fingerprints = {name: policy.fingerprint for name, policy in policies.items()}
    summary = summarise(read_rows(path), fingerprints, suite.name, config.seed, provenance("cpu"))
    summary.save(config.out / "summary.json")
    if config.page:
        fill_page(Path(config.page), {"fresh": markdown(summary)})
    console.print(overview(summary))


def _measure(
    config: FreshConfig, suite: Suite, policies: Mapping[str, Policy], path: Path, console: Console
) -> None:
    """Plays what is missing; tasks on which the same policies are missing, together."""
    have: dict[int, set[str]] = {}
    for row in read_rows(path):
        if (row.suite, row.seed) == (suite.name, config.seed):
            have.setdefault(row.task, set()).add(row.who)
    pieces: dict[tuple[str, ...], list[int]] = {}
    for number in range(config.tasks):
        there = have.get(number, set())
        absent = tuple(name for name, policy in policies.items() if policy.fingerprint not in there)
        if absent:
            pieces.setdefault(absent, []).append(number)
    total, done = sum(map(len, pieces.values())), 0
    if not total:
        return
    with Bar(f"fresh tasks of {suite.name}", console, unit="tasks", lines="tenths") as bar:
        for absent, numbers in pieces.items():
            some = {name: policies[name] for name in absent}
            features, control = common(list(some.values()))
            actor = SideBySide(tuple(some.values()), features, control.max_change)
            trainer = TrainerConfig("cpu", "auto", 1, len(CONSTANTS) + len(some), False)
            stage = Stage(suite, config, trainer, control, features, still(len(some)))
            players = Players(stage, config.processes if config.processes > 1 else 0, config.ray)
            try:
                for number, each in zip(numbers, played(players, actor, config.seed, numbers), strict=True):
                    constants = not set(CONSTANTS) <= have.get(number, set())
                    add_rows(path, _rows(suite.name, config.seed, number, each, some, constants=constants))
                    done += 1
                    bar(done, total)
            finally:
                players.close()


def _rows(
    suite: str, seed: int, number: int, each: Episodes, policies: Mapping[str, Policy], *, constants: bool
) -> list[Row]:
    """The rows of a task, those of constants only if they are new."""
    facts, accuracy = landscape(each), 100.0 * each.accuracy
    named: Sequence[tuple[str, str]] = [
        *((name, "") for name in CONSTANTS),
        *((name, policy.fingerprint) for name, policy in policies.items()),
    ]
    return [
        Row(suite, seed, number, facts["data"], facts["network"], name, fingerprint, float(value))
        for (name, fingerprint), value in zip(named, accuracy, strict=True)
        if fingerprint or constants
    ]


def overview(summary: FreshSummary) -> Table:
    """The policies, for the terminal."""
    table = Table(
        title=Text(f"{summary.tasks} fresh tasks of {summary.suite}, one run each, points"),
        box=box.SIMPLE_HEAD,
    )
    table.add_column("policy", overflow="fold")
    for head in ("regret", "minus the first", "95 %", "harm > 1"):
        table.add_column(head, justify="right", no_wrap=True)
    for name, one in summary.standings.items():
        low, high = one.minus_first_interval
        table.add_row(
            Text(printable(name)), f"{one.regret:.2f}", f"{one.minus_first:+.2f}", f"{low:+.2f} … {high:+.2f}",
            f"{100 * one.worse_than_none[0]:.0f} %",
        )  # fmt: skip
    return table
