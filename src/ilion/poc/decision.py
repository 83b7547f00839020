"""What a proof of concept comes to: the plain, versioned content of ``decision.json``.

Every number stands with its interval and with how many objects and photos it is from; every sentence is a
`Statement`, which says whether it may be said, and why not if it may not. Rendering is left to pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from ilion.types import Value

FORMAT = 1
"""Of ``decision.json``."""

Answer = Literal["pays", "does-not-pay", "not-enough-photos"]
"""Verdict about one design in one cell."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval.

    Args:
        value: The estimate; fractions, or money a month.
        low: Lower end; without enough objects the least possible value.
        high: Upper end; without enough objects the largest possible value.
        objects: Number of objects that it is from.
        photos: Number of photos that it is from.
    """

    value: float
    low: float
    high: float
    objects: int
    photos: int


@dataclass(frozen=True)
class CellFigures:
    """One cell of object size and clutter, as photographed.

    Args:
        name: Key, such as ``small/crowded``; ``all`` is every photo, whatever its cell.
        size: Name of the size; "" where sizes are not known or not told apart.
        clutter: Name of the clutter; "" where it is not known or not told apart.
        size_range: Share of the photo that the object takes, from (inclusive) and to (exclusive).
        clutter_range: Clutter, from (inclusive) and to (exclusive), in the unit of ``clutter_source``.
        share: Share of the searches that are for this cell, [0, 1].
        objects: Number of objects photographed in it.
        photos: Number of photos in it.
        planned_objects: Number of objects that the plan asks for.
        planned_photos: Number of photos that the plan asks for.
    """

    name: str
    size: str
    clutter: str
    size_range: tuple[float, float]
    clutter_range: tuple[float, float]
    share: float
    objects: int
    photos: int
    planned_objects: int
    planned_photos: int


@dataclass(frozen=True)
class DesignFigures:
    """One design, and what it costs.

    Args:
        name: Key, such as ``local-4k``.
        settings: Settings that make it, as ``section.key=value``.
        ran: Whether it was run.
        reason: Why it was not run, in English; "" where it was.
        first: Share of searches whose first answer is right (R@1); None where it was not run.
        precision: Mean AP; None where it was not run.
        bytes_per_photo: Stored bytes of a photo.
        ms_per_search: Milliseconds of one search, describing the query included.
        ms_per_photo: Milliseconds to describe a photo.
        monthly_cost: Money a month for storage and machines; None without currency, searches and prices.
        break_even: Gain over the baseline at which it begins to pay, as a fraction of searches: from money
            where all prices are known, else the stated gain worth paying for.
        break_even_from: ``money`` or ``goal``.
        monthly_photos: Number of photos that ``monthly_cost`` is for: those that will be searched, if that is
            stated, else those that were.
        monthly_at_most: Whether it may be less: a search among more photos than were measured is assumed to
            take longer in proportion.
    """

    name: str
    settings: tuple[str, ...]
    ran: bool
    reason: str = ""
    first: Estimate | None = None
    precision: Estimate | None = None
    bytes_per_photo: float = 0.0
    ms_per_search: float = 0.0
    ms_per_photo: float = 0.0
    monthly_cost: float | None = None
    break_even: float = 0.0
    break_even_from: Literal["money", "goal"] = "goal"
    monthly_photos: int = 0
    monthly_at_most: bool = False


@dataclass(frozen=True)
class Verdict:
    """What is known about one design in one cell, against the baseline.

    Args:
        cell: Name of the cell; ``all`` weighs the cells by their share of the searches.
        design: Name of the design.
        against: Name of the baseline.
        baseline: The measure with the baseline.
        value: The measure with the design.
        gain: Paired difference; its interval holds for all cells and designs of the table at once.
        answer: ``pays``: the interval lies above the break-even. ``does-not-pay``: it lies below.
            ``not-enough-photos``: the break-even lies in it, or there are too few objects for any interval.
        more_objects: About how many further objects would settle it if the gain is as it seems; 0 where it is
            settled or where no number would.
    """

    cell: str
    design: str
    against: str
    baseline: Estimate
    value: Estimate
    gain: Estimate
    answer: Answer
    more_objects: int


@dataclass(frozen=True)
class MoneyLine:
    """Money a month that a design changes against the baseline; positive is good.

    Args:
        design: Name of the design.
        finds: Value of the further right first answers.
        wrong_picks: Value of wrong picks and lost minutes that are spared.
        storage: Change of the price of memory and disk, negative where it is dearer.
        machines: Change of the price of processor time, negative where it is dearer.
        net: Sum, with the interval that comes from the gain.
    """

    design: str
    finds: Estimate
    wrong_picks: Estimate
    storage: float
    machines: float
    net: Estimate


@dataclass(frozen=True)
class Money:
    """The decision in money.

    Args:
        currency: As the user named it; "" where none is named.
        missing: Settings of ``poc.toml`` without which nothing is said in money, such as ``money.find``.
        lines: One line a design that was run, but the baseline; empty where something is missing.
    """

    currency: str
    missing: tuple[str, ...]
    lines: tuple[MoneyLine, ...] = ()


@dataclass(frozen=True)
class Statement:
    """A sentence of the decision as data: pages put it into words by its kind.

    Args:
        kind: Kind of statement. ``recommend`` (design, against, first, before, gain), ``stay`` (design: the
            baseline, rivals), ``change-share`` (cells, share with low and high, cheaper, dearer),
            ``change-gain`` (design, gain, break_even), ``pays-in`` (design, cells), ``fails-in`` (design,
            cell, first), ``costs`` (design, bytes_per_photo, ms_per_search, monthly_cost, monthly_photos,
            monthly_at_most, currency, searched), ``next`` (objects, design; cell, where it is about one;
            settles: whether so many settle it, or only give an interval), ``plan`` (objects, width, have,
            have_width), ``equal-risk`` (design, against, risk, found, before, gain).
        said: Whether the numbers carry it.
        withheld: Why it is not said, as a key: ``few-objects``, ``not-settled``, ``not-run``, ``no-prices``,
            ``no-cells``, ``no-difference``, ``far`` (takes many times the objects); "" where it is said.
        values: Numbers, names and estimates of the sentence, by the names above.
        text: The sentence in English.
    """

    kind: str
    said: bool
    withheld: str
    values: Mapping[str, Any]
    text: str


@dataclass(frozen=True)
class Decision(Value):
    """The whole of ``decision.json``.

    Args:
        name: Name of the proof of concept.
        language: ``en`` or ``ja``.
        measure: ``R@1`` or ``AP``: what verdicts are about.
        confidence: Confidence of the intervals, 0.95.
        objects: Number of objects.
        queries: Number of query photos.
        positives: Number of photos that show the objects.
        database: Number of photos searched.
        gain: Gain worth paying for, a fraction.
        searches_a_day: Searches a day; 0 where it is not known.
        clutter_source: ``counted``, ``measured`` (see `ilion.poc.clutter`) or ``unknown``.
        cells: Cells with photos, then ``all``.
        designs: Designs in order of their cost, those that were not run too.
        baseline: Name of the design that the others are compared with.
        verdicts: One a cell and design that was run, but the baseline; those of ``all`` last.
        money: The same in money.
        recommendation: ``recommend`` or ``stay``, or ``plan`` (said) where nothing may be recommended.
        change: Least change that would change the decision: ``change-share`` or ``change-gain``.
        statements: Further sentences.
        spreads: Standard deviations over objects that a further plan can take: ``cell`` and ``all``, of the
            gain of the best design; empty where there are too few objects, or none differs.
        threshold: Part of "none of these"; None where it was not made.
        lookalikes: Part of look-alikes; None where it was not made.
        stages: Stage plan; None where it was not made.
    """

    name: str
    language: str
    measure: str
    confidence: float
    objects: int
    queries: int
    positives: int
    database: int
    gain: float
    searches_a_day: float
    clutter_source: str
    cells: tuple[CellFigures, ...]
    designs: tuple[DesignFigures, ...]
    baseline: str
    verdicts: tuple[Verdict, ...]
    money: Money
    recommendation: Statement
    change: Statement
    statements: tuple[Statement, ...] = ()
    spreads: Mapping[str, float] = field(default_factory=dict)
    threshold: Any = None
    lookalikes: Any = None
    stages: Any = None


def to_plain(value: Any) -> Any:
    """Return a value as JSON takes it: dataclasses as tables, tuples as lists, infinite ends as None.

    >>> to_plain(Estimate(0.5, 0.25, float("inf"), 4, 8))
    {'value': 0.5, 'low': 0.25, 'high': None, 'objects': 4, 'photos': 8}
    """
    if is_dataclass(value):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(each) for each in value]
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    return value
