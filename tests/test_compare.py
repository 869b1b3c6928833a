"""The comparison: derived schedules on made-up numbers, and a small real one from the command line's config."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lambda_rl.agents.compare import (
    Comparison,
    compare,
    default_tuning_suite,
    entries,
    headline,
    policy_names,
)
from lambda_rl.agents.compare_command import CompareConfig, run_comparison
from lambda_rl.agents.summary import Plan, scores_of, summarise
from lambda_rl.agents.tuning import UNTUNED, Setting, Tuned
from lambda_rl.control import ControlLaw
from lambda_rl.envs.data import load_test, load_train
from lambda_rl.envs.suites import Suite, TaskList, load_suite
from lambda_rl.envs.tasks import Task
from lambda_rl.features import NUM_FEATURES
from lambda_rl.policy import policy_from_arrays
from lambda_rl.policy_card import PolicyCard
from lambda_rl.policy_file import save_policy

TASK = Task(width=4, train_size=64, val_size=40, steps=6, decisions=3, batch_size=16)
SUITE = Suite("tiny", "held-out", TaskList((TASK, dataclasses.replace(TASK, label_noise=0.4))))


def tuned_result(seeds: tuple[int, ...] = (10_000,), constant: str = "constant:0.01") -> Tuned:
    families = {"constant": constant, **UNTUNED}
    return Tuned(
        "tiny-validation", "synthetic", load_train("synthetic").fingerprint, ["a"], ["mlp"], list(seeds),
        dict.fromkeys(families, 16), {name: [Setting(spec, 30.0, 0.0)] for name, spec in families.items()}, 1.0,
    )  # fmt: skip


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.safetensors"
    layer = (np.full((1, NUM_FEATURES), 0.1, np.float32), np.zeros(1, np.float32))
    card = PolicyCard(knobs=(ControlLaw().knob,))
    made = policy_from_arrays(
        obs_mean=np.zeros(NUM_FEATURES), obs_var=np.ones(NUM_FEATURES), layers=[layer], card=card
    )
    save_policy(path, made)
    return path


def made_up() -> pd.DataFrame:
    """Two tasks, two seeds: constant:1 is best on task b, constant:2 on task a; validation misleads for (a, 0)."""
    test = {
        "constant:1": [[10, 12], [40, 40]],
        "constant:2": [[20, 22], [30, 30]],
        "learned": [[21, 21], [39, 43]],
    }
    val = {
        "constant:1": [[99, 12], [40, 40]],
        "constant:2": [[20, 22], [30, 30]],
        "learned": [[1, 1], [1, 1]],
    }
    return pd.DataFrame(
        [
            {
                "task": task, "seed": seed, "schedule": name, "kind": name.partition(":")[0], "spec": name,
                "test_accuracy": float(test[name][i][seed]), "test_loss": 1.0,
                "val_accuracy": float(val[name][i][seed]), "val_loss": 1.0, "outer_accuracy": 0.0, "outer_loss": 1.0,
                "diverged": False, "final_log_lam": 0.0, "mean_log_lam": 0.0,
            }
            for name in test
            for i, task in enumerate(("a", "b"))
            for seed in (0, 1)
        ]
    )  # fmt: skip


def test_derived_schedules_by_hand() -> None:
    everything, summary = summarise(
        made_up(), Plan(["constant:1", "constant:2"], "constant:2", {"learned": 7})
    )
    schedules = summary["schedules"]
    mean = {name: item["test_accuracy_mean"] for name, item in schedules.items()}
    assert summary["oracle_constants"] == {"a": "constant:2", "b": "constant:1"}
    assert mean["oracle-constant"] == (20 + 22 + 40 + 40) / 4
    assert mean["grid-search"] == (10 + 22 + 40 + 40) / 4
    assert mean["best-single-constant"] == mean["constant:2"] == 25.5
    assert mean["best-single-constant-hindsight"] == mean["constant:1"] == 25.5  # the first of equals
    assert mean["mean-constant"] == pytest.approx(25.5)
    learned = schedules["learned"]
    assert learned["difference_mean"] == pytest.approx(31 - 25.5)
    assert learned["regret_mean"] == pytest.approx(30.5 - 31)
    assert learned["tasks"] == {"a": 21.0, "b": 41.0}
    assert learned["ci95"][0] <= learned["difference_mean"] <= learned["ci95"][1]
    assert schedules["best-single-constant"]["ci95"] == [0.0, 0.0]
    assert {name: schedules[name]["inner_runs"] for name in ("learned", "grid-search", "oracle-constant")} == {
        "learned": 1, "grid-search": 2, "oracle-constant": 2,
    }  # fmt: skip
    assert learned["tuning_runs"] == 7
    assert len(everything) == 4 * (3 + 5)
    assert list(schedules) == sorted(schedules, key=lambda name: -mean[name])


def test_a_missing_run_is_told() -> None:
    with pytest.raises(ValueError, match="one run for each task and seed"):
        scores_of(made_up().drop(index=11), "learned")


def test_order_of_rows_does_not_matter() -> None:
    plan = Plan(["constant:1", "constant:2"])
    shuffled = made_up().sample(frac=1.0, random_state=3).sort_values("task", kind="stable")
    assert summarise(shuffled, plan)[1] == summarise(made_up(), plan)[1]


def test_names_of_policies() -> None:
    assert policy_names(["x/policy.safetensors"]) == ["learned"]
    assert policy_names(["x/a.safetensors", "y/b.safetensors"]) == ["learned:a", "learned:b"]
    assert policy_names(["x/p.safetensors", "y/p.safetensors"]) == ["learned:x/p", "learned:y/p"]
    with pytest.raises(ValueError, match="twice"):
        policy_names(["a", "a"])


@pytest.mark.parametrize(
    ("suite", "data", "expected"),
    [
        ("quick-held-out", "synthetic", "quick-validation"),
        ("cifar-mlp-held-out-fifth", "cifar10", "cifar-mlp-validation"),
        ("cifar-mixed-held-out", "cifar10", "cifar-mixed-validation"),
    ],
)
def test_tuning_suite_of_builtin_ones(suite: str, data: str, expected: str) -> None:
    assert default_tuning_suite(load_suite(suite), data) == expected


def test_tuning_suite_of_own_suites() -> None:
    def own(*networks: str) -> Suite:
        return Suite("mine", "held-out", TaskList(tuple(Task(network=name) for name in networks)))

    assert default_tuning_suite(own("mlp"), "synthetic:3") == "quick-validation"
    assert default_tuning_suite(own("mlp"), "cifar10") == "cifar-mlp-validation"
    assert default_tuning_suite(own("cnn3", "cnn3"), "cifar10") == "cifar-cnn-validation"
    assert default_tuning_suite(own("mlp", "cnn3"), "cifar10") == "cifar-mixed-validation"


def test_a_real_one_is_paired_complete_and_comes_back(tmp_path: Path, policy: Path) -> None:
    train, test = load_train("synthetic"), load_test("synthetic")
    grid = (0.01, 0.1)
    found = compare(
        [policy], SUITE, 2, train, test, tuned=tuned_result(constant="constant:0.03"), constants=grid
    )
    names = {"learned", *UNTUNED, "constant:0.01", "constant:0.1", "constant:0.03", "no-penalty"}
    derived = {
        "oracle-constant",
        "grid-search",
        "best-single-constant",
        "best-single-constant-hindsight",
        "mean-constant",
    }
    assert set(found.summary["schedules"]) == names | derived
    assert found.summary["best_single_constant"] == "constant:0.03"
    assert found.summary["seeds"] == [0, 1]
    assert len(found.results) == 4 * (len(names) + len(derived))
    assert len(found.trajectories) == 4 * len(names) * TASK.decisions
    # Common random numbers: the first interval of two schedules with the same λ is the same.
    first = (
        found.trajectories[found.trajectories["decision"] == 0]
        .set_index(["schedule", "task", "seed"])
        .sort_index()
    )
    assert (first.loc["constant:0.1", "train_loss"] == first.loc["pull-down", "train_loss"]).all()
    found.write(tmp_path)
    back = Comparison.load(tmp_path)
    assert back.summary == json.loads(json.dumps(found.summary))
    pd.testing.assert_frame_equal(back.results, found.results, check_dtype=False)
    assert len(headline(found.summary)) == 1
    again = compare(
        [policy], SUITE, 2, train, test, tuned=tuned_result(constant="constant:0.03"), constants=grid
    )
    pd.testing.assert_frame_equal(again.results, found.results)


def test_seeds_of_tuning_are_refused() -> None:
    with pytest.raises(ValueError, match="tuned with"):
        compare([], SUITE, 2, load_train("synthetic"), load_test("synthetic"), tuned=tuned_result(seeds=(1,)))


def test_an_agent_suite_and_untuned_schedules_are_noted(policy: Path) -> None:
    suite = Suite(
        "tiny", "agent", TaskList((dataclasses.replace(TASK, optimizer="adamw", decay="decoupled"),))
    )
    data = load_train("synthetic"), load_test("synthetic")
    with pytest.raises(
        ValueError, match="coupled decay, suite tiny has decoupled; say --lam-meaning convert"
    ):
        compare([policy], suite, 1, *data, constants=(0.01,))
    lams = {}
    for meaning, word in (("convert", "converted"), ("coupled", "used unconverted")):
        found = compare(
            [policy], suite, 1, *data, constants=(0.01,), lam_meaning=meaning, families=("gap",),
            extra=("constant:0.0005",),
        )  # fmt: skip
        notes = " ".join(found.summary["notes"])
        assert "fold agent" in notes
        assert "untuned" in notes
        assert f"coupled decay, the suite has decoupled; its λ is {word}" in notes
        kinds = {name: item["kind"] for name, item in found.summary["schedules"].items()}
        assert {name for name, kind in kinds.items() if kind == "hand-designed"} == {"gap"}
        assert kinds["constant:0.0005"] == "constant"
        assert found.summary["constants"] == ["constant:0.01"]  # what is extra is not of the grid
        rows = found.trajectories
        lams[meaning] = rows[rows["schedule"] == "learned"]["lam"].to_numpy()
    assert not np.allclose(lams["convert"], lams["coupled"], rtol=0.1)


def test_what_takes_part_is_checked() -> None:
    with pytest.raises(ValueError, match="unknown hand-designed schedule warm; allowed are pull-down"):
        entries([], (0.01,), None, families=("warm",))
    with pytest.raises(ValueError, match=r"constant:0\.01 takes part already"):
        entries([], (0.01,), None, extra=("constant:0.01",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"suite": "quick"}, "distribution"),
        ({"suite": "no-such-suite"}, "no-such-suite"),
        ({"policy": ("missing.safetensors",)}, "missing.safetensors"),
        ({"constants": ()}, "empty"),
        ({"tune": "quick-held-out"}, "only see the fold agent"),
    ],
)
def test_bad_options_are_told_before_any_run(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run_comparison(CompareConfig(out=str(tmp_path), **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"seeds": 0}, {"tune_seeds": 0}, {"precision": "fp8"}, {"threads": -1}])
def test_bad_numbers_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="--"):
        run_comparison(CompareConfig(out="x", **options))  # type: ignore[arg-type]
