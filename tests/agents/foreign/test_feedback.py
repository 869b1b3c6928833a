"""What feedback adds: λ that does not look at the run, and paired differences to it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import short

from lambda_rl.agents.foreign import selected
from lambda_rl.agents.foreign.command import GeneralityConfig, run_generality
from lambda_rl.agents.foreign.contestants import kappas, static
from lambda_rl.agents.foreign.feedback.replay import INTERVALS, REPLAYED, Replayed, replayed
from lambda_rl.agents.foreign.feedback.static import LAW, SUGGESTED, Suggested
from lambda_rl.agents.foreign.loop import train
from lambda_rl.agents.foreign.page import page_blocks, readme_blocks, who_looks
from lambda_rl.agents.foreign.rows import Row, read_rows
from lambda_rl.agents.foreign.runner import play_one
from lambda_rl.agents.foreign.summary import ForeignSummary, summarise
from lambda_rl.agents.foreign.task import ForeignTask
from lambda_rl.suggest.kappa_law import KappaLaw

ORIGIN = {"command": "made", "commit": "none", "hardware": "none"}
TABLE = KappaLaw(
    (0.5, 0.3, 0.7), {"": -1.0, "log_epochs": 1.0, "adaptive": 0.5, "normalised": 0.25}, ((0.0,) * 4,) * 4
)


def made(
    task: ForeignTask,
    seed: int,
    name: str,
    test: float = 50.0,
    fingerprint: str = "",
    kappa: tuple[float, ...] = (),
) -> Row:
    return Row(
        task.name, task.digest, seed, name, fingerprint, test, 1.0, 50.0, 1.0, 99.0, 1.0, 0.1, False, kappa
    )


def lams(task: ForeignTask, contestant: Suggested | Replayed) -> np.ndarray:
    outcome = train(task, task.data(0), 0, contestant.schedule, feedback=contestant.feedback)
    return np.array(outcome.lams)


def test_the_suggested_constant_counts_by_the_peak_and_the_law_by_the_facts() -> None:
    sgd, adamw, norm = short("digits-noisy"), short("digits-noisy-adamw"), short("digits-noisy-layernorm")
    peak = sgd.lr / (1 - sgd.momentum) * sgd.steps(600)
    assert lams(sgd, Suggested(TABLE)) * peak == pytest.approx(10**0.5)
    # two epochs, but for the last smaller batch; neither adaptive nor normalised
    epochs = sgd.steps(600) * sgd.batch_size / 600
    assert lams(sgd, Suggested(TABLE, facts=True)) * peak == pytest.approx(epochs * 10 ** (-1 - 0.5 - 0.25))
    for task, log in ((adamw, -1 + 0.5 - 0.25), (norm, -1 - 0.5 + 0.25)):
        peak = task.lr * task.steps(600) / (1.0 if task is adamw else 1 - task.momentum)
        epochs = task.steps(600) * task.batch_size / 600
        assert lams(task, Suggested(TABLE, facts=True)) * peak == pytest.approx(epochs * 10**log)


def test_what_is_fitted_is_known_by_its_numbers() -> None:
    other = dataclasses.replace(TABLE, constant=(0.6, 0.3, 0.7))
    assert Suggested(TABLE).fingerprint != Suggested(other).fingerprint
    assert Suggested(TABLE, facts=True).fingerprint == Suggested(other, facts=True).fingerprint
    bent = dataclasses.replace(TABLE, coefficients={**TABLE.coefficients, "adaptive": 0.4})
    assert Suggested(TABLE, facts=True).fingerprint != Suggested(bent, facts=True).fingerprint
    assert static(TABLE)[LAW].fingerprint == Suggested(TABLE, facts=True).fingerprint
    assert SUGGESTED in static()
    with pytest.raises(ValueError, match="no law of static facts"):
        Suggested(KappaLaw((0.5, 0.3, 0.7), {}), facts=True)


def test_a_trajectory_is_the_mean_over_seeds_then_tasks_of_log_kappa_by_the_peak() -> None:
    cosine, flat = short("digits-noisy"), short("digits-noisy-plain-sgd")
    adam = short("digits-noisy-adam", lr_schedule="constant")
    rows = [
        made(cosine, 0, "mine", fingerprint="abc", kappa=(0.5, 5.0)),  # cosine: the peak is twice the mean
        made(cosine, 1, "mine", fingerprint="abc", kappa=(0.5, 500.0)),
        made(flat, 0, "mine", fingerprint="abc", kappa=(10.0, 10.0, 0.1, 0.1)),
        made(adam, 0, "mine", fingerprint="abc", kappa=(0.01,)),  # Adam's pull: 100 times
        made(dataclasses.replace(flat, lr=9.0), 0, "mine", fingerprint="abc", kappa=(9.0,)),
        made(flat, 0, "other", fingerprint="def", kappa=(7.0,)),
        made(flat, 0, "kappa-1"),
    ]
    one = replayed("mine", rows, [cosine, flat, adam])
    assert one is not None
    first, second = (0 + 1 + 0) / 3, (np.log10(100) + -1 + 0) / 3
    assert one.log_kappa == pytest.approx([first] * (INTERVALS // 2) + [second] * (INTERVALS // 2), abs=1e-4)
    assert one.name == "replayed:mine"
    assert replayed("mine", rows[::-1], [adam, flat, cosine]) == one
    again = replayed("mine", rows[1:], [cosine, flat, adam])
    assert again is not None
    assert len({one.fingerprint, again.fingerprint, dataclasses.replace(one, source="x").fingerprint}) == 3
    assert replayed("nobody", rows, [cosine]) is None


@pytest.mark.parametrize("name", ["digits-noisy", "digits-noisy-plain-sgd", "digits-noisy-adam"])
def test_the_replay_of_one_run_is_its_kappa(name: str) -> None:
    task = short(name)
    row = made(task, 0, "mine", fingerprint="abc", kappa=(0.2, 0.8, 0.4, 0.1))
    one = replayed("mine", [row], [task])
    assert one is not None
    again = play_one(task, task.data(0), 0, one)
    assert again.kappas == pytest.approx(row.kappas, rel=2e-3)


def whole(task: ForeignTask, seed: int, **scores: float) -> list[Row]:
    """All constants at 50, κ = 3 at 60, and policies."""
    rows = [made(task, seed, f"kappa-{kappa:g}", 60.0 if kappa == 3 else 50.0) for kappa in kappas(task)]
    told = {name.replace("_", "-").replace("--", ":"): score for name, score in scores.items()}
    return rows + [
        made(task, seed, name, score, f"print of {name}", (1.0, 4.0)) for name, score in told.items()
    ]


def test_differences_are_paired_and_said_in_a_sentence(tmp_path: Path) -> None:
    tasks = [selected([name])[0] for name in ("wine", "cancer", "digits-few")]
    rows = [
        row
        for place, task in enumerate(tasks)
        for seed in range(2)
        for row in whole(
            task, seed, mine_seed0=58.0, mine_seed1=57.0 + seed, replayed__mine_seed0=56.0 + seed / 10, law=59.0,
            suggested=58.0 + (1 - place),
        )
    ]  # fmt: skip
    rows = [row for row in rows if (row.task, row.contestant) != ("wine", "law")]
    summary = summarise(rows, tasks, 2, ORIGIN)
    told = {(one.policy, one.other): one for one in summary.differences}
    assert len(told) == 5
    replay = told["mine-seed0", "replayed:mine-seed0"]
    assert (replay.tasks, replay.mean) == (3, pytest.approx(1.95))
    assert 1.9 <= replay.interval[0] <= replay.interval[1] <= 2.0
    law = told["mine-seed0", LAW]
    assert (law.tasks, law.mean, law.interval) == (2, -1.0, (-1.0, -1.0))
    assert told["mine-seed0", SUGGESTED].mean == pytest.approx(0.0)
    (seeds,) = summary.agent_seeds
    assert (seeds.name, seeds.tasks, seeds.regrets) == ("mine", 3, {"mine-seed0": 2.0, "mine-seed1": 2.5})

    assert list(summary.contestants)[:5] == [
        "mine-seed0",
        "mine-seed1",
        "replayed:mine-seed0",
        LAW,
        SUGGESTED,
    ]
    block = page_blocks(summary)["feedback"]
    assert "| `mine-seed0` | the law of static facts | 2 | -1.00 [-1.00, -1.00] |" in block
    assert (
        "By these intervals `mine-seed0` is above its mean trajectory replayed; not told apart from the suggested "
        "constant; below the law of static facts.\n"
    ) in block
    assert "Agent seeds of `mine`: mean regrets 2.00, 2.50 on 3 tasks, 0.50 points" in block
    assert "replayed" not in readme_blocks(summary)["generality"]
    assert not [name for name in who_looks(summary) if name.startswith(REPLAYED)]
    (tmp_path / "summary.json").write_text(summary.to_json())
    assert ForeignSummary.load(tmp_path / "summary.json") == summary


def test_replays_follow_their_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = (short("wine"), short("digits-noisy-adamw"))
    monkeypatch.setattr("lambda_rl.agents.foreign.suite.TASKS", tasks)
    config = GeneralityConfig(tmp_path, seeds=1, policy=("cifar-mlp",), replay=True)
    run_generality(config)
    rows = read_rows(tmp_path / "rows.csv")
    found = {row.contestant for row in rows if row.fingerprint}
    assert {"cifar-mlp", "replayed:cifar-mlp", SUGGESTED} <= found
    summary = ForeignSummary.load(tmp_path / "summary.json")
    assert ("cifar-mlp", "replayed:cifar-mlp") in {(one.policy, one.other) for one in summary.differences}

    run_generality(dataclasses.replace(config, replay=False, guard=False, constants=False))
    unguarded = [row for row in read_rows(tmp_path / "rows.csv") if row.contestant == "cifar-mlp-unguarded"]
    assert len(unguarded) == 2

    # a run of the policy that is gone takes its replays with it
    text = (tmp_path / "rows.csv").read_text().splitlines()
    gone = next(line for line in text if ",cifar-mlp," in line)
    (tmp_path / "rows.csv").write_text("\n".join(line for line in text if line != gone) + "\n")
    run_generality(dataclasses.replace(config, measure=False))
    names = ForeignSummary.load(tmp_path / "summary.json").contestants.keys()
    assert "cifar-mlp-unguarded" in names
    assert not [name for name in names if name.startswith(REPLAYED)]
    run_generality(config)
    strip = [dataclasses.replace(row, seconds=0.0) for row in read_rows(tmp_path / "rows.csv")]
    assert [row for row in strip if row.contestant != "cifar-mlp-unguarded"] == [
        dataclasses.replace(row, seconds=0.0) for row in rows
    ]
