"""What the photos of an experiment say about its labels: evidence of every kind, each gathered once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from ilion.audit.boxes import SMALL, matched_part, misses, share_inside
from ilion.audit.copies import Overlap, Pair, crop_candidates, find_copies, judge_overlap, overlay
from ilion.audit.find import Roles, alike_suspects, copy_suspects, label_suspects
from ilion.audit.labels import Asked, Shown, chances_of, weigh_labels
from ilion.audit.suspects import Suspect
from ilion.config import ExtractionConfig
from ilion.images import decode
from ilion.pipeline.experiment import Experiment
from ilion.pipeline.stages.evidence import (
    MODEL,
    Finds,
    Signatures,
    ask_photos,
    ask_queries,
    ask_rest,
    compare_stored,
    describe_parts,
    sign_photos,
    stored_query,
    vars_of,
)
from ilion.pipeline.stages.model import extractor_of
from ilion.pipeline.stages.photo_models import local_settings
from ilion.pipeline.stages.photos import Photos
from ilion.report.pictures import find_records
from ilion.searching import local
from ilion.types import RGB, Box, ImageRecord, RetrievalDataset

LINES = 40
"""Matches that are kept of a pair."""
SMALL_SET = 10_000
"""Photos up to which distractors ask as well, for what was cut out of one another."""
BELIEVED = 0.3
"""Chance from which on a photo speaks for an object that has no positives."""
SPEAKS = 0.05
"""Chance by verified matches from which on a photo without label is described, too."""
MOST_DESCRIBED = 5000
"""Photos without label that are described."""
LEAST_SIDE = 16
"""Pixels below which a part of a photo says nothing."""
CLOSER = 256
"""Longer side of photos that are laid over each other."""


@dataclass
class Look:
    """Looks at the photos of one experiment; everything is done once.

    Args:
        experiment: The experiment, searched by local features.
        index: Its photos.
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
            Asked(_photo_of(instances[name]), -1, (instances[name].instance,), rows, chances)
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
            self.asked, self.names, self.speaking, described, queries, frozenset(self.believed)
        )

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

    @cached_property
    def signatures(self) -> Signatures:
        """Signatures of database and queries."""
        return sign_photos(self.experiment, workers=self.experiment.config.extraction.workers)

    def copy_suspects(self, training: Sequence[ImageRecord]) -> tuple[list[Suspect], list[str]]:
        """Return photos that are one, and what was left out."""
        signed = self.signatures
        if training:
            signed = sign_photos(self.experiment, training, workers=self.experiment.config.extraction.workers)
            self.signatures = signed
        number = {name: n for n, name in enumerate(signed.ids)}
        pixels = self._pixels({r.id: r for r in training})

        def lay(first: int, second: int) -> Overlap | None:
            return overlay(pixels(signed.ids[first]), pixels(signed.ids[second]))

        pairs, crowded = find_copies(
            signed.digests, signed.codes, signed.mirrored, signed.thumbs, signed.sizes, lay
        )
        notes = []
        if crowded:
            notes.append(f"{crowded} photos are near so many others that not all pairs of them were compared")
        if signed.unreadable:
            notes.append(f"{signed.unreadable} photos could not be read, and were not looked at")
        seen = {(pair.first, pair.second) for pair in pairs}
        for first, second, motion in self._crops():
            if first not in number or second not in number:
                continue
            a, b = number[first], number[second]
            if (min(a, b), max(a, b)) in seen:
                continue
            seen.add((min(a, b), max(a, b)))
            overlap = overlay(pixels(first), pixels(second), motion)
            if overlap is not None and (pair := judge_overlap(a, b, overlap)) is not None:
                pairs.append(_in_order(pair))
        leaked = frozenset(record.id for record in training)
        return copy_suspects(pairs, signed.ids, self.roles, leaked), notes

    def _crops(self) -> Iterable[tuple[str, str, NDArray[np.float64]]]:
        """Yield photos that may be cut out of each other, with the motion from the first to the second."""
        # photos with boxes asked with what is inside, and a crop may show anything of them
        every = len(self.ids) <= SMALL_SET
        rest = list(range(len(self.ids))) if every else list(self.boxes)
        instances = {query.id: query for query in self.experiment.queries}
        parts = [
            (self.by_queries, [_photo_of(instances[name]) for name in self.index.query_ids]),
            (ask_rest(self.experiment, self.index, rest), [self.ids[row] for row in rest]),
        ]
        if not every:
            parts.append((self.by_photos, [self.ids[row] for row in self.speaking]))
        for finds, askers in parts:
            for n in range(len(finds.rows)):
                for place in crop_candidates(finds.inliers[n], finds.motions[n]):
                    row = int(finds.rows[n, place])
                    if row >= 0:
                        motion = finds.motions[n, place].astype(np.float64).reshape(2, 3)
                        if finds is self.by_queries:
                            motion = of_full_photo(motion, self.index.queries[n])
                        yield askers[n], self.ids[row], motion

    def _pixels(self, more: Mapping[str, ImageRecord]) -> _Pixels:
        return _Pixels(self.dataset, {**self.records, **more})

    def box_suspects(self) -> list[Suspect]:
        """Return boxes that miss their object, and queries without one that need one."""
        suspects = []
        row_queries = self._matches_of_queries()
        for query in self.experiment.queries:
            if query.image is None:
                continue
            places = []
            for row, both in row_queries.get(query.id, {}).items():
                places.append(both[:, :2])
                boxes = self.boxes.get(row, ())
                if sure := misses(both[:, 2:], boxes):
                    evidence = {"matches": float(len(both))}
                    both_photos = (self.ids[row], query.image.id)
                    suspects.append(self._box(both_photos, query.instance, sure, evidence, (boxes[0],)))
            if query.image.boxes:
                continue
            spots = self.index.queries[self.index.query_ids.index(query.id)]
            part = matched_part(places, spots.photo_size)
            side = max(spots.part.width, spots.part.height)
            own = spots.frames[:, :2] * side + (spots.part.x, spots.part.y)
            # a clean ground has no features, and needs no box
            if part is not None and part[1] < SMALL and share_inside(own, (part[0],)) < 0.5:
                evidence = {"part": round(part[1], 4)}
                photos = (query.image.id,)
                suspects.append(self._box(photos, query.instance, 1 - part[1] / SMALL, evidence, (part[0],)))
        return suspects

    def _box(
        self,
        photos: tuple[str, ...],
        name: str,
        confidence: float,
        evidence: Mapping[str, float],
        boxes: Sequence[Box],
    ) -> Suspect:
        return Suspect(
            kind="box",
            photos=photos,
            object=name,
            confidence=round(confidence, 4),
            evidence=evidence,
            roles=tuple(self.roles.get(photo, ()) for photo in photos),
            boxes=tuple(tuple(round(v, 1) for v in vars_of(box)) for box in boxes),
        )

    def _matches_of_queries(self, most: int = 5) -> dict[str, dict[int, NDArray[np.float32]]]:
        """Return query -> row of a positive -> (M, 4) places that agree, of the best matched ones."""
        settings = local_settings(self.experiment.config.search.local)
        found: dict[str, dict[int, NDArray[np.float32]]] = {}
        for n, name in enumerate(self.index.query_ids):
            positives = {self.rows[p] for p in self.dataset.positives[name] if p in self.rows}
            rows, inliers = self.by_queries.rows[n], self.by_queries.inliers[n]
            own = [
                (int(i), int(r))
                for i, r in zip(inliers, rows, strict=True)
                if int(r) in positives and i >= 12
            ]
            asked = local.look_up(self.index.queries[n], self.index.words, settings) if own else None
            for _, row in sorted(own, reverse=True)[:most]:
                if asked is not None:
                    found.setdefault(name, {})[row] = compare_stored(self.index, asked, row)[0]
        return found

    def draw(self, suspect: Suspect) -> Suspect:
        """Add the matches between the two photos of a suspect."""
        if len(suspect.photos) < 2 or suspect.relation == "mirrored" or suspect.matches:
            return suspect
        first, second = suspect.photos[:2]
        if first not in self._row_of_any:
            first, second = second, first
        row = self._row_of_any.get(first)
        if row is None:
            return suspect
        asked = self._as_query(second)
        if asked is None:
            return suspect
        places, _ = compare_stored(self.index, asked, row)
        if len(places) > LINES:
            places = places[np.linspace(0, len(places) - 1, LINES).astype(np.int64)]
        if first == suspect.photos[0]:
            places = places[:, [2, 3, 0, 1]]
        lines = tuple(tuple(round(v, 1) for v in line) for line in places.tolist())
        return replace(suspect, matches=lines)

    @cached_property
    def _row_of_any(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.ids)}

    def _as_query(self, photo: str) -> local.LocalQuery | None:
        for n, query in enumerate(self.experiment.queries):
            if query.image is not None and query.image.id == photo:
                settings = local_settings(self.experiment.config.search.local)
                return local.look_up(self.index.queries[n], self.index.words, settings)
        row = self._row_of_any.get(photo)
        if row is None:
            return None
        asked = stored_query(self.index.database.photo(row), self.index.words, self.boxes.get(row, ()))
        return asked if len(asked) else None


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


def of_full_photo(motion: NDArray[np.float64], query: local.QuerySpots) -> NDArray[np.float64]:
    """Return a motion (2, 3) from the full photo of a query in place of the part that was looked at."""
    part, changed = query.part, motion.copy()
    side = max(part.width, part.height)
    changed[:, :2] *= max(query.photo_size) / side
    changed[:, 2] -= motion[:, :2] @ (np.array([part.x, part.y]) / side)
    return changed


def _photo_of(query: object) -> str:
    image = getattr(query, "image", None)
    return image.id if image is not None else str(getattr(query, "id", ""))


def _in_order(pair: Pair) -> Pair:
    if pair.first <= pair.second:
        return pair
    return replace(pair, first=pair.second, second=pair.first)


class _Pixels:
    """Small versions of photos by id, the latest ones kept.

    Args:
        dataset: Where they are.
        known: Id -> record, of those that are known already.
    """

    def __init__(self, dataset: RetrievalDataset, known: dict[str, ImageRecord]) -> None:
        self._dataset, self._known = dataset, known
        self._read = lru_cache(maxsize=512)(self._decode)

    def __call__(self, photo: str) -> RGB:
        """Return a photo with a longer side of about `CLOSER` pixels.

        Raises:
            ImageError: It cannot be read.
        """
        return self._read(photo)

    def _decode(self, photo: str) -> RGB:
        if photo not in self._known:
            # the others are of the database: all records once, which holds their ids and places only
            self._known |= {record.id: record for record in self._dataset.records()}
        return decode(self._known[photo].source.read(), at_least=(CLOSER, 1)).image
