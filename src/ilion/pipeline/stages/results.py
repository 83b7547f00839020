"""What the first stages hand on: what is searched in, and what a search found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ilion.adapt import StoredLayer
from ilion.config import AdaptationConfig, ExperimentConfig
from ilion.descriptors.base import Extractor
from ilion.outcome import Evaluation, Machine, MissingShard, Skipped
from ilion.pipeline.experiment import Experiment
from ilion.storage import DescriptorSet
from ilion.types import Descriptors, Ranking, Value
from ilion.wording import counted


@dataclass(frozen=True)
class Prepared(Value):
    """What it depends on and what it took.

    Args:
        inputs: Inputs of queries and database, for the next stage's fingerprint.
        skipped: Database images that could not be used.
        seconds: Stage -> seconds when it was really computed.
        reused: Stages that were not computed this time.
        images: Number of database images looked at.
        peak_memory: Largest resident memory of the processes that computed, bytes.
        machine: Machine that described the database.
        model: Model that describes the images, printable.
        missing: Parts of the database that could not be described, where that was allowed.
    """

    inputs: Mapping[str, Any]
    skipped: tuple[Skipped, ...]
    seconds: Mapping[str, float]
    reused: tuple[str, ...]
    images: int
    peak_memory: int
    machine: Machine
    model: Mapping[str, Any]
    missing: tuple[MissingShard, ...] = field(default=(), kw_only=True)

    @property
    def ids(self) -> Sequence[str]:
        """Ids of the database, by row."""
        ids: Sequence[str] = self.database.ids  # type: ignore[attr-defined]  # each kind has its own
        return ids


@dataclass(frozen=True)
class Extraction(Prepared):
    """What `describe` gives.

    Args:
        queries: Descriptors of the queries, in the order of the data set.
        database: Descriptors of the database.
        long_texts: Texts asked with that exceed what the model reads.
    """

    queries: Descriptors
    database: DescriptorSet
    long_texts: int = 0

    @property
    def image_seconds(self) -> float:
        """Seconds that describing the database took."""
        return self.seconds["descriptors"]

    @property
    def bytes_per_image(self) -> float:
        """Stored bytes of a descriptor."""
        return float(self.database.dim * self.database.dtype.itemsize)

    @property
    def size(self) -> str:
        """What is stored, in words."""
        return f"{counted(self.database.dim, 'dimension')}"

    @property
    def folder(self) -> Path:
        """Where the descriptors of the database are."""
        return self.database.artifact.folder


@dataclass(frozen=True)
class Search(Value):
    """What `find` gives: the ranking, and what it cost when it was computed."""

    ranking: Ranking
    folder: Path
    fingerprint: str
    seconds: float
    reused: bool
    peak_memory: int


class Stages(Protocol):
    """The stages of an experiment, as far as learning from it needs them; `ilion.pipeline.Pipeline` is
    one."""

    @property
    def config(self) -> ExperimentConfig:
        """All settings."""
        ...

    @property
    def experiment(self) -> Experiment:
        """What the stages work from."""
        ...

    @property
    def extractor(self) -> Extractor:
        """The model."""
        ...

    def extract(self) -> Extraction:
        """Describe queries and database."""
        ...

    def measure(self) -> Evaluation:
        """Judge the first stage alone."""
        ...

    def variant(self, adaptation: AdaptationConfig, layer: StoredLayer | None = None) -> Stages:
        """Return the same experiment with other settings of adaptation, or with a given layer."""
        ...
