"""Artifacts: folders whose content follows from their inputs, and the shards of descriptors in them.

An artifact is a folder ``<kind>-<fingerprint>`` with a ``manifest.json`` that says what its content depends
on. A shard counts only once its ``.ids.json``, which is written last, is there.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from ilion._version import __version__
from ilion.errors import ArtifactError
from ilion.outcome import Machine, Skipped
from ilion.storage.files import plain, read_array, read_json, write_array, write_head, write_json
from ilion.storage.seals import is_finished
from ilion.types import Descriptors, Value

FORMAT = 1
"""Format of stored files; artifacts of another one are never reused."""


def fingerprint(*parts: object) -> str:
    """Return a short digest of JSON-like values; equal values give equal digests on every machine.

    >>> fingerprint({"b": 1, "a": 2}) == fingerprint({"a": 2, "b": 1})
    True
    """
    text = json.dumps(parts, sort_keys=True, default=plain, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def fingerprint_of_ids(ids: Iterable[str]) -> str:
    """Return the fingerprint of a list of ids, of which only one is held at a time.

    >>> fingerprint_of_ids(["a", "ü"]) == fingerprint(["a", "ü"]), fingerprint_of_ids([]) == fingerprint([])
    (True, True)
    """
    digest = hashlib.blake2b(b"[[", digest_size=16)
    for number, name in enumerate(ids):
        digest.update(f"{', ' if number else ''}{json.dumps(name)}".encode())
    digest.update(b"]]")
    return digest.hexdigest()


class ShardHead(TypedDict):
    """What makes a shard of descriptors count."""

    ids: list[str]
    shape: tuple[int, int]


class StageStats(TypedDict):
    """What a stage took that is stored as a whole, in ``stats.json``."""

    seconds: float
    peak_memory: int


@dataclass(frozen=True)
class Artifact(Value):
    """A folder whose content follows from its inputs.

    Args:
        folder: Folder of its files.
        kind: Kind of its content, such as ``descriptors``.
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
    if (opened := _OPENED.get()) is not None:
        opened.add(artifact.folder)
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
    # the name holds 64 bits of the digest; the manifest holds all, so two inputs are never taken for one
    elif load_artifact(artifact.folder).fingerprint != digest:
        raise ArtifactError(
            f"{artifact.folder}: its manifest does not fit its name; delete the folder and run again"
        )
    return artifact


def load_artifact(folder: Path, kind: str | None = None) -> Artifact:
    """Open an artifact by its folder.

    Raises:
        ArtifactError: The folder is no artifact, of another kind or format, or its manifest was changed.
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


_OPENED: ContextVar[set[Path] | None] = ContextVar("opened", default=None)


@contextmanager
def noting_opened() -> Iterator[set[Path]]:
    """Note the folder of every artifact that is opened meanwhile, to tell what is still in use."""
    folders: set[Path] = set()
    token = _OPENED.set(folders)
    try:
        yield folders
    finally:
        _OPENED.reset(token)


@dataclass(frozen=True)
class ShardStats:
    """Costs of computing one shard.

    Args:
        images: Number of images that were described.
        seconds: Wall-clock seconds.
        peak_memory: Largest resident memory of the process until then, bytes.
        machine: Machine that did it.
        skipped: Images that were counted instead of described.
        long_texts: Number of text queries that exceed what the model reads.
    """

    images: int
    seconds: float
    peak_memory: int
    machine: Machine
    skipped: tuple[Skipped, ...] = ()
    long_texts: int = 0


TakeStats = Callable[[int], ShardStats]
"""Function from the number of images that were written to what the shard took; called once, at the end."""


def shard_key(name: str, content: str) -> str:
    """Return the file stem of a shard; it holds the digest of the content, so nothing stale is ever found."""
    return f"{name}-{content[:12]}"


def has_descriptors(artifact: Artifact, key: str) -> bool:
    """Return whether a shard of any kind is finished: all its files are there, and whole."""
    return is_finished(artifact.folder / f"{key}.ids.json")


def write_descriptors(artifact: Artifact, key: str, descriptors: Descriptors, stats: ShardStats) -> None:
    """Store one finished shard; the ids are written last and make it count.

    Raises:
        ArtifactError: See `write_bytes`.
    """
    values = artifact.folder / f"{key}.npy"
    write_array(values, descriptors.values)
    write_json(artifact.folder / f"{key}.stats.json", stats)
    write_head(
        artifact.folder / f"{key}.ids.json",
        {"ids": descriptors.ids, "shape": descriptors.values.shape},
        [values],
    )


def read_descriptors(artifact: Artifact, key: str, *, mapped: bool = True) -> Descriptors:
    """Read one finished shard.

    Raises:
        ArtifactError: The shard is missing or damaged.
    """
    head: ShardHead = read_json(artifact.folder / f"{key}.ids.json", ShardHead)
    values = read_array(artifact.folder / f"{key}.npy", mapped=mapped and head["shape"][0] > 0)
    if list(values.shape) != list(head["shape"]):
        raise ArtifactError(
            f"{artifact.folder / key}.npy: {values.shape} instead of {head['shape']}; delete and run again"
        )
    return Descriptors(tuple(head["ids"]), values)


def read_stats(artifact: Artifact, key: str) -> ShardStats:
    """Read the costs of computing a shard."""
    plain = read_json(artifact.folder / f"{key}.stats.json", ShardStats)
    skipped = tuple(Skipped(**s) for s in plain.pop("skipped", ()))
    return ShardStats(**{**plain, "machine": Machine(**plain["machine"])}, skipped=skipped)
