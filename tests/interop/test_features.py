from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilion.errors import ArtifactError
from ilion.interop.features import (
    check_lengths,
    find_features,
    find_gaps,
    normalise_rows,
    open_features,
    write_features,
)
from ilion.types import Descriptors

IDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


def _block(count: int = 5, dim: int = 4, seed: int = 0, dtype: str = "float16") -> Descriptors:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count, dim))
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return Descriptors(tuple(f"s{seed}/{i}.jpg" for i in range(count)), values.astype(dtype))


def _raw(path: Path, features: object, index: object) -> Path:
    """A file as another program writes it."""
    with h5py.File(path, "w") as file:
        file["features"] = features
        file["index"] = index
    return path


@pytest.mark.slow
@given(st.data())
def test_a_round_trip_loses_nothing(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    ids = data.draw(st.lists(IDS, min_size=1, max_size=9, unique=True))
    # every bit pattern of float16 that is a finite number, also zeros of both signs and subnormals
    bits = st.integers(0, 2**16 - 1).filter(lambda b: b & 0x7C00 != 0x7C00)
    size = 3 * len(ids)
    values = np.array(data.draw(st.lists(bits, min_size=size, max_size=size)), np.uint16).view(np.float16)
    block = Descriptors(tuple(ids), values.reshape(-1, 3))
    path = tmp_path_factory.mktemp("h5") / "features_positives.hdf5"
    step = data.draw(st.integers(1, 10))
    parts = [
        Descriptors(block.ids[i : i + step], block.values[i : i + step]) for i in range(0, len(ids), step)
    ]
    assert write_features(path, parts) == len(ids)
    found = list(open_features(path).blocks(size=data.draw(st.integers(1, 10))))
    assert [i for part in found for i in part.ids] == ids
    assert np.concatenate([part.values for part in found]).tobytes() == block.values.tobytes()
    with h5py.File(path) as file:
        assert file["features"].dtype == np.float16
        assert all(i.decode().isascii() for i in file["index"])
    first = path.read_bytes()
    write_features(path, parts)
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    "index",
    [
        np.array(["a", "caf#U00e9"], object),
        np.array([b"a", b"caf#U00e9"], "S12"),
        np.array(["a", "café"], object),
        np.array([b"a", "café".encode()], object),
    ],
)
def test_indexes_as_others_write_them(tmp_path: Path, index: np.ndarray) -> None:
    path = _raw(tmp_path / "features_text_queries.hdf5", np.eye(2, dtype=np.float16), index)
    assert next(open_features(path).blocks()).ids == ("a", "café")


def test_rows_are_read_from_anywhere(tmp_path: Path) -> None:
    block = _block(10)
    path = tmp_path / "features_positives.hdf5"
    write_features(path, [block])
    parts = list(open_features(path).blocks(3, 8, 2))
    assert [len(p.ids) for p in parts] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate([p.values for p in parts]), block.values[3:8])


def test_precision_is_that_of_the_benchmark_or_what_is_stored(tmp_path: Path) -> None:
    block = _block(dtype="float32")
    path = tmp_path / "features_positives.hdf5"
    write_features(path, [block])
    assert open_features(path).dtype == "float16"
    write_features(path, [block], dtype=None)
    assert next(open_features(path).blocks()).values.tobytes() == block.values.tobytes()


def test_files_are_found_in_order(tmp_path: Path) -> None:
    names = ["distractors_00010", "uned", "positives", "distractors_00009", "image_queries", "text_queries"]
    for number, name in enumerate(names):
        write_features(tmp_path / f"features_{name}.hdf5", [_block(seed=number)])
    (tmp_path / "notes.txt").write_text("x")
    found = find_features([tmp_path])
    assert [f.path.stem.removeprefix("features_") for f in found] == [
        "image_queries", "text_queries", "positives", "distractors_00009", "distractors_00010", "uned"
    ]  # fmt: skip
    assert find_gaps(found) == []
    with pytest.raises(ArtifactError, match="are both"):
        find_features([tmp_path, tmp_path / "features_uned.hdf5"])
    write_features(tmp_path / "features_uned.hdf5", [_block(dim=5)])
    with pytest.raises(ArtifactError, match="5 dimensions"):
        find_features([tmp_path])


@pytest.mark.parametrize(
    ("features", "index", "message"),
    [
        (np.ones((2, 3)), ["a", "b"], r"\(2, 3\) float64; it must be"),
        (np.ones(6, np.float16), ["a"], "it must be"),
        (np.ones((2, 0), np.float16), ["a", "b"], "it must be"),
        (np.ones((2, 3), np.float16), ["a"], "was cut off"),
        (np.ones((2, 3), np.float16), [1, 2], "not strings"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path: Path, features: object, index: object, message: str) -> None:
    path = _raw(tmp_path / "features_positives.hdf5", features, index)
    with pytest.raises(ArtifactError, match=message):
        open_features(path)


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "features_positives.hdf5"
    with pytest.raises(ArtifactError, match="no such file"):
        open_features(path)
    with pytest.raises(ArtifactError, match="holds no file named"):
        find_features([tmp_path])
    path.write_bytes(b"not HDF5")
    with pytest.raises(ArtifactError, match="no readable HDF5"):
        open_features(path)
    with h5py.File(path, "w") as file:
        file["features"] = np.ones((1, 2), np.float16)
        file.create_group("index")
    with pytest.raises(ArtifactError, match=r"no dataset 'index' \(it has features, index\)"):
        open_features(path)
    write_features(path, [_block(20_000, 8)])
    data = path.read_bytes()
    for length in (len(data) // 2, len(data) - 500, 100):
        path.write_bytes(data[:length])
        with pytest.raises(ArtifactError, match=r"no readable HDF5|damaged"):
            list(open_features(path).blocks())
    with pytest.raises(ArtifactError, match="the name does not say"):
        open_features(path.rename(tmp_path / "x.hdf5"))
    path.write_bytes(b"")


def test_rows_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    values = np.eye(3, dtype=np.float16)
    values[1, 1] = np.nan
    path = _raw(tmp_path / "features_positives.hdf5", values, ["a", "b", "c"])
    with pytest.raises(ArtifactError, match=r"of 'b' .* has NaN"):
        list(open_features(path).blocks())
    path = _raw(path, np.eye(2, dtype=np.float16), np.array([b"a", b"\xff\xfe"], "S4"))
    with pytest.raises(ArtifactError, match="not UTF-8"):
        list(open_features(path).blocks())
    with pytest.raises(ArtifactError, match="'b' has length 2 and not 1"):
        check_lengths(path, Descriptors(("a", "b"), np.array([[1, 0], [0, 2]], np.float16)))
    check_lengths(path, _block(100, 512))
    with pytest.raises(ArtifactError, match="'a' is all zeros"):
        normalise_rows(path, Descriptors(("a",), np.zeros((1, 2), np.float16)))


def test_what_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "features_positives.hdf5"
    with pytest.raises(ArtifactError, match="control character"):
        write_features(path, [Descriptors(("a\0b",), np.ones((1, 2), np.float16))])
    with pytest.raises(ArtifactError, match="nothing to write"):
        write_features(path, [])
    with pytest.raises(ArtifactError, match="has 5 dimensions, those before 4"):
        write_features(path, [_block(), _block(dim=5, seed=1)])
    with pytest.raises(ArtifactError, match="NaN or infinity"):
        write_features(path, [Descriptors(("a",), np.full((1, 2), 1e6, np.float32))])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    [
        "features_distractors.hdf5",
        "features_distractors_00000.HDF5",
        "Features_positives.hdf5",
        "features-positives.h5",
        "features_positives.hdf",
        "features_positive.hdf5",
        "features_distractors_00000.hdf5.part",
    ],
)
def test_files_that_are_nearly_named_right_are_not_passed_over(tmp_path: Path, name: str) -> None:
    write_features(tmp_path / "features_positives.hdf5", [_block()])
    (tmp_path / "notes.md").touch()
    assert len(find_features([tmp_path])) == 1
    write_features(tmp_path / name, [_block(seed=1)])
    with pytest.raises(ArtifactError, match="seems to be a feature file"):
        find_features([tmp_path])


def test_feature_files_in_a_folder_below_are_not_passed_over(tmp_path: Path) -> None:
    write_features(tmp_path / "features_positives.hdf5", [_block()])
    (tmp_path / "more").mkdir()
    assert len(find_features([tmp_path])) == 1
    write_features(tmp_path / "more" / "features_distractors_00000.hdf5", [_block(seed=1)])
    with pytest.raises(ArtifactError, match="more: holds feature files"):
        find_features([tmp_path])


def test_other_files_in_a_folder_are_noted(tmp_path: Path) -> None:
    write_features(tmp_path / "features_positives.hdf5", [_block()])
    (tmp_path / "notes.md").touch()
    notes: list[str] = []
    find_features([tmp_path], notes)
    assert notes == [f"{tmp_path.name}: 1 other file or folder was not read (notes.md)"]


@pytest.mark.parametrize("way", ["external link", "soft link", "external storage", "virtual"])
@pytest.mark.parametrize("name", ["features", "index"])
def test_values_in_other_files_are_refused(tmp_path: Path, way: str, name: str) -> None:
    block = _block(dtype="float32")
    secret = _raw(tmp_path / "secret.hdf5", block.values, list(block.ids))
    path = _raw(tmp_path / "features_positives.hdf5", block.values, list(block.ids))
    (tmp_path / "raw.bin").write_bytes(bytes(4096))
    with h5py.File(path, "a") as file:
        shape, dtype = file[name].shape, file[name].dtype
        del file[name]
        if way == "external link":
            file[name] = h5py.ExternalLink(str(secret), name)
        elif way == "soft link":
            file["elsewhere"] = np.ones(3)
            file[name] = h5py.SoftLink("/elsewhere")
        elif way == "virtual":
            layout = h5py.VirtualLayout(shape, dtype)
            layout[:] = h5py.VirtualSource(str(secret), name, shape)
            file.create_virtual_dataset(name, layout)
        else:
            kind = dtype if name == "features" else "S8"
            file.create_dataset(name, shape, kind, external=[(str(tmp_path / "raw.bin"), 0, 4096)])
    with pytest.raises(ArtifactError, match=r"another place or file|lie in other files"):
        open_features(path)


@pytest.mark.parametrize(
    ("shape", "chunks", "ids"),
    [
        ((3, 10**9), (1, 2**20), "vlen"),
        ((70_000, 30_000), (65_536, 30_000), "vlen"),
        ((3, 4), (1, 4), "S1000000000"),
    ],
)
def test_what_was_never_written_is_not_made(
    shape: tuple[int, int], chunks: tuple[int, int], ids: str, tmp_path: Path
) -> None:
    """Two kilobytes can state any number of values, which took a minute and gigabytes."""
    path = tmp_path / "features_positives.hdf5"
    kind = h5py.string_dtype() if ids == "vlen" else ids
    with h5py.File(path, "w") as file:
        file.create_dataset("features", shape, np.float16, chunks=chunks, compression="gzip")
        file.create_dataset("index", (shape[0],), kind, chunks=(1,), compression="gzip")
        if ids != "vlen":
            file["features"][:] = 1
    with pytest.raises(ArtifactError, match="never written"):
        open_features(path)


@pytest.mark.parametrize("most", [100, 3000, 50_000, 159_014, 200_000, 227_000])
def test_a_full_disk_is_a_sentence_and_not_a_crash(tmp_path: Path, most: int) -> None:
    code = (
        "import resource, sys\nimport numpy as np\n"
        "from ilion.errors import ArtifactError\nfrom ilion.interop.features import write_features\n"
        "from ilion.types import Descriptors\nfrom pathlib import Path\n"
        "ids = [tuple(f'{b}/{i}' for i in range(500)) for b in range(4)]\n"
        "blocks = [Descriptors(each, np.ones((500, 24), np.float32)) for each in ids]\n"
        "most = int(sys.argv[2])\nresource.setrlimit(resource.RLIMIT_FSIZE, (most, most))\n"
        "try: write_features(Path(sys.argv[1]), blocks, None)\nexcept ArtifactError as error: print(error)\n"
    )
    path = tmp_path / "features_positives.hdf5"
    command = [sys.executable, "-c", code, str(path), str(most)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert "features_positives.hdf5: cannot be written (File too large)" in done.stdout
    assert not list(tmp_path.iterdir())
