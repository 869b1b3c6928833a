"""Blocks of the page, the figure, and what the command prints."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from rich import box
from rich.table import Table
from rich.text import Text

from lambda_rl.agents.foreign.page import shown
from lambda_rl.agents.foreign.rivals.summary import (
    ABLATION,
    FEEDBACK,
    LAW_KIND,
    OPEN,
    POLICY,
    REFERENCE,
    SEARCH,
    SINGLE,
    RivalsSummary,
    Standing,
)
from lambda_rl.agents.foreign.summary import HARD
from lambda_rl.agents.presenting.markdown import markdown_table
from lambda_rl.agents.presenting.style import GREY, INK, LEARNED_PALETTE, dress, new_figure
from lambda_rl.checks import printable

RIVALS = (LAW_KIND, OPEN, FEEDBACK)
"""Kinds that take one run, tuned or fitted."""


def page_blocks(summary: RivalsSummary) -> dict[str, str]:
    """The blocks of the page, by name."""
    left = f" Left out: {', '.join(summary.left_out)}." if summary.left_out else ""
    seeds = f"{summary.seeds} seed{'s' * (summary.seeds > 1)}"
    return {
        "headline": headline(summary),
        "rivals": _table(summary, (POLICY, *RIVALS, SEARCH, REFERENCE)),
        "agents": _agents(summary),
        "ablations": _table(summary, (POLICY, ABLATION)),
        "settings": _settings(summary),
        "origin": f"{len(summary.tasks)} tasks × {seeds}, `{summary.command}`, commit {summary.commit}, "
        f"{summary.hardware}; policy of fingerprint {summary.fingerprint}.{left}\n",
    }


def headline(summary: RivalsSummary) -> str:
    """What is true of the policy against the best rival of each kind."""
    lines = []
    best = _best(summary, RIVALS)
    if best is not None:
        lines.append(
            f"**The best rival that takes one run is {_named(best.name)} ({best.kind}): `{summary.policy}` "
            f"{_verdict(best)}**, by {_points(best.ahead, best.ahead_interval)} points; without grokking "
            f"{_points(best.ahead_else, best.ahead_else_interval)}; probability that the policy is better: "
            f"{best.probability:.2f}."
        )
    for kind in RIVALS:
        one = _best(summary, (kind,))
        if one is not None and one is not best:
            lines.append(
                f"Best {kind}: {_named(one.name)}, {_points(one.ahead, one.ahead_interval)} points below the policy; "
                f"without grokking {_points(one.ahead_else, one.ahead_else_interval)}."
            )
    if summary.agents is not None and best is not None:
        lines.append(_over_agents(summary))
    counts = [sum(_sign(one.ahead_interval) == sign for one in summary.of(*RIVALS)) for sign in (1, 0, -1)]
    lines.append(
        f"Of {sum(counts)} rivals the policy is above {counts[0]}, not told apart from {counts[1]} and below "
        f"{counts[2]} by these intervals."
    )
    lines += [
        f"{_named(one.name)}, {one.runs} runs a result: `{summary.policy}` {_verdict(one)}, the policy minus "
        f"it {_points(one.ahead, one.ahead_interval)} points, without {HARD} "
        f"{_points(one.ahead_else, one.ahead_else_interval)}."
        for one in summary.of(SEARCH)
    ]
    return "".join(f"- {line}\n" for line in lines)


def _over_agents(summary: RivalsSummary) -> str:
    """The same of several trainings, against the rival that comes nearest to them."""
    found = summary.agents
    assert found is not None  # the caller looked
    hardest = min((one for one in found.against if one.kind in RIVALS), key=lambda one: one.ahead)
    return (
        f"Over {len(found.names)} agents that differ in the seed of their training: {_named(hardest.name)} is "
        f"{_points(hardest.ahead, hardest.interval)} points below them (Student's t over agents); without {HARD} "
        f"{_points(hardest.ahead_else, hardest.interval_else)}."
    )


def _best(summary: RivalsSummary, kinds: Sequence[str]) -> Standing | None:
    return next(iter(summary.of(*kinds)), None)


def _verdict(one: Standing) -> str:
    """How the policy stands to somebody."""
    words = {1: "is above it", 0: "is not told apart from it", -1: "is below it"}
    return words[_sign(one.ahead_interval)]


def _sign(interval: tuple[float, float]) -> int:
    """1 or -1 where an interval leaves 0 out."""
    return (interval[0] > 0) - (interval[1] < 0)


def _points(mean: float, interval: tuple[float, float]) -> str:
    return f"{mean:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def _named(name: str) -> str:
    return "best single κ, in hindsight" if name == SINGLE else shown(name)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _table(summary: RivalsSummary, kinds: Sequence[str]) -> str:
    columns = (
        "", "kind", "runs", "runs before", "regret", "worst fifth", "worse than none by 1, 3", "policy minus it",
        f"without {HARD}", "P(policy better)",
    )  # fmt: skip
    rows = []
    for one in summary.of(*kinds):
        mine = one.kind == POLICY
        rows.append(
            (
                _named(one.name),
                one.kind,
                one.runs,
                one.before or "–",
                [one.regret, *one.regret_interval],
                f"{one.tail:.2f}",
                ", ".join(map(_percent, one.worse_than_none)),
                "–" if mine else [one.ahead, *one.ahead_interval],
                "–" if mine else [one.ahead_else, *one.ahead_else_interval],
                "–" if mine else f"{one.probability:.2f}",
            )
        )
    return markdown_table(columns, rows)


def _agents(summary: RivalsSummary) -> str:
    """Policies of several seeds against each rival."""
    found = summary.agents
    if found is None:
        return "No rows of several agents.\n"
    regrets = ", ".join(
        f"`{name}` {regret:.2f}" for name, regret in zip(found.names, found.regrets, strict=True)
    )
    rows = [
        (
            _named(one.name),
            one.kind,
            [one.ahead, *one.interval],
            [one.ahead_else, *one.interval_else],
            ", ".join(f"{value:.2f}" for value in one.each),
        )
        for one in found.against
    ]
    columns = ("", "kind", "agents minus it", f"without {HARD}", "each agent")
    return f"Regrets on {found.tasks} tasks: {regrets}.\n\n{markdown_table(columns, rows)}"


def _settings(summary: RivalsSummary) -> str:
    rows = [(f"`{one.name}`", f"`{one.spec}`", one.before) for one in summary.of(*RIVALS) if one.spec]
    return markdown_table(("rival", "setting", "inner runs of tuning"), rows)


def overview(summary: RivalsSummary) -> Table:
    """The standings for the terminal."""
    table = Table(
        title=Text(f"{len(summary.tasks)} plain loops, {summary.seeds} seeds"),
        box=box.SIMPLE_HEAD,
        caption=f"regret: points below the best constant; ahead: {printable(summary.policy)} minus it",
    )
    table.add_column("schedule", no_wrap=True)
    for head in ("regret", "ahead", "95 %"):
        table.add_column(head, justify="right", no_wrap=True)
    for one in summary.standings:
        low, high = one.ahead_interval
        table.add_row(
            Text(printable(_named(one.name).replace("`", ""))),
            f"{one.regret:.2f}",
            f"{one.ahead:+.2f}",
            f"{low:.2f} … {high:.2f}",
        )
    return table


def differences_figure(summary: RivalsSummary) -> Figure:
    """The policy minus each rival, search and ablation, all tasks but grokking; the least difference on top."""
    kinds = (*RIVALS, SEARCH, ABLATION)
    found = sorted(summary.of(*kinds), key=lambda one: -one.ahead_else)
    colours = dict(zip(kinds, (*LEARNED_PALETTE, GREY), strict=True))
    figure = new_figure(7.2, 0.9 + 0.24 * len(found))
    axes = figure.subplots()
    told = set()
    for place, one in enumerate(found):
        low, high = one.ahead_else_interval
        label = None if one.kind in told else one.kind
        told.add(one.kind)
        axes.plot([low, high], [place, place], color=colours[one.kind], linewidth=1.6)
        axes.plot([one.ahead_else], [place], "o", color=colours[one.kind], markersize=5, label=label)
    axes.axvline(0.0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(found)), [_named(one.name).replace("`", "") for one in found], fontsize=8)
    axes.set_xlabel(
        f"accuracy of {summary.policy} minus the rival's, points (95 %), without {HARD}",
        color=INK,
        fontsize=9,
    )
    axes.legend(fontsize=8, frameon=False, loc="upper right")
    dress(axes, "x")
    return figure
