"""Terms of a text, and how alike they are, against a plain edit distance from the definition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilion.reading.likeness import EXACT_BELOW, likeness, trigrams
from ilion.reading.words import (
    count_forgiven,
    join_neighbours,
    line_terms,
    normalise,
    query_terms,
    tokens,
    unify_shape,
)


def edits(one: str, other: str) -> int:
    """Optimal string alignment distance, cell by cell."""
    table = [[max(i, j) if 0 in (i, j) else 0 for j in range(len(other) + 1)] for i in range(len(one) + 1)]
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            change = table[i - 1][j - 1] + (one[i - 1] != other[j - 1])
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, change)
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
    return table[-1][-1]


def plain_likeness(asked: str, term: str) -> float:
    """The definition, for one pair."""
    if min(len(asked), len(term)) < 4:
        return float(asked == term)
    shape, other = unify_shape(asked), unify_shape(term)
    hidden, seen = edits(shape, other), edits(asked, term)
    found = 0.0
    if hidden <= min(3, len(asked) // 4):
        found = max(0.0, 1 - 2 * (hidden + (seen - hidden) / 4) / len(asked))
    short, long = sorted((shape, other), key=len)
    if short in long and 0.4 <= len(short) / len(long) < 1:
        found = max(found, len(short) / len(long))
    return found


WORDS = st.text(alphabet="abo01l5s", min_size=1, max_size=13)


@given(WORDS, st.lists(WORDS, min_size=1, max_size=8))
def test_likeness_is_its_definition(asked: str, terms: list[str]) -> None:
    expected = [plain_likeness(asked, term) for term in terms]
    assert likeness(asked, terms).tolist() == pytest.approx(expected, abs=1e-12)


LETTERS = st.text(alphabet="abcdefghjkmn", min_size=4, max_size=20)


@pytest.mark.slow
@given(LETTERS, st.data())
def test_terms_within_the_forgiven_edits_share_two_trigrams(asked: str, data: st.DataObject) -> None:
    if len(trigrams([asked])[0]) < len(asked) + 2:
        return  # a term that repeats itself has fewer trigrams to share
    term = list(asked)
    for _ in range(count_forgiven(len(asked))):
        place = data.draw(st.integers(0, len(term) - 1))
        match data.draw(st.sampled_from(["drop", "change", "add", "swap"])):
            case "drop" if len(term) > EXACT_BELOW:
                del term[place]
            case "change":
                term[place] = "x"
            case "add":
                term.insert(place, "y")
            case "swap" if place:
                term[place - 1], term[place] = term[place], term[place - 1]
    keys, _ = trigrams([asked, "".join(term)])
    assert len(keys) - len(set(keys.tolist())) >= 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("MJÖLK", "mjolk"),
        ("Straße", "STRASSE"),
        ("ＡＢ－１２", "ab-12"),
        ("Cafe\u0301", "Café"),
        ("ﬁlter", "filter"),
        ("Ærø", "AERO"),
    ],
)
def test_writings_of_one_word_are_one(one: str, other: str) -> None:
    assert tokens(one) == tokens(other)
    assert tokens(one)


@pytest.mark.parametrize("read", ["A8-IO25", "AB-1O25", "A81O25", "ab 1025", "AB1025"])
def test_confused_characters_of_a_part_number_cost_little(read: str) -> None:
    [best] = [max(likeness("ab1025", sorted(line_terms(read))))]
    assert best >= 1 - 2 * 0.25 * 3 / 6
    assert best > max(likeness("ab1025", sorted(line_terms("AB-1034"))))


def test_codes_are_joined_and_words_are_not() -> None:
    assert join_neighbours(["filter", "ab", "1234", "5"], words=False) == ["ab1234", "12345", "ab12345"]
    assert query_terms("Filter AB-1234/5") == {
        "filter": 1.0,
        "ab": 1.0,
        "1234": 2.0,
        "5": 1.0,
        "ab1234": 2.0,
        "12345": 2.0,
        "ab12345": 2.0,
    }


def test_split_words_are_found_by_the_whole_one() -> None:
    assert "soyghurt" in line_terms("SOY GHURT")


@pytest.mark.parametrize("text", ["", "  \n", "a", "!?…", "\u0301"])
def test_texts_without_words_have_no_terms(text: str) -> None:
    assert tokens(text) == []
    assert query_terms(text) == {}


@given(st.text(max_size=40))
def test_any_text_can_be_normalised_and_split(text: str) -> None:
    for token in tokens(text):
        assert token == normalise(token)
        assert token.isalnum()
