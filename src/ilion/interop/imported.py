"""Descriptors of others as artifacts: feature files are read once, checked, and stored shard by shard.

The folder that an import makes holds ``imported.json``, written last, and one artifact. An experiment uses it
with ``extraction.model = "imported:FOLDER"``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, get_args

from ilion import storage
from ilion.errors import ArtifactError, ConfigError
from ilion.interop.features import (
    BLOCK,
    FeatureFile,
    Partition,
    check_lengths,
    find_features,
    find_gaps,
    normalise_rows,
)
from ilion.opening import full_path
from ilion.runtime.machine import machine, peak_memory
from ilion.storage import Artifact, DescriptorSet, ShardHead, ShardStats
from ilion.storage.duplicates import DuplicateFinder, encode_ids, hash_ids
from ilion.storage.ids import find_duplicate_in
from ilion.types import Value
from ilion.wording import counted

FORMAT = 1
FILE = "imported.json"
PREFIX = "imported:"
"""Beginning of a model name that means a folder of imported descriptors."""
RESULTS = "results:"
"""Beginning of the model name of a run whose results were made elsewhere: there is no model to run."""
DATABASE: tuple[Partition, ...] = ("positives", "distractors")
"""Partitions that are searched, in this order."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Imported(Value):
    """Imported descriptors.

    Args:
        folder: Folder that the import made.
        artifact: Artifact of the shards.
        name: Name of the model, for people.
        dim: Dimensions D.
        dtype: Type of the stored values, ``float16`` or ``float32``.
        partitions: Partition -> keys of its shards, in order.
        rows: Partition -> number of descriptors.
        notes: Remarks for the reader, one sentence each.
    """

    folder: Path
    artifact: Artifact
    name: str
    dim: int
    dtype: str
    partitions: Mapping[str, tuple[str, ...]]
    rows: Mapping[str, int]
    notes: tuple[str, ...]

    def descriptors(self, *partitions: Partition, ids: Sequence[str] | None = None) -> DescriptorSet:
        """Return the descriptors of some partitions as one database, memory-mapped.

        Args:
            partitions: Names of partitions; those that were not imported are empty.
            ids: See `ilion.storage.DescriptorSet`.
        """
        keys = [key for name in partitions for key in self.partitions.get(name, ())]
        return DescriptorSet(self.artifact, keys, ids)


class _Head(TypedDict):
    format: int
    artifact: str
    name: str
    dim: int
    dtype: str
    partitions: Mapping[str, list[str]]
    rows: Mapping[str, int]
    notes: list[str]


def imported_folder(model: str) -> Path | None:
    """Return the folder that a model name means, or None if it is the name of a network.

    >>> imported_folder("imported:features/siglip"), imported_folder("default")
    (PosixPath('features/siglip'), None)
    """
    if model.startswith(RESULTS):
        raise ConfigError(
            f"the results {model.removeprefix(RESULTS)!r} were made elsewhere, so there is no model to run; "
            "'ilion report' and 'ilion compare' take the finished run"
        )
    return Path(model.removeprefix(PREFIX)) if model.startswith(PREFIX) else None


def from_elsewhere(model: str) -> str:
    """Return the short name of imported descriptors or results, or "" for a network.

    >>> [from_elsewhere(name) for name in ("imported:features/siglip", "results:a.json", "default")]
    ['siglip', 'a.json', '']
    """
    return Path(model.partition(":")[2]).name if model.startswith((PREFIX, RESULTS)) else ""


def import_features(
    paths: Sequence[Path],
    output: Path,
    *,
    name: str = "",
    normalise: bool = False,
    progress: Progress | None = None,
) -> Imported:
    """Store feature files as descriptors that an experiment can search, bit by bit as they are.

    Files that did not change are not read again, and a killed import goes on where it stopped.

    Args:
        paths: Feature files, or folders of such; see `ilion.interop.features`.
        output: The folder to make.
        name: Name of the model; "" takes the name of the folder.
        normalise: Whether descriptors that are not L2-normalised are made so; if not, they are an error.
        progress: Callback that receives rows done and rows in all.

    Raises:
        ArtifactError: A file is missing, damaged or of another form; a descriptor is not usable; an id occurs
            twice; or the folder cannot be written.
    """
    notes: list[str] = []
    files = find_features(paths, notes)
    dtypes = sorted({file.dtype for file in files})
    inputs = {"files": [_stamp(file) for file in files], "normalised": normalise}
    artifact = storage.open_artifact(output, "imported", inputs)
    keys: dict[str, list[str]] = {}
    rows: dict[str, int] = {}
    done, total = 0, sum(file.rows for file in files)
    with storage.locked(artifact.folder):
        for file in files:
            for start in range(0, file.rows, BLOCK):
                key = f"{file.partition}-{file.number:05d}-{start:012d}"
                if not storage.has_descriptors(artifact, key):
                    _store(file, start, artifact, key, normalise)
                keys.setdefault(file.partition, []).append(key)
                done += min(BLOCK, file.rows - start)
                if progress:
                    progress(done, total)
            rows[file.partition] = rows.get(file.partition, 0) + file.rows
        for group in (DATABASE, *((p,) for p in get_args(Partition) if p not in DATABASE)):
            _refuse_duplicates(artifact, [key for partition in group for key in keys.get(partition, ())])
        absent = find_gaps(files)
        if absent:
            count = counted(len(absent), "file of distractors seems", "files of distractors seem")
            notes.append(f"{count} to be missing, such as number {absent[0]:05d}")
        if len(dtypes) > 1:
            notes.append(f"the files are of different precision: {' and '.join(dtypes)}")
        plain = {
            "format": FORMAT,
            "artifact": artifact.folder.name,
            "name": name or full_path(output).name,
            "dim": files[0].dim,
            "dtype": dtypes[-1],
            "partitions": keys,
            "rows": rows,
            "notes": notes,
        }
        storage.write_json(output / FILE, plain)
    return open_imported(output)


def open_imported(folder: Path) -> Imported:
    """Open imported descriptors.

    Raises:
        ConfigError: The folder holds none.
        ArtifactError: The folder is damaged.
    """
    if not (folder / FILE).is_file():
        raise ConfigError(
            f"{folder}: holds no imported descriptors; 'ilion import features FILES --output {folder}' "
            "makes them"
        )
    plain: _Head = storage.read_json(folder / FILE, _Head)
    if plain["format"] != FORMAT or Path(plain["artifact"]).name != plain["artifact"]:
        raise ArtifactError(f"{folder / FILE}: not of format {FORMAT}; import the files again")
    return Imported(
        folder,
        storage.load_artifact(folder / plain["artifact"], "imported"),
        plain["name"],
        plain["dim"],
        plain["dtype"],
        {partition: tuple(keys) for partition, keys in plain["partitions"].items()},
        plain["rows"],
        tuple(plain["notes"]),
    )


def _stamp(file: FeatureFile) -> list[object]:
    stat = file.path.stat()
    return [file.partition, file.number, file.rows, file.dim, file.dtype, stat.st_size, stat.st_mtime_ns]


def _store(file: FeatureFile, start: int, artifact: Artifact, key: str, normalise: bool) -> None:
    for block in file.blocks(start, start + BLOCK):
        if normalise:
            block = normalise_rows(file.path, block)
        else:
            check_lengths(file.path, block)
        stats = ShardStats(len(block.ids), 0.0, peak_memory(), machine())
        storage.write_descriptors(artifact, key, block, stats)


def _refuse_duplicates(artifact: Artifact, keys: Sequence[str]) -> None:
    """Refuse ids that occur twice; ids are read one shard at a time, and again if there are suspects."""

    def parts() -> Iterator[list[str]]:
        for key in keys:
            yield storage.read_json(artifact.folder / f"{key}.ids.json", ShardHead)["ids"]

    with DuplicateFinder(artifact.folder) as finder:
        for ids in parts():
            finder.add(hash_ids(*encode_ids(ids)))
        duplicate = find_duplicate_in(parts, finder)
    if duplicate:
        name, one, other = duplicate
        raise ArtifactError(
            f"the id {name!r} occurs twice ({keys[one]} and {keys[other]}); ids must be unique, so give each "
            "file once, and files of one set only"
        )
