"""Notebooks of ``docs/notebooks`` as pages: their text and their code, without outputs (a test runs them)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

DOCS = Path(__file__).resolve().parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page for each notebook; links to the notebook lead to it."""
    for path in sorted((DOCS / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "\n\n".join(map(shown, cells))
        where = f"This is `docs/notebooks/{path.name}` as a page."
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=f"{text}\n\n{where}\n"))
    return files


def shown(cell: dict[str, Any]) -> str:
    """A cell in Markdown."""
    source = "".join(cell["source"])
    return source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```"
