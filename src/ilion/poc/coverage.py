"""What the photos of a proof of concept cover, cell by cell, and what is still missing."""

from __future__ import annotations

from dataclasses import dataclass

from ilion.poc.cells import CellsOfPhotos, Origin, count_photos
from ilion.poc.sample import LEAST_OBJECTS, Spread
from ilion.poc.settings import PocConfig
from ilion.poc.shots import Precision, ShotList, measure_precision
from ilion.types import RetrievalDataset, Value


@dataclass(frozen=True)
class CellCoverage:
    """One cell.

    Args:
        cell: Name of the cell.
        size: Name of its size; "" where sizes are not told apart.
        clutter: Name of its background; "" where backgrounds are not told apart.
        objects: Number of objects with a photo in it.
        photos: Number of photos in it.
        wanted_objects: Number of objects that the shot list asks for.
        wanted_photos: Number of photos that it asks for.
        lacking: Objects without a photo in it, at most 20.
    """

    cell: str
    size: str
    clutter: str
    objects: int
    photos: int
    wanted_objects: int
    wanted_photos: int
    lacking: tuple[str, ...]


@dataclass(frozen=True)
class Coverage(Value):
    """What the photos cover.

    Args:
        name: Name of the proof of concept.
        objects: Number of objects with a query photo and another one.
        queries: Number of query photos.
        positives: Number of photos that show the objects.
        distractors: Number of photos without them.
        wanted_objects: Number of objects on the shot list.
        wanted_distractors: Number of distractors on it.
        cells: Cells of the plan, then those of photos without known size or clutter.
        without_size: Number of photos of objects without a box or size.
        clutter_origin: Whether clutter was counted, measured, or is not known.
        precision: Precision that so many objects give.
        can_decide: Whether there are enough objects for any interval.
        problems: Kind, file, what is wrong and what to do of every problem of the data set that is an error.
        warnings: Number of its warnings.
    """

    name: str
    objects: int
    queries: int
    positives: int
    distractors: int
    wanted_objects: int
    wanted_distractors: int
    cells: tuple[CellCoverage, ...]
    without_size: int
    clutter_origin: Origin
    precision: Precision
    can_decide: bool
    problems: tuple[tuple[str, str, str, str], ...] = ()
    warnings: int = 0


def cover(
    settings: PocConfig,
    shots: ShotList,
    dataset: RetrievalDataset,
    sorted_photos: CellsOfPhotos,
    distractors: int,
    spread: Spread,
) -> Coverage:
    """Hold the photos of a data set against a shot list.

    Args:
        settings: Settings of the proof of concept.
        shots: The shot list.
        dataset: The data set.
        sorted_photos: Photos of the data set by cell.
        distractors: Number of its distractors.
        spread: Spread over objects.
    """
    photos, objects = count_photos(dataset, sorted_photos)
    names = sorted({query.instance for query in dataset.queries if query.image is not None})
    place = {cell.name: number for number, cell in enumerate(sorted_photos.cells)}
    cells = []
    for shot in shots.shots:
        number = place.get(shot.cell)
        inside = objects[number] if number is not None else set()
        cells.append(
            CellCoverage(
                shot.cell,
                shot.size,
                shot.clutter,
                len(inside),
                photos[number] if number is not None else 0,
                shot.objects,
                shot.objects * shot.photos,
                tuple(name for name in names if name not in inside)[:20],
            )
        )
    planned = {shot.cell for shot in shots.shots}
    for number, each in enumerate(sorted_photos.cells):
        if each.name not in planned and photos[number]:
            named = (each.name, each.size, each.clutter)
            cells.append(CellCoverage(*named, len(objects[number]), photos[number], 0, 0, ()))
    positives = {image for images in dataset.positives.values() for image in images}
    scale = dataset.attributes.get("scale", {})
    return Coverage(
        name=settings.name,
        objects=len(names),
        queries=sum(query.image is not None for query in dataset.queries),
        positives=len(positives),
        distractors=distractors,
        wanted_objects=shots.objects,
        wanted_distractors=shots.distractors,
        cells=tuple(cells),
        without_size=sum(image not in scale for image in positives),
        clutter_origin=sorted_photos.clutter_origin,
        precision=measure_precision(len(names), settings, spread),
        can_decide=len(names) >= LEAST_OBJECTS,
    )
