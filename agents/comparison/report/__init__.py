"""``report.html``: one file that opens offline, on any screen."""

from __future__ import annotations

from lambda_rl.agents.comparison.report.page import (
    PAIRS_NAME,
    REPORT_NAME,
    STANDINGS_NAME,
    page,
    write_report,
)

__all__ = ["PAIRS_NAME", "REPORT_NAME", "STANDINGS_NAME", "page", "write_report"]
