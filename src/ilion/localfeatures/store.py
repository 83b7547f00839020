"""Stored local features: one packed file a shard, read image by image.

A shard is ``KEY.bin`` (the records of its images, one after the other, as their codec wrote them),
``KEY.index.npy`` (where each record starts, and its checksum) and ``KEY.ids.json``, which is written last
and makes it count.
The codec lies in the same folder, so the features can be read without anything else.

The index is memory-mapped. The records are not: pages of a mapped file stay in the memory of a process that
touched them, so a run over many shortlists would seem to need the whole database. A read at the record's
place costs the same (benchmarks/local_store.py) and keeps nothing.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError
from ilion.localfeatures.codecs import Codec, rebuild
from ilion.opening import open_regular
from ilion.storage import (
    Artifact,
    TakeStats,
    read_array,
    read_arrays,
    read_json,
    write_array,
    write_arrays,
    write_head,
    write_json,
    writing,
)
from ilion.storage.ids import check_unique
from ilion.types import Int64, LocalFeatures
from ilion.wording import counted

INDEX = np.dtype([("start", "<u8"), ("checksum", "<u4")])
"""One entry an image: first byte of its record in the shard, and the record's CRC-32."""


def write_codec(folder: Path, codec: Codec) -> None:
    """Store a codec; ``codec.json`` is written last and makes it count."""
    write_arrays(folder / "codec.npz", codec.code.state())
    write_json(folder / "codec.json", {"digest": codec.digest, "settings": codec.settings()})


def has_codec(folder: Path) -> bool:
    """Tell whether a codec is stored."""
    return (folder / "codec.json").exists()


class _CodecHead(TypedDict):
    settings: dict[str, Any]
    digest: str


def read_codec(folder: Path) -> Codec:
    """Read what `write_codec` wrote.

    Raises:
        ArtifactError: The file is missing or damaged.
    """
    head: _CodecHead = read_json(folder / "codec.json", _CodecHead)
    codec = rebuild(head["settings"], read_arrays(folder / "codec.npz"))
    if codec.digest != head["digest"]:
        raise ArtifactError(f"{folder}: codec.npz is not that of codec.json; delete the folder and run again")
    return codec


def write_features(
    artifact: Artifact, key: str, records: Iterable[tuple[str, bytes]], stats: TakeStats
) -> None:
    """Store one shard as its records come; only ids and index are held in memory.

    Args:
        artifact: Artifact that the shard belongs to.
        key: File stem, see `ilion.storage.shard_key`.
        records: Ids and encoded features.
        stats: Callback that receives the number of images at the end, and says what the shard took.

    Raises:
        ArtifactError: See `ilion.storage.writing`.
    """
    ids: list[str] = []
    starts, checksums, end = array("Q"), array("L"), 0
    with writing(artifact.folder / f"{key}.bin") as file:
        for name, record in records:
            ids.append(name)
            starts.append(end)
            checksums.append(zlib.crc32(record))
            file.write(record)
            end += len(record)
    index = np.empty(len(ids), INDEX)
    index["start"], index["checksum"] = starts, checksums
    files = [artifact.folder / f"{key}.bin", artifact.folder / f"{key}.index.npy"]
    write_array(files[1], index)
    write_json(artifact.folder / f"{key}.stats.json", stats(len(ids)))
    write_head(artifact.folder / f"{key}.ids.json", {"ids": ids, "bytes": end}, files)


class _Head(TypedDict):
    ids: list[str]
    bytes: int


class _Shard:
    """One finished shard."""

    def __init__(self, artifact: Artifact, key: str) -> None:
        head: _Head = read_json(artifact.folder / f"{key}.ids.json", _Head)
        self.ids = head["ids"]
        self.bytes = head["bytes"]
        self.path = artifact.folder / f"{key}.bin"
        self.index: NDArray[np.void] = read_array(artifact.folder / f"{key}.index.npy", mapped=bool(self.ids))
        again = f"delete {artifact.folder / key}.* and run again"
        if self.index.dtype != INDEX or len(self.index) != len(self.ids):
            raise ArtifactError(f"{self.path}: its index does not fit its ids; {again}")
        try:
            found = self.path.stat().st_size
        except OSError as error:
            raise ArtifactError(f"{self.path}: cannot be read ({error.strerror}); {again}") from None
        if found != self.bytes:
            raise ArtifactError(f"{self.path}: {found} bytes instead of {self.bytes}; {again}")

    def read(self, rows: Int64) -> list[bytes]:
        """Read the records of rows of this shard.

        Raises:
            ArtifactError: The file is gone, or a record is damaged.
        """
        starts = self.index["start"][rows].tolist()
        after = rows + 1
        ends = [int(self.index["start"][r]) if r < len(self.ids) else self.bytes for r in after.tolist()]
        checksums = self.index["checksum"][rows].tolist()
        records = []
        try:
            with open_regular(self.path, buffering=0) as file:
                for start, end in zip(starts, ends, strict=True):
                    file.seek(start)
                    records.append(file.read(end - start))
        except OSError as error:
            raise ArtifactError(
                f"{self.path}: cannot be read ({error.strerror}); delete its shard and run again"
            ) from error
        for row, record, checksum in zip(rows.tolist(), records, checksums, strict=True):
            if zlib.crc32(record) != checksum:
                raise ArtifactError(
                    f"{self.path}: the features of {self.ids[row]!r} are damaged; delete "
                    f"{self.path.with_suffix('')}.* and run again"
                )
        return records


class LocalSet:
    """Finished shards as one database of local features, read image by image; safe to share among threads.

    Args:
        artifact: Artifact with the shards and their codec.
        keys: Shards in database order.

    Raises:
        ArtifactError: Something is missing or damaged, or an id occurs twice.
    """

    def __init__(self, artifact: Artifact, keys: Sequence[str]) -> None:
        self.artifact = artifact
        self.keys = tuple(keys)
        self.codec = read_codec(artifact.folder)
        if artifact.inputs.get("codec") not in (None, self.codec.digest):
            raise ArtifactError(
                f"{artifact.folder}: its codec is not the one its features were made with; delete the folder "
                "and run again"
            )
        self._shards = [_Shard(artifact, key) for key in keys]
        self._starts = np.cumsum([0, *(len(shard.ids) for shard in self._shards)])
        self.ids = tuple(name for shard in self._shards for name in shard.ids)
        check_unique(artifact.folder, self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.ids)}

    @property
    def bytes_per_image(self) -> float:
        """Mean stored bytes of an image: its record and its entry in the index, without the id."""
        stored = sum(shard.bytes for shard in self._shards) + INDEX.itemsize * len(self)
        return stored / max(len(self), 1)

    def rows_of(self, ids: Iterable[str]) -> Int64:
        """Return the row of each id, -1 for images that have no entry here (skipped ones, say)."""
        return np.fromiter((self._rows.get(name, -1) for name in ids), np.int64)

    def row_of(self, name: str) -> int:
        """Return the row of an id.

        Raises:
            ArtifactError: There is no such image.
        """
        if name not in self._rows:
            raise ArtifactError(
                f"{self.artifact.folder}: no local features of {name!r}; extract them for the whole database"
            )
        return self._rows[name]

    def stored(self, row: int) -> bytes:
        """Read the record of one image as it is stored.

        Raises:
            ArtifactError: The record is damaged.
        """
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        [record] = self._shards[number].read(np.array([row - self._starts[number]]))
        return record

    def features(self, row: int) -> LocalFeatures:
        """Read and decode the features of one image; see `many`."""
        return self.many([row])[0]

    def many(self, rows: Sequence[int] | Int64) -> list[LocalFeatures]:
        """Read and decode the features of images, in the order of ``rows``.

        Raises:
            ArtifactError: A row is outside the database, or a record is damaged; the message names image and
                file.
        """
        wanted = np.asarray(rows, np.int64).reshape(-1)
        outside = wanted[(wanted < 0) | (wanted >= len(self))]
        if len(outside):
            raise ArtifactError(
                f"{self.artifact.folder}: row {outside[0]} is outside its {counted(len(self), 'image')} (-1: "
                "the image has no local features)"
            )
        found: list[LocalFeatures | None] = [None] * len(wanted)
        of_shard = np.searchsorted(self._starts, wanted, side="right") - 1
        for number in np.unique(of_shard):
            shard = self._shards[number]
            # in the order of the file, which spares a disk's head
            places = np.flatnonzero(of_shard == number)
            places = places[np.argsort(wanted[places], kind="stable")]
            inside = wanted[places] - self._starts[number]
            for place, row, record in zip(places, inside, shard.read(inside), strict=True):
                try:
                    found[place] = self.codec.decode(record)
                except ArtifactError as error:
                    raise ArtifactError(
                        f"{shard.path}: the features of {shard.ids[row]!r} are not of this codec: {error}"
                    ) from error
        return [features for features in found if features is not None]
