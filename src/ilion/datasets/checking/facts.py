"""Facts about a data set: counts, sizes, and how hard its positives are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ilion.datasets.checking.inspect import Inspection
from ilion.datasets.listing import Listing, Photo, Role
from ilion.datasets.reader import box_share

SHARE_EDGES = (0.06880213760855043, 0.13526567164179104, 0.2729876723163842)
CLUTTER_EDGES = (18.0, 33.0, 53.0)
"""The ILIAS benchmark's bins of object area and of object count: the quartiles of its positives."""
ESTIMATE_EDGES = (0.06, 0.12, 0.18)
"""Bins of the clutter estimate, chosen on the grocery photos: plain product pictures lie around 0.06, shop
shelves between 0.10 and 0.19, other photos between 0.05 and 0.26."""

SIDE_EDGES = (256, 512, 1024, 2048, 4096)
_SHARE_STEPS = (0.02, 0.05, 0.1, 0.2, 0.4)
_SHARE_NAMES = ("tiny", "small", "medium", "large")
_CLUTTER_NAMES = ("plain", "some", "busy", "crowded")


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Five numbers that describe many."""

    lowest: float
    q25: float
    median: float
    q75: float
    highest: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Quantiles | None:
        """Return the quantiles, or None for no values.

        >>> Quantiles.of([1, 2, 3, 4, 5])
        Quantiles(lowest=1.0, q25=2.0, median=3.0, q75=4.0, highest=5.0)
        """
        kept = list(values)
        return cls(*(float(v) for v in np.quantile(kept, (0, 0.25, 0.5, 0.75, 1)))) if kept else None


@dataclass(frozen=True, slots=True)
class Histogram:
    """Number of values in each bin, with one label a bin."""

    labels: tuple[str, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SizeClutter:
    """Numbers of positives by object size and clutter.

    Args:
        measure: ``object count`` (given) or ``clutter estimate``.
        sizes: Labels of the rows, from small to large.
        clutters: Labels of the columns, from plain to crowded.
        counts: One row a size.
        empty: Empty corners of the table, in words.
        unknown: Number of positives with an unknown size or clutter.
    """

    measure: str
    sizes: tuple[str, ...]
    clutters: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    empty: tuple[str, ...]
    unknown: int


@dataclass(frozen=True)
class DatasetFacts:
    """Facts about a data set.

    Args:
        counts: ``objects``, ``image queries``, ``text queries``, ``positives``, ``ignored``, ``distractors``,
            ``tars``, ``photos with boxes``.
        per_object: Number of ``queries`` and ``positives`` of an object.
        longer_side: ``queries``, ``positives``, ``distractors`` -> longer side in pixels.
        formats: Image format -> number of images.
        object_share: Object area as a fraction of the image, of the positives; None without boxes.
        object_share_histogram: The same, as a histogram.
        clutter_estimate: ``queries``, ``positives``, ``distractors`` -> edge density around the objects.
        size_clutter: Table of size and clutter; None if no size is known.
    """

    counts: Mapping[str, int]
    per_object: Mapping[str, Quantiles]
    longer_side: Mapping[str, Histogram]
    formats: Mapping[str, int]
    object_share: Quantiles | None
    object_share_histogram: Histogram | None
    clutter_estimate: Mapping[str, Quantiles]
    size_clutter: SizeClutter | None


class FactsBuilder:
    """Gathers facts image by image, in memory that does not grow with the distractors."""

    def __init__(self) -> None:
        self._sides: dict[str, Counter[int]] = {}
        self._formats: Counter[str] = Counter()
        self._estimates: dict[str, Counter[int]] = {}
        self._positives: list[tuple[float | None, float | None, float | None]] = []
        self._distractors = 0

    def add(self, photo: Photo | None, seen: Inspection) -> None:
        """Take one image; ``photo`` is None for a distractor."""
        self._distractors += photo is None
        if seen.facts is None:
            for view in photo.views if photo else ():
                if view.role == "positive" and view.scale is not None:
                    self._positives.append((view.scale, view.clutter, None))
            return
        group = _group(photo)
        self._formats[seen.facts.format] += 1
        self._sides.setdefault(group, Counter())[int(np.digitize(max(seen.facts.size), SIDE_EDGES))] += 1
        if seen.clutter is not None:
            # Thousandths: exact enough to print, and a thousand counters for any number of images.
            self._estimates.setdefault(group, Counter())[round(seen.clutter * 1000)] += 1
        for view in photo.views if photo else ():
            if view.role == "positive":
                share = view.scale
                if share is None and view.boxes and min(seen.facts.size):
                    share = box_share(view.boxes, *seen.facts.size)
                self._positives.append((share, view.clutter, seen.clutter))

    def finish(self, listing: Listing) -> DatasetFacts:
        """Return the facts; what needs no image comes from the listing."""
        shares = [share for share, _, _ in self._positives if share is not None]
        estimates = {
            g: Quantiles.of(v / 1000 for v in c.elements()) for g, c in sorted(self._estimates.items())
        }
        names = _bin_names(SIDE_EDGES, lambda edge: f"{edge:.0f}")
        return DatasetFacts(
            counts=self._counts(listing),
            per_object=_per_object(listing),
            longer_side={
                group: Histogram(names, tuple(sides[i] for i in range(len(names))))
                for group, sides in sorted(self._sides.items())
            },
            formats=dict(self._formats.most_common()),
            object_share=Quantiles.of(shares),
            object_share_histogram=_histogram(shares, _SHARE_STEPS) if shares else None,
            clutter_estimate={group: q for group, q in estimates.items() if q},
            size_clutter=self._size_clutter() if shares else None,
        )

    def _counts(self, listing: Listing) -> dict[str, int]:
        def photos(role: Role) -> int:
            return sum(any(view.role == role for view in photo.views) for photo in listing.photos)

        return {
            "objects": len(listing.instances),
            "image queries": photos("query"),
            "text queries": len(listing.descriptions),
            "positives": photos("positive"),
            "ignored": photos("ignored"),
            "distractors": self._distractors,
            "tars": len(listing.tars),
            "photos with boxes": sum(bool(photo.boxes) for photo in listing.photos),
        }

    def _size_clutter(self) -> SizeClutter:
        given = any(clutter is not None for _, clutter, _ in self._positives)
        edges = CLUTTER_EDGES if given else ESTIMATE_EDGES
        table = np.zeros((len(SHARE_EDGES) + 1, len(edges) + 1), dtype=int)
        unknown = 0
        for share, count, estimate in self._positives:
            clutter = count if given else estimate
            if share is None or clutter is None:
                unknown += 1
            else:
                table[np.digitize(share, SHARE_EDGES), np.digitize(clutter, edges)] += 1
        sizes, clutters = _SHARE_NAMES, _CLUTTER_NAMES
        empty = tuple(
            f"no {sizes[row]} objects in {clutters[column]} photos"
            for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1))
            if not table[row, column]
        )
        percent = _bin_names(SHARE_EDGES, lambda edge: f"{100 * edge:.0f}%")
        amounts = _bin_names(edges, lambda edge: f"{edge:.0f}" if given else f"{edge:.2f}")
        return SizeClutter(
            "object count" if given else "clutter estimate",
            tuple(f"{name} ({span})" for name, span in zip(sizes, percent, strict=True)),
            tuple(f"{name} ({span})" for name, span in zip(clutters, amounts, strict=True)),
            tuple(tuple(int(n) for n in row) for row in table),
            empty,
            unknown,
        )


def _group(photo: Photo | None) -> str:
    if photo is None:
        return "distractors"
    return "queries" if photo.is_query else "positives"


def _per_object(listing: Listing) -> dict[str, Quantiles]:
    queries = Counter(v.instance for p in listing.photos for v in p.views if v.role == "query")
    queries.update(text.instance for text in listing.descriptions)
    positives = Counter(v.instance for p in listing.photos for v in p.views if v.role == "positive")
    counted = {"queries": queries, "positives": positives}
    found = {name: Quantiles.of(counter[i] for i in listing.instances) for name, counter in counted.items()}
    return {name: quantiles for name, quantiles in found.items() if quantiles}


def _histogram(values: Sequence[float], edges: Sequence[float]) -> Histogram:
    counts = np.bincount(np.digitize(values, edges), minlength=len(edges) + 1)
    return Histogram(_bin_names(edges, lambda edge: f"{100 * edge:.0f}%"), tuple(int(n) for n in counts))


def _bin_names(edges: Sequence[float], shown: Callable[[float], str]) -> tuple[str, ...]:
    texts = [shown(edge) for edge in edges]
    return (f"under {texts[0]}", *(f"{a} to {b}" for a, b in pairwise(texts)), f"{texts[-1]} up")
