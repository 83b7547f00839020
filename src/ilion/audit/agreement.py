"""How far reviewers agree beyond chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float:
    """Return the kappa of two reviewers (Cohen, Educational and Psychological Measurement, 1960).

    Args:
        first: (n,) answers of one reviewer.
        second: (n,) answers of the other.

    Returns:
        1 for full agreement, 0 for what chance gives; NaN for none, or where both always answer the same.

    >>> cohen_kappa(["a", "a", "b", "b"], ["a", "a", "b", "a"])
    0.5
    """
    count = len(first)
    if not count:
        return float("nan")
    seen = sum(a == b for a, b in zip(first, second, strict=True)) / count
    one, other = Counter(first), Counter(second)
    chance = sum(one[answer] * other[answer] for answer in one) / count**2
    return (seen - chance) / (1 - chance) if chance < 1 else float("nan")


def fleiss_kappa(answers: Sequence[Sequence[str]]) -> float:
    """Return the kappa of several reviewers (Fleiss, Psychological Bulletin, 1971).

    They need not be the same ones for each thing, and things may have different numbers of answers: each pair
        of
    answers to a thing counts 1 / (number - 1), so that every answer counts alike, as in Krippendorff's alpha.
    Things with one answer are left out.

    Args:
        answers: For each thing the answers of whoever looked at it.

    Returns:
        See `cohen_kappa`.
    """
    kept = [Counter(each) for each in answers if len(each) > 1]
    total = sum(sum(counts.values()) for counts in kept)
    if not total:
        return float("nan")
    seen = (
        sum(sum(n * (n - 1) for n in counts.values()) / (sum(counts.values()) - 1) for counts in kept) / total
    )
    whole: Counter[str] = sum(kept, Counter())
    chance = sum((n / total) ** 2 for n in whole.values())
    return (seen - chance) / (1 - chance) if chance < 1 else float("nan")


def agree(answers: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Say how far reviewers agree.

    Args:
        answers: Reviewer -> key of a suspect -> answer.

    Returns:
        ``reviewers``: number of answers of each; ``shared``: number of suspects with several answers;
        ``fleiss``: kappa of all; ``pairs``: reviewers, number of suspects that both answered, share of equal
        answers and Cohen's kappa of each two; ``disputed``: keys of the suspects about which they differ.
        Kappas are None where they are not defined.
    """
    by_key: dict[str, list[str]] = {}
    for own in answers.values():
        for key, answer in own.items():
            by_key.setdefault(key, []).append(answer)
    pairs = []
    names = sorted(answers)
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            both = sorted(answers[one].keys() & answers[other].keys())
            if both:
                a, b = ([answers[who][key] for key in both] for who in (one, other))
                same = sum(x == y for x, y in zip(a, b, strict=True)) / len(both)
                pairs.append([one, other, len(both), same, _known(cohen_kappa(a, b))])
    several = {key: each for key, each in by_key.items() if len(each) > 1}
    return {
        "reviewers": {name: len(answers[name]) for name in names},
        "shared": len(several),
        "fleiss": _known(fleiss_kappa(list(several.values()))),
        "pairs": pairs,
        "disputed": sorted(key for key, each in several.items() if len(set(each)) > 1),
    }


def _known(value: float) -> float | None:
    return value if value == value else None
