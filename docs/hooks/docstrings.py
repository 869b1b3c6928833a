"""What mkdocstrings reads: the package as it is installed; and roles of docstrings, which it shows as they are."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "build" / "reference" / "lambda_rl"
"""``envs/`` and ``agents/`` stand beside ``lambda_rl/`` in the checkout, and inside it in a wheel."""

_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod|obj):<code>(?:~[\w.]*\.)?([\w.]+)</code>")


def on_startup(command: str, dirty: bool) -> None:  # noqa: ARG001 - mkdocs's
    """Lays the folders out as a wheel has them, before mkdocstrings looks for its paths."""
    shutil.rmtree(PACKAGE.parent, ignore_errors=True)
    PACKAGE.mkdir(parents=True)
    for path in (*(ROOT / "lambda_rl").iterdir(), ROOT / "envs", ROOT / "agents"):
        (PACKAGE / path.name).symlink_to(path)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - mkdocs's
    """The page without the names of roles."""
    return _ROLE.sub(r"<code>\1</code>", html)
