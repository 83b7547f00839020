"""RootSIFT local features (Arandjelović and Zisserman, CVPR 2012) from OpenCV's SIFT (Lowe, IJCV 2004)."""

from __future__ import annotations

import cv2
import numpy as np

from ilion.types import RGB, LocalFeatures

CONTRAST = 0.02
"""Half of SIFT's usual contrast threshold: small printed matter in phone photos is faint."""


def rootsift(image: RGB, keypoints: int) -> LocalFeatures:
    """Detect and describe the strongest keypoints.

    Args:
        image: (H, W, 3) RGB uint8.
        keypoints: Largest number of keypoints; an image may show fewer, a featureless one none.

    Returns:
        Features whose descriptors are (M, 128) float32 of unit length, with scales and angles.

    >>> rootsift(np.zeros((32, 32, 3), np.uint8), 10).descriptors.shape
    (0, 128)
    """
    height, width = image.shape[:2]
    sift = cv2.SIFT.create(nfeatures=keypoints, contrastThreshold=CONTRAST)
    found, raw = sift.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
    found = found[:keypoints]  # ties in strength can make OpenCV return more
    descriptors = np.zeros((0, 128), np.float32) if raw is None else raw[: len(found)]
    descriptors = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-9))
    return LocalFeatures(
        keypoints=np.array([k.pt for k in found], np.float32).reshape(-1, 2),
        descriptors=descriptors,
        scores=np.array([k.response for k in found], np.float32),
        image_size=(width, height),
        scales=np.array([k.size for k in found], np.float32),
        angles=np.radians(np.array([k.angle for k in found], np.float32)),
    )
