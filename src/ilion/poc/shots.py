"""The shot list as data: how many objects and photos each cell of size and clutter needs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ilion.evaluation.intervals import TAIL
from ilion.poc.sample import (
    LEAST_OBJECTS,
    Spread,
    detectable,
    half_width,
    objects_for_power,
    objects_for_width,
)
from ilion.poc.settings import GoalConfig, PocConfig, range_of
from ilion.types import Value


@dataclass(frozen=True)
class Shot:
    """One cell of the shot list.

    Args:
        cell: Name, such as ``small/crowded``.
        size: Name of the size, such as ``small``.
        clutter: Name of the background, such as ``crowded``.
        size_range: Share of the photo's area that the object takes, from and to.
        side_range: The same as the side of a square object, as a share of the photo's shorter side (3:4),
            from and to.
        clutter_range: Number of things on the photo, from and to (infinity is open).
        objects: Number of objects to photograph.
        photos: Number of photos of each of them.
        share: Share of the searches, [0, 1].
    """

    cell: str
    size: str
    clutter: str
    size_range: tuple[float, float]
    side_range: tuple[float, float]
    clutter_range: tuple[float, float]
    objects: int
    photos: int
    share: float


@dataclass(frozen=True)
class Precision:
    """What a number of objects gives, in a cell; fractions.

    Args:
        objects: Number of objects.
        width: Half the width of the 95% interval of one design's gain over all searches.
        cell_width: The same in one cell of the decision table, where all intervals hold at once.
        detects: Smallest true gain over the break-even that is shown with the wanted power.
    """

    objects: int
    width: float
    cell_width: float
    detects: float


@dataclass(frozen=True)
class ShotList(Value):
    """The whole list, in ``shots.json``.

    Args:
        name: Name of the proof of concept.
        language: ``en`` or ``ja``.
        shots: One a cell.
        objects: Number of objects in all (each is photographed in every cell).
        queries: Number of clean query photos of each object.
        distractors: Number of photos without any of the objects.
        photos: Number of photos in all, without distractors.
        needed: Number of objects that the wish needs, which may be more than ``objects``.
        wanted: Half width wanted.
        planned: Precision that ``objects`` give.
        ladder: Precision that other numbers give: "for 5 points 84 objects; with your 20 you get 11".
        spread: Standard deviation over objects that the numbers come from.
        spread_from: ``prior``, or ``pilot`` with the run's folder.
    """

    name: str
    language: str
    shots: tuple[Shot, ...]
    objects: int
    queries: int
    distractors: int
    photos: int
    needed: int
    wanted: float
    planned: Precision
    ladder: tuple[Precision, ...]
    spread: float
    spread_from: str


def list_shots(settings: PocConfig, spread: Spread) -> ShotList:
    """Say how many objects and photos each cell needs.

    Args:
        settings: Settings of the proof of concept.
        spread: Spread over objects, assumed or of a pilot.
    """
    goal, plan = settings.goal, settings.plan
    needed = needed_objects(goal, spread)
    objects = plan.objects or needed
    total = len(settings.photos.cells)
    shares = settings.photos.shares or (1.0,) * total
    sizes, backgrounds = settings.photos.sizes, settings.photos.backgrounds
    shots = []
    for number, (size, background) in enumerate(settings.photos.pairs):
        low, high = range_of(size, sizes, settings.photos.size_edges, 1.0)
        shots.append(
            Shot(
                settings.photos.cells[number],
                size,
                background,
                (low, high),
                (_side(low), _side(high)),
                range_of(background, backgrounds, settings.photos.clutter_edges, math.inf),
                objects,
                plan.photos,
                shares[number] / sum(shares),
            )
        )
    ladder = sorted({10, 20, 40, 80, 160, 320, needed, objects})
    return ShotList(
        name=settings.name,
        language=settings.language,
        shots=tuple(shots),
        objects=objects,
        queries=plan.queries,
        distractors=plan.distractors,
        photos=objects * (plan.queries + total * plan.photos),
        needed=needed,
        wanted=goal.width,
        planned=measure_precision(objects, settings, spread),
        ladder=tuple(measure_precision(number, settings, spread) for number in ladder),
        spread=spread.over_all,
        spread_from=spread.origin,
    )


def measure_precision(objects: int, settings: PocConfig, spread: Spread) -> Precision:
    """Return what a number of objects gives; too few of them give nothing (1).

    Args:
        objects: Number of objects.
        settings: Settings of the proof of concept.
        spread: Spread over objects.
    """
    if objects < LEAST_OBJECTS:
        return Precision(objects, 1.0, 1.0, 1.0)
    goal = settings.goal
    comparisons = (len(settings.photos.cells) + 1) * (len(settings.designs.names) - 1)
    return Precision(
        objects,
        min(half_width(spread.over_all, objects), 1.0),
        min(half_width(spread.cell, objects, TAIL / comparisons), 1.0),
        detectable(goal.gain, spread.over_all, objects, goal.power),
    )


def needed_objects(goal: GoalConfig, spread: Spread) -> int:
    """Return the number of objects that the wanted width and power need, over all searches."""
    by_width = objects_for_width(goal.width, spread.over_all)
    return max(by_width, objects_for_power(goal.hoped, goal.gain, spread.over_all, goal.power))


def _side(share: float) -> float:
    """Return the side of a square object as a share of the shorter side of a photo of 4 to 3."""
    return min(math.sqrt(share * 4 / 3), 1.0)
