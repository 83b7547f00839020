"""Images: files are probed, decoded upright, and brought to the size that a model takes."""

from ilion.images.decode import decode
from ilion.images.geometry import batches_by_shape, crop, least_size, mask, resize, rotate
from ilion.images.probe import EXTENSIONS, ImageFacts, probe

__all__ = [
    "EXTENSIONS",
    "ImageFacts",
    "batches_by_shape",
    "crop",
    "decode",
    "least_size",
    "mask",
    "probe",
    "resize",
    "rotate",
]
