"""Families of features: together they are all, and a policy without one does not read it."""

from pathlib import Path

import numpy as np
import pytest

from lambda_rl.agents.ablation.command import AblationConfig, ablate, refitted
from lambda_rl.agents.ablation.families import FAMILIES, VALIDATION, without
from lambda_rl.agents.warm_start.committee import CommitteeConfig
from lambda_rl.agents.warm_start.config import WarmStartConfig
from lambda_rl.agents.warm_start.curves import LOG_KAPPAS
from lambda_rl.agents.warm_start.episodes import Episodes
from lambda_rl.agents.warm_start.learner import Learner
from lambda_rl.envs.tasks.task import Task
from lambda_rl.observation import FEATURES, KAPPA_FEATURES, RunFacts


def test_families_are_all_features_each_once() -> None:
    names = [name for family in FAMILIES.values() for name in family]
    assert len(set(names)) == len(names)
    assert set(names) == {*KAPPA_FEATURES, *FEATURES.names()}


def test_without_validation_no_feature_knows_a_validation_signal() -> None:
    kept = without(VALIDATION)
    assert {"train_loss", "log_val_size", "weight_growth"} <= set(kept)
    assert not {"val_loss", "loss_gap", "kappa_at_best", "gap_slow_trend", "val_accuracy_slow_trend"} & set(
        kept
    )


def test_a_policy_that_is_fitted_without_a_family_does_not_read_it() -> None:
    config = WarmStartConfig(committee=CommitteeConfig(members=2, hidden=(4,), steps=50))
    learner, rng = Learner(config, KAPPA_FEATURES), np.random.default_rng(0)
    runs, steps = len(LOG_KAPPAS) + 2, 4
    learner.experience.add(
        Episodes(
            task=Task(network="mlp", width=8, train_size=100, val_size=50, steps=8, decisions=steps),
            facts=RunFacts(100, 1000, 50, 2, 10.0, 5.0),
            observations=rng.normal(size=(steps, runs, len(KAPPA_FEATURES))).astype(np.float32),
            log_kappa=rng.normal(size=(steps, runs)),
            actions=np.zeros((steps, runs)),
            alive=np.ones((steps, runs), bool),
            accuracy=rng.uniform(0.4, 0.6, runs),
            loss=np.ones(runs),
        )
    )
    policy = refitted(learner, without("facts"), "test")
    assert policy.card.features == without("facts")
    action = policy.act(np.zeros(len(without("facts")), np.float32))
    assert np.isfinite(np.asarray(action)).all()


def test_bad_input_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown family of features 'fact'; allowed: facts, levels"):
        ablate(AblationConfig(tmp_path, tmp_path, ("fact",)), "")
    with pytest.raises(ValueError, match="not a run of"):
        ablate(AblationConfig(tmp_path, tmp_path), "")
