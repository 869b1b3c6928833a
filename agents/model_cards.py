"""Model cards: the page beside a policy file, whose facts and numbers are filled in from files.

A card is Markdown. Words are written by hand; its blocks (see :mod:`lambda_rl.agents.presenting.markdown`) are written
by :func:`update_card`, so that they say what the files say. There are three:

- ``facts``: what the policy file says;
- ``results``: what was measured, out of each ``summary.json`` below a folder that this policy took part in:
  comparisons, and foreign loops;
- ``tasks``: which tasks it was trained on, which it was measured on, and what was never measured.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from lambda_rl.agents.baselines import GRID_SEARCH
from lambda_rl.agents.comparison.results import BEST_SINGLE, NO_PENALTY, ORACLE, ScheduleSummary, Summary
from lambda_rl.agents.comparison.tables import SUMMARY_NAME
from lambda_rl.agents.foreign.summary import ForeignSummary
from lambda_rl.agents.presenting.markdown import fill_page, markdown_table
from lambda_rl.envs.optimizers import OPTIMIZERS
from lambda_rl.envs.tasks.space import TaskSpace
from lambda_rl.envs.tasks.suites import Suite, bounds, load_suite
from lambda_rl.envs.tasks.task import Task, field_choices
from lambda_rl.envs.tasks.variations import LogUniform, Tables, Uniform, Variation
from lambda_rl.knobs import KAPPA
from lambda_rl.policy.actor import Policy
from lambda_rl.policy.file import load_policy
from lambda_rl.policy.text import policy_facts

_FIELDS = {
    "network": "network",
    "width": "width",
    "resolution": "side of the input, pixels",
    "augment": "augmentation",
    "train_size": "training images",
    "val_size": "validation images watched",
    "label_noise": "label noise",
    "optimizer": "optimizer",
    "learning_rate": "learning rate at the start",
    "lr_schedule": "learning rate schedule",
    "momentum": "momentum",
    "batch_size": "batch size",
    "steps": "optimizer steps",
    "decisions": "decisions",
    "penalty": "penalty",
    "decay": "λ means",
    "initial_lam": "start λ",
    "initial_kappa": "start κ",
    "warmup": "warm-up, share of the steps",
    "init_scale": "scale of the initial weights",
    "input_scale": "scale of the input",
    "input_shift": "shift of the input",
    "horizon": "steps that it is told, over the true ones",
    "data": "data set",
    "network_options": "options of the network",
}
"""Field of a task to what a card calls it."""

_SPECIAL = (
    "initial_kappa",
    "warmup",
    "init_scale",
    "input_scale",
    "input_shift",
    "horizon",
    "data",
    "network_options",
)  # fmt: skip
# not told where no task names one
_RANGES = ("train_size", "val_size", "learning_rate", "initial_lam")  # shown from smallest to largest


@dataclass(frozen=True)
class Measured:
    """A comparison that a policy took part in.

    Attributes:
        folder: where its files lie, below the folder of all results.
        name: the policy's name among its schedules.
        summary: its numbers.
    """

    folder: str
    name: str
    summary: Summary

    @property
    def ours(self) -> ScheduleSummary:
        """The policy's own numbers."""
        return self.summary.schedules[self.name]

    def schedule(self, name: str) -> ScheduleSummary | None:
        """The numbers of a schedule; None if it took no part."""
        return self.summary.schedules.get(name)

    def against(self, other: str, tasks: Iterable[str]) -> float:
        """Mean test accuracy minus that of another schedule that took part, over tasks, in points."""
        theirs = self.summary.schedules[other]
        return fmean(self.ours.tasks[task] - theirs.tasks[task] for task in tasks)


def measured(policy: Policy, results: Path) -> list[Measured]:
    """The comparisons below a folder that a policy took part in, by folder name.

    A summary knows a policy by suite, data and commit of its training, and by its fingerprint where it has that.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: a summary cannot be read.
    """
    if not results.is_dir():
        raise FileNotFoundError(f"{results}: no such folder of results")
    card = policy.card
    mark = (card.suite, card.data, card.commit, policy.fingerprint)
    found = []
    for path in sorted(results.rglob(SUMMARY_NAME)):
        if "schedules" not in json.loads(path.read_text(encoding="utf-8")):
            continue  # a summary of something else than a comparison
        summary = Summary.load(path)
        for name, entry in summary.policies.items():
            known = (entry.suite, entry.data, entry.commit, entry.fingerprint or policy.fingerprint)
            if known == mark:
                found.append(Measured(path.parent.relative_to(results).as_posix(), name, summary))
    return found


def card_blocks(policy: Policy, results: Path) -> dict[str, str]:
    """The blocks of a policy's card.

    Args:
        policy: what it is the card of.
        results: folder whose ``summary.json`` files, at any depth, are looked through.

    Raises:
        FileNotFoundError: no such folder of results.
        ValueError: a summary cannot be read.
    """
    comparisons = measured(policy, results)
    tables = [*_results(comparisons), *_foreign(policy, results)]
    return {
        "facts": _facts(policy),
        "results": "\n".join(tables) or "Not measured yet.\n",
        "tasks": _tasks(policy, load_suite(policy.card.suite), comparisons),
    }


def update_card(path: Path, results: Path) -> bool:
    """Writes the blocks of a card anew, for the policy file of the same name beside it.

    Args:
        path: the card, ``NAME.md`` beside ``NAME.safetensors``.
        results: see :func:`card_blocks`.

    Returns:
        Whether the card changed.

    Raises:
        FileNotFoundError: no such card, or no such folder of results.
        PolicyFileError: the policy file cannot be read.
        ValueError: the card lacks a block, or a summary cannot be read.
    """
    return fill_page(path, card_blocks(load_policy(path.with_suffix(".safetensors")), results))


def _facts(policy: Policy) -> str:
    facts = policy_facts(policy)
    validation = policy.card.results.get("validation")
    if isinstance(validation, dict):
        facts["validation"] = ", ".join(
            f"{key.replace('_', ' ')} {f'{value:.6g}' if isinstance(value, float) else value}"
            for key, value in validation.items()
        )
    return markdown_table(
        ("", ""), [(name, text) for name, text in facts.items() if text not in ("", "none")]
    )


def _results(comparisons: Sequence[Measured]) -> list[str]:
    """Tables of the comparisons that a policy took part in; none, if there are none."""
    rows, sizes = [], []
    for item in comparisons:
        summary, ours = item.summary, item.ours
        title = f"`{summary.suite}`"
        chosen = "" if summary.best_single_constant_chosen_on == "tuning suite" else " (in hindsight)"
        rows.append(
            (
                f"{title}, {_count(len(summary.tasks), 'task')} × {_count(summary.seeds_per_task, 'seed')}",
                f"{ours.test_accuracy_mean:.2f}",
                _accuracy(item, BEST_SINGLE) + chosen,
                "{:+.2f} [{:+.2f}, {:+.2f}]".format(ours.difference_mean, *ours.ci95),
                _accuracy(item, GRID_SEARCH),
                _accuracy(item, ORACLE),
                f"`{item.folder}`",
            )
        )
        by_size: dict[int, list[str]] = {}
        for task in summary.tasks:
            by_size.setdefault(int(str(summary.task_fields[task]["train_size"])), []).append(task)
        sizes += [
            (title, f"{size:,}", _points(item, BEST_SINGLE, tasks), _points(item, NO_PENALTY, tasks))
            for size, tasks in sorted(by_size.items())
        ]
    head = (
        "measured on", "test accuracy, %", "best single constant, %", "difference, points [95 %]",
        "grid search, %", "oracle constant, %", "files",
    )  # fmt: skip
    other = (
        "measured on",
        "training images",
        "against the best single constant, points",
        "against no penalty, points",
    )
    return [markdown_table(head, rows), markdown_table(other, sizes)] if rows else []


def _foreign(policy: Policy, results: Path) -> list[str]:
    """A table of what it came to in loops that training never saw; none, if it was not measured there."""
    rows = []
    for path in sorted(results.rglob(SUMMARY_NAME)):
        if "contestants" not in json.loads(path.read_text(encoding="utf-8")):
            continue
        summary = ForeignSummary.load(path)
        rows += [
            (
                f"{_count(len(one.tasks), 'foreign loop')} × {_count(summary.seeds, 'seed')}",
                f"{one.accuracy:.2f}",
                [one.regret, *one.regret_interval],
                " and ".join(f"{100 * share:.0f} %" for share in one.worse_than_none),
                f"{one.worst_task} ({one.worst_regret:.1f})",
            )
            for one in summary.contestants.values()
            if one.fingerprint == policy.fingerprint
        ]
    head = (
        "measured on", "test accuracy, %", "regret to the best constant in hindsight, points [95 %]",
        "tasks where it is worse than no penalty by 1 and by 3 points", "largest regret",
    )  # fmt: skip
    return [markdown_table(head, rows)] if rows else []


def _accuracy(item: Measured, name: str) -> str:
    numbers = item.schedule(name)
    if numbers is None:
        return "–"
    runs = f" ({numbers.inner_runs} runs)" if numbers.inner_runs > 1 else ""
    return f"{numbers.test_accuracy_mean:.2f}{runs}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _points(item: Measured, other: str, tasks: Sequence[str]) -> str:
    return f"{item.against(other, tasks):+.2f}" if item.schedule(other) else "–"


def _tasks(policy: Policy, suite: Suite, comparisons: Sequence[Measured]) -> str:
    trained = bounds(suite.source)
    judged = [fields for item in comparisons for fields in item.summary.task_fields.values()]
    start = "initial_lam" if policy.card.unit == KAPPA else "initial_kappa"  # of the other unit
    rows = []
    for name in [name for name in _FIELDS if name != start]:
        usual = getattr(Task(), name)
        seen = {_hashable(fields.get(name, usual)) for fields in judged}  # older files lack newer fields
        if name == "initial_kappa":
            seen.discard(0.0)  # a comparison names none: the policy begins at its own
        if name in _SPECIAL and {*trained[name], *seen} == {usual}:
            continue
        choices = field_choices(name)
        known = {_one_name(name, value) for value in seen}
        never = [value for value in choices if value == _one_name(name, value) and value not in known]
        kinds = _kinds(suite, name)
        cells = (_values(name, set(trained[name]), kinds), _values(name, seen))
        rows.append((_FIELDS[name], *cells, ", ".join(map(_value, never)) or "–" if choices else ""))
    return markdown_table(("", "trained on", "measured on", "never measured"), rows)


def _kinds(suite: Suite, name: str) -> list[Variation]:
    """How a suite varies a field: the common way first; empty for a list of tasks, or a field that it leaves alone."""
    if not isinstance(suite.source, TaskSpace):
        return []
    return [varied[name] for varied in (suite.source.vary, *suite.source.own) if name in varied]


def _one_name(field: str, value: Any) -> Any:
    """Of several names of one optimizer the first."""
    if field != "optimizer" or value not in OPTIMIZERS:
        return value
    return next(name for name, rule in OPTIMIZERS.items() if rule is OPTIMIZERS[value])


def _hashable(value: Any) -> Any:
    """A value out of JSON, whose lists are a task's tuples."""
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _values(name: str, values: set[Any], varied: Sequence[Variation] = ()) -> str:
    if name == "network_options":
        return _options(values)
    tables = [each for each in varied if isinstance(each, Tables)]
    if tables:  # one for each task, and the command's data where a base names none
        kinds = ", ".join(sorted({kind for each in tables for kind in each.argument["kinds"]}))
        return ", ".join(["images"] * ("" in values) + [f"generated tables ({kinds})"])
    ordered = sorted(values, key=str) if name in _SPECIAL else sorted(values)
    ranges = any(isinstance(each, (Uniform, LogUniform)) for each in varied)
    if len(ordered) > 1 and (name in _RANGES or ranges):
        return f"{_value(ordered[0])} to {_value(ordered[-1])}"
    return ", ".join(map(_value, ordered)) or "–"


def _options(values: set[Any]) -> str:
    """Options of networks, and the values of each."""
    found: dict[str, set[Any]] = {}
    for options in values:
        for option, choice in options:
            found.setdefault(option, set()).add(choice)
    listed = (f"{option} {', '.join(map(_value, sorted(found[option])))}" for option in sorted(found))
    return "; ".join(listed) or ("none" if values else "–")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)
