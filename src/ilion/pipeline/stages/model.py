"""From settings to a model, or to what stands for the model of imported descriptors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ilion.config import ExtractionConfig
from ilion.descriptors.base import Extractor, ExtractorOptions, ExtractorSpec
from ilion.descriptors.registry import build
from ilion.errors import ConfigError, ExtractionError
from ilion.interop.imported import imported_folder, open_imported
from ilion.types import RGB, Float32


class Imported:
    """Stands for the model of imported descriptors: its spec is known, but it cannot describe anything.

    Args:
        folder: Folder that ``ilion import features`` made.

    Raises:
        ConfigError: The folder holds no imported descriptors.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        found = open_imported(folder)
        self.spec = ExtractorSpec(
            name=found.name,
            weights="imported",
            revision=found.artifact.fingerprint,
            dim=found.dim,
            resize="none",
            side=0,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            pooling="unknown",
            licence="unknown",
            text="text_queries" in found.partitions,
        )

    def extract(self, images: Sequence[RGB]) -> Float32:
        """Raise.

        Raises:
            ExtractionError: Always: the model is not here.
        """
        raise ExtractionError(f"{self.spec.name}: the descriptors were imported; there is no model to run")


def extractor_of(settings: ExtractionConfig, seed: int) -> Extractor:
    """Build the model; one that learns something is fitted by `describe`."""
    if (folder := imported_folder(settings.model)) is not None:
        if settings.text_tower:
            raise ConfigError(
                "extraction.text_tower: there is no model to ask with texts; import the descriptors of the "
                "text queries beside the others"
            )
        return Imported(folder)
    return build(settings.model, model_options(settings, seed))


def model_options(settings: ExtractionConfig, seed: int) -> ExtractorOptions:
    """Return the settings of a model as it takes them."""
    return ExtractorOptions(
        weights=settings.weights or None,
        resize=settings.resize or settings.like or None,
        side=settings.side or None,
        pooling=settings.pooling or None,
        scales=settings.scales or None,
        rotations=settings.rotations or None,
        device=settings.device,
        threads=settings.threads,
        batch_size=settings.batch_size,
        precision=settings.precision,
        seed=seed,
        prompts=settings.prompts or ("{}",),
        long_texts=settings.long_texts,
    )
