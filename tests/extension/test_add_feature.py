"""A new feature is one entry; policies that do not name it go on as they were."""

from pathlib import Path

import numpy as np
from whole_way import FACTS, compared, deploy, loaded, suite_file, trained_and_exported

from lambda_rl import LearnedSchedule, load_policy
from lambda_rl.observation import FEATURES, Feature

OVERFIT = Feature(
    "validation loss / log C in the second half", lambda v: v.now["val_loss"] * v.signals.progress, 0, 4
)
SUBSET = ("progress", "overfit", "log_lam", "val_loss")


def first_of_shipped() -> float:
    """λ that the shipped policy begins with."""
    return LearnedSchedule(policy="cifar-mlp", facts=FACTS, weight_norm=3.0).value


def test_a_feature_goes_the_whole_way(tmp_path: Path) -> None:
    before = first_of_shipped()
    with FEATURES.temporarily("overfit", OVERFIT):
        suite = suite_file(tmp_path)
        everything = loaded(trained_and_exported(tmp_path, suite))
        assert everything.card.features == FEATURES.names()
        path = trained_and_exported(tmp_path / "some", suite, features=SUBSET)
        policy = loaded(path)
        assert policy.card.features == SUBSET
        assert np.abs(policy.layers[0][0][:, 1]).max() > 0  # the policy looks at it
        deploy(policy)
        compared(tmp_path, suite, path)
        assert first_of_shipped() == before  # a policy of before neither reads it nor is refused
    assert load_policy("cifar-mlp").card.features == FEATURES.names()
