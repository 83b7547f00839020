"""The only reader and writer of artifacts.

An artifact is a folder ``<kind>-<fingerprint>`` with a ``manifest.json`` that says what its content depends
on. Files are written aside, synced and renamed, so a kill at any moment leaves either the old file or the new
one; a shard counts only once its ``.ids.json``, which is written last, is there.

What it takes is apart: files (`ilion.files`), artifacts and their shards (`ilion.artifacts`), many shards as
one database (`ilion.descriptorset`). All of it is called from here.
"""

from __future__ import annotations

from pathlib import Path

from ilion import idlist
from ilion.artifacts import (
    FORMAT,
    Artifact,
    ShardStats,
    fingerprint,
    fingerprint_of_ids,
    has_descriptors,
    load_artifact,
    open_artifact,
    read_descriptors,
    read_stats,
    shard_key,
    write_descriptors,
)
from ilion.descriptorset import DescriptorSet
from ilion.errors import ArtifactError
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
from ilion.idlist import IdList, Ids
from ilion.types import Ranking

__all__ = [
    "FORMAT",
    "Artifact",
    "DescriptorSet",
    "ShardStats",
    "fingerprint",
    "fingerprint_of_ids",
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

_LIST = "database"
"""Name of the list of the database's ids in the folder of a ranking, where there are many."""


def write_ranking(folder: Path, ranking: Ranking) -> None:
    """Store a ranking; ``ranking.json`` is written last and makes it count.

    The ids of a large database are not written into it but kept beside it, by a link to where they are
    stored already if that is possible.
    """
    ids = ranking.database_ids
    listed = len(ids) > idlist.IN_MEMORY
    if listed:
        idlist.save_ids(folder, _LIST, ids)
    write_array(folder / "indices.npy", ranking.indices)
    write_array(folder / "similarities.npy", ranking.similarities)
    write_array(folder / "counts.npy", ranking.counts)
    write_json(
        folder / "ranking.json",
        {"query_ids": ranking.query_ids, "database_ids": {"listed": len(ids)} if listed else tuple(ids)},
    )
    if not listed:  # that of an earlier ranking
        idlist.remove_ids(folder, _LIST)


def read_ranking(folder: Path) -> Ranking:
    """Read a ranking.

    Raises:
        ArtifactError: It is missing or damaged.
    """
    head = read_json(folder / "ranking.json")
    ids: Ids
    if isinstance(head["database_ids"], list):
        ids = tuple(head["database_ids"])
    else:
        ids = IdList(folder, _LIST)
        if len(ids) != head["database_ids"]["listed"]:
            raise ArtifactError(
                f"{folder}: the list of ids is that of another ranking; delete it and run again"
            )
    return Ranking(
        tuple(head["query_ids"]),
        ids,
        read_array(folder / "indices.npy"),
        read_array(folder / "similarities.npy"),
        read_array(folder / "counts.npy"),
    )
