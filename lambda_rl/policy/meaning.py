"""Coupled or decoupled: whether a policy's λ fits a run, and what it is multiplied by if it has to be converted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lambda_rl.checks import shown
from lambda_rl.knobs import KAPPA
from lambda_rl.observation import RunFacts
from lambda_rl.penalties import DECAYS
from lambda_rl.policy.actor import Policy
from lambda_rl.policy.card import ANY

LAM_MEANINGS_TOLD = (*DECAYS, "convert")
"""What ``lam_meaning`` of a learned schedule may say."""


def meanings_of_run(policy: Policy, decay: str | None, attached: set[str] | None) -> set[str]:
    """What decay means in a run; empty if nobody knows.

    Args:
        policy: its card says which penalty λ stands before.
        decay: the user's ``decay``: None, or a meaning.
        attached: the meanings of ``weight_decay`` of the optimizer that λ is written to; None: there is none.

    Raises:
        ValueError: ``decay`` is no meaning, or the policy's penalty cannot be the decay of an optimizer.
    """
    if decay not in (None, *DECAYS):
        raise ValueError(f"unknown decay {shown(decay)}; allowed: {', '.join(DECAYS)}")
    rule = policy.card.rule
    if attached is not None and rule is not None and not rule.is_weight_decay:
        raise ValueError(
            f"the policy was trained for the {policy.card.penalty} penalty, which weight_decay of an "
            "optimizer cannot be; use it without an optimizer and add value * lambda_rl.penalty(model, kind) to "
            "the loss"
        )
    return {decay} if decay is not None else attached or set()


def must_convert(policy: Policy, told: str | None, found: set[str], warn: Callable[[str, str], None]) -> bool:
    """Whether λ is to be converted.

    Args:
        policy: its card says what its λ means.
        told: the user's ``lam_meaning``: None, one of :data:`LAM_MEANINGS_TOLD`.
        found: the meanings of decay in the run; empty if nobody knows, and then λ is not converted.
        warn: called with (short name of the reason, text) where it is needless.

    Raises:
        ValueError: ``told`` is none of these or not the policy's own meaning, or the run has another meaning (or
            both) and ``told`` does not say what to do.
    """
    card = policy.card
    if card.unit == KAPPA and told == "convert":
        warn("convert", "the policy moves κ, which fits every optimizer: nothing is converted")
        return False
    if told is not None and told not in LAM_MEANINGS_TOLD:
        raise ValueError(f"unknown lam_meaning {told!r}; allowed: {', '.join(LAM_MEANINGS_TOLD)}")
    if told in DECAYS and card.lam_meaning not in (told, ANY):
        raise ValueError(f"lam_meaning={told!r}, but the policy's λ is {card.lam_meaning}")
    if told == "convert" and not found:
        raise ValueError("lam_meaning='convert' needs an optimizer, or decay=, to convert λ for")
    if not found or card.lam_meaning == ANY or found == {card.lam_meaning} or told in DECAYS:
        return False
    if told == "convert" and len(found) == 1:
        return True
    ways = "or say " if told is None else ""
    raise ValueError(
        f"the policy's λ is {card.lam_meaning} decay, that of the run is {' and '.join(sorted(found))} (coupled: SGD, "
        f"Adam; decoupled: AdamW); take a policy of that meaning, {ways}lam_meaning='convert' (one meaning at a time) "
        f"to convert λ by the learning rate, or lam_meaning={card.lam_meaning!r} to use it unconverted"
    )


def typical_lr_sum(policy: Policy) -> float:
    """The summed learning rate of an average run of the policy's training, out of its mean observation.

    Raises:
        ValueError: the policy does not read the two features that tell it.
    """
    position, shrink = policy.usual("log_lam"), policy.usual("log_shrink")
    if position is None or shrink is None:
        raise ValueError(
            "lam_meaning='convert' needs a policy that reads the features log_lam and log_shrink"
        )
    control = policy.card.control
    span = control.log_lam_max - control.log_lam_min
    log_lam = control.log_lam_min + 0.5 * (position + 1.0) * span
    return float(10.0 ** (2.0 * shrink - log_lam))


def converted(facts: RunFacts, policy: Policy) -> tuple[float, RunFacts]:
    """(What λ is multiplied by, facts): such that the weights shrink as much as in the policy's training."""
    typical = typical_lr_sum(policy)
    return typical / facts.lr_sum, replace(facts, lr_sum=typical)
