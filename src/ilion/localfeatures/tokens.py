"""Dense local features: the patch tokens of a vision transformer, the most important of them.

``tokens:MODEL`` takes any vision transformer that `ilion.descriptors` builds with timm, open_clip or
transformers (DINOv2, DINOv3, SigLIP, CLIP ...): a name of ``ilion models``, ``timm:NAME``,
``openclip:ARCH/TAG`` or ``transformers:ID``. Weights are fetched as those extractors do it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ilion.descriptors.base import ExtractorOptions
from ilion.descriptors.registry import build as build_extractor
from ilion.descriptors.registry import model_info
from ilion.descriptors.torch_common import TorchExtractor
from ilion.errors import ConfigError
from ilion.images import batches_by_shape
from ilion.localfeatures.base import EXTRACTORS, LocalOptions, LocalSpec
from ilion.localfeatures.placing import Size, fit_size, place_keypoints, stretch
from ilion.types import RGB, Float32, LocalFeatures

FEATURES = 600
"""Features an image: what the AMES paper uses for queries."""
SELECTIONS = ("attention", "norm")
"""``attention``: how much the model's own pooling looks at a patch, as the mean over the heads of the last
attention: that of the class token, or of the pooling query of models like SigLIP. ``norm``: the length of the
token."""

Tensor = Any


@EXTRACTORS.register("tokens", extra="torch")
def build(name: str, options: LocalOptions) -> TokenExtractor:
    """Build the extractor of ``tokens:MODEL``.

    Raises:
        ConfigError: Unknown model or setting, or no vision transformer.
        MissingExtraError: The extra ``torch`` is not installed.
        ExtractionError: The weights cannot be loaded.
    """
    model = name.partition(":")[2]
    if not model:
        raise ConfigError("tokens: write tokens:MODEL, such as tokens:dinov2-b-reg (ilion models lists them)")
    selection = options.selection or SELECTIONS[0]
    if selection not in SELECTIONS:
        raise ConfigError(f"{name}: selection {selection!r} is not one of {', '.join(SELECTIONS)}")
    backend = model_info(model).backend
    extractor = build_extractor(
        model,
        ExtractorOptions(
            weights=options.weights,
            side=options.side,
            # Only `run` is used; this avoids what some models lack (a pooled output).
            pooling=None if backend == "openclip" else "gap",
            device=options.device,
            threads=options.threads,
            batch_size=options.batch_size,
            precision=options.precision,
            seed=options.seed,
        ),
    )
    if not isinstance(extractor, TorchExtractor) or extractor.tower.tokens is None:
        raise ConfigError(f"{name}: only models of timm, open_clip and transformers have tokens")
    return TokenExtractor(name, extractor, options, selection)


class TokenExtractor:
    """Patch tokens as local features.

    Args:
        name: As the user wrote it.
        extractor: A vision transformer.
        options: ``features`` and ``batch_size`` are used.
        selection: One of `SELECTIONS`.

    Raises:
        ConfigError: The model is no vision transformer, or nothing in it attends to all patches.
    """

    def __init__(self, name: str, extractor: TorchExtractor, options: LocalOptions, selection: str) -> None:
        self._extractor, self._batch_size, self._selection = extractor, options.batch_size, selection
        spec = extractor.spec
        self._spec = LocalSpec(
            name=name,
            weights=spec.weights,
            revision=spec.revision,
            dim=0,
            metric="cosine",
            side=spec.side,
            features=options.features or FEATURES,
            selection=selection,
            licence=spec.licence,
            options={**spec.options, "patch": extractor.tower.multiple},
        )
        width, height = self._size((spec.side, spec.side))
        tokens, _ = self._describe([np.zeros((height, width, 3), np.uint8)])
        self._spec = LocalSpec(**{**vars(self._spec), "dim": tokens.shape[2]})

    @property
    def spec(self) -> LocalSpec:
        """What the numbers depend on."""
        return self._spec

    def extract(self, images: Sequence[RGB]) -> list[LocalFeatures]:
        """Describe images; see `ilion.localfeatures.base.LocalExtractor`.

        Images are brought to whole patches, a change of aspect by less than a patch; models of one size get
        that size. Descriptors are (M, d) float32 of unit length, keypoints are the centres of the patches,
        scales the side of a patch, scores the weight by which patches are chosen.

        Raises:
            ExtractionError: The model fails.
        """
        sizes: list[Size] = [(image.shape[1], image.shape[0]) for image in images]
        ready = ((i, stretch(image, self._size(sizes[i]))) for i, image in enumerate(images))
        features: dict[int, LocalFeatures] = {}
        for batch in batches_by_shape(ready, self._batch_size, max(1, len(images))):
            tokens, weights = self._describe([image for _, image in batch])
            height, width = batch[0][1].shape[:2]
            for (row, _), values, importance in zip(batch, tokens, weights, strict=True):
                features[row] = self._select(values, importance, (width, height), sizes[row])
        return [features[row] for row in range(len(images))]

    def _size(self, size: Size) -> Size:
        tower = self._extractor.tower
        if tower.side is not None:
            return tower.side, tower.side
        return fit_size(size, self._spec.side, tower.multiple)

    def _select(self, tokens: Float32, weights: Float32, found_in: Size, image_size: Size) -> LocalFeatures:
        """Keep the heaviest tokens (T, d) of an image, heaviest first."""
        patch = self._extractor.tower.multiple
        chosen = np.argsort(-weights, kind="stable")[: self._spec.features]
        row, column = np.divmod(chosen, found_in[0] // patch)
        centres = np.stack([column, row], axis=1).astype(np.float32) * patch + np.float32((patch - 1) / 2)
        values = tokens[chosen]
        lengths = np.maximum(np.linalg.norm(values, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        area = image_size[0] / found_in[0] * image_size[1] / found_in[1]
        return LocalFeatures(
            keypoints=place_keypoints(centres, found_in, image_size),
            descriptors=values / lengths,
            scores=weights[chosen],
            image_size=image_size,
            scales=np.full(len(chosen), patch * area**0.5, np.float32),
        )

    def _describe(self, images: Sequence[RGB]) -> tuple[Float32, Float32]:
        """Return the patch tokens (B, T, d) and their weights (B, T) of images of one shape."""
        name, attend = self._spec.name, self._selection == "attention"
        tokens_of: Any = self._extractor.tower.tokens
        with record_attention(attend) as last:
            tokens, (rows, columns) = self._extractor.run(tokens_of, images)
        count = rows * columns
        if tokens.ndim != 3 or self._extractor.tower.multiple == 1 or tokens.shape[1] < count:
            raise ConfigError(f"{name}: not a vision transformer; its output is {tuple(tokens.shape)}")
        tokens = tokens[:, -count:].float()
        if not attend:
            return tokens.cpu().numpy(), tokens.norm(dim=2).cpu().numpy()
        for queries, weights in last:
            # A class token stands before the patches; a pooling query stands alone.
            if weights.shape[1] > count or (weights.shape[1] == count and queries == 1):
                return tokens.cpu().numpy(), weights[:, -count:].float().cpu().numpy()
        raise ConfigError(
            f"{name}: the model has neither a class token nor attention pooling; set selection to norm"
        )


@contextmanager
def record_attention(wanted: bool = True) -> Iterator[list[tuple[int, Tensor]]]:
    """See the attention of a model from outside, whichever library it comes from.

    Args:
        wanted: False records nothing, at no cost.

    Yields:
        A list that holds, after a forward pass, the last attention: the number of its queries, and the
        weights (B, S) with which the first of them looks at each key, the mean over the heads.
    """
    if not wanted:
        yield []
        return
    import torch
    from torch.nn import functional
    from torch.overrides import TorchFunctionMode

    last: list[tuple[int, Tensor]] = []

    class Recorder(TorchFunctionMode):  # type: ignore[misc]  # torch may be missing, then it is Any
        def __torch_function__(
            self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            kwargs = kwargs or {}
            if function is functional.scaled_dot_product_attention:
                query, key = args[:2] if len(args) > 1 else (kwargs["query"], kwargs["key"])
                scale = kwargs.get("scale") or query.shape[-1] ** -0.5
                weights = torch.softmax((query[..., :1, :] @ key.transpose(-2, -1)).float() * scale, dim=-1)
                last[:] = [(query.shape[-2], weights[..., 0, :].mean(1))]
            elif function is functional.multi_head_attention_forward:
                kwargs = {**kwargs, "need_weights": True, "average_attn_weights": True}
                output, weights = function(*args, **kwargs)
                last[:] = [(weights.shape[1], weights[:, 0])]
                return output, None
            return function(*args, **kwargs)

    with Recorder():
        yield last
