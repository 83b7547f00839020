"""Images at a size that a network takes, and keypoints back in pixels of the image as it was given.

Whole numbers are the centres of pixels, as in OpenCV: the centre of a patch of 14 pixels is at 6.5.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ilion.localfeatures.base import LocalSpec
from ilion.localfeatures.select import select_features
from ilion.types import RGB, Float32, LocalFeatures

Size = tuple[int, int]
"""(width, height)."""


def fit_size(size: Size, side: int, multiple: int = 1) -> Size:
    """Return the size to which an image is brought for a network.

    Args:
        size: (width, height) of the image.
        side: Largest longer side in pixels; larger images are shrunk to it.
        multiple: Both sides are then rounded to a multiple of this, at least one.

    >>> fit_size((1000, 500), 640), fit_size((1000, 500), 640, 14), fit_size((30, 3), 640, 14)
    ((640, 320), (644, 322), (28, 14))
    """
    factor = min(1.0, side / max(size))
    width, height = (max(1, round(length * factor / multiple)) * multiple for length in size)
    return width, height


def stretch(image: RGB, size: Size) -> RGB:
    """Resize an image to exactly a size; the aspect may change by what rounding takes.

    >>> stretch(np.zeros((10, 20, 3), np.uint8), (14, 7)).shape
    (7, 14, 3)
    """
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    smaller = size[0] <= width and size[1] <= height
    filters = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=filters), np.uint8)


def place_keypoints(keypoints: Float32, found_in: Size, image_size: Size) -> Float32:
    """Map keypoints from a resized image to the image itself.

    Args:
        keypoints: (M, 2) x, y.
        found_in: Size of the resized image.
        image_size: Size of the image.

    >>> place_keypoints(np.float32([[0, 0], [1, 1]]), (2, 2), (4, 8)).tolist()
    [[0.5, 1.5], [2.5, 5.5]]
    """
    factor = np.array(image_size) / np.array(found_in)
    return np.asarray((keypoints + 0.5) * factor - 0.5, np.float32)


def describe_best(
    places: Float32,
    scores: Float32,
    found_in: Size,
    image_size: Size,
    spec: LocalSpec,
    describe: Callable[[Float32], Float32],
) -> LocalFeatures:
    """Choose among the keypoints of a resized image, and describe only those that are kept.

    Args:
        places: (M, 2) x, y in the resized image.
        scores: (M,).
        found_in: Size of the resized image.
        image_size: Size of the image.
        spec: Number of features, and how they are chosen.
        describe: Returns the descriptors of some places.
    """
    keypoints = place_keypoints(places, found_in, image_size)
    found = LocalFeatures(keypoints, np.arange(len(places))[:, None], scores, image_size)
    kept = select_features(found, spec.features, spec.selection)
    return LocalFeatures(keypoints[kept], describe(places[kept]), scores[kept], image_size)
