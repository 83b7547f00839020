"""What words in photos say for and against objects."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ilion.audit.labels import chances_of, kinds_of, weigh_labels
from ilion.audit.words import SPEAKS, Vocabulary, Words, weigh_words, word_pairs
from ilion.reading.index import TextIndex
from ilion.types import TextLine

MOCHA, NUT = 0, 1
SHOWN = {0: (MOCHA,), 1: (MOCHA,), 2: (NUT,), 3: (NUT,)}
COUNTS = {"arla": 40.0}
ALIKE = {"mocha": [("macho", 0.6), ("mach", 0.4)], "ab1234": [("ab1235", 0.7)]}


def words_of(photos: dict[int, tuple[str, ...]], sure: float = 1.0) -> Words:
    """Words of which a brand says little, and those of a kind a lot."""
    queries = {MOCHA: [{"arla": 1.0, "mocha": 1.0}], NUT: [{"arla": 1.0, "hazelnut": 1.0}]}
    return Words(
        photos={row: dict.fromkeys(terms, sure) for row, terms in photos.items()},
        queries=queries,
        count=lambda term: COUNTS.get(term, 0.0),
        rarity=lambda count: 0.5 if count > 10 else 4.0,
        alike=lambda term: [(term, 1.0), *ALIKE.get(term, [])],
    )


def test_the_word_that_two_look_alikes_do_not_share_tells_them_apart() -> None:
    words = words_of({0: ("arla", "mocha"), 1: ("arla", "hazelnut"), 2: ("arla", "hazelnut"), 9: ("arla",)})
    pairs = [(0, MOCHA), (1, MOCHA), (1, NUT), (9, MOCHA)]
    numbers, known = weigh_words(Vocabulary(words, SHOWN), pairs)
    assert known.all()
    right, wrong, other, brand = np.expm1(numbers["words"]).tolist()
    assert (right, other) == pytest.approx((4.5, 4.5))
    assert (wrong, brand) == pytest.approx((0.5, 0.5)), "the photo is not asked about itself"
    assert numbers["strange words"].tolist() == pytest.approx([0, 4 / 4.5, 0, 0])
    assert np.expm1(numbers["words rest"]).tolist() == pytest.approx([0.5, 4.5, 0.5, 0.5])


def test_a_word_that_the_reader_doubts_and_a_short_one_speak_against_nothing() -> None:
    vocabulary = Vocabulary(words_of({6: ("hazelnut", "nut")}), SHOWN)
    assert vocabulary.ask(6, MOCHA).strange == pytest.approx(4)
    vocabulary = Vocabulary(words_of({6: ("hazelnut", "nut")}, sure=0.5), SHOWN)
    assert vocabulary.ask(6, MOCHA).strange == pytest.approx(4 * 0.5**4)


def test_a_misread_word_agrees_and_another_number_does_not() -> None:
    words = words_of({0: ("ab1234",), 5: ("macho",), 6: ("mach",), 7: ("ab1235",), 8: ("ab1234",)})
    said = {row: Vocabulary(words, SHOWN).ask(row, MOCHA) for row in (5, 6, 7, 8)}
    assert said[5].agree == pytest.approx(4 * 0.6**2)
    assert said[5].strange == 0
    assert (said[6].agree, said[6].strange) == (0, 4)
    assert (said[7].agree, said[7].strange) == (0, 4), "one digit makes another part"
    assert said[8].agree == pytest.approx(4 / 2)


def test_a_word_of_one_photo_of_an_object_is_worth_less_than_one_of_its_query() -> None:
    words = words_of({0: ("mocha", "organic"), 1: ("mocha", "organic"), 5: ("organic",), 6: ("mocha",)})
    said = Vocabulary(words, SHOWN).compare(5)
    assert said[MOCHA].agree == pytest.approx(4.0 * 2 / 3)
    assert [word for _, word in said[MOCHA].shared] == ["organic"]
    assert Vocabulary(words, {0: (MOCHA,)}).compare(5)[MOCHA].agree == pytest.approx(4.0 / 2)
    assert Vocabulary(words, SHOWN).compare(0)[MOCHA].agree == pytest.approx(4.0 + 4.0 / 2)
    others = Vocabulary(words, SHOWN).ask(6, NUT)
    assert (others.agree, [word for _, word in others.others]) == (0, ["mocha"])
    assert Vocabulary(words, SHOWN).ask(9, NUT).agree == 0, "of a photo that was not read"


def test_words_that_are_rare_make_a_pair_that_no_match_made() -> None:
    words = words_of({0: ("organic",), 1: ("organic",), 8: ("arla", "mocha"), 9: ("mocha", "organic")})
    shown = {0: (MOCHA,), 1: (MOCHA,)}
    assert 4.5 < SPEAKS < 4 + 4 * 2 / 3
    assert word_pairs(Vocabulary(words, shown)) == {(9, MOCHA)}
    found = weigh_labels((), ("mocha", "nut"), shown, {}, {}, words=words)
    pairs = set(zip(found.rows.tolist(), found.objects.tolist(), strict=True))
    assert pairs == {(0, MOCHA), (1, MOCHA), (9, MOCHA)}


def test_pairs_of_which_nothing_was_read_are_judged_as_if_nobody_read() -> None:
    words = words_of({0: ("arla", "mocha"), 1: ()})
    silent = weigh_labels((), ("mocha", "nut"), SHOWN, {}, {})
    read = weigh_labels((), ("mocha", "nut"), SHOWN, {}, {}, words=words)
    assert read.numbers["read"].tolist() == [1, 0, 0, 0]
    assert [name for name, some in kinds_of(read).items() if some.any()] == [
        "labelled, blind",
        "labelled, blind, read",
    ]
    plain, with_words = chances_of(silent), chances_of(read)
    assert with_words[1:].tolist() == plain[1:].tolist()
    assert with_words[0] > plain[0], "its words agree"
    wrong = words_of({0: ("arla", "hazelnut"), 1: ()})
    assert chances_of(weigh_labels((), ("mocha", "nut"), SHOWN, {}, {}, words=wrong))[0] < with_words[0]


def test_photos_with_a_word_are_counted_as_surely_as_it_was_read() -> None:
    quad = np.zeros((4, 2), np.float32)
    lines = [[TextLine("mocha", 1.0, quad), TextLine("mocha", 0.6, quad)], [TextLine("mocha", 0.8, quad)], []]
    index = TextIndex.build(lines)
    assert index.count_photos("mocha") == pytest.approx(1.8)
    assert index.count_photos("hazelnut") == 0
    assert index.rarity(1.8) == pytest.approx(math.log(1 + (3 - 1.8 + 0.5) / (1.8 + 5)))
