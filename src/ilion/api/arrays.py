"""Search and judge photos and arrays in a notebook, by the same functions as a run.

Photos are named: by the keys of a dict, by their path, or, arrays in a list, by their number ("0", "1" ...).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ilion.config import ExperimentConfig, ExtractionConfig, from_dict
from ilion.config.experiment import check_parts
from ilion.errors import ArtifactError, ConfigError, ExtractionError, ImageError
from ilion.evaluation import evaluate as evaluation
from ilion.evaluation.average_precision import Definition, Ties
from ilion.evaluation.truth import axes_from_ids, truth_from_ids, truth_of
from ilion.outcome import Evaluation, RunResult
from ilion.pipeline import Pipeline
from ilion.storage import DescriptorSet
from ilion.storage.runs import read_run
from ilion.types import (
    RGB,
    Descriptors,
    FileSource,
    Float32,
    GroundTruth,
    ImageRecord,
    LocalFeatures,
    MemorySource,
    Ranking,
    RetrievalDataset,
    Shard,
    Value,
    Where,
)
from ilion.wording import counted

if TYPE_CHECKING:
    from ilion.descriptors.base import Extractor
    from ilion.reranking.base import Scorer
    from ilion.reranking.shortlist import Fusion

Photo = Where | RGB | ImageRecord
"""A file, a decoded image (H, W, 3) RGB uint8, or a record of a data set."""
Photos = Mapping[str, Photo] | Iterable[Photo] | RetrievalDataset
"""Photos by id or in order; a data set stands for the photos of its database."""
Locals = Mapping[str, Photo | LocalFeatures] | Iterable[Photo | LocalFeatures] | RetrievalDataset
BoxUse = Literal["crop", "none"]


@dataclass(frozen=True)
class Model(Value):
    """A global model, for photos and arrays.

    Args:
        extractor: Extractor of the descriptors.
        seed: Seed of what it learns.
    """

    extractor: Extractor
    seed: int = 0

    def fit(self, photos: Photos) -> Model:
        """Let the model learn from photos of the database, if it is one that learns (as ``default`` does).

        Args:
            photos: Photos or a data set; as many are drawn as a run looks at.

        Returns:
            This model.
        """
        from ilion.datasets.shards import RecordShard
        from ilion.descriptors.base import Fittable
        from ilion.extraction.describe import sample_records
        from ilion.extraction.images import load_image

        if isinstance(self.extractor, Fittable):
            if not isinstance(photos, RetrievalDataset):
                shards: Sequence[Shard] = [RecordShard("photos", tuple(_records(photos)))]
            else:
                shards = photos.database
            sample = sample_records(shards, ExtractionConfig().fit_images, self.seed)
            spec = self.extractor.spec
            self.extractor.fit((load_image(record, spec) for record in sample), self.seed)
        return self

    def describe(
        self, photos: Photos, *, box_use: BoxUse = "none", dtype: Literal["float32", "float16"] = "float32"
    ) -> Descriptors:
        """Describe photos.

        Args:
            photos: Photos or a data set.
            box_use: ``crop`` describes only what the boxes of records hold, as a run does with queries.
            dtype: Type of the values; a run stores those of its database in float16.

        Raises:
            ImageError: A photo cannot be read.
            ExtractionError: The model has to learn first; see `fit`.
        """
        from ilion.extraction.images import describe_images

        return describe_images(_records(photos), self.extractor, box_use=box_use, dtype=dtype)[0]

    def describe_texts(self, texts: Mapping[str, str] | Sequence[str]) -> Descriptors:
        """Describe texts in the space of the photos.

        Args:
            texts: Texts by id, or in order.

        Raises:
            ExtractionError: The model reads no texts.
        """
        from ilion.descriptors.base import TextExtractor

        if not isinstance(self.extractor, TextExtractor):
            raise ExtractionError(
                f"{self.extractor.spec.name} reads no texts; 'ilion models --text' lists models that do"
            )
        named = texts if isinstance(texts, Mapping) else {str(n): text for n, text in enumerate(texts)}
        return Descriptors(tuple(named), self.extractor.extract_text(list(named.values())))


def load_model(model: str | Extractor = "default", *, seed: int = 0, **settings: object) -> Model:
    """Load a global model.

    Args:
        model: Name of a model, as ``ilion models`` lists them, or an object with ``spec`` and ``extract``.
        seed: Seed of what it learns, and of weights that are not loaded.
        settings: Settings of the section ``extraction`` of an experiment, such as ``side`` or ``device``; and
            ``trust``, the modules and files of your own that a name may stand for.

    Raises:
        ConfigError: The model or a setting is unknown, or an object has settings.
        MissingExtraError: The model needs an extra that is not installed.

    >>> load_model("rootsift-vlad").extractor.spec.dim
    16384
    """
    from ilion.descriptors.base import Extractor
    from ilion.pipeline.stages.model import extractor_of

    if not isinstance(model, str):
        if settings or not isinstance(model, Extractor):
            raise ConfigError(
                f"a model of your own has 'spec' and 'extract' and no settings, not {model!r:.80}"
            )
        return Model(model, seed)
    config = _config("extraction", {"model": model, **settings}, seed)
    return Model(extractor_of(config.extraction, seed), seed)


def describe_local(
    photos: Photos, features: str = "rootsift", **settings: object
) -> dict[str, LocalFeatures]:
    """Describe photos by local features, for `rerank`.

    Args:
        photos: Photos or a data set.
        features: Name of the local features.
        settings: Further settings of the section ``rerank`` of an experiment, such as ``keypoints``.
    """
    from ilion.pipeline.stages.plan_rerank import plan_local

    plan = plan_local(_config("rerank", {"features": features, **settings}))
    records = _records(photos)
    return dict(zip((r.id for r in records), _describe_local(records, plan.extractor), strict=True))


def search(
    queries: Descriptors | Float32 | Where,
    database: Descriptors | DescriptorSet | Float32 | Where,
    k: int = 1000,
    *,
    threads: int = 0,
    device: str = "cpu",
) -> Ranking:
    """Rank a database for every query by inner product, exactly.

    Args:
        queries: Descriptors, an array (Q, D), or the folder of a run, which stands for its queries.
        database: Descriptors, an array (N, D), or the folder of a run, which stands for its database. Rows
            should be L2-normalised.
        k: Number of results of a query.
        threads: Number of worker threads; 0 means one per core.
        device: ``cpu``, or a device of torch (``cuda``) for the matrix products.

    Raises:
        ArtifactError: Dimensions differ, or a value is not finite.

    >>> search(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)[::-1], k=1).to_dict()
    {'0': {'1': 1.0}, '1': {'0': 1.0}}
    """
    from ilion import searching

    asked, searched = _descriptors(queries, "queries"), _descriptors(database, "database")
    values = np.concatenate([*asked.blocks(65_536), np.empty((0, asked.dim), np.float32)])
    return searching.search(asked.ids, values, searched, k=k, threads=threads, device=device)


def rerank(
    ranking: Ranking,
    queries: Locals,
    database: Locals,
    *,
    scorer: str | Scorer = "geometry",
    shortlist: int = 400,
    fusion: Fusion = "score",
    weight: float = 0.0,
    seed: int = 0,
    **settings: object,
) -> Ranking:
    """Put the first results of every query in a better order by local features.

    Args:
        ranking: Ranking to start from.
        queries: Photos or local features of the queries, with the ids of the ranking.
        database: The same of the database; only those in a shortlist are needed.
        scorer: Name of a scorer, or an object with ``score``.
        shortlist: Number of first results that may change places.
        fusion: ``score`` adds the weighted local score to the similarity; ``rank`` fuses both orders.
        weight: Factor of the local score; 0 means what fits the scorer, 1 for an object.
        seed: Seed of weights that are not loaded.
        settings: Further settings of the section ``rerank`` of an experiment: ``features``, ``keypoints`` ...

    Raises:
        ArtifactError: A photo of a shortlist is not given.
        ConfigError: A setting is unknown, or belongs to stored features only.
    """
    from ilion.pipeline.stages.plan_rerank import plan_local
    from ilion.reranking.shortlist import gather
    from ilion.reranking.shortlist import rerank as fuse

    named = isinstance(scorer, str)
    section = {"features": "rootsift", "scorer": scorer if named else "geometry", "shortlist": shortlist}
    plan = plan_local(_config("rerank", {**section, "weight": weight, **settings}, seed))
    if plan.codec.kind != "raw":
        raise ConfigError("rerank on arrays takes features at full precision: leave out budget and codec")
    rows = np.unique(ranking.indices[:, :shortlist])
    rows = rows[rows >= 0]
    asked = _features(queries, ranking.query_ids, plan.extractor, "crop")
    found = _features(database, [ranking.database_ids[row] for row in rows], plan.extractor)
    evidence = gather(
        ranking,
        asked,
        _Rows(dict(zip(rows.tolist(), found, strict=True))),
        plan.scorer if isinstance(scorer, str) else scorer,
        shortlist=shortlist,
    )
    return fuse(ranking, evidence, fusion=fusion, weight=plan.weight if named else weight or 1.0)


def evaluate(
    ranking: Ranking,
    truth: GroundTruth | RetrievalDataset | Mapping[str, Iterable[str]],
    *,
    instances: Mapping[str, str] | None = None,
    definition: Definition = "ilias",
    k: int = 1000,
    ties: Ties = "rank",
    metrics: Sequence[str] = (),
    bootstrap: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Judge a ranking: mAP@k, recall, R@1 and more, with 95% intervals over objects.

    Args:
        ranking: Results of the queries.
        truth: Positives by query, a ground truth, or a data set, which brings objects and slices too.
        instances: Query id -> the object that it shows; None takes every query for an object of its own.
        definition: ``ilias``, ``trec`` or ``revisited``; see docs/metrics.md.
        k: Cut-off.
        ties: ``rank`` or ``step``; see docs/metrics.md.
        metrics: Further metrics, such as ``P@4``; see docs/metrics.md.
        bootstrap: Samples for the intervals.
        seed: Seed of the samples.

    Raises:
        ArtifactError: The queries of ranking and truth differ.
        DatasetError: A query has no positive.

    >>> ranking = Ranking.from_dict({"q": {"a": 0.9, "b": 0.5, "c": 0.1}})
    >>> evaluate(ranking, {"q": ["b"]}).mean
    0.5
    """
    axes = None
    if isinstance(truth, RetrievalDataset):
        truth, axes = truth_of(truth, ranking.query_ids, ranking.database_ids)
    elif isinstance(truth, Mapping):
        truth = GroundTruth.from_dict(truth)
    if truth.database_ids is not None:
        table = truth.to_dict()
        positives, ignored = (
            {q: tuple(name for name, value in found.items() if value == wanted) for q, found in table.items()}
            for wanted in (1, -1)
        )
        truth = truth_from_ids(truth.query_ids, ranking.database_ids, positives, ignored)
    if instances is not None:
        objects = [instances[query] for query in truth.query_ids]
        axes = axes_from_ids(truth.query_ids, objects, (), dict.fromkeys(truth.query_ids, ()))
    return evaluation.evaluate(
        ranking,
        truth,
        axes,
        definition=definition,
        k=k,
        ties=ties,
        metrics=metrics,
        bootstrap=bootstrap,
        seed=seed,
    )


@dataclass(frozen=True)
class Strip(Value):
    """Pictures of a query and its first results, which a notebook shows.

    Args:
        html: The pictures, as HTML that loads nothing.
    """

    html: str

    def _repr_html_(self) -> str:
        return self.html


def show(results: Ranking | RunResult, query: str, photos: Photos = (), top: int = 10) -> Strip:
    """Show a query and its first results; those of a data set have a green frame if right, else a red one.

    Args:
        results: A run, or a ranking, which needs the photos.
        query: Id of the query.
        photos: The data set of the ranking, or photos of its results and of the query.
        top: Number of results.

    Raises:
        ArtifactError: There is no such query, or a photo is not given.
    """
    from ilion.report.pictures import find_records
    from ilion.report.strip import strip

    ranking, given = (
        (results.ranking, results.dataset) if isinstance(results, RunResult) else (results, photos)
    )
    if query not in ranking.query_ids:
        raise ArtifactError(f"there is no query {query!r}; there are {', '.join(ranking.query_ids[:5])} ...")
    q = ranking.query_ids.index(query)
    rows = ranking.indices[q, : min(top, int(ranking.counts[q]))].tolist()
    ids = [ranking.database_ids[row] for row in rows]
    colours: dict[str, str] = {}
    if isinstance(given, RetrievalDataset):
        known = find_records(given, ids)
        known |= {each.id: each.image for each in given.queries if each.id == query and each.image}
        colours = dict.fromkeys(ids, "red") | dict.fromkeys(given.ignored.get(query, ()), "gray")
        colours |= dict.fromkeys(given.positives[query], "green")
    else:
        known = {record.id: record for record in _records(given)}
    missing = [name for name in ids if name not in known]
    if missing:
        raise ArtifactError(
            f"{counted(len(missing), 'photo is', 'photos are')} not given, "
            f"such as {missing[0]!r}; pass photos=..."
        )
    cells = [(known[query], query, "")] if query in known else []
    cells += [
        (known[name], f"{name} {similarity:.3f}", colours.get(name, ""))
        for name, similarity in zip(ids, ranking.similarities[q].tolist(), strict=False)
    ]
    return Strip(str(strip(cells)))


@dataclass(frozen=True)
class _Rows:
    """Local features by database row."""

    features: Mapping[int, LocalFeatures]

    def many(self, rows: Sequence[int]) -> list[LocalFeatures]:
        return [self.features[row] for row in rows]


def _config(section: str, settings: Mapping[str, object], seed: int = 0) -> ExperimentConfig:
    """Check settings of one section as those of an experiment are checked."""
    top = {key: settings[key] for key in ("trust",) if key in settings}
    inner = {key: value for key, value in settings.items() if key not in top}
    config = from_dict(ExperimentConfig, {"seed": seed, **top, section: inner})
    check_parts(config)
    return config


def _named(photos: Any) -> dict[str, Any]:
    """Return photos or local features by id."""
    if isinstance(photos, RetrievalDataset):
        photos = photos.records()
    if isinstance(photos, Mapping):
        return dict(photos)
    if isinstance(photos, str | Path | np.ndarray):
        raise ConfigError(f"give several photos, as a list or a dict, not {photos!r:.80}")
    named: dict[str, Any] = {}
    for number, photo in enumerate(photos):
        name = str(photo) if isinstance(photo, str | Path) else getattr(photo, "id", str(number))
        if name in named:
            raise ArtifactError(f"photo {name!r} is given twice; ids must be unique")
        named[name] = photo
    return named


def _records(photos: Photos) -> list[ImageRecord]:
    return [_record(name, photo) for name, photo in _named(photos).items()]


def _record(name: str, photo: Photo) -> ImageRecord:
    """Return a photo as the pipeline takes it: arrays are encoded without loss."""
    import cv2

    if isinstance(photo, ImageRecord):
        return ImageRecord(name, photo.source, photo.boxes)
    if isinstance(photo, str | Path):
        return ImageRecord(name, FileSource(Path(photo)))
    if (
        not isinstance(photo, np.ndarray)
        or photo.dtype != np.uint8
        or photo.shape[2:] != (3,)
        or not photo.size
    ):
        seen = f"{photo.dtype} {photo.shape}" if isinstance(photo, np.ndarray) else repr(photo)
        raise ImageError(f"photo {name!r} must be a path or (H, W, 3) RGB uint8, not {seen:.80}")
    _, data = cv2.imencode(".png", photo[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return ImageRecord(name, MemorySource(name, data.tobytes()))


def _describe_local(
    records: Sequence[ImageRecord], extractor: Any, box_use: BoxUse = "none"
) -> list[LocalFeatures]:
    from ilion.extraction.local import describe_local as describe
    from ilion.extraction.recode import full_precision

    found = describe(records, extractor, box_use=box_use)
    return [full_precision(features, extractor.spec.metric) for _, features in found]


def _features(
    photos: Locals, ids: Sequence[str], extractor: Any, box_use: BoxUse = "none"
) -> list[LocalFeatures]:
    """Return the local features of some ids, describing those that are photos."""
    named = _named(photos)
    missing = [name for name in ids if name not in named]
    if missing:
        raise ArtifactError(
            f"{counted(len(missing), 'photo of the ranking is', 'photos of the ranking are')} "
            f"not given, such as {missing[0]!r}"
        )
    found = {name: named[name] for name in ids}
    records = [_record(n, photo) for n, photo in found.items() if not isinstance(photo, LocalFeatures)]
    described = _describe_local(records, extractor, box_use) if records else []
    found |= dict(zip((record.id for record in records), described, strict=True))
    return list(found.values())


def _descriptors(value: Any, part: Literal["queries", "database"]) -> Any:
    """Return descriptors of what stands for them."""
    if isinstance(value, str | Path):
        folder = Path(value)
        config = from_dict(ExperimentConfig, read_run(folder)["provenance"]["config"])
        return getattr(Pipeline(config).extract(), part)
    if isinstance(value, Descriptors | DescriptorSet):
        return value
    values = np.asarray(value, np.float32)
    return Descriptors(tuple(map(str, range(len(values)))), values)
