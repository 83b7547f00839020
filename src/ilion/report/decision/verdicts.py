"""Verdicts in words and drawings: the cells of a proof of concept, and all cells by all designs."""

from __future__ import annotations

from typing import Any

from ilion.poc.sample import LEAST_OBJECTS
from ilion.report.decision.drawings import cell_drawing, gain_drawing
from ilion.report.decision.names import Plain, cell_name, clutter_text, size_text
from ilion.report.decision.sentences import Sayings

ALL = "all"
"""Name of the cell of all photos."""


def break_even(plain: Plain, name: str) -> float:
    """Return the gain from which on a design pays."""
    return next((float(d["break_even"]) for d in plain["designs"] if d["name"] == name), float(plain["gain"]))


def measure_name(plain: Plain) -> str:
    """Return the name of the measure that gains are of."""
    return "mAP" if plain["measure"] == "AP" else "R@1"


def has_interval(verdict: Plain) -> bool:
    """Return whether there are objects enough for an interval."""
    return int(verdict["gain"]["objects"]) >= LEAST_OBJECTS


def _reach(plain: Plain) -> float:
    """Return the end of the axis of gains: wide enough for every value and the gain that is asked for."""
    gains = [abs(v["gain"]["value"]) for v in plain["verdicts"] if has_interval(v)] + [2 * plain["gain"]]
    return min(1.0, max(0.2, 1.4 * float(max(gains))))


def _verdict(v: Plain, plain: Plain, reach: float, say: Sayings) -> dict[str, Any]:
    gain, more = v["gain"], v["more_objects"]
    if not has_interval(v):  # no number without an interval
        return {
            "answer": v["answer"],
            "gain": say.words("cells.no_interval", count=gain["objects"]),
            "drawing": "",
            "more": say.words("cells.for_interval", count=more) if more else "",
        }
    low, high = say.points(gain["low"], -1), say.points(gain["high"])
    return {
        "answer": v["answer"],
        "gain": say.words("cells.gain", value=say.points(gain["value"]), low=low, high=high),
        "drawing": gain_drawing(gain, break_even(plain, v["design"]), reach, v["answer"]),
        "more": say.words("cells.more", count=more) if more else "",
    }


def cells_of(plain: Plain, chosen: str, say: Sayings) -> list[dict[str, Any]]:
    """Return the cells with their drawings, and the verdict on one design in each."""
    reach, found = _reach(plain), []
    cells = [cell for cell in plain["cells"] if cell["name"] != ALL]
    backgrounds = list(dict.fromkeys(cell["clutter"] for cell in cells))
    # a row for each background, so that sizes stand side by side
    for cell in sorted(cells, key=lambda each: backgrounds.index(each["clutter"])):
        verdict = next(
            (v for v in plain["verdicts"] if v["cell"] == cell["name"] and v["design"] == chosen), None
        )
        crowded = backgrounds.index(cell["clutter"]) / max(len(backgrounds) - 1, 1)
        name = cell_name(cell, say.words)
        counted = plain["clutter_source"] == "counted"
        sizes, things = cell["size_range"], cell["clutter_range"] if counted else (0, None)
        known = "unknown" not in (cell["size"], cell["clutter"])
        found.append(
            {
                "name": name,
                "drawing": cell_drawing(sizes, things, say.words("cells.picture", cell=name), crowded)
                if known
                else None,
                "size": size_text(sizes, say.words) if cell["size"] not in ("", "unknown") else "",
                "things": clutter_text(things, say.words) if cell["clutter"] not in ("", "unknown") else "",
                "share": say.words("cells.share", share=say.words.percent(cell["share"])),
                "coverage": say.words(
                    "cells.coverage",
                    objects=cell["objects"],
                    planned=cell["planned_objects"],
                    photos=cell["photos"],
                ),
                "verdict": _verdict(verdict, plain, reach, say) if verdict else None,
            }
        )
    return found


def table_of(plain: Plain, say: Sayings) -> dict[str, Any]:
    """Return all verdicts, cells down and designs across."""
    reach = _reach(plain)
    designs = list(dict.fromkeys(v["design"] for v in plain["verdicts"]))
    cells = list(dict.fromkeys(v["cell"] for v in plain["verdicts"]))
    found = {(v["cell"], v["design"]): _verdict(v, plain, reach, say) for v in plain["verdicts"]}
    rows = [(say.cell(cell), [found.get((cell, design)) for design in designs]) for cell in cells]
    return {
        "designs": [say.design(name) for name in designs],
        "rows": rows,
        "intro": say.words(
            "cells.every_intro", against=say.design(plain["baseline"]), measure=measure_name(plain)
        ),
    }
