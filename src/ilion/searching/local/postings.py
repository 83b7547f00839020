"""The only store: for each visual word the photos that show it, with code, place, size, angle and colour.

It is written shard by shard and read segment by segment, so neither needs memory for the whole database. A
segment holds the postings of at most `SEGMENT` photos, ordered by word and then by row:

    KEY.0000.counts.npy   postings of each word, see `pack_counts`
    KEY.0000.records.npy  (P,) uint64        row and feature, see `ilion.searching.local.records`
    KEY.0000.sizes.npy    (n, 2) unsigned    width and height of each photo in pixels
    KEY.0000.tones.npy    (n, c) uint8       colours in a coarse grid, see `ilion.searching.local.tones`
    KEY.ids.json                             ids and segments; written last, it makes the shard count

All features of one photo are found again by looking for its row in the list of each word.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError
from ilion.runtime.threads import in_parts
from ilion.searching.local.database import FirstPass
from ilion.searching.local.encode import Encoded, LocalQuery
from ilion.searching.local.matches import (
    KEPT,
    Entries,
    Kept,
    Matches,
    find_matches,
    join,
    look_up_words,
    sum_up,
)
from ilion.searching.local.model import LocalModel
from ilion.searching.local.records import ROWS
from ilion.searching.local.segment import Segment
from ilion.searching.local.settings import LocalSettings
from ilion.searching.local.tones import Looks
from ilion.storage import (
    Artifact,
    ShardStats,
    read_array,
    read_json,
    write_array,
    write_head,
    write_json,
)
from ilion.storage.descriptors import list_ids
from ilion.storage.ids import PickedIds
from ilion.types import Bool, Int64

T = TypeVar("T")
_ARRAYS = ("counts", "records", "sizes", "tones")
HELD = 512
"""Segments that stay mapped: 8 bytes of offsets a word each (131 KB with 16,384), and pages that can be taken
back."""
THREADED = 2 * ROWS
"""Photos for which another thread is worth its start."""
SEGMENT = ROWS
"""Photos a segment, at most `ilion.searching.local.records.ROWS`; while one is written at 16 KB a photo,
about 200 MB are held."""


def index_inputs(model: LocalModel, settings: LocalSettings) -> dict[str, Any]:
    """Return what stored features depend on, beside the photos."""
    return {"model": model.digest, "budget": settings.budget, "side": settings.side, "tones": settings.cells}


def write_shard(
    artifact: Artifact,
    key: str,
    photos: Iterable[tuple[str, Encoded]],
    words: int,
    stats: Callable[[int], ShardStats],
) -> None:
    """Store one shard. The caller holds the artifact's lock (`ilion.storage.locked`).

    Args:
        artifact: Artifact of the postings.
        key: Key of the shard, see `ilion.storage.shard_key`.
        photos: Ids and features in order of rows; read as needed.
        words: Number W of words.
        stats: Returns what the shard took; called with the number of photos when all are read.

    Raises:
        ArtifactError: The disk is full.
    """
    ids: list[str] = []
    sizes: list[int] = []
    held: list[Encoded] = []
    files, postings = [], 0

    def flush() -> None:
        nonlocal postings
        stem = f"{key}.{len(sizes):04d}"
        for name, array in zip(_ARRAYS, make_segment(held, words), strict=True):
            files.append(artifact.folder / f"{stem}.{name}.npy")
            write_array(files[-1], array)
        sizes.append(len(held))
        postings += sum(map(len, held))
        held.clear()

    for image, encoded in photos:
        held.append(encoded)
        ids.append(image)
        if len(held) == SEGMENT:
            flush()
    if held:
        flush()
    write_json(artifact.folder / f"{key}.stats.json", stats(len(ids)))
    head = {"ids": ids, "segments": sizes, "postings": postings}
    write_head(artifact.folder / f"{key}.ids.json", head, files)


def make_segment(held: Sequence[Encoded], words: int) -> tuple[NDArray[Any], ...]:
    """Return the arrays of the photos of a segment, see the head of this file."""
    shown = np.concatenate([photo.words for photo in held])
    order = np.argsort(shown, kind="stable")
    counts = np.bincount(shown, minlength=words)
    rows = np.repeat(np.arange(len(held), dtype=np.uint64), [len(photo) for photo in held])
    records = np.concatenate([photo.records for photo in held]) | rows
    sizes, tones = _small(np.array([photo.size for photo in held])), np.array([photo.tones for photo in held])
    return pack_counts(counts), records[order], sizes, tones


def pack_counts(counts: NDArray[Any]) -> NDArray[Any]:
    """Pack the number of postings of each word (W,) in the smaller of two ways.

    Either one number a word, in as few bytes as hold the largest; or, where most words have few postings,
    bits: a one for each posting of a word, then a zero.

    >>> packed = pack_counts(np.array([0, 3, 0, 0, 0, 1]))
    >>> packed.tolist(), unpack_counts(packed, 6).tolist()
    ([112, 128], [0, 3, 0, 0, 0, 1])
    """
    plain = _small(counts)
    places = np.cumsum(counts + 1)
    size = -(-int(places[-1]) // 8)
    if size >= plain.nbytes or size == len(plain):  # the length tells them apart
        return plain
    bits = np.ones(8 * size, np.uint8)
    bits[places - 1] = 0
    bits[places[-1] :] = 0
    return np.packbits(bits)


def unpack_counts(packed: NDArray[Any], words: int) -> Int64:
    """Return what `pack_counts` packed."""
    if len(packed) == words:
        return packed.astype(np.int64)
    ends = np.flatnonzero(np.unpackbits(packed) == 0)[:words]
    return np.diff(ends, prepend=-1) - 1


def _small(values: NDArray[Any]) -> NDArray[Any]:
    """Store whole numbers in as few bytes as hold the largest."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


class _Head(TypedDict):
    ids: list[str]
    segments: list[int]
    postings: int


class Postings:
    """Finished shards as one database. Postings are mapped while they are looked at; many ids stay on disk.

    Args:
        artifact: Artifact that holds the shards.
        keys: Shards in order of rows.
        words: Number W of words.

    Raises:
        ArtifactError: A shard is missing or damaged, or an id occurs twice.
    """

    def __init__(self, artifact: Artifact, keys: Sequence[str], words: int) -> None:
        self.folder, self.words = artifact.folder, words
        self._keys = tuple(keys)

        def read_head(key: str) -> tuple[list[str], list[Any]]:
            head: _Head = read_json(self.folder / f"{key}.ids.json", _Head)
            return head["ids"], [head["segments"], head["postings"]]

        heads, self.ids = list_ids(artifact, keys, read_head, lambda head: sum(head[0]))
        self.count = sum(postings for _, postings in heads)
        self._segments: list[tuple[str, int, int]] = []
        start = 0
        for key, (sizes, _) in zip(keys, heads, strict=True):
            for part, size in enumerate(sizes):
                self._segments.append((f"{key}.{part:04d}", start, size))
                start += size
        self._held: dict[int, Segment] = {}
        self._looks: dict[int, Looks] = {}
        self._rows: Int64 | None = None
        self._lengths: Int64 | None = None
        self._stored = len(self.ids)
        self._starts = np.array([start for _, start, _ in self._segments], np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Int64) -> Postings:
        """Return some of the photos as a database of their own, in their order; nothing is copied.

        Args:
            rows: Ascending rows.
        """
        part = copy(self)
        part._rows = rows if self._rows is None else self._rows[rows]
        part._lengths = None
        part.ids = PickedIds(self.ids, rows)
        return part

    @property
    def shards(self) -> list[tuple[str, int]]:
        """Key and number of photos of each shard that is stored, in order of rows."""
        sizes = dict.fromkeys(self._keys, 0)
        for stem, _, size in self._segments:
            sizes[stem.rpartition(".")[0]] += size
        return list(sizes.items())

    @property
    def lengths(self) -> Int64:
        """(W,) number of postings of each word."""
        found = self._lengths
        if found is None:
            found, shown = np.zeros(self.words, np.int64), self._shown(None)
            for segment in self.segments():
                own = shown[segment.start : segment.start + segment.size]
                ends = segment.offsets
                if not own.all():
                    counted = own[(segment.records & np.uint64(ROWS - 1)).astype(np.int64)]
                    ends = np.concatenate([[0], np.cumsum(counted)])[ends]
                found += np.diff(ends)
            self._lengths = found  # set when complete: other threads read it
        return found

    def first_pass(self, query: LocalQuery, model: LocalModel, lengths: Int64 | None = None) -> FirstPass:
        """Sum the matches of each photo and of each feature.

        Args:
            query: The query.
            model: Words and codes.
            lengths: (W,) postings of each word in the whole database; None means that this is all of it.
        """
        entries = look_up_words(query, model, self.lengths if lengths is None else lengths, every=True)
        shown, room = self._shown(None), KEPT // self._threads
        parts = self._in_parts(lambda segments: sum_up(entries, segments, len(query), shown, room))
        sums = np.sum([part.photos for part in parts], axis=0)
        totals = np.sum([part.features for part in parts], axis=0)
        kept = {start: pairs for part in parts for start, pairs in part.kept.items()}

        def matches(rows: Int64) -> Matches:
            return self._matches(entries, model, rows, kept)

        return FirstPass(sums if self._rows is None else sums[self._rows], totals, matches)

    def matches(self, query: LocalQuery, model: LocalModel, rows: Int64 | None = None) -> Matches:
        """Find the matches of a query in some photos.

        Args:
            query: The query.
            model: Words and codes.
            rows: Rows to look at; None means all.
        """
        return self._matches(look_up_words(query, model, self.lengths), model, rows, {})

    def _matches(
        self, entries: Entries, model: LocalModel, rows: Int64 | None, kept: Mapping[int, Kept]
    ) -> Matches:
        chosen = None if rows is None and self._rows is None else self._shown(rows)
        found = join(*self._in_parts(lambda s: find_matches(entries, s, model, chosen=chosen, kept=kept)))
        if self._rows is None:
            return found
        places = np.full(self._stored, -1, np.int32)
        places[self._rows] = np.arange(len(self._rows))
        return replace(found, rows=places[found.rows])

    def _shown(self, rows: Int64 | None) -> Bool:
        """Mark the stored rows of some photos of this database, or of all."""
        if self._rows is not None:
            rows = self._rows if rows is None else self._rows[rows]
        shown = np.full(self._stored, rows is None)
        if rows is not None:
            shown[rows] = True
        return shown

    def stored_bytes(self) -> int:
        """Bytes of all that is stored of the photos on disk: postings, ids, statistics."""
        whole = sum(p.stat().st_size for key in self._keys for p in self.folder.glob(f"{key}.*"))
        return whole * len(self) // max(self._stored, 1)

    def _in_parts(self, work: Callable[[Iterator[Segment]], T]) -> list[T]:
        """Work on the segments, those of a large database in several threads; parts in order of rows."""
        count = len(self._segments)
        return in_parts(count, lambda numbers: work(self.segments(numbers)), self._threads)

    @property
    def _threads(self) -> int:
        return max(min(os.cpu_count() or 1, self._stored // THREADED, len(self._segments)), 1)

    def segments(self, numbers: range | None = None) -> Iterator[Segment]:
        """Map one segment after the other.

        Args:
            numbers: Numbers of segments; None means all.

        Raises:
            ArtifactError: A file is missing, damaged, or does not fit the others.
        """
        for number in range(len(self._segments)) if numbers is None else numbers:
            yield self._open(number)

    def _open(self, number: int) -> Segment:
        """Map a segment; the first ones stay mapped, since every query looks into all of them."""
        found = self._held.get(number)
        if found is None:
            found = self._map(number)
            if number < HELD:
                self._held[number] = found
        return found

    def _map(self, number: int) -> Segment:
        stem, start, size = self._segments[number]
        counts = unpack_counts(read_array(self.folder / f"{stem}.counts.npy", ("u", 1)), self.words)
        offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        # an empty file cannot be mapped
        records = read_array(self.folder / f"{stem}.records.npy", ("u", 1), mapped=offsets[-1] > 0)
        if len(counts) != self.words or records.shape != offsets[-1:] or records.dtype != np.uint64:
            raise ArtifactError(
                f"{self.folder / stem}: its files do not fit together; delete the shard's files and run again"
            )
        return Segment(start, size, offsets, records)

    def photo(self, row: int) -> Encoded:
        """Read all that is stored of one photo."""
        from ilion.searching.local.compiled import read_row

        row = row if self._rows is None else int(self._rows[row])
        number = int(np.searchsorted(self._starts, row, "right")) - 1
        segment = self._open(number)
        own = row - segment.start
        found = read_row(own, segment.offsets, segment.records)
        looks = self._looks_of(number)
        width, height = looks.sizes[own].tolist()
        records = segment.records[found[:, 0]] & ~np.uint64(ROWS - 1)
        return Encoded(found[:, 1].astype(np.uint16), records, looks.tones[own].copy(), (width, height))

    def photos(self, rows: Int64) -> list[Encoded]:
        """Read all that is stored of some photos."""
        return [self.photo(row) for row in rows.tolist()]

    def looks(self, rows: Int64) -> Looks:
        """Read the sizes and colours of photos (S,).

        Raises:
            ArtifactError: A file is missing, damaged, or does not fit the others.
        """
        rows = rows if self._rows is None else self._rows[rows]
        numbers = np.searchsorted(self._starts, rows, "right") - 1
        sizes, tones = np.zeros((len(rows), 2), np.int64), None
        for number in np.unique(numbers).tolist():
            of = np.flatnonzero(numbers == number)
            looks, own = self._looks_of(number), rows[of] - self._segments[number][1]
            tones = np.empty((len(rows), looks.tones.shape[1]), np.uint8) if tones is None else tones
            sizes[of], tones[of] = looks.sizes[own], looks.tones[own]
        return Looks(sizes, np.empty((0, 0), np.uint8) if tones is None else tones)

    def _looks_of(self, number: int) -> Looks:
        found = self._looks.get(number)
        if found is not None:
            return found
        stem, _, size = self._segments[number]
        sizes, tones = (
            read_array(self.folder / f"{stem}.{name}.npy", ("u", 2), mapped=True)
            for name in ("sizes", "tones")
        )
        if sizes.shape != (size, 2) or tones.shape[:1] != (size,) or tones.ndim != 2:
            raise ArtifactError(
                f"{self.folder / stem}: its files do not fit together; delete the shard's files and run again"
            )
        found = Looks(sizes, tones)
        if number < HELD:
            self._looks[number] = found
        return found


def read_photos(artifact: Artifact, key: str, words: int) -> Callable[[int], Encoded]:
    """Return what reads the photos of one shard, by their row in it."""
    return Postings(artifact, [key], words).photo
