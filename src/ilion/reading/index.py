"""An inverted file over what was read: images by their words, as reading and typing get them wrong.

The score of an image for a query is BM25 (Robertson and Zaragoza, 2009) with soft counts. For a term u of
the query and a line l of an image with confidence c(l), let m(u, l) be c(l) times the square of the largest
`likeness(u, t)` over the terms t of l. Then, over the N images,

    tf(u, d) = sum of m(u, l) over the lines l of image d
    df(u)    = sum over images of the largest m(u, l) in them
    idf(u)   = ln(1 + (N - df(u) + 1/2) / (df(u) + r))
    S(q, d)  = sum over u of w(u) idf(u) tf(u, d) (k1 + 1) / (tf(u, d) + k1 (1 - b + b L(d) / mean L))

where w(u) is the weight of the term in the query and L(d) the number of lines. The similarity is S(q, d) as
a share of what an image could get at most from those terms of the query that occur in the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError
from ilion.reading.likeness import EXACT_BELOW, SHARED, likeness, trigrams
from ilion.reading.words import line_terms
from ilion.storage import read_array, read_json, write_array, write_head
from ilion.types import Float32, Float64, Int64, Ranking, TextLine, Value
from ilion.wording import counted

VERSION = 1
"""Raised when the same texts and queries give other scores."""
SATURATION = 1.2
"""k1: how soon more lines with the same word stop to count. The usual value."""
LENGTH_SHARE = 0.75
"""b: how much a photo with many lines is held back. The usual value."""
RARITY = 5.0
"""r: words that a handful of photos hold count alike, because among them are misread ones."""
SHARPNESS = 2.0
"""Exponent of the likeness."""

_ARRAYS = dict.fromkeys(
    ("grams", "gram_starts", "gram_terms", "starts", "lines", "rows", "confidences", "counts"), "iu"
) | {"confidences": "f"}
"""Names of the arrays, and the kind of number in each."""


@dataclass(frozen=True)
class Evidence(Value):
    """What speaks for images, for one query.

    Args:
        rows: (M,) sorted rows of the images that have at least one term of the query.
        scores: (M,) positive S(q, d).
        most: Largest possible S(q, d); 0 if no term of the query occurs.
    """

    rows: Int64
    scores: Float64
    most: float

    @property
    def similarities(self) -> Float64:
        """(M,) scores as shares of the most, (0, 1]."""
        return self.scores / self.most if self.most else self.scores


class _Head(TypedDict):
    images: int
    vocabulary: list[str]


class TextIndex:
    """Finds images by what was read in them.

    Args:
        vocabulary: All terms, sorted.
        arrays: See `build`.
        images: N.
    """

    def __init__(self, vocabulary: Sequence[str], arrays: Mapping[str, NDArray[Any]], images: int) -> None:
        self.vocabulary = vocabulary
        self.images = images
        self._arrays = arrays
        self._number = {term: i for i, term in enumerate(vocabulary)}
        self._mean_lines = max(1.0, float(arrays["counts"].mean())) if images else 1.0

    @classmethod
    def build(cls, images: Iterable[Sequence[TextLine]], *, confidence: float = 0.5) -> TextIndex:
        """Index what was read.

        Args:
            images: Lines of each image, in database order.
            confidence: Lines below it are left out.
        """
        owners: dict[str, list[int]] = {}
        rows: list[int] = []
        confidences: list[float] = []
        counts: list[int] = []
        for row, lines in enumerate(images):
            kept = [line for line in lines if line.confidence >= confidence]
            counts.append(len(kept))
            for line in kept:
                for term in line_terms(line.text):
                    owners.setdefault(term, []).append(len(rows))
                rows.append(row)
                confidences.append(line.confidence)
        vocabulary = sorted(owners)
        keys, terms = trigrams(vocabulary)
        grams, firsts = np.unique(keys, return_index=True)
        arrays: dict[str, NDArray[Any]] = {
            "grams": grams,
            "gram_starts": np.append(firsts, len(keys)).astype(np.int64),
            "gram_terms": terms,
            "starts": np.cumsum([0, *(len(owners[term]) for term in vocabulary)], dtype=np.int64),
            "lines": np.array([line for term in vocabulary for line in owners[term]], np.int64),
            "rows": np.array(rows, np.int64),
            "confidences": np.array(confidences, np.float32),
            "counts": np.array(counts, np.int32),
        }
        return cls(vocabulary, arrays, len(counts))

    @property
    def with_text(self) -> float:
        """Share of the images that have at least one line."""
        return float((self._arrays["counts"] > 0).mean()) if self.images else 0.0

    def save(self, folder: Path) -> None:
        """Store the index; ``index.json`` is written last and makes it count."""
        for name in _ARRAYS:
            write_array(folder / f"{name}.npy", self._arrays[name])
        head = {"images": self.images, "vocabulary": self.vocabulary}
        write_head(folder / "index.json", head, [folder / f"{name}.npy" for name in _ARRAYS])

    @classmethod
    def load(cls, folder: Path) -> TextIndex:
        """Read a stored index into memory.

        Raises:
            ArtifactError: The index is missing or damaged.
        """
        head: _Head = read_json(folder / "index.json", _Head)
        arrays = {name: read_array(folder / f"{name}.npy", (kind, 1)) for name, kind in _ARRAYS.items()}
        terms, postings = len(head["vocabulary"]), len(arrays["lines"])
        if len(arrays["starts"]) != terms + 1 or arrays["starts"][-1] != postings:
            raise ArtifactError(f"{folder}: the parts of the index do not fit together; delete the folder")
        return cls(head["vocabulary"], arrays, head["images"])

    def find_alike(self, asked: str) -> tuple[Int64, Float64]:
        """Return the terms that are like one of a query, and how much.

        Args:
            asked: A normalised term.

        Returns:
            Numbers of terms in the vocabulary, and likeness in (0, 1].
        """
        if len(asked) < EXACT_BELOW:
            equal = [self._number[asked]] if asked in self._number else []
            return np.array(equal, np.int64), np.ones(len(equal))
        grams, starts, terms = (self._arrays[name] for name in ("grams", "gram_starts", "gram_terms"))
        wanted, _ = trigrams([asked])
        at = np.searchsorted(grams, wanted)
        at = at[at < len(grams)][grams[at[at < len(grams)]] == wanted[at < len(grams)]]
        sharing = [terms[starts[i] : starts[i + 1]] for i in at]
        if not sharing:
            return np.empty(0, np.int64), np.empty(0)
        candidates, shared = np.unique(np.concatenate(sharing), return_counts=True)
        candidates = candidates[shared >= SHARED]
        found = likeness(asked, [self.vocabulary[i] for i in candidates])
        return candidates[found > 0], found[found > 0]

    def matches(self, asked: str) -> tuple[Int64, Float64]:
        """Return the lines that hold something like a term: numbers of lines, sorted, and m(u, l) > 0."""
        terms, like = self.find_alike(asked)
        starts, lines = self._arrays["starts"], self._arrays["lines"]
        if not len(terms):
            return np.empty(0, np.int64), np.empty(0)
        spans = [lines[starts[t] : starts[t + 1]] for t in terms]
        found = np.concatenate(spans)
        values = (
            np.repeat(like**SHARPNESS, [len(span) for span in spans]) * self._arrays["confidences"][found]
        )
        order = np.lexsort((-values, found))
        found, values = found[order], values[order]
        first = np.append(True, np.diff(found) > 0)
        return found[first], values[first]

    def count_photos(self, term: str) -> float:
        """Return df(u), the number of images in which a term occurs, each as surely as it was read."""
        lines, values = self.matches(term)
        if not len(lines):
            return 0.0
        _, first = np.unique(self._arrays["rows"][lines], return_index=True)
        return float(np.maximum.reduceat(values, first).sum())

    def rarity(self, df: float) -> float:
        """Return idf(u) of a term by the number of images in which it occurs."""
        return float(np.log(1 + max(0.0, self.images - df + 0.5) / (df + RARITY)))

    def score(self, query: Mapping[str, float]) -> Evidence:
        """Score the images for one query.

        Args:
            query: Terms and their weights, see `ilion.reading.words.query_terms`.
        """
        rows: list[Int64] = []
        gains: list[Float64] = []
        most = 0.0
        for term, weight in sorted(query.items()):
            lines, values = self.matches(term)
            if not len(lines):
                continue
            owners = self._arrays["rows"][lines]
            images, first = np.unique(owners, return_index=True)
            counts = np.add.reduceat(values, first)
            idf = self.rarity(float(np.maximum.reduceat(values, first).sum()))
            length = 1 - LENGTH_SHARE + LENGTH_SHARE * self._arrays["counts"][images] / self._mean_lines
            rows.append(images)
            gains.append(weight * idf * counts * (SATURATION + 1) / (counts + SATURATION * length))
            most += weight * idf * (SATURATION + 1)
        if not rows:
            return Evidence(np.empty(0, np.int64), np.empty(0), 0.0)
        images, where = np.unique(np.concatenate(rows), return_inverse=True)
        scores = np.bincount(where, np.concatenate(gains)).astype(np.float64)
        return Evidence(images, scores, most)


def search_texts(
    query_ids: Sequence[str],
    queries: Sequence[Mapping[str, float]],
    database_ids: Sequence[str],
    index: TextIndex,
    *,
    k: int,
    progress: Callable[[int, int], None] | None = None,
) -> Ranking:
    """Rank the database by what was read, for every query.

    Args:
        query_ids: Q ids.
        queries: Terms and weights of each.
        database_ids: N ids, in the order of the index.
        index: Index of the database.
        k: Results a query, at most N.
        progress: Callback that receives the number of queries done and of all queries.

    Returns:
        Images without any evidence follow with similarity 0, in row order.

    Raises:
        ArtifactError: The index is of another database.
    """
    if index.images != len(database_ids):
        raise ArtifactError(
            f"the index holds {counted(index.images, 'image')}, the database {len(database_ids)}"
        )
    k = min(k, len(database_ids))
    indices = np.empty((len(queries), k), np.int64)
    similarities = np.zeros((len(queries), k), np.float32)
    for q, query in enumerate(queries):
        found = index.score(query)
        values: Float32 = found.similarities.astype(np.float32)
        best = np.lexsort((found.rows, -values))[:k]
        rest = np.setdiff1d(np.arange(min(len(database_ids), k + len(best))), found.rows[best])
        indices[q] = np.concatenate([found.rows[best], rest])[:k]
        similarities[q, : len(best)] = values[best]
        if progress:
            progress(q + 1, len(queries))
    return Ranking(
        tuple(query_ids), tuple(database_ids), indices, similarities, np.full(len(queries), k, np.int64)
    )
