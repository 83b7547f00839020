"""The first stage of a design: prepares a database, takes further queries, ranks.

A run prepares queries and database together and stores both. An index prepares its database once and is then
asked again and again: `FirstStage.ask` describes a query in memory, by the same code, and `FirstStage.rank`
ranks as a run does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ilion.adapt import StoredLayer
from ilion.config import ExperimentConfig
from ilion.descriptors.base import Extractor, TextExtractor
from ilion.errors import ExtractionError
from ilion.extraction.local import describe_local_queries
from ilion.pipeline.experiment import Experiment
from ilion.pipeline.stages.adapt import adapt, adapt_queries
from ilion.pipeline.stages.describe import describe, describe_asked, with_text_tower
from ilion.pipeline.stages.inverted_file import Index, build_index, rank_by_postings
from ilion.pipeline.stages.local_models import asmk_extractor
from ilion.pipeline.stages.photo_models import check_local
from ilion.pipeline.stages.photos import (
    Photos,
    build_photos,
    describe_asked_photos,
    explain_photos,
    locate_photos,
    rank_by_matches,
)
from ilion.pipeline.stages.project import check_projection
from ilion.pipeline.stages.results import Extraction, Prepared
from ilion.pipeline.stages.search import rank_descriptors
from ilion.reranking.base import Explanation
from ilion.runtime.torch import check_device
from ilion.types import Box, Int64, Query, Ranking, Value


@dataclass(frozen=True)
class Ranked(Value):
    """What a first stage says about queries that were asked.

    Args:
        ranking: The ranking.
        points: For each query database row -> number of verified matches, of those that were looked at
            closely; None where no points are compared.
        explain: Function from a query number and a database row to the features, matches and box behind it;
            None where no points are compared.
        locate: Function from a query number and a database row to the box alone, where that is known without
            looking at the pair again.
    """

    ranking: Ranking
    points: tuple[Mapping[int, int], ...] | None = None
    explain: Callable[[int, int], Explanation] | None = None
    locate: Callable[[int, int], Box | None] | None = None


class FirstStage(ABC):
    """Ranks a database by one method, for the queries of an experiment and for any further ones."""

    @property
    def understands_texts(self) -> bool:
        """Whether a query can be a text."""
        return False

    @abstractmethod
    def prepare(self, experiment: Experiment) -> Prepared:
        """Describe database and queries of an experiment, as far as that is not done, and store both."""

    @abstractmethod
    def ask(
        self, experiment: Experiment, prepared: Any, queries: Sequence[Query], companions: Mapping[str, str]
    ) -> Prepared:
        """Return the same database with other queries, which are described in memory.

        Args:
            experiment: Settings.
            prepared: Result of `prepare`.
            queries: The queries; their ids are unique.
            companions: Query id -> text that is asked together with its image.

        Raises:
            ImageError: A query image is unreadable.
            ExtractionError: A query is a text, and the method knows images only.
        """

    @abstractmethod
    def rank(self, experiment: Experiment, prepared: Any, allowed: Int64 | None = None) -> Ranked:
        """Rank the database for every query, in memory.

        Args:
            experiment: Settings.
            prepared: Queries and database.
            allowed: Ascending database rows that may be found; None means all.
        """


class DescriptorStage(FirstStage):
    """Search by global descriptors.

    Args:
        extractor: The model.
        layer: Adaptation layer; None without one.
    """

    def __init__(self, config: ExperimentConfig, extractor: Extractor, layer: StoredLayer | None) -> None:
        self.extractor, self.layer, self._config = extractor, layer, config
        if config.search.projection:  # before any photo is described
            check_projection(config.search, layer.layer.dim_out if layer else extractor.spec.dim)

    def prepare(self, experiment: Experiment) -> Extraction:
        """Describe database and queries, adapted where there is a layer."""
        check_device(self._config.search.device, "search")
        extracted = describe(experiment, self.extractor)
        return adapt(experiment, extracted, self.layer) if self.layer else extracted

    @property
    def understands_texts(self) -> bool:
        """Whether the model, or the one that lends it a text tower, describes texts."""
        return isinstance(self._asked, TextExtractor)

    @cached_property
    def _asked(self) -> Extractor:
        return with_text_tower(self._config, self.extractor)

    def ask(
        self,
        experiment: Experiment,
        prepared: Extraction,
        queries: Sequence[Query],
        companions: Mapping[str, str],
    ) -> Extraction:
        """Return the same database with other queries."""
        described = describe_asked(experiment, self._asked, queries, companions)
        if self.layer:
            described = adapt_queries(described, self.layer)
        return replace(prepared, queries=described)

    def rank(self, experiment: Experiment, prepared: Extraction, allowed: Int64 | None = None) -> Ranked:
        """Rank by inner products, exactly or by short codes."""
        return Ranked(rank_descriptors(experiment, prepared, allowed))


class PostingsStage(FirstStage):
    """Search by visual words (ASMK)."""

    def __init__(self, config: ExperimentConfig) -> None:
        self._extractor = asmk_extractor(config)

    def prepare(self, experiment: Experiment) -> Index:
        """Learn the words, index the database and describe the queries."""
        return build_index(experiment, self._extractor)

    def ask(
        self, experiment: Experiment, prepared: Index, queries: Sequence[Query], companions: Mapping[str, str]
    ) -> Index:
        """Return the same inverted file with other queries."""
        if companions or any(query.image is None for query in queries):
            raise ExtractionError(
                "search.method = 'asmk' compares images by local features, which a text does not have; ask "
                "with a photo alone, or use a design with a model that takes texts"
            )
        general, settings = experiment.config.extraction, experiment.config.search.asmk
        found = describe_local_queries(
            queries,
            self._extractor,
            box_use=general.query_box,
            enlarge=settings.enlarge,
            workers=general.workers,
        )
        ids = tuple(query.id for query in queries)
        return replace(prepared, queries=tuple(found[name] for name in ids), query_ids=ids)

    def rank(self, experiment: Experiment, prepared: Index, allowed: Int64 | None = None) -> Ranked:
        """Search the inverted file."""
        return Ranked(rank_by_postings(experiment, prepared, allowed))


class PhotosStage(FirstStage):
    """Search by local features in one store."""

    def __init__(self, config: ExperimentConfig) -> None:
        check_local(config)  # before any folder is read

    def prepare(self, experiment: Experiment) -> Photos:
        """Describe the photos of database and queries."""
        return build_photos(experiment)

    def ask(
        self,
        experiment: Experiment,
        prepared: Photos,
        queries: Sequence[Query],
        companions: Mapping[str, str],
    ) -> Photos:
        """Return the same postings with other queries."""
        if companions or any(query.image is None for query in queries):
            raise ExtractionError(
                "search.method = 'local' compares photos by local features, which a text does not have; ask "
                "with a photo alone, or use a design with a model that takes texts"
            )
        return replace(
            prepared,
            queries=describe_asked_photos(experiment, queries),
            query_ids=tuple(query.id for query in queries),
        )

    def rank(self, experiment: Experiment, prepared: Photos, allowed: Int64 | None = None) -> Ranked:
        """Search the postings."""
        ranking, evidence = rank_by_matches(experiment, prepared, allowed)
        shown = evidence.rows[:, : evidence.inliers.shape[1]]
        points = tuple(
            {row: count for row, count in zip(rows, counts, strict=True) if row >= 0}
            for rows, counts in zip(shown.tolist(), evidence.inliers.tolist(), strict=True)
        )
        return Ranked(
            ranking, points, explain_photos(experiment, prepared), locate_photos(prepared, evidence)
        )


FIRST: Mapping[str, Callable[[ExperimentConfig], FirstStage]] = {"asmk": PostingsStage, "local": PhotosStage}
"""Methods of search that need no global descriptor; all others compare global descriptors."""
