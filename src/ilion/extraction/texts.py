"""From images to stored texts: decode, read, store shard by shard.

The counterpart of `ilion.extraction.images` for text. Images are read side by side in threads, one thread an
image, which keeps all cores busy and holds a bounded number of decoded images in memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import floor
from typing import Literal

import numpy as np

from ilion.errors import ExtractionError
from ilion.extraction.shards import (
    OnBadImage,
    Progress,
    queries_key,
    readable,
    reading,
    shard_keys,
    stats_since,
    unfinished,
)
from ilion.images import crop, decode, least_size, resize
from ilion.outcome import Skipped
from ilion.reading.base import Reader
from ilion.reading.store import ReadImage, write_texts
from ilion.storage import Artifact, has_descriptors
from ilion.types import ImageRecord, Query, Shard

BoxUse = Literal["crop", "none"]

DETAIL = 2
"""Lines are cut out of an image whose longer side is at most so many times the side of the detector."""


def read_image(record: ImageRecord, reader: Reader, box_use: BoxUse = "none") -> ReadImage:
    """Decode one image and read it.

    Args:
        record: The image.
        reader: What reads.
        box_use: Whether to look only at the smallest rectangle that holds the record's boxes, if it has any.

    Returns:
        Lines with quads in pixels of the full upright image, and its size.

    Raises:
        ImageError: It cannot be read or decoded; the message says where it is.
    """
    boxes = record.boxes if box_use == "crop" else ()
    side = DETAIL * reader.spec.side
    with reading(record) as where:
        # a cropped query must keep its detail, so it is decoded at full size
        at_least = None if boxes else least_size("long", side)
        found = decode(record.source.read(), at_least=at_least, where=where)
        part = crop(found.image, boxes)
    image = resize(part, "long", side) if max(part.shape[:2]) > side else part
    scale = np.array(found.scale, np.float32) * np.array(image.shape[1::-1]) / np.array(part.shape[1::-1])
    left = max(0, floor(min((box.x for box in boxes), default=0)))
    top = max(0, floor(min((box.y for box in boxes), default=0)))
    lines = tuple(
        replace(line, quad=(line.quad / scale + (left, top)).astype(np.float32))
        for line in reader.read(image)
    )
    return ReadImage(lines, found.full_size)


def read_images(
    records: Iterable[ImageRecord],
    reader: Reader,
    skipped: list[Skipped],
    *,
    box_use: BoxUse = "none",
    on_bad_image: OnBadImage = "error",
    workers: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Iterator[tuple[str, ReadImage]]:
    """Read images, in their order.

    Args:
        records: The images.
        reader: What reads; thread-safe.
        skipped: Images that cannot be read are added, if they are to be skipped.
        box_use: For records with boxes.
        on_bad_image: ``error`` or ``skip``.
        workers: Threads; 0 takes one a core.
        progress: Called with the number of images just done.

    Raises:
        ImageError: An image is unreadable and ``on_bad_image`` is ``error``.
    """
    for record, read in readable(
        records,
        lambda r: read_image(r, reader, box_use),
        skipped,
        on_bad_image=on_bad_image,
        workers=workers,
        progress=progress,
    ):
        yield record.id, read
        if progress:
            progress(1)


def read_shards(
    shards: Sequence[Shard],
    reader: Reader,
    artifact: Artifact,
    *,
    on_bad_image: OnBadImage = "error",
    workers: int = 0,
    progress: Progress | None = None,
) -> tuple[list[str], bool]:
    """Read the shards that are not read yet.

    Args:
        shards: In database order.
        reader: What reads.
        artifact: Where the texts belong; its inputs must hold the reader's spec.
        on_bad_image: ``error`` or ``skip``.
        workers: Threads; 0 takes one a core.
        progress: Called with images done and in all; the total is an estimate until the last shard.

    Returns:
        The keys of the shards in order, and whether all of them were there already.

    Raises:
        ImageError: See `read_images`.
        ArtifactError: The disk is full, or the artifact cannot be written.
    """
    keys = shard_keys(shards)
    reused = True
    for key, records, advance in unfinished(
        shards, keys, artifact, on_bad_image=on_bad_image, progress=progress
    ):
        reused = False
        started = time.perf_counter()
        skipped: list[Skipped] = []
        found = read_images(
            records, reader, skipped, on_bad_image=on_bad_image, workers=workers, progress=advance
        )
        write_texts(artifact, key, found, partial(stats_since, started, skipped=skipped))
    return keys, reused


def read_queries(
    queries: Sequence[Query],
    reader: Reader,
    artifact: Artifact,
    *,
    box_use: BoxUse = "crop",
    workers: int = 0,
) -> tuple[str, bool]:
    """Read query photos; an unreadable query is always an error: no result may lack it.

    Args:
        queries: Image queries.
        reader: What reads.
        artifact: Where the texts belong; its inputs must hold the reader's spec and the use of boxes.
        box_use: For queries with boxes.
        workers: Threads; 0 takes one a core.

    Returns:
        The key of the stored shard, and whether it was there already.

    Raises:
        ImageError: A query image is unreadable.
        ExtractionError: A query is a text.
    """
    key = queries_key(queries)
    if has_descriptors(artifact, key):
        return key, True
    started = time.perf_counter()
    images = [query.image for query in queries if query.image is not None]
    if len(images) < len(queries):
        text = next(query.id for query in queries if query.image is None)
        raise ExtractionError(f"query {text!r} is a text already; only photos are read")
    found = read_images(images, reader, [], box_use=box_use, workers=workers)
    named = ((query.id, read) for query, (_, read) in zip(queries, found, strict=True))
    write_texts(artifact, key, named, partial(stats_since, started))
    return key, False
