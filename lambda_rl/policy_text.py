"""A policy as text: what its card says, in a form to be read."""

from __future__ import annotations

from lambda_rl.features import NUM_FEATURES
from lambda_rl.policy import ACTIVATION, Policy


def policy_facts(policy: Policy) -> dict[str, str]:
    """What a policy is, as names and texts, in the order to show them in; without its results."""
    card = policy.card
    sizes = " → ".join(str(n) for n in (NUM_FEATURES, *(w.shape[0] for w, _ in policy.layers)))
    start = "middle of the range" if card.initial_lam is None else f"{card.initial_lam:g}"
    return {
        "network": f"{sizes}, {ACTIVATION}",
        "fingerprint": policy.fingerprint,
        "λ range": f"{10**card.log_lam_min:.3g} to {10**card.log_lam_max:.3g}, start {start}",
        "largest change": f"a factor of {10**card.max_change:.3g} a decision",
        "λ means": f"{card.lam_meaning} decay, penalty {card.penalty}",
        "decisions in a run": str(card.decisions),
        "trained on": ", ".join(filter(None, (card.suite, card.data))) or "not stated",
        "commit": card.commit or "not stated",
        "command": card.command or "not stated",
        "notes": card.notes or "none",
        "features": f"version {card.features_version}: {', '.join(card.features)}",
        "format": str(card.format_version),
    }


def describe(policy: Policy) -> str:
    """The card of a policy as text for a terminal, with a newline at the end."""
    results = policy.card.results
    lines = [f"{name:<19} {text}" for name, text in policy_facts(policy).items()]
    lines += ["results", *(f"  {key}: {value}" for key, value in results.items())] if results else []
    return "\n".join(lines) + "\n"
