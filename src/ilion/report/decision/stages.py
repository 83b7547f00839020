"""The stages in which a database grows, and what must be measured before each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ilion.report.decision.names import Plain
from ilion.report.decision.sentences import Sayings
from ilion.wording import Words


def stages_of(plain: Plain, say: Sayings) -> dict[str, Any] | None:
    """Return the stages of the growth of a database; None without any."""
    part = plain["stages"]
    if not isinstance(part, Mapping) or not part.get("stages"):
        return None
    words, none = say.words, say.words("table.none")
    monthly = any(stage.get("monthly") is not None for stage in part["stages"])
    rows = []
    for stage in part["stages"]:
        span = stage["ci95"] or stage["interval"]
        price = stage.get("monthly") if monthly else stage["price"]
        search = words.milliseconds(stage["search_ms"])
        cost = none if price is None else words.money(price, part["currency"])
        if stage["kind"] != "measured" and stage["search_range"] is None:
            # a straight line through 0, from the one size that was measured
            search = words("page.at_most", value=search)
            cost = words("page.at_most", value=cost) if monthly and price is not None else cost
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
                "search": search,
                "price": cost,
                "gates": gates,
            }
        )
    return {
        "rows": rows,
        "price": words("designs.month" if monthly else "stages.price"),
        "metric": words("stages.metric", **metric_parts(part["metric"])),
        "intro": words(
            "stages.intro", design=say.design(plain["recommendation"]["values"].get("design", part["design"]))
        ),
    }


def metric_parts(metric: str) -> dict[str, str]:
    """Return name and definition of a metric such as ``mAP@1000 (ilias)``."""
    name, _, definition = metric.removesuffix(")").partition(" (")
    return {"name": name, "definition": definition}


def _gate(gate: Plain, words: Words) -> str:
    """Say what must be measured before the next stage."""
    if gate["key"] == "measure" and "low" in gate["values"]:
        ends = {end: words.percent(float(gate["values"][end])) for end in ("low", "high")}
        return words("stages.gate_measure_within", **ends)
    return words(f"stages.gate_{gate['key']}")
