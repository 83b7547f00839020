"""The score of a verified pair, and further questions from sure results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.searching.local.small import (
    draw_frames,
    draw_vectors,
    move,
    photo_of,
    query_of,
    small_model,
)

from ilion.errors import ArtifactError
from ilion.searching.local import Encoded, LocalQuery, Looks
from ilion.searching.local.expand import FEATURES, SURE, ask_along, expand
from ilion.searching.local.matches import Matches, find_matches, look_up_words
from ilion.searching.local.score import pair_numbers, read_score, score_photos, shipped_score
from ilion.searching.local.search import look_closer
from ilion.searching.local.segment import Segment
from ilion.searching.local.verified import Verified

EVEN = np.ones(small_model().words, np.int64)
MOTION = np.array([0.3, -0.1, 0.4, 0.1, 0.3, 0.3])


def _segment(photos: list[Encoded]) -> Segment:
    words = np.concatenate([photo.words for photo in photos])
    rows = np.repeat(np.arange(len(photos), dtype=np.uint64), [len(photo) for photo in photos])
    order = np.argsort(words, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(words, minlength=small_model().words))])
    records = np.concatenate([photo.records for photo in photos]) | rows
    return Segment(0, len(photos), offsets, records[order])


def _search(query: LocalQuery, photos: list[Encoded]) -> tuple[Matches, Verified]:
    matches = find_matches(look_up_words(query, small_model()), [_segment(photos)], small_model())
    return matches, look_closer(query, matches, len(photos), 50, 50)[1]


def _looks(photos: list[Encoded], found: Verified) -> Looks:
    return Looks(
        np.array([photos[row].size for row in found.rows]),
        np.array([photos[row].tones for row in found.rows]),
    )


@pytest.fixture(scope="module")
def shown() -> tuple[LocalQuery, list[Encoded]]:
    """A query of 80 features, a photo that shows all of it, one that shows a quarter, and eight others."""
    vectors, frames = draw_vectors(0, 80), draw_frames(0, 80)
    photos = [
        photo_of(vectors, move(frames, MOTION)),
        photo_of(vectors[:20], move(frames[:20], MOTION)),
        *(photo_of(draw_vectors(9 + i, 80), draw_frames(9 + i, 80)) for i in range(8)),
    ]
    return query_of(vectors, frames), photos


def test_the_more_is_seen_the_more_probable(shown: tuple[LocalQuery, list[Encoded]]) -> None:
    query, photos = shown
    _, found = _search(query, photos)
    chances = dict(
        zip(
            found.rows.tolist(),
            score_photos(query, found, len(photos), _looks(photos, found)).tolist(),
            strict=True,
        )
    )
    assert chances[0] > chances[1] > max(value for row, value in chances.items() if row > 1)
    assert all(0 <= value <= 1 for value in chances.values())


def test_numbers_are_those_of_the_definition(shown: tuple[LocalQuery, list[Encoded]]) -> None:
    query, photos = shown
    _, found = _search(query, photos)
    numbers = pair_numbers(query, found, len(photos), _looks(photos, found))
    assert set(shipped_score().names) == set(numbers)
    for place in range(len(found.rows)):
        own = [p for p in range(found.starts[place], found.starts[place + 1]) if found.supports[p]]
        scale = (len(photos) / 2500) ** 0.7
        total = sum(found.weights[p] * scale for p in own)
        assert numbers["inliers"][place] == pytest.approx(np.log(len(own) + 0.01))
        assert numbers["sum"][place] == pytest.approx(np.log(total + 0.01))
        if not own:
            continue
        mean = sum(found.weights[p] * scale * found.matches.similarities[p] for p in own) / total
        assert numbers["sim mean"][place] == pytest.approx(mean)
        seen = {tuple((query.frames[found.matches.features[p], :2] * 8).astype(int)) for p in own}
        have = {tuple(part) for part in (query.frames[:, :2] * 8).astype(int)}
        assert numbers["covered"][place] == pytest.approx(len(seen) / len(have))
        turn = np.arctan2(found.motions[place, 3], found.motions[place, 0])
        if len(own) > 30:
            assert turn == pytest.approx(np.arctan2(0.1, 0.3), abs=0.02)
            assert numbers["turn mean"][place] < 0.05
            assert numbers["oct mean"][place] < 0.1


def test_what_is_not_verified_is_worth_nothing(shown: tuple[LocalQuery, list[Encoded]]) -> None:
    query, photos = shown
    _, found = _search(query, photos[2:])
    found.supports[:] = False
    assert not score_photos(query, found, 8, _looks(photos[2:], found)).any()


def test_a_damaged_score_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "score.json"
    for broken in ({}, {"weights": {"sum": "x"}, "bias": 0}, {"weights": {"sum": float("nan")}, "bias": 0}):
        path.write_text(json.dumps(broken))
        with pytest.raises(ArtifactError):
            read_score(path)


def test_features_of_a_sure_result_come_back_to_the_query(shown: tuple[LocalQuery, list[Encoded]]) -> None:
    query, photos = shown
    matches, found = _search(query, photos)
    chances = np.where(found.rows == 0, 0.9, 0.0)
    more = expand(query, found, chances, lambda rows: [photos[row] for row in rows], EVEN, small_model())
    assert more is not None
    further, sources = more
    assert (sources == 0).all()
    assert len(further) > 70
    # each lies where a feature of the query lies, as it looks there
    apart = np.linalg.norm(further.frames[:, None, :2] - query.frames[None, :, :2], axis=2)
    nearest = apart.argmin(axis=1)
    assert np.median(apart.min(axis=1)) < 0.01
    assert np.median(abs(further.frames[:, 2] - query.frames[nearest, 2])) < 0.15
    turns = (further.frames[:, 3] - query.frames[nearest, 3] + np.pi) % (2 * np.pi) - np.pi
    assert np.median(abs(turns)) < 0.1
    # a photo does not vote for itself
    whole, joined = ask_along(
        query,
        matches,
        further,
        find_matches(look_up_words(further, small_model()), [_segment(photos)], small_model()),
        sources,
    )
    assert len(whole) == len(query) + len(further)
    assert (joined.features[: len(matches)] == matches.features).all()
    assert not (joined.rows[len(matches) :] == 0).any()
    assert (joined.features[len(matches) :] >= len(query)).all()


def test_nothing_is_asked_along_without_a_sure_result(shown: tuple[LocalQuery, list[Encoded]]) -> None:
    query, photos = shown
    _, found = _search(query, photos)
    doubtful = np.full(len(found.rows), SURE - 1e-6)
    assert (
        expand(query, found, doubtful, lambda rows: [photos[row] for row in rows], EVEN, small_model())
        is None
    )


def test_further_features_are_bounded_and_of_the_rarest_words(
    shown: tuple[LocalQuery, list[Encoded]],
) -> None:
    query, photos = shown
    _, found = _search(query, photos)
    frames = np.tile(move(query.frames, MOTION), (40, 1))
    large = photo_of(np.tile(query.vectors, (40, 1)), frames)
    lengths = np.random.default_rng(3).permutation(small_model().words)
    right = np.isclose(found.motions, MOTION, atol=0.03).all(axis=1).astype(float)
    more = expand(query, found, right, lambda rows: [large] * len(rows), lengths, small_model())
    assert more is not None
    further, sources = more
    assert len(further) == len(sources) == FEATURES
    assert set(sources) == set(found.rows[right > 0])
    # those that are left out are of words as common or more so, and each is asked with its stored word
    offered = np.sort(np.concatenate([lengths[large.words]] * int(right.sum())))
    np.testing.assert_array_equal(np.sort(lengths[further.words[:, 0]]), offered[:FEATURES])
