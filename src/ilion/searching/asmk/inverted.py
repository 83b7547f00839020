"""The inverted file: for each visual word, the images that show it and their codes.

It is written shard by shard and read segment by segment, so neither needs memory for the whole database. A
segment holds the postings of at most `SEGMENT` images, ordered by word and then by row:

    KEY.0000.offsets.npy  (W + 1,) int64    postings of word w are offsets[w] to offsets[w + 1]
    KEY.0000.rows.npy     (P,) uint16       row within the segment
    KEY.0000.codes.npy    (P, bytes)        signs, or (P, b) float16
    KEY.0000.frames.npy   (P, 4) uint8      place, size and angle
    KEY.0000.norms.npy    (n,) float32      n(X) of the kernel; 0 for an image without features
    KEY.ids.json                            ids and segments; written last, it makes the shard count
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError
from ilion.runtime.threads import in_order
from ilion.searching.asmk.aggregate import Aggregates, aggregate, self_similarity
from ilion.searching.asmk.codebook import Codebook, read_codebook, write_codebook
from ilion.storage import (
    Artifact,
    TakeStats,
    open_artifact,
    read_array,
    read_json,
    write_array,
    write_head,
    write_json,
)
from ilion.storage.ids import check_unique
from ilion.types import Float32, Int64, LocalFeatures, Value

_ARRAYS = ("offsets", "rows", "codes", "frames", "norms")
SEGMENT = 8192
"""Images a segment, at most 65,536. While one with 310 words an image was written, 270 MB were held."""


@dataclass(frozen=True)
class Segment(Value):
    """Postings of consecutive database rows, memory-mapped.

    Args:
        start: Database row of its first image.
        offsets: (W + 1,) where the postings of each word start.
        rows: (P,) row of each posting, counted from ``start``; ascending within a word.
        codes: (P, bytes) uint8 or (P, b) float16.
        frames: (P, 4) uint8.
        norms: (n,) float32, one an image.
    """

    start: int
    offsets: Int64
    rows: NDArray[np.uint16]
    codes: NDArray[np.generic]
    frames: NDArray[np.uint8]
    norms: Float32


def open_index(root: Path, codebook: Codebook, inputs: Mapping[str, Any]) -> Artifact:
    """Open the folder of an inverted file, with its codebook, below ``root``; make it if it is new.

    Args:
        root: Folder of the artifacts.
        codebook: Codebook, whose digest becomes part of the artifact's inputs.
        inputs: Everything else that the features depend on, such as the extractor's spec.

    Raises:
        ArtifactError: See `ilion.storage.open_artifact`.
    """
    artifact = open_artifact(root, "asmk", {**inputs, "codebook": codebook.digest})
    if not (artifact.folder / "codebook.npz").exists():
        write_codebook(artifact.folder, codebook)
    return artifact


def index_shard(
    artifact: Artifact,
    key: str,
    images: Iterable[tuple[str, LocalFeatures]],
    codebook: Codebook,
    stats: TakeStats,
    *,
    workers: int = 0,
) -> None:
    """Aggregate and store one shard. The caller holds the artifact's lock (`ilion.storage.locked`).

    Args:
        artifact: From `open_index` with the same codebook.
        key: Key of the shard, see `ilion.storage.shard_key`.
        images: Ids and features in order of rows; read as needed.
        codebook: Visual words to aggregate by.
        stats: Returns what the shard took; called with the number of images when all are read.
        workers: Threads; 0 takes one a core.

    Raises:
        ArtifactError: Features do not fit the codebook, or the disk is full.
    """
    ids: list[str] = []
    sizes: list[int] = []
    held: list[Aggregates] = []
    postings = 0

    def flush() -> None:
        nonlocal postings
        _write_segment(artifact.folder, f"{key}.{len(sizes):04d}", held, codebook)
        sizes.append(len(held))
        postings += sum(len(aggregates) for aggregates in held)
        held.clear()

    for (image, _), done in in_order(images, lambda pair: aggregate(pair[1], codebook), workers=workers):
        held.append(done.result())
        ids.append(image)
        if len(held) == SEGMENT:
            flush()
    if held:
        flush()
    write_json(artifact.folder / f"{key}.stats.json", stats(len(ids)))
    files = [
        artifact.folder / f"{key}.{part:04d}.{name}.npy" for part in range(len(sizes)) for name in _ARRAYS
    ]
    head = {"ids": ids, "segments": sizes, "postings": postings}
    write_head(artifact.folder / f"{key}.ids.json", head, files)


def _write_segment(folder: Path, stem: str, images: Sequence[Aggregates], codebook: Codebook) -> None:
    words = np.concatenate([image.words.astype(np.uint32) for image in images])
    rows = np.repeat(np.arange(len(images), dtype=np.uint16), [len(image) for image in images])
    order = np.argsort(words, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(words, minlength=len(codebook)))])
    sums = np.array([self_similarity(image.words, codebook) for image in images])
    norms = np.where(sums > 0, 1 / np.sqrt(np.maximum(sums, 1e-30)), 0)
    write_array(folder / f"{stem}.offsets.npy", offsets.astype(np.int64))
    write_array(folder / f"{stem}.rows.npy", rows[order])
    write_array(folder / f"{stem}.codes.npy", np.concatenate([image.codes for image in images])[order])
    write_array(folder / f"{stem}.frames.npy", np.concatenate([image.frames for image in images])[order])
    write_array(folder / f"{stem}.norms.npy", norms.astype(np.float32))


class _Head(TypedDict):
    ids: list[str]
    segments: list[int]
    postings: int


class InvertedFile:
    """Finished shards as one database. Only ids are held; postings are mapped while they are looked at.

    Args:
        artifact: Artifact that holds the shards.
        keys: Shards in order of rows.

    Raises:
        ArtifactError: A shard is missing or damaged, or an id occurs twice.
    """

    def __init__(self, artifact: Artifact, keys: Sequence[str]) -> None:
        self._folder = artifact.folder
        self.codebook = read_codebook(artifact.folder)
        ids: list[str] = []
        self._segments: list[tuple[str, int]] = []
        self.postings = 0
        for key in keys:
            head: _Head = read_json(artifact.folder / f"{key}.ids.json", _Head)
            ids.extend(head["ids"])
            self._segments.extend((f"{key}.{part:04d}", size) for part, size in enumerate(head["segments"]))
            self.postings += head["postings"]
        self.ids = tuple(ids)
        check_unique(artifact.folder, ids)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def segment_count(self) -> int:
        """Number of segments."""
        return len(self._segments)

    def stored_bytes(self) -> int:
        """Bytes of all segments on disk, without ids and codebook."""
        return sum(
            path.stat().st_size for stem, _ in self._segments for path in self._folder.glob(f"{stem}.*.npy")
        )

    def segments(self) -> Iterator[Segment]:
        """Map one segment after the other.

        Raises:
            ArtifactError: A file is missing, damaged, or does not fit the others.
        """
        start = 0
        for stem, size in self._segments:
            # an empty file cannot be mapped, and an empty segment has empty ones
            norms = read_array(self._folder / f"{stem}.norms.npy", ("f", 1))
            offsets = read_array(self._folder / f"{stem}.offsets.npy", ("i", 1), mapped=True)
            count = int(offsets[-1])
            rows, codes, frames = (
                read_array(self._folder / f"{stem}.{name}.npy", form, mapped=count > 0)
                for name, form in (("rows", ("u", 1)), ("codes", ("uf", 2)), ("frames", ("u", 2)))
            )
            lengths = [len(norms), len(offsets), len(rows), len(codes), len(frames)]
            if lengths != [size, len(self.codebook) + 1, count, count, count]:
                raise ArtifactError(
                    f"{self._folder / stem}: its files do not fit together {lengths}; delete the shard's "
                    "files and index it again"
                )
            yield Segment(start, offsets, rows, codes, frames, norms)
            start += size
