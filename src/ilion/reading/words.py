"""From text to terms: what of a text is looked up, and how alike two terms are.

Everything is pure. A **token** is a run of letters and digits after normalisation; a **code** is a token with
a digit in it, such as a part number; a **join** is two or three neighbouring tokens written as one, because
readers split and merge words, and people write part numbers with and without hyphens.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from ilion.types import TextLine

CODE_WEIGHT = 2.0
"""A part number says more than a word that is as rare."""
CODE_LENGTH = 4
"""A token with a digit counts as a part number from this length on; prices and percentages are shorter."""
EDITS_PER = 4
"""One edit is forgiven for each so many characters of a query's term."""
MOST_EDITS = 3
PENALTY = 2.0
"""A similarity falls by so many times the share of characters that were edited."""
CONFUSION = 0.25
"""Edits that confusing two characters of one shape counts as."""
LEAST_PART = 4
"""A term of fewer characters is not looked for inside another one."""
LEAST_SHARE = 0.4
"""A term that lies inside another one counts if it makes up this share of it."""
_PREFIX = 3
"""Letters in a part number that stand alone are no more than this."""
_LONGEST_JOIN = 32

_FUNCTION_WORDS = """
a an the and or but nor so yet if than then that this these those there here it its he she they we you i
me my your our their his her them us who whom whose which what when where why how is are was were be been
being am do does did has have had having can could may might must shall should will would not no of in on
at by for from to into onto with without within over under about above below between through during before
after up down out off as such very more most much many some any all both each other another same own only
just also too even ever every well made make makes
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""English words that say nothing about an object. Among photos they are rare, so rarity does not tell."""
_SAME_SHAPE = str.maketrans("oqdil|zsgb", "0001112568")
"""Characters that readers take for one another, as one of them."""
_UNDECOMPOSED = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d", "ı": "i"}
)
"""Letters whose stroke or ligature Unicode does not take apart."""


def normalise(text: str) -> str:
    """Return a text in one form: compatible characters, no case, no accents.

    Accents go because readers lose them. Unicode's NFKC, full case folding, then NFKD without marks.

    >>> normalise("ＡＢ Straße Mjölk Ærø")
    'ab strasse mjolk aero'
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    apart = unicodedata.normalize("NFKD", folded)
    return "".join(c for c in apart if not unicodedata.combining(c)).translate(_UNDECOMPOSED)


def tokens(text: str) -> list[str]:
    """Split a text into tokens. Writing without spaces (Chinese, Japanese) gives overlapping pairs.

    A single letter says nothing and is left out; a single digit stays.

    >>> tokens("God Morgon: 1,5% fett, typ AB-1234/5")
    ['god', 'morgon', '1', '5', 'fett', 'typ', 'ab', '1234', '5']
    >>> tokens("牛奶糖 A")
    ['牛奶', '奶糖']
    """
    found: list[str] = []
    run = ""
    for character in normalise(text) + " ":
        if character.isalnum() and (not run or _spaceless(character) == _spaceless(run[0])):
            run += character
            continue
        if run and _spaceless(run[0]):
            found += [run[i : i + 2] for i in range(max(1, len(run) - 1))]
        elif len(run) > 1 or run.isdigit():
            found.append(run)
        run = character if character.isalnum() else ""
    return found


def _spaceless(character: str) -> bool:
    return "\u3040" <= character <= "\u30ff" or "\u3400" <= character <= "\u9fff"


def has_digit(term: str) -> bool:
    """Tell whether a term has a digit.

    >>> has_digit("ab12"), has_digit("milk")
    (True, False)
    """
    return any(c.isdigit() for c in term)


def join_neighbours(parts: Sequence[str], *, words: bool) -> list[str]:
    """Write neighbouring tokens as one: pairs and triples that may be a part number, and pairs of words.

    Args:
        parts: Tokens of one line.
        words: Whether pairs without a digit are joined as well.

    >>> join_neighbours(["mild", "vanilla", "ab", "12"], words=True)
    ['mildvanilla', 'vanillaab', 'ab12']
    >>> join_neighbours(["filter", "ab", "1234", "5"], words=False)
    ['ab1234', '12345', 'ab12345']
    """
    runs = [parts[i : i + size] for size in (2, 3) for i in range(len(parts) - size + 1)]
    kept = [
        run for run in runs if _may_be_code(run) or (words and len(run) == 2 and not has_digit("".join(run)))
    ]
    return [join for join in map("".join, kept) if len(join) <= _LONGEST_JOIN]


def _may_be_code(run: Sequence[str]) -> bool:
    return any(map(has_digit, run)) and all(has_digit(part) or len(part) <= _PREFIX for part in run)


def line_terms(text: str) -> set[str]:
    """Return the terms by which one line that was read in an image can be found.

    >>> sorted(line_terms("Mild Yoghurt"))
    ['mild', 'mildyoghurt', 'yoghurt']
    """
    parts = tokens(text)
    return {*parts, *join_neighbours(parts, words=True)}


def query_terms(text: str) -> dict[str, float]:
    """Return the terms that a text asks for, with their weights.

    Args:
        text: A description, a brand, a part number. Its function words count only if it has no others.

    >>> query_terms("the filter AB-1234")
    {'filter': 1.0, 'ab': 1.0, '1234': 2.0, 'ab1234': 2.0}
    """
    parts = tokens(text)
    telling = [part for part in parts if part not in FUNCTION_WORDS] or parts
    return {term: term_weight(term) for term in [*telling, *join_neighbours(parts, words=False)]}


def photo_terms(lines: Sequence[TextLine], confidence: float) -> dict[str, float]:
    """Return the terms that a query photo asks for, weighted by how sure the reader is.

    Args:
        lines: Read in the photo.
        confidence: Lines below it are left out.

    >>> import numpy as np
    >>> quad = np.zeros((4, 2), np.float32)
    >>> photo_terms([TextLine("Arla", 0.5, quad), TextLine("ARLA AB-12", 1.0, quad)], 0.4)
    {'arla': 1.0, 'ab': 1.0, '12': 1.0, 'ab12': 2.0}
    """
    found: dict[str, float] = {}
    for line in lines:
        if line.confidence >= confidence:
            sure = {term: weight * line.confidence for term, weight in query_terms(line.text).items()}
            found = merge_terms(found, sure)
    return found


def merge_terms(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Return the terms of both, each with its larger weight.

    >>> merge_terms({"milk": 1.0, "oat": 0.5}, {"oat": 1.0})
    {'milk': 1.0, 'oat': 1.0}
    """
    return {**one, **{term: max(weight, one.get(term, 0.0)) for term, weight in other.items()}}


def term_weight(term: str) -> float:
    """Return the weight of a term beside its rarity.

    >>> term_weight("milk"), term_weight("ab1234"), term_weight("15")
    (1.0, 2.0, 1.0)
    """
    return CODE_WEIGHT if has_digit(term) and len(term) >= CODE_LENGTH else 1.0


def unify_shape(term: str) -> str:
    """Return a term with one character for all that readers take for one another.

    >>> unify_shape("lol50b") == unify_shape("1o1so8")
    True
    """
    return term.translate(_SAME_SHAPE)


def count_forgiven(length: int) -> int:
    """Return how many edits are forgiven in a query's term of a length.

    >>> [count_forgiven(n) for n in (3, 4, 8, 40)]
    [0, 1, 2, 3]
    """
    return min(MOST_EDITS, length // EDITS_PER)
