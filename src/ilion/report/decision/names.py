"""What cells and designs are called for people, and the frame of every page of a proof of concept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ilion._version import __version__
from ilion.report.build import asset, page_environment, policy
from ilion.storage import write_bytes
from ilion.wording import Words, load_words

ROOM = "report/decision"
Plain = Mapping[str, Any]
"""A table of JSON."""


def load(language: str) -> Words:
    """Load the catalogue of these pages."""
    return load_words(ROOM, language)


def write_page(path: Path, template: str, words: Words, script: str = "", **data: object) -> Path:
    """Write a page as one HTML file that loads nothing from anywhere.

    Args:
        path: The file; written aside and renamed.
        template: Name of the template.
        words: The catalogue.
        script: Name of its script; "" for none.
        data: Variables of the template.

    Raises:
        ArtifactError: The file cannot be written.
    """
    folder = resources.files("ilion.report.decision") / "templates"
    css = asset("report.css") + (folder / "decision.css").read_text("utf-8")
    code = (folder / script).read_text("utf-8") if script else ""
    allowed = policy(css, code).replace(
        "img-src data:", "img-src data: 'self' file:" if script else "img-src data:"
    )
    page = page_environment(words, "ilion.report.decision").get_template(template)
    html = page.render(css=Markup(css), script=Markup(code), policy=allowed, version=__version__, **data)
    write_bytes(path, html.encode("utf-8"))
    return path


def design_name(name: str, words: Words) -> str:
    """Return what a design is called; one from elsewhere keeps its name."""
    return words(f"design.{name}") if f"design.{name}" in words.entries else name


def cell_name(cell: Plain, words: Words) -> str:
    """Return what a cell is called.

    Args:
        cell: Table of the cell, with ``name``, ``size`` and ``clutter``.
        words: The catalogue.
    """
    parts = []
    for kind in ("size", "clutter"):
        name = cell[kind]
        if name == "unknown":
            parts.append(words("cell.unknown"))
        elif name:
            parts.append(words(f"{kind}.{name}") if f"{kind}.{name}" in words.entries else name)
    if len(parts) == 2:
        return words("cell.both", size=parts[0], clutter=parts[1])
    return parts[0] if parts else words("cell.all")


def across(cells: Sequence[Plain]) -> int:
    """Return how many cells stand side by side: as many as there are sizes, if they fit."""
    sizes = len({cell["size"] for cell in cells if cell["size"]})
    return sizes if 2 <= sizes <= 4 else 3


def share_text(share: float, words: Words) -> str:
    """Write a share of a photo, with decimals only where they are needed."""
    value = float(f"{100 * share:.2g}")
    return words("unit.percent", value=words.number(value, 0 if value % 1 == 0 else 1 if value >= 0.1 else 2))


def size_text(span: Sequence[float], words: Words) -> str:
    """Say how much of the photo the object takes, from and to."""
    low, high = span
    shown = [share_text(value, words) for value in (low, high)]
    if low <= 0:
        return words("size.any") if high >= 1 else words("size.below", high=shown[1])
    return (
        words("size.above", low=shown[0]) if high >= 1 else words("size.between", low=shown[0], high=shown[1])
    )


def clutter_text(span: Sequence[float | None], words: Words) -> str:
    """Say how many things are on the photo; "" where they are not counted.

    Args:
        span: Least number, and the number that is not reached; None for no end.
        words: The catalogue.
    """
    low, high = span
    least = math.ceil(low or 0)
    if high is None or math.isinf(high):
        return words("clutter.above", count=least) if least else ""
    most = math.ceil(high)
    if not least:
        return words("clutter.below", count=most)
    return words("clutter.between", low=least, high=most - 1)
