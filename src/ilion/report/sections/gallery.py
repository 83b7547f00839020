"""The gallery: queries with their results, and the highest-ranked wrong answers."""

from __future__ import annotations

from dataclasses import dataclass

from ilion.report.context import Context, Section
from ilion.report.pictures import Picture
from ilion.report.sections.facts import QueryFacts
from ilion.types import Box


@dataclass(frozen=True)
class Tile:
    """One picture of the gallery.

    Args:
        picture: The picture.
        boxes: Drawn on it, in its full-size pixels.
        kind: ``hit``, ``miss``, ``ignored`` or ``query``.
        rank: 1-based; 0 takes no rank.
        similarity: Written for people.
        description: Text for people who do not see it.
        further: Whether results are left out before this one.
    """

    picture: Picture
    boxes: tuple[Box, ...]
    kind: str
    rank: int
    similarity: str
    description: str
    further: bool = False


@dataclass(frozen=True)
class Card:
    """A query of the gallery with its results."""

    facts: QueryFacts
    query: Tile | None
    lines: tuple[str, ...]
    results: tuple[Tile, ...]


@dataclass(frozen=True)
class Mistake:
    """A query and a wrong answer to it, side by side."""

    facts: QueryFacts
    query: Tile | None
    answer: Tile
    shows: str


def gallery_section(context: Context) -> Section:
    """Show the worst, typical and best queries and the highest-ranked wrong answers."""
    words, chosen = context.words, context.selection.chosen
    groups = [
        (words(f"gallery.{name}"), [_card(context, i) for i in positions])
        for name, positions in (("worst", chosen.worst), ("typical", chosen.typical), ("best", chosen.best))
        if positions
    ]
    mistakes = []
    for wrong in context.selection.wrong:
        facts = context.outcome.queries[wrong.query]
        instance = context.selection.instances.get(int(facts.rows[wrong.position]))
        shows = words("gallery.wrong_shows", name=instance) if instance else words("gallery.wrong_unlabelled")
        answer = result_tile(context, facts, wrong.position)
        mistakes.append(Mistake(facts, query_tile(context, facts), answer, shows))
    return Section("gallery", words("gallery.title"), {"groups": groups, "mistakes": mistakes})


def _card(context: Context, number: int) -> Card:
    words, k = context.words, context.outcome.k
    facts = context.outcome.queries[number]
    first = (
        words("gallery.first_rank", rank=facts.first_rank)
        if facts.first_rank
        else words("gallery.first_none", k=k)
    )
    lines = (
        words("gallery.precision", value=words.percent(facts.ap, 1)),
        first,
        words("gallery.found", hits=len(facts.hit_ranks), count=facts.positives, k=k),
    )
    positions = context.selection.shown[number]
    tiles = tuple(
        result_tile(context, facts, position, further=position > order)
        for order, position in enumerate(positions)
    )
    return Card(facts, query_tile(context, facts), lines, tiles)


def query_tile(context: Context, facts: QueryFacts) -> Tile | None:
    """Return the picture of an image query."""
    image = facts.query.image
    if image is None:
        return None
    description = context.words("gallery.query_picture", name=facts.query.instance)
    return Tile(context.pictures[image], image.boxes, "query", 0, "", description)


def result_tile(context: Context, facts: QueryFacts, position: int, further: bool = False) -> Tile:
    """Return the picture of a result."""
    record = context.records[int(facts.rows[position])]
    rank, hit = int(facts.ranks[position]), bool(facts.hits[position])
    kind = "hit" if hit else "miss" if rank else "ignored"
    similarity = context.words.number(float(facts.similarities[position]), 3)
    description = context.words(f"gallery.result_{kind}", rank=rank, similarity=similarity, id=record.id)
    boxes = record.boxes if hit else ()
    return Tile(context.pictures[record], boxes, kind, rank, similarity, description, further)
