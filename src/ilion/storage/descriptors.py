"""Many shards of descriptors as one database, read as needed.

Its memory does not grow with the number of images: files are mapped while they are looked at, a bounded
number at once, and ids are a list on disk (`ilion.storage.ids`) as soon as there are many. The list is made
once for a sequence of shards, in the folder ``ids`` of their artifact, which may be deleted at any time.
"""

from __future__ import annotations

import copy
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError
from ilion.kernels.widening import widen
from ilion.storage.artifacts import Artifact, ShardHead, fingerprint
from ilion.storage.files import check_mapped, checking_mapped, locked, read_array, read_json, release_pages
from ilion.storage.ids import IdList, Ids, PickedIds, RenamedIds, StoredIds, are_many, check_unique, write_ids
from ilion.storage.seals import Check
from ilion.types import Descriptors, Float32, Int64, Value
from ilion.wording import counted

OPEN = 128
"""Shards that are mapped at once: each takes a file descriptor, and a process is given few (often 1,024)."""

log = logging.getLogger(__name__)


class _Shape(NamedTuple):
    """Rows and dimensions of a shard."""

    rows: int
    dim: int


class DescriptorSet(Value):
    """Finished shards as one database, read as needed. Safe to share among threads.

    Args:
        artifact: Artifact of the shards.
        keys: Shards in database order.
        ids: Ids that take part; None takes all. The order of the database is kept.
        listed: Whether ids are checked and listed. A part of a database that was checked as a whole does
            without: its ids stay in the shards, where each look is slow.

    Raises:
        ArtifactError: A shard is missing or damaged, an id occurs twice, or a wanted id is in no shard.
    """

    ids: Ids

    def __init__(
        self,
        artifact: Artifact,
        keys: Sequence[str],
        ids: Sequence[str] | None = None,
        *,
        listed: bool = True,
    ) -> None:
        self.artifact = artifact
        self.keys = tuple(keys)
        picked: Int64 | None = None
        if ids is not None:
            shapes, picked, self.ids = _subset(artifact, self.keys, ids)
        elif listed:
            shapes, self.ids = _all_ids(artifact, self.keys)
        else:
            shapes = [_read_head(artifact, key)[1] for key in self.keys]
            self.ids = _ShardIds(artifact, self.keys, shapes)
        self._maps = _Maps(artifact, self.keys, shapes)
        dims = {shape.dim for shape in shapes if shape.rows}
        if len(dims) > 1:
            raise ArtifactError(f"{artifact.folder}: shards of different dimensions {sorted(dims)}")
        self.dim = dims.pop() if dims else 0
        self._firsts = np.cumsum([0, *(shape.rows for shape in shapes)], dtype=np.int64)
        self._pick(picked)

    def _pick(self, rows: Int64 | None) -> None:
        self._picked = rows
        self._starts = self._firsts if rows is None else np.searchsorted(rows, self._firsts)
        self.sizes = tuple(np.diff(self._starts).tolist())

    def take(self, rows: Int64) -> DescriptorSet:
        """Return the part that some rows are, as a database that shares what is open with this one.

        Args:
            rows: (N,) ascending.
        """
        part = copy.copy(self)
        part.ids = PickedIds(self.ids, rows)
        part._pick(rows if self._picked is None else self._picked[rows])
        return part

    def hold(self) -> None:
        """Keep what is looked at mapped, for many searches of few queries; the system may take it back."""
        self._maps.held = True

    def rename(self, names: Mapping[str, str]) -> DescriptorSet:
        """Return the same database under other ids: stored id -> its name."""
        part = copy.copy(self)
        part.ids = RenamedIds(self.ids, names)
        return part

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored type of the values."""
        return self._maps.dtype

    @property
    def shards(self) -> int:
        """Number of shards."""
        return len(self.keys)

    def read_shard(self, shard: int, size: int = 65_536) -> Iterator[Descriptors]:
        """Yield the descriptors of one shard in order, at most ``size`` at once, as they are stored."""
        first = int(self._starts[shard])
        for start, stop in self._stretches(shard, size):
            yield Descriptors(self.ids[first + start : first + stop], self._block(shard, start, stop))

    def blocks(self, size: int) -> Iterator[Float32]:
        """Yield all descriptors in order as float32 blocks of at most ``size`` rows."""
        for shard in range(self.shards):
            for start, stop in self._stretches(shard, size):
                yield widen(self._block(shard, start, stop))

    def stored_blocks(self, size: int) -> Iterator[NDArray[np.floating]]:
        """Yield all descriptors in order as they are stored, read-only, at most ``size`` rows at once.

        A shard is compared with its checksum on the way, and before its last block is given: a damaged one
        ends in an error only there, so nothing that was made of its blocks may be used before the end.
        """
        for shard in range(self.shards):
            if self._picked is None:
                yield from self._maps.read(shard, size)
            else:
                for start, stop in self._stretches(shard, size):
                    yield self._block(shard, start, stop)

    def gather(self, rows: Int64) -> Float32:
        """Return the descriptors (len(rows), D) of database rows in any order, float32."""
        return self._gather(rows, self._maps.__getitem__)

    def peek(self, rows: Int64) -> Float32:
        """Return what `gather` does, perhaps of shards that nobody has compared with their checksums yet.

        For guesses that are proven later, by whoever goes through all blocks.
        """
        return self._gather(rows, self._maps.mapped)

    def _gather(self, rows: Int64, shard: Callable[[int], NDArray[np.floating]]) -> Float32:
        values = np.empty((len(rows), self.dim), np.float32)
        of_shard = np.searchsorted(self._starts, rows, side="right") - 1
        for s in np.unique(of_shard):
            here = of_shard == s
            stored = shard(int(s))
            values[here] = widen(stored[self._inside(int(s), rows[here] - self._starts[s])])
            self._maps.release(stored)
        return values

    def _stretches(self, shard: int, size: int) -> Iterator[tuple[int, int]]:
        for start in range(0, self.sizes[shard], size):
            yield start, min(start + size, self.sizes[shard])

    def _block(self, shard: int, start: int, stop: int) -> NDArray[np.floating]:
        """Return a copy of some of the rows of a shard that take part."""
        stored = self._maps[shard]
        if self._picked is None:
            block = np.array(stored[start:stop])
        else:
            block = np.array(stored[self._inside(shard, np.arange(start, stop))])
        self._maps.release(stored)
        return block

    def _inside(self, shard: int, rows: Int64) -> Int64:
        """Return the rows of a shard's file that rows of its part of this database are."""
        if self._picked is None:
            return rows
        inside: Int64 = self._picked[self._starts[shard] + rows] - self._firsts[shard]
        return inside


class _Maps:
    """The mapped values of shards: those looked at last stay open. All are opened once, to find damage."""

    def __init__(self, artifact: Artifact, keys: Sequence[str], shapes: Sequence[_Shape]) -> None:
        self._artifact, self._keys, self._shapes = artifact, keys, shapes
        self._open: OrderedDict[int, NDArray[np.floating]] = OrderedDict()
        self._lock = threading.Lock()
        self._sound = np.zeros(len(keys), np.bool_)
        self.held = False
        self.dtype: np.dtype[Any] = np.dtype(np.float16)
        # backwards: the first shards, which are read first, stay open
        for shard in reversed(range(len(keys))):
            self.dtype = self.mapped(shard).dtype

    def __getitem__(self, shard: int) -> NDArray[np.floating]:
        found = self.mapped(shard)
        if not self._sound[shard]:
            # outside of the lock: threads that look at other shards need not wait
            if self._shapes[shard].rows:
                check_mapped(self._path(shard), found)
            self._sound[shard] = True
        return found

    def read(self, shard: int, size: int) -> Iterator[NDArray[np.floating]]:
        """Yield all rows, compared with their checksum before the last ones are given."""
        stored, rows = self.mapped(shard), self._shapes[shard].rows
        plain = stored.view(np.ndarray)  # parts of a mapped array take long to make
        if self._sound[shard] or not rows:
            checking: AbstractContextManager[Check | None] = nullcontext()
        else:
            checking = checking_mapped(self._path(shard), stored)
        with checking as check:
            for start in range(0, rows, size):
                block = plain[start : start + size]
                if check is not None:
                    check.take(block)
                    if start + size >= rows:
                        check.finish()
                yield block
                self.release(stored)  # what others still look at is mapped again
        self._sound[shard] = True

    def release(self, stored: NDArray[np.floating]) -> None:
        """Give the pages of a shard that were looked at back, unless they are held."""
        if not self.held:
            release_pages(stored)

    def mapped(self, shard: int) -> NDArray[np.floating]:
        """Return a shard, which may not have been compared with its checksum yet."""
        with self._lock:
            found = self._open.get(shard)
            if found is None:
                found = self._open[shard] = self._read(shard)
                if len(self._open) > OPEN:
                    # closed once the threads that still look at it are through
                    self._open.popitem(last=False)
            self._open.move_to_end(shard)
        return found

    def _read(self, shard: int) -> NDArray[np.floating]:
        path, shape = self._path(shard), self._shapes[shard]
        # an empty file cannot be mapped; what is mapped is compared with its checksum when it is looked at
        values = read_array(path, mapped=shape.rows > 0, checked=False)
        if values.shape != shape:
            raise ArtifactError(f"{path}: {values.shape} instead of {list(shape)}; delete and run again")
        Descriptors((), values[:0])  # refuses values of another type
        return values

    def _path(self, shard: int) -> Path:
        return self._artifact.folder / f"{self._keys[shard]}.npy"


def _read_head(artifact: Artifact, key: str) -> tuple[list[str], _Shape]:
    """Read what makes a shard count: its ids, and its shape."""
    head: ShardHead = read_json(artifact.folder / f"{key}.ids.json", ShardHead)
    ids, shape = head["ids"], _Shape(*head["shape"])
    if len(ids) != shape.rows:
        raise ArtifactError(
            f"{artifact.folder / key}.ids.json: {counted(len(ids), 'id')} for {shape.rows} descriptors"
        )
    return ids, shape


def _subset(
    artifact: Artifact, keys: Sequence[str], ids: Sequence[str]
) -> tuple[list[_Shape], Int64, tuple[str, ...]]:
    """Find the rows of some ids; the ids that were given are held on to, no other ones."""
    # the text that was given, not the equal one that was read
    wanted = {name: name for name in ids}
    shapes, rows, kept, first = [], [np.empty(0, np.int64)], list[str](), 0
    for key in keys:
        found, shape = _read_head(artifact, key)
        here = [row for row, name in enumerate(found) if name in wanted]
        kept += [wanted[found[row]] for row in here]
        rows.append(np.array(here, np.int64) + first)
        shapes.append(shape)
        first += shape.rows
    check_unique(artifact.folder, kept)
    if len(wanted) != len(kept):
        missing = sorted(wanted.keys() - set(kept))
        raise ArtifactError(
            f"{counted(len(missing), 'id')} of the subset have no descriptor, such as {missing[0]!r}"
        )
    return shapes, np.concatenate(rows), tuple(kept)


def _all_ids(artifact: Artifact, keys: Sequence[str]) -> tuple[list[_Shape], Ids]:
    shapes, ids = list_ids(
        artifact, keys, lambda key: _read_head(artifact, key), lambda shape: _Shape(*shape).rows
    )
    return [_Shape(*shape) for shape in shapes], ids


def list_ids(
    artifact: Artifact,
    keys: Sequence[str],
    read_head: Callable[[str], tuple[list[str], Any]],
    count: Callable[[Any], int],
) -> tuple[list[Any], Ids]:
    """Return the ids of shards, in order: few in memory, many as a list on disk, made if it is not there.

    Args:
        artifact: Artifact of the shards.
        keys: Shards in order of rows.
        read_head: Function from a key to the ids of its shard, and what else its head says, as plain values.
        count: Function from what else a head says to the number of ids; it may raise a TypeError.

    Returns:
        What else the heads say, one a shard, as JSON gives it back; and all ids.

    Raises:
        ArtifactError: A head is missing or damaged, or an id occurs twice.
    """
    folder, name = artifact.folder / "ids", fingerprint(keys)[:16]
    known = _load_list(artifact, keys, name, count)
    if known is not None:
        return known
    shapes: list[Any] = []
    kept: list[str] = []

    def read() -> Iterator[list[str]]:
        for key in keys:
            ids, shape = read_head(key)
            shapes.append(shape)
            yield ids

    stamps = _stamps(artifact, keys)  # before they are read: what changes meanwhile must not look known
    parts = read()
    writable = os.access(artifact.folder, os.W_OK)
    for ids in parts:
        kept += ids
        if writable and are_many(len(kept)):
            break
    else:
        if are_many(len(kept)):
            log.warning("%s cannot be written, so %d ids are held in memory", artifact.folder, len(kept))
        check_unique(artifact.folder, kept)
        return shapes, tuple(kept)
    with locked(folder, wait=True):
        # another process may have made it while this one waited
        known = _load_list(artifact, keys, name, count)
        if known is not None:
            return known
        return shapes, write_ids(
            folder,
            name,
            chain([kept], parts),
            about=lambda: {"shards": stamps, "shapes": shapes},
            unique_in=artifact.folder,
        )


def _load_list(
    artifact: Artifact, keys: Sequence[str], name: str, count: Callable[[Any], int]
) -> tuple[list[Any], Ids] | None:
    """Return what heads say and ids from a list, if it is there, whole, and fits the shards."""
    try:
        ids = IdList(artifact.folder / "ids", name)
        shapes = ids.about["shapes"]
        fits = ids.about["shards"] == _stamps(artifact, keys) and len(shapes) == len(keys)
        fits = fits and sum(count(shape) for shape in shapes) == len(ids)
    except (ArtifactError, KeyError, TypeError, ValueError):
        return None  # it is made again from the shards, which say so if they are damaged
    return (shapes, ids) if fits else None


def _stamps(artifact: Artifact, keys: Sequence[str]) -> str:
    """Return a digest that changes when ids are written again: skipped images may be read later."""
    stamps = []
    for key in keys:
        path = artifact.folder / f"{key}.ids.json"
        try:
            stat = path.stat()
        except OSError:
            raise ArtifactError(f"{path}: there is no such file") from None
        stamps.append([stat.st_size, stat.st_mtime_ns])
    return fingerprint(stamps)


class _ShardIds(StoredIds):
    """Ids where they are: in the files of the shards, of which the last one is kept."""

    def __init__(self, artifact: Artifact, keys: Sequence[str], shapes: Sequence[_Shape]) -> None:
        self._artifact, self._keys = artifact, keys
        self._firsts = np.cumsum([0, *(shape.rows for shape in shapes)], dtype=np.int64)
        self._last: tuple[int, list[str]] = (-1, [])

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def part(self, start: int, stop: int) -> tuple[str, ...]:
        """Return the ids of rows ``start`` to ``stop``; both lie inside."""
        found: list[str] = []
        while start < stop:
            shard = int(np.searchsorted(self._firsts, start, side="right")) - 1
            last, ids = self._last
            if last != shard:
                ids = _read_head(self._artifact, self._keys[shard])[0]
                self._last = (shard, ids)
            first = int(self._firsts[shard])
            more = ids[start - first : stop - first]
            if not more:
                raise ArtifactError(f"{self._artifact.folder}: {self._keys[shard]} changed meanwhile")
            found += more
            start += len(more)
        return tuple(found)
