"""The block "What feedback adds" of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lambda_rl.agents.foreign.feedback.differences import AgentSeeds, Difference
from lambda_rl.agents.foreign.feedback.replay import REPLAYED
from lambda_rl.agents.foreign.feedback.static import LAW, SUGGESTED
from lambda_rl.agents.presenting.markdown import NOT_MEASURED, markdown_table

OTHERS = {LAW: "the law of static facts", SUGGESTED: "the suggested constant"}


def feedback_block(
    differences: Sequence[Difference], seeds: Sequence[AgentSeeds], shown: Callable[[str], str]
) -> str:
    """A table of differences, a sentence for each policy, and a line for agent seeds.

    Args:
        differences: of policies to λ that does not look.
        seeds: of agents.
        shown: a contestant's name in tables.
    """
    parts = []
    if differences:
        rows = [
            (shown(one.policy), _other(one.other), one.tasks, [one.mean, *one.interval])
            for one in differences
        ]
        parts.append(markdown_table(("policy", "minus", "tasks", "accuracy, points [95 %]"), rows))
        policies = dict.fromkeys(one.policy for one in differences)
        parts += [
            _sentence(shown(policy), [one for one in differences if one.policy == policy])
            for policy in policies
        ]
    for group in seeds:
        regrets = ", ".join(f"{regret:.2f}" for regret in group.regrets.values())
        parts.append(
            f"Agent seeds of {shown(group.name)}: mean regrets {regrets} on {group.tasks} tasks, "
            f"{group.spread:.2f} points from the best to the worst.\n"
        )
    return "\n".join(parts) or NOT_MEASURED + "\n"


def _other(name: str) -> str:
    return "its mean trajectory replayed" if name.startswith(REPLAYED) else OTHERS[name]


def _sentence(policy: str, differences: Sequence[Difference]) -> str:
    """Such as: above its mean trajectory replayed; not told apart from the law of static facts."""
    verdicts: dict[str, list[str]] = {"above": [], "not told apart from": [], "below": []}
    for one in differences:
        low, high = one.interval
        verdicts["above" if low > 0 else "below" if high < 0 else "not told apart from"].append(
            _other(one.other)
        )
    told = "; ".join(f"{verdict} {_listed(names)}" for verdict, names in verdicts.items() if names)
    return f"By these intervals {policy} is {told}.\n"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
