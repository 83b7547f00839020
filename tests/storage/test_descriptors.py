"""Many shards as one database: the same with ids in memory or listed, and bounded in what it holds."""

from __future__ import annotations

import contextlib
import logging
import os
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ilion import storage
from ilion.errors import ArtifactError
from ilion.runtime.machine import machine
from ilion.searching import search
from ilion.storage import descriptors, duplicates
from ilion.storage import ids as idlist
from ilion.storage.ids import IdList
from ilion.types import Descriptors, Ranking

SIZES = (3, 0, 7, 1, 12, 5)


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few ids are many."""
    monkeypatch.setattr(idlist, "IN_MEMORY", 5)
    monkeypatch.setattr(idlist, "BLOCK", 4)
    monkeypatch.setattr(duplicates, "RUN", 8)
    monkeypatch.setattr(descriptors, "OPEN", 2)


def write(artifact: storage.Artifact, key: str, ids: Sequence[str], seed: int, dim: int = 6) -> Descriptors:
    values = np.random.default_rng(seed).standard_normal((len(ids), dim)).astype(np.float16)
    given = Descriptors(tuple(ids), values)
    storage.write_descriptors(artifact, key, given, storage.ShardStats(len(ids), 0.0, 0, machine()))
    return given


def database(folder: Path, sizes: Sequence[int] = SIZES) -> tuple[storage.Artifact, list[str], Descriptors]:
    """Write shards; return them, and all that they hold."""
    artifact = storage.open_artifact(folder, "descriptors", {})
    shards = [
        write(artifact, f"s{s}", [f"{s}/ü{i}" if s % 2 else f"{s}/{i}" for i in range(size)], s)
        for s, size in enumerate(sizes)
    ]
    ids = tuple(name for shard in shards for name in shard.ids)
    whole = Descriptors(ids, np.concatenate([shard.values for shard in shards]))
    return artifact, [f"s{s}" for s in range(len(sizes))], whole


def check(found: storage.DescriptorSet, expected: Descriptors, sizes: Sequence[int]) -> None:
    """Compare all that a set promises."""
    assert found.ids == expected.ids
    assert (len(found), found.sizes, found.dim) == (len(expected.ids), tuple(sizes), expected.dim)
    assert (found.shards, found.dtype) == (len(sizes), np.dtype(np.float16))
    stored = list(found.stored_blocks(4))
    assert max(len(block) for block in stored) <= 4
    assert {(block.dtype, type(block)) for block in stored} == {(np.dtype(np.float16), np.ndarray)}
    np.testing.assert_array_equal(np.concatenate(stored), expected.values)
    np.testing.assert_array_equal(np.concatenate(list(found.blocks(5))), expected.values.astype(np.float32))
    parts = [part for shard in range(found.shards) for part in found.read_shard(shard, 4)]
    assert tuple(name for part in parts for name in part.ids) == expected.ids
    np.testing.assert_array_equal(np.concatenate([part.values for part in parts]), expected.values)
    rows = np.random.default_rng(0).integers(0, len(found), 50)
    np.testing.assert_array_equal(found.gather(rows), expected.values[rows].astype(np.float32))
    assert found.gather(rows[:0]).shape == (0, expected.dim)


def test_the_whole_is_the_same_in_memory_and_listed(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    artifact, keys, whole = database(tmp_path)
    held = storage.DescriptorSet(artifact, keys)
    check(held, whole, SIZES)
    assert isinstance(held.ids, tuple)
    assert not (artifact.folder / "ids").exists()
    request.getfixturevalue("many")
    found = storage.DescriptorSet(artifact, keys)
    check(found, whole, SIZES)
    assert isinstance(found.ids, IdList)
    # another order of shards is another database, with a list of its own
    backwards = storage.DescriptorSet(artifact, keys[::-1])
    assert backwards.ids == tuple(
        name for key in keys[::-1] for name in storage.read_descriptors(artifact, key).ids
    )
    assert found.ids == whole.ids
    assert len(list((artifact.folder / "ids").glob("*.json"))) == 2


@pytest.mark.usefixtures("many")
def test_a_subset_by_ids_or_by_rows_is_the_same(tmp_path: Path) -> None:
    artifact, keys, whole = database(tmp_path)
    rows = np.array([0, 2, 3, 4, 9, 11, 15, 22, 27])
    expected = Descriptors(tuple(whole.ids[row] for row in rows), whole.values[rows])
    sizes = (2, 0, 3, 0, 3, 1)
    asked = [whole.ids[row] for row in np.random.default_rng(1).permutation(rows)]
    check(storage.DescriptorSet(artifact, keys, asked), expected, sizes)
    everything = storage.DescriptorSet(artifact, keys)
    part = everything.take(rows)
    check(part, expected, sizes)
    inner = np.array([1, 4, 8])
    check(
        part.take(inner),
        Descriptors(tuple(expected.ids[i] for i in inner), expected.values[inner]),
        (1, 0, 1, 0, 0, 1),
    )
    check(everything, whole, SIZES)  # left as it was
    assert len(everything.take(rows[:0])) == 0
    none = storage.DescriptorSet(artifact, keys, [])
    assert (len(none), none.ids, list(none.stored_blocks(3))) == (0, (), [])
    with pytest.raises(ArtifactError, match="2 ids of the subset have no descriptor, such as 'x'"):
        storage.DescriptorSet(artifact, keys, ["0/1", "y", "x"])


@pytest.mark.usefixtures("many")
def test_a_part_that_is_not_listed_leaves_its_ids_where_they_are(tmp_path: Path) -> None:
    artifact, keys, whole = database(tmp_path)
    found = storage.DescriptorSet(artifact, keys, listed=False)
    check(found, whole, SIZES)
    assert [found.ids[row] for row in range(-3, 3)] == [whole.ids[row] for row in range(-3, 3)]
    assert not (artifact.folder / "ids").exists()
    write(artifact, "s4", [], 0)
    with pytest.raises(ArtifactError, match="s4 changed meanwhile"):
        found.ids[12]


@pytest.mark.usefixtures("many")
def test_a_list_is_used_again_until_a_shard_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact, keys, whole = database(tmp_path)
    storage.DescriptorSet(artifact, keys)

    def refused(*_: Any) -> None:
        raise AssertionError("read again")

    with monkeypatch.context() as patch:
        patch.setattr(descriptors, "_read_head", refused)
        check(storage.DescriptorSet(artifact, keys), whole, SIZES)
    # an image that was skipped could be read this time
    more = write(artifact, "s3", ["3/ü0", "3/late"], 3)
    again = storage.DescriptorSet(artifact, keys)
    assert again.ids == (*whole.ids[:10], *more.ids, *whole.ids[11:])
    assert again.sizes == (3, 0, 7, 2, 12, 5)


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("damage", ["head", "cut", "gone", "folder"])
def test_a_list_that_cannot_be_used_is_made_again(tmp_path: Path, damage: str) -> None:
    artifact, keys, whole = database(tmp_path)
    storage.DescriptorSet(artifact, keys)
    [head] = (artifact.folder / "ids").glob("*.json")
    if damage == "head":
        head.write_text("{")
    elif damage == "cut":
        head.with_suffix(".text").write_bytes(head.with_suffix(".text").read_bytes()[:-1])
    elif damage == "gone":
        head.with_suffix(".starts").unlink()
    else:
        for path in (artifact.folder / "ids").iterdir():
            path.unlink()
        (artifact.folder / "ids").rmdir()
    check(storage.DescriptorSet(artifact, keys), whole, SIZES)


@pytest.mark.usefixtures("many")
def test_a_list_that_another_process_made_meanwhile_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact, keys, whole = database(tmp_path)
    other = storage.DescriptorSet(artifact, keys)
    known, asked = descriptors._load_list, 0

    def late(*given: Any) -> Any:
        nonlocal asked
        asked += 1
        return None if asked == 1 else known(*given)

    monkeypatch.setattr(descriptors, "_load_list", late)
    monkeypatch.setattr(descriptors, "write_ids", None)
    check(storage.DescriptorSet(artifact, keys), whole, SIZES)
    assert asked == 2
    assert other.ids == whole.ids


def test_ids_of_a_folder_that_cannot_be_written_are_held(
    tmp_path: Path, many: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    artifact, keys, whole = database(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with caplog.at_level(logging.WARNING):
        check(storage.DescriptorSet(artifact, keys), whole, SIZES)
    assert "28 ids are held in memory" in caplog.text
    assert not (artifact.folder / "ids").exists()


@pytest.mark.usefixtures("many")
def test_ids_that_occur_twice_across_shards_are_refused(tmp_path: Path) -> None:
    artifact, keys, _ = database(tmp_path)
    write(artifact, "twin", ["new", "3/ü0"], 9)
    for _ in range(2):  # and nothing is left that would let it pass the next time
        with pytest.raises(ArtifactError, match="'3/ü0' occurs twice"):
            storage.DescriptorSet(artifact, [*keys, "twin"])
        assert [path.name for path in (artifact.folder / "ids").iterdir()] == [".lock"]
    # a subset without it is a database
    assert storage.DescriptorSet(artifact, [*keys, "twin"], ["new", "0/1"]).ids == ("0/1", "new")
    with pytest.raises(ArtifactError, match="'3/ü0' occurs twice"):
        storage.DescriptorSet(artifact, [*keys, "twin"], ["new", "3/ü0"])


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("damage", ["values cut", "values gone", "ids gone", "other type", "other shape"])
def test_damaged_shards_are_named_whether_their_ids_are_known_or_not(
    tmp_path: Path, damage: str, listed: bool
) -> None:
    artifact, keys, _ = database(tmp_path)
    if listed:
        storage.DescriptorSet(artifact, keys)
    path = artifact.folder / "s4.npy"
    if damage == "values cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "values gone":
        path.unlink()
    elif damage == "ids gone":
        (artifact.folder / "s4.ids.json").unlink()
    elif damage == "other type":
        np.save(path, np.zeros((12, 6), np.float64))
    else:
        np.save(path, np.zeros((12, 5), np.float16))
    with pytest.raises(ArtifactError, match="float64" if damage == "other type" else r"s4\.(npy|ids\.json)"):
        storage.DescriptorSet(artifact, keys)


@pytest.mark.usefixtures("many")
def test_ids_and_shape_of_a_shard_must_fit(tmp_path: Path) -> None:
    artifact, keys, _ = database(tmp_path)
    storage.write_json(artifact.folder / "s2.ids.json", {"ids": ["2/0"], "shape": [7, 6]})
    with pytest.raises(ArtifactError, match="1 id for 7 descriptors"):
        storage.DescriptorSet(artifact, keys)


def open_files(folder: Path) -> int:
    """Count the files below a folder that this process holds open; what other tests hold is not counted."""
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile, as the one that lists this folder is
            count += link.readlink().is_relative_to(folder.resolve())
    return count


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files by /proc")
def test_few_of_many_shards_are_open_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "OPEN", 8)
    artifact, keys, whole = database(tmp_path, (5,) * 60)
    assert open_files(tmp_path) == 0
    found = storage.DescriptorSet(artifact, keys)
    assert open_files(tmp_path) == 8
    expected = whole.values.astype(np.float32)
    counts: list[int] = []

    def look(seed: int) -> bool:
        rows = np.random.default_rng(seed).integers(0, len(found), 40)
        right = np.array_equal(found.gather(rows), expected[rows])
        counts.append(open_files(tmp_path))
        return right

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(look, range(40)))
    # each thread may still look at one that was closed, and one is just being opened (a file and its map)
    assert 8 <= max(counts) <= 8 + 4 + 2
    np.testing.assert_array_equal(np.concatenate(list(found.stored_blocks(3))), whole.values)
    assert open_files(tmp_path) == 8


def test_what_is_held_stays_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setattr(descriptors, "release_pages", lambda values: given.append(len(values)))
    found = storage.DescriptorSet(*database(tmp_path)[:2])

    def look() -> int:
        given.clear()
        list(found.stored_blocks(2))
        list(found.blocks(2))
        found.take(np.array([0, 2])).gather(np.array([1, 0]))
        return len(given)

    assert look() > 2
    found.hold()
    assert look() == 0


def test_a_search_finds_the_same_bits(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    artifact, keys, _ = database(tmp_path, (300, 0, 41, 700))
    queries = np.random.default_rng(5).standard_normal((9, 6)).astype(np.float32)
    asked = [f"q{i}" for i in range(9)]
    rankings: list[Ranking] = [
        search(asked, queries, storage.DescriptorSet(artifact, keys), k=50, block_size=256)
    ]
    request.getfixturevalue("many")
    listed = storage.DescriptorSet(artifact, keys)
    for found in (
        listed,
        listed.take(np.arange(len(listed))),
        storage.DescriptorSet(artifact, keys, listed=False),
    ):
        rankings.append(search(asked, queries, found, k=50, block_size=256, threads=3))
    for ranking in rankings[1:]:
        np.testing.assert_array_equal(ranking.indices, rankings[0].indices)
        np.testing.assert_array_equal(ranking.similarities, rankings[0].similarities)
        assert ranking.database_ids == rankings[0].database_ids


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idlist, "IN_MEMORY", 500)
    monkeypatch.setattr(idlist, "BLOCK", 250)
    monkeypatch.setattr(duplicates, "RUN", 1000)
    artifact = storage.open_artifact(tmp_path, "descriptors", {})
    keys = [f"s{s}" for s in range(60)]
    for s, key in enumerate(keys):
        write(artifact, key, [f"distractors/{s:03d}.tar/{i:09d}" for i in range(500)], s, dim=1)
    peaks = []
    for part in (keys[:20], keys, keys):
        tracemalloc.start()
        found = storage.DescriptorSet(artifact, part)
        assert sum(len(name) for name in found.ids) == 29 * len(found)
        storage.write_ranking(tmp_path / "ranking", Ranking((), found.ids, *no_results()))
        assert storage.read_ranking(tmp_path / "ranking").database_ids[-1] == found.ids[-1]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    held = 30_000 * (49 + 29 + 8)  # what a tuple of them takes
    assert max(peaks) < held / 4
    assert peaks[1] < 1.5 * peaks[0]


def no_results() -> tuple[Any, ...]:
    return np.empty((0, 1), np.int64), np.empty((0, 1), np.float32), np.empty(0, np.int64)
