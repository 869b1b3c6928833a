"""Writes the tables of the docs that are made of the code anew: task fields, features; and the schema of suite files.

python scripts/task_fields.py        # in the checkout; after a change of a field of a task, a suite, or a feature
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lambda_rl.agents.command_line.parsing import parse
from lambda_rl.agents.presenting.feature_table import feature_table
from lambda_rl.agents.presenting.markdown import fill_page
from lambda_rl.agents.presenting.script import run_script
from lambda_rl.agents.presenting.task_tables import option_table, task_table
from lambda_rl.envs.tasks.schema import schema_text
from lambda_rl.files import atomic_write


@dataclass(frozen=True)
class Options:
    """Writes the tables of task fields and features and the JSON schema of suite files anew.

    Attributes:
        page: with the blocks task-fields and network-options.
        features: page with the block features.
        schema: file of the schema.
    """

    page: Path = Path("docs/suites.md")
    features: Path = Path("docs/how-it-works.md")
    schema: Path = Path("docs/suite.schema.json")


def main() -> None:
    """Reads the command line and writes the files."""
    options = parse(Options)
    fill_page(options.page, {"task-fields": task_table(), "network-options": option_table()})
    fill_page(options.features, {"features": feature_table()})
    atomic_write(options.schema, schema_text())
    print(f"wrote {options.page}, {options.features} and {options.schema}")


if __name__ == "__main__":
    run_script(main)
