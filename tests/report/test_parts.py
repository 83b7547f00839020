"""The parts of the report that need no run: words, numbers, the choice of queries, axes of plots."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from ilion.config import load_experiment
from ilion.errors import ConfigError
from ilion.forecast import ForecastResult
from ilion.outcome import Interval
from ilion.pipeline.explain.cost import design as name_of
from ilion.report.build import page_environment
from ilion.report.charts.bars import sorted_precisions
from ilion.report.charts.canvas import share_axis, ticks
from ilion.report.charts.pareto import CostPoint, accuracy_axis, pareto_chart
from ilion.report.english import design_text
from ilion.report.forecast import warning_sentences
from ilion.report.sections.facts import choose
from ilion.report.sections.verdict import slice_label
from ilion.wording import load_words


@pytest.mark.parametrize(
    ("axis", "label", "shown"),
    [
        ("scale", "below 0.0688", "under 6.9%"),
        ("scale", "0.135 to 0.273", "14% to 27%"),
        ("scale", "0.273 or more", "27% or more"),
        ("clutter", "below 18", "fewer than 18"),
        ("clutter", "18 to 33", "18 to under 33"),
        ("clutter", "53 or more", "53 or more"),
        ("scale", "unknown", "unknown"),
        ("category", "3 to 6 years", "3 to 6 years"),
    ],
)
def test_slice_labels(axis: str, label: str, shown: str) -> None:
    assert slice_label(axis, label, load_words("report", "en")) == shown


@given(st.lists(st.floats(0, 1), max_size=40), st.integers(0, 50))
def test_the_gallery_never_shows_a_query_twice(aps: list[float], count: int) -> None:
    chosen = choose(aps, count)
    shown = [*chosen.worst, *chosen.typical, *chosen.best]
    assert len(shown) == len(set(shown)) == min(count, len(aps))
    assert len(chosen.worst) == len(chosen.best) <= len(chosen.typical)
    rest = set(range(len(aps))) - set(shown)
    for i in (*chosen.typical, *rest):
        assert all(aps[w] <= aps[i] for w in chosen.worst)
        assert all(aps[b] >= aps[i] for b in chosen.best)


@given(st.floats(1e-3, 1e9), st.floats(2, 1e6))
def test_ticks_are_few_and_inside(low: float, ratio: float) -> None:
    values = ticks(low, low * ratio)
    assert 1 <= len(values) <= 6 or ratio < 2.5
    assert all(low * 0.99 <= v <= low * ratio * 1.01 for v in values)


@given(st.floats(0.0, 1.0))
def test_the_axis_of_shares_holds_the_highest(highest: float) -> None:
    step, end = share_axis(highest)
    assert highest <= end + 1e-9
    assert end <= 1.0 + 1e-9
    assert 1 <= round(end / step) <= 4


def test_many_queries_become_one_outline() -> None:
    aps = np.linspace(0, 1, 1000)
    many = sorted_precisions("c", aps, 0.5, "title", load_words("report", "en"))
    few = sorted_precisions("c", aps[:30], 0.5, "title", load_words("report", "en"))
    assert (many.count('class="bar"'), few.count('class="bar"')) == (1, 30)


def design(series: str, cost: float, accuracy: float, on_front: bool, label: str = "") -> CostPoint:
    interval = Interval(accuracy - 0.05, accuracy + 0.05)
    return CostPoint(series, label, f"{series} <{cost:g}>", cost, accuracy, interval, on_front)


def pareto(points: list[CostPoint], **more: tuple[str, float]) -> ElementTree.Element:
    chart = pareto_chart("c", points, "title", "bytes", "Stored a photo", load_words("report", "en"), **more)
    return ElementTree.fromstring(chart)


def of_class(figure: ElementTree.Element, *classes: str) -> list[ElementTree.Element]:
    return [e for e in figure.iter() if set(classes) <= set((e.get("class") or "").split())]


def test_the_front_is_a_staircase_that_no_design_stands_above() -> None:
    points = [
        design("a", 1000, 0.50, True),
        design("a", 4000, 0.62, True),
        design("b", 2000, 0.45, False),
        design("b", 60000, 0.66, True),
    ]
    figure = pareto(points)
    [line] = of_class(figure, "curve", "front")
    corners = [tuple(map(float, xy.split())) for xy in (line.get("d") or "")[1:].split("L")]
    assert all(a[0] == b[0] or a[1] == b[1] for a, b in pairwise(corners))
    assert corners == sorted(corners, key=lambda xy: (xy[0], -xy[1]))
    assert len(corners) == 6  # three designs, a corner between each two, and the end of the axis
    assert len(of_class(figure, "point")) == 4 + 2  # and two keys
    [faint] = of_class(figure, "faint")
    assert (faint[0].text or "") == "b <2000>: 2.0 KB, mAP 45.0% (40.0% to 50.0%)."
    assert len(of_class(figure, "whisker")) == 3
    description = figure.findtext(".//desc") or ""
    assert description.startswith("a <1000>: 1.0 KB, mAP 50.0% (45.0% to 55.0%). a <4000>")
    assert description.endswith("1 further design is beaten: another is more accurate at no higher cost.")


def test_marks_of_series_differ_in_more_than_colour() -> None:
    figure = pareto([design(f"s{i}", 10.0 + i, 0.5, False) for i in range(18)])
    marks = of_class(figure, "legend")[0].findall(".//path")
    looks = [((mark.get("d") or ""), mark.get("class")) for mark in marks]
    assert len(set(looks)) == 18
    assert len({outline for outline, _ in looks[:6]}) == 6
    with pytest.raises(ConfigError, match="1 to 18 series, got 19; choose fewer"):
        pareto([design(f"s{i}", 10.0 + i, 0.5, False) for i in range(19)])


@pytest.mark.parametrize("cost", [0.0, -1.0, float("inf"), float("nan")])
def test_a_cost_off_the_axis_is_named(cost: float) -> None:
    with pytest.raises(ConfigError, match=r"a <.*>: a cost of .* has no place on a logarithmic axis"):
        pareto([design("a", cost, 0.5, True)])
    with pytest.raises(ConfigError, match="got 0"):
        pareto([])


def test_labels_of_the_front_stand_apart_or_are_left_to_the_tool_tip() -> None:
    alone = pareto([design("a", 1000, 0.5, True, "1 KB"), design("a", 9000, 0.6, False, "beaten")])
    assert [e.text for e in of_class(alone, "value")] == ["1 KB"]
    crowd = [design("a", 1000 * 1.0001**i, 0.5 + i * 1e-6, True, f"design {i}") for i in range(40)]
    assert 1 <= len(of_class(pareto(crowd), "value")) <= 4
    one = pareto([design("", 1000, 0.5, True)], reference=("global only", 0.3))
    assert [e.text for e in of_class(one, "reference")] == ["global only"]
    assert not of_class(one, "legend")


def test_names_in_the_chart_are_escaped() -> None:
    figure = pareto([design("<b>&", 5, 0.5, True, "<i>"), design("x", 6, 0.6, True)])
    assert "<b>&" in [e.tail for e in figure.iter() if e.tail]
    assert of_class(figure, "value")[0].text == "<i>"


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_the_axis_of_accuracy_holds_both_ends(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    start, end, step = accuracy_axis(low, high)
    assert start <= low + 1e-6
    assert high <= end + 1e-6
    assert 1 <= round((end - start) / step) <= 6
    assert abs(start / step - round(start / step)) < 1e-6


@pytest.mark.parametrize(
    "settings",
    [
        ("search.method=local",),
        ("search.method=local", "search.local.words=65536", "reading.use=fused"),
        ("extraction.model=default", "adaptation.method=few-shot", "search.expansion=alpha"),
        ("extraction.model=default", "rerank.features=rootsift", "rerank.budget=4096", "reading.use=fused"),
        ("extraction.model=default", "rerank.features=rootsift"),
    ],
)
def test_designs_are_named_in_the_language_of_the_page(settings: tuple[str, ...], tmp_path: Path) -> None:
    """Each part of a name fits an English entry of the catalogue, so none is left in English."""
    named = design_text(name_of(load_experiment(tmp_path, settings)), load_words("report", "ja"))
    assert not re.search(r" (in|words)\b", named), named
    assert all(re.search("[\u3040-\u30ff\u4e00-\u9fff]", part) for part in named.split("＋")), named


def test_a_forecast_is_warned_of_in_the_unit_of_its_page() -> None:
    vague = {"size": "100K", "low": "0.1234", "high": "0.5"}
    result = cast(ForecastResult, SimpleNamespace(warnings={"vague": vague}))
    assert "from 0.1234 to 0.5:" in warning_sentences(result)[0], "a terminal shows fractions"
    assert "from 12.3% to 50.0%:" in warning_sentences(result, load_words("report", "en"))[0]
    japanese = warning_sentences(result, load_words("report", "ja"))[0]
    assert all(part in japanese for part in ("10万枚でのmAPは12.3%", "50.0%の"))


def test_half_characters_of_a_stored_run_do_not_end_a_page() -> None:
    page = page_environment(load_words("report", "en")).from_string("{{ a }} {{ b }} {{ 3 }}")
    said = page.render(a="\ud800<b>", b=Markup("<i>\udfff</i>"))
    assert said == "\ufffd&lt;b&gt; <i>\ufffd</i> 3"
    said.encode("utf-8")
