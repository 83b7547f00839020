"""Checksums of stored files, and what makes a group of files count.

An array carries its checksum (xxh3, 64 bits) as a comment in the header of its ``.npy`` file, which every
reader of such files skips; a head (JSON that is written last and makes other files count) carries its own and
the sizes of those files. Files that were written before there were checksums are read as they are.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from ilion.errors import ArtifactError
from ilion.opening import open_regular, parse_json, read_bytes

CHUNK = 32 << 20
"""Bytes hashed between two releases of the pages of a mapped file."""
_ALIGNED = 64
"""Multiple of bytes at which the values of a ``.npy`` file start."""
_SEAL = re.compile(rb" # xxh3:([0-9a-f]{16}) *\n\Z")
_HEAD = re.compile(rb'\A\{\n "checksum": "([0-9a-f]{16})"')
_FILES = re.compile(rb'\A\{\n "checksum": "[0-9a-f]{16}",\n "files": (\{[^}]*\})')
_BLANK = b"0" * 16
PARSING = Lock()
"""Held while NumPy reads the header of an array, which it parses by `ast`: two threads that do this at once
can end in a SystemError in Python before 3.11.8 and 3.12.2 (python/cpython issue 106905)."""
_FIRST = 65_536
"""Bytes of a head that surely hold the sizes of a shard's files, unless there are very many."""


def npy_header(array: NDArray[Any]) -> bytes:
    """Return the header of a contiguous array's ``.npy`` file, with the checksum of type, shape and values.

    Raises:
        ValueError: The array holds objects.
    """
    if array.dtype.hasobject:
        raise ValueError("arrays of objects are not stored")
    buffer = io.BytesIO()
    about = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(buffer, about)
    plain = buffer.getvalue()
    text = plain[10:].rstrip()
    digest = xxhash.xxh3_64(text)
    for part in _parts(array):
        digest.update(part.data)
    sealed = text + b" # xxh3:" + digest.hexdigest().encode()
    room = -(10 + len(sealed) + 1) % _ALIGNED
    sealed += b" " * room + b"\n"
    return plain[:8] + len(sealed).to_bytes(2, "little") + sealed


class Check:
    """Compares an array with the checksum in its file's header, if there is one, while it is read in order.

    Args:
        path: The file.
        array: Array as read or mapped.

    Raises:
        ArtifactError: The checksum itself is damaged.
    """

    def __init__(self, path: Path, array: NDArray[Any]) -> None:
        self._path = path
        with open_regular(path) as file:
            start = file.read(12)
            # versions after the first count the header's bytes by four bytes
            first, size = (10, start[8:10]) if start[6:7] == b"\x01" else (12, start[8:12])
            file.seek(first)
            header = file.read(int.from_bytes(size, "little"))
        seal = _SEAL.search(header)
        if seal is None and b"#" in header:
            raise self._damage()  # a comment that is no seal is a damaged one
        self._wanted = None if seal is None else seal[1].decode()
        self._digest = xxhash.xxh3_64(header if seal is None else header[: seal.start()])
        # the order in which the file holds the values
        self.in_rows = not _is_fortran(array)

    def take(self, values: NDArray[Any]) -> None:
        """Take the next values, in rows that lie one after the other."""
        if self._wanted is not None:
            self._digest.update(values.data)

    def finish(self) -> None:
        """Compare, once all values were taken.

        Raises:
            ArtifactError: The values are not those that were written.
        """
        if self._wanted is not None and self._digest.hexdigest() != self._wanted:
            raise self._damage()

    def _damage(self) -> ArtifactError:
        return ArtifactError(
            f"{self._path}: damaged (its checksum is not that of its content); delete it and run again"
        )


def check_array(path: Path, array: NDArray[Any], release: Callable[[], None] = lambda: None) -> None:
    """Compare an array with the checksum in its file's header, if there is one.

    Args:
        path: File of the array.
        array: Array as read or mapped.
        release: Called now and then, to give the pages of a mapped file back.

    Raises:
        ArtifactError: The array and its checksum differ.
    """
    check = Check(path, array)
    for part in _parts(array):
        check.take(part)
        release()
    check.finish()


def _parts(array: NDArray[Any]) -> Iterator[NDArray[np.uint8]]:
    """Yield the bytes of an array in the order in which its file holds them."""
    flat = np.asarray(array).reshape(-1, order="F" if _is_fortran(array) else "C")
    data = flat.view(np.uint8) if flat.nbytes else np.empty(0, np.uint8)
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK]


def _is_fortran(array: NDArray[Any]) -> bool:
    return bool(array.flags.f_contiguous and not array.flags.c_contiguous)


def seal_head(values: Mapping[str, Any], files: Iterable[Path], default: Callable[[object], object]) -> bytes:
    """Return the content of a head: its checksum, the sizes of the files that it makes count, and values.

    Args:
        values: Content of the head.
        files: Files beside it that are written already. Of what a shard took (``.stats.json``) no size is
            kept, as it is another one each time.
        default: Turns other values into what JSON holds.
    """
    sizes = {f.name: None if f.name.endswith(".stats.json") else f.stat().st_size for f in files}
    content = {"checksum": _BLANK.decode(), "files": sizes, **values}
    data = json.dumps(content, default=default, ensure_ascii=False, indent=1).encode(
        errors="backslashreplace"
    )
    return data.replace(_BLANK, xxhash.xxh3_64_hexdigest(data).encode(), 1)


def check_head(path: Path, data: bytes) -> bool:
    """Compare a JSON file with the checksum in it; return whether it has one.

    Raises:
        ArtifactError: The content and its checksum differ.
    """
    seal = _HEAD.match(data)
    if seal is None:
        return False
    if xxhash.xxh3_64_hexdigest(data.replace(seal[1], _BLANK, 1)) != seal[1].decode():
        raise ArtifactError(
            f"{path}: damaged (its checksum is not that of its content); delete it and run again"
        )
    return True


def is_finished(head: Path) -> bool:
    """Return whether a head is there, and every file that it makes count is there in the size it had.

    A shard whose files do not fit is made again. The head of an older version does not name its files: of
    them only the first is looked for.
    """
    try:
        with open_regular(head) as file:
            found = _FILES.match(file.read(_FIRST)) or _FILES.match(_read_whole(head))
        if found is None:
            return _fits_without_sizes(head)
        sizes = parse_json(found[1])
        found_sizes = ((os.stat(head.with_name(name)).st_size, size) for name, size in sizes.items())
        return all(size in (None, there) for there, size in found_sizes)
    except (OSError, ValueError):
        return False


def _fits_without_sizes(head: Path) -> bool:
    if not head.name.endswith(".ids.json"):
        return True
    stem = head.name.removesuffix(".ids.json")
    others = (f"{stem}{suffix}" for suffix in (".bin", ".texts.npz", ".0000.norms.npy"))
    values = head.with_name(f"{stem}.npy")
    if not values.exists():
        empty = b'"segments": []' in read_bytes(head)
        return empty or any(head.with_name(name).exists() for name in others)
    with open_regular(values) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            return True
        with PARSING:
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        return file.tell() + math.prod(shape) * dtype.itemsize <= values.stat().st_size


def _read_whole(path: Path) -> bytes:
    """Read a head whose list of files is longer than its start; nothing for one without a list."""
    with open_regular(path) as file:
        start = file.read(64)
        return start + file.read() if b'"files"' in start else b""
