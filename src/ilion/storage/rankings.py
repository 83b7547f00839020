"""Rankings on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from ilion.errors import ArtifactError
from ilion.storage.files import read_array, read_json, write_array, write_head
from ilion.storage.ids import IdList, Ids, are_many, remove_ids, save_ids
from ilion.types import Ranking

DATABASE_IDS = "database"
"""Stem of the list of the database's ids in the folder of a ranking, where there are many."""


class _Listed(TypedDict):
    listed: int


class _Head(TypedDict):
    query_ids: list[str]
    database_ids: list[str] | _Listed


def write_ranking(folder: Path, ranking: Ranking) -> None:
    """Store a ranking; ``ranking.json`` is written last and makes it count.

    The ids of a large database are not written into it but kept beside it, by a link to where they are
    stored already if that is possible.
    """
    ids = ranking.database_ids
    listed = are_many(len(ids))
    if listed:
        save_ids(folder, DATABASE_IDS, ids)
    write_array(folder / "indices.npy", ranking.indices)
    write_array(folder / "similarities.npy", ranking.similarities)
    write_array(folder / "counts.npy", ranking.counts)
    write_head(
        folder / "ranking.json",
        {"query_ids": ranking.query_ids, "database_ids": {"listed": len(ids)} if listed else tuple(ids)},
        [folder / name for name in ("indices.npy", "similarities.npy", "counts.npy")],
    )
    if not listed:  # that of an earlier ranking
        remove_ids(folder, DATABASE_IDS)


def read_ranking(folder: Path) -> Ranking:
    """Read a ranking.

    Raises:
        ArtifactError: The ranking is missing or damaged.
    """
    head: _Head = read_json(folder / "ranking.json", _Head)
    ids: Ids
    if isinstance(head["database_ids"], list):
        ids = tuple(head["database_ids"])
    else:
        ids = IdList(folder, DATABASE_IDS)
        if len(ids) != head["database_ids"]["listed"]:
            raise ArtifactError(
                f"{folder}: the list of ids is that of another ranking; delete it and run again"
            )
    return Ranking(
        tuple(head["query_ids"]),
        ids,
        read_array(folder / "indices.npy", ("i", 2)),
        read_array(folder / "similarities.npy", ("f", 2)),
        read_array(folder / "counts.npy", ("i", 1)),
    )
