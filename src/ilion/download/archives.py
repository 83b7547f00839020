"""Extraction that cannot leave its folder, fill the disk beyond what was announced, or hide what it did.

Only plain files and folders are taken. Links, devices, sparse files, absolute paths, ``..``, names that a
file system could read as something else, members that occur twice: the archive is refused, and nothing of it
is kept. All is written aside first and moved when the archive has been read to its end.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import IO

from ilion.datasets.tars import EXTENSIONS, MOST_HEADER
from ilion.errors import ArtifactError
from ilion.opening import open_regular

MOST_MEMBERS = 5_000_000
MOST_EXPANSION = 200
"""Most extracted bytes for a byte of a compressed archive; photos hardly shrink, text about tenfold."""
RESERVE = 64 << 20
"""Bytes that stay free on the disk."""
DEEPEST = 64
MOST_PADDING = 16 << 20
"""Most bytes behind the last member."""


@dataclass(frozen=True)
class Member:
    """One file or folder in an archive.

    Args:
        name: Name in the archive.
        folder: Whether it is a folder.
        size: Announced bytes.
        open: Callback that opens its content.
    """

    name: str
    folder: bool
    size: int
    open: Callable[[], IO[bytes] | None]


def is_archive(path: str) -> bool:
    """Return whether a file is, by its name, an archive that can be extracted.

    >>> is_archive("a.tar.gz"), is_archive("a.hdf5")
    (True, False)
    """
    return path.endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip"))


def safe_parts(name: str) -> tuple[str, ...]:
    r"""Split a member's name into path parts, or refuse it.

    Raises:
        ArtifactError: The name is absolute, has ``..``, a drive, a backslash or control characters, or is too
            deep.

    >>> safe_parts("./a/b.jpg")
    ('a', 'b.jpg')
    >>> safe_parts("a/../../b")
    Traceback (most recent call last):
    ilion.errors.ArtifactError: 'a/../../b' leads out of the folder
    """
    if name.startswith("/") or "\\" in name or (len(name) > 1 and name[1] == ":"):
        raise ArtifactError(f"{name!r} is an absolute path or one of another system")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts:
        raise ArtifactError(f"{name!r} leads out of the folder")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        raise ArtifactError(f"{name!r} has control characters")
    if len(parts) > DEEPEST or any(len(part.encode()) > 255 for part in parts):
        raise ArtifactError(f"{name[:80]!r}... is too deep or too long")
    return parts


def extract(
    archive: Path,
    target: Path,
    aside: Path,
    *,
    stop: Event | None = None,
    tell: Callable[[int], None] | None = None,
) -> tuple[int, tuple[str, ...]]:
    """Extract an archive.

    Args:
        archive: Tar (plain or compressed) or zip file.
        target: Folder to extract in; files of the same names are replaced.
        aside: Folder for the time of extraction, on the same disk; emptied first.
        stop: Event that ends it with a `KeyboardInterrupt`.
        tell: Callback that receives the number of further bytes written.

    Returns:
        Number of files, and the names at the top.

    Raises:
        ArtifactError: The archive is damaged, or holds something that it should not; nothing is kept of it.
    """
    shutil.rmtree(aside, ignore_errors=True)
    try:
        count = 0
        seen: set[tuple[str, ...]] = set()
        left = _allowance(archive)
        with _open_archive(archive) as members:
            for number, member in enumerate(members):
                if number >= MOST_MEMBERS:
                    raise ArtifactError(f"more than {MOST_MEMBERS} members")
                parts = safe_parts(member.name)
                place = aside.joinpath(*parts)
                if member.folder:
                    place.mkdir(parents=True, exist_ok=True)
                    continue
                if not parts or parts in seen:
                    raise ArtifactError(f"{member.name!r} is there twice")
                seen.add(parts)
                if member.size > left:
                    raise ArtifactError(
                        f"{member.name!r} with {member.size} bytes is more than it can hold in earnest"
                    )
                left -= _write(member, place, left, stop, tell)
                count += 1
        aside.mkdir(parents=True, exist_ok=True)
        tops = tuple(sorted(entry.name for entry in aside.iterdir()))
        _move(aside, target)
    except OSError as error:
        raise ArtifactError(f"{archive}: cannot be extracted ({error.strerror or error})") from error
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        RecursionError,  # thousands of extension headers in a row
        RuntimeError,
    ) as error:
        raise ArtifactError(f"{archive}: damaged ({error}); delete it and download it again") from None
    except ArtifactError as error:
        raise ArtifactError(f"{archive}: refused, and nothing of it was kept: {error}") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return count, tops


def _allowance(archive: Path) -> int:
    """Return the most bytes that may come out: by the size of the archive, and by what the disk has left."""
    size = archive.stat().st_size
    plain = archive.name.endswith(".tar")
    return min(
        size if plain else size * MOST_EXPANSION, max(shutil.disk_usage(archive.parent).free - RESERVE, 0)
    )


def _write(
    member: Member, place: Path, left: int, stop: Event | None, tell: Callable[[int], None] | None
) -> int:
    """Write one file; the bytes that really come are counted, not those announced."""
    place.parent.mkdir(parents=True, exist_ok=True)
    source = member.open()
    if source is None:
        raise ArtifactError(f"{member.name!r} has no content")
    written = 0
    # exclusive: a folder or file of that name (also one that differs in case only, where case does not count)
    # must not be there
    with source, place.open("xb") as file:
        while data := source.read(1 << 20):
            if stop is not None and stop.is_set():
                raise KeyboardInterrupt
            written += len(data)
            if written > min(member.size, left):
                raise ArtifactError(f"{member.name!r} is longer than announced")
            file.write(data)
            if tell is not None:
                tell(len(data))
    if written != member.size:
        raise ArtifactError(f"{member.name!r}: {written} bytes instead of {member.size}")
    return written


@contextmanager
def _open_archive(archive: Path) -> Iterator[Iterator[Member]]:
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as found:
            yield _of_zip(found)
    else:
        # read once, front to back, and to the end of the compressed stream: its checksum stands there, which
        # tarfile does not look at
        with _decompress(archive) as stream, tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as tar:
            yield _of_tar(tar)
            rest = 0
            while data := stream.read(1 << 20):
                rest += len(data)
                if rest > MOST_PADDING:
                    raise ArtifactError("more padding than an archive has")


def _decompress(archive: Path) -> IO[bytes]:
    """Open a tar by the compression that its first bytes show."""
    with open_regular(archive) as file:
        start = file.read(6)
    if start.startswith(b"\x1f\x8b"):
        return gzip.open(archive)  # type: ignore[return-value]
    if start.startswith(b"BZh"):
        return bz2.open(archive)
    if start == b"\xfd7zXZ\0":
        return lzma.open(archive)
    return open_regular(archive)


class _Member(tarfile.TarInfo):
    """A member whose header is looked at before tarfile reads, as a whole, what extends it."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        found = super().frombuf(buf, encoding, errors)
        if found.type in EXTENSIONS and not 0 <= found.size <= MOST_HEADER:
            raise ArtifactError(f"an extension header of {found.size:,} bytes, as no writer makes")
        return found


def _of_tar(tar: tarfile.TarFile) -> Iterator[Member]:
    for info in tar:
        if info.issym() or info.islnk():
            raise ArtifactError(f"{info.name!r} is a link to {info.linkname!r}")
        if info.issparse():
            raise ArtifactError(f"{info.name!r} is a sparse file")
        if not (info.isreg() or info.isdir()):
            raise ArtifactError(f"{info.name!r} is neither a file nor a folder")
        yield Member(info.name, info.isdir(), info.size, lambda info=info: tar.extractfile(info))  # type: ignore[misc]


def _of_zip(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArtifactError(f"{info.filename!r} is neither a file nor a folder")
        if info.flag_bits & 1:
            raise ArtifactError(f"{info.filename!r} is encrypted")
        yield Member(
            info.filename,
            info.is_dir(),
            info.file_size,
            lambda info=info: archive.open(info),  # type: ignore[misc]
        )


def _move(aside: Path, target: Path) -> None:
    """Move all files to their places, once nothing is in the way; a link there is not followed."""
    for folder, folders, files in os.walk(aside):
        here = target / Path(folder).relative_to(aside)
        for place in (here / name for name in folders):
            if place.is_symlink() or (place.exists() and not place.is_dir()):
                raise ArtifactError(f"{place} is in the way: it is a link or a file; move it away")
        for place in (here / name for name in files):
            if place.is_dir() and not place.is_symlink():
                raise ArtifactError(f"{place} is in the way: it is a folder; move it away")
    for folder, _, files in os.walk(aside):
        here = target / Path(folder).relative_to(aside)
        here.mkdir(parents=True, exist_ok=True)
        for name in files:
            os.replace(Path(folder) / name, here / name)
