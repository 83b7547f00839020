"""Which words of a query and of a result speak for it, for people to see."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ilion.outcome import ReadPair
from ilion.reading.likeness import likeness
from ilion.reading.words import line_terms, query_terms, tokens

ALIKE = 0.5
"""Words are marked from this likeness on."""


def mark_shared_words(asked: str, lines: Sequence[str]) -> ReadPair:
    """Mark the words of a query that a result has, and those of the result that the query asks for.

    Args:
        asked: The text of the query, or what was read in its photo.
        lines: Read in the result.

    >>> pair = mark_shared_words("the organic MILK", ["Milk 1L", "Best before"])
    >>> pair.asked
    (('the', False), ('organic', False), ('MILK', True))
    >>> pair.lines
    ((('Milk', True), ('1L', False)), (('Best', False), ('before', False)))
    """
    wanted = set(query_terms(asked))
    there = {term for line in lines for term in line_terms(line)}
    return ReadPair(
        tuple((word, _any(set(tokens(word)) & wanted, there)) for word in asked.split()),
        tuple(tuple((word, _asked(word, wanted)) for word in line.split()) for line in lines),
    )


def _any(terms: Collection[str], there: Collection[str]) -> bool:
    return bool(there) and any(likeness(term, sorted(there)).max() >= ALIKE for term in terms)


def _asked(word: str, wanted: Collection[str]) -> bool:
    own = sorted(line_terms(word))
    return bool(own) and any(likeness(term, own).max() >= ALIKE for term in wanted)
