"""Records of fetched files: one small JSON file for each, beside the partial files.

    folder/.downloads/<name>.record.json   digest, size, address, when; what was extracted
    folder/.downloads/<name>.part          a file on its way, with its journal

A ``/`` of the path is a ``~`` in ``<name>``.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ilion import storage
from ilion.errors import ArtifactError
from ilion.opening import open_regular

HOME = ".downloads"


@dataclass(frozen=True)
class Record:
    """One file that was fetched and verified.

    Args:
        path: Local path below the folder.
        sha256: Digest of the file.
        size: Bytes.
        url: Address that it came from.
        policy: Origin of the digest: ``pinned``, ``listed`` or ``first-use``.
        fetched: Local time.
        modified: Modification time in nanoseconds when it was verified last; 0 before.
        extracted: Number of files that came out of it; -1 if it was not extracted.
        tops: Names that came out at the top, below the folder that the archive lay in.
    """

    path: str
    sha256: str
    size: int
    url: str
    policy: str
    fetched: str
    modified: int = 0
    extracted: int = -1
    tops: tuple[str, ...] = ()

    def is_extracted(self, folder: Path) -> bool:
        """Return whether the extracted files are still there, by their names at the top."""
        here = (folder / self.path).parent
        return self.extracted >= 0 and all((here / top).exists() for top in self.tops)


def downloads_folder(folder: Path) -> Path:
    """Return the folder of records and partial files."""
    return folder / HOME


def file_stem(path: str) -> str:
    """Return the name that stands for a path.

    >>> file_stem("yfcc100m/a.tar")
    'yfcc100m~a.tar'
    """
    return path.replace("/", "~")


def read_record(folder: Path, path: str) -> Record | None:
    """Return the record of a file, or None.

    Raises:
        ArtifactError: The record is damaged.
    """
    file = downloads_folder(folder) / f"{file_stem(path)}.record.json"
    if not file.exists():
        return None
    plain = storage.read_json(file, Record)
    return Record(**{**plain, "tops": tuple(plain.get("tops", ()))})


def write_record(folder: Path, record: Record) -> None:
    """Store the record of a file."""
    storage.write_json(downloads_folder(folder) / f"{file_stem(record.path)}.record.json", asdict(record))


def note_verified(folder: Path, record: Record) -> Record:
    """Note that the file on disk was verified as it is now."""
    again = replace(record, modified=(folder / record.path).stat().st_mtime_ns)
    write_record(folder, again)
    return again


def local_time() -> str:
    """Return the local time for a record."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def hash_file(
    path: Path, stop: threading.Event | None = None, tell: Callable[[int], None] | None = None
) -> str:
    """Return the sha256 of a file.

    Args:
        path: The file.
        stop: Event that ends it with a `KeyboardInterrupt`.
        tell: Callback that receives the number of further bytes read.

    Raises:
        ArtifactError: The file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open_regular(path) as file:
            while data := file.read(1 << 20):
                if stop is not None and stop.is_set():
                    raise KeyboardInterrupt
                digest.update(data)
                if tell is not None:
                    tell(len(data))
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from None
    return digest.hexdigest()
