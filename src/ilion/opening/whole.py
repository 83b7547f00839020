"""Files and folders that are written whole or not at all, in place of nothing or of a regular file.

Files are written aside, synced and renamed, so a kill at any moment leaves either the old file or the new
one. What is no regular file is not replaced: a pipe would hang who writes to it, and a device (``/dev/null``)
would be gone for everybody.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ilion.errors import ArtifactError, UnwritableError
from ilion.opening.regular import full_path, kind_of


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to write so that a kill or a full disk leaves either the old content or the new one.

    Raises:
        ArtifactError: The disk is full, the folder cannot be written, or something else than a file is there.
    """
    # a name of its own: workers of several machines may write the same shard
    aside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with saying_unwritable(path):
            _refuse_special(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
    finally:
        with suppress(OSError):  # a folder that is a file, or a name that is too long: nothing was made
            aside.unlink(missing_ok=True)


@contextmanager
def writing_folder(path: Path) -> Iterator[Path]:
    """Give a folder aside to fill, which takes the place of a new or empty one once it is full.

    What a killed process left of it is deleted first, so the same again starts anew.

    Raises:
        ArtifactError: The folder cannot be made.
    """
    place = full_path(path)
    aside = place.with_name(f".{place.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        with saying_unwritable(path):
            aside.mkdir(parents=True)
        yield aside
        with saying_unwritable(path):
            if place.is_dir():
                place.rmdir()
            os.replace(aside, place)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def saying_unwritable(path: Path) -> Iterator[None]:
    """Turn what goes wrong with writing below a path into a sentence.

    Raises:
        UnwritableError: The disk is full, or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise UnwritableError(
            f"{path}: cannot be written ({error.strerror}); free space or choose another folder"
        ) from error


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write a whole file like `writing`."""
    with writing(path) as file:
        file.write(data)


def _refuse_special(path: Path) -> None:
    try:
        kind = kind_of(os.stat(path).st_mode)
    except FileNotFoundError:
        return
    if kind:
        raise ArtifactError(f"{path}: cannot be written, as it is {kind}, not a file; name another one")
