"""What the photos of an experiment say about its labels: evidence of every kind, each gathered once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from ilion.audit.find import Roles, alike_suspects, label_suspects
from ilion.audit.labels import Asked, Shown, chances_of, weigh_labels
from ilion.audit.suspects import Suspect
from ilion.audit.words import SPEAKS as TELLING_WORDS
from ilion.audit.words import Terms, Words
from ilion.config import ExtractionConfig
from ilion.pipeline.experiment import Experiment
from ilion.pipeline.stages.evidence import (
    MODEL,
    Finds,
    ask_photos,
    ask_queries,
    describe_parts,
)
from ilion.pipeline.stages.model import extractor_of
from ilion.pipeline.stages.photos import Photos
from ilion.pipeline.stages.read import ReadingStage, read
from ilion.reading.words import merge_terms, photo_terms, query_terms
from ilion.report.pictures import find_records
from ilion.types import Box, ImageRecord, RetrievalDataset, TextLine

BELIEVED = 0.3
"""Chance from which on a photo speaks for an object that has no positives."""
SPEAKS = 0.05
"""Chance by verified matches from which on a photo without label is described, too."""
MOST_DESCRIBED = 5000
"""Photos without label that are described."""
WHOLE = 0.5
"""Weight of a word in a photo of which nobody knows where the object stands; it may be of anything in it."""
LEAST_SIDE = 16
"""Pixels below which a part of a photo says nothing."""


@dataclass
class Look:
    """Looks at the photos of one experiment; everything is done once.

    Args:
        experiment: The experiment, searched by local features.
        index: Features of all photos.
        descriptors: Whether a global descriptor is asked.
    """

    experiment: Experiment
    index: Photos
    descriptors: bool

    @cached_property
    def ids(self) -> Sequence[str]:
        """Ids of the database, by row."""
        return self.index.database.ids

    @cached_property
    def dataset(self) -> RetrievalDataset:
        """The data set."""
        return self.experiment.dataset

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The objects."""
        return tuple(sorted({query.instance for query in self.dataset.queries}))

    @cached_property
    def roles(self) -> Roles:
        """Photo -> the objects that it is said to show, with roles."""
        found: dict[str, dict[str, str]] = {}
        for query in self.dataset.queries:
            for role, table in (("ignored", self.dataset.ignored), ("positive", self.dataset.positives)):
                for photo in table.get(query.id, ()):
                    found.setdefault(photo, {})[query.instance] = role
            if query.image is not None:
                found.setdefault(query.image.id, {})[query.instance] = "query"
        return {photo: tuple(sorted(roles.items())) for photo, roles in found.items()}

    @cached_property
    def query_photos(self) -> dict[str, tuple[str, ...]]:
        """Object -> its query photos."""
        found: dict[str, list[str]] = {name: [] for name in self.names}
        for query in self.dataset.queries:
            if query.image is not None and query.image.id not in found[query.instance]:
                found[query.instance].append(query.image.id)
        return {name: tuple(photos) for name, photos in found.items()}

    @cached_property
    def rows(self) -> dict[str, int]:
        """Id -> row, of photos with a role."""
        return {name: row for row, name in enumerate(self.ids) if name in self.roles}

    @cached_property
    def records(self) -> dict[str, ImageRecord]:
        """Id -> record, of photos with a role."""
        found = find_records(self.dataset, [name for name in self.roles if name in self.rows])
        return found | {q.image.id: q.image for q in self.dataset.queries if q.image is not None}

    @cached_property
    def shown(self) -> dict[int, tuple[int, ...]]:
        """Row -> numbers of the objects that it is said to show as a positive."""
        number = {name: n for n, name in enumerate(self.names)}
        found = {
            row: tuple(number[name] for name, role in self.roles[photo] if role == "positive")
            for photo, row in self.rows.items()
        }
        return {row: several for row, several in sorted(found.items()) if several}

    @cached_property
    def believed(self) -> dict[int, tuple[int, Box | None]]:
        """Row -> object and part, of photos without label that the query of an object without positives finds
        so surely that they ask, too: so a new data set needs no label to begin with.
        """
        bare = set(range(len(self.names))).difference(*self.shown.values())
        number = {name: n for n, name in enumerate(self.names)}
        own = {q.id: number[q.instance] for q in self.dataset.queries}
        finds, best = self.by_queries, dict[int, tuple[float, int, Box | None]]()
        for n, place in np.argwhere((finds.chances >= BELIEVED) & (finds.rows >= 0)).tolist():
            row, said = int(finds.rows[n, place]), float(finds.chances[n, place])
            if said > best.get(row, (0.0,))[0]:
                best[row] = said, own[self.index.query_ids[n]], self._part(n, place, None)
        return {
            row: (name, part)
            for row, (_, name, part) in sorted(best.items())
            if name in bare and row not in self.shown
        }

    @cached_property
    def speaking(self) -> dict[int, tuple[int, ...]]:
        """Row -> objects, of the photos that ask: those with labels, then those that are believed."""
        return self.shown | {row: (name,) for row, (name, _) in self.believed.items()}

    @cached_property
    def boxes(self) -> dict[int, tuple[Box, ...]]:
        """Row -> boxes, of photos of objects that have some."""
        return {row: boxes for row in self.shown if (boxes := self.records[self.ids[row]].boxes)}

    @cached_property
    def asking_boxes(self) -> dict[int, tuple[Box, ...]]:
        """Row -> boxes within which a photo asks."""
        found = {row: (part,) for row, (_, part) in self.believed.items() if part is not None}
        return {**self.boxes, **found}

    @cached_property
    def by_queries(self) -> Finds:
        """What the queries found."""
        return ask_queries(self.experiment, self.index)

    @cached_property
    def by_photos(self) -> Finds:
        """What photos of objects found."""
        return ask_photos(self.experiment, self.index, list(self.speaking), self.asking_boxes)

    @cached_property
    def asked(self) -> tuple[Asked, ...]:
        """All that asked: queries, then photos of objects."""
        instances = {query.id: query for query in self.experiment.queries}
        queries = [
            Asked(photo_of(instances[name]), -1, (instances[name].instance,), rows, chances)
            for name, rows, chances in zip(
                self.index.query_ids, self.by_queries.rows, self.by_queries.chances, strict=True
            )
        ]
        photos = [
            Asked(self.ids[row], row, tuple(self.names[n] for n in several), rows, chances)
            for (row, several), rows, chances in zip(
                self.speaking.items(), self.by_photos.rows, self.by_photos.chances, strict=True
            )
        ]
        return (*queries, *photos)

    @cached_property
    def weighed(self) -> Shown:
        """What speaks for pairs of photos and objects."""
        described, queries = self.described
        return weigh_labels(
            self.asked, self.names, self.speaking, described, queries, frozenset(self.believed), self.words
        )

    @cached_property
    def reading(self) -> ReadingStage | None:
        """What was read in the photos; None unless the experiment reads."""
        return None if self.experiment.config.reading.use == "none" else read(self.experiment)

    @cached_property
    def words(self) -> Words | None:
        """The words of what photos of objects show, and of those that may be some; None without reading."""
        stage = self.reading
        if stage is None:
            return None
        number = {name: n for n, name in enumerate(self.names)}
        asked: dict[int, list[Terms]] = {n: [] for n in number.values()}
        sure = self.experiment.config.reading.confidence
        for query in self.dataset.queries:
            if query.text is not None:
                asked[number[query.instance]].append(query_terms(query.text))
            if query.id in stage.photos:
                asked[number[query.instance]].append(photo_terms(stage.photos[query.id].lines, sure))
        parts = self.word_parts(lambda _: True)
        regions = {row: self.boxes.get(row, parts.get(row, ())) for row in {*self.shown, *parts}}
        found = self._found_by_words(stage, [merge_all(terms) for terms in asked.values()])
        photos = self.read_regions({**dict.fromkeys(found, ()), **regions})
        index = stage.index

        @cache
        def alike(term: str) -> list[tuple[str, float]]:
            numbers, like = index.find_alike(term)
            return [(index.vocabulary[n], v) for n, v in zip(numbers.tolist(), like.tolist(), strict=True)]

        return Words(photos, asked, cache(index.count_photos), index.rarity, alike)

    def _found_by_words(self, stage: ReadingStage, asked: Sequence[Terms]) -> list[int]:
        """Return rows in which the words of an object stand, whatever local matches say."""
        row_of = stage.rows_in(self.ids)
        best: dict[int, float] = {}
        for terms in asked:
            found = stage.index.score(terms)
            for row, score in zip(row_of[found.rows].tolist(), found.scores.tolist(), strict=True):
                if row >= 0 and score >= TELLING_WORDS:
                    best[row] = max(best.get(row, 0.0), score)
        return sorted(best, key=lambda row: (-best[row], row))[:MOST_DESCRIBED]

    def read_regions(self, regions: Mapping[int, tuple[Box, ...]]) -> dict[int, Terms]:
        """Return the words read in parts of photos of the database, or in whole ones, by row.

        Args:
            regions: Row -> boxes in pixels, of which any may hold a line; empty for the whole photo.
        """
        stage = self.reading
        if stage is None:
            return {}
        sure = self.experiment.config.reading.confidence
        rows = stage.texts.rows_of(self.ids[row] for row in regions)
        return {
            row: {
                term: weight * (1.0 if boxes else WHOLE)
                for term, weight in photo_terms(lines_in(stage.texts.read(own).lines, boxes), sure).items()
            }
            for (row, boxes), own in zip(regions.items(), rows.tolist(), strict=True)
            if own >= 0
        }

    def word_parts(self, wanted: Callable[[int], bool]) -> dict[int, tuple[Box, ...]]:
        """Return where an object was found in photos, whose words are those of the object; by queries first.

        A photo that asked as a whole says nothing about where its object stands.
        """
        best: dict[int, tuple[bool, float, int, int]] = {}
        speaking = list(self.speaking)
        for by_query, finds in ((True, self.by_queries), (False, self.by_photos)):
            for n, place in np.argwhere((finds.chances >= SPEAKS) & (finds.rows >= 0)).tolist():
                row, said = int(finds.rows[n, place]), (by_query, float(finds.chances[n, place]))
                asks = by_query or speaking[n] in self.asking_boxes
                if asks and wanted(row) and said > best.get(row, (False, 0.0))[:2]:
                    best[row] = *said, n, place
        found = {
            row: self._part(n, place, None if by_query else speaking[n])
            for row, (by_query, _, n, place) in sorted(best.items())
        }
        return {row: (part,) for row, part in found.items() if part is not None}

    @cached_property
    def described(
        self,
    ) -> tuple[dict[int, NDArray[np.float32]], dict[int, list[NDArray[np.float32]]]]:
        """Descriptors of photos of objects and of those that may be some by row, and of the queries by number
        of the object.
        """
        if not self.descriptors:
            return {}, {}
        asked = [self.records[photo] for several in self.query_photos.values() for photo in several]
        wanted = {row: self.records[self.ids[row]] for row in self.shown}
        found = self._describe([*asked, *wanted.values()])
        queries = {
            n: [found[photo] for photo in self.query_photos[name] if photo in found]
            for n, name in enumerate(self.names)
        }
        own = {row: found[record.id] for row, record in wanted.items() if record.id in found}
        return own | self.describe_regions(self.regions(lambda row: row not in self.shown)), queries

    def describe_regions(self, regions: Mapping[int, Box | None]) -> dict[int, NDArray[np.float32]]:
        """Describe parts of photos of the database, or whole ones, by row."""
        records = find_records(self.dataset, [self.ids[row] for row in regions])
        kept = {
            row: replace(records[self.ids[row]], boxes=() if box is None else (box,))
            for row, box in regions.items()
        }
        found = self._describe(list(kept.values()))
        return {row: found[record.id] for row, record in kept.items() if record.id in found}

    def _describe(self, records: Sequence[ImageRecord]) -> Mapping[str, NDArray[np.float32]]:
        extractor = extractor_of(ExtractionConfig(model=MODEL), self.experiment.config.seed)
        return describe_parts(self.experiment, records, extractor)

    def regions(self, wanted: Callable[[int], bool]) -> dict[int, Box | None]:
        """Return where an object may stand in photos that were found.

        Args:
            wanted: Whether a row is asked about.

        Returns:
            Row -> the part in which the surest of those that asked was found; None for the whole photo, in
            data without boxes, whose photos of objects are described as wholes, too. Of the
            `MOST_DESCRIBED` surest ones.
        """
        best: dict[int, tuple[float, int, int, bool]] = {}
        for finds in (self.by_queries, self.by_photos):
            for n, place in np.argwhere((finds.chances >= SPEAKS) & (finds.rows >= 0)).tolist():
                row, said = int(finds.rows[n, place]), float(finds.chances[n, place])
                if wanted(row) and said > best.get(row, (0.0,))[0]:
                    best[row] = said, n, place, finds is self.by_queries
        surest = sorted(best, key=lambda row: (-best[row][0], row))[:MOST_DESCRIBED]
        if self.shown and not self.boxes:
            return dict.fromkeys(sorted(surest))
        speaking, kept = list(self.speaking), frozenset(surest)
        return {
            row: self._part(n, place, None if by_query else speaking[n])
            for row, (_, n, place, by_query) in sorted(best.items())
            if row in kept
        }

    def _part(self, n: int, place: int, asked: int | None) -> Box | None:
        """Return where what a query or a photo of the database (its row) shows lies in a result."""
        if asked is None:
            finds, part = self.by_queries, self.index.queries[n].part
            part, side = Box(0, 0, part.width, part.height), max(part.width, part.height)
        else:
            finds, part = self.by_photos, self._extent(asked)
            side = max(self.index.database.photo(asked).size)
        size = self.index.database.photo(int(finds.rows[n, place])).size
        return moved(part, side, finds.motions[n, place], size)

    def _extent(self, row: int) -> Box:
        """Return the largest box of a photo, or the whole of it."""
        whole = Box(0, 0, *self.index.database.photo(row).size)
        return max(self.asking_boxes.get(row, ()), key=lambda box: box.area, default=whole)

    @cached_property
    def known(self) -> dict[int, str]:
        """Row -> id, of all rows that anything speaks for."""
        return {row: self.ids[row] for row in sorted(set(self.weighed.rows.tolist()))}

    def label_suspects(self) -> list[Suspect]:
        """Return wrong labels and photos that lack one."""
        chances = chances_of(self.weighed)
        return label_suspects(
            self.weighed, chances, self.asked, self.known, self.names, self.roles, self.query_photos
        )

    def alike(self) -> list[Suspect]:
        """Return objects that cannot be told apart."""
        return alike_suspects(self.weighed, self.names, self.known, self.roles, self.query_photos)


def moved(part: Box, side: float, motion: NDArray[np.floating], size: tuple[int, int]) -> Box | None:
    """Return where a part of one photo lies in another one.

    Args:
        part: The part, in pixels.
        side: Longer side of its photo in pixels.
        motion: (6,) between them, in shares of the longer side.
        size: Width and height of the other photo in pixels.

    Returns:
        The upright box around it, cut at the edges; None where next to nothing of it is left.
    """
    a, b, c, d, e, f = np.asarray(motion, np.float64).tolist()
    x = np.array([part.x, part.x + part.width])[[0, 1, 0, 1]] / side
    y = np.array([part.y, part.y + part.height])[[0, 0, 1, 1]] / side
    across, down = (a * x + b * y + c) * max(size), (d * x + e * y + f) * max(size)
    left, right = (float(np.clip(v, 0, size[0])) for v in (across.min(), across.max()))
    top, bottom = (float(np.clip(v, 0, size[1])) for v in (down.min(), down.max()))
    if right - left < LEAST_SIDE or bottom - top < LEAST_SIDE:
        return None
    return Box(left, top, right - left, bottom - top)


def photo_of(query: object) -> str:
    """Return the photo of a query, or the name of one that has none."""
    image = getattr(query, "image", None)
    return image.id if image is not None else str(getattr(query, "id", ""))


def lines_in(lines: Sequence[TextLine], boxes: Sequence[Box]) -> list[TextLine]:
    """Return the lines whose middle lies in any of the boxes; all of them without boxes."""
    if not boxes:
        return list(lines)
    middles = [line.quad.mean(axis=0).tolist() for line in lines]
    return [
        line
        for line, (x, y) in zip(lines, middles, strict=True)
        if any(b.x <= x < b.x + b.width and b.y <= y < b.y + b.height for b in boxes)
    ]


def merge_all(several: Sequence[Terms]) -> Terms:
    """Return the terms of all, each with its largest weight."""
    merged: Terms = {}
    for terms in several:
        merged = merge_terms(merged, terms)
    return merged
