"""The page of a decision: says what is sure, lists what is not, in both languages, in one file."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ilion.report.decision import write_decision
from ilion.report.decision.drawings import cell_drawing
from ilion.wording import load_words

Plain = dict[str, Any]
Make = Callable[[str], Plain]


def visible(path: Path) -> str:
    """Return the text that a reader sees, with single spaces."""

    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.parts: list[str] = []
            self.inside = ""

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.inside = tag

        def handle_data(self, data: str) -> None:
            if self.inside not in ("style", "script"):
                self.parts.append(data)

    reader = Reader()
    reader.feed(path.read_text("utf-8"))
    return " ".join("".join(reader.parts).replace("\u2060", "").split())


KINDS = ("recommend", "stay", "few", "open", "not-run")


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_decision_becomes_one_file_that_loads_nothing(
    decision: Make, tmp_path: Path, kind: str, language: str
) -> None:
    html = write_decision(decision(kind), tmp_path / "d.html", language=language).read_text("utf-8")
    assert f'<html lang="{language}">' in html
    assert not re.search(r"(src|href)=\"(?!#|data:)", html)
    assert "@page { size: A4" in html
    assert re.search(r"(?<!\{)\{\w+\}", re.sub(r"(?s)<style>.*?</style>", "", html)) is None


def test_the_first_page_says_it_in_words_before_any_map(decision: Make, tmp_path: Path) -> None:
    said = visible(write_decision(decision("recommend"), tmp_path / "d.html", language="en"))
    sentence = (
        "Use “Local features, 4 KB a photo”. Of 100 searches, 93 show the right object first "
        "(between 88 and 98); with “Global descriptors only” it is 71."
    )
    assert sentence in said
    assert said.index("93 show the right object first") < said.index("mAP")
    assert "Photograph about 60 further objects as: medium, crowded background." in said
    assert "Of 200 searches a day, about 186 show the right object first and 14 do not" in said
    assert "About ¥596,000 a month in all, between ¥366,000 and ¥802,000" in said


def test_the_same_in_japanese(decision: Make, tmp_path: Path) -> None:
    said = visible(write_decision(decision("recommend"), tmp_path / "d.html"))
    assert "検索100回のうち93回で、正しい物体が1位に表示されます（88～98回）。" in said
    assert "1日200回の検索のうち、約186回で正しい物体が1位に表示され" in said
    english = re.findall(r"[A-Za-z]{4,}", said)
    assert set(english) <= {"Ilion", "ilias", "valve", "needs", "designs", "labels"}


@pytest.mark.parametrize("kind", ["few", "not-run"])
def test_too_few_data_give_a_plan_and_no_recommendation(decision: Make, tmp_path: Path, kind: str) -> None:
    said = visible(write_decision(decision(kind), tmp_path / "d.html", language="en"))
    assert "Plan, no decision yet" in said
    assert "Photograph 84 objects" in said
    for never in ("Use “", "Stay with", "show the right object first", "✓", "mAP", "points of"):
        assert never not in said, never
    assert "pays" not in said.replace("In which cells it pays", "").replace("Where it pays", "")


def test_what_is_withheld_is_listed_with_what_it_takes(decision: Make, tmp_path: Path) -> None:
    said = visible(write_decision(decision("few"), tmp_path / "d.html", language="en"))
    assert "Which design to use too few objects for an interval 84 objects in all" in said
    assert "From which score on an answer can be trusted too few objects for an interval 45 objects" in said
    said = visible(write_decision(decision("recommend"), tmp_path / "d.html", language="en"))
    open_one = "Whether “Local features, 4 KB a photo” pays for: medium, crowded background"
    assert f"{open_one} the interval still holds both answers about 60 more objects" in said


def test_designs_at_equal_risk_stand_beside_each_other(decision: Make, tmp_path: Path) -> None:
    said = visible(write_decision(decision("recommend"), tmp_path / "d.html", language="en"))
    assert "finds 83 of 100 and “Global descriptors only” 20: +63 (between +51 and +75)" in said


def test_a_statement_that_is_not_said_is_nowhere(decision: Make, tmp_path: Path) -> None:
    plain = decision("recommend")
    for each in plain["statements"]:
        if each["kind"] == "fails-in":
            each.update(said=False, withheld="few-objects")
    said = visible(write_decision(plain, tmp_path / "d.html", language="en"))
    assert "It fails most often" not in said
    assert "Where it fails most too few objects for an interval" in said


def test_certainty_is_not_rounded_up(decision: Make, tmp_path: Path) -> None:
    plain = decision("recommend")
    plain["recommendation"]["values"]["first"].update(value=0.996, low=0.9, high=0.999)
    said = visible(write_decision(plain, tmp_path / "d.html", language="en"))
    assert "Of 100 searches, 99 show the right object first (between 90 and 99)" in said


def test_names_are_escaped(decision: Make, tmp_path: Path) -> None:
    plain = decision("recommend")
    plain["name"] = plain["cells"][0]["size"] = "<script>alert(1)</script>"
    plain["lookalikes"]["pairs"][0]["asked"] = "<img src=x>"
    html = write_decision(plain, tmp_path / "d.html").read_text("utf-8")
    assert "<script>alert" not in html
    assert "<img" not in html


def test_a_gate_says_what_must_be_seen(decision: Make, tmp_path: Path) -> None:
    said = visible(write_decision(decision("recommend"), tmp_path / "d.html", language="en"))
    assert "accuracy on this many photos: it must lie between 58% and 64%" in said
    assert "With 100,000 photos we expect 61% (52% to 69%) mAP@1000 (ilias)." in said
    assert "1 million" in said


@pytest.mark.parametrize("part", ["threshold", "lookalikes", "stages"])
def test_parts_may_be_missing(decision: Make, tmp_path: Path, part: str) -> None:
    plain = decision("recommend")
    title = {"threshold": "none.title", "lookalikes": "alike.title", "stages": "stages.title"}[part]
    heading = f">{load_words('report/decision', 'en')(title)}</h2>"
    assert heading in write_decision(plain, tmp_path / "d.html", language="en").read_text("utf-8")
    plain[part] = None
    assert heading not in write_decision(plain, tmp_path / "d.html", language="en").read_text("utf-8")


def test_a_threshold_that_is_not_whole_is_not_said(decision: Make, tmp_path: Path) -> None:
    plain = decision("recommend")
    plain["threshold"] = {"risk": 0.05}
    said = visible(write_decision(plain, tmp_path / "d.html", language="en"))
    assert "From which score on an answer can be trusted not measured yet" in said


def test_drawings_show_size_and_clutter() -> None:
    def width(drawing: str) -> float:
        found = re.search(r'class="frame"[^>]*width="([\d.]+)"', drawing)
        assert found
        return float(found[1])

    small, large = (cell_drawing(size, (0, 15), "x") for size in ((0.0, 0.03), (0.1, 1.0)))
    assert width(small) < 0.4 * width(large)
    plain, crowded = (cell_drawing((0.0, 0.03), things, "x") for things in ((0, 15), (15, None)))
    assert plain.count("thing tone") < crowded.count("thing tone")


@pytest.mark.parametrize("language", ["en", "ja"])
def test_stages_say_their_price_a_month_where_it_is_known(
    decision: Make, tmp_path: Path, language: str
) -> None:
    plain, words = decision("recommend"), load_words("report/decision", language)

    def table() -> str:
        html = write_decision(plain, tmp_path / "d.html", language=language).read_text("utf-8")
        return html.split('<h2 id="h-stages">')[1]

    headings = [f">{words(key)}</th>" for key in ("stages.price", "designs.month")]
    assert [heading in table() for heading in headings] == [True, False]
    for number, stage in enumerate(plain["stages"]["stages"]):
        stage["monthly"] = None if number == 0 else 1_230_000.0
    assert [heading in table() for heading in headings] == [False, True]
    amount = words.money(1_230_000.0, plain["stages"]["currency"])
    assert table().count(amount) == len(plain["stages"]["stages"]) - 1


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_cell_with_too_few_objects_shows_no_number(decision: Make, tmp_path: Path, language: str) -> None:
    plain, words = decision("recommend"), load_words("report/decision", language)
    v = next(v for v in plain["verdicts"] if (v["cell"], v["design"]) == ("large/crowded", "local-4k"))
    v["gain"] |= {"value": 0.57, "low": -1.0, "high": 1.0, "objects": 9}
    v["more_objects"] = 1
    said = visible(write_decision(plain, tmp_path / "d.html", language=language))
    assert "+57" not in said
    assert "100" not in said.split(words("cells.title"))[1].split(words("designs.title"))[0]
    assert said.count(words("cells.no_interval", count=9)) == 2  # in the drawings and in the table
    takes = words("cannot.takes_interval", count=1)
    assert f"{words('cannot.why_few-objects')} {takes}" in said


def test_a_search_that_was_extrapolated_from_one_size_takes_at_most_so_long(
    decision: Make, tmp_path: Path
) -> None:
    said = visible(write_decision(decision("recommend"), tmp_path / "d.html", language="ja"))
    part = said.split(load_words("report/decision", "ja")("stages.title"))[1]
    assert "62ミリ秒以下" in part
    assert "60ミリ秒以下" not in part
