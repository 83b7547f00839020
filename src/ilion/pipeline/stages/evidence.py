"""Evidence of an audit: signatures of all photos, and what photos of objects find by local matches.

Both are artifacts, shard by shard, so that an audit that was stopped goes on, and one of grown data looks at
what is new only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ilion import storage
from ilion.audit.hashes import THUMB, sign
from ilion.descriptors.base import Extractor
from ilion.errors import ArtifactError, DatasetError, ImageError
from ilion.extraction.images import describe_images
from ilion.extraction.shards import queries_fingerprint, shard_keys
from ilion.images import decode, probe
from ilion.pipeline.experiment import Experiment
from ilion.pipeline.stages.photo_models import local_settings
from ilion.pipeline.stages.photos import Photos
from ilion.runtime.threads import in_order
from ilion.searching import local
from ilion.searching.local.encode import name_spots
from ilion.searching.local.records import unpack_codes
from ilion.searching.local.score import score_photos
from ilion.searching.local.search import gather, look_closer
from ilion.searching.local.tones import unpack_tones
from ilion.types import Box, Float32, Float64, ImageRecord, Int64, NoSource, Query, Value

DETAIL = 256
"""Longer side in pixels at which a photo is looked at for its signature."""
NEIGHBOURS = 100
"""Results of a photo that are verified."""
WORDS = 2
"""Nearest words in which a stored feature is looked up."""
SAMPLE, FEW = 200, 10
"""Features with which a distractor asks, and results that are verified."""
MODEL = "efficientnet-lite2"
"""Global descriptor that judges independently of local matches; it is embedded, and learns nothing."""


@dataclass(frozen=True, eq=False)
class Signatures(Value):
    """Signatures of photos, see `ilion.audit.hashes`.

    Args:
        ids: (N,) ids; of photos that could be read.
        digests: (N, 16) uint8 digests of the files.
        codes: (N, 24) uint8.
        mirrored: (N, 24) uint8.
        thumbs: (N, 16, 16, 3) uint8.
        sizes: (N, 2) int64 width and height in pixels, upright.
        unreadable: Ids of the photos that could not be read.
    """

    ids: tuple[str, ...]
    digests: NDArray[np.uint8]
    codes: NDArray[np.uint8]
    mirrored: NDArray[np.uint8]
    thumbs: NDArray[np.uint8]
    sizes: Int64
    unreadable: tuple[str, ...]


def sign_photos(
    experiment: Experiment, others: Sequence[ImageRecord] = (), *, workers: int = 0
) -> Signatures:
    """Sign the photos of the database, then those of the queries, then others.

    Args:
        experiment: The experiment.
        others: Further photos, such as those of training labels.
        workers: Number of threads; 0 means one per core.
    """
    artifact = storage.open_artifact(
        experiment.artifacts, "signatures", {"thumb": THUMB, "detail": DETAIL, "unreadable": "ids"}
    )
    shards = experiment.dataset.database
    keys = shard_keys(shards)
    tell, parts = experiment.tell("signatures"), []
    images = [q.image for q in experiment.dataset.queries if q.image is not None]
    kept = list(dict.fromkeys(images))
    loose: list[tuple[str, list[ImageRecord]]] = []
    for name, records in (("queries", kept), ("others", list(others))):
        if records:
            asked = [Query(f"{n}", "", image=record) for n, record in enumerate(records)]
            loose.append((storage.shard_key(f"{name}-signed", queries_fingerprint(asked)), records))
    jobs: list[tuple[str, Callable[[], Iterator[ImageRecord]]]] = [
        *((key, shard.records) for key, shard in zip(keys, shards, strict=True)),
        *((key, lambda records=records: iter(records)) for key, records in loose),
    ]
    with experiment.locked(artifact.folder):
        for done, (key, read) in enumerate(jobs):
            tell(done, len(jobs))
            path = artifact.folder / f"{key}.npz"
            if not path.exists():
                storage.write_arrays(path, _sign_shard(read(), workers))
            parts.append(storage.read_arrays(path))
    tell(len(jobs), len(jobs))
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    ids, unreadable = (tuple(whole.pop(name).tolist()) for name in ("ids", "unreadable"))
    return Signatures(ids=ids, unreadable=unreadable, **whole)


def _sign_shard(records: Iterator[ImageRecord], workers: int) -> dict[str, NDArray[Any]]:
    def look(record: ImageRecord) -> tuple[NDArray[np.uint8], ...] | None:
        if isinstance(record.source, NoSource):
            return None
        try:
            data = record.source.read()
            width, height = probe(data).size
            signed = sign(decode(data, at_least=(DETAIL, 1)).image)
        except (ImageError, DatasetError, OSError):
            return None
        digest = np.frombuffer(blake2b(data, digest_size=16).digest(), np.uint8)
        return digest, signed.code, signed.mirrored, signed.thumb, np.array([width, height])

    ids, rows, unreadable = [], [], []
    for record, future in in_order(records, look, workers=workers):
        found = future.result()
        if found is None:
            unreadable.append(record.id)
        else:
            ids.append(record.id)
            rows.append(found)
    shapes = ((16,), (24,), (24,), (THUMB, THUMB, 3), (2,))
    names = ("digests", "codes", "mirrored", "thumbs", "sizes")
    arrays = {
        name: np.stack([row[n] for row in rows]) if rows else np.zeros((0, *shape), np.uint8)
        for n, (name, shape) in enumerate(zip(names, shapes, strict=True))
    }
    arrays["sizes"] = arrays["sizes"].astype(np.int64)
    return arrays | {"ids": np.array(ids, np.str_), "unreadable": np.array(unreadable, np.str_)}


@dataclass(frozen=True, eq=False)
class Finds(Value):
    """What photos found that asked for what they show; A of them.

    Args:
        rows: (A, S) database rows, -1 beyond the end.
        chances: (A, S) float32 probability that the row shows the same, by verified matches.
        inliers: (A, S) verified matches.
        motions: (A, S, 6) from the photo that asked to the row, in shares of the longer side.
    """

    rows: Int64
    chances: Float32
    inliers: Int64
    motions: Float32


def stored_query(
    photo: local.Encoded, model: local.LocalModel, boxes: Sequence[Box] = (), words: int = WORDS
) -> local.LocalQuery:
    """Ask with what is stored of a photo, which need not be opened for it.

    Args:
        photo: Stored features of the photo.
        model: Words and codes.
        boxes: Boxes in pixels; features outside are left out. Empty keeps all.
        words: Nearest words in which a feature is looked up.
    """
    from ilion.searching.local.compiled import unpack

    vectors, frames = model.decode(photo.words, unpack_codes(photo.records)), unpack(photo.records)
    if boxes:
        x, y = (frames[:, :2] * max(photo.size)).T
        inside = np.any(
            [(b.x <= x) & (x < b.x + b.width) & (b.y <= y) & (y < b.y + b.height) for b in boxes], axis=0
        )
        vectors, frames = vectors[inside], frames[inside]
    size = (local.QUERY_CELLS, local.QUERY_CELLS)
    coarse = unpack_tones(photo.tones[None])[0]
    tones = np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR).round(), np.uint8)
    return local.LocalQuery(
        vectors=np.ascontiguousarray(vectors),
        frames=np.ascontiguousarray(frames),
        levels=np.zeros(len(frames), np.int64),
        spots=name_spots(frames),
        tones=np.ascontiguousarray(tones),
        words=model.assign(vectors, words),
        part=Box(0, 0, *photo.size),
        photo_size=photo.size,
    )


def ask_queries(experiment: Experiment, index: Photos) -> Finds:
    """Let every query ask, with the shortlist of the settings."""
    settings = local_settings(experiment.config.search.local)

    def look_up(number: int) -> tuple[local.LocalQuery, int]:
        return local.look_up(index.queries[number], index.words, settings), -1

    inputs = {**index.inputs, "shortlist": settings.shortlist}
    return _ask(experiment, index, range(len(index.queries)), look_up, inputs, settings.shortlist, "queries")


def ask_photos(
    experiment: Experiment, index: Photos, asked: Sequence[int], boxes: Mapping[int, Sequence[Box]]
) -> Finds:
    """Let photos of the database ask.

    Args:
        experiment: The experiment.
        index: The database.
        asked: Database rows of the photos.
        boxes: Row -> boxes of what it shows.
    """

    def look_up(row: int) -> tuple[local.LocalQuery, int]:
        return stored_query(index.database.photo(row), index.words, boxes.get(row, ())), row

    inputs = {
        "database": index.inputs["database"],
        "asked": storage.fingerprint(list(asked)),
        "boxes": storage.fingerprint([[row, [vars_of(box) for box in boxes.get(row, ())]] for row in asked]),
        "words": WORDS,
    }
    return _ask(experiment, index, asked, look_up, inputs, NEIGHBOURS, "photos")


def ask_rest(experiment: Experiment, index: Photos, asked: Sequence[int]) -> Finds:
    """Let photos ask with a few of their features, which is enough to find what was cut out of them.

    Args:
        experiment: The experiment.
        index: The database.
        asked: Database rows of the photos.
    """

    def look_up(row: int) -> tuple[local.LocalQuery, int]:
        photo = index.database.photo(row)
        chosen = np.sort(np.random.default_rng(row).permutation(len(photo))[:SAMPLE])
        part = local.Encoded(photo.words[chosen], photo.records[chosen], photo.tones, photo.size)
        return stored_query(part, index.words, words=1), row

    inputs = {
        "database": index.inputs["database"],
        "asked": storage.fingerprint(list(asked)),
        "sample": SAMPLE,
    }
    return _ask(experiment, index, asked, look_up, inputs, FEW, "rest")


def vars_of(box: Box) -> list[float]:
    """Return the numbers of a box."""
    return [box.x, box.y, box.width, box.height]


def _ask(
    experiment: Experiment,
    index: Photos,
    asked: Sequence[int],
    look_up: Callable[[int], tuple[local.LocalQuery, int]],
    inputs: Mapping[str, Any],
    most: int,
    kind: str,
) -> Finds:
    given = {**inputs, "search": local.search_digest(), "kept": most}
    artifact = storage.open_artifact(experiment.artifacts, f"finds-{kind}", given)
    path = artifact.folder / "finds.npz"
    if path.exists():
        return Finds(**storage.read_arrays(path))
    tell, count, kept = (
        experiment.tell(f"ask with {kind}"),
        len(index.database),
        min(most, len(index.database)),
    )
    found = Finds(
        np.full((len(asked), kept), -1, np.int64),
        np.zeros((len(asked), kept), np.float32),
        np.zeros((len(asked), kept), np.int64),
        np.zeros((len(asked), kept, 6), np.float32),
    )

    def ask(number: int) -> tuple[NDArray[Any], ...] | None:
        query, own = look_up(number)
        if not len(query):
            return None
        hidden = np.array([own]) if own >= 0 else None
        view, matches = gather(query, index.database, index.words, kept, hidden)
        _, seen = look_closer(
            query, matches, count, kept, kept, hidden, None if view is None else view.found.totals
        )
        if not len(seen.rows):
            return None
        inliers = np.diff(np.concatenate([[0], np.cumsum(seen.supports)])[seen.starts])
        chances = score_photos(query, seen, count, index.database.looks(seen.rows))
        return seen.rows, chances, inliers, seen.motions

    for number, (_, future) in enumerate(
        in_order(asked, ask, workers=experiment.config.extraction.workers, ahead=8)
    ):
        if (one := future.result()) is not None:
            size = len(one[0])
            found.rows[number, :size], found.chances[number, :size] = one[0], one[1]
            found.inliers[number, :size], found.motions[number, :size] = one[2], one[3]
        tell(number + 1, len(asked))
    with experiment.locked(artifact.folder):
        storage.write_arrays(path, vars(found))
    return found


def describe_parts(
    experiment: Experiment, records: Sequence[ImageRecord], extractor: Extractor
) -> Mapping[str, Float32]:
    """Describe what photos show, cut out by their boxes where they have some.

    Args:
        experiment: The experiment.
        records: The photos.
        extractor: A model that learns nothing from the database.

    Returns:
        Id -> unit descriptor; photos that cannot be read are left out.
    """
    asked = [Query(f"{n}", "", image=record) for n, record in enumerate(records)]
    inputs = {"model": extractor.spec.as_dict(), "photos": queries_fingerprint(asked)}
    artifact = storage.open_artifact(experiment.artifacts, "parts", inputs)
    path = artifact.folder / "parts.npz"
    if not path.exists():
        workers = experiment.config.extraction.workers
        found, _ = describe_images(
            records, extractor, box_use="crop", on_bad_image="skip", dtype="float32", workers=workers
        )
        with experiment.locked(artifact.folder):
            storage.write_arrays(
                path, {"ids": np.array(found.ids, dtype=np.str_), "values": np.asarray(found.values)}
            )
    arrays = storage.read_arrays(path)
    return dict(zip(arrays["ids"].tolist(), arrays["values"].astype(np.float32), strict=True))


def compare_stored(
    index: Photos, first: local.LocalQuery, row: int
) -> tuple[NDArray[np.float32], Float64 | None]:
    """Return the places at which a photo that asked and a database row agree, and the motion.

    Returns:
        (M, 4) x, y in the first and x, y in the second photo, in pixels; and (3, 3), or None without any.
    """
    seen = local.compare(first, index.database.photo(row), index.words)
    kept = np.flatnonzero(seen.supports)
    places = np.concatenate([seen.query[seen.features[kept]], seen.photo[seen.places[kept]]], axis=1)
    return places.astype(np.float32), seen.motion


def require_photos(experiment: Experiment) -> None:
    """Refuse data sets of ids.

    Raises:
        ArtifactError: The photos are not there.
    """
    if not experiment.dataset.complete:
        raise ArtifactError(
            f"{experiment.dataset.root}: an audit looks at photos, and this data set holds ids only"
        )
