"""Whether a run is like those that a policy was trained on, as far as its facts tell."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from lambda_rl.observation import RunFacts
from lambda_rl.observation.facts import STATIC_SCALES, YES_OR_NO
from lambda_rl.policy.actor import Policy

OUTSIDE = 2.5
"""A fact lies outside beyond so many standard deviations of training; one that is spread evenly over its logarithm
comes to 1.7 at most."""

LEAST = 0.2
"""The smallest standard deviation that counts, in decades: training may have had one value only."""

_WORDS = {
    "adaptive": ("an adaptive optimizer (Adam and its like)", "an optimizer that is not adaptive (SGD)"),
    "normalised": ("layers that normalise", "no layers that normalise"),
}


def unlike_training(policy: Policy, facts: RunFacts) -> str:
    """What of a run lies outside what a policy was trained on, as one sentence; empty if nothing does.

    Only facts that the policy looks at count.

    Args:
        policy: its normaliser says what its training was like.
        facts: of the run.
    """
    found = [*_numbers(policy, facts), *_answers(policy, facts)]
    if not found:
        return ""
    return (
        f"this run is unlike those that the policy was trained on: {'; '.join(found)}. Nobody measured what it does "
        "there: compare with the decay that you would use otherwise, or give trust='auto', which keeps λ near it"
    )


def _training(policy: Policy, feature: str) -> tuple[float, float] | None:
    """Mean and standard deviation of a feature in training; None if the policy does not look at it."""
    if feature not in policy.card.features:
        return None
    i = policy.card.features.index(feature)
    if not np.abs(policy.layers[0][0][:, i]).max() > 0:
        return None
    return float(policy.obs_mean[i]), math.sqrt(float(policy.obs_var[i]))


def _numbers(policy: Policy, facts: RunFacts) -> Iterator[str]:
    for name, (middle, width) in STATIC_SCALES.items():
        training = _training(policy, f"log_{name}")
        if training is None:
            continue
        mean, reach = middle + width * training[0], OUTSIDE * max(width * training[1], LEAST)
        value = float(getattr(facts, name))
        if abs(math.log10(value) - mean) > reach:
            low, high = 10.0 ** (mean - reach), 10.0 ** (mean + reach)
            yield f"{name}={value:.4g} (there {low:.2g} to {high:.2g})"


def _answers(policy: Policy, facts: RunFacts) -> Iterator[str]:
    for name in YES_OR_NO:
        training, answer = _training(policy, name), getattr(facts, name)
        if training is None or answer is None:
            continue
        if abs((1.0 if answer else -1.0) - training[0]) > OUTSIDE * max(training[1], LEAST):
            yield _WORDS[name][0 if answer else 1]
