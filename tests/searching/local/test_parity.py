"""The compiled kernels against loops written from the definitions."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from tests.searching.local.small import DIMS, draw_frames, draw_vectors, move, photo_of, query_of, small_model

from ilion.searching.asmk.votes import SHIFTS
from ilion.searching.local import compiled, compiled_motions, compiled_pairs, compiled_sums
from ilion.searching.local.encode import LocalQuery
from ilion.searching.local.matches import (
    EXACT,
    FAINT,
    LIMIT,
    Matches,
    find_matches,
    look_up_words,
    squares_of,
    sum_up,
    weigh,
)
from ilion.searching.local.postings import make_segment, pack_counts, unpack_counts
from ilion.searching.local.records import ROWS, pack, unpack_codes
from ilion.searching.local.segment import Segment
from ilion.types import Float32, Float64


def segment_of(seeds: range, count: int, start: int = 0) -> Segment:
    photos = [photo_of(draw_vectors(s, count), draw_frames(s, count)) for s in seeds]
    packed, records, _, _ = make_segment(photos, small_model().words)
    counts = unpack_counts(packed, small_model().words)
    offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    return Segment(start, len(photos), offsets, records)


def test_descriptors_are_projected() -> None:
    model = small_model()
    roots = np.sqrt(np.random.default_rng(0).dirichlet(np.ones(128), 20)).astype(np.float32)
    wanted = (roots.astype(np.float64) - model.mean) @ model.projection.T.astype(np.float64)
    np.testing.assert_allclose(model.project(roots), wanted, atol=1e-5)


def test_words_are_the_nearest_ones() -> None:
    """With all coarse words looked into, exactly; else the best of those that are."""
    model = small_model()
    vectors = draw_vectors(1, 50)
    distances = np.square(vectors[:, None] - model.fine.reshape(-1, DIMS)).sum(axis=2)
    _, coarse, coarse_half, fine_half = model._tables
    found = compiled.nearest_words(vectors, coarse, coarse_half, model.fine_columns, fine_half, 8, 3)
    np.testing.assert_array_equal(found, np.argsort(distances, axis=1)[:, :3])
    near = np.argsort(np.square(vectors[:, None] - model.coarse).sum(axis=2), axis=1)[:, :2]
    found = compiled.nearest_words(vectors, coarse, coarse_half, model.fine_columns, fine_half, 2, 1)
    for row, chosen in enumerate(near):
        allowed = [c * 8 + f for c in chosen for f in range(8)]
        assert found[row, 0] == min(allowed, key=lambda word: distances[row, word])


def test_codes_are_the_nearest_centroids() -> None:
    model = small_model()
    vectors = draw_vectors(2, 30)
    words = model.assign(vectors)[:, 0]
    residuals = (vectors - model.fine.reshape(-1, DIMS)[words]).reshape(30, 4, 1, -1)
    wanted = np.square(residuals - model.book).sum(axis=3).argmin(axis=2)
    codes = model.code(vectors, words)
    np.testing.assert_array_equal(codes, wanted)
    parts = [model.book[part, codes[3, part]] for part in range(4)]
    by_hand = model.fine.reshape(-1, DIMS)[words[3]] + np.concatenate(parts)
    np.testing.assert_allclose(model.decode(words, codes)[3], by_hand, rtol=1e-6)


def decoded(segment: Segment, place: int) -> Float32:
    word = np.searchsorted(segment.offsets, [place], "right") - 1
    return np.asarray(small_model().decode(word, unpack_codes(segment.records[[place]]))[0], np.float32)


@pytest.mark.parametrize("count", [30, 300])
def test_matches_are_all_near_pairs(count: int) -> None:
    """Short lists are compared directly and long ones by a table: both, and nothing else, is found."""
    segment = segment_of(range(10, 20), count, start=100)
    query = query_of(draw_vectors(3, 25), draw_frames(3, 25))
    found = find_matches(
        look_up_words(query, small_model(), np.diff(segment.offsets)), [segment], small_model()
    )
    wanted = {}
    for feature in range(25):
        for word in query.words[feature]:
            for place in range(segment.offsets[word], segment.offsets[word + 1]):
                distance = np.square(query.vectors[feature] - decoded(segment, place)).sum()
                if distance < LIMIT * (1 - FAINT):
                    wanted[feature, 100 + int(segment.records[place]) % ROWS, place] = 1 - distance / LIMIT
    pairs = list(zip(found.features.tolist(), found.rows.tolist(), found.places.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs) > 20
    assert set(pairs) == set(wanted)
    np.testing.assert_allclose(found.similarities, [wanted[pair] for pair in pairs], atol=1e-5)
    np.testing.assert_array_equal(found.records, segment.records[found.places])


def test_a_small_buffer_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    segment = segment_of(range(10, 20), 100)
    query = query_of(draw_vectors(3, 25), draw_frames(3, 25))
    whole = find_matches(look_up_words(query, small_model()), [segment], small_model())
    monkeypatch.setattr("ilion.searching.local.matches.ROOM", 1)
    parts = find_matches(look_up_words(query, small_model()), [segment], small_model())
    for name, values in vars(whole).items():
        np.testing.assert_array_equal(values, getattr(parts, name))


def test_only_chosen_photos_are_looked_at() -> None:
    segments = [segment_of(range(10, 20), 100), segment_of(range(20, 26), 100, start=10)]
    query = query_of(draw_vectors(3, 25), draw_frames(3, 25))
    whole = find_matches(look_up_words(query, small_model()), segments, small_model())
    chosen = np.zeros(16, bool)
    chosen[[0, 3, 9, 12]] = True
    some = find_matches(look_up_words(query, small_model()), segments, small_model(), chosen=chosen)
    assert set(some.rows.tolist()) == {0, 3, 9, 12}
    for name, values in vars(whole.take(np.flatnonzero(chosen[whole.rows]))).items():
        np.testing.assert_array_equal(getattr(some, name), values)


@pytest.mark.slow
def test_sums_are_those_of_all_matches() -> None:
    """Of photos and of features of the query, as from the pairs; some photos do not count."""
    segments = [segment_of(range(10, 20), 100), segment_of(range(20, 26), 100, start=10)]
    query = query_of(draw_vectors(3, 25), draw_frames(3, 25))
    lengths = np.sum([np.diff(segment.offsets) for segment in segments], axis=0)
    shown = np.arange(16) != 12
    matches = find_matches(look_up_words(query, small_model()), segments, small_model(), chosen=shown)
    squares = squares_of(matches)
    weights = lengths[query.words].sum(1) ** -0.7
    entries = look_up_words(query, small_model(), lengths, every=True)
    found = sum_up(entries, segments, 25, shown)
    sums, totals = found.photos, found.features
    assert sums.dtype == totals.dtype == np.int64
    wanted = np.bincount(matches.rows, squares * weights[matches.features], 16)
    assert (wanted > 0).sum() > 8
    np.testing.assert_allclose(sums, wanted, rtol=1e-2, atol=100)
    np.testing.assert_allclose(totals, np.bincount(matches.features, squares, 25), rtol=3e-3)
    np.testing.assert_allclose(weigh(matches, 25, totals), weigh(matches, 25), rtol=3e-3)
    again = sum_up(entries, segments[::-1], 25, shown)
    np.testing.assert_array_equal(again.photos, sums)
    np.testing.assert_array_equal(again.features, totals)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("held", [0, 1, 2])
def test_what_a_first_pass_keeps_is_all_that_matches(
    monkeypatch: pytest.MonkeyPatch, stored: bool, wide: bool, held: int
) -> None:
    """With codes looked up in registers or not, and with room for none, for some and for all segments."""
    if wide and not compiled_sums.WIDE:
        pytest.skip("needs a processor with AVX-512 VBMI")
    monkeypatch.setattr(compiled_sums, "WIDE", wide)
    segments = [segment_of(range(10, 20), 100), segment_of(range(20, 26), 100, start=10)]
    query = replace(query_of(draw_vectors(3, 25), draw_frames(3, 25)), stored=stored)
    lengths = np.sum([np.diff(segment.offsets) for segment in segments], axis=0)
    entries = look_up_words(query, small_model(), lengths, every=True)
    sizes = [len(of.pairs) for of in sum_up(entries, segments, 25, np.ones(16, bool)).kept.values()]
    found = sum_up(entries, segments, 25, np.ones(16, bool), (0, min(sizes), sum(sizes))[held])
    assert len(found.kept) == held
    monkeypatch.setattr(compiled_sums, "WIDE", False)
    plain = sum_up(entries, segments, 25, np.ones(16, bool))
    np.testing.assert_array_equal(found.photos, plain.photos)
    np.testing.assert_array_equal(found.features, plain.features)
    for chosen in (np.ones(16, bool), np.arange(16) % 5 == 0, np.zeros(16, bool)):
        again = find_matches(entries, segments, small_model(), chosen=chosen)
        kept = find_matches(entries, segments, small_model(), chosen=chosen, kept=found.kept)
        assert len(again) > 100 or not chosen.all()
        for name, values in vars(again).items():
            np.testing.assert_array_equal(getattr(kept, name), values)


def test_a_list_whose_places_cannot_be_kept_is_read_again() -> None:
    """Places have 20 bits; a longer list is summed, and what matches is found without what was kept."""
    one = segment_of(range(10, 11), 40)
    word = int(np.argmax(np.diff(one.offsets)))
    record, count = one.records[one.offsets[word]], compiled_sums.LONGEST + 1
    offsets = np.where(np.arange(len(one.offsets)) > word, count, 0)
    long = Segment(0, 1, offsets, np.full(count, record))
    query = replace(query_of(draw_vectors(3, 25), draw_frames(3, 25)), stored=True)
    vector = small_model().decode(np.array([word]), unpack_codes(np.array([record])))
    query = replace(query, vectors=vector, words=np.array([[word]], np.int32))
    entries = look_up_words(query, small_model(), np.diff(offsets), every=True)
    found = sum_up(entries, [long], 1, np.ones(1, bool))
    assert not found.kept
    assert found.features[0] >= 0.99 * count * EXACT
    assert len(find_matches(entries, [long], small_model(), kept=found.kept)) == count


def test_a_match_counts_less_where_much_matches() -> None:
    features = np.array([0, 0, 1], np.int32)
    rows, similarities = np.arange(3, dtype=np.int32), np.array([1, 0.5, 0.5], np.float32)
    matches = Matches(features, rows, rows, similarities, np.zeros(3, np.uint64))
    wanted = [1 / 1.25**0.7, 0.25 / 1.25**0.7, 0.25 / 0.25**0.7]
    np.testing.assert_allclose(weigh(matches, 4), wanted, rtol=1e-5)


def naive_votes(query: Float64, image: Float64, weights: Float64, centre: tuple[float, float]) -> float:
    """The heaviest cell of all cuts, from the definition."""
    cells: dict[tuple[int, ...], float] = {}
    for q, d, weight in zip(query, image, weights, strict=True):
        turn = (d[3] - q[3]) / (2 * np.pi) % 1
        octaves = d[2] - q[2]
        rotation = 2.0**octaves * np.exp(2j * np.pi * turn)
        at = complex(d[0], d[1]) + rotation * complex(centre[0] - q[0], centre[1] - q[1])
        if not (-1 < at.real < 2 and -1 < at.imag < 2):
            continue
        for number, cut in enumerate(SHIFTS):
            cell = (
                number,
                int(turn * 8 + cut[0]) % 8,
                int(octaves + 8 + cut[1]),
                int((at.real + 1) / 0.15 + cut[2]),
                int((at.imag + 1) / 0.15 + cut[3]),
            )
            cells[cell] = cells.get(cell, 0) + weight
    return max(cells.values(), default=0.0)


def test_votes_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(5)
    lengths = [0, 1, 7, 40, 3, 200]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    count = int(starts[-1])
    query, features = draw_frames(6, 90), rng.integers(0, 90, count).astype(np.int32)
    records = pack(np.zeros((count, 4), np.uint8), draw_frames(7, count))
    weights, mixed = rng.random(count), rng.permutation(count)
    order = np.argsort(mixed)  # matches lie anywhere
    held = order, starts, features[mixed], records[mixed], weights[mixed], query, 0.5, 0.4
    found = compiled_pairs.vote(np.array([5, 0, 3]), *held)
    image, query = compiled.unpack(records), query[features]
    wanted = [
        naive_votes(query[a:b].astype(float), image[a:b].astype(float), weights[a:b], (0.5, 0.4))
        for a, b in itertools.pairwise(starts)
    ]
    np.testing.assert_allclose(found, np.array(wanted)[[5, 0, 3]], rtol=1e-6)
    everything = compiled_pairs.vote(np.arange(6), *held)
    for least in everything[everything > 0]:
        found = compiled_pairs.vote(np.arange(6), *held, least)
        np.testing.assert_array_equal(found, np.where(everything >= least, everything, 0))


@pytest.mark.parametrize("larger", [0.0, 4.0, -40.0])
def test_matches_of_any_difference_in_size_vote(larger: float) -> None:
    """Features that an expansion moved may be of any size."""
    frames = np.tile(np.array([0.5, 0.5, larger, 0.0], np.float32), (9, 1))
    image = np.tile(np.array([0.3, 0.3, -8.0, 0.0], np.float32), (9, 1))
    records, each = pack(np.zeros((9, 4), np.uint8), image), np.arange(9)
    weights = np.full(9, 0.5)
    found = compiled_pairs.vote(
        np.array([0]), each, np.array([0, 9]), each.astype(np.int32), records, weights, frames, 0.5, 0.5
    )
    assert found.tolist() == [4.5]


MOTION = np.array([0.4, -0.2, 0.3, 0.2, 0.4, 0.1])


def planted(true: int, false: int, seed: int = 0) -> tuple[LocalQuery, Matches, Float64]:
    """Matches of which the first ones follow `MOTION` and the others nothing."""
    count = true + false
    frames = draw_frames(seed, count)
    rng = np.random.default_rng(seed)
    image = move(frames, MOTION)
    image[true:] = draw_frames(seed + 1, false)
    image[:true, :2] += rng.normal(scale=0.002, size=(true, 2))
    matches = Matches(
        np.arange(count, dtype=np.int32),
        np.zeros(count, np.int32),
        np.arange(count, dtype=np.int32),
        np.ones(count, np.float32),
        pack(np.zeros((count, 4), np.uint8), image),
    )
    return query_of(draw_vectors(seed, count), frames), matches, rng.uniform(0.2, 1, count)


def test_the_motion_is_found_among_wrong_matches() -> None:
    query, matches, weights = planted(12, 60)
    image = compiled.unpack(matches.records)
    starts = np.array([0, len(matches)])
    arguments = (query.frames, image, weights, np.arange(72), matches.places, 0.012)
    sums, motions, supports = compiled_motions.verify(starts, *arguments)
    np.testing.assert_allclose(motions[0], MOTION, atol=0.03)
    assert supports[:12].sum() >= 10
    assert supports[12:].sum() <= 2
    assert sums[0] == pytest.approx(weights[supports].sum())


def test_a_spot_and_a_stored_feature_count_once() -> None:
    query, matches, weights = planted(12, 0)
    image = compiled.unpack(matches.records)
    frames, image, weights = (np.concatenate([a, a]) for a in (query.frames, image, weights))
    spots, places = np.tile(np.arange(12), 2), np.arange(24)
    for spot, place in ((spots, places), (places, spots)):
        _, _, supports = compiled_motions.verify(
            np.array([0, 24]), frames, image, weights, spot, place, 0.012
        )
        assert 10 <= supports.sum() <= 12
        assert (supports[:12] & supports[12:]).sum() == 0


def test_one_match_is_no_evidence_and_none_is_no_error() -> None:
    query, matches, weights = planted(1, 0)
    image = compiled.unpack(matches.records)
    own = (query.frames, image, weights, np.arange(1), matches.places, 0.012)
    sums, motions, supports = compiled_motions.verify(np.array([0, 0, 1]), *own)
    assert not sums.any()
    assert not motions.any()
    assert not supports.any()


def test_what_is_stored_of_a_feature_is_found_again() -> None:
    frames = draw_frames(9, 500)
    codes = np.random.default_rng(9).integers(0, 128, (500, 4), np.uint8)
    records = pack(codes, frames)
    found = compiled.unpack(records)
    np.testing.assert_array_equal(unpack_codes(records), codes)
    assert not (records % np.uint64(ROWS)).any()
    assert np.abs(found[:, :2] - frames[:, :2]).max() <= 0.5 / 181 + 1e-6
    assert np.abs(found[:, 2] - frames[:, 2]).max() <= 0.2 + 1e-5
    turn = (found[:, 3] - frames[:, 3] + np.pi) % (2 * np.pi) - np.pi
    assert np.abs(turn).max() <= np.pi / 32 + 1e-5


@pytest.mark.slow
def test_items_are_grouped_in_their_order() -> None:
    rows = np.random.default_rng(0).integers(0, 20, 300)
    order, starts = compiled.group(rows, 25)
    np.testing.assert_array_equal(order, np.argsort(rows, kind="stable"))
    np.testing.assert_array_equal(np.diff(starts), np.bincount(rows, minlength=25))


@pytest.mark.parametrize("mean", [0, 0.1, 0.5, 3, 7, 40, 1000])
def test_counts_are_packed_in_the_smaller_way(mean: float) -> None:
    counts = np.random.default_rng(0).poisson(mean, 1000)
    packed = pack_counts(counts)
    np.testing.assert_array_equal(unpack_counts(packed, 1000), counts)
    assert packed.nbytes <= min(2000, (counts.sum() + 1000) / 8 + 1001)
    assert mean > 3 or packed.nbytes < 600
