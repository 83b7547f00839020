"""Ids of very many images on disk: read as needed, never held.

A list NAME is ``NAME.text`` (all ids one after the other, UTF-8), ``NAME.starts`` (where each id starts, and
the end: little-endian 64-bit numbers) and ``NAME.json`` (sizes, and a checksum of each block of ids), which
is written last and makes the list count. Nothing is given out before its block was compared with its
checksum.
"""

from __future__ import annotations

import os
import secrets
import shutil
import zlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError, UnwritableError
from ilion.opening import writing
from ilion.storage.duplicates import DuplicateFinder, encode_ids, hash_ids
from ilion.storage.files import read_json, release_pages, write_json
from ilion.types import Int64
from ilion.wording import counted

IN_MEMORY = 100_000
"""Ids that are held as a tuple, about 10 MB of them; more are a list on disk."""
BLOCK = 16_384
"""Ids read, compared with their checksum and given back at once (about 1 MB)."""
FORMAT = 1
TEXT, STARTS, HEAD = ".text", ".starts", ".json"
_TOUCHES = 256
"""Single ids read before the touched pages are given back; each touches up to 128 KiB."""


class StoredIds(Sequence[str]):
    """Ids that are read as needed: to the eye a tuple, of any number."""

    @abstractmethod
    def part(self, start: int, stop: int) -> tuple[str, ...]:
        """Return the ids of rows ``start`` to ``stop``; both lie inside."""
        ...

    @overload
    def __getitem__(self, row: int) -> str: ...

    @overload
    def __getitem__(self, row: slice) -> tuple[str, ...]: ...

    def __getitem__(self, row: int | slice) -> str | tuple[str, ...]:
        if isinstance(row, slice):
            rows = range(len(self))[row]
            if rows.step == 1:
                return self.part(rows.start, max(rows.start, rows.stop))
            return tuple(self._one(each) for each in rows)
        try:
            return self._one(range(len(self))[row])
        except IndexError:
            raise IndexError(f"row {row} is outside {counted(len(self), 'id')}") from None

    def _one(self, row: int) -> str:
        return self.part(row, row + 1)[0]

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), BLOCK):
            yield from self.part(start, min(start + BLOCK, len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, (str, bytes)):
            return NotImplemented
        return self is other or same_ids(self, other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {counted(len(self), 'id')}>"


Ids: TypeAlias = tuple[str, ...] | StoredIds
"""Ids of a database."""


def are_many(count: int) -> bool:
    """Return whether so many ids are listed on disk instead of being held."""
    return count > IN_MEMORY


def same_ids(one: Sequence[str], other: Sequence[str]) -> bool:
    """Tell whether two sequences hold the same ids in the same order, whatever their types.

    >>> same_ids(("a", "b"), ["a", "b"]), same_ids(("a",), ("a", "b"))
    (True, False)
    """
    return len(one) == len(other) and all(a == b for a, b in zip(one, other, strict=True))


class IdList(StoredIds):
    """A list of ids on disk, see `write_ids`. Safe to share among threads.

    Args:
        folder: Folder of its files.
        name: Stem of its files.
        head: Content that ``NAME.json`` will get, for a list that does not count yet; None reads it.

    Raises:
        ArtifactError: The list is missing or damaged. Damage inside is found when the ids there are read.
    """

    def __init__(self, folder: Path, name: str, head: Mapping[str, Any] | None = None) -> None:
        self.folder, self.name = folder, name
        self.head: Mapping[str, Any] = read_json(folder / f"{name}{HEAD}") if head is None else head
        try:
            if self.head["format"] != FORMAT:
                raise ArtifactError(f"{folder / name}{HEAD}: format {self.head['format']}; make it again")
            self._length, size, self._block = (int(self.head[key]) for key in ("ids", "bytes", "block"))
            self._checksums: list[int] = self.head["checksums"]
            self.about: Mapping[str, Any] = self.head["about"]
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{folder / name}{HEAD}: damaged ({error}); {self._again}") from None
        if len(self._checksums) != -(-self._length // self._block):
            raise ArtifactError(f"{folder / name}{HEAD}: damaged (not one checksum a block); {self._again}")
        self._starts_map = _map_file(self._path(STARTS), np.dtype("<i8"), self._length + 1, self._again)
        self._text_map = _map_file(self._path(TEXT), np.dtype(np.uint8), size, self._again)
        # plain views: indexing a memmap costs several times as much
        self._starts, self._text = np.asarray(self._starts_map), np.asarray(self._text_map)
        self._sound = np.zeros(len(self._checksums), np.bool_)
        self._touched = 0

    def __len__(self) -> int:
        return self._length

    def part(self, start: int, stop: int) -> tuple[str, ...]:
        """Return the ids of rows ``start`` to ``stop``; both lie inside.

        Raises:
            ArtifactError: The files are damaged there.
        """
        found: list[str] = []
        for first in range(start - start % self._block, stop, self._block):
            self._check(first // self._block)
            rows = slice(max(start, first), min(stop, first + self._block) + 1)
            starts = self._starts[rows].tolist()
            text = self._text[starts[0] : starts[-1]].tobytes()
            places = pairwise(place - starts[0] for place in starts)
            if text.isascii():
                whole = text.decode("ascii")
                found.extend([whole[a:b] for a, b in places])
            else:
                found.extend([text[a:b].decode("utf-8", "surrogatepass") for a, b in places])
            self._release()
        return tuple(found)

    def _one(self, row: int) -> str:
        self._check(row // self._block)
        text = self._text[self._starts[row] : self._starts[row + 1]].tobytes()
        self._touched += 1
        if self._touched % _TOUCHES == 0:
            self._release()
        return text.decode("utf-8", "surrogatepass")

    def _check(self, block: int) -> None:
        """Compare a block with its checksum, unless that was done."""
        if self._sound[block]:
            return
        starts = self._starts[block * self._block : (block + 1) * self._block + 1]
        # offsets that point elsewhere make another checksum, or none
        if _checksum(self._text[starts[0] : starts[-1]].data, starts) != self._checksums[block]:
            raise ArtifactError(f"{self._path(TEXT)}: damaged (not the ids that were written); {self._again}")
        self._sound[block] = True
        self._release()

    def _release(self) -> None:
        release_pages(self._starts_map)
        release_pages(self._text_map)

    def _path(self, suffix: str) -> Path:
        return self.folder / f"{self.name}{suffix}"

    @property
    def _again(self) -> str:
        return f"delete {self.folder / self.name}.* and run again"

    def link_to(self, folder: Path, name: str) -> IdList:
        """Return the same list in another folder: hard links where the file system has them, else a copy.

        Its files are never changed in place, so links cannot change under each other.

        Raises:
            ArtifactError: The list cannot be written.
        """
        for suffix in (TEXT, STARTS):
            _link_or_copy(self._path(suffix), folder / f"{name}{suffix}")
        write_json(folder / f"{name}{HEAD}", {**self.head, "about": {}})
        return IdList(folder, name)


def _map_file(path: Path, dtype: np.dtype[Any], count: int, again: str) -> NDArray[Any]:
    try:
        found = path.stat().st_size
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); {again}") from None
    if found != count * dtype.itemsize:
        raise ArtifactError(f"{path}: {found} bytes instead of {count * dtype.itemsize}; {again}")
    # nothing cannot be mapped
    return np.memmap(path, dtype, mode="r", shape=(count,)) if count else np.empty(0, dtype)


def _checksum(text: bytes | memoryview, starts: Int64) -> int:
    return zlib.crc32(np.ascontiguousarray(starts, "<i8").data, zlib.crc32(text))


def _link_or_copy(source: Path, target: Path) -> None:
    aside = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, aside)
        os.replace(aside, target)
    except OSError:  # another disk, or a file system without links
        with source.open("rb") as file, writing(target) as copy:
            shutil.copyfileobj(file, copy, 2**20)
    finally:
        # renaming one link of a file to another does nothing
        aside.unlink(missing_ok=True)


def write_ids(
    folder: Path,
    name: str,
    parts: Iterable[Sequence[str]],
    *,
    about: Callable[[], Mapping[str, Any]] = dict,
    unique_in: Path | None = None,
) -> IdList:
    """Store ids as they come.

    Args:
        folder: Folder of the files, made if it is not there.
        name: Stem of the files.
        parts: The ids, some at a time.
        about: Callback that returns further values for the head, once all ids are written.
        unique_in: Folder to name in the error when an id occurs twice; None allows that.

    Raises:
        ArtifactError: An id occurs twice, or the disk is full.
    """
    checksums: list[int] = []
    count, end = 0, 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with DuplicateFinder(folder) as finder:
            with writing(folder / f"{name}{TEXT}") as texts, writing(folder / f"{name}{STARTS}") as starts:
                starts.write(bytes(8))
                for block in _blocks(parts):
                    text, places = encode_ids(block)
                    if unique_in is not None:
                        finder.add(hash_ids(text, places))
                    places += end
                    checksums.append(_checksum(text, places))
                    texts.write(text)
                    starts.write(np.ascontiguousarray(places[1:], "<i8").data)
                    count, end = count + len(block), end + len(text)
            head = {"format": FORMAT, "ids": count, "bytes": end, "block": BLOCK, "checksums": checksums}
            found = IdList(folder, name, {**head, "about": about()})
            duplicate = find_duplicate_in(lambda: _parts(found), finder)
    except OSError as error:
        raise UnwritableError(
            f"{folder}: cannot be written ({error.strerror}); free space or choose another folder"
        ) from error
    if duplicate is not None:
        remove_ids(folder, name)
        raise ArtifactError(f"{unique_in}: id {duplicate[0]!r} occurs twice; ids must be unique")
    write_json(folder / f"{name}{HEAD}", found.head)
    return found


def _blocks(parts: Iterable[Sequence[str]]) -> Iterator[list[str]]:
    ids = chain.from_iterable(parts)
    while block := list(islice(ids, BLOCK)):
        yield block


def find_duplicate_in(
    parts: Callable[[], Iterable[Sequence[str]]], finder: DuplicateFinder
) -> tuple[str, int, int] | None:
    """Return an id that occurs twice, and the numbers of the parts that it stands in; None without one.

    Args:
        parts: Gives all ids, some at a time; called once for each group of suspects.
        finder: Finder that has the hashes of all ids.
    """
    for suspects in finder.suspects():
        seen: dict[str, int] = {}
        for number, ids in enumerate(parts()):
            for row in np.flatnonzero(np.isin(hash_ids(*encode_ids(ids)), suspects)).tolist():
                if ids[row] in seen:
                    return ids[row], seen[ids[row]], number
                seen[ids[row]] = number
    return None


def check_unique(folder: Path, ids: Sequence[str]) -> None:
    """Refuse ids that are not unique.

    Args:
        folder: Folder of the ids, for the message.
        ids: All ids.

    Raises:
        ArtifactError: An id occurs twice.
    """
    if (twice := find_duplicate(ids)) is not None:
        raise ArtifactError(f"{folder}: id {twice!r} occurs twice; ids must be unique")


def find_duplicate(ids: Sequence[str]) -> str | None:
    """Return an id that occurs twice, or None; many ids are never held at once.

    >>> find_duplicate(["a", "b", "a"]), find_duplicate(["a", "b"])
    ('a', None)
    """
    if not are_many(len(ids)):
        seen: set[str] = set()
        return next((name for name in ids if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]
    with DuplicateFinder() as finder:
        for part in _parts(ids):
            finder.add(hash_ids(*encode_ids(part)))
        found = find_duplicate_in(lambda: _parts(ids), finder)
        return found and found[0]


def save_ids(folder: Path, name: str, ids: Sequence[str]) -> None:
    """Store ids, by links to where they are stored already if they are.

    Raises:
        ArtifactError: The ids cannot be written.
    """
    if isinstance(ids, IdList):
        ids.link_to(folder, name)
    else:
        write_ids(folder, name, _parts(ids))


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + BLOCK] for start in range(0, len(ids), BLOCK))


def remove_ids(folder: Path, name: str) -> None:
    """Remove a list, if it is there; whoever has it open can go on reading."""
    for suffix in (HEAD, STARTS, TEXT):
        (folder / f"{name}{suffix}").unlink(missing_ok=True)


class PickedIds(StoredIds):
    """Some of the ids of another sequence.

    Args:
        whole: The other one.
        rows: (N,) ascending rows of it.
    """

    def __init__(self, whole: Ids, rows: Int64) -> None:
        self._whole, self._rows = whole, rows

    def __len__(self) -> int:
        return len(self._rows)

    def part(self, start: int, stop: int) -> tuple[str, ...]:
        """Return the ids of rows ``start`` to ``stop``; both lie inside."""
        rows = self._rows[start:stop].tolist()
        if not rows or rows[-1] - rows[0] > 16 * len(rows):
            return tuple(self._whole[row] for row in rows)
        # close together: what lies between is read at once, which is faster than one by one
        ids = self._whole[rows[0] : rows[-1] + 1]
        return tuple(ids[row - rows[0]] for row in rows)


class RenamedIds(StoredIds):
    """The ids of another sequence, some under other names.

    Args:
        whole: The other one.
        names: Id -> its name.
    """

    def __init__(self, whole: Ids, names: Mapping[str, str]) -> None:
        self._whole, self._names = whole, names

    def __len__(self) -> int:
        return len(self._whole)

    def part(self, start: int, stop: int) -> tuple[str, ...]:
        """Return the ids of rows ``start`` to ``stop``; both lie inside."""
        return tuple(self._names.get(i, i) for i in self._whole[start:stop])
