"""A pipe, a device or an endless file where a file should be: named, and never waited for."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.bad_images import BUSY, encode

from ilion.adapt.labels import load_labels
from ilion.config.plain import load_toml
from ilion.datasets import check_dataset, open_dataset
from ilion.datasets.ids import read_ids
from ilion.datasets.tars import index_tar
from ilion.errors import IlionError
from ilion.interop.features import open_features
from ilion.interop.results import read_results
from ilion.storage.files import read_array, read_arrays, read_json
from ilion.storage.statedict import read_state_dict


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError("waited for a pipe")

    old = signal.signal(signal.SIGALRM, stop)
    signal.alarm(5)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)


def plain_set(root: Path) -> Path:
    """Write a small sound data set in the plain form."""
    for number, name in enumerate(("query/q", "positive/p", "positive/r")):
        path = root / "objects" / "mug" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(np.rot90(BUSY, number).copy(), "PNG"))
    (root / "distractors").mkdir()
    return root


def ilias_set(root: Path) -> Path:
    """Write a small sound data set in the layout of the benchmark."""
    for number, name in enumerate(("query/Q0", "pos/P0")):
        path = root / "ilias_core" / "mug" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(np.rot90(BUSY, number).copy(), "PNG"))
    (root / "distractors").mkdir()
    return root


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (plain_set, "distractors/x.jpg"),
        (plain_set, "distractors/x.tar"),
        (plain_set, "objects/mug/positive/x.jpg"),
        (plain_set, "objects.csv"),
        (plain_set, "photos.csv"),
        (ilias_set, "ilias_core/mug/query/T0.txt"),
        (ilias_set, "ilias_core/mug/pos/P0_bbox.txt"),
        (ilias_set, "taxonomy.json"),
        (ilias_set, "image_ids/positive_ids.txt"),
    ],
)
def test_a_pipe_in_a_data_set_is_named_and_not_opened(
    tmp_path: Path, make: Callable[[Path], Path], name: str
) -> None:
    root = make(tmp_path / "set")
    (root / name).parent.mkdir(exist_ok=True)
    os.mkfifo(root / name)
    found = check_dataset(root)
    assert any(p.file == name and "is a pipe (FIFO), not a file" in p.message for p in found.problems)
    assert not found.ok
    with pytest.raises(IlionError, match=r"is a pipe \(FIFO\), not a file"):
        open_dataset(root)


@pytest.mark.parametrize("encoding", ["cp932", "euc_jp", "utf-16", "utf-8-sig"])
def test_a_table_in_a_japanese_code_page_is_read_and_that_is_said(tmp_path: Path, encoding: str) -> None:
    root = plain_set(tmp_path / "set")
    (root / "objects.csv").write_bytes("object,description\nmug,赤いマグカップ\n".encode(encoding))
    dataset = open_dataset(root)
    assert [query.text for query in dataset.queries if query.text] == ["赤いマグカップ"]
    said = any(f"objects.csv: is not UTF-8 and was read as {encoding}" in note for note in dataset.notes)
    assert said == (encoding in ("cp932", "euc_jp"))


READERS: dict[str, Callable[[Path], Any]] = {
    "id file": lambda path: list(read_ids(path)),
    "tar": index_tar,
    "labels": load_labels,
    "toml": load_toml,
    "results": read_results,
    "features": lambda path: open_features(path, "positives"),
    "state dict": read_state_dict,
    "json": read_json,
    "array": read_array,
    "arrays": read_arrays,
}


@pytest.mark.parametrize("name", READERS)
def test_no_reader_waits_for_a_pipe_or_reads_a_device(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(IlionError, match=r"is a (pipe|folder|device)") as caught:
            READERS[name](path)
        assert str(path) in str(caught.value)


def test_a_sparse_photo_is_named(tmp_path: Path) -> None:
    root = plain_set(tmp_path / "set")
    with (root / "distractors" / "big.jpg").open("wb") as file:
        file.truncate(64 << 30)
    (problem,) = (p for p in check_dataset(root).problems if p.severity == "error")
    assert (problem.kind, problem.file) == ("unreadable", "distractors/big.jpg")
    assert "68,719,476,736 bytes" in problem.message
