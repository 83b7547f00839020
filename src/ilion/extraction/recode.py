"""Local features that are stored at full precision, encoded anew: many codecs, and no image looked at twice.

Whether features come from images or from full precision on disk, the bytes are the same: what is encoded has
always passed through full precision (16 bits a number) first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ilion.errors import ArtifactError
from ilion.extraction.describe import CHUNK
from ilion.extraction.shards import OnBadImage, stats_since
from ilion.localfeatures.codecs import Codec, raw_codec
from ilion.localfeatures.store import LocalSet, has_codec, read_codec, write_codec, write_features
from ilion.storage import Artifact, ShardStats, has_descriptors, load_artifact, read_stats
from ilion.types import Int64, LocalFeatures, Metric


def full_precision(features: LocalFeatures, metric: Metric) -> LocalFeatures:
    """Return features as they come back from full precision on disk.

    Args:
        features: As an extractor gives them.
        metric: Similarity by which their descriptors compare.
    """
    has_shape = features.scales is not None and features.angles is not None
    codec = raw_codec(features.descriptors.shape[1], metric, has_shape=has_shape)
    return codec.decode(codec.encode(features))


def as_stored(features: LocalFeatures, codec: Codec) -> LocalFeatures:
    """Return features of which the codec makes the same bytes as when it encodes them anew from disk."""
    metric = codec.metric if codec.code.takes_bits else "cosine"
    if codec.digest in _full_digests(features.descriptors.shape[1], metric):
        return features
    return full_precision(features, metric)


def _full_digests(dim: int, metric: Metric) -> set[str]:
    return {raw_codec(dim, metric, has_shape=shape).digest for shape in (True, False)}


def find_source(
    root: Path, kind: str, inputs: Mapping[str, Any], keys: Sequence[str], on_bad_image: OnBadImage = "skip"
) -> LocalSet | None:
    """Look for the same images at full precision, described alike with as many features or more.

    Args:
        root: Folder of the artifacts.
        kind: Kind of the artifact.
        inputs: Inputs of the source, with the extractor's spec as ``spec``; a ``codec`` is not looked at.
        keys: Shards that must be finished.
        on_bad_image: With ``error``, shards that skipped images do not count.

    Returns:
        The stored features with fewest features an image among those that do; None if there are none.
    """
    wanted = {**inputs, "spec": {**inputs["spec"], "features": 0}, "codec": ""}
    codecs = _full_digests(inputs["spec"]["dim"], inputs["spec"]["metric"])
    found: list[tuple[int, Artifact]] = []
    for folder in sorted(root.glob(f"{kind}-*")):
        try:
            artifact = load_artifact(folder, kind)
            codec = read_codec(folder).digest
        except ArtifactError:
            continue
        given = artifact.inputs
        features = given.get("spec", {}).get("features", 0)
        same = {**given, "spec": {**given.get("spec", {}), "features": 0}, "codec": ""} == wanted
        if not (same and codec in codecs and features >= inputs["spec"]["features"]):
            continue
        if not all(has_descriptors(artifact, key) for key in keys):
            continue
        if on_bad_image == "skip" or not any(read_stats(artifact, key).skipped for key in keys):
            found.append((features, artifact))
    if not found:
        return None
    return LocalSet(min(found, key=lambda pair: pair[0])[1], keys)


def read_features(source: LocalSet, rows: Int64, features: int) -> Iterator[LocalFeatures]:
    """Read features of rows, at most so many an image, a chunk of images at a time."""
    for start in range(0, len(rows), CHUNK):
        for found in source.many(rows[start : start + CHUNK]):
            yield found.take(slice(features))


def recode(
    source: LocalSet, keys: Sequence[str], codec: Codec, artifact: Artifact, *, features: int | None = None
) -> bool:
    """Encode stored features anew, shard by shard, to try many codecs without looking at any image again.

    Args:
        source: Features at full precision.
        keys: Keys of the stored shards; the new ones have the same.
        codec: Codec that is to store the features.
        artifact: Artifact of the new bytes; its inputs must hold those of the source, and the codec's digest.
        features: Largest number of features an image, the first ones; None keeps as many as the codec does.

    Returns:
        Whether all shards were there already. The seconds of a shard are those of the source and those of
        encoding together: what it costs from the images on.

    Raises:
        ArtifactError: The source is damaged, or the artifact cannot be written or belongs to another codec.
    """
    settle(artifact, codec)
    reused = True
    for key in keys:
        if not has_descriptors(artifact, key):
            reused = False
            _recode_shard(LocalSet(source.artifact, [key]), key, codec, artifact, features)
    return reused


def _recode_shard(shard: LocalSet, key: str, codec: Codec, artifact: Artifact, features: int | None) -> None:
    started = time.perf_counter()
    before = read_stats(shard.artifact, key)
    cut = slice(features)

    def stats(images: int) -> ShardStats:
        own = stats_since(started, images, before.skipped)
        return replace(
            own,
            seconds=before.seconds + own.seconds,
            peak_memory=max(before.peak_memory, own.peak_memory),
            machine=before.machine,
        )

    records = (
        (name, codec.encode(found.take(cut)))
        for start in range(0, len(shard), CHUNK)
        for name, found in zip(
            shard.ids[start : start + CHUNK],
            shard.many(range(len(shard))[start : start + CHUNK]),
            strict=True,
        )
    )
    write_features(artifact, key, records, stats)


def settle(artifact: Artifact, codec: Codec) -> None:
    """Put the codec beside the features, or check that it is the one that lies there.

    Raises:
        ArtifactError: Another one lies there.
    """
    if not has_codec(artifact.folder):
        write_codec(artifact.folder, codec)
    elif read_codec(artifact.folder).digest != codec.digest:
        raise ArtifactError(f"{artifact.folder}: holds features of another codec; choose another folder")
