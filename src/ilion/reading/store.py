"""Stored texts: the lines read in database images, one file a shard.

A shard is ``KEY.texts.npz`` and ``KEY.ids.json``, which is written last and makes it count. Confidences take
8 bits; the corners of a line are fractions of the image's sides in 16 bits each, a twentieth of a pixel in a
photo of 4,000.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np

from ilion.errors import ArtifactError
from ilion.storage import Artifact, TakeStats, read_arrays, read_json, write_arrays, write_head, write_json
from ilion.storage.ids import check_unique
from ilion.types import Int64, TextLine
from ilion.wording import counted

_FINE = 65535
"""Steps along one side of an image."""


@dataclass(frozen=True)
class ReadImage:
    """What was read in one image.

    Args:
        lines: From top to bottom.
        image_size: (width, height) in pixels that the quads refer to.
    """

    lines: tuple[TextLine, ...]
    image_size: tuple[int, int]


def stored_as(read: ReadImage) -> ReadImage:
    """Return what was read as it comes back from disk: with confidences of 8 bits."""
    lines = tuple(replace(line, confidence=round(255 * line.confidence) / 255) for line in read.lines)
    return ReadImage(lines, read.image_size)


def write_texts(
    artifact: Artifact, key: str, read: Iterable[tuple[str, ReadImage]], stats: TakeStats
) -> None:
    """Store one finished shard; the ids are written last and make it count.

    Args:
        artifact: Artifact that the shard belongs to.
        key: File stem, see `ilion.storage.shard_key`.
        read: Ids, and what was read.
        stats: Callback that receives the number of images at the end, and says what the shard took.

    Raises:
        ArtifactError: See `ilion.storage.writing`.
    """
    ids: list[str] = []
    sizes: list[tuple[int, int]] = []
    counts: list[int] = []
    texts: list[bytes] = []
    confidences: list[int] = []
    quads: list[object] = []
    for name, image in read:
        ids.append(name)
        sizes.append(image.image_size)
        counts.append(len(image.lines))
        for line in image.lines:
            texts.append(line.text.encode())
            confidences.append(round(255 * line.confidence))
            fractions = np.clip(line.quad / np.array(image.image_size, np.float32), 0, 1)
            quads.append(np.round(_FINE * fractions).astype("<u2"))
    arrays = {
        "text": np.frombuffer(b"".join(texts), np.uint8),
        "ends": np.cumsum([len(text) for text in texts], dtype="<u8"),
        "counts": np.array(counts, "<u2"),
        "sizes": np.array(sizes, "<u4").reshape(-1, 2),
        "confidences": np.array(confidences, np.uint8),
        "quads": np.array(quads, "<u2").reshape(-1, 4, 2),
    }
    write_arrays(artifact.folder / f"{key}.texts.npz", arrays)
    write_json(artifact.folder / f"{key}.stats.json", stats(len(ids)))
    head = {"ids": ids, "lines": len(texts)}
    write_head(artifact.folder / f"{key}.ids.json", head, [artifact.folder / f"{key}.texts.npz"])


_FORMS = {
    "text": ("u", 1), "ends": ("u", 1), "counts": ("u", 1), "sizes": ("u", 2), "confidences": ("u", 1),
    "quads": ("u", 3),
}  # fmt: skip


class _Head(TypedDict):
    ids: list[str]
    lines: int


class _Shard:
    """One finished shard, in memory as it is stored."""

    def __init__(self, artifact: Artifact, key: str) -> None:
        head: _Head = read_json(artifact.folder / f"{key}.ids.json", _Head)
        self.ids = head["ids"]
        path = artifact.folder / f"{key}.texts.npz"
        arrays = read_arrays(path, _FORMS)
        again = f"delete {artifact.folder / key}.* and run again"
        self.sizes, self.confidences, self.quads = (arrays[n] for n in ("sizes", "confidences", "quads"))
        self.text = arrays["text"].tobytes()
        counts, ends = arrays["counts"].astype(np.int64), arrays["ends"].astype(np.int64)
        self.firsts = np.concatenate([[0], np.cumsum(counts)])
        self.starts = np.concatenate([[0], ends])
        lines = {int(self.firsts[-1]), len(ends), len(self.confidences), len(self.quads), head["lines"]}
        whole = len(counts) == len(self.ids) == len(self.sizes) and self.starts[-1] == len(self.text)
        if len(lines) > 1 or not whole or (np.diff(self.starts) <= 0).any():
            raise ArtifactError(f"{path}: its parts do not fit together; {again}")
        self.bytes = sum(array.nbytes for array in arrays.values())

    def read(self, row: int) -> ReadImage:
        size = (int(self.sizes[row, 0]), int(self.sizes[row, 1]))
        scale = np.array(size, np.float32) / np.float32(_FINE)
        return ReadImage(
            tuple(
                TextLine(
                    self.text[self.starts[i] : self.starts[i + 1]].decode(),
                    float(self.confidences[i]) / 255,
                    self.quads[i].astype(np.float32) * scale,
                )
                for i in range(int(self.firsts[row]), int(self.firsts[row + 1]))
            ),
            size,
        )


class TextSet:
    """Finished shards as one database of texts.

    Args:
        artifact: Artifact with the shards.
        keys: Shards in database order.

    Raises:
        ArtifactError: Something is missing or damaged, or an id occurs twice.
    """

    def __init__(self, artifact: Artifact, keys: Sequence[str]) -> None:
        self.artifact = artifact
        self._shards = [_Shard(artifact, key) for key in keys]
        self._starts = np.cumsum([0, *(len(shard.ids) for shard in self._shards)])
        self.ids = tuple(name for shard in self._shards for name in shard.ids)
        self._rows = {name: row for row, name in enumerate(self.ids)}
        check_unique(artifact.folder, self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def bytes_per_image(self) -> float:
        """Mean stored bytes of an image, without its id."""
        return sum(shard.bytes for shard in self._shards) / max(len(self), 1)

    @property
    def lines(self) -> int:
        """Lines in all."""
        return int(sum(shard.firsts[-1] for shard in self._shards))

    def rows_of(self, ids: Iterable[str]) -> Int64:
        """Return the row of each id, -1 for images that have no entry here (skipped ones, say)."""
        return np.fromiter((self._rows.get(name, -1) for name in ids), np.int64)

    def read(self, row: int) -> ReadImage:
        """Return what was read in the image of a row.

        Raises:
            ArtifactError: The row is outside the database.
        """
        if not 0 <= row < len(self):
            raise ArtifactError(
                f"{self.artifact.folder}: row {row} is outside its {counted(len(self), 'image')}"
            )
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._shards[number].read(row - int(self._starts[number]))
