"""A design: everything that makes an answer, so that what is evaluated is what is served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from ilion.config.descriptors import AdaptationConfig, DatasetConfig, ExtractionConfig
from ilion.config.experiment import ExperimentConfig
from ilion.config.plain import from_dict, to_dict
from ilion.config.search import ReadingConfig, RerankConfig, SearchConfig
from ilion.config.settle import settle
from ilion.errors import ConfigError
from ilion.storage import fingerprint
from ilion.storage.runs import THRESHOLD, read_run, read_threshold
from ilion.types import Between, Value


@dataclass(frozen=True)
class Design(Value):
    """Everything that makes an answer.

    Args:
        name: Name for people, such as that of the run it comes from.
        seed: Seed of everything that is drawn at random.
        trust: Modules and files outside Ilion whose code may run.
        extraction: Global descriptors, and what is done with a query's box.
        adaptation: The layer between descriptors and search.
        search: First stage and its codes.
        reading: Words in photos.
        rerank: Local descriptors on the first results.
        threshold: Score below which an answer is "none of these", as ``ilion poc threshold`` sets it; None as
            long as nobody has set one, so that every search answers.
    """

    name: str = "default"
    seed: Annotated[int, Between(0, 2**32 - 1)] = 0
    trust: tuple[str, ...] = ()
    extraction: ExtractionConfig = field(default_factory=ExtractionConfig)
    adaptation: AdaptationConfig = field(default_factory=AdaptationConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    reading: ReadingConfig = field(default_factory=ReadingConfig)
    rerank: RerankConfig = field(default_factory=RerankConfig)
    threshold: float | None = None

    @classmethod
    def of(cls, config: ExperimentConfig) -> Design:
        """Return the design of an experiment, with what ``auto`` stands for there."""
        config = settle(config)
        shared = {name: getattr(config, name) for name in _SHARED}
        return cls(**shared)

    @classmethod
    def of_run(cls, folder: Path) -> Design:
        """Return the design of a finished run, with what it learnt from its queries as plain numbers.

        A calibrated share differs from one part of the queries to the other; what is served is their median.

        Args:
            folder: Output folder of the run.

        Raises:
            ArtifactError: The folder holds no finished run.
            ConfigError: The results were made elsewhere, so nothing can be asked; or the threshold was set
                for another result.
        """
        plain = read_run(folder)
        design, found = cls._of_run(folder, plain), read_threshold(folder)
        if found is None:
            return design
        if (found["design"], found["fingerprints"]) != (design.digest, plain["provenance"]["fingerprints"]):
            raise ConfigError(
                f"{folder / THRESHOLD}: was set for another result than this run now has; set it again "
                f"(ilion poc threshold {folder}) or delete it"
            )
        return replace(design, threshold=found["threshold"])

    @classmethod
    def without_threshold(cls, folder: Path) -> Design:
        """Return the design of a finished run as `of_run` does, whatever threshold was set for it."""
        return cls._of_run(folder, read_run(folder))

    @classmethod
    def _of_run(cls, folder: Path, plain: Mapping[str, Any]) -> Design:
        design = cls.of(from_dict(ExperimentConfig, plain["provenance"]["config"]))
        model = design.extraction.model
        if model.startswith(("results:", "imported:")):
            raise ConfigError(
                f"{folder}: its {'results' if model.startswith('results:') else 'descriptors'} were made "
                "elsewhere, so no new photo can be described; take a run with a model of its own"
            )
        if design.rerank.fusion == "calibrated":
            share = _median(plain.get("reranking", {}).get("weights", ()), design.rerank.weight)
            design = replace(design, rerank=replace(design.rerank, fusion="score", weight=share))
        if design.reading.fusion == "calibrated":
            share = _median(plain.get("reading", {}).get("weights", ()), design.reading.weight)
            design = replace(design, reading=replace(design.reading, fusion="score", weight=share))
        return design

    def experiment(self, output: Path, artifacts: Path, dataset: DatasetConfig) -> ExperimentConfig:
        """Return settings with which the stages carry out this design.

        A photo that cannot be read is counted instead of ending everything.
        """
        shared = {name: getattr(self, name) for name in _SHARED if name != "extraction"}
        extraction = replace(self.extraction, on_bad_image="skip", refit=False)
        return ExperimentConfig(
            output=str(output), cache=str(artifacts), dataset=dataset, extraction=extraction, **shared
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for `from_plain`."""
        return to_dict(self)

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Design:
        """Build a design from what `as_dict` gave.

        Raises:
            ConfigError: A setting is unknown or of another type.
        """
        return from_dict(cls, values)

    @property
    def digest(self) -> str:
        """Digest of everything but the name."""
        return fingerprint({**self.as_dict(), "name": ""})


_SHARED = ("name", "seed", "trust", "extraction", "adaptation", "search", "reading", "rerank")


def _median(shares: Sequence[float | None], usual: float) -> float:
    known = [share for share in shares if share is not None]
    return float(np.median(known)) if known else usual
