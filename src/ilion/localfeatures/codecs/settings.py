"""How a codec is chosen, learnt and rebuilt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError, ConfigError, ExtractionError
from ilion.localfeatures.codecs.base import Codec, CodecSettings, find_code
from ilion.localfeatures.codecs.layout import OVERHEAD, PLACE, Layout, count_fitting
from ilion.localfeatures.codecs.plain import RawCode
from ilion.runtime.threads import single_threaded_products
from ilion.types import LocalFeatures, Metric
from ilion.wording import counted

SAMPLE = 50_000
"""Most descriptors that codecs are learnt on; more do not change the accuracy."""
LEAST_FEATURES = 20
"""With fewer features, re-ranking is worse than none."""


def settings_for(
    budget: int, features: int, dim: int, metric: Metric, kind: str | None = None
) -> CodecSettings:
    """Choose how features are stored in at most so many bytes an image, record and index entry together.

    The choices are those that kept most accuracy on real photos (docs/local.md). Many features of few bytes
    beat few features of many: a byte more for each is only spent once all features fit.

    Args:
        budget: Bytes an image; 0 keeps everything at full precision.
        features: Largest number of features that the extractor finds in an image.
        dim: Length of a descriptor.
        metric: Comparison of extracted descriptors.
        kind: Name of the codec; None chooses one.

    Raises:
        ConfigError: Not even `LEAST_FEATURES` fit, or the kind is unknown or does not suit the descriptors.

    >>> small, large = (settings_for(budget, 500, 128, "cosine") for budget in (1024, 8192))
    >>> small.size, small.features, large.size, large.features
    (6, 111, 12, 500)
    """
    if kind is None and (budget == 0 or metric == "hamming"):
        kind = "raw"
    elif kind is None:
        kind = "uint8" if count_fitting(budget, dim) >= features else "pq"
    make = find_code(kind).make
    if metric == "hamming" and not make.takes_bits:
        raise ConfigError(
            f"codec {kind!r} does not apply to descriptors that are bits; leave it to the budget"
        )
    size = make.choose_size(dim, metric, budget, features)
    if not isinstance(size, int) or size < 1:
        raise ConfigError(f"codec {kind!r}: choose_size gave {size!r}; it gives a number of bytes from 1 up")
    given = size if make.sized else 0
    if budget == 0:
        return CodecSettings(kind, given)
    kept = min(count_fitting(budget, size), features)
    if kept < min(LEAST_FEATURES, features):
        raise ConfigError(
            f"a budget of {budget} bytes an image holds {counted(max(kept, 0), 'feature')} of {size} bytes; "
            f"give it at least {LEAST_FEATURES * (size + PLACE) + OVERHEAD}"
        )
    return CodecSettings(kind, given, features=kept, position=8, shape=4, score=0)


def raw_codec(dim: int, metric: Metric, *, has_shape: bool) -> Codec:
    """Return the codec that keeps everything and learns nothing; for queries, and to experiment.

    Args:
        dim: Length of a descriptor.
        metric: ``cosine`` or ``hamming``.
        has_shape: Whether the features have scales and angles.
    """
    return Codec(RawCode(dim, metric), Layout(16, 16 if has_shape else 0, 16))


def fit_codec(settings: CodecSettings, metric: Metric, sample: Sequence[LocalFeatures], seed: int) -> Codec:
    """Learn a codec on features of the database.

    Args:
        settings: Kind and sizes.
        metric: Comparison of the descriptors of the sample.
        sample: Features of some images; at most `SAMPLE` descriptors take part.
        seed: Seed of the choice of descriptors and of the learning.

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
    dim, make = full[0].descriptors.shape[1], settings.make
    if metric == "hamming" and not make.takes_bits:
        raise ConfigError(f"codec {settings.kind!r} does not apply to descriptors that are bits; use 'raw'")
    if settings.size > dim * make.most_bits // 8:
        raise ConfigError(
            f"codec {settings.kind!r}: {settings.size} bytes are more than descriptors of {dim} "
            "dimensions give"
        )
    descriptors = _descriptors(full, metric, seed)
    if len(descriptors) < make.least_sample:
        raise ExtractionError(
            f"the sample of the database shows only {counted(len(descriptors), 'local feature')}, too few to "
            f"learn the codec {settings.kind!r} ({make.least_sample} are needed); use 'uint8' or 'raw'"
        )
    with single_threaded_products():
        code = make.fit(descriptors, settings, seed)
    few = code.encode(descriptors[:2])
    if few.dtype != np.uint8 or few.shape != (len(descriptors[:2]), code.size):
        raise ConfigError(
            f"codec {settings.kind!r} encodes {len(descriptors[:2])} descriptors as {few.dtype} {few.shape}; "
            f"its size says uint8 of {code.size} columns"
        )
    return Codec(code, layout, settings.features or None)


def _descriptors(sample: Sequence[LocalFeatures], metric: Metric, seed: int) -> NDArray[Any]:
    descriptors = np.concatenate([features.descriptors for features in sample])
    chosen = np.random.default_rng(seed).permutation(len(descriptors))[:SAMPLE]
    kind = np.float32 if metric == "cosine" else np.uint8
    return np.ascontiguousarray(descriptors[np.sort(chosen)], kind)


def _scale_range(sample: Sequence[LocalFeatures]) -> tuple[float, float]:
    """Return the range of the logarithms of scale / longer side that all but one in 500 keep."""
    logs = [np.log2(np.maximum(f.scales, 1e-9) / max(f.image_size)) for f in sample if f.scales is not None]
    low, high = np.quantile(np.concatenate(logs), (0.001, 0.999))
    return round(float(low) - 0.05, 3), round(float(high) + 0.05, 3)


def rebuild(settings: Mapping[str, Any], state: Mapping[str, NDArray[Any]]) -> Codec:
    """Return the codec of stored `Codec.settings` and arrays.

    Raises:
        ArtifactError: The arrays do not make a codec.
    """
    try:
        make = find_code(settings["kind"], settings.get("code", "")).make
        code = make.rebuild(state, int(settings["dim"]))
    except KeyError as error:
        raise ArtifactError(f"a codec lacks {error}; delete the artifact and run again") from None
    except ConfigError as error:
        raise ArtifactError(
            f"codec {settings['kind']!r} is unknown here ({error}); make the artifact again"
        ) from None
    try:
        layout = settings["layout"]
        scales = (float(layout["scales"][0]), float(layout["scales"][1]))
        return Codec(code, Layout(**{**layout, "scales": scales}), settings["features"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ArtifactError(f"these are no settings of a codec ({error}): {settings}") from None
