"""The inverted file against a naive loop from the definition; part numbers with errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilion.errors import ArtifactError
from ilion.reading.index import LENGTH_SHARE, SATURATION, TextIndex, search_texts
from ilion.reading.likeness import likeness
from ilion.reading.words import line_terms, query_terms
from ilion.types import TextLine

QUAD = np.array([[0, 0], [9, 0], [9, 5], [0, 5]], np.float32)


def line(text: str, confidence: float = 1.0) -> TextLine:
    return TextLine(text, confidence, QUAD.copy())


def naive(images: Sequence[Sequence[TextLine]], query: Mapping[str, float]) -> list[float]:
    """Score every image for a query, straight from the definition."""
    images = [[ln for ln in lines if ln.confidence >= 0.5] for lines in images]
    mean = max(1.0, sum(map(len, images)) / len(images))
    scores = [0.0] * len(images)
    for term, weight in query.items():
        found = [
            [
                np.float32(ln.confidence) * max(likeness(term, sorted(line_terms(ln.text))), default=0.0) ** 2
                for ln in lines
            ]
            if lines
            else []
            for lines in images
        ]
        df = sum(max(values, default=0.0) for values in found)
        idf = log(1 + max(0.0, len(images) - df + 0.5) / (df + 5))
        for row, values in enumerate(found):
            tf = sum(values)
            length = 1 - LENGTH_SHARE + LENGTH_SHARE * len(images[row]) / mean
            scores[row] += float(weight * idf * tf * (SATURATION + 1) / (tf + SATURATION * length))
    return scores


WORDS = ["milk", "mjölk", "milkshake", "AB-1234", "AB1284", "vanilla", "vanilja", "15", "l5", "soy", "ghurt"]
LINES = st.builds(
    lambda words, confidence: line(" ".join(words), confidence),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=3),
    st.sampled_from([0.3, 0.5, 0.75, 1.0]),
)


@pytest.mark.slow
@given(
    st.lists(st.lists(LINES, max_size=4), min_size=1, max_size=7), st.sampled_from([*WORDS, " ".join(WORDS)])
)
def test_scores_are_those_of_a_naive_loop(images: list[list[TextLine]], text: str) -> None:
    found = TextIndex.build(images).score(query_terms(text))
    scores = np.zeros(len(images))
    scores[found.rows] = found.scores
    assert scores.tolist() == pytest.approx(naive(images, query_terms(text)), rel=1e-5, abs=1e-9)


PARTS = [
    [line("VALVE KIT"), line("P/N MX-2204-B7")],
    [line("VALVE KIT"), line("P/N MX-2240-B7")],
    [line("VALVE KIT"), line("P/N MX-2204-C7")],
    [line("PUMP"), line("P/N QT-9981-A1")],
    [],
    [line("Made in Italy")],
]
IDS = [f"part{i}" for i in range(len(PARTS))]


@pytest.mark.parametrize(
    "typed", ["MX-2204-B7", "mx2204b7", "MX 2204 B7", "MX-22O4-B7", "MX-2204-87", "MX-2204B7", "M X2204-B7"]
)
def test_a_part_number_is_found_however_it_is_typed(typed: str) -> None:
    ranking = search_texts(["q"], [query_terms(typed)], IDS, TextIndex.build(PARTS), k=3)
    assert ranking.indices[0, 0] == 0
    assert ranking.similarities[0, 0] > ranking.similarities[0, 1]


@pytest.mark.parametrize("typed", ["QT-9891-A1", "QT-998-A1", "QT-99810-A1", "QT-9881-A1", "GT9981A1"])
def test_a_part_number_with_a_typing_error_is_found(typed: str) -> None:
    ranking = search_texts(["q"], [query_terms(typed)], IDS, TextIndex.build(PARTS), k=3)
    assert ranking.indices[0, 0] == 3


def test_images_without_evidence_come_last_in_row_order() -> None:
    ranking = search_texts(["q"], [query_terms("pump")], IDS, TextIndex.build(PARTS), k=10)
    assert ranking.indices[0].tolist() == [3, 0, 1, 2, 4, 5]
    assert ranking.similarities[0, 1:].tolist() == [0] * 5


@pytest.mark.parametrize("text", ["", "zzzzzz", "?"])
def test_a_query_that_matches_nothing_gives_row_order(text: str) -> None:
    ranking = search_texts(["q"], [query_terms(text)], IDS, TextIndex.build(PARTS), k=4)
    assert ranking.indices[0].tolist() == [0, 1, 2, 3]
    assert not ranking.similarities.any()


def test_a_database_without_text_is_searched_all_the_same() -> None:
    index = TextIndex.build([[], []])
    ranking = search_texts(["q"], [query_terms("milk AB-1234")], ["a", "b"], index, k=5)
    assert ranking.indices.tolist() == [[0, 1]]


def test_rare_words_count_more_than_common_ones() -> None:
    images = [[line("valve brass")], *([[line("valve")]] * 5), [line("brass")]]
    index = TextIndex.build(images)
    found = index.score(query_terms("valve brass"))
    scores = dict(zip(found.rows.tolist(), found.scores.tolist(), strict=True))
    assert scores[0] > scores[6] > scores[1]


def test_unsure_lines_are_left_out_and_surer_ones_count_more() -> None:
    index = TextIndex.build([[line("milk", 0.6)], [line("milk", 0.9)], [line("milk", 0.4)], []])
    ranking = search_texts(["q"], [query_terms("milk")], list("abcd"), index, k=4)
    assert ranking.indices[0].tolist() == [1, 0, 2, 3]
    assert ranking.similarities[0, 2] == 0


def test_a_stored_index_gives_the_same_results(tmp_path: Path) -> None:
    index = TextIndex.build(PARTS)
    index.save(tmp_path)
    again = TextIndex.load(tmp_path)
    for text in ("MX-2204-B7", "pump italy", "nothing"):
        one, two = index.score(query_terms(text)), again.score(query_terms(text))
        assert one.rows.tolist() == two.rows.tolist()
        assert one.scores.tolist() == two.scores.tolist()


def test_a_damaged_index_is_refused(tmp_path: Path) -> None:
    TextIndex.build(PARTS).save(tmp_path)
    np.save(tmp_path / "lines.npy", np.zeros(3, np.int64))
    with pytest.raises(ArtifactError, match="do not fit together"):
        TextIndex.load(tmp_path)


def test_an_index_of_another_database_is_refused() -> None:
    with pytest.raises(ArtifactError, match="6 images"):
        search_texts(["q"], [{}], ["a"], TextIndex.build(PARTS), k=1)
