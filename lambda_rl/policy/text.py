"""A policy as text: what its card says, in a form to be read.

A policy file may come from anybody, so its texts are shown without what could act on a terminal or forge a line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lambda_rl.checks import cut, printable
from lambda_rl.knobs import KAPPA, LAM, knob_scale
from lambda_rl.policy.actor import ACTIVATION, Policy

_LONGEST_RESULT = 2000  # characters
_SHOWN = {LAM: "lam (λ)", KAPPA: "kappa (κ, the decay budget: λ = κ / summed learning rate)"}


def policy_facts(policy: Policy) -> dict[str, str]:
    """What a policy is, as names and texts, in the order to show them in; without its results."""
    card = policy.card
    sizes = " → ".join(str(n) for n in (len(card.features), *(w.shape[0] for w, _ in policy.layers)))
    facts = {
        "network": f"{sizes}, {ACTIVATION}",
        "fingerprint": policy.fingerprint,
        "knobs": ", ".join(_SHOWN.get(knob.name, knob.name) for knob in card.knobs),
        **dict(_ranges(policy)),
        "λ means": f"{card.lam_meaning} decay, penalty {card.penalty}",
        "decisions in a run": str(card.decisions),
        "trained on": ", ".join(filter(None, (card.suite, card.data))) or "not stated",
        "commit": card.commit or "not stated",
        "command": card.command or "not stated",
        "notes": card.notes or "none",
        "features read": _features(policy),
        "format": str(card.format_version),
    }
    return {name: printable(text) for name, text in facts.items()}


def _ranges(policy: Policy) -> Iterator[tuple[str, str]]:
    """Range and largest change of each knob."""
    card = policy.card
    for knob, start in zip(card.knobs, card.initial, strict=True):
        begin = "middle of the range" if start is None else f"{start:g}"
        signs = {LAM: ("", "λ"), KAPPA: ("", "κ")}
        of, name = signs.get(knob.name, (f" of {knob.name}", knob.name))
        kind = knob_scale(knob.name)
        low, high, change = map(kind.value, (knob.log_low, knob.log_high, knob.max_change))
        yield f"{name} range", f"{low:.3g} to {high:.3g}, start {begin}"
        yield (
            f"largest change{of}",
            f"{'' if kind.scale == 'linear' else 'a factor of '}{change:.3g} a decision",
        )


def _features(policy: Policy) -> str:
    """The features that a policy reads; their versions once, if all have the same."""
    features, versions = policy.card.features, policy.card.feature_versions
    if len(set(versions)) == 1:
        return f"version {versions[0]}: {', '.join(features)}"
    return ", ".join(f"{name} (version {v})" for name, v in zip(features, versions, strict=True))


def _plain(result: Any) -> str:
    """A result in words; nested ones as "name value, name value"."""
    if isinstance(result, Mapping):
        return ", ".join(f"{str(name).replace('_', ' ')} {_plain(value)}" for name, value in result.items())
    return f"{result:.4g}" if isinstance(result, float) else str(result)


def describe(policy: Policy) -> str:
    """The card of a policy as text for a terminal, with a newline at the end."""
    results = policy.card.results
    lines = [f"{name:<19} {text}" for name, text in policy_facts(policy).items()]
    if results:
        lines.append("results")
        lines += [
            printable(cut(f"  {key}: {_plain(value)}", _LONGEST_RESULT)) for key, value in results.items()
        ]
    return "\n".join(lines) + "\n"
