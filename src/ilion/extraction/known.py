"""Growing sets: images that were described before, in a shard that has changed since, are taken over.

A shard is named by its content, so one added or removed photo makes it a new one. Beside each shard lie the
stamps of its images (id, place in a tar, size and times of the file). A new shard takes over what earlier
shards of the same artifact hold under the same stamps, and only new and changed images are looked at. What a
shard holds does not depend on which images were taken over, as far as the model describes each image on its
own; the embedded and ONNX models do, to the bit.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError
from ilion.storage import Artifact, has_descriptors, read_array, read_stats, write_array
from ilion.types import FileSource, ImageRecord, KnownSource, TarSource

log = logging.getLogger(__name__)

STAMPS = ".stamps.npy"
Stamps = NDArray[np.void]
_KIND = np.dtype("V16")


def stamps_of(records: Sequence[ImageRecord]) -> Stamps:
    """Return a stamp of each image, which changes when its file does.

    Returns:
        (N,) values of 16 bytes; all zero for an image whose file cannot be looked at.
    """
    seen: dict[Path, str] = {}

    def file(path: Path) -> str:
        if path not in seen:
            stat = path.stat()
            seen[path] = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"
        return seen[path]

    def stamp(record: ImageRecord) -> bytes:
        source = record.source
        if isinstance(source, KnownSource):
            return blake2b(
                f"{record.id}\0{source.digest}".encode(errors="surrogatepass"), digest_size=16
            ).digest()
        if not isinstance(source, FileSource | TarSource):
            return bytes(16)
        member = f"{source.offset} {source.size}" if isinstance(source, TarSource) else ""
        try:
            text = f"{record.id}\0{file(source.path)}\0{member}"
        except OSError:
            return bytes(16)
        return blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()

    return np.frombuffer(b"".join(stamp(record) for record in records), _KIND)


@dataclass(frozen=True)
class EarlierRows:
    """Where images of a shard were described before.

    Args:
        stamps: Stamps of the images of the shard.
        places: Number of the image in the shard -> key of an earlier shard, and row in it.
        seconds: Time that describing them took then, in seconds.
    """

    stamps: Stamps
    places: Mapping[int, tuple[str, int]]
    seconds: float

    def fresh(self, records: Sequence[ImageRecord]) -> list[ImageRecord]:
        """Return the images that are still to be described."""
        return [record for number, record in enumerate(records) if number not in self.places]


def find_earlier(artifact: Artifact, earlier: Sequence[str], stamps: Stamps) -> EarlierRows:
    """Look for images in earlier shards.

    Args:
        artifact: Artifact of the shards.
        earlier: Keys of shards that are no longer part of the database.
        stamps: Stamps of the images that are looked for.
    """
    wanted = {stamp: number for number, stamp in enumerate(stamps.tolist()) if any(stamp)}
    places: dict[int, tuple[str, int]] = {}
    for key in earlier:
        path = artifact.folder / f"{key}{STAMPS}"
        if not (path.exists() and has_descriptors(artifact, key)):
            continue
        try:
            stored = read_array(path)
            if stored.dtype != _KIND or stored.ndim != 1:
                raise ArtifactError(f"{path}: damaged ({stored.dtype} {stored.shape}); delete it")
        except ArtifactError as error:
            log.warning("not looked at: %s", error)
            continue
        places |= {wanted[stamp]: (key, row) for row, stamp in enumerate(stored.tolist()) if stamp in wanted}
    seconds = 0.0
    for key, count in Counter(key for key, _ in places.values()).items():
        stats = read_stats(artifact, key)
        seconds += count * stats.seconds / max(1, stats.images)
    return EarlierRows(stamps, places, seconds)


def write_stamps(
    artifact: Artifact, key: str, records: Sequence[ImageRecord], stamps: Stamps, ids: Sequence[str]
) -> None:
    """Store the stamps of the images that a shard holds; before the shard itself counts.

    Args:
        artifact: Artifact of the shard.
        key: Key of the shard.
        records: Images of the shard, skipped ones too.
        stamps: Stamps of those images.
        ids: Ids of the images that it holds.
    """
    rows = {record.id: number for number, record in enumerate(records)}
    write_array(artifact.folder / f"{key}{STAMPS}", stamps[[rows[name] for name in ids]].view(_KIND))
