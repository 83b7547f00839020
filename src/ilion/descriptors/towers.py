"""Text towers apart from their models: any model can be asked with texts by a tower of the same space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from ilion.descriptors.base import Extractor, ExtractorOptions, ExtractorSpec, TextDescriber, TextExtractor
from ilion.descriptors.pooling import l2_normalise
from ilion.descriptors.registry import BACKENDS, build, models
from ilion.descriptors.texts import count_long
from ilion.errors import ConfigError, ExtractionError
from ilion.registry import Part, Registry
from ilion.storage import fingerprint
from ilion.types import RGB, Float32
from ilion.wording import counted

Tower = Callable[[ExtractorOptions], TextDescriber | TextExtractor]


class TextTowers(Registry[Tower]):
    """What describes texts: towers of their own, and the models that have one."""

    def get(self, name: str) -> Part[Tower] | None:
        """Return the tower of a name, or of the model of that name; None if there is none."""
        part, model = super().get(name), BACKENDS.get(name)
        blind = (info.name for info in models() if info.dim and not info.text)  # of others nothing is known
        if part is not None or model is None or name in blind:
            return part
        return Part(name, partial(_model_with_text, name), model.extra, digest=model.digest)

    def suggestions(self) -> Sequence[str]:
        """Return the names of all towers and of the models that have one."""
        return (*self.names(), *(info.name for info in models() if info.text))


TEXT_TOWERS = TextTowers("text tower", __package__, takes="(options)")
"""What builds a text tower from the user's settings."""


def _model_with_text(name: str, options: ExtractorOptions) -> TextExtractor:
    model = build(name, options)
    if not isinstance(model, TextExtractor):
        raise ConfigError(f"extraction.text_tower: the model {name!r} has no text tower to lend")
    return model


class Lent:
    """A model that is asked with texts by a tower which is not its own.

    Args:
        extractor: Extractor of images, into the space that the tower was learnt for.
        name: Name in `TEXT_TOWERS`.
        options: Settings; those of the image side are not used.

    Raises:
        ConfigError: Unknown tower, one without ``extract_text`` or ``revision``, or a model without one.
        MissingExtraError: The extra of the model that has it is not installed.
        ExtractionError: The weights cannot be loaded.
    """

    def __init__(self, extractor: Extractor, name: str, options: ExtractorOptions) -> None:
        part = TEXT_TOWERS.find(name)
        self._inner, self._name = extractor, part.name
        self._tower = TEXT_TOWERS.call(
            part,
            replace(options, weights=None, resize=None, side=None, pooling=None, scales=None, rotations=None),
        )
        tower = self._tower
        lacks = [name for name in ("extract_text", "revision") if not hasattr(tower, name)]
        if not isinstance(tower, TextExtractor) and lacks:
            raise ConfigError(
                f"the text tower {part.name!r} has no {lacks[0]!r}; towers have `extract_text` and `revision`"
            )
        revision = fingerprint(tower.spec.as_dict()) if isinstance(tower, TextExtractor) else tower.revision
        self.text_inputs = {"name": part.name, "code": part.digest, "revision": revision}
        """What the descriptors of texts depend on."""

    @property
    def spec(self) -> ExtractorSpec:
        """What the descriptors of images depend on."""
        return self._inner.spec

    def extract(self, images: Sequence[RGB]) -> Float32:
        """Describe images; (B, D) float32, L2-normalised."""
        return self._inner.extract(images)

    def extract_text(self, texts: Sequence[str]) -> Float32:
        """Describe texts; (B, D) float32, L2-normalised.

        Raises:
            ExtractionError: The tower has other dimensions than the model.
        """
        values, wanted = self._tower.extract_text(texts), (len(texts), self.spec.dim)
        if values.shape != wanted:
            raise ExtractionError(
                f"{self.spec.name} describes images by {counted(wanted[1], 'number')}, but the text tower "
                f"{self._name} gives an array of shape {values.shape} for {wanted[0]} texts; choose a tower "
                "that was learnt for the space of this model"
            )
        result: Float32 = l2_normalise(values)
        return result

    def count_long(self, texts: Sequence[str]) -> int:
        """Count the texts that exceed what the tower reads."""
        return count_long(self._tower, texts)
