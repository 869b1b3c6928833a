"""What a policy observes: signals of a run, and the features that are made of them."""

from lambda_rl.observation.facts import RunFacts, typical_fact
from lambda_rl.observation.features import (
    FEATURE_BOUND,
    FEATURES,
    FEATURES_VERSION,
    LEVELS,
    Feature,
    all_features,
    feature_table,
)
from lambda_rl.observation.observer import Observer
from lambda_rl.observation.signals import Signals

__all__ = [
    "FEATURES",
    "FEATURES_VERSION",
    "FEATURE_BOUND",
    "LEVELS",
    "Feature",
    "Observer",
    "RunFacts",
    "Signals",
    "all_features",
    "feature_table",
    "typical_fact",
]
