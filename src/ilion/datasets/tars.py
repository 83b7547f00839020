"""Places of the files in a tar, so that they can be read without unpacking anything."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ilion.datasets.names import bad_characters
from ilion.errors import DatasetError
from ilion.opening import open_regular

MOST_HEADER = 1 << 20
"""Most bytes of an extension header: long names and their like take hundreds."""
MOST_HEADERS = 64
"""Most extension headers before one file; writers need two or three."""
MOST_TAIL = 64 << 20
"""Most bytes after the last file: writers fill up to a block of a tape, 10 KB and seldom above 1 MB."""

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_BLOCK = 512
_NUMBER = re.compile(r"[0-9]{1,18}")
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE)
_LONG = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
EXTENSIONS = (*_PAX, *_LONG)
"""Types of headers that extend the next one."""


class TarMember(NamedTuple):
    """A regular file in a tar: its name as stored, and its byte range. The name is never used as a path."""

    name: str
    offset: int
    size: int


class TarIndex(NamedTuple):
    """Content of a tar.

    Args:
        members: Regular files in order; a hard link to an earlier one is that file once more.
        links: Names of the links that lead to no file before them, which are passed over.
    """

    members: list[TarMember]
    links: list[str]


def index_tar(path: Path) -> TarIndex:
    """List the files of an uncompressed tar from the headers alone.

    Folders are passed over. Long names (GNU and pax) are understood.

    Raises:
        DatasetError: No such file, not a tar, a compressed or sparse one, one that was cut short (the message
            says after which file), several tars in one, a name that is no text, or headers without end.
    """
    try:
        with open_regular(path) as file:
            return _index(file, path)
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be read ({error.strerror}); give the path of a tar file"
        ) from error


def _index(file: BinaryIO, path: Path) -> TarIndex:
    start = file.read(4)
    for magic, compression in _COMPRESSED.items():
        if start.startswith(magic):
            raise DatasetError(
                f"{path}: a tar compressed with {compression}, in which nothing can be found without reading "
                "all of it; decompress it first"
            )
    size = file.seek(0, 2)
    members: list[TarMember] = []
    by_name: dict[str, TarMember] = {}
    links: list[str] = []
    last, end, headers = "", 0, 0
    shared: dict[str, str] = {}
    own: dict[str, str] = {}
    while True:
        file.seek(end)
        block = file.read(_BLOCK)
        if len(block) < _BLOCK or not block.strip(b"\0"):
            break
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.TarError, ValueError) as error:
            if not end:
                raise DatasetError(
                    f"{path}: not a tar, or damaged at its beginning ({error}); fetch it again"
                ) from error
            break
        data = end + _BLOCK
        if info.type in EXTENSIONS:
            headers += 1
            if headers > MOST_HEADERS or not 0 <= info.size <= MOST_HEADER:
                seen = f"{headers} extension headers in a row, the last of {info.size:,} bytes"
                raise DatasetError(f"{path}: {seen}{_after(last)}, as no writer makes; pack the tar again")
            body = file.read(info.size)
            end = data + _padded(info.size)
            if end > size:
                raise DatasetError(f"{path}: truncated within a header{_after(last)}; fetch the tar again")
            if info.type in _LONG:
                text = body.partition(b"\0")[0].decode("utf-8", "surrogateescape")
                own.setdefault(_LONG[info.type], text)
            else:
                (shared if info.type == tarfile.XGLTYPE else own).update(_pax(body, path, last))
            continue
        values = shared | own
        own, headers = {}, 0
        name, target = values.get("path", info.name), values.get("linkpath", info.linkname)
        if not _NUMBER.fullmatch(values.get("size", "0")):
            raise DatasetError(f"{path}: {name!r} has a damaged header; pack the tar again")
        length = int(values.get("size", info.size))
        if (
            info.type == tarfile.GNUTYPE_SPARSE
            or length < 0
            or any(k.startswith("GNU.sparse") for k in values)
        ):
            raise DatasetError(
                f"{path}: {name!r} is a sparse file or has a damaged header; pack the tar again"
            )
        end = data + (_padded(length) if info.isreg() or info.type not in tarfile.SUPPORTED_TYPES else 0)
        if end > size:
            raise DatasetError(f"{path}: truncated within {name!r}{_after(last)}; fetch the tar again")
        if bad := bad_characters(name):
            raise DatasetError(f"{path}: the name {name!a} holds {bad}; rename it, and pack the tar again")
        last = name
        if info.isreg():
            members.append(TarMember(name, data, length))
            by_name[_plain(name)] = members[-1]
        elif info.islnk() and _plain(target) in by_name:
            members.append(by_name[_plain(target)]._replace(name=name))
        elif info.islnk() or info.issym():
            links.append(name)
    _check_end(file, path, size, end, last)
    return TarIndex(members, links)


def _check_end(file: BinaryIO, path: Path, size: int, end: int, last: str) -> None:
    """Refuse a tar that stops without its end marker, or that goes on after it."""
    if not size:
        raise DatasetError(f"{path}: not a tar, the file is empty; fetch it again")
    if size - end < _BLOCK:
        raise DatasetError(
            f"{path}: truncated, it has no end marker{_after(last)}; fetch or pack the tar again"
        )
    if size - end > MOST_TAIL:
        raise DatasetError(
            f"{path}: {size - end:,} bytes follow its end{_after(last)}: a second tar, or damage; fetch it "
            "again, or pack it as one"
        )
    file.seek(end)
    while chunk := file.read(1 << 20):
        if chunk.strip(b"\0"):
            raise DatasetError(
                f"{path}: a damaged header, or a second tar{_after(last)}; fetch it again, or pack it as one"
            )


def _padded(length: int) -> int:
    """Return a length in whole blocks."""
    return -(-length // _BLOCK) * _BLOCK


def _plain(name: str) -> str:
    return name.removeprefix("./")


def _pax(body: bytes, path: Path, last: str) -> dict[str, str]:
    """Return the values of a pax header, lines of ``<length> <key>=<value>``."""
    values = {}
    place = 0
    while place < len(body) and body[place]:
        count, space, rest = body[place : place + 20].partition(b" ")
        length = int(count) if count.isdigit() else 0
        record = body[place : place + length]
        key, equals, value = record[len(count) + 1 : -1].partition(b"=")
        if not space or not rest or not equals or len(record) < length or record[-1:] != b"\n":
            raise DatasetError(f"{path}: a damaged extension header{_after(last)}; fetch it again")
        values[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        place += length
    return values


def _after(last: str) -> str:
    return f" after {last!r}" if last else " at its beginning"
