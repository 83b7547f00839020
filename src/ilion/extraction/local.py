"""Local features of images, encoded and stored.

Keypoints are stored in pixels of the full upright image, however much of it was looked at and at which size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ilion.errors import ExtractionError
from ilion.extraction.describe import (
    CHUNK,
    BoxUse,
    Description,
    StoredDescription,
    View,
    describe,
    describe_queries,
    load_part,
)
from ilion.extraction.recode import as_stored, full_precision, read_features, settle
from ilion.extraction.shards import OnBadImage, Progress, stats_since
from ilion.images import least_size
from ilion.localfeatures.base import LocalExtractor
from ilion.localfeatures.codecs import Codec, CodecSettings, fit_codec, raw_codec
from ilion.localfeatures.store import LocalSet, has_codec, read_codec, write_codec, write_features
from ilion.outcome import Skipped
from ilion.storage import Artifact, TakeStats
from ilion.types import ImageRecord, LocalFeatures, Query
from ilion.wording import counted

SAMPLE_PER_IMAGE = 100
"""Features of one image that take part in learning a codec: many images teach more than many features."""


def place_in_full(features: LocalFeatures, view: View) -> LocalFeatures:
    """Move features found in a view to the pixels of the full image.

    Args:
        features: In pixels of the view.
        view: View in which they were found.

    >>> view = View(np.zeros((50, 50, 3), np.uint8), (10, 20), (0.5, 0.5), (200, 300))
    >>> one = np.ones(1, np.float32)
    >>> found = LocalFeatures(np.array([[4.5, 0]], np.float32), np.eye(1), one, (50, 50), one, one)
    >>> moved = place_in_full(found, view)
    >>> moved.keypoints.tolist(), moved.scales.tolist(), moved.image_size
    ([[19.5, 20.5]], [2.0], (200, 300))
    """
    scale, offset = np.array(view.scale), np.array(view.offset)
    # the centre of the first pixel lies half a pixel from the edge, at every size
    keypoints = (features.keypoints + 0.5) / scale - 0.5 + offset
    moved = replace(
        features,
        keypoints=keypoints.astype(np.float32),
        scales=None if features.scales is None else (features.scales / np.sqrt(scale.prod())).astype("f"),
        image_size=view.full_size,
    )
    if not view.shown:
        return moved
    # where the mask begins there are corners that the object does not have
    x, y = keypoints.T
    inside = [(b.x <= x) & (x < b.x + b.width) & (b.y <= y) & (y < b.y + b.height) for b in view.shown]
    return moved.take(np.flatnonzero(np.any(inside, axis=0)))


@dataclass(frozen=True)
class LocalDescription(Description[View, LocalFeatures]):
    """The local features of an image.

    Args:
        extractor: Extractor of local features.
        enlarge: Whether images smaller than the extractor's side are brought to it.
    """

    extractor: LocalExtractor
    enlarge: bool = False

    @property
    def spec(self) -> Mapping[str, Any]:
        """What the numbers depend on."""
        return self.extractor.spec.as_dict()

    def load(self, record: ImageRecord, box_use: BoxUse) -> View:
        """Read, decode and resize an image."""
        side = self.extractor.spec.side
        part = load_part(record, least_size("long", side), box_use)
        return part.fit_side(side, enlarge=self.enlarge)

    def describe(self, images: Sequence[tuple[ImageRecord, View]]) -> list[LocalFeatures]:
        """Return the features of each image.

        Raises:
            ExtractionError: The extractor returns something else than its spec says.
        """
        found, spec = self.extractor.extract([view.image for _, view in images]), self.extractor.spec
        if len(found) != len(images):
            raise ExtractionError(
                f"{spec.name} returned features of {counted(len(found), 'image')} for {len(images)}"
            )
        for (record, _), features in zip(images, found, strict=True):
            _check(features, self.extractor, record)
        return [place_in_full(features, view) for (_, view), features in zip(images, found, strict=True)]


@dataclass(frozen=True)
class EncodedDescription(StoredDescription[View, bytes]):
    """The local features of an image, as a codec stores them."""

    features: LocalDescription
    codec: Codec
    kind = "local"
    takes_over = True

    @property
    def spec(self) -> Mapping[str, Any]:
        """What the features depend on."""
        return self.features.spec

    def load(self, record: ImageRecord, box_use: BoxUse) -> View:
        """Read, decode and resize an image."""
        return self.features.load(record, box_use)

    def describe(self, images: Sequence[tuple[ImageRecord, View]]) -> list[bytes]:
        """Return the encoded features of each image."""
        return [self.codec.encode(as_stored(f, self.codec)) for f in self.features.describe(images)]

    def write(
        self, artifact: Artifact, key: str, described: Iterator[tuple[str, bytes]], stats: TakeStats
    ) -> None:
        """Store the features of a shard."""
        write_features(artifact, key, described, stats)

    def earlier(self, artifact: Artifact, key: str) -> Callable[[int], bytes]:
        """Return what reads the rows of an earlier shard."""
        return LocalSet(artifact, [key]).stored


def describe_local(
    records: Iterable[ImageRecord],
    extractor: LocalExtractor,
    skipped: list[Skipped] | None = None,
    *,
    enlarge: bool = False,
    **options: Any,
) -> Iterator[tuple[ImageRecord, LocalFeatures]]:
    """Find and describe the features of images, in their order, without storing anything.

    Args:
        records: The images.
        extractor: Extractor of local features.
        skipped: List to which images are added that cannot be read, if they are to be skipped.
        enlarge: Whether images smaller than the extractor's side are brought to it.
        options: Further arguments of `ilion.extraction.describe.describe`.
    """
    return describe(
        records, LocalDescription(extractor, enlarge), [] if skipped is None else skipped, **options
    )


def describe_local_queries(
    queries: Sequence[Query],
    extractor: LocalExtractor,
    *,
    box_use: BoxUse = "crop",
    enlarge: bool = False,
    workers: int = 0,
) -> dict[str, LocalFeatures]:
    """Describe the photos of queries without storing anything, as `extract_local_queries` stores them.

    Returns:
        Query id -> features as they come back from full precision on disk; texts have none.

    Raises:
        ImageError: A query image is unreadable.
    """
    photos = [replace(query.image, id=query.id) for query in queries if query.image is not None]
    described = describe_local(photos, extractor, enlarge=enlarge, box_use=box_use, workers=workers)
    return {photo.id: full_precision(found, extractor.spec.metric) for photo, found in described}


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
        extractor: Extractor of local features.
        settings: Kind and size of the codec.
        artifact: Artifact of the codec; its inputs must hold the spec, the settings and the sample.
        seed: For the sample of features and for the codec.
        source: Features of these images at full precision, if they are stored: no image is then looked at,
            and the codec is the same.
        on_bad_image: ``error`` or ``skip``; skipped images are counted when their shard is described.
        workers: Decoding threads.
        progress: Callback that receives the number of images seen and of all.

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
        described = read_features(source, rows[rows >= 0], extractor.spec.features)
    else:
        described = (
            features
            for _, features in describe_local(
                records, extractor, on_bad_image=on_bad_image, workers=workers, progress=advance
            )
        )
    found = [_thin(features, rng) for features in described]
    if settings == CodecSettings():
        has_shape = all(f.scales is not None and f.angles is not None for f in found)
        codec = raw_codec(extractor.spec.dim, extractor.spec.metric, has_shape=has_shape)
    else:
        metric = extractor.spec.metric
        codec = fit_codec(settings, metric, [full_precision(f, metric) for f in found], seed)
    write_codec(artifact.folder, codec)
    return codec, False


def _thin(features: LocalFeatures, rng: np.random.Generator) -> LocalFeatures:
    return features.take(np.sort(rng.permutation(len(features.keypoints))[:SAMPLE_PER_IMAGE]))


def extract_local_queries(
    queries: Sequence[Query],
    extractor: LocalExtractor,
    artifact: Artifact,
    *,
    box_use: BoxUse = "crop",
    enlarge: bool = False,
    workers: int = 0,
) -> tuple[str, bool]:
    """Describe image queries at full precision.

    Args:
        queries: Image queries.
        extractor: Extractor of local features.
        artifact: Artifact of the queries; its inputs must hold the extractor's spec.
        box_use: Use of the boxes of queries.
        enlarge: Whether images smaller than the extractor's side are brought to it.
        workers: Number of decoding threads; 0 means one per core.

    Returns:
        See `ilion.extraction.describe.describe_queries`, also for what is raised.
    """

    def store(key: str, photos: list[ImageRecord], started: float) -> None:
        described = describe_local(photos, extractor, enlarge=enlarge, box_use=box_use, workers=workers)
        found = list(described)
        has_shape = all(f.scales is not None and f.angles is not None for _, f in found)
        codec = raw_codec(extractor.spec.dim, extractor.spec.metric, has_shape=has_shape)
        settle(artifact, codec)
        records = ((photo.id, codec.encode(features)) for photo, features in found)
        write_features(artifact, key, records, partial(stats_since, started))

    no = ", which has no local features; re-ranking takes image queries"
    return describe_queries(queries, artifact, store, no)
