"""From images to stored descriptors: read and decode in threads, describe, store shard by shard.

Shards are the units of work, see `ilion.extraction.shards`. Memory holds one chunk of decoded images and one
shard of descriptors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from ilion.descriptors.base import Extractor, ExtractorSpec, Fittable, TextExtractor
from ilion.descriptors.texts import count_long
from ilion.errors import DatasetError, ExtractionError
from ilion.extraction.known import put_together, recall, stamps_of, write_stamps
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
from ilion.images import crop, decode, least_size, mask, resize
from ilion.outcome import Skipped
from ilion.runtime.threads import in_order
from ilion.storage import Artifact, has_descriptors, read_arrays, write_arrays, write_descriptors
from ilion.types import RGB, Descriptors, ImageRecord, Query, Shard

FIT_SHARDS = 20
"""Shards that are looked into for a sample; the database may have thousands."""

STATE = "state.npz"
"""What a model learnt, in the folder of its artifact."""

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
    boxed = bool(record.boxes) and box_use != "none"
    with reading(record) as where:
        # a cropped query must keep its detail, so it is decoded at full size
        at_least = None if boxed else least_size(spec.resize, spec.side)
        image = decode(record.source.read(), at_least=at_least, where=where).image
        if boxed and box_use == "crop":
            image = crop(image, record.boxes)
        elif boxed:
            image = mask(image, record.boxes)
        return resize(image, spec.resize, spec.side)


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

    for record, image in readable(
        records,
        lambda r: load_image(r, spec, box_use),
        skipped,
        on_bad_image=on_bad_image,
        workers=workers,
        progress=progress,
    ):
        ids.append(record.id)
        chunk.append(image)
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
    earlier: Sequence[str] = (),
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
        earlier: Keys of shards that may hold some of the images, see `ilion.extraction.known`.
        progress: Called with images done and in all; the total is an estimate until the last shard.

    Returns:
        The keys of the shards in order, and whether all of them were there already.

    Raises:
        ImageError: See `describe`.
        ArtifactError: The disk is full, or the artifact cannot be written.
    """
    keys = shard_keys(shards)
    reused = True
    for key, records, advance in unfinished(
        shards, keys, artifact, on_bad_image=on_bad_image, progress=progress
    ):
        reused = False
        started = time.perf_counter()
        known = recall(artifact, earlier, stamps_of(records))
        advance(len(known.places))
        fresh, skipped = describe(
            known.fresh(records),
            extractor,
            on_bad_image=on_bad_image,
            dtype=dtype,
            workers=workers,
            progress=advance,
        )
        descriptors = put_together(artifact, records, known, fresh)
        write_stamps(artifact, key, records, known.stamps, descriptors.ids)
        stats = stats_since(started - known.seconds, len(descriptors.ids), skipped)
        write_descriptors(artifact, key, descriptors, stats)
    return keys, reused


def extract_queries(
    queries: Sequence[Query],
    extractor: Extractor,
    artifact: Artifact,
    *,
    box_use: BoxUse = "crop",
    workers: int = 0,
    companions: Mapping[str, str] | None = None,
    text_weight: float = 0.5,
    blind: bool = False,
) -> tuple[str, bool]:
    """Describe image or text queries; an unreadable query is always an error: no result may lack it.

    Args:
        queries: Images, texts, or both.
        extractor: The model, fitted; for texts it needs a text tower.
        artifact: Where the descriptors belong.
        box_use: For queries with boxes.
        workers: Decoding threads.
        companions: Image query -> text that is asked with it; their descriptors are added.
        text_weight: Share of the text in such a sum, [0, 1].
        blind: Texts that the model cannot describe are no error but similar to nothing (a row of zeros).

    Returns:
        The key of the stored shard, and whether it was there already.

    Raises:
        ImageError: A query image is unreadable.
        ExtractionError: The model has no text tower.
    """
    key = queries_key(queries)
    if has_descriptors(artifact, key):
        return key, True
    started = time.perf_counter()
    values = np.zeros((len(queries), extractor.spec.dim), np.float32)
    photos = [(row, q.image) for row, q in enumerate(queries) if q.image is not None]
    if photos:
        found, _ = describe(
            [image for _, image in photos], extractor, box_use=box_use, dtype="float32", workers=workers
        )
        values[[row for row, _ in photos]] = found.values
    asked = {row: q.text for row, q in enumerate(queries) if q.text is not None}
    added = {row: companions[q.id] for row, q in enumerate(queries) if companions and q.id in companions}
    long = 0
    for texts, share in ((asked, 1.0), (added, text_weight)):
        rows = list(texts)
        if rows and _reads_texts(extractor, blind):
            long += count_long(extractor, [texts[row] for row in rows])
            described = extractor.extract_text([texts[row] for row in rows])  # type: ignore[attr-defined]
            mixed = (1 - share) * values[rows] + share * described
            values[rows] = mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-12)
    descriptors = Descriptors(tuple(q.id for q in queries), values)
    stats = replace(stats_since(started, len(queries)), long_texts=long)
    write_descriptors(artifact, key, descriptors, stats)
    return key, False


def _reads_texts(extractor: Extractor, blind: bool) -> bool:
    """Tell whether a model can describe texts.

    Raises:
        ExtractionError: It cannot, and must.
    """
    if not isinstance(extractor, TextExtractor) and not blind:
        raise ExtractionError(
            f"{extractor.spec.name} has no text tower; text queries need a vision-language model "
            "('ilion models --text' lists them), or the words on things: set reading.use to only or fused"
        )
    return isinstance(extractor, TextExtractor)


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
    path = artifact.folder / STATE
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
