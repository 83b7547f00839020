"""The shot list as a page to print: what to photograph, how each cell looks, and a list to tick off."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ilion.report.decision.drawings import cell_drawing
from ilion.report.decision.names import Plain, across, cell_name, clutter_text, load, size_text, write_page
from ilion.wording import Words

_ROWS = 40
"""Most rows of the list to tick off: two printed pages."""


def write_shots(plain: Plain, path: Path, *, language: str = "") -> Path:
    """Write a shot list as one HTML file that loads nothing from anywhere, and prints on A4.

    Args:
        plain: Content of ``shots.json``.
        path: The file; written aside and renamed.
        language: Language of the page; "" means that of the list.

    Raises:
        ConfigError: There is no such language.
        ArtifactError: The file cannot be written.
    """
    words = load(language or plain["language"])
    backgrounds = list(dict.fromkeys(shot["clutter"] for shot in plain["shots"]))
    cells = []
    # a row for each background, so that sizes stand side by side
    for shot in sorted(plain["shots"], key=lambda each: backgrounds.index(each["clutter"])):
        name = cell_name(shot, words)
        crowded = backgrounds.index(shot["clutter"]) / max(len(backgrounds) - 1, 1)
        label = words("cells.picture", cell=name)
        cells.append(
            {
                "name": name,
                "drawing": cell_drawing(shot["size_range"], shot["clutter_range"], label, crowded),
                "size": size_text(shot["size_range"], words) if shot["size"] else "",
                "side": _side(shot["side_range"], words) if shot["size"] else "",
                "things": clutter_text(shot["clutter_range"], words) if shot["clutter"] else "",
                "each": words("shots.each", count=shot["photos"], objects=shot["objects"]),
                "photos": shot["photos"],
            }
        )
    pilot = plain["spread_from"] != "prior"
    return write_page(
        path,
        "shots.html.j2",
        words,
        plain=plain,
        cells=cells,
        columns=across(plain["shots"]),
        width=_width(plain, words),
        ladder=[_step(step, plain, words) for step in plain["ladder"]],
        ladder_note=words("shots.ladder_note_pilot", where=plain["spread_from"])
        if pilot
        else words("shots.ladder_note"),
        rows=min(plain["objects"], _ROWS),
    )


def _points(share: float, words: Words) -> str:
    return words.number(100 * share, 0)


def _side(span: Sequence[float], words: Words) -> str:
    low, high = span
    shown = {"low": words.percent(low), "high": words.percent(high)}
    if low <= 0:
        return words("shots.side_below", high=shown["high"])
    return words("shots.side_above", low=shown["low"]) if high >= 1 else words("shots.side", **shown)


def _width(plain: Plain, words: Words) -> str:
    planned, said = plain["planned"]["width"], {"objects": plain["objects"]}
    wanted = _points(plain["wanted"], words)
    if planned >= 1:
        return words("shots.nothing", **said, wanted=wanted, needed=plain["needed"])
    if plain["objects"] >= plain["needed"]:
        return words("shots.width_met", **said, planned=_points(planned, words))
    return words(
        "shots.width", **said, wanted=wanted, needed=plain["needed"], planned=_points(planned, words)
    )


def _step(step: Plain, plain: Plain, words: Words) -> dict[str, Any]:
    def width(value: float) -> str:
        return (
            words("page.plusminus", value=_points(value, words)) if value < 1 else words("shots.nothing_sure")
        )

    detects = words("page.points", value=_points(step["detects"], words))
    return {
        "objects": words.integer(step["objects"]),
        "width": width(step["width"]),
        "cell": width(step["cell_width"]),
        "detects": detects if step["detects"] < 1 else words("shots.nothing_sure"),
        "planned": step["objects"] == plain["objects"],
    }
