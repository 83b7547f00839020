"""Cells of object size and clutter: which photo is in which, and what a design finds in each.

Letters: I objects, C cells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ilion.errors import ImageError
from ilion.evaluation.evaluate import evaluate
from ilion.poc.clutter import measure_clutter
from ilion.poc.settings import Measure, PhotosConfig, range_of
from ilion.types import Axes, Float64, GroundTruth, Int64, Ranking, RetrievalDataset, Value

UNKNOWN = "unknown"
Origin = Literal["counted", "measured", "unknown"]


@dataclass(frozen=True)
class Cell:
    """One cell.

    Args:
        name: Key, such as ``small/crowded``.
        size: Name of the size, or "".
        clutter: Name of the background, or "".
        size_range: From (inclusive) and to (exclusive), shares of the photo.
        clutter_range: From and to, in things counted or as measured.
    """

    name: str
    size: str
    clutter: str
    size_range: tuple[float, float]
    clutter_range: tuple[float, float]


@dataclass(frozen=True)
class CellsOfPhotos(Value):
    """Which photo of an object is in which cell.

    Args:
        cells: C cells in the order of the settings; those without known size or clutter last, where there
            are.
        of_photo: Id of a photo of an object -> number of its cell.
        clutter_origin: Whether clutter was counted, measured, or is not known.
        unreadable: Ids of photos whose clutter could not be measured -> why.
    """

    cells: tuple[Cell, ...]
    of_photo: Mapping[str, int]
    clutter_origin: Origin
    unreadable: Mapping[str, str]


def sort_photos(dataset: RetrievalDataset, settings: PhotosConfig) -> CellsOfPhotos:
    """Sort the positives of a data set into cells.

    Sizes come from boxes, or from the data set's own values. Clutter is taken as counted if at least half of
    the photos have a count, and is measured otherwise; edges of a measured clutter are quantiles of it.
    """
    ids = sorted({image for images in dataset.positives.values() for image in images})
    scale, counted = dataset.attributes.get("scale", {}), dataset.attributes.get("clutter", {})
    sizes = settings.sizes if any(image in scale for image in ids) else ()
    origin: Origin = "unknown"
    clutter: dict[str, float] = {}
    unreadable: dict[str, str] = {}
    edges = settings.clutter_edges
    if settings.backgrounds and ids:
        known = {image: counted[image] for image in ids if image in counted}
        if 2 * len(known) >= len(ids):
            origin, clutter = "counted", known
        else:
            clutter, unreadable = _measure(dataset, set(ids))
            origin = "measured" if clutter else "unknown"
            shares = np.arange(1, len(settings.backgrounds)) / len(settings.backgrounds)
            if clutter:
                edges = tuple(float(v) for v in np.quantile(list(clutter.values()), shares))
    backgrounds = settings.backgrounds if clutter else ()
    of_size = {image: _bin(scale.get(image), settings.size_edges, sizes) for image in ids}
    of_clutter = {image: _bin(clutter.get(image), edges, backgrounds) for image in ids}
    known_cells = [
        (size, background)
        for size in (*sizes, *((UNKNOWN,) if UNKNOWN in of_size.values() else ())) or ("",)
        for background in (*backgrounds, *((UNKNOWN,) if UNKNOWN in of_clutter.values() else ())) or ("",)
    ]
    cells = tuple(
        Cell(
            "/".join(filter(None, pair)) or "all photos",
            *pair,
            range_of(pair[0], sizes, settings.size_edges, 1.0),
            range_of(pair[1], backgrounds, edges, float("inf")),
        )
        for pair in known_cells
    )
    number = {pair: place for place, pair in enumerate(known_cells)}
    return CellsOfPhotos(
        cells, {image: number[of_size[image], of_clutter[image]] for image in ids}, origin, unreadable
    )


def _measure(dataset: RetrievalDataset, wanted: set[str]) -> tuple[dict[str, float], dict[str, str]]:
    found: dict[str, float] = {}
    failed: dict[str, str] = {}
    for record in dataset.records():
        if record.id in wanted:
            try:
                value = measure_clutter(record.source, record.boxes)
            except (ImageError, OSError) as error:
                failed[record.id] = str(error)
                continue
            if value is not None:
                found[record.id] = value
            if len(found) + len(failed) == len(wanted):
                break
    return found, failed


def _bin(value: float | None, edges: Sequence[float], names: Sequence[str]) -> str:
    if not names:
        return ""
    if value is None or np.isnan(value):
        return UNKNOWN
    return names[int(np.searchsorted(edges, value, side="right"))]


@dataclass(frozen=True)
class Outcomes(Value):
    """What one design finds, object by object and cell by cell.

    Args:
        objects: I names.
        values: Measure -> (I, C) mean over the object's queries; NaN where the object has no photo in the
            cell.
        photos: (I, C) number of photos of the object in the cell.
        whole: Measure -> (I,) the same over all photos of the object.
    """

    objects: tuple[str, ...]
    values: Mapping[Measure, Float64]
    photos: Int64
    whole: Mapping[Measure, Float64]


def measure_cells(
    ranking: Ranking,
    truth: GroundTruth,
    instances: Sequence[str],
    sorted_photos: CellsOfPhotos,
    k: int = 1000,
) -> Outcomes:
    """Measure a ranking in each cell: photos of the object in other cells leave the ranking, as in slices.

    Args:
        ranking: The results.
        truth: Ground truth of the ranking.
        instances: Object of each query of the truth.
        sorted_photos: Cells.
        k: Cut-off of AP.
    """
    objects = tuple(dict.fromkeys(instances))
    place = {name: number for number, name in enumerate(objects)}
    ids = ranking.database_ids
    cells_of = [
        np.array([sorted_photos.of_photo.get(ids[row], -1) for row in rows.tolist()], np.int64)
        for rows in truth.positives
    ]
    count = len(sorted_photos.cells)
    values: dict[Measure, Float64] = {name: np.full((len(objects), count), np.nan) for name in ("AP", "R@1")}
    photos = np.zeros((len(objects), count), np.int64)
    for query, name in enumerate(instances):
        seen = np.bincount(cells_of[query][cells_of[query] >= 0], minlength=count)
        photos[place[name]] = np.maximum(photos[place[name]], seen)
    for cell in range(count):
        part = [query for query in range(len(truth)) if (cells_of[query] == cell).any()]
        if part:
            inside = [cells_of[query] == cell for query in part]
            judged = _judge(ranking, truth, part, inside, k)
            for measure, each in judged.items():
                values[measure][:, cell] = _by_object(each, [place[instances[q]] for q in part], len(objects))
    everything = _judge(ranking, truth, list(range(len(truth))), None, k)
    rows = [place[name] for name in instances]
    whole = {measure: _by_object(each, rows, len(objects)) for measure, each in everything.items()}
    return Outcomes(objects, values, photos, whole)


def _judge(
    ranking: Ranking, truth: GroundTruth, part: Sequence[int], inside: Sequence[np.ndarray] | None, k: int
) -> dict[Measure, Float64]:
    at = {query: number for number, query in enumerate(ranking.query_ids)}
    rows = np.array([at[truth.query_ids[query]] for query in part])
    names = tuple(truth.query_ids[query] for query in part)
    some = replace(
        ranking,
        query_ids=names,
        indices=ranking.indices[rows],
        similarities=ranking.similarities[rows],
        counts=ranking.counts[rows],
    )
    kept, passed = [], []
    for number, query in enumerate(part):
        mine = np.ones(len(truth.positives[query]), np.bool_) if inside is None else inside[number]
        kept.append(truth.positives[query][mine])
        passed.append(np.union1d(truth.ignored[query], truth.positives[query][~mine]))
    lost = truth.unreachable[np.array(part)] if inside is None else np.zeros(len(part), np.int64)
    cut = GroundTruth(names, tuple(kept), tuple(passed), lost)
    found = evaluate(some, cut, Axes(names), k=k, metrics=("R@1",), usual=False, bootstrap=1)
    return {"AP": found.per_query, "R@1": found.per_query_metrics["R@1"]}


def _by_object(values: Float64, rows: Sequence[int], objects: int) -> Float64:
    total = np.bincount(rows, weights=values, minlength=objects)
    count = np.bincount(rows, minlength=objects)
    mean: Float64 = np.divide(total, count, out=np.full(objects, np.nan), where=count > 0)
    return mean


def count_photos(
    dataset: RetrievalDataset, sorted_photos: CellsOfPhotos
) -> tuple[Counter[int], list[set[str]]]:
    """Return the photos in each cell, and the objects that have one there."""
    objects: list[set[str]] = [set() for _ in sorted_photos.cells]
    seen: set[tuple[str, str]] = set()
    photos: Counter[int] = Counter()
    for query in dataset.queries:
        for image in dataset.positives[query.id]:
            if (query.instance, image) not in seen:
                seen.add((query.instance, image))
                cell = sorted_photos.of_photo[image]
                photos[cell] += 1
                objects[cell].add(query.instance)
    return photos, objects
