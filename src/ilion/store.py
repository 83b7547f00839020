"""The only reader and writer of artifacts.

An artifact is a folder ``<kind>-<fingerprint>`` with a ``manifest.json`` that says what its content depends
on. Files are written aside, synced and renamed, so a kill at any moment leaves either the old file or the new
one; a shard counts only once its ``.ids.json``, which is written last, is there.
"""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import os
import platform
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from ilion._version import __version__
from ilion.errors import ArtifactError
from ilion.outcome import Machine, Skipped
from ilion.types import Descriptors, Float32, Int64, Ranking

FORMAT = 1
"""Raised when the meaning of stored files changes; artifacts of another format are never reused."""


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON")


def fingerprint(*parts: object) -> str:
    """Return a short digest of JSON-like values; equal values give equal digests on every machine.

    >>> fingerprint({"b": 1, "a": 2}) == fingerprint({"a": 2, "b": 1})
    True
    """
    text = json.dumps(parts, sort_keys=True, default=_plain, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to write so that a kill or a full disk leaves either the old content or the new one.

    Raises:
        ArtifactError: The disk is full or the folder cannot be written.
    """
    # a name of its own: workers of several machines may write the same shard
    aside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        raise ArtifactError(
            f"{path}: cannot be written ({error.strerror}); free space or choose another folder"
        ) from error
    finally:
        aside.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write a whole file like `writing`."""
    with writing(path) as file:
        file.write(data)


def write_json(path: Path, value: object) -> None:
    """Write JSON like `write_bytes`."""
    write_bytes(path, json.dumps(value, default=_plain, ensure_ascii=False, indent=1).encode())


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        ArtifactError: The file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path}: there is no such file") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: damaged ({error}); delete it and run again") from None


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as ``.npy`` like `write_bytes`."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    write_bytes(path, buffer.getbuffer())


def read_array(path: Path, *, mapped: bool = False) -> NDArray[Any]:
    """Read a ``.npy`` array, memory-mapped if asked.

    Raises:
        ArtifactError: The file is missing, cut off, or not a plain array.
    """
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: there is no such file") from None
    except (ValueError, EOFError, OSError) as error:
        raise ArtifactError(f"{path}: damaged ({error}); delete it and run again") from None
    return array


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays as ``.npz`` like `write_bytes`; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    contiguous: dict[str, Any] = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    np.savez(buffer, **contiguous)
    write_bytes(path, buffer.getbuffer())


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read what `write_arrays` wrote.

    Raises:
        ArtifactError: The file is missing or damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except FileNotFoundError:
        raise ArtifactError(f"{path}: there is no such file") from None
    except (ValueError, EOFError, OSError, BadZipFile) as error:
        raise ArtifactError(f"{path}: damaged ({error}); delete it and run again") from None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for one writing process; the lock goes with the process, however it ends.

    What a killed process left half-written is removed.

    Raises:
        ArtifactError: Another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ArtifactError(f"{folder}: another process is writing here; wait for it or stop it") from None
    try:
        for leftover in folder.glob(".*.tmp"):
            leftover.unlink()
        yield
    finally:
        lock.release()


@dataclass(frozen=True)
class Artifact:
    """A folder whose content follows from its inputs.

    Args:
        folder: Where it is.
        kind: Such as ``descriptors``.
        inputs: Everything that the content depends on.
    """

    folder: Path
    kind: str
    inputs: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """Digest of kind, format and inputs."""
        return fingerprint(FORMAT, self.kind, self.inputs)


def open_artifact(root: Path, kind: str, inputs: Mapping[str, Any]) -> Artifact:
    """Open the artifact of exactly these inputs below ``root``; make its folder and manifest if it is new.

    Raises:
        ArtifactError: The folder is there but its manifest tells of other inputs.
    """
    digest = fingerprint(FORMAT, kind, inputs)
    artifact = Artifact(root / f"{kind}-{digest[:16]}", kind, inputs)
    path = artifact.folder / "manifest.json"
    if not path.exists():
        manifest = {
            "format": FORMAT,
            "kind": kind,
            "fingerprint": digest,
            "inputs": inputs,
            "ilion": __version__,
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "system": platform.platform(),
        }
        write_json(path, manifest)
    elif load_artifact(artifact.folder).fingerprint != digest:
        raise ArtifactError(
            f"{artifact.folder}: its manifest does not fit its name; delete the folder and run again"
        )
    return artifact


def load_artifact(folder: Path, kind: str | None = None) -> Artifact:
    """Open an artifact by its folder.

    Raises:
        ArtifactError: It is no artifact, of another kind or format, or its manifest was changed.
    """
    manifest = read_json(folder / "manifest.json")
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else manifest
        raise ArtifactError(f"{folder}: format {found}, this version reads {FORMAT}; make it again")
    artifact = Artifact(folder, str(manifest.get("kind")), manifest.get("inputs", {}))
    if manifest.get("fingerprint") != artifact.fingerprint:
        raise ArtifactError(f"{folder}: the manifest was changed by hand; delete the folder and run again")
    if kind is not None and artifact.kind != kind:
        raise ArtifactError(f"{folder}: holds {artifact.kind}, not {kind}")
    return artifact


# --- descriptors ---


@dataclass(frozen=True)
class ShardStats:
    """What computing one shard took.

    Args:
        images: How many images were described.
        seconds: Wall-clock seconds.
        peak_memory: Largest resident memory of the process until then, bytes.
        machine: Where.
        skipped: Images that were counted instead of described.
        long_texts: Text queries that exceed what the model reads.
    """

    images: int
    seconds: float
    peak_memory: int
    machine: Machine
    skipped: tuple[Skipped, ...] = ()
    long_texts: int = 0


def shard_key(name: str, content: str) -> str:
    """Return the file stem of a shard; it holds the digest of the content, so nothing stale is ever found."""
    return f"{name}-{content[:12]}"


def has_descriptors(artifact: Artifact, key: str) -> bool:
    """Tell whether a shard is finished."""
    return (artifact.folder / f"{key}.ids.json").exists()


def write_descriptors(artifact: Artifact, key: str, descriptors: Descriptors, stats: ShardStats) -> None:
    """Store one finished shard; the ids are written last and make it count.

    Raises:
        ArtifactError: See `write_bytes`.
    """
    write_array(artifact.folder / f"{key}.npy", descriptors.values)
    write_json(artifact.folder / f"{key}.stats.json", stats)
    write_json(
        artifact.folder / f"{key}.ids.json", {"ids": descriptors.ids, "shape": descriptors.values.shape}
    )


def read_descriptors(artifact: Artifact, key: str, *, mapped: bool = True) -> Descriptors:
    """Read one finished shard.

    Raises:
        ArtifactError: It is missing or damaged.
    """
    head = read_json(artifact.folder / f"{key}.ids.json")
    values = read_array(artifact.folder / f"{key}.npy", mapped=mapped and head["shape"][0] > 0)
    if list(values.shape) != head["shape"]:
        raise ArtifactError(
            f"{artifact.folder / key}.npy: {values.shape} instead of {head['shape']}; delete and run again"
        )
    return Descriptors(tuple(head["ids"]), values)


def read_stats(artifact: Artifact, key: str) -> ShardStats:
    """Read what computing a shard took."""
    plain = read_json(artifact.folder / f"{key}.stats.json")
    skipped = tuple(Skipped(**s) for s in plain.pop("skipped"))
    return ShardStats(**{**plain, "machine": Machine(**plain["machine"])}, skipped=skipped)


class DescriptorSet:
    """Finished shards as one database, read as needed.

    Args:
        artifact: Where the shards are.
        keys: Shards in database order.
        ids: Only these ids take part; None takes all. The order of the database is kept.

    Raises:
        ArtifactError: A shard is missing or damaged, an id occurs twice, or a wanted id is in no shard.
    """

    def __init__(self, artifact: Artifact, keys: Sequence[str], ids: Sequence[str] | None = None) -> None:
        self.artifact = artifact
        self.keys = tuple(keys)
        self._shards = [read_descriptors(artifact, key) for key in keys]
        wanted = None if ids is None else set(ids)
        self._rows: list[Int64] = []
        kept: list[str] = []
        for shard in self._shards:
            if wanted is None:
                rows = np.arange(len(shard.ids))
            else:
                rows = np.array([i for i, name in enumerate(shard.ids) if name in wanted], dtype=np.int64)
            self._rows.append(rows)
            kept.extend(shard.ids[i] for i in rows)
        self.ids = tuple(kept)
        if len(set(self.ids)) != len(self.ids):
            repeated = next(i for i in self.ids if self.ids.count(i) > 1)
            raise ArtifactError(f"{artifact.folder}: id {repeated!r} occurs twice; ids must be unique")
        if wanted is not None and len(wanted) != len(self.ids):
            missing = sorted(wanted.difference(self.ids))
            raise ArtifactError(
                f"{len(missing)} ids of the subset have no descriptor, such as {missing[0]!r}"
            )
        dims = {shard.dim for shard in self._shards if len(shard.ids)}
        if len(dims) > 1:
            raise ArtifactError(f"{artifact.folder}: shards of different dimensions {sorted(dims)}")
        self.dim = dims.pop() if dims else 0
        self.sizes = tuple(len(rows) for rows in self._rows)
        self._starts = np.cumsum([0, *self.sizes])

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored type of the values."""
        return self._shards[0].values.dtype if self._shards else np.dtype(np.float16)

    @property
    def shards(self) -> int:
        """Number of shards."""
        return len(self._shards)

    def stored(self, shard: int, size: int = 65_536) -> Iterator[Descriptors]:
        """Yield the descriptors of one shard in order, at most ``size`` at once, as they are stored."""
        rows, whole = self._rows[shard], self._shards[shard]
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            yield Descriptors(tuple(whole.ids[i] for i in part), np.asarray(whole.values[part]))

    def blocks(self, size: int) -> Iterator[Float32]:
        """Yield all descriptors in order as float32 blocks of at most ``size`` rows."""
        for block in self.stored_blocks(size):
            yield np.asarray(block, np.float32)

    def stored_blocks(self, size: int) -> Iterator[NDArray[np.floating]]:
        """Yield all descriptors in order as they are stored, in copies of at most ``size`` rows."""
        for shard, rows in zip(self._shards, self._rows, strict=True):
            for start in range(0, len(rows), size):
                part = rows[start : start + size]
                whole = len(rows) == len(shard.ids)
                block = np.array(shard.values[part[0] : part[-1] + 1] if whole else shard.values[part])
                _forget(shard.values)
                yield block

    def gather(self, rows: Int64) -> Float32:
        """Return the descriptors (len(rows), D) of database rows in any order, float32."""
        values = np.empty((len(rows), self.dim), np.float32)
        of_shard = np.searchsorted(self._starts, rows, side="right") - 1
        for s in np.unique(of_shard):
            here = of_shard == s
            stored = self._shards[s].values
            values[here] = stored[self._rows[s][rows[here] - self._starts[s]]]
            _forget(stored)
        return values


def _forget(values: NDArray[np.floating]) -> None:
    """Give the touched pages of a mapped file back: they would count as memory of this process."""
    pages = getattr(values, "_mmap", None)
    if pages is not None and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)


# --- rankings ---


def write_ranking(folder: Path, ranking: Ranking) -> None:
    """Store a ranking; ``ranking.json`` is written last and makes it count."""
    write_array(folder / "indices.npy", ranking.indices)
    write_array(folder / "similarities.npy", ranking.similarities)
    write_array(folder / "counts.npy", ranking.counts)
    write_json(
        folder / "ranking.json", {"query_ids": ranking.query_ids, "database_ids": tuple(ranking.database_ids)}
    )


def read_ranking(folder: Path) -> Ranking:
    """Read a ranking.

    Raises:
        ArtifactError: It is missing or damaged.
    """
    ids = read_json(folder / "ranking.json")
    return Ranking(
        tuple(ids["query_ids"]),
        tuple(ids["database_ids"]),
        read_array(folder / "indices.npy"),
        read_array(folder / "similarities.npy"),
        read_array(folder / "counts.npy"),
    )
