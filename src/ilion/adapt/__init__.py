"""Linear adaptation: layers learnt from labelled photos for global descriptors of images and texts."""

from ilion.adapt.fewshot import split_objects
from ilion.adapt.labels import Labels, load_labels, make_labels
from ilion.adapt.layer import Adapter, StoredLayer, identity, is_identity, load_layer, save_layer
from ilion.adapt.training import LinearOptions, train_linear

__all__ = [
    "Adapter",
    "Labels",
    "LinearOptions",
    "StoredLayer",
    "identity",
    "is_identity",
    "load_labels",
    "load_layer",
    "make_labels",
    "save_layer",
    "split_objects",
    "train_linear",
]
