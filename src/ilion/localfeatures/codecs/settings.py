"""What a user says about a codec, and how it is learnt and rebuilt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError, ConfigError, ExtractionError
from ilion.localfeatures.codecs.base import Code, Codec, restored
from ilion.localfeatures.codecs.layout import HEADER, Layout
from ilion.localfeatures.codecs.learnt import WORDS, BinaryCode, PcaCode, PqCode, fit_binary, fit_pca, fit_pq
from ilion.localfeatures.codecs.plain import RawCode, Uint8Code, fit_uint8
from ilion.types import Float32, LocalFeatures, Metric

Kind = Literal["raw", "uint8", "pca", "pq", "binary"]

LEAST_SAMPLE = 2 * WORDS
"""Descriptors without which nothing is learnt: each centroid of a product quantiser needs some."""
SAMPLE = 50_000
"""Descriptors that codecs are learnt on at most; more do not change the accuracy."""

LEAST_STEP, ROOMY = 6, 3000
"""Bytes of a product quantiser for budgets below the second number of bytes an image."""
STEPS = (8, 12, 16, 32, 64)
"""Bytes of a product quantiser for larger budgets: the most with which all features fit, or the least."""
PLACE = 3
"""Bytes of position, scale and angle with 8 and 4 bits each."""
OVERHEAD = HEADER + 12
"""Bytes of an image beside its features: header, and entry in the index of its shard."""
LEAST_FEATURES = 20
"""With fewer features, re-ranking is worse than none."""


@dataclass(frozen=True)
class CodecSettings:
    """Which codec.

    Args:
        kind: ``raw``: float16, or packed bits as they are. ``uint8``: one byte a number. ``pca``:
            principal components, one byte each. ``pq``: product quantisation. ``binary``: signs after a
            learnt rotation.
        size: Bytes of a descriptor, for ``pca``, ``pq`` and ``binary``.
        features: At most so many features of an image are kept; 0 keeps all.
        position: Bits of x and of y.
        shape: Bits of scale and of angle; not stored for features that have none.
        score: Bits of the score.
        whitening: Of ``pca``: from 0 (none) to 1.

    Raises:
        ConfigError: The size does not go with the kind, or a number is out of range.
    """

    kind: Kind = "raw"
    size: int = 0
    features: int = 0
    position: Literal[8, 16] = 16
    shape: Literal[0, 4, 8, 16] = 16
    score: Literal[0, 16] = 16
    whitening: float = 0.0

    def __post_init__(self) -> None:
        sized = self.kind in ("pca", "pq", "binary")
        if sized != (self.size > 0) or self.size < 0:
            needs = "needs the size of a descriptor in bytes" if sized else "has its own size"
            raise ConfigError(f"codec {self.kind!r} {needs}; size is {self.size}")
        if self.features < 0 or not 0 <= self.whitening <= 1:
            raise ConfigError(
                f"codec: features ({self.features}) must not be negative, and whitening ({self.whitening}) "
                "lies in 0..1"
            )


def settings_for(
    budget: int, features: int, dim: int, metric: Metric, kind: Kind | None = None
) -> CodecSettings:
    """Choose how features are stored in at most so many bytes an image, record and index entry together.

    The choices are those that kept most accuracy on real photos (docs/local.md). Many features of few bytes
    beat few features of many: a byte more for each is only spent once all features fit.

    Args:
        budget: Bytes an image; 0 keeps everything at full precision.
        features: What the extractor finds in an image at most.
        dim: Length of a descriptor.
        metric: Of the descriptors.
        kind: Which codec; None chooses. ``binary`` keeps one bit a dimension, ``pca`` half of the dimensions.

    Raises:
        ConfigError: Not even `LEAST_FEATURES` fit, or the kind does not go with the descriptors.

    >>> small, large = (settings_for(budget, 500, 128, "cosine") for budget in (1024, 8192))
    >>> small.size, small.features, large.size, large.features
    (6, 111, 12, 500)
    """
    if kind is not None and metric == "hamming" and kind != "raw":
        raise ConfigError(
            f"codec {kind!r} does not apply to descriptors that are bits; leave it to the budget"
        )
    if budget == 0:
        return CodecSettings(kind or "raw", _size(kind, dim))
    if kind is None:
        kind, size = _chosen(budget, features, dim, metric)
    elif kind == "pq":
        size = _pq_size(budget, features, dim)
    else:
        size = _size(kind, dim)
    code = size or (2 * dim if kind == "raw" and metric == "cosine" else dim)
    kept = min(_fitting(budget, code), features)
    if kept < min(LEAST_FEATURES, features):
        raise ConfigError(
            f"a budget of {budget} bytes an image holds {max(kept, 0)} features of {code} bytes; give it at "
            f"least {LEAST_FEATURES * (code + PLACE) + OVERHEAD}"
        )
    return CodecSettings(kind, size, features=kept, position=8, shape=4, score=0)


def _chosen(budget: int, features: int, dim: int, metric: Metric) -> tuple[Kind, int]:
    if metric == "hamming":
        return "raw", 0
    if _fitting(budget, dim) >= features:
        return "uint8", 0
    return "pq", _pq_size(budget, features, dim)


def _pq_size(budget: int, features: int, dim: int) -> int:
    # measured on descriptors of 128 dimensions; longer ones get bytes in proportion
    sizes = [max(1, step * dim // 128) for step in (LEAST_STEP, *STEPS)]
    roomy = [size for size in sizes[1:] if _fitting(budget, size) >= features]
    return max(roomy, default=sizes[budget >= ROOMY])


def _size(kind: Kind | None, dim: int) -> int:
    """Bytes of a descriptor where the budget does not choose them."""
    return {"binary": dim // 8, "pca": dim // 2, "pq": dim // 8}.get(kind or "", 0)


def _fitting(budget: int, code: int) -> int:
    return (budget - OVERHEAD) // (code + PLACE)


def raw_codec(dim: int, metric: Metric, *, has_shape: bool) -> Codec:
    """Return the codec that keeps everything and learns nothing; for queries, and to experiment.

    Args:
        dim: Length of a descriptor.
        metric: How descriptors compare.
        has_shape: Whether the features have scales and angles.
    """
    return Codec(RawCode(dim, metric), Layout(16, 16 if has_shape else 0, 16))


def fit_codec(settings: CodecSettings, metric: Metric, sample: Sequence[LocalFeatures], seed: int) -> Codec:
    """Learn a codec on features of the database.

    Args:
        settings: Which one.
        metric: Of the features.
        sample: Features of some images; at most `SAMPLE` descriptors take part.
        seed: The same sample and seed give the same codec.

    Raises:
        ConfigError: The codec does not go with the features.
        ExtractionError: The sample is too poor to learn from.
    """
    full = [features for features in sample if len(features.keypoints)]
    if not full:
        raise ExtractionError("the sample of the database shows no local features at all")
    has_shape = all(f.scales is not None and f.angles is not None for f in full)
    layout = Layout(settings.position, settings.shape if has_shape else 0, settings.score)
    if layout.shape:
        layout = replace(layout, scales=_scale_range(full))
    dim = full[0].descriptors.shape[1]
    if settings.kind == "raw":
        return Codec(RawCode(dim, metric), layout, settings.features or None)
    if metric == "hamming":
        raise ConfigError(f"codec {settings.kind!r} does not apply to descriptors that are bits; use 'raw'")
    if settings.size > (dim // 8 if settings.kind == "binary" else dim):
        raise ConfigError(
            f"codec {settings.kind!r}: {settings.size} bytes are more than descriptors of {dim} "
            "dimensions give"
        )
    descriptors = _descriptors(full, seed)
    if len(descriptors) < LEAST_SAMPLE and settings.kind != "uint8":
        raise ExtractionError(
            f"the sample of the database shows only {len(descriptors)} local features, too few to learn the "
            f"codec {settings.kind!r} ({LEAST_SAMPLE} are needed); use 'uint8' or 'raw'"
        )
    return Codec(_fit(settings, descriptors, seed), layout, settings.features or None)


def _fit(settings: CodecSettings, sample: Float32, seed: int) -> Code:
    match settings.kind:
        case "uint8":
            return fit_uint8(sample)
        case "pca":
            return fit_pca(sample, settings.size, settings.whitening)
        case "pq":
            return fit_pq(sample, settings.size, seed)
        case _:
            return fit_binary(sample, settings.size, seed)


def _descriptors(sample: Sequence[LocalFeatures], seed: int) -> Float32:
    descriptors = np.concatenate([features.descriptors for features in sample]).astype(np.float32)
    chosen = np.random.default_rng(seed).permutation(len(descriptors))[:SAMPLE]
    return np.ascontiguousarray(descriptors[np.sort(chosen)])


def _scale_range(sample: Sequence[LocalFeatures]) -> tuple[float, float]:
    """Return the range of the logarithms of scale / longer side that all but one in 500 keep."""
    logs = [np.log2(np.maximum(f.scales, 1e-9) / max(f.image_size)) for f in sample if f.scales is not None]
    low, high = np.quantile(np.concatenate(logs), (0.001, 0.999))
    return round(float(low) - 0.05, 3), round(float(high) + 0.05, 3)


def rebuild(settings: Mapping[str, Any], state: Mapping[str, NDArray[Any]]) -> Codec:
    """Return the codec of stored `Codec.settings` and arrays.

    Raises:
        ArtifactError: They do not make a codec.
    """
    try:
        match settings["kind"]:
            case "raw":
                code: Code = RawCode(int(settings["dim"]), "hamming" if state["hamming"] else "cosine")
            case "uint8":
                code = Uint8Code(state["low"], state["step"], int(settings["dim"]))
            case "pca":
                inner = Uint8Code(state["low"], state["step"], state["basis"].shape[1])
                code = PcaCode(state["mean"], state["basis"], inner)
            case "pq":
                code = PqCode(state["basis"], state["centroids"])
            case "binary":
                code = BinaryCode(state["mean"], state["basis"])
            case kind:
                raise ArtifactError(f"codec {kind!r} is unknown to this version; make the artifact again")
    except KeyError as error:
        raise ArtifactError(f"a codec lacks {error}; delete the artifact and run again") from None
    return restored(settings, code)
