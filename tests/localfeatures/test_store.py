from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ilion import storage
from ilion.errors import ArtifactError
from ilion.localfeatures.codecs import raw_codec
from ilion.localfeatures.store import INDEX, LocalSet, read_codec, write_codec, write_features
from ilion.runtime.machine import machine
from ilion.types import LocalFeatures

CODEC = raw_codec(8, "cosine", has_shape=True)


def features(number: int, seed: int) -> LocalFeatures:
    rng = np.random.default_rng(seed)
    return LocalFeatures(
        keypoints=rng.uniform(0, 100, (number, 2)).astype(np.float32),
        descriptors=rng.uniform(0, 1, (number, 8)).astype(np.float16).astype(np.float32),
        scores=rng.uniform(0, 1, number).astype(np.float32),
        image_size=(100 + seed, 200),
        scales=rng.uniform(1, 9, number).astype(np.float32),
        angles=rng.uniform(0, 6, number).astype(np.float32),
    )


def stats(images: int) -> storage.ShardStats:
    return storage.ShardStats(images, 0.5, 1 << 20, machine())


@pytest.fixture
def artifact(tmp_path: Path) -> storage.Artifact:
    artifact = storage.open_artifact(tmp_path, "local", {"spec": "s", "codec": CODEC.digest})
    write_codec(artifact.folder, CODEC)
    return artifact


def fill(artifact: storage.Artifact, key: str, counts: dict[str, int]) -> None:
    records = ((name, CODEC.encode(features(count, len(name)))) for name, count in counts.items())
    write_features(artifact, key, records, stats)


@pytest.fixture
def three(artifact: storage.Artifact) -> LocalSet:
    fill(artifact, "one", {"a": 3, "bb": 0, "ccc": 1})
    fill(artifact, "none", {})
    fill(artifact, "two", {"dddd": 5, "ü/eeee": 2})
    return LocalSet(artifact, ["one", "none", "two"])


def test_features_come_back_image_by_image(three: LocalSet) -> None:
    assert three.ids == ("a", "bb", "ccc", "dddd", "ü/eeee")
    assert len(three) == 5
    for row, (name, count) in enumerate(zip(three.ids, (3, 0, 1, 5, 2), strict=True)):
        found, given = three.features(row), features(count, len(name))
        np.testing.assert_array_equal(found.descriptors, given.descriptors)
        np.testing.assert_allclose(found.keypoints, given.keypoints, atol=0.01)
        assert found.image_size == (100 + len(name), 200)


def test_many_keeps_the_order_asked_for_and_repeats(three: LocalSet) -> None:
    rows = [4, 0, 3, 0, 1]
    found = three.many(rows)
    assert [len(f.scores) for f in found] == [2, 3, 5, 3, 0]
    assert three.many([]) == []
    assert [len(f.scores) for f in three.many(np.array(rows))] == [2, 3, 5, 3, 0]


def test_rows_of_ids(three: LocalSet) -> None:
    assert three.rows_of(["ü/eeee", "nobody", "a"]).tolist() == [4, -1, 0]
    assert three.row_of("dddd") == 3
    with pytest.raises(ArtifactError, match="no local features of 'nobody'"):
        three.row_of("nobody")


@pytest.mark.parametrize("row", [-1, 5])
def test_a_row_outside_is_an_error(three: LocalSet, row: int) -> None:
    with pytest.raises(ArtifactError, match=f"row {row} is outside its 5 images"):
        three.many([0, row])


def test_bytes_an_image_counts_records_and_index(three: LocalSet) -> None:
    records = sum(len(CODEC.encode(features(count, 1))) for count in (3, 0, 1, 5, 2))
    assert three.bytes_per_image == pytest.approx(records / 5 + INDEX.itemsize)
    on_disk = sum(path.stat().st_size for path in three.artifact.folder.glob("*.bin"))
    assert on_disk == records


def test_threads_share_a_set(artifact: storage.Artifact) -> None:
    fill(artifact, "s", {f"{i:03d}" + "x" * (i % 7): i % 11 for i in range(200)})
    shared = LocalSet(artifact, ["s"])
    expected = [len(f.scores) for f in shared.many(range(200))]
    rows = np.random.default_rng(0).integers(0, 200, (40, 50))
    with ThreadPoolExecutor(4) as pool:
        for asked, found in zip(rows, pool.map(shared.many, rows), strict=True):
            assert [len(f.scores) for f in found] == [expected[r] for r in asked]


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_flipped_bit_names_image_and_file(three: LocalSet, place: str) -> None:
    path = three.artifact.folder / "two.bin"
    data = bytearray(path.read_bytes())
    data[{"first": 0, "middle": len(data) // 2, "last": -1}[place]] ^= 16
    path.write_bytes(data)
    name = "ü/eeee" if place == "last" else "dddd"
    with pytest.raises(ArtifactError, match=f"two.bin: the features of '{name}' are damaged; delete .*two"):
        three.many([0, 1, 2, 3, 4])
    assert len(three.features(0).scores) == 3


def test_a_record_of_another_codec_names_image_and_file(artifact: storage.Artifact) -> None:
    write_features(artifact, "s", [("a", b"1234567")], stats)
    with pytest.raises(ArtifactError, match=r"s.bin: the features of 'a' are not of this codec: 7 bytes"):
        LocalSet(artifact, ["s"]).features(0)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("cut", "two.bin: 1 bytes instead of"),
        ("gone", "two.bin: cannot be read"),
        ("no index", "two.index.npy: there is no such file"),
        ("other index", "two.bin: its index does not fit its ids"),
        ("no ids", "two.ids.json: there is no such file"),
    ],
)
def test_a_damaged_shard_is_named_when_it_is_opened(three: LocalSet, damage: str, message: str) -> None:
    folder = three.artifact.folder
    if damage == "cut":
        (folder / "two.bin").write_bytes(b"1")
    elif damage == "gone":
        (folder / "two.bin").unlink()
    elif damage == "no index":
        (folder / "two.index.npy").unlink()
    elif damage == "other index":
        (folder / "two.index.npy").write_bytes((folder / "one.index.npy").read_bytes())
    else:
        (folder / "two.ids.json").unlink()
    with pytest.raises(ArtifactError, match=message):
        LocalSet(three.artifact, ["one", "none", "two"])


def test_a_file_that_vanishes_later_is_named(three: LocalSet) -> None:
    (three.artifact.folder / "two.bin").unlink()
    with pytest.raises(ArtifactError, match=r"two.bin: cannot be read"):
        three.features(4)


def test_an_id_in_two_shards_is_an_error(artifact: storage.Artifact) -> None:
    fill(artifact, "one", {"a": 1, "bb": 1})
    fill(artifact, "two", {"bb": 1})
    with pytest.raises(ArtifactError, match="id 'bb' occurs twice"):
        LocalSet(artifact, ["one", "two"])


def test_features_of_another_codec_never_mix(tmp_path: Path) -> None:
    artifact = storage.open_artifact(tmp_path, "local", {"codec": "another"})
    write_codec(artifact.folder, CODEC)
    with pytest.raises(ArtifactError, match="its codec is not the one its features were made with"):
        LocalSet(artifact, [])


def test_a_changed_codec_is_noticed(artifact: storage.Artifact) -> None:
    path = artifact.folder / "codec.json"
    head = json.loads(path.read_text())
    head["settings"]["layout"]["score"] = 0
    path.write_text(json.dumps(head))
    with pytest.raises(ArtifactError, match=r"codec.npz is not that of codec.json"):
        read_codec(artifact.folder)


def test_an_error_while_writing_leaves_nothing_that_counts(artifact: storage.Artifact) -> None:
    def failing() -> Iterator[tuple[str, bytes]]:
        yield "a", CODEC.encode(features(3, 1))
        raise ArtifactError("the third image is bad")

    with pytest.raises(ArtifactError, match="third"):
        write_features(artifact, "s", failing(), stats)
    assert not storage.has_descriptors(artifact, "s")
    assert not list(artifact.folder.glob("*s.bin*"))


KILLED = """
import os, sys
from pathlib import Path
from ilion import storage
from ilion.localfeatures.store import write_features
artifact = storage.load_artifact(Path(sys.argv[1]))
def records():
    for i in range(5000):
        if i == 3000:
            os.kill(os.getpid(), 9)
        yield f"{i}", bytes(100)
with storage.locked(artifact.folder):
    write_features(artifact, "s", records(), lambda n: None)
"""


@pytest.mark.slow
def test_a_kill_while_writing_leaves_the_old_state_and_is_swept_up(artifact: storage.Artifact) -> None:
    fill(artifact, "one", {"a": 3})
    before = {p.name: p.read_bytes() for p in artifact.folder.iterdir() if not p.name.startswith(".")}
    done = subprocess.run([sys.executable, "-c", KILLED, str(artifact.folder)], env=os.environ, check=False)
    assert done.returncode == -9
    assert list(artifact.folder.glob(".*.tmp")), "the test must kill in the middle"
    after = {p.name: p.read_bytes() for p in artifact.folder.iterdir() if not p.name.startswith(".")}
    assert after == before
    assert not storage.has_descriptors(artifact, "s")
    with storage.locked(artifact.folder):
        assert not list(artifact.folder.glob(".*.tmp"))
