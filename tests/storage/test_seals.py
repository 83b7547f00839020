"""Bits that turn, files that are cut or gone: a sentence that names the file, and then it is made again."""

from __future__ import annotations

import ast
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from time import sleep

import numpy as np
import pytest
from numpy.typing import NDArray

from ilion import storage
from ilion.errors import ArtifactError
from ilion.runtime.machine import machine
from ilion.storage import seals
from ilion.types import Descriptors, Ranking

ARRAYS = (
    np.arange(12, dtype=np.float16).reshape(3, 4),
    np.empty((0, 5), np.float32),
    np.array(7),
    np.array([[True, False]]),
    np.zeros(3, [("start", "<u8"), ("checksum", "<u4")]),
    np.array(["a", "b\u00fc"]),
    np.asfortranarray(np.arange(6).reshape(2, 3)),
    np.zeros((2,) * 20, np.uint8),
)


def _shard(folder: Path) -> storage.Artifact:
    artifact = storage.open_artifact(folder, "descriptors", {"model": "m"})
    values = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float16)
    stats = storage.ShardStats(4, 0.5, 1, machine())
    storage.write_descriptors(artifact, "s", Descriptors(("a", "b", "c", "d"), values), stats)
    return artifact


def _look(artifact: storage.Artifact, way: str) -> None:
    if way == "read":
        storage.read_descriptors(artifact, "s")
    elif way == "blocks":
        list(storage.DescriptorSet(artifact, ["s"]).blocks(2))
    elif way.startswith("stored"):
        given = storage.DescriptorSet(artifact, ["s"])
        given.peek(np.array([1]))  # says nothing yet
        for number, _ in enumerate(given.stored_blocks(int(way[-1])), start=1):
            assert number * int(way[-1]) < len(given), "the last block was given"
    else:
        storage.DescriptorSet(artifact, ["s"]).gather(np.array([1]))


def _flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}"[:40])
def test_sealed_arrays_are_plain_arrays_to_everybody(tmp_path: Path, array: NDArray[np.generic]) -> None:
    path = tmp_path / "a.npy"
    storage.write_array(path, array)
    assert b" # xxh3:" in path.read_bytes()
    for found in (np.load(path), storage.read_array(path), storage.read_array(path, mapped=array.size > 0)):
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


def test_a_turned_bit_anywhere_in_the_values_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    storage.write_array(path, ARRAYS[0])
    whole = path.read_bytes()
    for place in range(len(whole) - ARRAYS[0].nbytes, len(whole)):
        path.write_bytes(whole)
        _flip(path, place)
        with pytest.raises(ArtifactError, match=r"a\.npy: damaged .*delete it and run again"):
            storage.read_array(path, mapped=place % 2 == 0)


def test_a_turned_bit_in_the_header_is_found_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    storage.write_array(path, ARRAYS[0])
    whole = path.read_bytes()
    for place in range(len(whole) - ARRAYS[0].nbytes):
        path.write_bytes(whole)
        _flip(path, place)
        try:
            found = storage.read_array(path)
        except ArtifactError:
            continue
        np.testing.assert_array_equal(found, ARRAYS[0])


def test_large_arrays_are_hashed_in_stretches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npy"
    storage.write_array(path, np.arange(1000))
    monkeypatch.setattr(seals, "CHUNK", 64)
    storage.read_array(path, mapped=True)


def test_files_of_earlier_versions_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ARRAYS[0])
    np.testing.assert_array_equal(storage.read_array(tmp_path / "a.npy"), ARRAYS[0])
    artifact = _shard(tmp_path)
    np.save(artifact.folder / "s.npy", np.ones((4, 8), np.float16))
    head = {"ids": ["a", "b", "c", "d"], "shape": [4, 8]}
    storage.write_json(artifact.folder / "s.ids.json", head)
    assert storage.has_descriptors(artifact, "s")
    assert storage.DescriptorSet(artifact, ["s"]).ids == ("a", "b", "c", "d")
    path = artifact.folder / "s.npy"
    path.write_bytes(path.read_bytes()[:-1])
    assert not storage.has_descriptors(artifact, "s")
    path.unlink()
    assert not storage.has_descriptors(artifact, "s")


@pytest.mark.parametrize(
    "way",
    ["blocks", "gather", "read", "stored in blocks of 1", "stored in blocks of 3", "stored in blocks of 9"],
)
def test_a_turned_bit_in_a_shard_is_found_before_its_values_are_used(tmp_path: Path, way: str) -> None:
    artifact = _shard(tmp_path)
    _flip(artifact.folder / "s.npy", -3)
    with pytest.raises(ArtifactError, match=r"s\.npy: damaged"):
        _look(artifact, way)


def test_a_turned_bit_in_the_ids_is_found(tmp_path: Path) -> None:
    artifact = _shard(tmp_path)
    path = artifact.folder / "s.ids.json"
    path.write_bytes(path.read_bytes().replace(b'"a"', b'"q"'))
    with pytest.raises(ArtifactError, match=r"s\.ids\.json: damaged"):
        storage.read_descriptors(artifact, "s")
    with pytest.raises(ArtifactError, match=r"s\.ids\.json: damaged"):
        storage.DescriptorSet(artifact, ["s"])


@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "longer"])
def test_a_shard_whose_values_do_not_fit_is_not_finished(tmp_path: Path, damage: str) -> None:
    artifact = _shard(tmp_path)
    assert storage.has_descriptors(artifact, "s")
    path = artifact.folder / "s.npy"
    data = path.read_bytes()
    path.write_bytes({"cut": data[:-3], "longer": data + b"0"}.get(damage, b""))
    if damage == "gone":
        path.unlink()
    assert not storage.has_descriptors(artifact, "s")
    _shard(tmp_path)
    assert storage.has_descriptors(artifact, "s")
    assert path.read_bytes() == data


def test_a_shard_whose_costs_are_gone_is_made_again(tmp_path: Path) -> None:
    artifact = _shard(tmp_path)
    path = artifact.folder / "s.stats.json"
    head = (artifact.folder / "s.ids.json").read_bytes()
    path.write_bytes(path.read_bytes() + b" ")  # it took longer
    assert storage.has_descriptors(artifact, "s")
    path.unlink()
    assert not storage.has_descriptors(artifact, "s")
    _shard(tmp_path)
    assert storage.has_descriptors(artifact, "s")
    assert (artifact.folder / "s.ids.json").read_bytes() == head


def test_half_a_character_survives_in_json(tmp_path: Path) -> None:
    storage.write_json(tmp_path / "a.json", {"name": "\ud800 é"})
    assert storage.read_json(tmp_path / "a.json") == {"name": "\ud800 é"}


def test_a_ranking_is_sealed(tmp_path: Path) -> None:
    ranking = Ranking(
        ("q",), ("a", "b"), np.array([[1, 0]]), np.array([[0.5, 0.25]], np.float32), np.array([2])
    )
    storage.write_ranking(tmp_path, ranking)
    assert storage.is_finished(tmp_path / "ranking.json")
    _flip(tmp_path / "similarities.npy", -1)
    with pytest.raises(ArtifactError, match=r"similarities\.npy: damaged"):
        storage.read_ranking(tmp_path)
    (tmp_path / "similarities.npy").unlink()
    assert not storage.is_finished(tmp_path / "ranking.json")


def test_named_arrays_have_checksums_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    storage.write_arrays(path, {"a": ARRAYS[0]})
    _flip(path, path.read_bytes().index(ARRAYS[0].tobytes()))
    with pytest.raises(ArtifactError, match=r"a\.npz: damaged"):
        storage.read_arrays(path)


def test_a_head_with_very_many_files_is_read_whole(tmp_path: Path) -> None:
    files = [tmp_path / f"{number:060d}" for number in range(1200)]
    for file in files:
        file.touch()
    storage.write_head(tmp_path / "head.json", {"a": 1}, files)
    assert storage.is_finished(tmp_path / "head.json")
    assert storage.read_json(tmp_path / "head.json") == {"a": 1}
    assert json.loads((tmp_path / "head.json").read_bytes())["files"][files[0].name] == 0
    files[-1].unlink()
    assert not storage.is_finished(tmp_path / "head.json")


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 3), np.int64),
        np.zeros((2, 3), "<U3"),
        np.zeros(6, np.float32),
        np.zeros((1, 2, 3), np.float32),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
@pytest.mark.parametrize("mapped", [False, True])
def test_arrays_without_a_checksum_are_looked_at_too(
    tmp_path: Path, array: NDArray[np.generic], mapped: bool
) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ArtifactError, match=r"a\.npy: damaged \(.*delete it and run again"):
        storage.read_array(tmp_path / "a.npy", ("f", 2), mapped=mapped)
    np.savez(tmp_path / "a.npz", values=array, more=array)
    with pytest.raises(ArtifactError, match=r"a\.npz: values: damaged \(.*delete it and run again"):
        storage.read_arrays(tmp_path / "a.npz", {"values": ("f", 2)})
    with pytest.raises(ArtifactError, match=r"a\.npz: damaged \(lacks counts, rows\)"):
        storage.read_arrays(tmp_path / "a.npz", {"rows": ("i", 1), "counts": ("i", 1)})


@pytest.mark.parametrize("name", ["indices", "similarities", "counts"])
def test_a_ranking_of_other_numbers_is_refused(tmp_path: Path, name: str) -> None:
    ranking = Ranking.from_dict({"q": {"a": 0.5, "b": 0.25}})
    storage.write_ranking(tmp_path, ranking)
    array = getattr(ranking, name)
    np.save(tmp_path / f"{name}.npy", array.astype(np.float32 if array.dtype.kind == "i" else np.int64))
    with pytest.raises(ArtifactError, match=rf"{name}\.npy: damaged .*delete it and run again"):
        storage.read_ranking(tmp_path)


def test_headers_are_parsed_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that parse by `ast` at once end in a SystemError in some versions of Python."""
    storage.write_array(tmp_path / "a.npy", np.zeros(3))
    storage.write_arrays(tmp_path / "a.npz", {"a": np.zeros(3)})
    np.save(tmp_path / "old.npy", np.zeros(3))
    (tmp_path / "old.ids.json").write_text('{"ids": ["a", "b", "c"], "shape": [3]}')
    parse, busy, together = ast.literal_eval, Lock(), []

    def watched(text: str) -> object:
        if not busy.acquire(blocking=False):
            together.append(text)
            return parse(text)
        try:
            return parse(text)
        finally:
            sleep(0.001)
            busy.release()

    def look(number: int) -> None:
        if number % 3 == 0:
            storage.read_array(tmp_path / "a.npy", mapped=number % 2 == 0)
        elif number % 3 == 1:
            storage.read_arrays(tmp_path / "a.npz")
        else:
            assert storage.is_finished(tmp_path / "old.ids.json")

    monkeypatch.setattr(ast, "literal_eval", watched)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(look, range(60)))
    assert not together
