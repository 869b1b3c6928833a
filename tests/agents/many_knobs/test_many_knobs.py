"""One knob against several: constants are chosen on the agent's images, all are judged on others, a page is filled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_policies import make_policy, policy_of_two

from lambda_rl import Policy, load_policy, save_policy
from lambda_rl.agents.many_knobs import command, measure
from lambda_rl.agents.many_knobs.command import ManyKnobsConfig, compare_knobs, table
from lambda_rl.agents.many_knobs.settings import BESIDE, Setting, inverse_norms, one_lambda, two_knobs
from lambda_rl.agents.many_knobs.studies import STUDIES, WORDS
from lambda_rl.attach.layers import inverse_frobenius
from lambda_rl.envs.data import ImageData
from lambda_rl.envs.judging import RunResult, ScheduleJob, run_schedules
from lambda_rl.envs.tasks.suites import load_suite
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.run import network_of
from lambda_rl.knobs import KNOBS, Knob

SUITE = """
defaults: {width: 4, train_size: 40, val_size: 20, batch_size: 8, steps: 6, decisions: 3, network_options: {depth: 3}}
grid: {label_noise: [0.2, 0.4]}
"""


def images(count: int) -> ImageData:
    rng = np.random.default_rng(count)
    labels = torch.from_numpy(rng.integers(0, 10, count))
    pixels = torch.from_numpy(rng.integers(0, 160, (count, 3, 16, 16)))
    return ImageData(
        "tiny", (pixels + 9 * labels.view(-1, 1, 1, 1)).to(torch.uint8), labels, 10, f"tiny-{count}"
    )


def prepared(folder: Path, monkeypatch: pytest.MonkeyPatch, suite: str, **policies: Policy) -> None:
    """A folder with suites and policies, and tiny images for all that asks for some."""
    monkeypatch.setattr(
        command.ManyKnobsConfig, "load_parts", lambda self, part: {"": images(700 if part == "train" else 90)}
    )
    (folder / "policies").mkdir()
    for name in ("validation", "held-out"):
        (folder / f"{name}.yaml").write_text(suite)
    for name, policy in policies.items():
        save_policy(folder / "policies" / f"{name}-seed0.safetensors", policy)


def test_one_and_many_are_compared_and_pages_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure.BASELINES["cpr"], "grid", lambda: ["cpr:warm-start,0.5", "cpr:dependent,1"])
    prepared(tmp_path, monkeypatch, SUITE, one=make_policy())
    page = tmp_path / "page.md"
    other = "<!-- block: alpha -->\nof another study\n<!-- end: alpha -->\n"
    page.write_text(f"<!-- block: one-or-many -->\n<!-- end: one-or-many -->\n{other}")
    compare_knobs(ManyKnobsConfig(out=tmp_path, trials=4, seeds=2, pages=(page,)))
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert rows.groupby("contestant").size().to_dict() == dict.fromkeys(
        (
            "one λ",
            "grid of λ and smoothing",
            "grid of λ and dropout",
            "λ per layer",
            "λ by norm",
            "cpr",
            "policy, λ",
        ),
        4,
    )
    trials = pd.read_csv(tmp_path / "trials.csv")
    assert trials.groupby("family").size().to_dict() == {
        "one λ": 4, "grid of λ and smoothing": 4, "grid of λ and dropout": 4,
        "λ per layer": 4, "λ by norm": 4, "cpr": 2,
    }  # fmt: skip
    for family, found in trials.groupby("family"):
        chosen = rows[rows["contestant"] == family]["setting"].iloc[0]
        assert chosen == found.loc[found["accuracy"].idxmax(), "setting"]
    text = page.read_text()
    assert "| λ per layer |" in text
    assert "| cpr | cpr:" in text
    assert other in text
    rows[rows["contestant"] != "grid of λ and dropout"].to_csv(tmp_path / "rows.csv", index=False)
    trials[trials["family"] != "grid of λ and dropout"].to_csv(tmp_path / "trials.csv", index=False)
    save_policy(tmp_path / "policies" / "one-seed1.safetensors", make_policy())
    compare_knobs(ManyKnobsConfig(out=tmp_path, trials=4, seeds=2, measure="missing", pages=(page,)))
    added = pd.read_csv(tmp_path / "rows.csv")
    assert added[added["setting"] != "one-seed1"].sort_values(list(rows)).to_numpy().tolist() == (
        rows.sort_values(list(rows)).to_numpy().tolist()
    )  # the same numbers, in whatever order they were measured
    assert (added["setting"] == "one-seed1").sum() == 4
    assert len(pd.read_csv(tmp_path / "trials.csv")) == len(trials)
    with pytest.raises(ValueError, match="has other tasks or seeds than --seeds 3 asks for"):
        compare_knobs(ManyKnobsConfig(out=tmp_path, measure="missing"))


def test_the_table_has_differences_to_the_policy_of_one_knob() -> None:
    def rows(contestant: str, agent: int, accuracies: list[float]) -> list[dict[str, object]]:
        cells = [(task, seed) for task in ("a", "b") for seed in (0, 1)]
        return [
            {
                "contestant": contestant,
                "agent_seed": agent,
                "setting": "λ 0.1",
                "task": t,
                "seed": s,
                "accuracy": x,
            }
            for (t, s), x in zip(cells, accuracies, strict=True)
        ]

    found = pd.DataFrame(
        [
            *rows("one λ", 0, [30.0, 31.0, 32.0, 33.0]),
            *rows("policy, λ", 0, [31.0, 32.0, 33.0, 34.0]),
            *rows("policy, λ", 1, [33.0, 34.0, 35.0, 36.0]),
        ]
    )
    text = table(found, ("one λ", "policy, λ", "not there"))
    assert "| one λ | λ 0.1 | 31.50 [" in text
    assert "| -2.00 [-2.00, -2.00] |" in text
    assert "| policy, λ |  | 33.50 [" in text
    assert "| 32.50, 34.50 |" in text


def test_constants_and_policies_of_alpha_are_compared_on_clean_and_attacked_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    knobs = (Knob("lam", -6, -5, 0.1), KNOBS["alpha"].knob("alpha"))
    prepared(tmp_path, monkeypatch, SUITE, alpha=policy_of_two(*knobs))
    compare_knobs(ManyKnobsConfig(study="alpha", out=tmp_path, seeds=1))
    rows = pd.read_csv(tmp_path / "rows.csv").set_index(["contestant", "task"])
    assert rows.groupby("contestant").size().to_dict() == dict.fromkeys(
        ("no attacks, α 1", "α 0.5", "one α", "best α of each task, in hindsight", "policy, α"), 2
    )
    assert np.allclose(rows["accuracy"], (rows["clean"] + rows["attacked"]) / 2, atol=1e-3)
    assert (rows["attacked"] <= rows["clean"]).all()
    each = rows.loc["best α of each task, in hindsight"]["accuracy"]
    for name in ("no attacks, α 1", "α 0.5", "one α"):
        assert (each >= rows.loc[name]["accuracy"] - 1e-3).all()
    trials = pd.read_csv(tmp_path / "trials.csv")
    assert len(trials) == 11
    best = trials.loc[trials["accuracy"].idxmax(), "setting"]
    assert (rows.loc["one α"]["setting"] == best).all()


def test_a_policy_of_lambda_runs_without_augmentation_where_that_is_the_knob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def run(jobs: list[ScheduleJob], *args: object, **options: object) -> list[RunResult]:
        seen.extend((job.name.partition("-")[0], job.task.augment) for job in jobs)
        return run_schedules(jobs, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("lambda_rl.agents.baselines.judge.run_schedules", run)
    knobs = (Knob("lam", -4, 0, 0.5), KNOBS["augmentation"].knob("augmentation"))
    suite = SUITE.replace("width: 4", "width: 4, augment: true")
    prepared(tmp_path, monkeypatch, suite, plain=make_policy(), augmentation=policy_of_two(*knobs))
    compare_knobs(ManyKnobsConfig(study="augmentation", out=tmp_path, seeds=1, trials=4))
    assert {pair for pair in seen if pair[0].startswith("learned")} == {
        ("learned plain", False), ("learned augmentation", True),
    }  # fmt: skip
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert rows.groupby("contestant").size().to_dict() == dict.fromkeys(
        ("one λ", "grid of λ and augmentation", "policy, λ, not augmented", "policy, λ and augmentation"), 2
    )


def test_factors_by_norm_are_those_of_initial_weights() -> None:
    task = Task(width=32, network_options=(("depth", 3),))
    network = network_of(task, 10)
    params, _ = network.init(torch.Generator().manual_seed(0), torch.float64)
    measured = inverse_frobenius(params[name] for name in network.penalised)
    assert list(inverse_norms(task).values()) == pytest.approx(measured, rel=0.05)


def test_grids_have_no_more_settings_than_they_may() -> None:
    assert len(one_lambda(28)) == len(two_knobs("dropout", 28)) == 28
    assert [setting.lam for setting in one_lambda(3, (1e-6, 1e-4))] == pytest.approx([1e-6, 1e-5, 1e-4])
    assert str(Setting(0.01, {"layer.2": 3.0}, by_norm=True)) == "λ 0.01, layer.2 3, by norm"
    for knob, values in BESIDE.items():
        assert {name for s in two_knobs(knob, 8) for name in s.knobs} == {knob}
        assert values[0] == KNOBS[knob].neutral
    assert list(BESIDE) == list(WORDS)


@pytest.mark.parametrize("penalty", ["l1", "l0.5"])
def test_policies_of_other_penalties_are_of_the_tasks_that_they_are_compared_on(penalty: str) -> None:
    study = STUDIES[penalty]
    folder = Path(__file__).parents[3] / study.folder
    for name in ("validation", "held-out"):
        assert {task.penalty for task in load_suite(folder / f"{name}.yaml").tasks} == {penalty}
    assert load_suite(folder / "train.yaml").sample(np.random.default_rng(0)).penalty == penalty
    (path,) = (folder / "policies").glob("*.safetensors")
    card = load_policy(path).card
    assert card.penalty == penalty
    low, high = np.log10(study.lambdas)
    assert card.knobs[0].log_low < low < high <= card.knobs[0].log_high


def test_unusable_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--trials must be"):
        compare_knobs(ManyKnobsConfig(out=tmp_path, trials=1))
    with pytest.raises(ValueError, match="no such page to fill"):
        compare_knobs(ManyKnobsConfig(out=tmp_path, pages=(tmp_path / "none.md",)))
    (tmp_path / "bare.md").write_text("no block\n")
    with pytest.raises(ValueError, match="none of the blocks two-knobs, one-or-many is there"):
        compare_knobs(ManyKnobsConfig(out=tmp_path, pages=(tmp_path / "bare.md",)))
