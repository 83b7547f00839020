"""Decisions to render: made from the dataclasses of `ilion.poc`, so that a change of theirs is seen here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ilion.forecast.stages import Gate, Stage, StagePlan
from ilion.outcome import Interval
from ilion.poc.decision import (
    CellFigures,
    Decision,
    DesignFigures,
    Estimate,
    Money,
    MoneyLine,
    Statement,
    Verdict,
    to_plain,
)

Plain = dict[str, Any]


def estimate(value: float, width: float, objects: int = 40, most: float = 1.0) -> Estimate:
    return Estimate(value, max(value - width, -most), min(value + width, most), objects, 4 * objects)


CELLS = tuple(
    CellFigures(f"{size}/{clutter}", size, clutter, span, things, share, objects, 2 * objects, 40, 80)
    for size, span, row in (
        ("small", (0.0, 0.03), (0.2, 0.3)),
        ("medium", (0.03, 0.1), (0.15, 0.15)),
        ("large", (0.1, 1.0), (0.1, 0.1)),
    )
    for (clutter, things, share, objects) in (
        ("plain", (0.0, 15.0), row[0], 40),
        ("crowded", (15.0, float("inf")), row[1], 31 if size == "small" else 40),
    )
)
DESIGNS = (
    DesignFigures(
        "global",
        (),
        True,
        "",
        estimate(0.71, 0.08),
        estimate(0.52, 0.06),
        1536,
        38,
        21,
        9_000.0,
        0.05,
        "goal",
        1_000_000,
        True,
    ),
    DesignFigures(
        "local-4k",
        (),
        True,
        "",
        estimate(0.93, 0.05),
        estimate(0.74, 0.05),
        4012,
        92,
        64,
        12_500.0,
        0.05,
        "goal",
        1_000_000,
        True,
    ),
    DesignFigures(
        "local-16k",
        (),
        True,
        "",
        estimate(0.95, 0.04),
        estimate(0.78, 0.05),
        15_560,
        180,
        66,
        31_000.0,
        0.05,
        "goal",
        1_000_000,
        True,
    ),
    DesignFigures("few-shot", (), False, "needs designs.labels"),
)


def verdict(cell: str, design: str, gain: float, width: float, more: int = 0) -> Verdict:
    low, high = gain - width, gain + width
    answer = "pays" if low > 0.05 else "does-not-pay" if high < 0.05 else "not-enough-photos"
    return Verdict(
        cell,
        design,
        "global",
        estimate(0.52, 0.06),
        estimate(0.52 + gain, 0.06),
        estimate(gain, width),
        answer,  # type: ignore[arg-type]
        more if answer == "not-enough-photos" else 0,
    )


VERDICTS = (
    verdict("small/plain", "local-4k", 0.31, 0.12),
    verdict("small/plain", "local-16k", 0.35, 0.12),
    verdict("small/crowded", "local-4k", 0.27, 0.13),
    verdict("small/crowded", "local-16k", 0.33, 0.13),
    verdict("medium/plain", "local-4k", 0.16, 0.09),
    verdict("medium/plain", "local-16k", 0.18, 0.09),
    verdict("medium/crowded", "local-4k", 0.13, 0.12, 60),
    verdict("medium/crowded", "local-16k", 0.15, 0.12, 45),
    verdict("large/plain", "local-4k", 0.00, 0.04),
    verdict("large/plain", "local-16k", 0.01, 0.03),
    verdict("large/crowded", "local-4k", 0.04, 0.05, 900),
    verdict("large/crowded", "local-16k", 0.05, 0.05, 0),
    verdict("all", "local-4k", 0.22, 0.08),
    verdict("all", "local-16k", 0.26, 0.08),
)
MONEY = Money(
    "JPY",
    (),
    tuple(
        MoneyLine(
            name,
            Estimate(480_000 * g, 300_000 * g, 640_000 * g, 40, 160),
            Estimate(120_000 * g, 70_000 * g, 165_000 * g, 40, 160),
            -1_500.0 * g,
            -2_000.0 * g,
            Estimate(596_000 * g, 366_000 * g, 801_500 * g, 40, 160),
        )
        for name, g in (("local-4k", 1.0), ("local-16k", 1.1))
    ),
)
GAIN = estimate(0.22, 0.08)


def rate(value: float, width: float = 0.04) -> Plain:
    return {"value": value, "interval": {"low": max(value - width, 0), "high": min(value + width, 1)}}


def promise(threshold: float | None) -> Plain:
    def point(wrong: float, found: float) -> Plain:
        missed = rate(0.93 - found)
        return {
            "threshold": 0.4,
            "wrong_absent": rate(wrong),
            "wrong_present": rate(wrong / 3),
            "found": rate(found),
            "missed": missed,
        }

    curve = [
        point(w, 0.93 - 0.5 * (1 - w) ** 12) for w in (0.0, 0.01, 0.02, 0.036, 0.06, 0.1, 0.15, 0.2, 0.4, 1.0)
    ]
    return {
        "risk": 0.05,
        "confidence": 0.9,
        "absent_share": None,
        "threshold": threshold,
        "objects": 40 if threshold else 12,
        "queries": 40,
        "left_out": 0,
        "least_risk": 0.03 if threshold else 0.18,
        "objects_needed": 45,
        "p_value": 0.04,
        "at": point(0.036, 0.93 - 0.5 * 0.964**12) if threshold else None,
        "curve": curve,
    }


ALIKE = {
    "pairs": [
        {
            "asked": "valve 12A",
            "shown": "valve 12B",
            "searches": 3,
            "of": 4,
            "first": 2,
            "share": 0.6,
            "cost": 4_200.0,
            "examples": [
                {
                    "query": "valve 12A/q1",
                    "photo": "valve 12B/p3",
                    "rank": 1,
                    "positive": "valve 12A/p1",
                    "positive_rank": 4,
                    "differs": [{"x": 40.0, "y": 30.0, "width": 60.0, "height": 40.0}],
                    "words": ["12A", "PN16"],
                }
            ],
            "advice": ["view", "reading", "label"],
        }
    ],
    "objects": 40,
    "queries": 40,
    "unnamed": 1,
    "mutual": [["valve 12A", "valve 12B"]],
}


def stage(images: int, kind: Any, accuracy: float, *gates: str) -> Stage:
    interval = Interval(accuracy - 0.03, accuracy + 0.03)
    ends = {"low": f"{interval.low:.4f}", "high": f"{interval.high:.4f}"}
    return Stage(
        images=images,
        distractors=images - 480,
        kind=kind,
        accuracy=accuracy,
        interval=None if kind == "measured" else interval,
        ci95=None if kind == "measured" else Interval(accuracy - 0.09, accuracy + 0.08),
        disk_bytes=4012.0 * images,
        memory_bytes=900.0 * images,
        search_ms=60 + images / 4000,
        search_range=None,
        describe_hours=images * 64 / 3.6e6,
        price=4_000 + images / 12,
        gates=tuple(Gate(key, ends if key == "measure" and kind == "forecast" else {}) for key in gates),
    )


STAGES = StagePlan(
    "local features in 4096 B",
    "mAP@1000 (ilias)",
    "TestCPU",
    "JPY",
    (
        stage(1_000, "measured", 0.74, "measure"),
        stage(10_000, "forecast", 0.69, "measure", "threshold", "speed"),
        stage(100_000, "forecast", 0.61, "measure", "threshold", "memory", "objects"),
        stage(1_000_000, "extrapolated", 0.52, "checked", "representative"),
    ),
)
RECOMMEND = Statement(
    "recommend",
    True,
    "",
    {
        "design": "local-4k",
        "against": "global",
        "first": estimate(0.93, 0.05),
        "before": estimate(0.71, 0.08),
        "gain": GAIN,
        "measure": "AP",
        "break_even": 0.05,
    },
    "",
)
STATEMENTS = (
    Statement(
        "pays-in",
        True,
        "",
        {
            "design": "local-4k",
            "cells": ["small/plain", "small/crowded", "medium/plain"],
            "not": ["large/plain"],
            "open": ["medium/crowded", "large/crowded"],
        },
        "",
    ),
    Statement(
        "costs",
        True,
        "",
        {
            "design": "local-4k",
            "bytes_per_photo": 4012,
            "ms_per_search": 92,
            "monthly_cost": 12_500.0,
            "monthly_photos": 1_000_000,
            "monthly_at_most": True,
            "currency": "JPY",
        },
        "",
    ),
    Statement(
        "fails-in",
        True,
        "",
        {"design": "local-4k", "cell": "small/crowded", "first": estimate(0.81, 0.09, 31)},
        "",
    ),
    Statement(
        "next", True, "", {"cell": "medium/crowded", "objects": 60, "design": "local-4k", "settles": True}, ""
    ),
    Statement(
        "equal-risk",
        True,
        "",
        {
            "design": "local-4k",
            "against": "global",
            "risk": 0.05,
            "found": estimate(0.83, 0.1),
            "before": estimate(0.2, 0.1),
            "gain": estimate(0.63, 0.12),
        },
        "",
    ),
)
DECISION = Decision(
    name="バルブの写真検索",
    language="ja",
    measure="AP",
    confidence=0.95,
    objects=40,
    queries=40,
    positives=480,
    database=2_464,
    gain=0.05,
    searches_a_day=200,
    clutter_source="counted",
    cells=(*CELLS, CellFigures("all", "", "", (0.0, 1.0), (0.0, float("inf")), 1.0, 40, 471, 40, 480)),
    designs=DESIGNS,
    baseline="global",
    verdicts=VERDICTS,
    money=MONEY,
    recommendation=RECOMMEND,
    change=Statement(
        "change-share",
        True,
        "",
        {
            "cells": ["small/plain", "small/crowded"],
            "size_below": 0.03,
            "share": estimate(0.12, 0.05),
            "share_now": 0.5,
            "cheaper": "global",
            "dearer": "local-4k",
        },
        "",
    ),
    statements=STATEMENTS,
    threshold={"format": 1, "promise": promise(0.4)},
    lookalikes=ALIKE,
    stages=STAGES,
)


def plan_of(why: str, have: int, have_width: float | None) -> Decision:
    statement = Statement(
        "plan",
        True,
        "",
        {"objects": 84, "width": 0.05, "have": have, "have_width": have_width, "cells": [], "why": why},
        "",
    )
    others = tuple(Statement(kind, False, why, {}, "") for kind in ("pays-in", "fails-in", "costs"))
    return replace(
        DECISION,
        objects=have,
        recommendation=statement,
        change=Statement("change-gain", False, why, {}, ""),
        statements=others,
        threshold={"format": 1, "promise": promise(None)},
        lookalikes=None,
        stages=None,
        money=Money("", ("money.find", "money.searches_a_day")),
        searches_a_day=0,
    )


def stay() -> Decision:
    values = {
        "design": "global",
        "rivals": ["local-4k", "local-16k"],
        "best": "local-16k",
        "gain": estimate(0.01, 0.03),
        "first": estimate(0.91, 0.06),
        "measure": "AP",
    }
    change = {"design": "local-16k", "against": "global", "gain": estimate(0.01, 0.03), "break_even": 0.05}
    return replace(
        DECISION,
        recommendation=Statement("stay", True, "", values, ""),
        change=Statement("change-gain", True, "", change, ""),
        statements=(
            STATEMENTS[1],
            Statement("fails-in", False, "no-difference", {"design": "global"}, ""),
            Statement("next", False, "no-difference", {}, ""),
        ),
        verdicts=tuple(verdict(v.cell, v.design, 0.01, 0.03) for v in VERDICTS),
        money=Money("", ("money.find",)),
    )


MADE: dict[str, Callable[[], Decision]] = {
    "recommend": lambda: DECISION,
    "stay": stay,
    "few": lambda: plan_of("few-objects", 3, None),
    "open": lambda: plan_of("not-settled", 40, 0.09),
    "not-run": lambda: plan_of("not-run", 0, None),
}


@pytest.fixture
def decision() -> Callable[[str], Plain]:
    def make(kind: str) -> Plain:
        plain = to_plain(MADE[kind]())
        assert isinstance(plain, dict)
        return {"format": 1, **plain}

    return make
