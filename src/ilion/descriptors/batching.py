"""Images of any sizes through a network that wants one size a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ilion.descriptors.base import ExtractorSpec
from ilion.descriptors.pooling import l2_normalise
from ilion.errors import ConfigError, ExtractionError
from ilion.images import batches_by_shape
from ilion.types import RGB, Float32
from ilion.wording import counted


def check_side(spec: ExtractorSpec, side: int | None) -> None:
    """Refuse a side or resize mode that a model cannot take.

    Args:
        spec: Spec whose ``resize`` and ``side`` are checked.
        side: The only side of the square input, or None when any size will do.

    Raises:
        ConfigError: The side is not positive, or the images would arrive at another size.
    """
    if spec.side < 1:
        raise ConfigError(f"{spec.name}: side must be a positive number of pixels, got {spec.side}")
    if side is None or (spec.resize in ("square", "center-crop", "pad") and spec.side == side):
        return
    raise ConfigError(
        f"{spec.name} takes {side} x {side} pixels only: side must be {side} and resize square, "
        f"center-crop or pad (got side {spec.side}, resize {spec.resize!r})"
    )


def describe_by_shape(
    images: Sequence[RGB], batch_size: int, dim: int, describe: Callable[[Sequence[RGB]], Float32]
) -> Float32:
    """Describe images batch by batch and put the descriptors back in the order of the images.

    Args:
        images: (H, W, 3) arrays of any sizes.
        batch_size: Largest number of images in a batch, at least 1.
        dim: Expected dimensions D.
        describe: Function of images of one shape that returns (B, D), not normalised.

    Returns:
        (B, D) float32, each row L2-normalised.

    Raises:
        ConfigError: ``batch_size`` is not positive.
        ExtractionError: The network returns another number of dimensions, NaN or infinity.
    """
    values = np.empty((len(images), dim), np.float32)
    for batch in batches_by_shape(enumerate(images), batch_size, max(1, len(images))):
        rows = [row for row, _ in batch]
        part = describe([image for _, image in batch])
        if part.shape != (len(rows), dim):
            raise ExtractionError(
                f"the model returned descriptors of shape {part.shape} for {counted(len(rows), 'image')}; "
                f"its spec promises {counted(dim, 'dimension')}"
            )
        if not np.isfinite(part).all():
            raise ExtractionError(
                f"the model returned NaN or infinity for images of shape {batch[0][1].shape}; "
                "try precision float32"
            )
        values[rows] = l2_normalise(part)
    return values
