"""Stages of experiments whose first stage compares global descriptors, and reports of finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ilion import api
from ilion.config import ExperimentConfig
from ilion.extraction.describe import StoredDescription, describe_shard
from ilion.extraction.shards import is_finished, shard_keys
from ilion.outcome import Machine
from ilion.pipeline.stages.results import Extraction
from ilion.storage import Artifact, ShardStats
from ilion.types import Shard


def described(config: ExperimentConfig) -> Extraction:
    """Run `ilion.api.extract` and return global descriptors."""
    found = api.extract(config)
    assert isinstance(found, Extraction)
    return found


def same(report: Path, page: bytes) -> bool:
    """Tell whether a report is this page, without the difference, which pytest takes minutes to print."""
    return report.read_bytes() == page


def describe_shards(
    shards: Sequence[Shard], description: StoredDescription[Any, Any], artifact: Artifact, **options: Any
) -> tuple[list[str], bool]:
    """Describe the shards that are not finished; return their keys, and whether all were."""
    keys, reused = shard_keys(shards), True
    progress, before = options.pop("progress", lambda done, total: None), 0
    for number, (shard, key) in enumerate(zip(shards, keys, strict=True)):
        if not is_finished(artifact, key, options.get("on_bad_image", "error")):
            reused = False
            passed: list[int] = []
            told = lambda done, total, passed=passed: passed.append(done)  # noqa: E731
            describe_shard(shard, key, description, artifact, progress=told, **options)
            before += passed[-1]
            progress(before, round(before / (number + 1) * len(shards)))
    return keys, reused


def took(images: int) -> ShardStats:
    """Return what a shard took, where that does not matter."""
    return ShardStats(images, 0.0, 0, Machine("", 1, 0, "", ""))
