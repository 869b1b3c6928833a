"""Figures as SVG: what is drawn says on hover what it is, and knows the schedule that it belongs to.

:func:`tip` marks what is drawn, :func:`legend_entry` marks the entries of a legend, :func:`svg` makes the file, and
:func:`inlined` makes it a part of a page: marks become titles and attributes, neutral colours become variables of the
page, which may be dark, and names are told from those of other figures.
"""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from lambda_rl.agents.presenting.style import GREY, INK, LEARNED_PALETTE

_TIP, _LEGEND = "tip\N{SYMBOL FOR UNIT SEPARATOR}", "legend\N{SYMBOL FOR UNIT SEPARATOR}"
_BETWEEN = "\N{SYMBOL FOR RECORD SEPARATOR}"  # no name has it
_SVG = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"

_COLOURS = {
    INK.lower(): "var(--ink)", GREY.lower(): "var(--grey)", "#111111": "var(--strong)", "#ffffff": "var(--paper)",
    "#e6e6e6": "var(--line)", "#999999": "var(--spine)", "#a0a0a0": "var(--spine)", "#f6f6f6": "var(--band)",
    "#000000": "var(--ink)",
    **{colour.lower(): f"var(--learned{place})" for place, colour in enumerate(LEARNED_PALETTE)},
}  # fmt: skip
"""Colours that a dark page changes; the palette of Okabe and Ito is seen on both."""

for _prefix, _space in (("", _SVG), ("xlink", "http://www.w3.org/1999/xlink")):
    ElementTree.register_namespace(_prefix, _space)


def tip(artist: Artist, text: str, schedule: str = "") -> None:
    """Says what something drawn is, and whose it is."""
    artist.set_gid(f"{_TIP}{schedule}{_BETWEEN}{text}")


def legend_entry(legend: Legend, schedules: dict[str, str]) -> None:
    """Marks the entries of a legend, so that a page can hide what they stand for.

    Args:
        legend: as it was drawn.
        schedules: label to the schedule that it stands for; other entries are left alone.
    """
    for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
        schedule = schedules.get(text.get_text())
        for artist in (handle, text) if schedule is not None else ():
            if artist is not None:
                artist.set_gid(f"{_LEGEND}{schedule}{_BETWEEN}")


def svg(figure: Figure) -> bytes:
    """A figure as an SVG file with text as text, and without a date: the same figure gives the same bytes."""
    buffer = io.BytesIO()
    # A number for what would be drawn by chance; text is set in the fonts of the reader.
    with mpl.rc_context({"svg.hashsalt": "lambda-rl", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(buffer.getvalue())
    _mark(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def inlined(content: bytes, prefix: str, label: str) -> str:
    """An SVG file as a part of a page.

    Args:
        content: what :func:`svg` gave.
        prefix: put before all names within it.
        label: what it shows, for those who do not see it.
    """
    root = ElementTree.fromstring(content)
    for element in root.iter():
        _rename(element, prefix)
        style = element.get("style")
        if style:
            element.set("style", re.sub(r"#[0-9a-f]{6}\b", lambda hit: _COLOURS.get(hit[0], hit[0]), style))
        path = element.get("d")
        if path:
            element.set("d", re.sub(r"\d+\.\d{3,}", lambda hit: f"{float(hit[0]):.2f}", path))
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-label", label)
    for child in list(root):
        if child.tag == f"{{{_SVG}}}metadata":
            root.remove(child)
    text = ElementTree.tostring(root, encoding="unicode")
    # Within a page of HTML the name spaces are known.
    return re.sub(r' xmlns(:xlink)?="[^"]*"', "", text).replace("xlink:href", "href")


def _mark(root: ElementTree.Element) -> None:
    for element in root.iter():
        name = element.get("id", "")
        if name.startswith(_TIP):
            schedule, _, text = name.removeprefix(_TIP).partition(_BETWEEN)
            del element.attrib["id"]
            if schedule:
                element.set("data-schedule", schedule)
            if text:
                title = ElementTree.Element(f"{{{_SVG}}}title")
                title.text = text
                element.insert(0, title)
        elif name.startswith(_LEGEND):
            del element.attrib["id"]
            element.set("data-legend", name.removeprefix(_LEGEND).removesuffix(_BETWEEN))


def _rename(element: ElementTree.Element, prefix: str) -> None:
    if "id" in element.attrib:
        element.set("id", f"{prefix}-{element.get('id')}")
    for name in (_LINK, "href"):
        target = element.get(name, "")
        if target.startswith("#"):
            element.set(name, f"#{prefix}-{target[1:]}")
    for name in ("clip-path", "style"):
        if "url(#" in element.get(name, ""):
            element.set(name, element.get(name, "").replace("url(#", f"url(#{prefix}-"))
