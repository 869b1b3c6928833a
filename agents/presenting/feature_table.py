"""What a policy may observe, as a table in Markdown."""

from __future__ import annotations

from lambda_rl.agents.presenting.markdown import markdown_table
from lambda_rl.observation import features
from lambda_rl.policy.file import load_policy, shipped_policies


def feature_table() -> str:
    """Each registered feature, its formula, the range of a sound run, and which shipped policies read it."""
    read = {name: load_policy(name).card.features for name in shipped_policies()}
    rows = [
        (f"`{name}`", feature.meaning, f"{feature.low:g} to {feature.high:g}", _readers(name, read))
        for name, feature in features.all_features().items()
    ]
    return markdown_table(("feature", "what it is", "sound runs", "read by"), rows)


def _readers(feature: str, read: dict[str, tuple[str, ...]]) -> str:
    return ", ".join(f"`{policy}`" for policy, names in read.items() if feature in names) or "–"
