"""How alike a term of a query and a term of an image are, and which terms of a vocabulary are looked at.

Terms are compared after characters that readers confuse have been made one (`unify_shape`); the edits that
this hides count a quarter. Candidates share trigrams, as in Gravano et al., "Approximate string joins in a
database (almost) for free", VLDB 2001: an edit destroys at most three trigrams of a term (four, if it swaps
neighbours), so a term within the forgiven edits shares two with the query's, if that one has no repetitions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ilion.reading.words import CONFUSION, LEAST_PART, LEAST_SHARE, PENALTY, count_forgiven, unify_shape
from ilion.types import Float64, Int64

SHARED = 2
"""Terms are compared if they share so many different trigrams."""
EXACT_BELOW = 4
"""Terms of fewer characters must be equal: an edit makes any of them into any other."""
_BLOCK = 1 << 18
"""Terms whose trigrams are made at once."""
_BITS = 21
"""Of a character."""


def likeness(asked: str, terms: Sequence[str]) -> Float64:
    """Compare a term of a query with terms of images.

    Let d be the edit distance with swaps of neighbours (optimal string alignment) of the terms as they are,
    and d' that of their shapes. If d' is forgiven for the length n of ``asked``, the likeness is
    1 - 2 (d' + (d - d') / 4) / n. If the shape of one lies inside that of the other, it is the share of the
    longer one that the shorter one makes up. The larger of both counts. Below four characters, terms are
    equal or have nothing in common.

    Returns:
        (len(terms),) in [0, 1].

    >>> likeness("ab1234", ["ab1234", "abl234", "ab1243", "xab12345", "cd5678"]).round(3).tolist()
    [1.0, 0.917, 0.667, 0.75, 0.0]
    """
    from rapidfuzz.distance import OSA
    from rapidfuzz.process import cdist

    length = len(asked)
    if length < EXACT_BELOW:
        return np.array([float(term == asked) for term in terms])
    shape, shapes = unify_shape(asked), [unify_shape(term) for term in terms]
    allowed = count_forgiven(length)
    hidden = cdist([shape], shapes, scorer=OSA.distance, score_cutoff=allowed, dtype=np.int32)[0]
    plain = cdist([asked], terms, scorer=OSA.distance, dtype=np.int32)[0]
    edited = np.maximum(0.0, 1 - PENALTY * (hidden + CONFUSION * (plain - hidden)) / length)
    edited[(hidden > allowed) | (np.array([len(term) for term in terms]) < EXACT_BELOW)] = 0
    return np.asarray(np.maximum(edited, [_part(shape, other) for other in shapes]), np.float64)


def _part(one: str, other: str) -> float:
    shorter, longer = sorted((one, other), key=len)
    share = len(shorter) / len(longer)
    return share if len(shorter) >= LEAST_PART and LEAST_SHARE <= share < 1 and shorter in longer else 0.0


def trigrams(terms: Sequence[str]) -> tuple[NDArray[np.uint64], Int64]:
    """Return the different trigrams of the shapes of terms; two marks stand before and after a term.

    Args:
        terms: Not empty strings.

    Returns:
        Keys and positions in ``terms``, sorted by key and position, each pair once.

    >>> keys, owners = trigrams(["abc", "xbc"])
    >>> len(keys), owners[keys == keys[np.flatnonzero(np.diff(keys) == 0)[0]]].tolist()
    (10, [0, 1])
    """
    parts, owners = [], []
    for start in range(0, len(terms), _BLOCK):
        shapes = [unify_shape(term) for term in terms[start : start + _BLOCK]]
        lengths = np.array([len(shape) for shape in shapes], np.int64)
        padded = "".join(f"\x01\x01{shape}\x01\x01" for shape in shapes)
        codes = np.frombuffer(padded.encode("utf-32-le"), np.uint32).astype(np.uint64)
        keys = (codes[:-2] << np.uint64(2 * _BITS)) | (codes[1:-1] << np.uint64(_BITS)) | codes[2:]
        owner = np.repeat(np.arange(len(shapes)), lengths + 4)
        whole = owner[:-2] == owner[2:]
        parts.append(keys[whole])
        owners.append(owner[:-2][whole] + start)
    if not parts:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    keys, owner = np.concatenate(parts), np.concatenate(owners)
    order = np.lexsort((owner, keys))
    keys, owner = keys[order], owner[order]
    first = np.ones(len(keys), bool)
    first[1:] = (np.diff(keys) != 0) | (np.diff(owner) != 0)
    return keys[first], owner[first]
