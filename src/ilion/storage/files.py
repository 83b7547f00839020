"""Files that are written whole or not at all, and folders that one process writes to.

Files are written aside, synced and renamed, so a kill at any moment leaves either the old file or the new
one.
"""

from __future__ import annotations

import errno
import io
import json
import mmap
import os
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from pathlib import Path
from tokenize import TokenError
from types import MappingProxyType
from typing import Any
from zipfile import BadZipFile

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from ilion.errors import ArtifactError, UnwritableError
from ilion.opening import (
    check_regular,
    find_misfit,
    open_regular,
    parse_json,
    read_bytes,
    write_bytes,
    writing,
)
from ilion.storage.seals import PARSING, Check, check_array, check_head, npy_header, seal_head
from ilion.wording import counted

_DAMAGE = (
    ValueError, TypeError, EOFError, OSError, OverflowError, MemoryError, RecursionError,
    TokenError, SyntaxError,  # NumPy reads the head of an array as Python
    BadZipFile, zlib.error, NotImplementedError, RuntimeError,  # unknown or encrypted members of a zip
)  # fmt: skip
"""What damaged arrays raise."""
_OLD = 60.0
"""Seconds after which a manifest that lies aside is that of a process which is gone."""
Form = tuple[str, int]
"""What an array must be: the kinds of number that it may hold (`numpy.dtype.kind`), and its dimensions."""


def plain(value: object) -> object:
    """Return a value of another type as JSON can hold it.

    Raises:
        TypeError: Values of this type are not stored.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON")


def write_json(path: Path, value: object) -> None:
    """Write JSON like `write_bytes`; half a character (a lone surrogate) is written as JSON escapes it."""
    text = json.dumps(value, default=plain, ensure_ascii=False, indent=1)
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_head(path: Path, values: Mapping[str, Any], files: Iterable[Path]) -> None:
    """Write the JSON that makes files count, with its checksum and their sizes; see `is_finished`.

    Args:
        path: The head; written like `write_bytes`.
        values: Content of the head.
        files: Files in the same folder, written before; what a shard took (``.stats.json``) is one of them.
    """
    stats = path.with_name(f"{path.name.removesuffix('.ids.json')}.stats.json")
    write_bytes(path, seal_head(values, [*files, *([stats] if stats.exists() else [])], plain))


def read_json(path: Path, form: Any = Any) -> Any:
    """Read JSON; a head is compared with its checksum.

    Args:
        path: The file.
        form: Form of the value, as a type; see `ilion.opening.forms`.

    Raises:
        ArtifactError: The file is missing, damaged, or holds something else.
    """
    try:
        data = read_bytes(path)
        content = parse_json(data)
        if check_head(path, data):
            del content["checksum"], content["files"]
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise ArtifactError(f"{path}: there is no such file") from None
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ArtifactError(f"{path}: damaged ({error}); delete it and run again") from None
    if misfit := find_misfit(content, form):
        raise ArtifactError(f"{path}: damaged ({misfit}); delete it and run again")
    return content


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as ``.npy`` like `write_bytes`, with its checksum in the header."""
    values = np.ascontiguousarray(array)
    with writing(path) as file:
        file.write(npy_header(values))
        if values.nbytes:
            file.write(values.reshape(-1).view(np.uint8).data)


def read_array(
    path: Path, form: Form | None = None, *, mapped: bool = False, checked: bool = True
) -> NDArray[Any]:
    """Read a ``.npy`` array, memory-mapped if asked. Threads may read at once.

    Args:
        path: The file.
        form: Form of the array, as checksums are not all that there is: older files have none.
        mapped: Whether to map it instead of reading it.
        checked: Whether to compare it with its checksum; a file that did not change since is compared once
            by a process. Without, the caller calls `check_mapped` before it looks at values.

    Raises:
        ArtifactError: The file is missing, cut off, damaged, or not a plain array.
    """
    try:
        check_regular(path)
        with PARSING:
            array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
        if not mapped:
            array = np.array(array, order="K")
    except FileNotFoundError:
        raise ArtifactError(f"{path}: there is no such file") from None
    except _DAMAGE as error:
        raise ArtifactError(f"{path}: damaged ({error}); delete it and run again") from None
    _check_form(path, array, form)
    if checked:
        check_mapped(path, array)
    return array


def _check_form(where: Path | str, array: NDArray[Any], form: Form | None) -> None:
    if form is not None and (array.dtype.kind not in form[0] or array.ndim != form[1]):
        raise ArtifactError(
            f"{where}: damaged ({array.dtype} in {counted(array.ndim, 'dimension')}); delete it and run again"
        )


_SOUND: set[tuple[str, int, int, int]] = set()
"""Files that this process has compared with their checksums, as they were: path, size, time, inode."""


def check_mapped(path: Path, array: NDArray[Any]) -> None:
    """Compare an array with the checksum of its file, unless this process did that since it was written.

    Raises:
        ArtifactError: The array and its checksum differ.
    """
    known = _stamp(path)
    if known not in _SOUND:
        check_array(path, array, lambda: release_pages(array))
        _SOUND.add(known)


@contextmanager
def checking_mapped(path: Path, array: NDArray[Any]) -> Iterator[Check | None]:
    """Compare an array as `check_mapped` does while its rows are read, which saves reading them twice.

    The check is to be given all rows in order and finished by whoever reads; None where nothing is to be
    done: it was compared before, or its rows do not lie one after the other.
    """
    known = _stamp(path)
    check = None if known in _SOUND else Check(path, array)
    if check is not None and not check.in_rows:
        check_mapped(path, array)
        check = None
    yield check
    _SOUND.add(known)


def _stamp(path: Path) -> tuple[str, int, int, int]:
    stat = path.stat()
    return str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays as ``.npz`` like `write_bytes`; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    contiguous: dict[str, Any] = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    np.savez(buffer, **contiguous)
    write_bytes(path, buffer.getbuffer())


def read_arrays(path: Path, forms: Mapping[str, Form] = MappingProxyType({})) -> dict[str, NDArray[Any]]:
    """Read what `write_arrays` wrote.

    Args:
        path: The file.
        forms: Arrays that must be there, and what they must be.

    Raises:
        ArtifactError: The file is missing or damaged.
    """
    try:
        with PARSING, open_regular(path) as file, np.load(file, allow_pickle=False) as arrays:
            held, unpacked = os.stat(path).st_size, sum(part.file_size for part in arrays.zip.infolist())
            if unpacked > 4 * held + 2**20:
                # `write_arrays` stores values as they are
                raise ValueError(f"{held} bytes would unpack to {unpacked}")
            found = {name: arrays[name] for name in arrays.files}
    except FileNotFoundError:
        raise ArtifactError(f"{path}: there is no such file") from None
    except _DAMAGE as error:
        raise ArtifactError(f"{path}: damaged ({error}); delete it and run again") from None
    if missing := forms.keys() - found:
        raise ArtifactError(f"{path}: damaged (lacks {', '.join(sorted(missing))}); delete it and run again")
    for name, form in forms.items():
        _check_form(f"{path}: {name}", found[name], form)
    return found


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder, made if it is not there, for one writing process.

    The lock goes with the process, however it ends. Half-written files of a killed process are removed.
    A folder that may only be read is not locked: what is finished there is used, `writing` refuses the rest.

    Args:
        folder: The folder.
        wait: Whether to wait for another process that holds it.

    Raises:
        ArtifactError: Another process holds it, or the folder cannot be written.
    """
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise ArtifactError(f"{folder}: another process is writing here; wait for it or stop it") from None
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EROFS) and folder.is_dir():
            yield
            return
        raise UnwritableError(
            f"{folder}: cannot be written ({error.strerror or error}); choose another folder"
        ) from error
    try:
        # only the holder of the lock writes here, so what lies aside now is nobody's; but a manifest is
        # written before the lock is taken, perhaps by another process at this moment
        for leftover in folder.glob(".*.tmp"):
            with suppress(FileNotFoundError):
                if ".manifest.json." not in leftover.name or time.time() - leftover.stat().st_mtime > _OLD:
                    leftover.unlink()
        yield
    finally:
        lock.release()


def release_pages(values: NDArray[Any]) -> None:
    """Give the touched pages of a mapped file back, which else count as memory of this process."""
    pages = getattr(values, "_mmap", None)
    if pages is not None and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)
