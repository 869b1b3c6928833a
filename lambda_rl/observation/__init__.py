"""What a policy observes: signals of a run, and the features that are made of them."""

from lambda_rl.observation.facts import RunFacts, typical_fact
from lambda_rl.observation.features import (
    FEATURE_BOUND,
    FEATURES,
    FEATURES_VERSION,
    FURTHER_FEATURES,
    LEVELS,
    Feature,
    all_features,
    feature_table,
)
from lambda_rl.observation.further import KAPPA_FEATURES, default_features
from lambda_rl.observation.memories import MEMORIES, Memory
from lambda_rl.observation.observer import Observer
from lambda_rl.observation.signals import Signals
from lambda_rl.observation.view import View

__all__ = [
    "FEATURES",
    "FEATURES_VERSION",
    "FEATURE_BOUND",
    "FURTHER_FEATURES",
    "KAPPA_FEATURES",
    "LEVELS",
    "MEMORIES",
    "Feature",
    "Memory",
    "Observer",
    "RunFacts",
    "Signals",
    "View",
    "all_features",
    "default_features",
    "feature_table",
    "typical_fact",
]
