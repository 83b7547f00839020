"""Numbers of things in English sentences: the one place where a sentence chooses between one and many."""

from __future__ import annotations


def counted(count: int, one: str, other: str = "") -> str:
    """Return a number with what is counted, and what is said of it.

    Args:
        count: The number.
        one: Words after 1, such as ``photo has``.
        other: Words after any other number, such as ``photos have``; by default ``one`` with an s.

    >>> counted(1, "photo"), counted(0, "photo"), counted(1204, "query has", "queries have")
    ('1 photo', '0 photos', '1,204 queries have')
    """
    return f"{count:,} {agree(count, one, other or f'{one}s')}"


def agree(count: int, one: str, other: str) -> str:
    """Return the words that agree with a number which stands before them, as in "1 of 6 queries is missing".

    >>> agree(1, "is", "are"), agree(0, "is", "are")
    ('is', 'are')
    """
    return one if count == 1 else other
