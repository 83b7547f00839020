"""Regular files, and nothing else: a pipe hangs whoever opens it, and a device has no end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from ilion.errors import ConfigError, DatasetError

MOST_BYTES = 1 << 30
"""Most bytes of a file that is read whole."""

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class SpecialFileError(DatasetError, OSError):
    """A path leads to something else than a regular file, or to one that is too large to be read whole.

    It is an `OSError` too, so that code that knows what to do about an unreadable file does it here.

    Args:
        path: The path.
        seen: Kind of what is there, as in "is a pipe (FIFO), not a file".
        remedy: Advice on what to do.
    """

    def __init__(self, path: Path | str, seen: str, remedy: str) -> None:
        super().__init__(errno.EINVAL, seen, str(path))
        self.strerror = seen
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}; {self.remedy}"


def full_path(*parts: Path | str) -> Path:
    """Return the absolute path of a file or folder, with links followed.

    Unlike `Path.resolve`, it does not fail for links in a circle: who opens the path says what is wrong.

    >>> full_path("/tmp", "a/../b") == full_path("/tmp/b")
    True
    """
    return Path(os.path.realpath(os.path.join(*parts)))


def check_folder(folder: Path) -> None:
    """Check that a folder for output is one, or can be made.

    Raises:
        ConfigError: The path, or one above it, is something else.
    """
    blocked = next((p for p in (folder, *folder.parents) if p.exists() and not p.is_dir()), None)
    if blocked is not None:
        raise ConfigError(f"{blocked}: is no folder; name one for the output (-o) and for cache")


def kind_of(mode: int) -> str:
    """Return what a file mode says in words; "" for a regular file.

    >>> kind_of(stat.S_IFIFO), kind_of(stat.S_IFREG)
    ('a pipe (FIFO)', '')
    """
    if stat.S_ISREG(mode):
        return ""
    return next((name for test, name in _KINDS if test(mode)), "a special file")


def open_regular(path: Path | str, *, buffering: int = -1) -> BinaryIO:
    """Open a regular file to read its bytes; never waits for a pipe, and never touches a device.

    Args:
        path: Path of the file; links are followed.
        buffering: As for `open`.

    Raises:
        SpecialFileError: Something else is there.
        OSError: Nothing is there, or it cannot be read.
    """
    _refuse_special(path, os.stat(path).st_mode)  # before: opening a device can have effects
    descriptor = os.open(path, _FLAGS)
    try:
        _refuse_special(path, os.fstat(descriptor).st_mode)  # and after: the path may have changed
        return os.fdopen(descriptor, "rb", buffering)
    except BaseException:
        os.close(descriptor)
        raise


def check_regular(path: Path | str) -> None:
    """Refuse what is no regular file, for libraries that open a path by themselves.

    Raises:
        SpecialFileError: Something else is there.
        OSError: Nothing is there.
    """
    _refuse_special(path, os.stat(path).st_mode)


def read_bytes(path: Path | str, most: int = MOST_BYTES) -> bytes:
    """Read a whole regular file.

    Args:
        path: Path of the file.
        most: Most bytes; a larger file is refused before anything is allocated.

    Raises:
        SpecialFileError: No regular file, or a larger one.
        OSError: Nothing is there, or it cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise _too_large(path, size, most)
        parts = [file.read(size)]
        # A file that grows meanwhile, or that says no size (/proc), is read in small pieces: a buffer of
        # `most` bytes for every photo would cost a gigabyte each.
        while part := file.read(1 << 16):
            parts.append(part)
            if sum(map(len, parts)) > most:
                raise _too_large(path, sum(map(len, parts)), most)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(path: Path | str, size: int, most: int) -> SpecialFileError:
    seen = f"has {size:,} bytes, more than the limit of {most:,} for such a file"
    return SpecialFileError(path, seen, "give a smaller file, or fetch this one again")


def _refuse_special(path: Path | str, mode: int) -> None:
    kind = kind_of(mode)
    if kind:
        raise SpecialFileError(path, f"is {kind}, not a file", "give a file, or remove it")
