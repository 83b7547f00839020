"""Catalogues of all rooms: the same in every language, well formed, and numbers written for people."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping

import pytest
from markupsafe import Markup

from ilion.errors import ConfigError
from ilion.wording import Words, entry_of, languages, load_words, reword, rooms

RULES = {"plural": "one-other", "thousands": ",", "decimal": ".", "between_sentences": " "}
JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
SAME = re.compile(r"\{\w+\}|mAP|AP|[KMGT]B|Python")
"""What may stand in Japanese without a Japanese letter: numbers, units and names of metrics."""


def words(**entries: str | Mapping[str, str]) -> Words:
    return Words("test", {"language": RULES, "a": entries})


@pytest.mark.parametrize(("room", "language"), [(r, language) for r in rooms() for language in languages(r)])
def test_every_language_says_the_same(room: str, language: str) -> None:
    assert load_words(room, language).entries.keys() == load_words(room, "en").entries.keys()


@pytest.mark.parametrize("room", [r for r in rooms() if "ja" in languages(r)])
def test_nothing_is_left_in_english(room: str) -> None:
    for key, entry in load_words(room, "ja").entries.items():
        for form in [entry] if isinstance(entry, str) else entry.values():
            if not key.startswith("currency."):
                assert JAPANESE.search(form) or not re.search("[A-Za-z]{2}", SAME.sub("", form)), key


@pytest.mark.parametrize("room", [r for r in rooms() if "ja" in languages(r)])
def test_japanese_is_set_as_japanese(room: str) -> None:
    """Full-width punctuation after Japanese letters, no space beside it, no plain form at the end."""
    for key, entry in load_words(room, "ja").entries.items():
        for form in [entry] if isinstance(entry, str) else entry.values():
            bare = re.sub(r"\{\w+\}", "数", form)
            assert not re.search(r"[\u3040-\u30ff\u4e00-\u9fff][,.:;!?](?!\d)", bare), f"{key}: {form}"
            assert not re.search(r" [、。）」]|[（「、。] ", bare), f"{key}: {form}"
            assert not re.search(r"(である|だった|のだ|する|できる|ない|となる|った)。", bare), (
                f"{key}: not です・ます: {form}"
            )


def test_a_missing_string_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"strings/test.toml: a.missing is missing; add it"):
        words()("a.missing")
    with pytest.raises(ConfigError, match=r"a.x lacks a value for who"):
        words(x="for {who}")("a.x")
    with pytest.raises(ConfigError, match=r"a.x has plural forms and needs a whole number as count"):
        words(x={"one": "{count} photo", "other": "{count} photos"})("a.x", count="1")
    with pytest.raises(ConfigError, match=r"a.x is empty"):
        words(x=" ")
    with pytest.raises(ConfigError, match=r"serve has no text in the language 'xx'; choose one of en, ja"):
        load_words("serve", "xx")


def test_plural_forms_follow_the_language() -> None:
    entry = {"one": "{count} photo", "other": "{count} photos"}
    english = words(x=entry)
    assert [english("a.x", count=n) for n in (0, 1, 2, 12_345)] == [
        "0 photos",
        "1 photo",
        "2 photos",
        "12,345 photos",
    ]
    japanese = Words("ja", {"language": {**RULES, "plural": "none"}, "a": {"x": "写真{count}枚"}})
    assert [japanese("a.x", count=n) for n in (1, 2)] == ["写真1枚", "写真2枚"]
    assert japanese.differences(english) == []
    with pytest.raises(ConfigError, match=r"a\.x needs the plural forms one and other"):
        words(x={"other": "photos"})
    with pytest.raises(ConfigError, match="plural must be one of none, one-other"):
        Words("test", {"language": {**RULES, "plural": "dual"}})


def test_a_translation_must_match_the_english_strings() -> None:
    reference = words(x="for {who}", y="yes", z="no")
    other = words(x="für {wen}", y="ja", w="mehr")
    assert other.differences(reference) == ["a.z is missing", "a.w is unknown", "a.x must use who"]
    assert reference.differences(reference) == []


def test_rich_text_escapes_values_and_the_string_itself() -> None:
    rich = words(x="{a} < {b}").rich("a.x", a="<i>", b=Markup("<em>1</em>"))
    assert rich == "<b>&lt;i&gt;</b> &lt; <em>1</em>"


def test_numbers_for_people() -> None:
    en = load_words("serve", "en")
    assert [en.percent(v, 1) for v in (0, 0.4711, 1)] == ["0.0%", "47.1%", "100.0%"]
    assert [en.milliseconds(v) for v in (0.0314, 3.14, 31.4, 314.2, 999, 1500, 95_000)] == [
        "0.031 ms",
        "3.1 ms",
        "31 ms",
        "314 ms",
        "999 ms",
        "1.5 s",
        "1.6 min",
    ]
    assert [en.size(v) for v in (0, 999, 1000, 3584, 2_500_000_000, 3e12)] == [
        "0 bytes",
        "999 bytes",
        "1.0 KB",
        "3.6 KB",
        "2.5 GB",
        "3.0 TB",
    ]
    assert [en.duration(v) for v in (0.2, 61, 100, 60_000, 1e6)] == [
        "0.20 s",
        "61 s",
        "1.7 min",
        "17 hours",
        "12 days",
    ]
    assert en.number(float("nan"), 1) == "–"
    assert en.number(1234.5, 1) == "1,234.5"


@pytest.mark.parametrize(
    ("value", "english", "japanese"),
    [
        (0, "0", "0"),
        (950, "950", "950"),
        (12_345, "12,300", "1.23万"),
        (10_000, "10,000", "1万"),
        (999_999, "1 million", "100万"),
        (1_500_000, "1.5 million", "150万"),
        (123_456_789, "123 million", "1.23億"),
        (2e9, "2 billion", "20億"),
    ],
)
def test_large_numbers_in_the_words_of_the_language(value: float, english: str, japanese: str) -> None:
    assert load_words("serve", "en").large(value) == english
    assert load_words("serve", "ja").large(value) == japanese


def test_further_numbers_agree_with_what_they_count() -> None:
    en, ja = load_words("report", "en"), load_words("report", "ja")
    one, many = {"queries": 1, "objects": 1, "images": 1}, {"queries": 2, "objects": 0, "images": 1200}
    assert en("page.scale", **one) == "1 query of 1 object, searched among 1 photo"
    assert en("page.scale", **many) == "2 queries of 0 objects, searched among 1,200 photos"
    assert en.rich("page.scale", **one).startswith("<b>1</b> query of <b>1</b> object")
    assert ja("page.scale", **one) == "1個の物体についての問い合わせ1件で、写真1枚を検索しました"
    for count, text in ((1, "1 of 1 query has"), (1, "1 of 6 queries has"), (2, "2 of 6 queries have")):
        remedy = "import the file features_image_queries.hdf5 of the same data set"
        text = f"f: {text} no descriptor, such as 'q'; {remedy}"
        said = reword(text, "failure", ja, "report")
        assert f"件のうち{count}件（例：'q'）の特徴がありません（f）" in said


@pytest.mark.parametrize(
    ("inliers", "count", "said"), [(1, 9, "1 of 9 matches agrees"), (5, 9, "5 of 9 matches agree")]
)
def test_a_word_alone_agrees_with_a_number(inliers: int, count: int, said: str) -> None:
    assert load_words("report", "en")("reranking.inliers", inliers=inliers, count=count) == said
    verb = "was" if inliers == 1 else "were"
    note = f"a: {inliers} of {count} labels {verb} proposed by a search, and what it missed has none"
    assert entry_of(f"{note}, so a search looks better here than it is", "note", "report") == "proposed"


def test_money_and_dates() -> None:
    en, ja = load_words("serve", "en"), load_words("serve", "ja")
    assert [en.money(v, "EUR") for v in (0.25, 12, 1234, -50)] == ["€0.25", "€12", "€1,230", "−€50"]
    assert [ja.money(v, "JPY") for v in (30, 4_500, 350_000)] == ["30円", "4,500円", "35万円"]
    assert ja.money(7, "SEK") == "7 SEK"
    assert [ja.money(v, name) for v, name in ((29.87, "円"), (1_752_823, " 円"), (-0.4, "￥"))] == [
        "30円",
        "175万円",
        "−0.40円",
    ]
    assert en.money(1.5, "euro") == "€1.50"
    day = datetime.date(2026, 1, 5)
    assert (en.date(day), ja.date(day)) == ("5 January 2026", "2026年1月5日")
