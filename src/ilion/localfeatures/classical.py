"""Local features of OpenCV, without any weights: RootSIFT, ORB and AKAZE.

RootSIFT: Arandjelović and Zisserman, CVPR 2012, from SIFT (Lowe, IJCV 2004). ORB: Rublee et al., ICCV 2011.
AKAZE: Alcantarilla et al., BMVC 2013. The descriptors of the last two are packed bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ilion.descriptors.rootsift import CONTRAST, rootsift
from ilion.errors import ConfigError
from ilion.localfeatures.base import EXTRACTORS, LocalOptions, LocalSpec
from ilion.localfeatures.select import SELECTIONS, select_features
from ilion.runtime.threads import in_order
from ilion.types import RGB, LocalFeatures, Metric

FEATURES = 500
"""Features an image."""
SIDE = 640
"""Longer side in pixels."""
POOL = 2000
"""Strongest keypoints of an image among which a selection chooses."""
AKAZE_THRESHOLD = 0.0005
"""Half of AKAZE's usual threshold, for the same reason as `ilion.descriptors.rootsift.CONTRAST`."""
LEAST_SIDE = 32
"""Shorter side, in pixels, from which on ORB and AKAZE look: their pyramids fail on images of a few pixels,
and their patches would not fit."""

Detect = Callable[[RGB], LocalFeatures]


@dataclass(frozen=True)
class _Kind:
    dim: int
    metric: Metric
    detect: Detect
    options: dict[str, object]


def _akaze(image: RGB) -> LocalFeatures:
    akaze = vars(cv2)["AKAZE"]  # unknown to the type stubs of OpenCV 5
    return _binary(image, akaze.create(threshold=AKAZE_THRESHOLD, max_points=POOL), 61)


def _binary(image: RGB, detector: cv2.Feature2D, dim: int) -> LocalFeatures:
    height, width = image.shape[:2]
    found: Sequence[cv2.KeyPoint] = ()
    packed = None
    if min(height, width) >= LEAST_SIDE:
        found, packed = detector.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
    return LocalFeatures(
        keypoints=np.array([k.pt for k in found], np.float32).reshape(-1, 2),
        descriptors=np.zeros((0, dim), np.uint8) if packed is None else packed,
        scores=np.array([k.response for k in found], np.float32),
        image_size=(width, height),
        scales=np.array([k.size for k in found], np.float32),
        angles=np.radians(np.array([k.angle for k in found], np.float32)),
    )


_KINDS = {
    "rootsift": _Kind(128, "cosine", lambda image: rootsift(image, POOL), {"contrast": CONTRAST}),
    "orb": _Kind(32, "hamming", lambda image: _binary(image, cv2.ORB.create(nfeatures=POOL), 32), {}),
    "akaze": _Kind(61, "hamming", _akaze, {"threshold": AKAZE_THRESHOLD}),
}


@EXTRACTORS.register("akaze")
@EXTRACTORS.register("orb")
@EXTRACTORS.register("rootsift")
def build(name: str, options: LocalOptions) -> ClassicalExtractor:
    """Build one of the extractors.

    Raises:
        ConfigError: A setting that it does not have, or the installed OpenCV lacks it.
    """
    if name not in _KINDS:
        raise ConfigError(f"{name!r}: nothing may follow the name; write {name.partition(':')[0]!r}")
    if options.weights:
        raise ConfigError(f"{name}: the setting 'weights' does not apply")
    if name == "akaze" and not hasattr(cv2, "AKAZE"):
        raise ConfigError(f"akaze: OpenCV {cv2.__version__} does not have it (4.x does); use 'orb'")
    kind = _KINDS[name]
    selection = options.selection or SELECTIONS[0]
    if selection not in SELECTIONS:
        raise ConfigError(f"{name}: selection {selection!r} is not one of {', '.join(SELECTIONS)}")
    spec = LocalSpec(
        name=name,
        weights="none",
        revision=f"opencv {cv2.__version__}",
        dim=kind.dim,
        metric=kind.metric,
        side=options.side or SIDE,
        features=options.features or FEATURES,
        selection=selection,
        licence="Apache-2.0",
        options={**kind.options, "pool": POOL},
    )
    return ClassicalExtractor(spec, kind.detect, options.threads)


class ClassicalExtractor:
    """Detect, choose, describe; images in threads.

    Args:
        spec: Spec of the features.
        detect: Finds and describes the strongest keypoints of an image.
        threads: Number of images described at once; 0 means one per core.
    """

    def __init__(self, spec: LocalSpec, detect: Detect, threads: int) -> None:
        self._spec, self._detect, self._threads = spec, detect, threads

    @property
    def spec(self) -> LocalSpec:
        """What the numbers depend on."""
        return self._spec

    def extract(self, images: Sequence[RGB]) -> list[LocalFeatures]:
        """Describe images; see `ilion.localfeatures.base.LocalExtractor`."""
        return [future.result() for _, future in in_order(images, self._describe, workers=self._threads)]

    def _describe(self, image: RGB) -> LocalFeatures:
        found = self._detect(image)
        return found.take(select_features(found, self._spec.features, self._spec.selection))
