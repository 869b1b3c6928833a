"""The report in headless Chromium, at the widths of a phone and of two screens: nothing is wider than its box."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from places import DOCS

from lambda_rl.agents.comparison.figures import FIGURES, WIDE, svg
from lambda_rl.agents.comparison.report import write_report
from lambda_rl.agents.comparison.tables import Comparison

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here (apt-get install chromium)")

WIDTHS = (390, 1280, 1600)
SWITCHES = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--allow-file-access-from-files",
    "--enable-logging=stderr", "--hide-scrollbars",
)  # fmt: skip

# Measures pages in frames of given widths, with all details open, and uses them as a reader would.
PROBE = """<!doctype html><body>%s<script>
onload = () => {
  const found = {};
  for (const frame of document.querySelectorAll("iframe")) {
    const doc = frame.contentDocument, at = [...doc.querySelectorAll("body *")], own = {};
    doc.querySelectorAll("details").forEach((one) => { one.open = true; });
    const name = (one) => `${one.tagName} ${one.id} ${one.textContent.trim().slice(0, 40)}`;
    const seen = at.filter((one) => one.getClientRects().length);
    own.page = doc.documentElement.scrollWidth;
    const boxes = seen.filter((one) => one.clientWidth && !one.parentElement.closest("svg"));
    own.wide = boxes.filter((one) => one.scrollWidth > one.clientWidth + 1).map(name);
    own.out = seen.filter((one) => one.getBoundingClientRect().right > frame.clientWidth + 1).map(name);
    own.cut = [...doc.querySelectorAll("svg text")].filter((one) => {
      const box = one.getBoundingClientRect(), room = one.closest("svg").getBoundingClientRect();
      return box.width && (box.left < room.left - 3 || box.right > room.right + 3);
    }).map(name);
    own.type = Math.min(...[...doc.querySelectorAll("svg text")].filter((one) => one.getClientRects().length)
      .map((one) => parseFloat(frame.contentWindow.getComputedStyle(one).fontSize)
        * one.closest("svg").getBoundingClientRect().width / one.closest("svg").viewBox.baseVal.width));
    own.paper = frame.contentWindow.getComputedStyle(doc.body).backgroundColor;
    const table = doc.getElementById("schedules"), first = () => table.tBodies[0].rows[0].cells[0].textContent;
    own.before = first();
    table.querySelectorAll("th button")[1].click();
    table.querySelectorAll("th button")[1].click();
    own.after = first();
    const filter = doc.querySelector(".tools[data-for=schedules] input");
    filter.value = "GAP";
    filter.dispatchEvent(new Event("input"));
    own.left = [...table.tBodies[0].rows].filter((row) => !row.hidden).length;
    const kind = frame.width < 641 ? "narrow" : "wide";
    const drawing = doc.querySelector(`#profiles .${kind} svg`);
    const parts = [...drawing.querySelectorAll('[data-schedule="gap"]')];
    const shown = () => parts.map((one) => one.getClientRects().length);
    own.drawn = shown();
    drawing.querySelector('[data-legend="gap"]').dispatchEvent(new Event("click", {bubbles: true}));
    own.hidden = shown();
    found[frame.width] = own;
  }
  document.body.textContent = JSON.stringify(found);
};
</script>"""


def browsed(folder: Path, *switches: str) -> tuple[dict[str, dict[str, Any]], str]:
    """What the probe found, by width, and what the browser said."""
    frames = "".join(f'<iframe width="{width}" height="900" src="report.html"></iframe>' for width in WIDTHS)
    (folder / "probe.html").write_text(PROBE % frames, encoding="utf-8")
    assert BROWSER is not None
    done = subprocess.run(
        [BROWSER, *SWITCHES, *switches, f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=20000",
         "--dump-dom", (folder / "probe.html").as_uri()],
        capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip
    (body,) = re.findall(r"<body>(\{.*\})\s*</body>", done.stdout, re.DOTALL)
    return json.loads(html.unescape(body)), done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A true comparison of 12 tasks, whose decisions are made up: they were not kept."""
    out = tmp_path_factory.mktemp("report")
    kept = Comparison.load(DOCS / "results" / "cifar-mlp" / "compare")
    runs = kept.results.table[lambda table: table["mean_log_lam"].notna()]
    columns = {"lam": 10.0 ** runs["mean_log_lam"], "val_accuracy": runs["val_accuracy"]}
    decisions = [
        runs[["task", "seed", "schedule"]].assign(decision=k, progress=(k + 1) / 3, **columns)
        for k in range(3)
    ]
    found = Comparison(kept.results, pd.concat(decisions, ignore_index=True), kept.summary)
    for name, drawing in FIGURES.items():
        (out / f"{name}.svg").write_bytes(svg(drawing.draw(found, WIDE)))
    write_report(out, found)
    return out


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_its_box_and_all_can_be_used(folder: Path, *, dark: bool) -> None:
    found, said = browsed(folder, f"--blink-settings=preferredColorScheme={int(not dark)}")
    assert "CONSOLE" not in said
    assert set(found) == {str(width) for width in WIDTHS}
    for width, own in found.items():
        assert own["page"] <= int(width), width
        assert own["wide"] == own["out"] == own["cut"] == [], width
        assert own["type"] >= 6.0, width  # pixels of the smallest letters in a figure
        assert own["paper"] == ("rgb(22, 24, 27)" if dark else "rgb(255, 255, 255)")
        assert own["before"].startswith("learned")
        assert own["after"].startswith("mean-constant") or own["after"].startswith("no-penalty")
        assert own["left"] == 1
        assert own["drawn"]
        assert all(own["drawn"])
        assert not any(own["hidden"])
