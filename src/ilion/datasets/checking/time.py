"""The rule of time: a photo that is older than an object cannot show it.

This is how the ILIAS benchmark knows that none of its 100 million distractors is a positive without a label:
its objects appeared after 2014, the year in which the distractors were collected (Kordopatis-Zilos et al.,
CVPR 2025).

Of every photo all that is claimed about its day counts: a table, its EXIF block, a limit that was declared.
It is older than an object if the last possible day of each claim lies before the first possible day of the
object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from ilion.datasets.listing import Listing, Photo, Problem
from ilion.datasets.names import normal
from ilion.datasets.spans import Span
from ilion.wording import counted

_SHOWN = 5


class Standing(StrEnum):
    """How a photo stands to all objects."""

    OLDER = "older"
    YOUNGER = "younger"
    UNCLEAR = "unclear"
    UNDATED = "undated"


class Source(StrEnum):
    """Where the day of a photo comes from, the most exact first."""

    TABLE = "table"
    PREFIX = "table, many photos at once"
    EXIF = "EXIF"
    DECLARED = "declared limit"
    NONE = "nothing"


@dataclass(frozen=True)
class TimeRule:
    """Limits that somebody vouches for, beside what tables and photos say.

    Args:
        photos_until: Last day on which a distractor was taken; None declares nothing.
        objects_from: First day on which an object was introduced that no table dates; None declares nothing.
    """

    photos_until: date | None = None
    objects_from: date | None = None


ILIAS = TimeRule(date(2014, 12, 31), date(2015, 1, 1))
"""The rule of the benchmark: objects appeared after 2014, in which the distractors were collected."""


@dataclass(frozen=True)
class TimeFacts:
    """What the rule of time says about a data set.

    Args:
        photos: Number of distractors.
        sources: Source of the dates -> standing -> number of distractors.
        objects: Number of objects.
        dated: Number of objects whose day a table says.
        declared: Number of further objects that are covered by a declared limit.
        undated: Names of the objects of which no day is known.
        labelled: Number of photos of objects: for other objects they are distractors too, and are covered by
            their labels, not by days.
    """

    photos: int
    sources: Mapping[Source, Mapping[Standing, int]]
    objects: int
    dated: int
    declared: int
    undated: tuple[str, ...]
    labelled: int

    def count(self, standing: Standing) -> int:
        """Return the number of distractors of a standing, by whatever source."""
        return sum(counts.get(standing, 0) for counts in self.sources.values())

    @property
    def proven(self) -> int:
        """Number of distractors that cannot show any object: 0 while an object has no day."""
        return 0 if self.undated else self.count(Standing.OLDER)


def stand(claims: Iterable[Span], objects: Iterable[Span]) -> Standing:
    """Say how a photo stands to all objects.

    Args:
        claims: Days that are claimed for the photo.
        objects: Days on which the objects were introduced.

    Returns:
        ``older`` than every object; ``younger`` than one of them, or of the same day; ``unclear`` where the
        days overlap; ``undated`` without a claim or an object.

    >>> from ilion.datasets.spans import parse_span
    >>> [str(stand([parse_span(day)], [parse_span("2014-06")])) for day in ("2013", "2014", "2015")]
    ['older', 'unclear', 'younger']
    """
    days, starts = tuple(claims), tuple(objects)
    if not days or not starts:
        return Standing.UNDATED
    if any(day.first >= start.last for day in days for start in starts):
        return Standing.YOUNGER
    first = min(start.first for start in starts)
    return Standing.OLDER if all(day.last < first for day in days) else Standing.UNCLEAR


@dataclass
class TimeCheck:
    """Judges the photos of a data set one by one, in memory that does not grow with them."""

    listing: Listing
    rule: TimeRule
    _counts: dict[Source, Counter[Standing]] = field(default_factory=dict)
    _labelled: int = 0
    _used: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        start = self.rule.objects_from
        self._objects = dict(self.listing.introduced)
        if start is not None:
            span = Span(start, date.max)
            self._objects |= {name: span for name in self.listing.instances if name not in self._objects}
        self._undated = tuple(name for name in self.listing.instances if name not in self._objects)
        self._days = tuple(s for name, s in self._objects.items() if name in set(self.listing.instances))
        self._prefixes = sorted(self.listing.dated_prefixes.items(), key=lambda item: -len(item[0]))

    def judge(
        self, image_id: str, shown: str, photo: Photo | None, taken: tuple[date | None, date | None]
    ) -> Iterator[Problem]:
        """Judge a photo, and yield what is wrong with its day.

        Args:
            image_id: Id of the photo.
            shown: Place of the photo, for messages.
            photo: Label of the photo; None for a distractor.
            taken: Date in the EXIF block, see `ilion.images.taken.read_taken`.
        """
        table, source = self._table_day(image_id)
        exif = _exif_day(*taken)
        if table and exif and exif.first > table.last:
            seen = f"was taken {exif} by its EXIF block and {table} by the table"
            yield Problem("warning", "date-conflict", shown, seen, "correct the table; until then both count")
        if photo is not None:
            self._labelled += 1
            yield from self._too_early(shown, photo, table or exif)
            return
        claims = [day for day in (table, exif) if day]
        if self.rule.photos_until is not None and not table:
            claims.append(Span(date.min, self.rule.photos_until))
        if not table:
            source = Source.EXIF if exif else Source.DECLARED if claims else Source.NONE
        standing = stand(claims, self._days)
        self._counts.setdefault(source, Counter())[standing] += 1
        yield from _problem(shown, claims, standing)

    def finish(self) -> tuple[TimeFacts, list[Problem]]:
        """Return the facts, and what is wrong with the set as a whole."""
        problems: list[Problem] = []
        if self._undated:
            names = ", ".join(map(repr, self._undated[:_SHOWN])) + (", ..." if self._undated[_SHOWN:] else "")
            seen = (
                f"{counted(len(self._undated), 'object has', 'objects have')} no day of "
                f"introduction ({names})"
            )
            remedy = "write it into the column 'introduced' of objects.csv, or into dates.csv"
            problems.append(Problem("error", "object-without-date", ".", seen, remedy))
        if unused := sorted(self.listing.dates.keys() - self._used):
            seen = (
                f"dates {counted(len(unused), 'photo that is', 'photos that are')} not there, "
                f"such as {unused[0]!r}"
            )
            problems.append(
                Problem("warning", "unknown-date", "dates", seen, "correct the ids, or remove the rows")
            )
        every = self.listing.instances
        dated = sum(name in self.listing.introduced for name in every)
        facts = TimeFacts(
            photos=sum(sum(counts.values()) for counts in self._counts.values()),
            sources={s: dict(self._counts[s]) for s in Source if s in self._counts},
            objects=len(every),
            dated=dated,
            declared=len(every) - dated - len(self._undated),
            undated=self._undated,
            labelled=self._labelled,
        )
        return facts, problems

    def _table_day(self, image_id: str) -> tuple[Span | None, Source]:
        name = normal(image_id)
        if (day := self.listing.dates.get(name)) is not None:
            self._used.add(name)
            return day, Source.TABLE
        for prefix, day in self._prefixes:
            if name.startswith(prefix):
                return day, Source.PREFIX
        return None, Source.NONE

    def _too_early(self, shown: str, photo: Photo, day: Span | None) -> Iterator[Problem]:
        for view in photo.views:
            start = self.listing.introduced.get(view.instance)
            if day and start and view.role != "ignored" and day.last < start.first:
                seen = f"was taken {day}, before {view.instance!r} was introduced ({start})"
                remedy = "look whether it shows this object, and whether both days are right"
                yield Problem("warning", "before-its-object", shown, seen, remedy)


def _exif_day(exact: date | None, latest: date | None) -> Span | None:
    if exact is not None:
        return Span(exact, exact)
    return Span(date.min, latest) if latest is not None else None


def _problem(shown: str, claims: Sequence[Span], standing: Standing) -> Iterator[Problem]:
    days = " and ".join(dict.fromkeys(map(str, claims)))
    if standing is Standing.YOUNGER:
        seen, remedy = f"was taken {days}, when an object was there already", "remove it from the distractors"
        yield Problem("error", "younger-than-object", shown, seen, remedy)
    elif standing is Standing.UNCLEAR:
        seen = f"was taken {days}, which may be later than the first object"
        yield Problem("error", "date-unclear", shown, seen, "date photo and objects more exactly")
    elif not claims:
        remedy = "date it in dates.csv (ids may end in *), or declare --photos-until"
        yield Problem("error", "photo-without-date", shown, "nothing says when it was taken", remedy)


def render_time(facts: TimeFacts) -> Iterator[str]:
    """Yield what the rule of time says, line by line."""
    yield "  rule of time: a photo that is older than an object cannot show it"
    stated = f"{facts.dated:,} by a table, {facts.declared:,} by a declared limit"
    yield f"    {counted(facts.objects, 'object')}: {stated}, {len(facts.undated):,} without a day"
    for source, counts in facts.sources.items():
        parts = ", ".join(f"{n:,} {standing}" for standing, n in sorted(counts.items()))
        yield f"    {counted(sum(counts.values()), 'distractor')} dated by {source}: {parts}"
    photos = counted(facts.labelled, "photo of an object is", "photos of objects are")
    yield f"    {photos} covered by labels, not by days"
    unproven = facts.photos - facts.proven
    verdict = "every one is proven" if not unproven else f"{unproven:,} are unproven"
    yield f"    {facts.proven:,} of {counted(facts.photos, 'distractor')} cannot show any object; {verdict}"
