"""The only reader and writer of artifacts.

An artifact is a folder ``<kind>-<fingerprint>`` with a ``manifest.json`` that says what its content depends
on. Files are written aside, synced and renamed, so a kill at any moment leaves either the old file or the new
one; a shard counts only once its ``.ids.json``, which is written last, is there.

What it takes is apart: files (`ilion.files`), artifacts and their shards (`ilion.artifacts`), many shards as
one database (`ilion.descriptorset`). All of it is called from here.
"""

from __future__ import annotations

from pathlib import Path

from ilion.artifacts import (
    FORMAT,
    Artifact,
    ShardStats,
    fingerprint,
    has_descriptors,
    load_artifact,
    open_artifact,
    read_descriptors,
    read_stats,
    shard_key,
    write_descriptors,
)
from ilion.descriptorset import DescriptorSet
from ilion.files import (
    locked,
    read_array,
    read_arrays,
    read_json,
    write_array,
    write_arrays,
    write_bytes,
    write_json,
    writing,
)
from ilion.types import Ranking

__all__ = [
    "FORMAT",
    "Artifact",
    "DescriptorSet",
    "ShardStats",
    "fingerprint",
    "has_descriptors",
    "load_artifact",
    "locked",
    "open_artifact",
    "read_array",
    "read_arrays",
    "read_descriptors",
    "read_json",
    "read_ranking",
    "read_stats",
    "shard_key",
    "write_array",
    "write_arrays",
    "write_bytes",
    "write_descriptors",
    "write_json",
    "write_ranking",
    "writing",
]


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
