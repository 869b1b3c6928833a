"""The fields of a task, and the options of networks, as tables in Markdown."""

from __future__ import annotations

from lambda_rl.agents.presenting.markdown import markdown_table
from lambda_rl.envs.networks import NETWORKS
from lambda_rl.envs.tasks.task import task_help


def task_table() -> str:
    """Field, default, allowed values and meaning."""
    rows = [(f"`{row.field}`", f"`{row.default}`", row.allowed, row.meaning) for row in task_help()]
    return markdown_table(("field", "default", "allowed", "meaning"), rows)


def option_table() -> str:
    """Network, option, default, allowed values and meaning of what ``network_options`` may hold."""
    rows = [
        (f"`{name}`", f"`{option}`", f"`{what.default}`", what.allowed, what.help)
        for name, network in NETWORKS.items()
        for option, what in network.options.items()
    ]
    return markdown_table(("network", "option", "default", "allowed", "meaning"), rows)
