"""The only reader and writer of artifacts.

An artifact is a folder ``<kind>-<fingerprint>`` with a ``manifest.json`` that says what its content depends
on. Files are written aside, synced and renamed, so a kill at any moment leaves either the old file or the new
one; a shard counts only once its ``.ids.json``, which is written last, is there, and its files have the
sizes that it tells. Arrays and heads carry checksums (`seals`).

Other rooms call ``storage.write_json(...)``. Behind it: `files` are whole or not there; `artifacts` are
folders of shards; `descriptors` makes many shards one database; `rankings` and `runs` are results; `ids` are
lists of very many ids, checked by `duplicates`; `pickles` and `statedict` read foreign files without running
them.
"""

from __future__ import annotations

from ilion.opening import write_bytes, writing
from ilion.storage.artifacts import (
    FORMAT,
    Artifact,
    ShardHead,
    ShardStats,
    StageStats,
    TakeStats,
    fingerprint,
    fingerprint_of_ids,
    has_descriptors,
    load_artifact,
    noting_opened,
    open_artifact,
    read_descriptors,
    read_stats,
    shard_key,
    write_descriptors,
)
from ilion.storage.descriptors import DescriptorSet
from ilion.storage.files import (
    locked,
    read_array,
    read_arrays,
    read_json,
    write_array,
    write_arrays,
    write_head,
    write_json,
)
from ilion.storage.rankings import read_ranking, write_ranking
from ilion.storage.seals import is_finished

__all__ = [
    "FORMAT",
    "Artifact",
    "DescriptorSet",
    "ShardHead",
    "ShardStats",
    "StageStats",
    "TakeStats",
    "fingerprint",
    "fingerprint_of_ids",
    "has_descriptors",
    "is_finished",
    "load_artifact",
    "locked",
    "noting_opened",
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
    "write_head",
    "write_json",
    "write_ranking",
    "writing",
]
