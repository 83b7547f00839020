"""Shards of images: their keys, whether one is finished, and what it took."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Literal

from ilion.outcome import Skipped
from ilion.runtime.machine import machine, peak_memory
from ilion.storage import Artifact, ShardStats, fingerprint, has_descriptors, read_stats, shard_key
from ilion.types import FileSource, Query, Shard, TarSource

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
OnBadImage = Literal["error", "skip"]


def shard_keys(shards: Sequence[Shard]) -> list[str]:
    """Return the file stems of shards, in database order; see `ilion.storage.shard_key`."""
    return [shard_key(shard.name, shard.fingerprint()) for shard in shards]


def is_finished(artifact: Artifact, key: str, on_bad_image: OnBadImage) -> bool:
    """Tell whether a shard is described.

    Args:
        artifact: Artifact of the finished shards.
        key: Key of the shard.
        on_bad_image: Images that were skipped once are an error when skipping is not asked for any more, so
            their shard counts as unfinished.
    """
    if not has_descriptors(artifact, key):
        return False
    return on_bad_image == "skip" or not read_stats(artifact, key).skipped


def stats_since(started: float, images: int, skipped: Sequence[Skipped] = ()) -> ShardStats:
    """Say what a shard took.

    Args:
        started: `time.perf_counter` at the start.
        images: Number of described images.
        skipped: Skipped images.
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
