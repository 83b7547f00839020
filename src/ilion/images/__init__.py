"""Images: files are probed, decoded upright, and brought to the size that a model takes."""

from ilion.images.decode import MAX_PIXELS, Decoded, decode
from ilion.images.geometry import (
    FILL,
    batches_by_shape,
    crop,
    least_size,
    mask,
    resize,
    rotate,
    scale_boxes,
)
from ilion.images.probe import EXTENSIONS, ImageFacts, probe

__all__ = [
    "EXTENSIONS",
    "FILL",
    "MAX_PIXELS",
    "Decoded",
    "ImageFacts",
    "batches_by_shape",
    "crop",
    "decode",
    "least_size",
    "mask",
    "probe",
    "resize",
    "rotate",
    "scale_boxes",
]
