"""What the words in photos say about the objects that they show: those that agree, and those that do not.

A photo is not asked about itself: the words of an object are those of its queries and of its other photos.
Letters: P pairs of a photo and an object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ilion.reading.index import SHARPNESS
from ilion.reading.words import has_digit
from ilion.types import Float64, Value

ALIKE = 0.5
"""Likeness from which on a word of a photo is named as one of its object."""
CODE_ALIKE = 0.9
"""The same of words with a digit: one digit more makes another part, size or year."""
DOUBT = 4
"""Power of the reader's confidence by which a word speaks against an object: it doubts what it made up."""
LEAST_LENGTH = 4
"""Characters below which a word speaks against nothing: of so few, one misread makes another word."""
SPEAKS = 6.0
"""Agreement from which on words alone make a pair of a photo and an object: about two words that are rare."""
NAMED = 8
"""Words that are named to a person."""
Terms = Mapping[str, float]
"""Terms with weights, as `ilion.reading.words.photo_terms` makes them."""


@dataclass(frozen=True, eq=False)
class Words(Value):
    """What was read.

    Args:
        photos: Database row -> terms of the part of the photo that is asked about; empty where nothing was
            read there.
        queries: Number of an object -> terms of each of its query photos and texts.
        count: Returns in how many photos of the database a term occurs.
        rarity: Returns what a term says, by that number.
        alike: Returns the terms of the database that are like one, with likeness in (0, 1].
    """

    photos: Mapping[int, Terms]
    queries: Mapping[int, Sequence[Terms]]
    count: Callable[[str], float]
    rarity: Callable[[float], float]
    alike: Callable[[str], Sequence[tuple[str, float]]]


@dataclass
class Said:
    """What the words of a photo say about an object.

    Args:
        agree: Sum of the weight of the photo's words that the object has.
        strange: Sum of the weight of those that it has not.
        shared: The words that agree, the weightiest first.
        others: The words that do not.
    """

    agree: float = 0.0
    strange: float = 0.0
    shared: list[tuple[float, str]] = field(default_factory=list)
    others: list[tuple[float, str]] = field(default_factory=list)


class Vocabulary:
    """The words of objects, by the photos that are said to show them.

    Args:
        words: Words read in photos of objects and database.
        shown: Database row -> numbers of the objects that it is said to show.
    """

    def __init__(self, words: Words, shown: Mapping[int, Iterable[int]]) -> None:
        self.words = words
        owners: dict[str, dict[int, set[int]]] = {}
        """Term -> object -> photos with it; -1 for a query."""
        for name, several in words.queries.items():
            for terms in several:
                for term in terms:
                    owners.setdefault(term, {}).setdefault(name, set()).add(-1)
        for row, names in shown.items():
            for term in words.photos.get(row, ()):
                for name in names:
                    owners.setdefault(term, {}).setdefault(name, set()).add(row)
        self._owners = owners
        self._alike: dict[str, list[tuple[str, float]]] = {}
        for own in sorted(owners):
            for term, like in words.alike(own):
                self._alike.setdefault(term, []).append((own, like))
        self._weights: dict[str, float] = {}
        self._said: dict[int, dict[int, Said]] = {}
        self._sources: dict[int, set[int]] = {}
        for having in owners.values():
            for name, photos in having.items():
                self._sources.setdefault(name, set()).update(photos)

    def weight(self, term: str) -> float:
        """Return what a term says."""
        if term not in self._weights:
            self._weights[term] = self.words.rarity(self.words.count(term))
        return self._weights[term]

    def has_words(self, name: int, row: int) -> bool:
        """Whether anything was read for an object, by others than a photo itself."""
        sources = self._sources.get(name, set())
        return len(sources) > (row in sources)

    def objects_with(self, term: str, row: int) -> dict[int, float]:
        """Return object -> how surely it has a term, in (0, 1], by others than a photo itself.

        Once in a photo of an object may be a word of what stands beside it; in a query it is none.
        """
        found: dict[int, float] = {}
        for own, like in self._having(term):
            for name, photos in self._owners[own].items():
                many = len(photos) - (row in photos)
                if many:
                    sure = 1.0 if -1 in photos else many / (many + 1)
                    found[name] = max(found.get(name, 0.0), like**SHARPNESS * sure)
        return found

    def compare(self, row: int) -> Mapping[int, Said]:
        """Return object -> what the words of a photo say; of all objects that share a word with it."""
        if row not in self._said:
            terms = self.words.photos.get(row, {})
            having = {term: self.objects_with(term, row) for term in terms}
            names = set().union(*having.values()) if having else set()
            self._said[row] = {name: self._say(terms, having, name) for name in sorted(names)}
        return self._said[row]

    def ask(self, row: int, name: int) -> Said:
        """Return what the words of a photo say about one object, which need not share any."""
        return self.compare(row).get(name) or self._say(self.words.photos.get(row, {}), {}, name)

    def _say(self, terms: Terms, having: Mapping[str, Mapping[int, float]], name: int) -> Said:
        said = Said()
        for term, sure in terms.items():
            weight = self.weight(term)
            share = having.get(term, {}).get(name, 0.0)
            if share:
                said.agree += weight * sure * share
                said.shared.append((weight * sure * share, term))
            elif len(term) >= LEAST_LENGTH:
                against = weight * min(sure, 1.0) ** DOUBT
                said.strange += against
                said.others.append((against, term))
        return said

    def _having(self, term: str) -> list[tuple[str, float]]:
        least = CODE_ALIKE if has_digit(term) else ALIKE
        return [(own, like) for own, like in self._alike.get(term, ()) if like >= least]


def word_pairs(vocabulary: Vocabulary) -> set[tuple[int, int]]:
    """Return the pairs of a photo and an object for which words speak, whatever else does."""
    return {
        (row, name)
        for row in vocabulary.words.photos
        for name, said in vocabulary.compare(row).items()
        if said.agree >= SPEAKS
    }


def weigh_words(
    vocabulary: Vocabulary, pairs: Sequence[tuple[int, int]]
) -> tuple[dict[str, Float64], NDArray[np.bool_]]:
    """Weigh the words of photos for and against objects.

    Args:
        vocabulary: The words of all objects.
        pairs: P rows and numbers of objects.

    Returns:
        ``words``: log (1 + the weight of the photo's words that the object has); ``strange words``: the share
        of those that it has not; ``words rest``: ``words`` of the best other object; all (P,), 0 where
        nothing is known. And (P,) whether something is: words were read both in the photo and for the object.
    """
    numbers = {name: np.zeros(len(pairs)) for name in ("words", "strange words", "words rest")}
    known = np.zeros(len(pairs), bool)
    for n, (row, name) in enumerate(pairs):
        if not vocabulary.words.photos.get(row) or not vocabulary.has_words(name, row):
            continue
        said = vocabulary.ask(row, name)
        others = (other.agree for number, other in vocabulary.compare(row).items() if number != name)
        known[n] = True
        numbers["words"][n] = np.log1p(said.agree)
        numbers["strange words"][n] = said.strange / max(said.agree + said.strange, 1e-9)
        numbers["words rest"][n] = np.log1p(max(others, default=0.0))
    return numbers, known


def named(words: Iterable[tuple[float, str]]) -> tuple[str, ...]:
    """Return the weightiest words, as a person is shown them; parts of one that is shown are left out.

    >>> named([(2.0, "milk"), (5.0, "ab12"), (3.0, "oatmilk")])
    ('ab12', 'oatmilk')
    """
    kept: list[str] = []
    for _, word in sorted(words, key=lambda one: (-one[0], one[1])):
        if not any(word in other for other in kept):
            kept.append(word)
    return tuple(kept[:NAMED])
