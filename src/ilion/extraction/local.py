"""From images to stored local features: read, detect and describe, encode, store shard by shard.

The local counterpart of `ilion.extraction.images`. Keypoints are stored in pixels of the full upright image,
however much of it was looked at and at which size. Memory holds one chunk of decoded images and their
features.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import floor
from typing import Literal

import numpy as np

from ilion.errors import ExtractionError
from ilion.extraction.known import Recall, recall, stamps_of, write_stamps
from ilion.extraction.recode import as_stored, full_precision, settle, stored_features
from ilion.extraction.shards import (
    CHUNK,
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
from ilion.localfeatures.base import LocalExtractor
from ilion.localfeatures.codecs import Codec, CodecSettings, fit_codec, raw_codec
from ilion.localfeatures.store import LocalSet, has_codec, read_codec, write_codec, write_features
from ilion.outcome import Skipped
from ilion.storage import Artifact, ShardStats, has_descriptors
from ilion.types import RGB, ImageRecord, LocalFeatures, Query, Shard

BoxUse = Literal["crop", "none"]

SAMPLE_PER_IMAGE = 100
"""Features of one image that take part in learning a codec: many images teach more than many features."""


@dataclass(frozen=True)
class View:
    """What an extractor looks at, and where that lies in the full image.

    Args:
        image: (H, W, 3), a part of the image, perhaps shrunk.
        offset: Left and top of that part in pixels of the full upright image.
        scale: Pixels of ``image`` for one pixel of the full image, in x and y.
        full_size: (width, height) of the full image.
    """

    image: RGB
    offset: tuple[int, int]
    scale: tuple[float, float]
    full_size: tuple[int, int]


def load_view(record: ImageRecord, side: int, box_use: BoxUse = "none", *, enlarge: bool = False) -> View:
    """Read and decode one image, and bring it to the extractor's side.

    Args:
        record: The image.
        side: What is longer is shrunk to it.
        box_use: Whether to look only at the smallest rectangle that holds the record's boxes, if it has any.
        enlarge: Whether what is shorter is enlarged to it.

    Raises:
        ImageError: It cannot be read or decoded; the message says where it is.
    """
    boxes = record.boxes if box_use == "crop" else ()
    with reading(record) as where:
        # a cropped query must keep its detail, so it is decoded at full size
        at_least = None if boxes else least_size("long", side)
        decoded = decode(record.source.read(), at_least=at_least, where=where)
        part = crop(decoded.image, boxes)
        left = max(0, floor(min((box.x for box in boxes), default=0)))
        top = max(0, floor(min((box.y for box in boxes), default=0)))
        image = resize(part, "long", side) if enlarge or max(part.shape[:2]) > side else part
    across = decoded.scale[0] * image.shape[1] / part.shape[1]
    down = decoded.scale[1] * image.shape[0] / part.shape[0]
    return View(image, (left, top), (across, down), decoded.full_size)


def placed(features: LocalFeatures, view: View) -> LocalFeatures:
    """Move features found in a view to the pixels of the full image.

    Args:
        features: In pixels of the view.
        view: Where they were found.

    >>> view = View(np.zeros((50, 50, 3), np.uint8), (10, 20), (0.5, 0.5), (200, 300))
    >>> one = np.ones(1, np.float32)
    >>> found = LocalFeatures(np.array([[4.5, 0]], np.float32), np.eye(1), one, (50, 50), one, one)
    >>> moved = placed(found, view)
    >>> moved.keypoints.tolist(), moved.scales.tolist(), moved.image_size
    ([[19.5, 20.5]], [2.0], (200, 300))
    """
    scale, offset = np.array(view.scale), np.array(view.offset)
    # the centre of the first pixel lies half a pixel from the edge, at every size
    keypoints = (features.keypoints + 0.5) / scale - 0.5 + offset
    return replace(
        features,
        keypoints=keypoints.astype(np.float32),
        scales=None if features.scales is None else (features.scales / np.sqrt(scale.prod())).astype("f"),
        image_size=view.full_size,
    )


def describe_local(
    records: Iterable[ImageRecord],
    extractor: LocalExtractor,
    skipped: list[Skipped],
    *,
    box_use: BoxUse = "none",
    enlarge: bool = False,
    on_bad_image: OnBadImage = "error",
    workers: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Iterator[tuple[ImageRecord, LocalFeatures]]:
    """Find and describe the features of images, in their order.

    Args:
        records: The images.
        extractor: What finds and describes.
        skipped: Images that cannot be read are added, if they are to be skipped.
        box_use: For records with boxes.
        enlarge: Whether images smaller than the extractor's side are brought to it.
        on_bad_image: ``error`` or ``skip``.
        workers: Decoding threads; 0 takes one a core.
        progress: Called with the number of images just done.

    Raises:
        ImageError: An image is unreadable and ``on_bad_image`` is ``error``.
        ExtractionError: The extractor returns something else than its spec says.
    """
    spec = extractor.spec
    chunk: list[tuple[ImageRecord, View]] = []

    def flush() -> Iterator[tuple[ImageRecord, LocalFeatures]]:
        found = extractor.extract([view.image for _, view in chunk])
        if len(found) != len(chunk):
            raise ExtractionError(f"{spec.name} returned features of {len(found)} images for {len(chunk)}")
        for (record, view), features in zip(chunk, found, strict=True):
            _check(features, extractor, record)
            yield record, placed(features, view)
        if progress:
            progress(len(chunk))
        chunk.clear()

    for loaded in readable(
        records,
        lambda r: load_view(r, spec.side, box_use, enlarge=enlarge),
        skipped,
        on_bad_image=on_bad_image,
        workers=workers,
        progress=progress,
    ):
        chunk.append(loaded)
        if len(chunk) == CHUNK:
            yield from flush()
    yield from flush()


def _check(features: LocalFeatures, extractor: LocalExtractor, record: ImageRecord) -> None:
    spec = extractor.spec
    found = features.descriptors
    if found.shape[1:] != (spec.dim,) or len(found) > spec.features:
        raise ExtractionError(
            f"{spec.name} returned descriptors {found.shape} of {record.id!r}; its spec says at most "
            f"{spec.features} of {spec.dim}"
        )
    if not (np.isfinite(features.keypoints).all() and np.isfinite(found).all()):
        raise ExtractionError(f"{spec.name} returned NaN or infinity for {record.id!r}")


def learn_codec(
    sample: Callable[[], Sequence[ImageRecord]],
    extractor: LocalExtractor,
    settings: CodecSettings,
    artifact: Artifact,
    *,
    seed: int,
    source: LocalSet | None = None,
    on_bad_image: OnBadImage = "error",
    workers: int = 0,
    progress: Progress | None = None,
) -> tuple[Codec, bool]:
    """Learn a codec on a sample of the database, or load what was learnt on the same sample before.

    Args:
        sample: Draws the sample; called only when it is needed.
        extractor: What finds and describes.
        settings: Which codec.
        artifact: Where it belongs; its inputs must hold the extractor's spec, the settings and the sample.
        seed: For the sample of features and for the codec.
        source: Features of these images at full precision, if they are stored: no image is then looked at,
            and the codec is the same.
        on_bad_image: ``error`` or ``skip``; skipped images are counted when their shard is described.
        workers: Decoding threads.
        progress: Called with images seen and in all.

    Returns:
        The codec, and whether it was there already.

    Raises:
        ImageError: See `describe_local`.
        ConfigError: The codec does not go with the features.
        ExtractionError: The sample is too poor to learn from.
    """
    if has_codec(artifact.folder):
        return read_codec(artifact.folder), True
    records = sample()
    if settings == CodecSettings():
        # nothing is learnt, so a few images tell all there is to know
        records = records[:CHUNK]
    seen = 0

    def advance(images: int) -> None:
        nonlocal seen
        seen += images
        if progress:
            progress(seen, len(records))

    rng = np.random.default_rng(seed)
    if source is not None:
        rows = source.rows_of([record.id for record in records])
        described = stored_features(source, rows[rows >= 0], extractor.spec.features)
    else:
        described = (
            features
            for _, features in describe_local(
                records, extractor, [], on_bad_image=on_bad_image, workers=workers, progress=advance
            )
        )
    found = [_thinned(features, rng) for features in described]
    if settings == CodecSettings():
        has_shape = all(f.scales is not None and f.angles is not None for f in found)
        codec = raw_codec(extractor.spec.dim, extractor.spec.metric, has_shape=has_shape)
    else:
        metric = extractor.spec.metric
        codec = fit_codec(settings, metric, [full_precision(f, metric) for f in found], seed)
    write_codec(artifact.folder, codec)
    return codec, False


def _thinned(features: LocalFeatures, rng: np.random.Generator) -> LocalFeatures:
    return features.take(np.sort(rng.permutation(len(features.keypoints))[:SAMPLE_PER_IMAGE]))


def extract_local_shards(
    shards: Sequence[Shard],
    extractor: LocalExtractor,
    codec: Codec,
    artifact: Artifact,
    *,
    on_bad_image: OnBadImage = "error",
    workers: int = 0,
    earlier: Sequence[str] = (),
    progress: Progress | None = None,
) -> tuple[list[str], bool]:
    """Describe and encode the shards that are not there yet.

    Args:
        shards: In database order.
        extractor: What finds and describes.
        codec: How features are stored.
        artifact: Where they belong; its inputs must hold the extractor's spec, and the codec's digest as
            ``codec``.
        on_bad_image: ``error`` or ``skip``.
        workers: Decoding threads.
        earlier: Keys of shards that may hold some of the images, see `ilion.extraction.known`.
        progress: Called with images done and in all; the total is an estimate until the last shard.

    Returns:
        The keys of the shards in order, and whether all of them were there already.

    Raises:
        ImageError: See `describe_local`.
        ArtifactError: The disk is full, or the artifact cannot be written or belongs to another codec.
    """
    settle(artifact, codec)
    keys = shard_keys(shards)
    reused = True
    for key, records, advance in unfinished(
        shards, keys, artifact, on_bad_image=on_bad_image, progress=progress
    ):
        reused = False
        started = time.perf_counter()
        skipped: list[Skipped] = []
        known = recall(artifact, earlier, stamps_of(records))
        advance(len(known.places))
        found = describe_local(
            known.fresh(records),
            extractor,
            skipped,
            on_bad_image=on_bad_image,
            workers=workers,
            progress=advance,
        )
        stats = partial(stats_since, started - known.seconds, skipped=skipped)
        _store(artifact, key, records, known, found, codec, stats)
    return keys, reused


def _store(
    artifact: Artifact,
    key: str,
    records: Sequence[ImageRecord],
    known: Recall,
    found: Iterator[tuple[ImageRecord, LocalFeatures]],
    codec: Codec,
    stats: Callable[[int], ShardStats],
) -> None:
    """Store the features of a shard, taken over or new, in the order of its images."""
    shards = {earlier: LocalSet(artifact, [earlier]) for earlier, _ in known.places.values()}
    ids: list[str] = []

    def encoded() -> Iterator[tuple[str, bytes]]:
        new = next(found, None)
        for number, record in enumerate(records):
            if number in known.places:
                earlier, row = known.places[number]
                data = shards[earlier].stored(row)
            elif new is not None and new[0].id == record.id:
                data = codec.encode(as_stored(new[1], codec))
                new = next(found, None)
            else:
                continue
            ids.append(record.id)
            yield record.id, data

    def ending(images: int) -> ShardStats:
        # called when all is written and before the shard counts
        write_stamps(artifact, key, records, known.stamps, ids)
        return stats(images)

    write_features(artifact, key, encoded(), ending)


def extract_local_queries(
    queries: Sequence[Query],
    extractor: LocalExtractor,
    artifact: Artifact,
    *,
    box_use: BoxUse = "crop",
    enlarge: bool = False,
    workers: int = 0,
) -> tuple[str, bool]:
    """Describe image queries at full precision; an unreadable query is always an error.

    Args:
        queries: Image queries.
        extractor: What finds and describes.
        artifact: Where the features belong; its inputs must hold the extractor's spec.
        box_use: For queries with boxes.
        enlarge: Whether images smaller than the extractor's side are brought to it.
        workers: Decoding threads.

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
        raise ExtractionError(f"query {text!r} is a text, which has no local features; re-rank image queries")
    found = list(describe_local(images, extractor, [], box_use=box_use, enlarge=enlarge, workers=workers))
    has_shape = all(f.scales is not None and f.angles is not None for _, f in found)
    codec = raw_codec(extractor.spec.dim, extractor.spec.metric, has_shape=has_shape)
    settle(artifact, codec)
    records = (
        (query.id, codec.encode(features)) for query, (_, features) in zip(queries, found, strict=True)
    )
    write_features(artifact, key, records, partial(stats_since, started))
    return key, False
