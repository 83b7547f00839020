"""The local search: its files, its budget, and that nothing depends on how the work is cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.searching.local.small import draw_frames, draw_vectors, move, photo_of, query_of, small_model
from tests.stages import took

from ilion import storage
from ilion.errors import ArtifactError, ConfigError
from ilion.runtime.threads import in_parts
from ilion.searching.local import (
    Encoded,
    Evidence,
    LocalModel,
    LocalQuery,
    LocalSettings,
    Postings,
    compare,
    describe_query,
    encode,
    look_up,
    pack_model,
    postings,
    read_model,
    search,
    search_photos,
    shipped_model,
    write_shard,
)
from ilion.searching.local.encode import Spots, choose_spots
from ilion.searching.local.expand import SURE, expand
from ilion.searching.local.matches import sum_up
from ilion.searching.local.model import HOME, NAMES
from ilion.searching.local.score import score_photos
from ilion.searching.local.search import NEAREST, gather
from ilion.searching.local.settings import WORDS
from ilion.searching.local.verified import Verified
from ilion.types import RGB, Box, Float64, Ranking

MOTION = np.array([0.4, -0.2, 0.3, 0.2, 0.4, 0.1])


def stored(root: Path, shards: Sequence[Sequence[Encoded]]) -> Postings:
    artifact = storage.open_artifact(root, "postings", {"name": "test"})
    row = 0
    for number, photos in enumerate(shards):
        named = [(f"distractors/{row + i:05d}.jpg", photo) for i, photo in enumerate(photos)]
        write_shard(artifact, f"s{number}", named, small_model().words, took)
        row += len(photos)
    return Postings(artifact, [f"s{n}" for n in range(len(shards))], small_model().words)


@pytest.fixture(scope="module")
def photos() -> list[Encoded]:
    """30 photos of which number 17 shows the query."""
    drawn = [photo_of(draw_vectors(s, 80), draw_frames(s, 80)) for s in range(30)]
    noise = np.random.default_rng(0).normal(scale=0.02, size=(40, 16)).astype(np.float32)
    vectors = np.concatenate([draw_vectors(99, 40) + noise, draw_vectors(17, 40)])
    frames = np.concatenate([move(draw_frames(99, 40), MOTION), draw_frames(17, 40)])
    drawn[17] = photo_of(vectors, frames)
    return drawn


def ask(database: Postings, workers: int = 1, k: int = 30) -> tuple[Ranking, Evidence]:
    queries = [query_of(draw_vectors(s, 40), draw_frames(s, 40)) for s in (99, 3)]
    settings = LocalSettings(shortlist=10)
    return search_photos(["a", "b"], queries, database, small_model(), settings, k=k, workers=workers)


def test_the_photo_that_shows_the_query_is_found(tmp_path: Path, photos: list[Encoded]) -> None:
    ranking, evidence = ask(stored(tmp_path, [photos]))
    assert ranking.indices[:, 0].tolist() == [17, 3]
    assert evidence.inliers[0, evidence.rows[0].tolist().index(17)] > 20
    assert evidence.inliers.shape == (2, 10)
    assert (np.diff(evidence.votes, axis=1) <= 0).all()
    assert (np.diff(ranking.similarities, axis=1) <= 0).all()
    assert ranking.similarities.min() >= 0
    assert ranking.similarities.max() <= 1


def test_shards_segments_and_threads_change_nothing(
    tmp_path: Path, photos: list[Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ask(stored(tmp_path / "one", [photos]))
    cut = ask(stored(tmp_path / "two", [photos[:3], photos[3:20], photos[20:]]), workers=3)
    monkeypatch.setattr(postings, "SEGMENT", 7)
    fine = ask(stored(tmp_path / "three", [photos]), workers=2)
    for ranking, evidence in (cut, fine):
        assert ranking.similarities.tobytes() == whole[0].similarities.tobytes()
        assert ranking.indices.tobytes() == whole[0].indices.tobytes()
        for name, values in vars(evidence).items():
            assert values.tobytes() == getattr(whole[1], name).tobytes()


def test_the_photos_of_a_single_query_are_shared_among_threads(
    tmp_path: Path, photos: list[Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    database, query = stored(tmp_path, [photos]), query_of(draw_vectors(99, 40), draw_frames(99, 40))
    seen = []

    def noted(count: int, work: Callable[[range], Any], threads: int) -> list[Any]:
        seen.append(threads)
        return in_parts(count, work, threads)

    monkeypatch.setattr("ilion.searching.local.search.in_parts", noted)
    found = [
        search_photos(["a"], [query], database, small_model(), LocalSettings(), k=9, workers=workers)
        for workers in (1, 3)
    ]
    assert set(seen) == {1, 3}
    for one, other in zip(vars(found[0][1]).values(), vars(found[1][1]).values(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert found[0][0].similarities.tobytes() == found[1][0].similarities.tobytes()


def test_a_part_of_a_database_is_searched_like_a_database_of_its_own(
    tmp_path: Path, photos: list[Encoded]
) -> None:
    rows = np.array([0, 3, 4, 9, 17, 18, 25])
    part = stored(tmp_path / "whole", [photos[:20], photos[20:]]).take(rows)
    own = stored(tmp_path / "own", [[photos[row] for row in rows]])
    assert len(part) == len(own) == 7
    assert ask(part, k=7)[0].similarities.tobytes() == ask(own, k=7)[0].similarities.tobytes()
    assert ask(part, k=7)[0].indices.tobytes() == ask(own, k=7)[0].indices.tobytes()
    assert part.ids[4] == "distractors/00017.jpg"
    np.testing.assert_array_equal(part.photo(4).records, photos[17].records)
    nested = part.take(np.array([1, 4]))
    assert [len(nested), nested.ids[1], len(nested.photo(1))] == [2, part.ids[4], 80]


def test_many_ids_stay_on_disk(
    tmp_path: Path, photos: list[Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = stored(tmp_path, [photos[:20], photos[20:]])
    assert isinstance(few.ids, tuple)
    monkeypatch.setattr("ilion.storage.ids.IN_MEMORY", 10)
    for _ in range(2):  # made, and found again
        many = stored(tmp_path, [photos[:20], photos[20:]])
        assert not isinstance(many.ids, tuple)
        assert list(many.ids) == list(few.ids)
        assert many.count == few.count
        assert ask(many)[0].similarities.tobytes() == ask(few)[0].similarities.tobytes()


def test_a_photo_is_read_back_from_the_lists(
    tmp_path: Path, photos: list[Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postings, "SEGMENT", 8)
    database = stored(tmp_path, [photos[:11], photos[11:]])
    for row in (0, 7, 8, 10, 11, 29):
        found = database.photo(row)
        np.testing.assert_array_equal(found.words, photos[row].words)
        np.testing.assert_array_equal(found.records, photos[row].records)
        np.testing.assert_array_equal(found.tones, photos[row].tones)
        assert found.size == photos[row].size
    rows = np.array([29, 0, 8, 7, 11])
    looks = database.looks(rows)
    np.testing.assert_array_equal(looks.tones, [photos[row].tones for row in rows])
    np.testing.assert_array_equal(looks.sizes, [photos[row].size for row in rows])
    part = database.take(np.array([3, 8, 29])).looks(np.array([2, 1]))
    np.testing.assert_array_equal(part.tones, [photos[29].tones, photos[8].tones])


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """30 photos are a large database, of which ten are held against a query."""
    for name, value in (("WHOLE", 12), ("CLOSER", 10)):
        monkeypatch.setattr(f"ilion.searching.local.search.{name}", value)


@pytest.mark.slow
@pytest.mark.usefixtures("large")
def test_a_large_database_is_searched_in_two_passes(
    tmp_path: Path, photos: list[Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it is cut; the best of a smaller answer are those of a larger one."""
    whole = ask(stored(tmp_path / "one", [photos]), k=5)
    assert whole[0].indices[:, 0].tolist() == [17, 3]
    monkeypatch.setattr(postings, "THREADED", 10)  # and the segments of one query in several threads
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    cut = ask(stored(tmp_path / "two", [photos[:3], photos[3:20], photos[20:]]), workers=3, k=5)
    assert cut[0].similarities.tobytes() == whole[0].similarities.tobytes()
    assert cut[0].indices.tobytes() == whole[0].indices.tobytes()
    two = ask(stored(tmp_path / "one", [photos]), k=2)[0]
    np.testing.assert_array_equal(two.indices, whole[0].indices[:, :2])
    np.testing.assert_array_equal(two.similarities, whole[0].similarities[:, :2])
    monkeypatch.setattr("ilion.searching.local.search.WHOLE", 30)
    exact = ask(stored(tmp_path / "one", [photos]), k=5)[0]
    assert exact.indices[:, 0].tolist() == [17, 3]
    assert exact.similarities.tobytes() != whole[0].similarities.tobytes()


def test_what_a_first_pass_may_keep_is_shared_by_its_threads(
    tmp_path: Path, photos: list[Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []

    def noted(*arguments: Any) -> Any:
        given.append(arguments[-1])
        return sum_up(*arguments)

    database = stored(tmp_path, [photos[:3], photos[3:20], photos[20:]])
    monkeypatch.setattr(postings, "sum_up", noted)
    monkeypatch.setattr(postings, "KEPT", 900)
    query = query_of(draw_vectors(99, 40), draw_frames(99, 40))
    alone = database.first_pass(query, small_model())
    monkeypatch.setattr(postings, "THREADED", 1)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    many = database.first_pass(query, small_model())
    threads = len(given) - 1
    assert given == [900, *[900 // threads] * threads]
    assert threads > 2
    np.testing.assert_array_equal(many.sums, alone.sums)
    rows = np.arange(len(photos))
    for name, values in vars(alone.matches(rows)).items():
        np.testing.assert_array_equal(getattr(many.matches(rows), name), values)


@pytest.mark.usefixtures("large")
def test_a_filter_of_a_large_database_loses_nothing(
    tmp_path: Path, photos: list[Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no more may be found than are looked at, none is passed over, whatever the first pass says."""
    database, settings = stored(tmp_path, [photos]), LocalSettings(shortlist=10)
    query = query_of(draw_vectors(99, 40), draw_frames(99, 40), assignments=3)
    allowed = np.array([1, 2, 5, 9, 16, 17, 21, 25, 28, 29])
    hidden = np.delete(np.arange(30), allowed)
    view, _ = gather(query, database, small_model(), 5, hidden)
    assert view is not None
    assert view.query is query  # no feature may be missed of photos that have few
    monkeypatch.setattr("ilion.searching.local.search.MANY", 80)
    view, matches = gather(query, database, small_model(), 5, hidden)
    assert view is not None
    assert query.words.shape[1] > NEAREST
    np.testing.assert_array_equal(view.query.words, query.words[:, :NEAREST])
    np.testing.assert_array_equal(view.rows, allowed)
    assert set(matches.rows.tolist()) <= set(allowed.tolist())
    found, _ = search_photos(["a"], [query], database, small_model(), settings, k=5, allowed=allowed)
    assert found.indices[0, 0] == 17
    assert set(found.indices[0].tolist()) <= set(allowed.tolist())
    # where more may be found than are looked at, those of the largest sums are
    view, _ = gather(query, database, small_model(), 5, np.array([17]))
    assert view is not None
    assert len(view.rows) == 10
    assert 17 not in view.rows
    sums = view.found.sums
    assert sums[view.rows].min() >= np.delete(sums, [17, *view.rows]).max()


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize(
    ("sure", "times"), [((0, 9), 0), ((1, 1), 1), ((1, 2), 1), ((1, 3), 2), ((3, 4), 1), ((2, 4), 2)]
)
def test_an_expansion_follows_another_only_if_that_brought_new_results(
    tmp_path: Path,
    photos: list[Encoded],
    monkeypatch: pytest.MonkeyPatch,
    is_large: bool,
    sure: tuple[int, int],
    times: int,
) -> None:
    """Two new ones at least; the answers are averaged, and a third expansion is never made."""
    if is_large:
        monkeypatch.setattr(search, "WHOLE", 12)
        monkeypatch.setattr(search, "CLOSER", 29)
    asked: list[int] = []
    chances = iter([*sure, 30])

    def scored(query: LocalQuery, found: Verified, *rest: Any) -> Float64:
        given = np.zeros_like(score_photos(query, found, *rest))
        given[np.argsort(found.rows)[: next(chances)]] = 0.09 + SURE
        return given

    def noted(*arguments: Any) -> Any:
        asked.append(int((arguments[2] >= SURE).sum()))
        return expand(*arguments)

    monkeypatch.setattr(search, "score_photos", scored)
    monkeypatch.setattr(search, "expand", noted)
    query = query_of(draw_vectors(99, 40), draw_frames(99, 40))
    database = stored(tmp_path, [[photos[17]] * 30])  # all show it, so all are verified
    found = search.rank_photos(query, database, small_model(), LocalSettings(shortlist=30), 5)
    assert asked == list(sure[:times])
    assert len(found.rows) == 5


@pytest.mark.usefixtures("large")
def test_removed_photos_count_nothing(tmp_path: Path, photos: list[Encoded]) -> None:
    kept = np.delete(np.arange(30), [4, 11])
    part = ask(stored(tmp_path / "all", [photos]).take(kept), k=5)
    alone = ask(stored(tmp_path / "kept", [[photos[row] for row in kept]]), k=5)
    assert part[0].indices.tobytes() == alone[0].indices.tobytes()
    assert part[0].similarities.tobytes() == alone[0].similarities.tobytes()


def test_photos_without_features_come_last(tmp_path: Path, photos: list[Encoded]) -> None:
    none = photo_of(draw_vectors(0, 0), draw_frames(0, 0))
    ranking, _ = ask(stored(tmp_path, [[none, *photos[:5], none]]), k=7)
    assert ranking.similarities[:, -2:].tolist() == [[0, 0], [0, 0]]
    assert ranking.indices[:, -2:].tolist() == [[0, 6], [0, 6]]
    only, _ = ask(stored(tmp_path / "only", [[none, none]]), k=2)
    assert not only.similarities.any()


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("budget", [1024, 2048, 4096, 8192, 16384])
def test_a_photo_takes_no_more_than_the_budget(tmp_path: Path, budget: int, words: int) -> None:
    """All files of 100 photos that show as many features as are kept; and little is wasted."""
    settings = LocalSettings(budget, words=words)
    count, rng = settings.features, np.random.default_rng(0)
    photos = [
        (
            f"shop_{number:03d}_some_product/pos/P{number:03d}_00.jpg",
            Encoded(
                np.sort(rng.integers(0, words, count)).astype(np.uint16),
                rng.integers(0, 2**52, count, np.uint64) << np.uint64(12),
                rng.integers(0, 256, settings.cells**2, np.uint8),
                (4000, 3000),
            ),
        )
        for number in range(100)
    ]
    artifact = storage.open_artifact(tmp_path, "postings", {"budget": budget})
    write_shard(artifact, "all", photos, words, took)
    taken = sum(path.stat().st_size for path in artifact.folder.iterdir()) / 100
    assert taken <= budget
    database = Postings(artifact, ["all"], words)
    assert database.stored_bytes() / 100 == pytest.approx(taken, abs=10)
    assert taken > budget - 200


def test_files_that_do_not_fit_together_are_refused(tmp_path: Path, photos: list[Encoded]) -> None:
    database = stored(tmp_path, [photos])
    storage.write_array(database.folder / "s0.0000.records.npy", np.zeros(3, np.uint64))
    with pytest.raises(ArtifactError, match="do not fit together"):
        list(database.segments())
    storage.write_array(database.folder / "s0.0000.tones.npy", np.zeros((3, 64), np.uint8))
    with pytest.raises(ArtifactError, match="do not fit together"):
        database.looks(np.array([0]))
    with pytest.raises(ArtifactError, match="occurs twice"):
        Postings(storage.load_artifact(database.folder), ["s0", "s0"], small_model().words)


def test_settings_out_of_range_are_refused() -> None:
    for settings in (
        {"assignments": -1},
        {"budget": 512},
        {"budget": 10**6},
        {"sizes": (0,)},
        {"shortlist": 0},
        {"words": 16_383},
    ):
        with pytest.raises(ConfigError, match=r"search\.local"):
            LocalSettings(**settings)


def test_a_model_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    model = small_model()
    with pytest.raises(ArtifactError, match="do not fit together"):
        LocalModel(model.mean, model.projection, model.coarse, model.fine[:, :, :5], model.book)
    with pytest.raises(ArtifactError, match="NaN"):
        LocalModel(model.mean * np.nan, model.projection, model.coarse, model.fine, model.book)
    storage.write_arrays(tmp_path / "model.npz", {"mean": model.mean, "fine": model.fine})
    with pytest.raises(ArtifactError, match="no local model"):
        read_model(tmp_path / "model.npz")


def test_a_packed_model_is_the_model_to_half_a_step(tmp_path: Path) -> None:
    model = small_model()
    packed: dict[str, Any] = pack_model(**{name: getattr(model, name) for name in NAMES})
    storage.write_arrays(tmp_path / "model.npz", packed)
    read = read_model(tmp_path / "model.npz")
    assert (abs(read.fine - model.fine) <= 0.501 * packed["step"]).all()
    assert (packed["step"] < 0.02).all()
    for name in ("mean", "projection"):
        assert (getattr(read, name) == getattr(model, name)).all()
    for name in ("coarse", "book"):
        np.testing.assert_allclose(getattr(read, name), getattr(model, name), rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_models_that_come_with_ilion_find_the_nearest_word() -> None:
    """Of descriptors near words nearly all come to the word that is the nearest of all."""
    digests = set()
    for count in WORDS:
        model, rng = shipped_model(count), np.random.default_rng(count)
        assert model.words == count
        assert (HOME / f"model-{count}.npz").stat().st_size < 5 * 2**20
        words = model.fine.reshape(count, -1)
        drawn = words[rng.integers(count, size=400)]
        drawn += rng.normal(scale=0.05, size=drawn.shape).astype(np.float32)
        nearest = (0.5 * np.square(words).sum(axis=1) - drawn @ words.T).argmin(axis=1)
        assert (model.assign(drawn)[:, 0] == nearest).mean() > 0.9
        digests.add(model.digest)
    assert len(digests) == len(WORDS)


def texture(seed: int, side: int) -> RGB:
    import cv2

    noise = np.random.default_rng(seed).integers(0, 256, (side // 8, side // 8, 3), np.uint8)
    return np.asarray(cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.mark.slow
def test_a_photo_and_a_query_are_described() -> None:
    settings = LocalSettings(2048)
    image = texture(1, 300)
    photo = encode(image, (1200, 1200), small_model(), settings)
    assert 0 < len(photo) <= settings.features
    assert photo.records.shape == (len(photo),)
    assert photo.size == (1200, 1200)
    assert len(photo.tones) == settings.cells**2 == 64
    assert (np.diff(photo.words.astype(int)) >= 0).all()
    query = look_up(describe_query(image, small_model(), settings), small_model(), settings)
    assert set(query.levels.tolist()) == {0, 1, 2, 3, 4}
    assert query.words.shape == (len(query), 8)
    assert query.tones.shape == (64, 64, 2)
    few = LocalSettings(assignments=3)
    fewer = look_up(describe_query(image, small_model(), settings), small_model(), few)
    np.testing.assert_array_equal(fewer.words, query.words[:, :3])
    box = Box(100, 100, 200, 150)
    some = describe_query(image, small_model(), settings, part=Box(50, 0, 600, 600), shown=[box])
    assert 0 < len(some.frames) < len(query)
    places = some.frames[:, :2] * 600 + [50, 0]
    assert (places >= [100, 100]).all()
    assert (places < [300, 250]).all()
    flat: RGB = np.full((100, 80, 3), 128, np.uint8)
    assert len(encode(flat, (80, 100), small_model(), settings)) == 0
    assert len(look_up(describe_query(flat, small_model(), settings), small_model(), settings)) == 0


def test_a_result_is_explained_in_pixels(photos: list[Encoded]) -> None:
    """The query is a part of a photo of 400 x 300 pixels, the found photo has 640 x 480."""
    query = query_of(draw_vectors(99, 40), draw_frames(99, 40))
    found = compare(query, photos[17], small_model())
    assert found.supports.sum() > 20
    assert (np.diff(found.features) > 0).all()
    assert found.motion is not None
    mapped = np.column_stack([found.query[found.features[found.supports]], np.ones(found.supports.sum())])
    moved = (mapped @ found.motion.T)[:, :2]
    assert np.abs(moved - found.photo[found.places[found.supports]]).max() < 0.02 * 640
    by_hand = move(query.frames, MOTION)[:, :2] * 640 - 0.5
    every = np.column_stack([found.query, np.ones(40)]) @ found.motion.T
    assert np.abs(every[:, :2] - by_hand).max() < 25
    nothing = compare(query, photos[4], small_model())
    assert nothing.supports.sum() < 6


def test_a_small_budget_keeps_strong_features_and_some_of_every_part() -> None:
    rng = np.random.default_rng(0)
    frames = draw_frames(0, 200)
    frames[:150, :2] = rng.uniform(0, 0.2, (150, 2))  # the strongest crowd in a corner
    spots = Spots(frames, np.zeros((200, 128), "f"), np.arange(200, 0, -1).astype("f"))
    kept = choose_spots(spots, 60)
    assert len(kept.scores) == 60
    assert kept.scores[:30].tolist() == list(range(200, 170, -1))
    assert (kept.frames[30:, :2] > 0.25).any(axis=1).sum() >= 15
    assert len(np.unique(kept.scores)) == 60
    assert choose_spots(spots, 200) is spots
    turned = frames[:50] + np.array([0, 0, 0, 1], np.float32)
    twins = Spots(
        np.concatenate([frames, turned]), np.zeros((250, 128), "f"), np.arange(250, 0, -1).astype("f")
    )
    assert choose_spots(twins, 60).scores.min() > 50
    np.testing.assert_array_equal(choose_spots(twins, 210).scores, twins.scores[:210])
