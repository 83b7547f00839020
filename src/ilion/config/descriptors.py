"""Settings of what is searched in and how it is described: data set, descriptors, adaptation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from ilion.adapt.base import METHODS
from ilion.config.plain import PartOf, PathFrom
from ilion.datasets.layouts.base import LAYOUTS
from ilion.descriptors.registry import BACKENDS
from ilion.descriptors.towers import TEXT_TOWERS


@dataclass(frozen=True)
class DatasetConfig:
    """Which data set.

    Args:
        path: Folder of the data set; relative to the experiment file.
        layout: Name of a layout, such as ``ilias``, ``folder`` or ``ids`` (no images: see docs/interop.md);
            ``auto`` asks all of them.
        distractors: A further folder with distractors (tars or images), or "".
        subset: An id file; only these database images take part. "" takes all.
        queries: ``image`` or ``text``; ``both`` asks either and shows them side by side; ``image+text`` asks
            with each image together with the text of its object.
        shard_size: Images in one shard of loose files; extraction loses at most one shard when it is killed.
    """

    path: Annotated[str, PathFrom()] = ""
    layout: Annotated[str, PartOf(LAYOUTS, ("auto",))] = "auto"
    distractors: Annotated[str, PathFrom()] = ""
    subset: Annotated[str, PathFrom()] = ""
    queries: Literal["image", "text", "both", "image+text"] = "image"
    shard_size: int = 500


@dataclass(frozen=True)
class ExtractionConfig:
    """Which descriptor and how it is computed.

    Args:
        model: A name that ``ilion models`` lists, ``backend:name``, or ``imported:FOLDER`` for descriptors of
            others (see docs/interop.md).
        text_tower: Text tower in place of the model's own: the name of a model that takes text queries, or
            of a tower from outside; "" keeps the model's own.
        weights: File or hub id in place of the model's own weights; "" keeps them.
        side: Input side in pixels; 0 keeps the model's own.
        resize: ``long``, ``short``, ``square``, ``center-crop`` or ``pad``; "" keeps the model's own.
        pooling: ``head``, ``cls``, ``gap``, ``mac``, ``gem``, ``rmac`` or ``rgem``; "" keeps the model's own.
        scales: Image scales whose descriptors are averaged; empty keeps the model's own.
        rotations: Degrees whose descriptors are averaged; empty keeps the model's own.
        query_box: What happens to a query that has boxes: ``crop``, ``mask`` or ``none``.
        prompts: Templates around text queries, such as ``a photo of {}.``; the descriptors of all of them are
            averaged. Empty asks with the text alone.
        long_texts: ``cut`` drops what a model cannot read of a long text; ``average`` reads it in pieces.
        text_weight: Share of the text in the descriptor of a query of image and text, [0, 1].
        on_bad_image: ``error`` stops at an unreadable image; ``skip`` counts it and shows it in the report.
        fit_images: At most so many database images are looked at by models that learn a codebook.
        refit: Learn anew from the present state of the data set. Else what the first run learnt stays, so
            that images can be added and removed without describing the others again.
        dtype: How descriptors are stored.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``float32``, ``float16`` or ``bfloat16``.
        batch_size: Images of one shape computed together.
        workers: Threads that read and decode; 0 takes one a core.
        threads: Compute threads; 0 takes one a core.
    """

    model: Annotated[str, PartOf(BACKENDS, ("imported:", "results:")), PathFrom("imported:")] = "default"
    text_tower: Annotated[str, PartOf(TEXT_TOWERS, ("",))] = ""
    weights: str = ""
    side: int = 0
    resize: str = ""
    pooling: str = ""
    scales: tuple[float, ...] = ()
    rotations: tuple[int, ...] = ()
    query_box: Literal["crop", "mask", "none"] = "crop"
    prompts: tuple[str, ...] = ()
    long_texts: Literal["cut", "average"] = "cut"
    text_weight: float = 0.5
    on_bad_image: Literal["error", "skip"] = "error"
    fit_images: int = 500
    refit: bool = False
    dtype: Literal["float16", "float32"] = "float16"
    device: str = "auto"
    precision: Literal["float32", "float16", "bfloat16"] = "float32"
    batch_size: int = 8
    workers: int = 0
    threads: int = 0


@dataclass(frozen=True)
class AdaptationConfig:
    """A learnt linear layer between descriptors and search; see docs/adaptation.md.

    Args:
        layer: File of a layer: ``.npz`` of ``ilion adapt``, or a torch state dict of the ILIAS benchmark.
        method: Learn a layer for this run from ``labels``: ``pca``, ``lda``, ``wccn``, ``ridge``, ``linear``
            or ``few-shot``. ``none`` learns nothing.
        labels: A CSV file with lines ``path,class,domain``.
        photos: Where its paths start; "" means the folder of the CSV file.
        dim: Dimensions of the result, at most, for ``pca``, ``lda`` and ``linear``.
        shrinkage: For ``pca``, ``lda`` and ``wccn``, from 0 (as measured) to 1 (all directions alike).
        alpha: For ``ridge``.
        epochs: For ``linear``, at most.
        held_out: For ``linear``: share of the classes that choose the epoch instead of being learnt.
        patience: For ``linear`` with ``held_out``: epochs without a better one after which training ends.
        margin: For ``linear``: of the right class; 0 is the published recipe.
        margin_kind: ``cosface`` takes it off the cosine, ``arcface`` adds it to the angle.
        balance: For ``linear``: ``none`` shows every photo once an epoch, as published; ``class``, ``domain``
            and ``class+domain`` draw all of these as often.
        checkpoint_every: For ``linear``: batches between two checkpoints, from which an interrupted training
            goes on to the same layer; 0 keeps none.
        folds: For the estimate on unseen classes; 0 makes none.
        guard: Keep the identity where that estimate shows no certain gain; ``few-shot`` always does.
        seen: What to do with queries of objects that the layer was learnt from: ``refuse`` to judge them,
            ``leave-out`` these queries, or ``keep`` them. ``keep`` also lets labelled photos be distractors.
    """

    layer: Annotated[str, PathFrom()] = ""
    method: Annotated[str, PartOf(METHODS, ("none",))] = "none"
    labels: Annotated[str, PathFrom()] = ""
    photos: Annotated[str, PathFrom()] = ""
    dim: int = 512
    shrinkage: float = 0.5
    alpha: float = 1.0
    epochs: int = 5
    held_out: float = 0.0
    patience: int = 3
    margin: float = 0.0
    margin_kind: Literal["cosface", "arcface"] = "cosface"
    balance: Literal["none", "class", "domain", "class+domain"] = "none"
    checkpoint_every: int = 2000
    folds: int = 5
    guard: bool = False
    seen: Literal["refuse", "leave-out", "keep"] = "refuse"
