"""Model cards: the facts and numbers in them are those of the policy files and of the results."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from comparisons import fields_of, schedule_summary, summary
from places import ROOT
from tiny_policies import CARD, make_policy
from tiny_schedules import KAPPA_CARD

from lambda_rl import LearnedSchedule, load_policy, save_policy, shipped_policies
from lambda_rl.agents.comparison.results import PolicySummary, Summary
from lambda_rl.agents.foreign.summary import ContestantSummary, ForeignSummary
from lambda_rl.agents.model_cards import card_blocks, measured, update_card
from lambda_rl.agents.presenting.markdown import fill
from lambda_rl.envs.tasks.suites import load_suite
from lambda_rl.policy.file import policy_path

RESULTS = ROOT / "docs" / "results"
MOVE_LAM = ("cifar-mlp", "cifar-mixed")
"""Shipped policies that move λ; their cards have words about their numbers."""

needs_results = pytest.mark.skipif(not RESULTS.is_dir(), reason="no results in this checkout")


def card_of(name: str) -> str:
    return policy_path(name).with_suffix(".md").read_text(encoding="utf-8")


def part(text: str, name: str) -> list[list[str]]:
    """The rows of the tables in a part of a card, without heads."""
    (content,) = re.findall(rf"<!-- block: {name} -->\n(.*?)<!-- end: {name} -->", text, flags=re.DOTALL)
    tables = [table.splitlines()[2:] for table in content.split("\n\n")]
    return [row.strip("| ").split(" | ") for table in tables for row in table]


@needs_results
@pytest.mark.parametrize("name", shipped_policies())
def test_the_committed_card_is_up_to_date(name: str) -> None:
    text = card_of(name)
    filled = fill(text, card_blocks(load_policy(name), RESULTS))
    assert text == filled, "run `python scripts/model_card.py`, then read whether the words still hold"


@pytest.mark.parametrize("name", shipped_policies())
def test_the_facts_are_the_files(name: str) -> None:
    """Told apart from the code that writes them."""
    policy, facts = load_policy(name), dict(part(card_of(name), "facts"))
    card = policy.card
    assert facts["fingerprint"] == policy.fingerprint
    assert (facts["commit"], facts["command"]) == (card.commit, card.command)
    assert facts["decisions in a run"] == str(card.decisions)
    assert facts["trained on"] == f"{card.suite}, {card.data}"
    assert facts["λ means"] == f"{card.lam_meaning} decay, penalty {card.penalty}"
    unit = "λ" if name in MOVE_LAM else "κ"
    low, high, start = (float(number) for number in re.findall(r"[\d.e-]*\d", facts[f"{unit} range"]))
    assert (low, high) == pytest.approx((10**card.log_lam_min, 10**card.log_lam_max), rel=1e-2)
    assert start == pytest.approx(card.initial_lam, rel=1e-5)


@needs_results
@pytest.mark.parametrize("name", shipped_policies())
def test_the_results_are_the_files(name: str) -> None:
    policy, rows = load_policy(name), part(card_of(name), "results")
    table = {row[-1].strip("`"): row for row in rows if len(row) == 7}
    summaries = {
        path.parent.relative_to(RESULTS).as_posix(): json.loads(path.read_text(encoding="utf-8"))
        for path in RESULTS.rglob("summary.json")
    }
    called = {
        folder: key
        for folder, summary in summaries.items()
        # summaries of other things than comparisons have no policies
        for key, entry in summary.get("policies", {}).items()
        if policy.card.commit == entry["commit"]
        and (entry.get("fingerprint") or policy.fingerprint) == policy.fingerprint
    }
    assert sorted(table) == sorted(called)
    assert len(table) >= 2 or name not in MOVE_LAM
    for folder, (title, accuracy, best, difference, *_) in table.items():
        summary = summaries[folder]
        ours = summary["schedules"][called[folder]]
        assert title.startswith(f"`{summary['suite']}`, {len(summary['tasks'])} task")
        assert accuracy == f"{ours['test_accuracy_mean']:.2f}"
        assert best.split()[0] == f"{summary['schedules']['best-single-constant']['test_accuracy_mean']:.2f}"
        low, high = ours["ci95"]
        assert difference == f"{ours['difference_mean']:+.2f} [{low:+.2f}, {high:+.2f}]"


@needs_results
@pytest.mark.parametrize("name", MOVE_LAM)
def test_the_words_agree_with_the_numbers(name: str) -> None:
    text, policy = card_of(name), load_policy(name)
    sizes = [row for row in part(text, "results") if len(row) == 4]
    against_none = {(row[0].strip("`"), int(row[1].replace(",", ""))): float(row[3]) for row in sizes}
    assert "From 6,000 images on it has gained nothing" in text
    assert all(points < 0.15 for (_, size), points in against_none.items() if size >= 6000)
    assert all(points > 2.5 for (_, size), points in against_none.items() if size == 500)
    adamw = [points for (suite, _), points in against_none.items() if "adamw" in suite]
    assert "AdamW" in text
    assert len(adamw) == 1
    assert adamw[0] < 0
    (transfer,) = (
        item for item in measured(policy, RESULTS) if item.summary.suite == "transfer-sgd-held-out"
    )
    means = {key: item.test_accuracy_mean for key, item in transfer.summary.schedules.items()}
    assert means["no-penalty"] < means[transfer.name] < means["best-single-constant"]
    assert means["learned:cifar-mlp"] < means["learned:cifar-mixed"]
    with (RESULTS / name / "metrics.csv").open(newline="") as file:
        seconds = float(list(csv.DictReader(file))[-1]["time/elapsed"])
    assert f"took {seconds / 60:.0f} minutes" in text
    config = yaml.safe_load((RESULTS / name / "config.yaml").read_text(encoding="utf-8"))
    assert config["suite"] == policy.card.suite
    assert load_policy(RESULTS / name / "policy.safetensors").fingerprint == policy.fingerprint


@pytest.mark.parametrize("name", shipped_policies())
def test_the_way_to_load_it_works(name: str) -> None:
    text = card_of(name)
    (block,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names: dict[str, Any] = {}
    with torch.random.fork_rng():
        exec(compile(block, f"{name}.md", "exec"), names)  # the card is ours
    schedule = names["schedule"]
    assert isinstance(schedule, LearnedSchedule)
    assert schedule.policy.fingerprint == load_policy(name).fingerprint
    front = yaml.safe_load(text.split("---")[1])
    assert front["license"] == "mit"
    assert front["library_name"] == "lambda-rl"


def test_what_was_never_measured_is_said() -> None:
    for name in shipped_policies():
        rows = {row[0]: row for row in part(card_of(name), "tasks")}
        networks = {task.network for task in load_suite(load_policy(name).card.suite).largest}
        assert set(rows["network"][1].split(", ")) == networks
        measured_on, never = (set(cell.split(", ")) for cell in rows["network"][2:4])
        assert measured_on | never >= {"mlp", "cnn3", "resnet9"}
        assert not measured_on & never


def compared(policy: PolicySummary, **schedules: dict[str, float]) -> Summary:
    """A small comparison on two tasks; schedules by their accuracy on each."""
    made = {
        name.replace("_", "-"): schedule_summary(accuracy=sum(tasks.values()) / 2, tasks=tasks)
        for name, tasks in schedules.items()
    }
    fields = {**fields_of(load_suite("quick-held-out").tasks[0]), "train_size": 500}
    return summary(made, task_fields=dict.fromkeys("ab", fields), policies={"learned": policy})


def test_the_card_of_a_policy_that_moves_kappa(tmp_path: Path) -> None:
    """A suite of ranges and tables is told as such, and what it came to on foreign loops stands beside comparisons."""
    card = dataclasses.replace(KAPPA_CARD, suite="any-loop", initial=(1.0,))
    policy = make_policy(card=card)
    blocks = card_blocks(policy, tmp_path)
    assert blocks["results"] == "Not measured yet.\n"
    assert "| κ range | 0.01 to 158, start 1 |" in blocks["facts"]
    rows = dict(row.strip("| ").split(" | ", 1) for row in blocks["tasks"].splitlines())
    assert "start λ" not in rows
    assert rows["start κ"].startswith("1 | ")
    assert re.match(r"\d+ to \d+ \|", rows["width"])
    assert rows["data set"].startswith("images, generated tables (clusters, ")
    assert re.match(
        r"activation .*; depth [\d, ]+; norm batch, layer, none \|", rows["options of the network"]
    )

    judged = ContestantSummary(
        name="mine", fingerprint=policy.fingerprint, runs=1, tasks={"digits": 90.0, "wine": 95.0}, accuracy=92.5,
        regret=1.25, regret_interval=(0.5, 2.0), regret_tail=2.0, worst_task="wine", worst_regret=2.0,
        worst_against_none=-1.5, worse_than_none=(0.5, 0.0), worse_than_default=(0.0, 0.0), worse_than_plain=0.0,
        warned=0.0, mean_kappa={},
    )  # fmt: skip
    contestants = {"mine": judged, "other": dataclasses.replace(judged, fingerprint="0" * 16)}
    foreign = ForeignSummary(
        ForeignSummary.version, 3, (), (), contestants, (), (), "python x", "c", "2 cores"
    )
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "summary.json").write_text(foreign.to_json(), encoding="utf-8")
    (row,) = card_blocks(policy, tmp_path)["results"].splitlines()[2:]
    assert row == "| 2 foreign loops × 3 seeds | 92.50 | 1.25 [0.50, 2.00] | 50 % and 0 % | wine (2.0) |"


def test_a_card_is_filled_from_whatever_results_there_are(tmp_path: Path) -> None:
    card = dataclasses.replace(
        CARD, suite="quick", data="d", commit="c", results={"validation": {"score": 0.5}}
    )
    policy = make_policy(card=card)
    save_policy(tmp_path / "one.safetensors", policy)
    path = tmp_path / "one.md"
    names = ("facts", "results", "tasks")
    path.write_text(
        "words\n" + "".join(f"<!-- block: {name} -->\nold\n<!-- end: {name} -->\nmore\n" for name in names)
    )
    with pytest.raises(FileNotFoundError, match="no such folder of results"):
        update_card(path, tmp_path / "results")
    folder = tmp_path / "results" / "deep" / "er"
    folder.mkdir(parents=True)
    known = PolicySummary(file="p", suite="quick", data="d", commit="c")
    tasks = {"learned": {"a": 30.0, "b": 34.0}, "no_penalty": {"a": 29.0, "b": 32.0}}
    (folder / "summary.json").write_text(compared(known, **tasks).to_json())
    assert update_card(path, tmp_path / "results")
    text = path.read_text(encoding="utf-8")
    assert "old" not in text
    assert text.count("more") == 3
    assert part(text, "results")[0][:6] == [
        "`mine`, 2 tasks × 1 seed",
        "32.00",
        "– (in hindsight)",
        "+1.00 [+0.50, +1.50]",
        "–",
        "–",
    ]
    assert part(text, "results")[1] == ["`mine`", "500", "–", "+1.50"]
    assert not update_card(path, tmp_path / "results")
    # Another policy's results are left out, by its commit or, where a summary has it, by its fingerprint.
    for other in (dataclasses.replace(known, commit="e"), dataclasses.replace(known, fingerprint="0" * 16)):
        (folder / "summary.json").write_text(compared(other, **tasks).to_json())
        assert measured(policy, tmp_path / "results") == []
    (folder / "summary.json").write_text('{"schedules": {}}')
    with pytest.raises(ValueError, match=r"summary\.json: not the summary of a comparison"):
        measured(policy, tmp_path / "results")
    (folder / "summary.json").unlink()
    path.write_text("no parts")
    with pytest.raises(ValueError, match=r"one\.md: the page has no blocks to fill"):
        update_card(path, tmp_path / "results")
