"""From images to stored descriptors: read and decode in threads, describe, store shard by shard.

A shard is the unit of work: finished ones are never computed again, one that was being computed when the
process ended leaves nothing behind. Memory holds one chunk of decoded images and one shard of descriptors.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import numpy as np

from ilion.errors import DatasetError, ExtractionError, ImageError
from ilion.extractors.base import Extractor, ExtractorSpec, Fittable, TextExtractor
from ilion.images import crop, decode, least_size, mask, resize
from ilion.machine import machine, peak_memory
from ilion.store import (
    Artifact,
    ShardStats,
    fingerprint,
    has_descriptors,
    read_arrays,
    read_stats,
    shard_key,
    write_arrays,
    write_descriptors,
)
from ilion.threads import in_order
from ilion.types import RGB, Descriptors, ImageRecord, Query, Shard, Skipped, TarSource

log = logging.getLogger(__name__)

CHUNK = 32
"""Decoded images handed to the extractor at once; enough for full batches of each shape."""
FIT_SHARDS = 20
"""Shards that are looked into for a sample; the database may have thousands."""

Progress = Callable[[int, int], None]
OnBadImage = Literal["error", "skip"]
BoxUse = Literal["crop", "mask", "none"]


def load_image(record: ImageRecord, spec: ExtractorSpec, box_use: BoxUse = "none") -> RGB:
    """Read, decode and resize one image as a model wants it.

    Args:
        record: The image.
        spec: Of the model.
        box_use: What to do with the record's boxes, if it has any.

    Returns:
        (H, W, 3) RGB uint8.

    Raises:
        ImageError: It cannot be read or decoded; the message says where it is.
    """
    where = str(record.source)
    boxed = bool(record.boxes) and box_use != "none"
    try:
        data = record.source.read()
        # a cropped query must keep its detail, so it is decoded at full size
        decoded = decode(data, at_least=None if boxed else least_size(spec.resize, spec.side), where=where)
        image = decoded.image
        if boxed and box_use == "crop":
            image = crop(image, record.boxes)
        elif boxed:
            image = mask(image, record.boxes)
        return resize(image, spec.resize, spec.side)
    except OSError as error:
        raise ImageError(f"{where}: cannot be read ({error.strerror or error})") from error
    except ImageError as error:
        raise error if where in str(error) else ImageError(f"{where}: {error}") from error


def describe(
    records: Iterable[ImageRecord],
    extractor: Extractor,
    *,
    box_use: BoxUse = "none",
    on_bad_image: OnBadImage = "error",
    dtype: str = "float16",
    workers: int = 0,
    progress: Callable[[int], None] | None = None,
) -> tuple[Descriptors, tuple[Skipped, ...]]:
    """Describe images, in their order.

    Args:
        records: The images.
        extractor: The model.
        box_use: For records with boxes.
        on_bad_image: ``error`` or ``skip``.
        dtype: ``float16`` or ``float32``.
        workers: Decoding threads; 0 takes one a core.
        progress: Called with the number of images just done.

    Returns:
        Descriptors of the readable images, and those that were skipped.

    Raises:
        ImageError: An image is unreadable and ``on_bad_image`` is ``error``.
        ExtractionError: The model returns something else than its spec says.
    """
    spec = extractor.spec
    ids: list[str] = []
    chunk: list[RGB] = []
    parts = [np.empty((0, spec.dim), dtype)]
    skipped: list[Skipped] = []

    def flush() -> None:
        if chunk:
            values = extractor.extract(chunk)
            if values.shape != (len(chunk), spec.dim):
                raise ExtractionError(
                    f"{spec.name} returned {values.shape} for {len(chunk)} images of {spec.dim}"
                )
            parts.append(values.astype(dtype))
            if progress:
                progress(len(chunk))
            chunk.clear()

    for record, image in in_order(
        records, lambda r: load_image(r, spec, box_use), workers=workers, ahead=CHUNK
    ):
        try:
            chunk.append(image.result())
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
        ids.append(record.id)
        if len(chunk) == CHUNK:
            flush()
    flush()
    return Descriptors(tuple(ids), np.concatenate(parts)), tuple(skipped)


def extract_shards(
    shards: Sequence[Shard],
    extractor: Extractor,
    artifact: Artifact,
    *,
    on_bad_image: OnBadImage = "error",
    dtype: str = "float16",
    workers: int = 0,
    progress: Progress | None = None,
) -> tuple[list[str], bool]:
    """Describe the shards that are not described yet.

    Args:
        shards: In database order.
        extractor: The model, fitted.
        artifact: Where the descriptors belong; its inputs must hold the model's spec.
        on_bad_image: ``error`` or ``skip``.
        dtype: Stored type.
        workers: Decoding threads.
        progress: Called with images done and in all; the total is an estimate until the last shard.

    Returns:
        The keys of the shards in order, and whether all of them were there already.

    Raises:
        ImageError: See `describe`.
        ArtifactError: The disk is full, or the artifact cannot be written.
    """
    keys = [shard_key(shard.name, shard.fingerprint()) for shard in shards]
    reused = True
    done = 0
    for number, (shard, key) in enumerate(zip(shards, keys, strict=True)):
        # images that were skipped once are an error when skipping is not asked for any more
        if has_descriptors(artifact, key) and (
            on_bad_image == "skip" or not read_stats(artifact, key).skipped
        ):
            stats = read_stats(artifact, key)
            done += stats.images + len(stats.skipped)
            continue
        reused = False
        log.info("describing shard %s (%d of %d)", shard.name, number + 1, len(shards))
        started = time.perf_counter()
        records = list(shard.records())
        total = round((done + len(records)) / (number + 1) * len(shards))

        def advance(images: int, total: int = total) -> None:
            nonlocal done
            done += images
            if progress:
                progress(done, max(done, total))

        descriptors, skipped = describe(
            records, extractor, on_bad_image=on_bad_image, dtype=dtype, workers=workers, progress=advance
        )
        write_descriptors(
            artifact,
            key,
            descriptors,
            _stats(len(records) - len(skipped), started, skipped),
        )
    return keys, reused


def extract_queries(
    queries: Sequence[Query],
    extractor: Extractor,
    artifact: Artifact,
    *,
    box_use: BoxUse = "crop",
    workers: int = 0,
) -> tuple[str, bool]:
    """Describe image or text queries; an unreadable query is always an error: no result may lack it.

    Args:
        queries: All of one kind.
        extractor: The model, fitted; for texts it needs a text tower.
        artifact: Where the descriptors belong.
        box_use: For queries with boxes.
        workers: Decoding threads.

    Returns:
        The key of the stored shard, and whether it was there already.

    Raises:
        ImageError: A query image is unreadable.
        ExtractionError: The model has no text tower.
    """
    key = shard_key("queries", _fingerprint(queries))
    if has_descriptors(artifact, key):
        return key, True
    started = time.perf_counter()
    texts = [q.text for q in queries if q.text is not None]
    if texts:
        if not isinstance(extractor, TextExtractor):
            raise ExtractionError(
                f"{extractor.spec.name} has no text tower; text queries need a vision-language model "
                "('ilion models --text' lists them)"
            )
        values = extractor.extract_text(texts)
        descriptors = Descriptors(tuple(q.id for q in queries), values.astype(np.float32))
    else:
        images = [q.image for q in queries if q.image is not None]
        found, _ = describe(images, extractor, box_use=box_use, dtype="float32", workers=workers)
        descriptors = Descriptors(tuple(q.id for q in queries), found.values)
    write_descriptors(artifact, key, descriptors, _stats(len(queries), started))
    return key, False


def _fingerprint(queries: Sequence[Query]) -> str:
    """Digest of ids, texts, boxes, and size and times of the image files."""
    parts: list[object] = []
    for query in queries:
        parts.append([query.id, query.text])
        if query.image is not None:
            source = query.image.source
            stat = source.path.stat()
            member = [source.offset, source.size] if isinstance(source, TarSource) else []
            parts.append([query.image.boxes, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, member])
    return fingerprint(parts)


def _stats(images: int, started: float, skipped: tuple[Skipped, ...] = ()) -> ShardStats:
    return ShardStats(images, time.perf_counter() - started, peak_memory(), machine(), skipped)


def sample_records(shards: Sequence[Shard], count: int, seed: int) -> list[ImageRecord]:
    """Draw database images for models that learn something, from shards spread over the database.

    Args:
        shards: In database order.
        count: At most so many.
        seed: The same seed and database give the same sample.
    """
    if not shards:
        return []
    spread = sorted({int(i) for i in np.linspace(0, len(shards) - 1, min(FIT_SHARDS, len(shards)))})
    records = [record for i in spread for record in shards[i].records()]
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(records))[:count])
    return [records[i] for i in chosen]


def fit(
    sample: Callable[[], Sequence[ImageRecord]],
    extractor: Fittable,
    spec: ExtractorSpec,
    artifact: Artifact,
    *,
    seed: int,
    on_bad_image: OnBadImage = "error",
    workers: int = 0,
    progress: Progress | None = None,
) -> bool:
    """Let a model learn from a sample, or load what it learnt from the same sample before.

    Args:
        sample: Draws the sample; called only when it is needed.
        extractor: The model.
        spec: Its spec, for the image size.
        artifact: Where the learnt arrays belong; its inputs must hold the sample's fingerprint.
        seed: For the model.
        on_bad_image: ``error`` or ``skip``; skipped images are counted when their shard is described.
        workers: Decoding threads.
        progress: Called with images seen and in all.

    Returns:
        Whether the arrays were there already.

    Raises:
        ImageError: See `describe`.
        ExtractionError: The sample is too poor to learn from.
    """
    path = artifact.folder / "state.npz"
    if path.exists():
        extractor.load_state(read_arrays(path))
        return True

    records = sample()

    def images() -> Iterator[RGB]:
        for seen, (_, image) in enumerate(in_order(records, lambda r: load_image(r, spec), workers=workers)):
            try:
                yield image.result()
            except DatasetError:
                if on_bad_image == "error":
                    raise
            if progress:
                progress(seen + 1, len(records))

    extractor.fit(images(), seed)
    write_arrays(path, extractor.state())
    return False
