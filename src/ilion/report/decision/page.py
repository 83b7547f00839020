"""The page of a decision: one page that says what to do, then what it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ilion.report.decision.drawings import cell_drawing, gain_drawing, threshold_chart
from ilion.report.decision.lookalikes import lookalike_data
from ilion.report.decision.names import (
    ROOM,
    Plain,
    across,
    cell_name,
    clutter_text,
    design_name,
    load,
    size_text,
    write_page,
)
from ilion.report.decision.sentences import Sayings
from ilion.report.english import reword
from ilion.types import RetrievalDataset
from ilion.wording import Words

ALL = "all"
STOPPED = "cannot win"
_MOST_BYTES = 4_000_000
"""Bytes that the pictures of look-alikes may take."""


def write_decision(
    plain: Plain, path: Path, *, dataset: RetrievalDataset | None = None, language: str = ""
) -> Path:
    """Write a decision as one HTML file that loads nothing from anywhere, and prints on A4.

    What is not sure is not said: it is listed with what it would take. Where nothing can be recommended the
    page is a plan.

    Args:
        plain: Content of ``decision.json``.
        path: The file; written aside and renamed.
        dataset: The photos, for pictures of look-alikes; None shows none.
        language: Language of the page; "" means that of the decision.

    Raises:
        ConfigError: There is no such language.
        ArtifactError: The file cannot be written.
    """
    words = load(language or plain["language"])
    say = Sayings(plain, words)
    recommendation = plain["recommendation"]
    planned = recommendation["kind"] == "plan"
    known = recommendation["values"].get("why") not in ("few-objects", "not-run")
    chosen = _chosen(plain)
    statements = {each["kind"]: each for each in plain["statements"]}
    alike, definitions = lookalike_data(plain, dataset, words, _MOST_BYTES)
    return write_page(
        path,
        "decision.html.j2",
        words,
        plain=plain,
        planned=planned,
        known=known,
        headline=say.say(recommendation),
        width=say.plan_width(recommendation["values"]) if planned else None,
        change=say.say(plain["change"]),
        pays=say.say(statements["pays-in"]) if "pays-in" in statements else None,
        fails=say.say(statements["fails-in"]) if "fails-in" in statements else None,
        costs=say.say(statements["costs"]) if "costs" in statements else None,
        next_step=_next_step(planned, statements, say),
        numbers=_plan_numbers(recommendation["values"], say) if planned else _numbers(plain, chosen, say),
        cells=_cells(plain, chosen, say),
        columns=across(plain["cells"]),
        table=_table(plain, say),
        designs=[_design(each, plain, say) for each in plain["designs"]],
        money=_money(plain, say),
        threshold=_threshold(plain, say),
        equal_risk=say.say(statements["equal-risk"]) if "equal-risk" in statements else None,
        alike=alike,
        definitions=definitions,
        stages=_stages(plain, say),
        withheld=_withheld(plain, chosen if known else None, say),
        meeting=_plan_meeting(recommendation["values"], say) if planned else _meeting(plain, chosen, say),
        chosen=design_name(chosen, words),
        baseline=design_name(plain["baseline"], words),
        break_even=say.points(_break_even(plain, chosen), signed=False),
    )


def _chosen(plain: Plain) -> str:
    """Return the name of the design that the page is about: the recommended one, else the best rival."""
    values = plain["recommendation"]["values"]
    if plain["recommendation"]["kind"] == "recommend":
        return str(values["design"])
    if "best" in values:
        return str(values["best"])
    overall = [v for v in plain["verdicts"] if v["cell"] == ALL]
    return (
        str(max(overall, key=lambda v: v["gain"]["value"])["design"]) if overall else str(plain["baseline"])
    )


def _break_even(plain: Plain, name: str) -> float:
    return next((float(d["break_even"]) for d in plain["designs"] if d["name"] == name), float(plain["gain"]))


def _next_step(planned: bool, statements: Mapping[str, Plain], say: Sayings) -> Markup:
    if planned:
        return Markup.escape(say.words("say.next_plan"))
    said = say.say(statements["next"]) if "next" in statements else None
    return said or Markup.escape(say.words("say.next_stage" if say.plain["stages"] else "say.next_none"))


def _measure(plain: Plain) -> str:
    return "mAP" if plain["measure"] == "AP" else "R@1"


def _numbers(plain: Plain, chosen: str, say: Sayings) -> list[tuple[str, str, str]]:
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
        numbers.append((say.money(design["monthly_cost"]), words("number.month"), words("number.month_note")))
    else:
        numbers.append((words.milliseconds(design["ms_per_search"]), words("number.search"), stored))
    return numbers


def _plan_numbers(v: Plain, say: Sayings) -> list[tuple[str, str, str]]:
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


def _reach(plain: Plain) -> float:
    """Return the end of the axis of gains: wide enough for every value and the gain that is asked for."""
    gains = [abs(v["gain"]["value"]) for v in plain["verdicts"]] + [2 * plain["gain"]]
    return min(1.0, max(0.2, 1.4 * float(max(gains))))


def _verdict(v: Plain, plain: Plain, reach: float, say: Sayings) -> dict[str, Any]:
    gain = v["gain"]
    low, high = say.points(gain["low"], -1), say.points(gain["high"])
    return {
        "answer": v["answer"],
        "gain": say.words("cells.gain", value=say.points(gain["value"]), low=low, high=high),
        "drawing": gain_drawing(gain, _break_even(plain, v["design"]), reach, v["answer"]),
        "more": v["more_objects"],
    }


def _cells(plain: Plain, chosen: str, say: Sayings) -> list[dict[str, Any]]:
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


def _table(plain: Plain, say: Sayings) -> dict[str, Any]:
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
            "cells.every_intro", against=say.design(plain["baseline"]), measure=_measure(plain)
        ),
    }


def _design(design: Plain, plain: Plain, say: Sayings) -> dict[str, Any]:
    words = say.words
    verdict = next((v for v in plain["verdicts"] if v["cell"] == ALL and v["design"] == design["name"]), None)
    if not design["ran"]:
        stopped = design["reason"].startswith(STOPPED)
        why = "" if stopped else reword(design["reason"], "reason", words, ROOM)
        return {
            "name": say.design(design["name"]),
            "ran": False,
            "reason": words("designs.stopped") if stopped else words("designs.not_run"),
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
        "month": words("table.none") if design["monthly_cost"] is None else say.money(design["monthly_cost"]),
        "answer": verdict["answer"] if verdict else "",
        "chosen": plain["recommendation"]["values"].get("design") == design["name"],
    }


def _money(plain: Plain, say: Sayings) -> dict[str, Any]:
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
    missing = _settings(plain, say)
    told = say.words("money.missing", names=missing) if missing else ""
    return {
        "lines": lines,
        "missing": told,
        "intro": say.words("money.intro", against=say.design(plain["baseline"])),
    }


def _settings(plain: Plain, say: Sayings) -> str:
    """Return what the settings are called without which nothing is said in money."""
    names = (name.rpartition(".")[2] for name in plain["money"]["missing"])
    entries = say.words.entries
    return say.words.items(say.words(f"setting.{n}") if f"setting.{n}" in entries else n for n in names)


def _promise(plain: Plain) -> Plain | None:
    """Return the promise of a threshold, wherever the part keeps it."""
    part = plain["threshold"]
    if not isinstance(part, Mapping):
        return None
    promise = part.get("promise", part)
    needed = ("risk", "confidence", "threshold", "objects", "objects_needed", "least_risk", "at", "curve")
    return promise if isinstance(promise, Mapping) and all(key in promise for key in needed) else None


def _threshold(plain: Plain, say: Sayings) -> dict[str, Any] | None:
    promise = _promise(plain)
    if promise is None:
        return None
    words = say.words
    risk, confidence = words.percent(promise["risk"]), words.percent(promise["confidence"])
    at = promise["at"] if promise["threshold"] is not None else None
    if at is None:
        told = words.rich(
            "none.no_promise",
            objects=promise["objects"],
            needed=promise["objects_needed"],
            risk=risk,
            least=words.percent(promise["least_risk"]),
        )
    else:
        told = words.rich(
            "none.found", found=say.of_100(at["found"]["value"]), missed=say.of_100(at["missed"]["value"])
        )
    return {
        "intro": words.rich("none.intro", risk=risk, confidence=confidence) if at else None,
        "told": told,
        "chart": threshold_chart(promise["curve"], at, promise["risk"], words) if promise["curve"] else None,
    }


def _stages(plain: Plain, say: Sayings) -> dict[str, Any] | None:
    part = plain["stages"]
    if not isinstance(part, Mapping) or not part.get("stages"):
        return None
    words, none = say.words, say.words("table.none")
    rows = []
    for stage in part["stages"]:
        span = stage["ci95"] or stage["interval"]
        gates = [_gate(gate, words) for gate in stage["gates"]]
        rows.append(
            {
                "images": words.large(stage["images"]),
                "kind": words(f"stages.{stage['kind']}"),
                "accuracy": none if stage["accuracy"] is None else words.percent(stage["accuracy"]),
                "span": words("page.range", low=words.percent(span["low"]), high=words.percent(span["high"]))
                if span
                else none,
                "disk": words.size(stage["disk_bytes"]),
                "memory": words.size(stage["memory_bytes"]),
                "search": words.milliseconds(stage["search_ms"]),
                "price": none if stage["price"] is None else words.money(stage["price"], part["currency"]),
                "gates": gates,
            }
        )
    return {
        "rows": rows,
        "metric": words("stages.metric", **_metric(part["metric"])),
        "intro": words(
            "stages.intro", design=say.design(plain["recommendation"]["values"].get("design", part["design"]))
        ),
    }


def _metric(metric: str) -> dict[str, str]:
    """Return name and definition of a metric such as ``mAP@1000 (ilias)``."""
    name, _, definition = metric.removesuffix(")").partition(" (")
    return {"name": name, "definition": definition}


def _gate(gate: Plain, words: Words) -> str:
    """Say what must be measured before the next stage."""
    if gate["key"] == "measure" and "low" in gate["values"]:
        ends = {end: words.percent(float(gate["values"][end])) for end in ("low", "high")}
        return words("stages.gate_measure_within", **ends)
    return words(f"stages.gate_{gate['key']}")


def _withheld(plain: Plain, chosen: str | None, say: Sayings) -> list[tuple[str, str, str]]:
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
        if not each["said"] and (each["kind"], each["withheld"]) != ("next", "no-difference"):
            why = words(f"cannot.why_{each['withheld']}")
            found.append(
                (words(f"cannot.{each['kind']}"), why, needed if each["withheld"] != "no-difference" else "")
            )
    promise = _promise(plain)
    if promise is None:
        found.append((words("cannot.threshold"), words("cannot.why_not-measured"), ""))
    elif promise["threshold"] is None:
        takes = words("cannot.takes_total", count=promise["objects_needed"])
        found.append((words("cannot.threshold"), words("cannot.why_few-objects"), takes))
    if plain["money"]["missing"]:
        found.append((words("cannot.money"), words("cannot.why_no-prices"), _settings(plain, say)))
    if chosen is None:
        return found
    open_ = [v for v in plain["verdicts"] if v["answer"] == "not-enough-photos"]
    for v in open_:
        if v["design"] == chosen:
            takes = words("cannot.takes", count=v["more_objects"]) if v["more_objects"] else ""
            said = words("cannot.verdict", design=say.design(chosen), cell=say.cell(v["cell"]))
            found.append((said, words("cannot.why_not-settled"), takes))
    others = sum(v["design"] != chosen for v in open_)
    if others:
        told = words("cannot.others", count=others)
        found.append((told, words("cannot.why_not-settled"), words("cannot.see_table")))
    return found


def _meeting(plain: Plain, chosen: str, say: Sayings) -> Iterable[tuple[str, Markup]]:
    """Yield questions and answers with the numbers of this proof of concept."""
    words, values = say.words, plain["recommendation"]["values"]
    first, gain = values["first"], values["gain"]
    yield (
        words("meeting.right_q"),
        words.rich("meeting.right", first=say.of_100(first["value"]), **say.span(first)),
    )
    searches = plain["searches_a_day"]
    if searches:
        right = round(searches * first["value"])
        yield (
            words("meeting.day_q"),
            words.rich(
                "meeting.day",
                searches=round(searches),
                right=right,
                wrong=round(searches) - right,
                low=round(searches * (first["low"] or 0)),
                high=round(searches * (1 if first["high"] is None else first["high"])),
            ),
        )
    needed = say.points(_break_even(plain, chosen), signed=False)
    if plain["recommendation"]["kind"] == "recommend":
        yield (
            words("meeting.why_q"),
            words.rich(
                "meeting.why",
                against=say.design(plain["baseline"]),
                before=say.of_100(values["before"]["value"]),
                gain=say.points(gain["value"]),
                low=say.points(gain["low"], -1),
                high=say.points(gain["high"]),
                measure=_measure(plain),
                break_even=needed,
            ),
        )
    else:
        high = say.points(gain["high"])
        yield (
            words("meeting.why_stay_q"),
            words.rich(
                "meeting.why_stay",
                design=say.design(chosen),
                high=high,
                measure=_measure(plain),
                break_even=needed,
            ),
        )
    line = next((each for each in plain["money"]["lines"] if each["design"] == values["design"]), None)
    if line and line["net"]["low"] is not None and line["net"]["high"] is not None:
        cost = say.designs[values["design"]]["monthly_cost"] or 0
        net = {
            name: say.money(line["net"][key])
            for name, key in (("net", "value"), ("low", "low"), ("high", "high"))
        }
        yield words("meeting.money_q"), words.rich("meeting.money", **net, cost=say.money(cost))
    promise = _promise(plain)
    if promise and promise["threshold"] is not None:
        risk, sure = words.percent(promise["risk"]), words.percent(promise["confidence"])
        yield words("meeting.absent_q"), words.rich("meeting.absent", risk=risk, confidence=sure)
    else:
        yield words("meeting.absent_q"), words.rich("meeting.absent_unknown")
    stages = plain["stages"]["stages"] if isinstance(plain["stages"], Mapping) else ()
    ahead = [
        s
        for s in stages
        if s["kind"] == "forecast" and s["accuracy"] is not None and (s["ci95"] or s["interval"])
    ]
    if ahead:
        last = ahead[-1]
        span = last["ci95"] or last["interval"]
        yield (
            words("meeting.grow_q"),
            words.rich(
                "meeting.grow",
                images=words.large(last["images"]),
                accuracy=words.percent(last["accuracy"]),
                low=words.percent(span["low"]),
                high=words.percent(span["high"]),
                metric=words("stages.metric", **_metric(plain["stages"]["metric"])),
            ),
        )
    yield words("meeting.sure_q"), words.rich("meeting.sure", objects=plain["objects"])


def _plan_meeting(v: Plain, say: Sayings) -> Iterable[tuple[str, Markup]]:
    words = say.words
    yield words("meeting.plan_q"), words.rich("meeting.plan", have=v["have"])
    yield (
        words("meeting.plan_next_q"),
        words.rich("meeting.plan_next", objects=v["objects"], width=say.points(v["width"], signed=False)),
    )
