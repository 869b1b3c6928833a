"""An agent whose action moves κ: trained on several optimizers, exported, deployed, and compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_runs import tiny_config
from whole_way import compared, deploy, loaded, suite_file, trained_and_exported

from lambda_rl.agents.ppo.config import TrainConfig
from lambda_rl.agents.ppo.config_file import from_dict, to_dict
from lambda_rl.control import KAPPA_LAW, ControlLaw
from lambda_rl.observation import KAPPA_FEATURES

TASKS = (
    {"seed": 0, "initial_kappa": 2.0},
    {"seed": 5, "initial_kappa": 8.0, "optimizer": "adamw", "decay": "decoupled", "learning_rate": 0.003},
)


def test_kappa_goes_the_whole_way(tmp_path: Path) -> None:
    suite = suite_file(tmp_path, tasks=TASKS)
    path = trained_and_exported(tmp_path, suite, unit="kappa", control=ControlLaw())
    policy = loaded(path)
    card = policy.card
    assert (card.unit, card.lam_meaning, card.features) == ("kappa", "any", KAPPA_FEATURES)
    assert card.control == KAPPA_LAW
    assert card.initial == pytest.approx((4.0,))  # the geometric mean of those of the tasks
    schedule = deploy(policy)
    assert schedule.kappa == pytest.approx(schedule.value * schedule.facts.lr_sum)
    compared(tmp_path, suite, path)  # no word on what λ means for tasks of either kind


def test_a_suite_that_says_no_kappa_leaves_the_start_to_the_range(tmp_path: Path) -> None:
    suite = suite_file(tmp_path)
    control = ControlLaw(-1.0, 2.0, 0.25)
    features = ("progress", "log_kappa", "val_loss_rank")
    card = loaded(
        trained_and_exported(tmp_path, suite, unit="kappa", control=control, features=features)
    ).card
    assert (card.control, card.initial, card.features) == (control, (None,), features)


def test_the_unit_is_an_option(tmp_path: Path) -> None:
    config = TrainConfig(unit="kappa")
    assert config.control == KAPPA_LAW
    assert from_dict(to_dict(config)) == config
    assert tiny_config(tmp_path, "agent").unit == "lam"
    before = to_dict(TrainConfig())
    del before["unit"]
    assert from_dict(before) == TrainConfig()
    with pytest.raises(ValueError, match="unit"):
        from_dict({"unit": "tau"})
