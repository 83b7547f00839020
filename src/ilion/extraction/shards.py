"""What all extraction shares: images read in threads, bad ones counted or raised, shards done once.

A shard is the unit of work: finished ones are never computed again, one that was being computed when the
process ended leaves nothing behind.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeVar

from ilion.errors import DatasetError, ImageError
from ilion.outcome import Skipped
from ilion.runtime.machine import machine, peak_memory
from ilion.runtime.threads import in_order
from ilion.storage import Artifact, ShardStats, fingerprint, has_descriptors, read_stats, shard_key
from ilion.types import FileSource, ImageRecord, Query, Shard, TarSource

log = logging.getLogger(__name__)

CHUNK = 32
"""Decoded images handed to the extractor at once; enough for full batches of each shape."""

T = TypeVar("T")
Progress = Callable[[int, int], None]
OnBadImage = Literal["error", "skip"]


@contextmanager
def reading(record: ImageRecord) -> Iterator[str]:
    """Give the place of an image, and say it in every error that reading the image raises.

    Raises:
        ImageError: The image cannot be read or decoded.
    """
    where = str(record.source)
    try:
        yield where
    except OSError as error:
        raise ImageError(f"{where}: cannot be read ({error.strerror or error})") from error
    except ImageError as error:
        raise error if where in str(error) else ImageError(f"{where}: {error}") from error


def readable(
    records: Iterable[ImageRecord],
    load: Callable[[ImageRecord], T],
    skipped: list[Skipped],
    *,
    on_bad_image: OnBadImage,
    workers: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Iterator[tuple[ImageRecord, T]]:
    """Load images in threads and yield those that can be read, in their order.

    Args:
        records: The images.
        load: Reads one; thread-safe.
        skipped: Images that cannot be read are added, if they are to be skipped.
        on_bad_image: ``error`` or ``skip``.
        workers: Threads; 0 takes one a core.
        progress: Called with 1 for each skipped image; the others are not done yet.

    Raises:
        ImageError: An image is unreadable and ``on_bad_image`` is ``error``.
    """
    for record, image in in_order(records, load, workers=workers, ahead=CHUNK):
        try:
            loaded = image.result()
        except DatasetError as error:
            if on_bad_image == "error":
                raise ImageError(
                    f"{error} To count such images and go on, use --on-bad-image=skip; "
                    "'ilion datasets check' lists all of them."
                ) from error
            log.warning("skipped %s", error)
            skipped.append(Skipped(record.id, str(record.source), str(error)))
            if progress:
                progress(1)
            continue
        yield record, loaded


def shard_keys(shards: Sequence[Shard]) -> list[str]:
    """Return the file stems of shards, in database order; see `ilion.storage.shard_key`."""
    return [shard_key(shard.name, shard.fingerprint()) for shard in shards]


def is_finished(artifact: Artifact, key: str, on_bad_image: OnBadImage) -> bool:
    """Tell whether a shard is described.

    Args:
        artifact: Where finished ones are.
        key: Of the shard.
        on_bad_image: Images that were skipped once are an error when skipping is not asked for any more, so
            their shard counts as unfinished.
    """
    if not has_descriptors(artifact, key):
        return False
    return on_bad_image == "skip" or not read_stats(artifact, key).skipped


def unfinished(
    shards: Sequence[Shard],
    keys: Sequence[str],
    artifact: Artifact,
    *,
    on_bad_image: OnBadImage,
    progress: Progress | None = None,
) -> Iterator[tuple[str, list[ImageRecord], Callable[[int], None]]]:
    """Yield the shards that are still to be computed.

    Args:
        shards: In database order.
        keys: Theirs.
        artifact: Where finished ones are.
        on_bad_image: ``error`` or ``skip``; see `is_finished`.
        progress: Called with images done and in all; the total is an estimate until the last shard.

    Yields:
        Key, records, and what to call with the number of images just done.
    """
    done = 0
    for number, (shard, key) in enumerate(zip(shards, keys, strict=True)):
        if is_finished(artifact, key, on_bad_image):
            stats = read_stats(artifact, key)
            done += stats.images + len(stats.skipped)
            continue
        log.info("describing shard %s (%d of %d)", shard.name, number + 1, len(shards))
        records = list(shard.records())
        total = round((done + len(records)) / (number + 1) * len(shards))

        def advance(images: int, total: int = total) -> None:
            nonlocal done
            done += images
            if progress:
                progress(done, max(done, total))

        yield key, records, advance


def stats_since(started: float, images: int, skipped: Sequence[Skipped] = ()) -> ShardStats:
    """Say what a shard took.

    Args:
        started: `time.perf_counter` at the start.
        images: How many were described.
        skipped: Those that were not.
    """
    return ShardStats(images, time.perf_counter() - started, peak_memory(), machine(), tuple(skipped))


def queries_fingerprint(queries: Sequence[Query]) -> str:
    """Digest of ids, texts, boxes, and size and times of the image files."""
    parts: list[object] = []
    for query in queries:
        parts.append([query.id, query.text])
        if query.image is not None:
            source = query.image.source
            if not isinstance(source, FileSource | TarSource):
                parts.append(source.read().hex())  # says so if there is no image
                continue
            stat = source.path.stat()
            member = [source.offset, source.size] if isinstance(source, TarSource) else []
            parts.append([query.image.boxes, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, member])
    return fingerprint(parts)


def queries_key(queries: Sequence[Query]) -> str:
    """Return the file stem of the one shard that holds the queries."""
    return shard_key("queries", queries_fingerprint(queries))
