"""What the photos of a proof of concept cover, cell by cell, and what is still missing."""

from __future__ import annotations

from dataclasses import dataclass

from ilion.poc.cells import UNKNOWN, CellsOfPhotos, Origin, count_photos
from ilion.poc.sample import LEAST_OBJECTS, Spread
from ilion.poc.settings import PocConfig
from ilion.poc.shots import Precision, ShotList, measure_precision
from ilion.types import RetrievalDataset, Value


@dataclass(frozen=True)
class CellCoverage:
    """One cell.

    Args:
        cell: Name of the cell.
        objects: Number of objects with a photo in it.
        photos: Number of photos in it.
        wanted_objects: Number of objects that the shot list asks for.
        wanted_photos: Number of photos that it asks for.
        lacking: Objects without a photo in it, at most 20.
    """

    cell: str
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
                len(inside),
                photos[number] if number is not None else 0,
                shot.objects,
                shot.objects * shot.photos,
                tuple(name for name in names if name not in inside)[:20],
            )
        )
    planned = {shot.cell for shot in shots.shots}
    for cell, number in place.items():
        if cell not in planned and photos[number]:
            cells.append(CellCoverage(cell, len(objects[number]), photos[number], 0, 0, ()))
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


def render(found: Coverage) -> str:
    """Return a coverage as text for a terminal."""
    lines = [
        f"{found.name}: {found.objects} of {found.wanted_objects} objects, {found.queries} query photos, "
        f"{found.positives} photos that show them, {found.distractors:,} of {found.wanted_distractors:,} "
        "distractors"
    ]
    lines += [f"  error: {place}: {seen}; {remedy}" for _, place, seen, remedy in found.problems]
    if found.warnings:
        lines.append(f"  {found.warnings} warnings: see 'ilion datasets check'")
    width = max(len(cell.cell) for cell in found.cells) if found.cells else 0
    for cell in found.cells:
        if not cell.wanted_objects:
            said = "size or background not known" if UNKNOWN in cell.cell else "not on the shot list"
        elif cell.objects >= cell.wanted_objects and cell.photos >= cell.wanted_photos:
            said = "complete"
        else:
            said = f"missing: {max(cell.wanted_objects - cell.objects, 0)} objects"
            said += f", {max(cell.wanted_photos - cell.photos, 0)} photos"
        lines.append(f"  {cell.cell:<{width}}  {cell.objects:>4} objects {cell.photos:>5} photos  {said}")
    if found.without_size:
        lines.append(
            f"  {found.without_size} photos have no box, so the size of their object is not known: draw "
            "them, or fill in x, y, width and height in photos.csv"
        )
    if found.clutter_origin == "measured":
        lines.append(
            "  nobody counted the things on the photos: backgrounds are ordered by how many outlines they "
            "show, which is a rough guess; a column 'clutter' in photos.csv is better"
        )
    if found.can_decide:
        lines.append(
            f"  with {found.objects} objects a gain is known to ±{100 * found.precision.width:.0f} points "
            f"over all searches, to ±{100 * found.precision.cell_width:.0f} in one cell"
        )
    else:
        lines.append(
            f"  {found.objects} objects are too few to decide anything: photograph at least {LEAST_OBJECTS}, "
            f"better {found.wanted_objects}"
        )
    return "\n".join(lines)
