"""Linear adaptation: layers learnt from labelled photos for global descriptors of images and texts."""

from ilion.adapt.closed import lda, pca_whitening, ridge, wccn
from ilion.adapt.estimate import Gain
from ilion.adapt.fewshot import FewShot, Split, cross_validate, learn_few_shot, split_objects
from ilion.adapt.labels import Labels, load_labels, make_labels
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
from ilion.adapt.training import LinearOptions, Trained, train_linear

__all__ = [
    "Adapter",
    "Correction",
    "FewShot",
    "Gain",
    "Labels",
    "Layer",
    "LinearOptions",
    "Split",
    "StoredLayer",
    "Trained",
    "compose",
    "cross_validate",
    "identity",
    "is_identity",
    "lda",
    "learn_few_shot",
    "load_labels",
    "load_layer",
    "make_labels",
    "pca_whitening",
    "ridge",
    "save_layer",
    "split_objects",
    "train_linear",
    "wccn",
]
