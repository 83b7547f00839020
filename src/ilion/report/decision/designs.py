"""Numbers of designs: the three that matter, the table of designs, and money."""

from __future__ import annotations

from typing import Any

from ilion.report.decision.names import ROOM, Plain
from ilion.report.decision.sentences import Sayings
from ilion.report.decision.verdicts import ALL
from ilion.report.english import failure_text
from ilion.wording import Words, reword

STOPPED = "cannot win"
"""Beginning of the reason of a design that was stopped early."""


def numbers_of(plain: Plain, chosen: str, say: Sayings) -> list[tuple[str, str, str]]:
    """Return three numbers, each with what it is and its interval."""
    words, values = say.words, plain["recommendation"]["values"]
    first, gain = values["first"], values["gain"]
    kind = "AP" if plain["measure"] == "AP" else "R1"
    span = {"low": say.points(gain["low"], -1), "high": say.points(gain["high"])}
    note = words("number.gain_note", **span, against=say.design(plain["baseline"]))
    stay = plain["recommendation"]["kind"] == "stay"
    label = words("number.best") if stay else words(f"number.gain_{kind}")
    value = words("page.points", value=say.points(gain["high"] if stay else gain["value"]))
    numbers = [
        (
            words("number.value_first", value=say.of_100(first["value"])),
            words("number.first"),
            words("number.first_note", **say.span(first)),
        ),
        (value, label, note),
    ]
    design = say.designs[values["design"]]
    stored = words("number.search_note", bytes=words.size(design["bytes_per_photo"]))
    if design["monthly_cost"] is not None:
        note = words("number.month_note", photos=words.large(design["monthly_photos"]))
        numbers.append((say.monthly(design), words("number.month"), note))
    else:
        numbers.append((words.milliseconds(design["ms_per_search"]), words("number.search"), stored))
    return numbers


def plan_numbers(v: Plain, say: Sayings) -> list[tuple[str, str, str]]:
    """Return three numbers of a plan: objects that are there, objects that are needed, and the width."""
    words = say.words
    width = v["have_width"]
    now = (
        words("number.width_unknown")
        if width is None
        else words("number.width_now", value=say.points(width, signed=False))
    )
    return [
        (words("number.value_objects", value=v["have"]), words("number.have"), ""),
        (words("number.value_objects", value=v["objects"]), words("number.need"), ""),
        (words("page.plusminus", value=say.points(v["width"], signed=False)), words("number.width"), now),
    ]


def design_row(design: Plain, plain: Plain, say: Sayings) -> dict[str, Any]:
    """Return the row of a design in the table of designs."""
    words = say.words
    verdict = next((v for v in plain["verdicts"] if v["cell"] == ALL and v["design"] == design["name"]), None)
    if not design["ran"]:
        stopped = design["reason"].startswith(STOPPED)
        why = "" if stopped else reason_text(design["reason"], words)
        return {
            "name": say.design(design["name"]),
            "ran": False,
            "reason": reason_text(STOPPED, words) if stopped else words("designs.not_run"),
            "why": why,
            "language": "en" if why == design["reason"] else words.language,
        }
    first, precision = design["first"], design["precision"]
    return {
        "name": say.design(design["name"]),
        "ran": True,
        "first": say.of_100(first["value"]),
        "first_span": words("page.range", **say.span(first)),
        "map": words.percent(precision["value"], 1),
        "map_span": words(
            "page.range", low=words.percent(precision["low"] or 0), high=words.percent(precision["high"] or 0)
        ),
        "bytes": words.size(design["bytes_per_photo"]),
        "search": words.milliseconds(design["ms_per_search"]),
        "month": say.monthly(design),
        "answer": verdict["answer"] if verdict else "",
        "chosen": plain["recommendation"]["values"].get("design") == design["name"],
    }


def reason_text(reason: str, words: Words) -> str:
    """Return why a design was not run, in the language of a page."""
    if reason.startswith(STOPPED):
        return words("designs.stopped")
    said = reword(reason, "reason", words, ROOM)
    return said if said != reason else failure_text(reason, words)


def money_of(plain: Plain, say: Sayings) -> dict[str, Any]:
    """Return what each design earns and costs."""

    def amount(estimate: Plain) -> tuple[str, str]:
        low = say.money(estimate["low"]) if estimate["low"] is not None else "−∞"
        high = say.money(estimate["high"]) if estimate["high"] is not None else "∞"
        return say.money(estimate["value"]), say.words("page.range", low=low, high=high)

    lines = [
        {
            "name": say.design(line["design"]),
            "finds": amount(line["finds"]),
            "wrong": amount(line["wrong_picks"]),
            "storage": say.money(line["storage"]),
            "machines": say.money(line["machines"]),
            "net": amount(line["net"]),
        }
        for line in plain["money"]["lines"]
    ]
    missing = missing_settings(plain, say)
    told = say.words("money.missing", names=missing) if missing else ""
    return {
        "lines": lines,
        "missing": told,
        "intro": say.words("money.intro", against=say.design(plain["baseline"])),
    }


def missing_settings(plain: Plain, say: Sayings) -> str:
    """Return what the settings are called without which nothing is said in money."""
    names = (name.rpartition(".")[2] for name in plain["money"]["missing"])
    entries = say.words.entries
    return say.words.items(say.words(f"setting.{n}") if f"setting.{n}" in entries else n for n in names)
