"""Places of the files in a tar, so that they can be read without unpacking anything."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ilion.errors import DatasetError
from ilion.opening import open_regular

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


class TarMember(NamedTuple):
    """A regular file in a tar: its name as stored, and its byte range. The name is never used as a path."""

    name: str
    offset: int
    size: int


def index_tar(path: Path) -> list[TarMember]:
    """List the regular files of an uncompressed tar, in their order, from the headers alone.

    Folders and links are passed over. Long names (GNU and pax) are understood.

    Raises:
        DatasetError: No such file, not a tar, a compressed or sparse one, one that was cut short (the message
            says after which file), or several tars in one.
    """
    try:
        with open_regular(path) as file:
            return _index(file, path)
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be read ({error.strerror}); give the path of a tar file"
        ) from error


def _index(file: BinaryIO, path: Path) -> list[TarMember]:
    start = file.read(4)
    for magic, compression in _COMPRESSED.items():
        if start.startswith(magic):
            raise DatasetError(
                f"{path}: a tar compressed with {compression}, in which nothing can be found without reading "
                "all of it; decompress it first"
            )
    size = file.seek(0, 2)
    file.seek(0)
    members: list[TarMember] = []
    last, end = "", 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                # TarFile keeps all headers, about 1 kB each; a shard has 100,000.
                tar.members.clear()  # type: ignore[attr-defined]
                if tar.offset <= end or member.size < 0 or member.issparse():
                    raise DatasetError(
                        f"{path}: {member.name!r} is a sparse file or has a damaged header; "
                        "pack the tar again"
                    )
                end = tar.offset
                if end > size:
                    raise DatasetError(
                        f"{path}: truncated within {member.name!r}{_after(last)}; fetch the tar again"
                    )
                if member.isreg():
                    members.append(TarMember(member.name, member.offset_data, member.size))
                last = member.name
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        raise DatasetError(
            f"{path}: not a tar, or damaged{_after(last)} ({error}); fetch it again"
        ) from error
    # tarfile ends quietly both where a file stops and where a header is damaged.
    if size - end < 512:
        raise DatasetError(
            f"{path}: truncated, it has no end marker{_after(last)}; fetch or pack the tar again"
        )
    file.seek(end)
    while chunk := file.read(1 << 20):
        if chunk.strip(b"\0"):
            raise DatasetError(
                f"{path}: a damaged header, or a second tar{_after(last)}; fetch it again, or pack it as one"
            )
    return members


def _after(last: str) -> str:
    return f" after {last!r}" if last else " at its beginning"
