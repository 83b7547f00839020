"""Settings of the data set, of its descriptors and of their adaptation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from ilion.adapt.base import METHODS
from ilion.config.plain import PartOf, PathFrom
from ilion.datasets.layouts.base import LAYOUTS
from ilion.descriptors.pooling import Pooling
from ilion.descriptors.registry import BACKENDS
from ilion.descriptors.towers import TEXT_TOWERS
from ilion.errors import ConfigError
from ilion.types import Between, Resize


@dataclass(frozen=True)
class DatasetConfig:
    """The data set.

    Args:
        path: Folder of the data set, relative to the experiment file.
        layout: Name of a layout, such as ``ilias``, ``folder`` or ``ids`` (no images: see docs/interop.md);
            ``auto`` asks all of them.
        distractors: A further folder with distractors (tars or images), or "".
        subset: File with the ids of the database images that take part; "" means all.
        queries: ``image`` or ``text``; ``both`` asks either and shows them side by side; ``image+text`` asks
            with each image together with the text of its object.
        shard_size: Number of images in a shard of loose files; a killed extraction loses at most one shard.
        encoding: Encoding of tables, descriptions and labels, such as ``cp932`` (Japanese Windows); "" finds
            it for each file, and says where it guessed.
    """

    path: Annotated[str, PathFrom()] = ""
    layout: Annotated[str, PartOf(LAYOUTS, ("auto",))] = "auto"
    distractors: Annotated[str, PathFrom()] = ""
    subset: Annotated[str, PathFrom()] = ""
    queries: Literal["image", "text", "both", "image+text"] = "image"
    shard_size: Annotated[int, Between(1, 10**7)] = 500
    encoding: str = ""


@dataclass(frozen=True)
class ExtractionConfig:
    """The global descriptors and how they are computed.

    Args:
        model: Name that ``ilion models`` lists, ``backend:name``, or ``imported:FOLDER`` for descriptors that
            were computed elsewhere (docs/interop.md). ``auto``: none, or ``default`` where one is needed.
        text_tower: Text tower in place of the model's own: the name of a model that takes text queries, or
            of a tower from outside; "" keeps the model's own.
        weights: File or hub id in place of the model's own weights; "" keeps them.
        side: Input side in pixels; 0 keeps the model's own.
        like: ``ilias`` resizes, pads and crops as the benchmark's own extractor does (docs/interop.md); "" is
            Ilion's own way.
        resize: ``long``, ``short``, ``square``, ``center-crop`` or ``pad``; "" keeps the model's own.
        pooling: ``head``, ``cls``, ``gap``, ``mac``, ``gem``, ``rmac`` or ``rgem``; "" keeps the model's own.
        scales: Image scales whose descriptors are averaged; empty keeps the model's own.
        rotations: Degrees whose descriptors are averaged; empty keeps the model's own.
        query_box: Use of a query's boxes: ``crop``, ``mask`` or ``none``.
        prompts: Templates around text queries, such as ``a photo of {}.``; the descriptors of all of them are
            averaged. Empty asks with the text alone.
        long_texts: ``cut`` drops what a model cannot read of a long text; ``average`` reads it in pieces.
        text_weight: Share of the text in the descriptor of a query of image and text, [0, 1].
        text_fusion: Comparison with a query of image and text: by the ``sum`` of both descriptors, or by the
            ``product`` of both similarities.
        on_bad_image: ``error`` stops at an unreadable image; ``skip`` counts it and shows it in the report.
        fit_images: Largest number of database images from which a model learns its codebook.
        refit: Whether to learn anew from the present state of the data set. Otherwise the first codebook
            stays, so that images can be added and removed without describing the others again.
        dtype: Type of the stored numbers.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: Type of the computation; ``float16`` and ``bfloat16`` need an accelerator.
        batch_size: Number of images of one shape that are computed together.
        workers: Number of threads that read and decode; 0 means one per core.
        threads: Number of compute threads; 0 means one per core.
    """

    model: Annotated[str, PartOf(BACKENDS, ("auto", "imported:", "results:")), PathFrom("imported:")] = "auto"
    text_tower: Annotated[str, PartOf(TEXT_TOWERS, ("",))] = ""
    weights: str = ""
    side: Annotated[int, Between(0, 16384)] = 0
    like: Literal["", "ilias"] = ""
    resize: Literal["", Resize] = ""
    pooling: Literal["", Pooling] = ""
    scales: Annotated[tuple[float, ...], Between(0.01, 16)] = ()
    rotations: Annotated[tuple[int, ...], Between(-360, 360)] = ()
    query_box: Literal["crop", "mask", "none"] = "crop"
    prompts: tuple[str, ...] = ()
    long_texts: Literal["cut", "average"] = "cut"
    text_weight: Annotated[float, Between(0, 1)] = 0.5
    text_fusion: Literal["sum", "product"] = "sum"
    on_bad_image: Literal["error", "skip"] = "error"
    fit_images: Annotated[int, Between(1, 10**9)] = 500
    refit: bool = False
    dtype: Literal["float16", "float32"] = "float16"
    device: str = "auto"
    precision: Literal["float32", "float16", "bfloat16"] = "float32"
    batch_size: Annotated[int, Between(1, 65536)] = 8
    workers: Annotated[int, Between(0, 4096)] = 0
    threads: Annotated[int, Between(0, 4096)] = 0

    def __post_init__(self) -> None:
        if self.like and self.resize not in ("", "ilias"):
            raise ConfigError(
                f"extraction.like = {self.like!r} resizes in its own way; leave extraction.resize = "
                f"{self.resize!r} out, or like"
            )

    @property
    def text_share(self) -> float | None:
        """Share of the text in the sum of both descriptors; None where their similarities are multiplied."""
        return None if self.text_fusion == "product" else self.text_weight

    @property
    def global_box(self) -> Literal["crop", "mask", "none"]:
        """Use of a query's boxes by global descriptors: the benchmark's own extractor does not crop."""
        return "none" if self.like == "ilias" and self.query_box == "crop" else self.query_box


@dataclass(frozen=True)
class AdaptationConfig:
    """A learnt linear layer between descriptors and search; see docs/adaptation.md.

    Args:
        layer: File of a layer: ``.npz`` of ``ilion adapt``, or a torch state dict of the ILIAS benchmark.
        method: Method that learns a layer from ``labels``: ``pca``, ``lda``, ``wccn``, ``ridge``, ``linear``,
            ``few-shot``, or one of your own (docs/adaptation.md). ``none`` learns nothing.
        labels: CSV file with lines ``path,class,domain``.
        photos: Folder where its paths start; "" means the folder of the CSV file.
        dim: Largest number of dimensions of the result, for ``pca``, ``lda`` and ``linear``.
        shrinkage: Shrinkage of ``pca``, ``lda`` and ``wccn``: 0 (as measured) to 1 (all directions alike).
        alpha: Penalty of ``ridge``, above 0.
        epochs: Largest number of epochs of ``linear``.
        held_out: Share of the classes that choose the epoch of ``linear`` instead of being learnt.
        patience: Number of epochs without a better one after which ``linear`` with ``held_out`` ends.
        margin: Margin of the right class in ``linear``; 0 is the published recipe.
        margin_kind: ``cosface`` takes the margin off the cosine, ``arcface`` adds it to the angle.
        balance: Order of ``linear``: ``none`` shows every photo once an epoch, as published; ``class``,
            ``domain`` and ``class+domain`` draw all of these as often.
        checkpoint_every: Number of batches between two checkpoints of ``linear``, from which an interrupted
            training goes on to the same layer; 0 keeps none.
        folds: Number of folds of the estimate on unseen classes; 0 makes none.
        guard: Whether the identity is kept where that estimate shows no certain gain; ``few-shot`` always
            keeps it.
        seen: Treatment of queries of objects that the layer was learnt from: ``refuse`` to judge them,
            ``leave-out`` these queries, or ``keep`` them. ``keep`` also lets labelled photos be distractors.
    """

    layer: Annotated[str, PathFrom()] = ""
    method: Annotated[str, PartOf(METHODS, ("none",))] = "none"
    labels: Annotated[str, PathFrom()] = ""
    photos: Annotated[str, PathFrom()] = ""
    dim: Annotated[int, Between(1, 10**6)] = 512
    shrinkage: Annotated[float, Between(0, 1)] = 0.5
    alpha: Annotated[float, Between(1e-12, 1e9)] = 1.0
    epochs: Annotated[int, Between(1, 10**6)] = 5
    held_out: Annotated[float, Between(0, 0.99)] = 0.0
    patience: Annotated[int, Between(1, 10**6)] = 3
    margin: Annotated[float, Between(0, 10)] = 0.0
    margin_kind: Literal["cosface", "arcface"] = "cosface"
    balance: Literal["none", "class", "domain", "class+domain"] = "none"
    checkpoint_every: Annotated[int, Between(0, 10**9)] = 2000
    folds: Annotated[int, Between(0, 1000)] = 5
    guard: bool = False
    seen: Literal["refuse", "leave-out", "keep"] = "refuse"
