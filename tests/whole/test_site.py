"""The documentation as a site: it builds without a warning, fetches nothing, and fits its boxes in Chromium."""

from __future__ import annotations

import html
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

import pytest
import yaml
from places import DOCS, ROOT

import lambda_rl
from lambda_rl import SCHEDULE_FORMS, constraints, seeing

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
BUILT = pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="no mkdocs (lambda-rl[docs])")
pytestmark = pytest.mark.timeout(900)  # alone it takes half a minute

PAGES = (
    "index", "demo", "use-it-in-your-loop", "train-a-policy", "faq", "schedules/index", "schedules/gap", "how-it-works",
    "evidence", "generality", "results", "suites", "architecture", "api/index", "api/schedules", "tree/CONTRIBUTING",
    "tree/lambda_rl/schedules/safety.py",
)  # fmt: skip
WIDTHS = (390, 1280)
SWITCHES = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--allow-file-access-from-files",
    "--enable-logging=stderr", "--hide-scrollbars",
)  # fmt: skip

# Measures pages in frames. What scrolls sideways by itself (wide tables, code) may be wider than its box; code within a
# line has a padding that counts as width; the header shows one of two titles, and cuts it.
PROBE = """<!doctype html><body>%s<script>
onload = () => setTimeout(() => {
  const found = {};
  for (const frame of document.querySelectorAll("iframe")) {
    const doc = frame.contentDocument, view = frame.contentWindow, own = {};
    const style = (one) => view.getComputedStyle(one);
    const scrolls = (one) => ["auto", "scroll"].includes(style(one).overflowX);
    const within = (one) => { for (let up = one; up; up = up.parentElement) if (scrolls(up)) return true; };
    const name = (one) => `${one.tagName}.${one.className} ${one.textContent.trim().slice(0, 40)}`;
    const seen = [...doc.querySelectorAll(".md-header *, .md-tabs *, .md-content *, .md-footer *")].filter((one) =>
      one.getClientRects().length && style(one).visibility === "visible" && !one.closest("svg"));
    own.page = doc.documentElement.scrollWidth;
    own.wide = seen.filter((one) => one.clientWidth > 1 && one.scrollWidth > one.clientWidth + 6 && !within(one)
      && !one.closest(".md-search, .md-header__title")).map(name);
    own.out = seen.filter((one) => one.getBoundingClientRect().right > frame.clientWidth + 1 && !within(one)
      && !one.closest(".md-search")).map(name);
    own.asked = view.performance.getEntriesByType("resource").map((one) => one.name)
      .filter((one) => !/^(file|data|blob|about):/.test(one));
    own.broken = [...doc.images].filter((one) => one.complete && !one.naturalWidth).map((one) => one.src);
    own.paper = style(doc.body).backgroundColor;
    found[frame.name] = own;
  }
  document.body.textContent = JSON.stringify(found);
}, 3000);
</script>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)],
        capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@BUILT
def test_links_lead_somewhere_and_nothing_is_fetched(site: Path) -> None:
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    anchors = {path: set(re.findall(r"\bid=\"?([^\s\">]+)", text)) for path, text in pages.items()}
    assert len(pages) > 60
    for path, text in pages.items():
        if path.name == "404.html":  # its links are from the top of a server
            continue
        for tag, target in re.findall(r"<(\w+)[^>]*?\s(?:href|src)=\"?([^\s\">]+)", text):
            if re.match(r"[a-z]+:", target):
                assert tag == "a" or target.startswith("data:"), f"{path}: {tag} {target}"
                continue
            where, anchor = urldefrag(html.unescape(target))
            to = (path.parent / unquote(where)).resolve() if where else path
            to = to / "index.html" if to.is_dir() else to
            assert to.exists(), f"{path.relative_to(site)}: {target}"
            if anchor and to in anchors and not anchor.startswith("__"):
                assert unquote(anchor) in anchors[to], f"{path.relative_to(site)}: {target}"


@BUILT
@pytest.mark.skipif(BROWSER is None, reason="no Chromium here (apt-get install chromium)")
@pytest.mark.parametrize("dark", [False, True])
def test_pages_fit_a_phone_and_a_screen(site: Path, tmp_path: Path, *, dark: bool) -> None:
    frames = "".join(
        f'<iframe name="{page} {width}" width="{width}" height="900" src="{(site / page).as_uri()}.html"></iframe>'
        for page in PAGES
        for width in WIDTHS
    )
    (tmp_path / "probe.html").write_text(PROBE % frames, encoding="utf-8")
    assert BROWSER is not None
    done = subprocess.run(
        [BROWSER, *SWITCHES, f"--blink-settings=preferredColorScheme={int(not dark)}",
         f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=30000", "--dump-dom",
         (tmp_path / "probe.html").as_uri()],
        capture_output=True, text=True, timeout=800, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr, done.stderr
    (body,) = re.findall(r"<body>(\{.*\})\s*</body>", done.stdout, re.DOTALL)
    found: dict[str, dict[str, Any]] = json.loads(html.unescape(body))
    assert len(found) == len(PAGES) * len(WIDTHS)
    wrong = {name: own for name, own in found.items() if faulty(own, int(name.rpartition(" ")[2]), dark=dark)}
    assert not wrong, json.dumps(wrong, indent=1, ensure_ascii=False)


def faulty(own: dict[str, Any], width: int, *, dark: bool) -> bool:
    """Whether something of a page is wider than its box, broken, fetched, or of the wrong colour."""
    boxes = own["page"] > width or own["wide"] or own["out"]
    return bool(boxes or own["asked"] or own["broken"] or (own["paper"] != "rgb(255, 255, 255)") != dark)


def test_each_page_is_in_the_navigation() -> None:
    _, _, navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")
    listed = set(re.findall(r"[\w./-]+\.md", str(yaml.safe_load(navigation))))
    written = {path.relative_to(DOCS).as_posix() for path in (*DOCS.glob("*.md"), *DOCS.glob("*/*.md"))}
    written |= {f"notebooks/{path.stem}.md" for path in DOCS.glob("notebooks/*.ipynb")}
    assert written - listed == {"results/README.md"}


def test_each_public_name_is_in_the_reference() -> None:
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (DOCS / "api").glob("*.md"))
    shown = {name.rpartition(".")[2]: name for name in re.findall(r"^::: (\S+)$", pages, flags=re.MULTILINE)}
    assert set(lambda_rl.__all__) - {"__version__"} <= set(shown)
    assert set(seeing.__all__) <= set(shown)
    assert "lambda_rl.constraints" in shown.values()
    assert set(constraints.__all__) == set(constraints.__dict__) & set(constraints.__all__)
    index = (DOCS / "api" / "README.md").read_text(encoding="utf-8")
    assert {name for name in shown if f"`{name}`" not in index} == set()


def test_each_schedule_has_a_page() -> None:
    table = yaml.safe_load((DOCS / "schedules" / "schedules.yaml").read_text(encoding="utf-8"))
    assert list(table) == [name for name in SCHEDULE_FORMS if name in table]
    assert set(table) == set(SCHEDULE_FORMS)
    index = (DOCS / "schedules" / "README.md").read_text(encoding="utf-8")
    reference = (DOCS / "api" / "schedules.md").read_text(encoding="utf-8")
    for name, entry in table.items():
        assert re.search(rf"^\| `{name}[:`]", index, flags=re.MULTILINE), name
        assert set(entry) - {"optimizer"} == {
            "text",
            "class",
            "what",
            "formula",
            "source",
            "tells",
            "when",
            "not",
        }
        assert f".{entry['class']}\n" in reference, name
