"""Linear adaptation: layers learnt from labelled photos for global descriptors of images and texts."""

from ilion.adapt.closed import lda, pca_whitening, ridge, wccn
from ilion.adapt.labels import Labels, make_labels, read_labels
from ilion.adapt.layer import (
    Adapter,
    Correction,
    Layer,
    StoredLayer,
    compose,
    identity,
    is_identity,
    load_layer,
    save_layer,
)

__all__ = [
    "Adapter",
    "Correction",
    "Labels",
    "Layer",
    "StoredLayer",
    "compose",
    "identity",
    "is_identity",
    "lda",
    "load_layer",
    "make_labels",
    "pca_whitening",
    "read_labels",
    "ridge",
    "save_layer",
    "wccn",
]
