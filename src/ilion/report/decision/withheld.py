"""What a proof of concept does not say, why, and what it would take."""

from __future__ import annotations

from ilion.report.decision.designs import missing_settings
from ilion.report.decision.names import Plain
from ilion.report.decision.sentences import Sayings
from ilion.report.decision.threshold import promise_of
from ilion.report.decision.verdicts import has_interval


def withheld(plain: Plain, chosen: str | None, say: Sayings) -> list[tuple[str, str, str]]:
    """Return what is not said: what, why, and what it takes.

    Args:
        plain: Content of ``decision.json``.
        chosen: Design whose open cells are named, those of others being counted; None names none.
        say: Puts it into words.
    """
    words, recommendation = say.words, plain["recommendation"]
    found: list[tuple[str, str, str]] = []
    needed = ""
    if recommendation["kind"] == "plan":
        values = recommendation["values"]
        needed = words("cannot.takes_total", count=values["objects"])
        found.append((words("cannot.recommend"), words(f"cannot.why_{values['why']}"), needed))
    for each in (plain["change"], *plain["statements"]):
        # nothing left to photograph, and no cell that is worse than the others, are answers
        if not each["said"] and each["kind"] != "next":
            why = words(f"cannot.why_{each['withheld']}")
            found.append(
                (words(f"cannot.{each['kind']}"), why, needed if each["withheld"] != "no-difference" else "")
            )
    promise = promise_of(plain)
    if promise is None:
        found.append((words("cannot.threshold"), words("cannot.why_not-measured"), ""))
    elif promise["threshold"] is None:
        takes = words("cannot.takes_total", count=promise["objects_needed"])
        found.append((words("cannot.threshold"), words("cannot.why_few-objects"), takes))
    if plain["money"]["missing"]:
        found.append((words("cannot.money"), words("cannot.why_no-prices"), missing_settings(plain, say)))
    if chosen is None:
        return found
    open_ = [v for v in plain["verdicts"] if v["answer"] == "not-enough-photos"]
    for v in open_:
        if v["design"] == chosen:
            enough = has_interval(v)
            key = "cannot.takes" if enough else "cannot.takes_interval"
            takes = words(key, count=v["more_objects"]) if v["more_objects"] else ""
            why = words("cannot.why_not-settled" if enough else "cannot.why_few-objects")
            said = words("cannot.verdict", design=say.design(chosen), cell=say.cell(v["cell"]))
            found.append((said, why, takes))
    others = sum(v["design"] != chosen for v in open_)
    if others:
        told = words("cannot.others", count=others)
        found.append((told, words("cannot.why_not-settled"), words("cannot.see_table")))
    return found
