"""Policies that differ from given ones in one thing, without training: what they see, how far a step goes, a mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from lambda_rl import Policy
from lambda_rl.agents.ablation.families import families_in, members
from lambda_rl.agents.ablation.weights import blinded, with_layers
from lambda_rl.agents.warm_start.actor import Arrays
from lambda_rl.agents.warm_start.committee import side_by_side
from lambda_rl.knobs import KAPPA

MEAN = "mean"
"""Name of the mean of all policies that are given."""


def checked(policies: Mapping[str, Policy]) -> None:
    """Refuses policies that cannot be played side by side.

    Raises:
        ValueError: there is none, or one moves something else than κ, or in another range.
    """
    if not policies:
        raise ValueError("no policy is given; --policy NAME or FILE, which may be given several times")
    ranges = {(p.card.knobs[0].log_low, p.card.knobs[0].log_high) for p in policies.values()}
    for name, policy in policies.items():
        if [knob.name for knob in policy.card.knobs] != [KAPPA]:
            raise ValueError(
                f"{name} moves {', '.join(knob.name for knob in policy.card.knobs)}, not κ alone"
            )
    if len(ranges) > 1:
        raise ValueError(
            f"the policies differ in the range of log₁₀ κ: {', '.join(map(str, sorted(ranges)))}"
        )


def variants(
    policies: Mapping[str, Policy],
    blind: Sequence[str] = (),
    max_change: Sequence[float] = (),
    *,
    mean: bool = False,
) -> dict[str, Policy]:
    """The policies, and each with one thing changed, by name.

    Args:
        policies: by name, checked.
        blind: families of features, see :mod:`lambda_rl.agents.ablation.families`; each policy also blind to each.
        max_change: decades; each policy also with steps of at most so much.
        mean: whether the mean of all policies takes part, and its variants.

    Raises:
        ValueError: an unknown family, a step that is no number of decades above 0, or no mean can be taken.
    """
    for family in blind:
        members(family)
    whole = dict(policies)
    if mean:
        whole[MEAN] = mean_of(list(policies.values()))
    found = dict(whole)
    for name, policy in whole.items():
        for family in blind:
            if family in families_in(policy.card.features):
                found[f"{name} without {family}"] = blinded(policy, members(family))
        for change in max_change:
            found[f"{name} steps of {change:g}"] = with_steps(policy, change)
    return found


def with_steps(policy: Policy, max_change: float) -> Policy:
    """The policy with the same aims, to which a decision may go by at most so many decades of κ.

    An action says how far away the κ lies that the policy aims at, and is cut where one decision ends: with longer
    steps the same aim is a smaller action.
    """
    (knob,) = policy.card.knobs
    *hidden, (weight, bias) = policy.layers
    share = knob.max_change / dataclasses.replace(knob, max_change=max_change).max_change
    card = dataclasses.replace(policy.card, knobs=(dataclasses.replace(knob, max_change=max_change),))
    return with_layers(policy, [*hidden, (weight * share, bias * share)], card=card)


def mean_of(policies: Sequence[Policy]) -> Policy:
    """The mean action of policies, before it is cut, as one policy: their layers beside one another.

    Observations are cut at the first one's deviations, so that far outside training it differs from the mean a little.

    Raises:
        ValueError: they read other features, or differ in depth or step.
    """
    first = policies[0]
    for policy in policies[1:]:
        alike = (policy.card.features, len(policy.layers), policy.card.knobs)
        if alike != (first.card.features, len(first.layers), first.card.knobs):
            raise ValueError("only policies with the same features, steps and number of layers have a mean")
    joined = side_by_side([_in_units_of(first, policy) for policy in policies])
    layers = [(joined[f"layers.{i}.weight"], joined[f"layers.{i}.bias"]) for i in range(len(first.layers))]
    return with_layers(first, layers)


def _in_units_of(first: Policy, policy: Policy) -> Arrays:
    """A policy's numbers, with the first one's normaliser before them."""
    ours = np.sqrt(first.obs_var + first.epsilon)
    theirs = np.sqrt(policy.obs_var + policy.epsilon)
    found: Arrays = {"mean": first.obs_mean, "var": first.obs_var}
    for i, (weight, bias) in enumerate(policy.layers):
        wide, shift = weight.astype(np.float64), bias.astype(np.float64)
        if i == 0:
            shift = shift + wide @ ((first.obs_mean - policy.obs_mean) / theirs)
            wide = wide * (ours / theirs)
        found[f"layers.{i}.weight"], found[f"layers.{i}.bias"] = wide, shift
    return found
