"""Global descriptors of images and texts, stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.descriptors.base import Extractor, ExtractorSpec, Fittable, TextExtractor
from ilion.descriptors.texts import count_long
from ilion.errors import DatasetError, ExtractionError
from ilion.extraction.describe import BoxUse, StoredDescription, describe, load_part
from ilion.extraction.shards import OnBadImage, Progress, queries_key, stats_since
from ilion.images import least_size, resize
from ilion.outcome import Skipped
from ilion.runtime.threads import in_order
from ilion.storage import (
    Artifact,
    TakeStats,
    has_descriptors,
    read_arrays,
    read_descriptors,
    write_arrays,
    write_descriptors,
)
from ilion.types import RGB, Descriptors, ImageRecord, Query, TarSource
from ilion.wording import counted

STATE = "state.npz"
"""File of what a model learnt, in the folder of its artifact."""


def load_image(record: ImageRecord, spec: ExtractorSpec, box_use: BoxUse = "none") -> RGB:
    """Read, decode and resize one image as a model wants it.

    Args:
        record: The image.
        spec: Spec of the model.
        box_use: Use of the record's boxes, if it has any.

    Returns:
        (H, W, 3) RGB uint8.

    Raises:
        ImageError: The image cannot be read or decoded; the message says where it is.
    """
    # the benchmark's own extractor knows no EXIF in tars
    upright = not (spec.resize == "ilias" and isinstance(record.source, TarSource))
    part = load_part(record, least_size(spec.resize, spec.side), box_use, upright)
    return resize(part.image, spec.resize, spec.side)


@dataclass(frozen=True)
class GlobalDescription(StoredDescription[RGB, NDArray[np.floating]]):
    """One descriptor an image.

    Args:
        extractor: The model, fitted.
        dtype: Type of the stored values, ``float16`` or ``float32``.
    """

    extractor: Extractor
    dtype: str = "float16"
    kind = "descriptors"
    takes_over = True

    @property
    def spec(self) -> Mapping[str, Any]:
        """What the numbers depend on."""
        return self.extractor.spec.as_dict()

    def load(self, record: ImageRecord, box_use: BoxUse) -> RGB:
        """Read, decode and resize an image."""
        return load_image(record, self.extractor.spec, box_use)

    def describe(self, images: Sequence[tuple[ImageRecord, RGB]]) -> list[NDArray[np.floating]]:
        """Return B descriptors (D,).

        Raises:
            ExtractionError: The model returns something else than its spec says.
        """
        spec, values = self.extractor.spec, self.extractor.extract([image for _, image in images])
        numbers = isinstance(values, np.ndarray) and values.dtype.kind in "fiu"
        if not numbers or values.shape != (len(images), spec.dim):
            seen = f"{values.dtype} {values.shape}" if hasattr(values, "dtype") else type(values).__name__
            raise ExtractionError(
                f"{spec.name} returned {seen} for {counted(len(images), 'image')}; a model gives an array of "
                f"real numbers of shape ({len(images)}, {spec.dim!r})"
            )
        return list(values.astype(self.dtype))

    def write(
        self,
        artifact: Artifact,
        key: str,
        described: Iterator[tuple[str, NDArray[np.floating]]],
        stats: TakeStats,
    ) -> None:
        """Store the descriptors of a shard."""
        descriptors = self.gather(described)
        write_descriptors(artifact, key, descriptors, stats(len(descriptors.ids)))

    def gather(self, described: Iterable[tuple[str, NDArray[np.floating]]]) -> Descriptors:
        """Return descriptors of ids and rows."""
        ids, rows = [], []
        for name, row in described:
            ids.append(name)
            rows.append(row)
        values = np.array(rows, self.dtype).reshape(len(ids), self.extractor.spec.dim)
        return Descriptors(tuple(ids), values)

    def earlier(self, artifact: Artifact, key: str) -> Callable[[int], NDArray[np.floating]]:
        """Return what reads the rows of an earlier shard."""
        return read_descriptors(artifact, key).values.__getitem__


def describe_images(
    records: Iterable[ImageRecord],
    extractor: Extractor,
    *,
    box_use: BoxUse = "none",
    on_bad_image: OnBadImage = "error",
    dtype: str = "float16",
    workers: int = 0,
) -> tuple[Descriptors, tuple[Skipped, ...]]:
    """Describe images without storing anything.

    Args:
        records: The images.
        extractor: The model, fitted.
        box_use: Use of the boxes of records that have some.
        on_bad_image: ``error`` or ``skip``.
        dtype: ``float16`` or ``float32``.
        workers: Number of decoding threads; 0 means one per core.

    Returns:
        Descriptors of the readable images in their order, and those that were skipped.

    Raises:
        ImageError: See `ilion.extraction.describe.describe`.
    """
    skipped: list[Skipped] = []
    kind = GlobalDescription(extractor, dtype)
    found = describe(records, kind, skipped, box_use=box_use, on_bad_image=on_bad_image, workers=workers)
    return kind.gather((record.id, row) for record, row in found), tuple(skipped)


def extract_queries(
    queries: Sequence[Query],
    extractor: Extractor,
    artifact: Artifact,
    *,
    box_use: BoxUse = "crop",
    workers: int = 0,
    companions: Mapping[str, str] | None = None,
    text_weight: float | None = 0.5,
    blind: bool = False,
) -> tuple[str, bool]:
    """Describe image or text queries; an unreadable query is always an error: no result may lack it.

    Args:
        queries: Images, texts, or both.
        extractor: The model, fitted; for texts it needs a text tower.
        artifact: Artifact of the descriptors.
        box_use: For queries with boxes.
        workers: Decoding threads.
        companions: Image query -> text that is asked with it; their descriptors are added.
        text_weight: Share of the text in such a sum, [0, 1]; None keeps both beside each other, (Q, 2 D).
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
    descriptors, long = describe_queries(
        queries,
        extractor,
        box_use=box_use,
        workers=workers,
        companions=companions,
        text_weight=text_weight,
        blind=blind,
    )
    stats = replace(stats_since(started, len(queries)), long_texts=long)
    write_descriptors(artifact, key, descriptors, stats)
    return key, False


def describe_queries(
    queries: Sequence[Query],
    extractor: Extractor,
    *,
    box_use: BoxUse = "crop",
    workers: int = 0,
    companions: Mapping[str, str] | None = None,
    text_weight: float | None = 0.5,
    blind: bool = False,
) -> tuple[Descriptors, int]:
    """Describe image or text queries without storing anything; see `extract_queries` for the arguments.

    Returns:
        Their descriptors, in order, and the number of texts that exceed what the model reads.

    Raises:
        ImageError: A query image is unreadable.
        ExtractionError: The model has no text tower.
    """
    values = np.zeros((len(queries), extractor.spec.dim), np.float32)
    photos = [(row, q.image) for row, q in enumerate(queries) if q.image is not None]
    if photos:
        found, _ = describe_images(
            [image for _, image in photos], extractor, box_use=box_use, dtype="float32", workers=workers
        )
        values[[row for row, _ in photos]] = found.values
    asked = {row: q.text for row, q in enumerate(queries) if q.text is not None}
    added = {row: companions[q.id] for row, q in enumerate(queries) if companions and q.id in companions}
    long = 0
    if companions and text_weight is None:
        values = np.concatenate([values, values], axis=1)  # a photo without a text is asked with twice
    for texts, share in ((asked, 1.0), (added, text_weight)):
        rows = list(texts)
        if rows and _reads_texts(extractor, blind):
            long += count_long(extractor, [texts[row] for row in rows])
            described = extractor.extract_text([texts[row] for row in rows])  # type: ignore[attr-defined]
            if share is None:
                values[rows, extractor.spec.dim :] = described
                continue
            mixed = (1 - share) * values[rows] + share * described
            values[rows] = mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-12)
    return Descriptors(tuple(q.id for q in queries), values), long


def _reads_texts(extractor: Extractor, blind: bool) -> bool:
    """Tell whether a model can describe texts.

    Raises:
        ExtractionError: The model cannot, and must.
    """
    if not isinstance(extractor, TextExtractor) and not blind:
        raise ExtractionError(
            f"{extractor.spec.name} has no text tower; text queries need a vision-language model "
            "('ilion models --text' lists them), or the words on things: set reading.use to only or fused"
        )
    return isinstance(extractor, TextExtractor)


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
        spec: Spec of the model, for the image size.
        artifact: Artifact of the learnt arrays; its inputs must hold the sample's fingerprint.
        seed: For the model.
        on_bad_image: ``error`` or ``skip``; skipped images are counted when their shard is described.
        workers: Decoding threads.
        progress: Callback that receives the number of images seen and of all.

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
