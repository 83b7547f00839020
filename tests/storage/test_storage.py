from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from ilion import storage
from ilion.errors import ArtifactError
from ilion.outcome import Skipped
from ilion.runtime.machine import machine
from ilion.storage import ids as idlist
from ilion.types import Descriptors, Ranking


def stats() -> storage.ShardStats:
    return storage.ShardStats(2, 0.5, 1 << 20, machine(), (Skipped("x.jpg", "/x.jpg", "empty"),))


def descriptors(*ids: str, dim: int = 3) -> Descriptors:
    rng = np.random.default_rng(len(ids))
    return Descriptors(ids, rng.standard_normal((len(ids), dim)).astype(np.float16))


def test_the_fingerprint_follows_values_not_order_of_keys() -> None:
    assert storage.fingerprint({"a": 1, "b": [1, 2]}) == storage.fingerprint({"b": [1, 2], "a": 1})
    assert storage.fingerprint({"a": 1}) != storage.fingerprint({"a": 2})
    assert storage.fingerprint([1, 2]) != storage.fingerprint([2, 1])


def test_descriptors_round_trip(tmp_path: Path) -> None:
    artifact = storage.open_artifact(tmp_path, "descriptors", {"model": "m"})
    given = descriptors("a/1.jpg", "ü/2.jpg")
    assert not storage.has_descriptors(artifact, "s")
    storage.write_descriptors(artifact, "s", given, stats())
    read = storage.read_descriptors(artifact, "s")
    assert read.ids == given.ids
    np.testing.assert_array_equal(read.values, given.values)
    assert storage.read_stats(artifact, "s") == stats()


def test_an_empty_shard_is_a_shard(tmp_path: Path) -> None:
    artifact = storage.open_artifact(tmp_path, "descriptors", {})
    storage.write_descriptors(artifact, "none", Descriptors((), np.empty((0, 3), np.float16)), stats())
    storage.write_descriptors(artifact, "some", descriptors("a", "b"), stats())
    database = storage.DescriptorSet(artifact, ["none", "some"])
    assert database.ids == ("a", "b")
    assert [len(block) for block in database.blocks(10)] == [2]


def test_the_same_inputs_open_the_same_artifact_and_others_another(tmp_path: Path) -> None:
    one = storage.open_artifact(tmp_path, "descriptors", {"side": 384})
    assert storage.open_artifact(tmp_path, "descriptors", {"side": 384}).folder == one.folder
    assert storage.open_artifact(tmp_path, "descriptors", {"side": 512}).folder != one.folder
    assert storage.load_artifact(one.folder, "descriptors") == one


def test_a_changed_manifest_is_refused(tmp_path: Path) -> None:
    artifact = storage.open_artifact(tmp_path, "descriptors", {"side": 384})
    manifest = json.loads((artifact.folder / "manifest.json").read_text())
    manifest["inputs"]["side"] = 512
    (artifact.folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="changed by hand"):
        storage.open_artifact(tmp_path, "descriptors", {"side": 384})
    manifest["format"] = 99
    (artifact.folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="format 99"):
        storage.load_artifact(artifact.folder)
    with pytest.raises(ArtifactError, match="holds queries, not descriptors"):
        storage.load_artifact(storage.open_artifact(tmp_path, "queries", {}).folder, "descriptors")


@pytest.mark.parametrize("damage", ["cut", "empty", "pickle", "gone"])
def test_damaged_arrays_are_named(tmp_path: Path, damage: str) -> None:
    artifact = storage.open_artifact(tmp_path, "descriptors", {})
    storage.write_descriptors(artifact, "s", descriptors("a", "b"), stats())
    path = artifact.folder / "s.npy"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-3])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "pickle":
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    else:
        path.unlink()
    with pytest.raises(ArtifactError, match=r"s\.npy"):
        storage.read_descriptors(artifact, "s")


def test_damaged_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ArtifactError, match="damaged"):
        storage.read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ArtifactError, match="damaged"):
        storage.read_json(tmp_path / "x.json")


def test_subset_gather_and_blocks_agree(tmp_path: Path) -> None:
    artifact = storage.open_artifact(tmp_path, "descriptors", {})
    first, second = descriptors("a", "b", "c"), descriptors("d", "e")
    storage.write_descriptors(artifact, "1", first, stats())
    storage.write_descriptors(artifact, "2", second, stats())
    everything = np.concatenate([first.values, second.values]).astype(np.float32)
    whole = storage.DescriptorSet(artifact, ["1", "2"])
    np.testing.assert_array_equal(np.concatenate(list(whole.blocks(2))), everything)
    rows = np.array([4, 0, 3, 0])
    np.testing.assert_array_equal(whole.gather(rows), everything[rows])
    part = storage.DescriptorSet(artifact, ["1", "2"], ids=["e", "b", "a"])
    assert part.ids == ("a", "b", "e")
    np.testing.assert_array_equal(np.concatenate(list(part.blocks(9))), everything[[0, 1, 4]])
    np.testing.assert_array_equal(part.gather(np.array([2, 1])), everything[[4, 1]])


def test_ids_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    artifact = storage.open_artifact(tmp_path, "descriptors", {})
    storage.write_descriptors(artifact, "1", descriptors("a", "b"), stats())
    storage.write_descriptors(artifact, "2", descriptors("b"), stats())
    storage.write_descriptors(artifact, "3", descriptors("c", dim=4), stats())
    with pytest.raises(ArtifactError, match="'b' occurs twice"):
        storage.DescriptorSet(artifact, ["1", "2"])
    with pytest.raises(ArtifactError, match="different dimensions"):
        storage.DescriptorSet(artifact, ["1", "3"])
    with pytest.raises(ArtifactError, match="such as 'zz'"):
        storage.DescriptorSet(artifact, ["1"], ids=["a", "zz"])


def test_ranking_round_trip(tmp_path: Path) -> None:
    ranking = Ranking(
        ("q",),
        ("a", "b", "c"),
        np.array([[2, 0, -1]]),
        np.array([[0.5, 0.1, -np.inf]], np.float32),
        np.array([2]),
    )
    storage.write_ranking(tmp_path, ranking)
    read = storage.read_ranking(tmp_path)
    assert (read.query_ids, read.database_ids) == (ranking.query_ids, ranking.database_ids)
    np.testing.assert_array_equal(read.indices, ranking.indices)
    np.testing.assert_array_equal(read.similarities, ranking.similarities)


def test_ids_of_a_large_ranking_are_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idlist, "IN_MEMORY", 3)
    ids = ("a/1", "ü/2", "c", "d")
    rows, similarities = np.array([[3, 0]]), np.array([[0.5, 0.1]], np.float32)
    storage.write_ranking(tmp_path / "1", Ranking(("q",), ids, rows, similarities, np.array([2])))
    assert '"c"' not in (tmp_path / "1" / "ranking.json").read_text()
    read = storage.read_ranking(tmp_path / "1")
    assert read.database_ids == ids
    assert read.database_ids[rows[0, 0]] == "d"
    storage.write_ranking(tmp_path / "2", read)  # where a run keeps its own
    assert storage.read_ranking(tmp_path / "2").database_ids == ids
    assert (tmp_path / "1" / "database.text").samefile(tmp_path / "2" / "database.text")
    # a small one in its place leaves nothing behind, and the other stays
    storage.write_ranking(
        tmp_path / "1", Ranking(("q",), ids[:3], np.array([[2]]), similarities[:, :1], np.array([1]))
    )
    assert storage.read_ranking(tmp_path / "1").database_ids == ids[:3]
    assert not list((tmp_path / "1").glob("database.*"))
    assert storage.read_ranking(tmp_path / "2").database_ids == ids
    idlist.save_ids(tmp_path / "2", "database", ids[:2])
    with pytest.raises(ArtifactError, match="list of ids is that of another ranking"):
        storage.read_ranking(tmp_path / "2")


def test_the_fingerprint_of_ids_is_that_of_their_list() -> None:
    for ids in ([], ["a"], ["ü", 'quote"', "line\n", "a"]):
        assert (
            storage.fingerprint_of_ids(iter(ids))
            == storage.fingerprint(ids)
            == storage.fingerprint(tuple(ids))
        )


def test_equal_arrays_give_equal_bytes(tmp_path: Path) -> None:
    arrays = {"b": np.arange(3), "a": np.eye(2)}
    storage.write_arrays(tmp_path / "1.npz", arrays)
    storage.write_arrays(tmp_path / "2.npz", dict(reversed(arrays.items())))
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()
    np.testing.assert_array_equal(storage.read_arrays(tmp_path / "1.npz")["a"], np.eye(2))
    (tmp_path / "1.npz").write_bytes((tmp_path / "1.npz").read_bytes()[:50])
    with pytest.raises(ArtifactError, match="damaged"):
        storage.read_arrays(tmp_path / "1.npz")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    storage.write_json(path, {"old": 1})

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match="No space left on device"):
        storage.write_json(path, {"new": 1})
    assert storage.read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.slow
def test_only_one_process_writes(tmp_path: Path) -> None:
    code = f"import pathlib, ilion.storage\nwith ilion.storage.locked(pathlib.Path({str(tmp_path)!r})): pass"
    with storage.locked(tmp_path):
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "another process is writing" in other.stderr
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_process_can_wait_for_another_one(tmp_path: Path) -> None:
    done = []

    def write() -> None:
        with storage.locked(tmp_path, wait=True):
            done.append("second")

    with storage.locked(tmp_path):
        thread = threading.Thread(target=write)
        thread.start()
        thread.join(0.2)
        done.append("first")
    thread.join()
    assert done == ["first", "second"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="cannot be written"), storage.locked(tmp_path / "file" / "run"):
        pass


def test_json_that_is_nested_too_deeply_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[" * 200_000)
    with pytest.raises(ArtifactError, match="nested too deeply"):
        storage.read_json(tmp_path / "x.json")


def test_a_manifest_that_is_being_written_is_left_to_its_writer(tmp_path: Path) -> None:
    """It is written before the folder is locked: two runs that start together met here."""
    fresh, old, other = (
        tmp_path / f".{name}.tmp" for name in ("manifest.json.1", "manifest.json.2", "a.npy.3")
    )
    for path in (fresh, old, other):
        path.write_bytes(b"half")
    os.utime(old, (1e9, 1e9))
    with storage.locked(tmp_path):
        assert fresh.exists()
        assert not old.exists()
        assert not other.exists()


def test_few_bytes_do_not_become_many_values(tmp_path: Path) -> None:
    with (tmp_path / "a.npz").open("wb") as file:
        np.savez_compressed(file, weight=np.zeros((1200, 1200), np.float32))
    with pytest.raises(ArtifactError, match="would unpack to 57601"):
        storage.read_arrays(tmp_path / "a.npz")
