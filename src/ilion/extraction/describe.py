"""From images to what is stored of them: one way for descriptors, local features, words read and postings.

    records -> taken over, or loaded in threads -> described in chunks -> stored as one shard

A `Description` says what is made of an image, a `StoredDescription` also how a shard of them is stored; all
else is written here, once. A shard is the unit of work wherever it is done: a finished one is never computed
again, one that was being computed when the process ended leaves nothing behind. Memory holds one chunk of
decoded images and what the shard's writer keeps.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import floor
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np

from ilion.errors import DatasetError, ExtractionError, ImageError
from ilion.extraction.known import find_earlier, stamps_of, write_stamps
from ilion.extraction.shards import OnBadImage, Progress, queries_key, stats_since
from ilion.images import crop, decode, mask, resize
from ilion.outcome import Skipped
from ilion.runtime.threads import in_order
from ilion.storage import Artifact, ShardStats, TakeStats, has_descriptors
from ilion.types import RGB, Box, ImageRecord, Query, Shard, Value

log = logging.getLogger(__name__)

ADVICE = "--on-bad-image=skip counts such images and goes on; 'ilion datasets check' lists all of them"
"""What to do about an unreadable image of the database."""
CHUNK = 32
"""Number of decoded images handed to an extractor at once; enough for full batches of each shape."""
FIT_SHARDS = 20
"""Number of shards that are looked into for a sample; the database may have thousands."""

BoxUse = Literal["crop", "mask", "none"]
L = TypeVar("L")
T = TypeVar("T")


def box_inputs(box_use: BoxUse) -> str:
    """Return how fingerprints of local features name a use of boxes: ``mask`` there once meant ``crop``."""
    return "mask outside" if box_use == "mask" else box_use


@dataclass(frozen=True)
class View(Value):
    """A part of an image, and where it lies in the full one.

    Args:
        image: (H, W, 3) RGB uint8, perhaps shrunk or enlarged.
        offset: Left and top edge of the part in pixels of the full upright image.
        scale: Pixels of ``image`` for one pixel of the full image, in x and y.
        full_size: (width, height) of the full image.
        shown: Boxes in pixels of the full image, outside which everything is masked; empty without a mask.
    """

    image: RGB
    offset: tuple[int, int]
    scale: tuple[float, float]
    full_size: tuple[int, int]
    shown: tuple[Box, ...] = ()

    def fit_side(self, side: int, *, enlarge: bool = False) -> View:
        """Return the view with its longer side shrunk to ``side`` pixels, or enlarged to it too."""
        if not enlarge and max(self.image.shape[:2]) <= side:
            return self
        image = resize(self.image, "long", side)
        across = self.scale[0] * image.shape[1] / self.image.shape[1]
        down = self.scale[1] * image.shape[0] / self.image.shape[0]
        return replace(self, image=image, scale=(across, down))


def load_part(
    record: ImageRecord, at_least: tuple[int, int] | None, box_use: BoxUse = "none", upright: bool = True
) -> View:
    """Read and decode an image, and do with its boxes what is asked: for every kind of description.

    Args:
        record: The image.
        at_least: Width and height in pixels that are enough; None decodes at full size, as for boxes.
        box_use: ``crop`` keeps the smallest rectangle that holds the record's boxes, ``mask`` blanks what
            lies outside of them, ``none`` looks at everything.
        upright: Whether to turn it as its EXIF orientation says.

    Raises:
        ImageError: The image cannot be read or decoded; the message says where it is.
    """
    boxes = record.boxes if box_use != "none" else ()
    with naming_place(record) as where:
        # a cropped query must keep its detail, so it is decoded at full size
        decoded = decode(
            record.source.read(), at_least=None if boxes else at_least, where=where, upright=upright
        )
        if boxes and box_use == "mask":
            return View(mask(decoded.image, boxes), (0, 0), decoded.scale, decoded.full_size, boxes)
        part = crop(decoded.image, boxes)
    left = max(0, floor(min((box.x for box in boxes), default=0)))
    top = max(0, floor(min((box.y for box in boxes), default=0)))
    return View(part, (left, top), decoded.scale, decoded.full_size)


class Description(ABC, Generic[L, T]):
    """What is made of images.

    ``load`` is called in several threads at once.
    """

    chunk: ClassVar[int] = CHUNK
    """Number of loaded images that are described together."""

    @property
    @abstractmethod
    def spec(self) -> Mapping[str, Any]:
        """What the numbers depend on, as plain values; equal on all machines that share the work."""

    @abstractmethod
    def load(self, record: ImageRecord, box_use: BoxUse) -> L:
        """Read, decode and resize an image."""

    @abstractmethod
    def describe(self, images: Sequence[tuple[ImageRecord, L]]) -> Sequence[T]:
        """Describe at most ``chunk`` loaded images; one result each, in their order."""


class StoredDescription(Description[L, T]):
    """A description that is stored in shards; one subclass a kind of artifact."""

    kind: ClassVar[str]
    """Kind of the artifact that holds it."""
    takes_over: ClassVar[bool] = False
    """Whether what earlier shards hold of an unchanged image is taken over instead of made anew."""

    @abstractmethod
    def write(
        self, artifact: Artifact, key: str, described: Iterator[tuple[str, T]], stats: TakeStats
    ) -> None:
        """Store a shard from ids and results as they come, and last what makes it count.

        Args:
            artifact: Artifact of the shard.
            key: File stem of the shard.
            described: Ids and results.
            stats: Function that says what the shard took; called when all images are written.
        """

    def earlier(self, artifact: Artifact, key: str) -> Callable[[int], T]:
        """Return what reads the rows of an earlier shard, for a kind that takes them over."""
        raise NotImplementedError


@contextmanager
def naming_place(record: ImageRecord) -> Iterator[str]:
    """Give the place of an image, and name it in every error that reading the image raises.

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


def describe(
    records: Iterable[ImageRecord],
    description: Description[L, T],
    skipped: list[Skipped],
    *,
    box_use: BoxUse = "none",
    on_bad_image: OnBadImage = "error",
    advice: str = "",
    workers: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Iterator[tuple[ImageRecord, T]]:
    """Describe images, in their order.

    Args:
        records: The images.
        description: Kind of description.
        skipped: List to which images are added that cannot be read, if they are to be skipped.
        box_use: Use of the boxes of records that have some.
        on_bad_image: ``error`` or ``skip``.
        advice: Remedy for an unreadable image, beyond what its message says.
        workers: Number of decoding threads; 0 means one per core.
        progress: Callback that receives the number of images just done.

    Raises:
        ImageError: An image is unreadable and ``on_bad_image`` is ``error``.
        ExtractionError: An extractor returns something else than its spec says.
    """
    chunk: list[tuple[ImageRecord, L]] = []

    def flush() -> Iterator[tuple[ImageRecord, T]]:
        if chunk:
            for (record, _), found in zip(chunk, description.describe(chunk), strict=True):
                yield record, found
            if progress:
                progress(len(chunk))
            chunk.clear()

    def load(record: ImageRecord) -> L:
        return description.load(record, box_use)

    for record, image in in_order(records, load, workers=workers, ahead=CHUNK):
        try:
            chunk.append((record, image.result()))
        except DatasetError as error:
            if on_bad_image == "error":
                raise ImageError(f"{error}. {advice}" if advice else str(error)) from error
            log.warning("skipped %s", error)
            skipped.append(Skipped(record.id, str(record.source), str(error)))
            if progress:
                progress(1)
            continue
        if len(chunk) == description.chunk:
            yield from flush()
    yield from flush()


def describe_shard(
    shard: Shard,
    key: str,
    description: StoredDescription[Any, Any],
    artifact: Artifact,
    *,
    on_bad_image: OnBadImage = "error",
    workers: int = 0,
    earlier: Sequence[str] = (),
    progress: Progress | None = None,
) -> None:
    """Describe and store one shard, in whichever process that is done.

    Args:
        shard: Part of the database.
        key: Key of the shard, see `ilion.extraction.shards.shard_keys`.
        description: Kind of description.
        artifact: Artifact of the shard; its inputs hold what the description depends on.
        on_bad_image: ``error`` or ``skip``.
        workers: Number of decoding threads; 0 means one per core.
        earlier: Keys of shards that may hold some of the images, see `ilion.extraction.known`.
        progress: Callback that receives the number of images done and of all.

    Raises:
        ImageError: See `describe`.
        ArtifactError: The disk is full, or the artifact cannot be written.
    """
    log.info("describing shard %s", shard.name)
    records = list(shard.records())
    started = time.perf_counter()
    known = find_earlier(artifact, earlier if description.takes_over else (), stamps_of(records))
    readers = {name: description.earlier(artifact, name) for name, _ in known.places.values()}
    skipped: list[Skipped] = []
    ids: list[str] = []
    done = 0

    def advance(images: int) -> None:
        nonlocal done
        done += images
        if progress:
            progress(done, len(records))

    advance(len(known.places))
    fresh = describe(
        known.fresh(records),
        description,
        skipped,
        on_bad_image=on_bad_image,
        advice=ADVICE,
        workers=workers,
        progress=advance,
    )

    def in_order_of_records() -> Iterator[tuple[str, Any]]:
        new = next(fresh, None)
        for number, record in enumerate(records):
            if number in known.places:
                name, row = known.places[number]
                found = readers[name](row)
            elif new is not None and new[0] is record:
                found, new = new[1], next(fresh, None)
            else:
                continue
            ids.append(record.id)
            yield record.id, found

    def stats(images: int) -> ShardStats:
        if description.takes_over:
            write_stamps(artifact, key, records, known.stamps, ids)
        return stats_since(started - known.seconds, images, skipped)

    description.write(artifact, key, in_order_of_records(), stats)


def describe_queries(
    queries: Sequence[Query],
    artifact: Artifact,
    store: Callable[[str, list[ImageRecord], float], None],
    no: str,
) -> tuple[str, bool]:
    """Describe the photos of queries; an unreadable one is always an error, as no result may lack it.

    Args:
        queries: Image queries.
        artifact: Artifact of the queries.
        store: Describes photos and stores them under a key; receives the time at the start.
        no: Sentence for a query that is a text.

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
    text = next((query.id for query in queries if query.image is None), None)
    if text is not None:
        raise ExtractionError(f"query {text!r} is a text{no}")
    store(key, [replace(q.image, id=q.id) for q in queries if q.image is not None], started)
    return key, False


def sample_records(shards: Sequence[Shard], count: int, seed: int) -> list[ImageRecord]:
    """Draw database images for models that learn something, from shards spread over the database.

    Args:
        shards: Shards in database order.
        count: Largest number of images.
        seed: Seed of the sample; the same seed and database give the same one.
    """
    if not shards:
        return []
    spread = sorted({int(i) for i in np.linspace(0, len(shards) - 1, min(FIT_SHARDS, len(shards)))})
    records = [record for i in spread for record in shards[i].records()]
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(records))[:count])
    return [records[i] for i in chosen]
