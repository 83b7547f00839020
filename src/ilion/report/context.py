"""What every section of the report works from, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ilion.outcome import RunResult
from ilion.report.pictures import Pictures
from ilion.report.sections.facts import (
    Chosen,
    Outcome,
    WrongAnswer,
    choose,
    instances_of_rows,
    outcome,
    wrong_answers,
)
from ilion.report.sections.moves import Moves, choose_moves
from ilion.types import ImageRecord
from ilion.wording import Words

TOP = 12
"""Number of results of a query in the gallery."""


@dataclass(frozen=True)
class Selection:
    """The queries and results in the gallery, as positions; see `ilion.report.sections.facts`.

    Args:
        chosen: Worst, typical and best queries.
        wrong: The highest-ranked wrong answers.
        shown: Query -> positions of its results that are shown, in order: the first ones, the last of which
            gives way to the first positive if that is not among them.
        instances: Database row of a wrong answer -> the instance that it shows, where known.
        moves: Results that re-ranking moved; None without it.
    """

    chosen: Chosen
    wrong: tuple[WrongAnswer, ...]
    shown: Mapping[int, tuple[int, ...]]
    instances: Mapping[int, str]
    moves: Moves | None = None


@dataclass(frozen=True)
class Context:
    """The input of a section.

    Args:
        results: The runs; the first is the main one.
        outcome: The main run, query by query.
        selection: Queries and results of the gallery.
        records: Database row -> its record, for all rows that are shown.
        pictures: Thumbnails of the gallery.
        words: The catalogue.
    """

    results: Sequence[RunResult]
    outcome: Outcome
    selection: Selection
    records: Mapping[int, ImageRecord]
    pictures: Pictures
    words: Words

    @property
    def main(self) -> RunResult:
        """The run that the report is about."""
        return self.results[0]


@dataclass(frozen=True)
class Section:
    """A part of the page: the template ``<name>.html.j2``, which sees each item of ``data`` as a variable.

    Args:
        name: Name of the template, and the ``id`` of the section.
        title: Heading, and entry in the contents.
        data: Variables of the template.
    """

    name: str
    title: str
    data: Mapping[str, object] = field(default_factory=dict)


def select(result: RunResult, gallery: int) -> tuple[Outcome, Selection]:
    """Decide what is shown of a run.

    Args:
        result: The main run.
        gallery: Queries in the gallery, and wrong answers.
    """
    facts = outcome(result)
    chosen = choose([f.ap for f in facts.queries], gallery)
    shown = {}
    for i in (*chosen.worst, *chosen.typical, *chosen.best):
        f = facts.queries[i]
        positions = list(range(min(TOP, len(f.rows))))
        first = int(f.hits.argmax()) if f.first_rank else 0
        shown[i] = tuple(positions if first < TOP else [*positions[:-1], first])
    wrong = wrong_answers(facts.queries, gallery)
    rows = {int(facts.queries[w.query].rows[w.position]) for w in wrong}
    moves = choose_moves(result, gallery)
    return facts, Selection(chosen, wrong, shown, instances_of_rows(result, rows), moves)
