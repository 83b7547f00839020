"""What suspects do to the numbers: each alone, all together, and the bounds between.

Labels change what a ranking is worth, not the ranking: nothing is searched again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ilion.audit.decisions import Change, changes_if_true
from ilion.audit.suspects import Numbers, Suspect
from ilion.evaluation.average_precision import Definition, average_precision, count_hits, find_hits, find_open
from ilion.types import Ranking, RetrievalDataset, Value

COUNTED = 0.02
"""Confidence from which on a suspect counts in the bounds; the many below would make them say nothing."""
ROUNDS = 4
"""Passes over the suspects in search of the bounds; more hardly ever find wider ones."""


@dataclass(frozen=True, eq=False)
class Judged(Value):
    """A ranking whose labels can be changed.

    Args:
        ranking: The ranking.
        dataset: Data set that was searched.
        definition: Definition of AP.
        k: Cut-off.
    """

    ranking: Ranking
    dataset: RetrievalDataset
    definition: Definition
    k: int

    @cached_property
    def _rows(self) -> Mapping[str, int]:
        """Rows of the images that any query ranks or that have a label; the others change nothing."""
        tables = (self.dataset.positives, self.dataset.ignored)
        wanted = {i for table in tables for ids in table.values() for i in ids}
        shown = set(np.unique(self.ranking.indices).tolist())
        return {i: row for row, i in enumerate(self.ranking.database_ids) if row in shown or i in wanted}

    @cached_property
    def objects(self) -> Mapping[str, tuple[int, ...]]:
        """Object -> its queries, as rows of the ranking."""
        instance = {query.id: query.instance for query in self.dataset.queries}
        found: dict[str, list[int]] = {}
        for number, query in enumerate(self.ranking.query_ids):
            if query in instance:
                found.setdefault(instance[query], []).append(number)
        return {name: tuple(rows) for name, rows in found.items()}

    def roles(self, name: str) -> dict[str, str]:
        """Return photo -> role for an object, as the data set has it."""
        query = self.ranking.query_ids[self.objects[name][0]]
        ignored = dict.fromkeys(self.dataset.ignored.get(query, ()), "ignored")
        return ignored | dict.fromkeys(self.dataset.positives[query], "positive")

    def score(self, name: str, roles: Mapping[str, str]) -> tuple[float, float]:
        """Return mAP and R@1 of the queries of an object with given labels; NaN without a positive.

        Args:
            name: The object.
            roles: Photo -> ``positive`` or ``ignored``.
        """
        queries = np.array(self.objects[name])
        rows = self._rows
        positives, ignored = (
            np.array(sorted({rows[i] for i, own in roles.items() if own == role and i in rows}), np.int64)
            for role in ("positive", "ignored")
        )
        count = sum(own == "positive" for own in roles.values())
        values, similarities = self.ranking.indices[queries], self.ranking.similarities[queries]
        many = len(queries)
        hits = find_hits(
            values,
            None,
            (positives,) * many,
            (ignored,) * many,
            len(self.ranking.database_ids),
            find_open(similarities, self.ranking.counts[queries]),
        )
        sizes = np.full(many, count, np.int64)
        precision = average_precision(hits, None, sizes, self.definition, self.k)
        first = np.minimum(count_hits(hits, 1), 1.0) if count else np.full(many, np.nan)
        return float(precision.mean()), float(first.mean())


def measure_effects(
    judged: Judged, suspects: Sequence[Suspect]
) -> tuple[list[Suspect], Numbers | None, Numbers | None]:
    """Say what suspects change.

    Args:
        judged: The ranking.
        suspects: The suspects.

    Returns:
        The suspects with what each alone would change; mAP and R@1 as they are, if all suspects that count
        were what they seem, and the lowest and highest values that were found for some of them. These bounds
        are found by changing one suspect after the other as long as that helps: no combination that was tried
        is outside, but there may be one. None where no object has a positive.
    """
    effects = [_by_object(judged, changes_if_true(suspect)) for suspect in suspects]
    names = list(judged.objects)
    plain = {name: judged.roles(name) for name in names}
    base = {name: judged.score(name, plain[name]) for name in names}
    many = len(names)

    def mean(values: Iterable[tuple[float, float]], which: int) -> float:
        return _mean(value[which] for value in values)

    precision, first = mean(base.values(), 0), mean(base.values(), 1)
    measured = []
    for suspect, effect in zip(suspects, effects, strict=True):
        changed = {n: judged.score(n, _with(plain[n], [rows])) for n, rows in effect.items()}
        both = [sum(_gap(changed[n][w], base[n][w]) for n in changed) / max(many, 1) for w in (0, 1)]
        measured.append(replace(suspect, map_change=both[0], first_change=both[1]))
    touched: dict[str, list[dict[str, str]]] = {}
    for suspect, effect in zip(suspects, effects, strict=True):
        for name, rows in effect.items() if suspect.confidence >= COUNTED else ():
            touched.setdefault(name, []).append(rows)
    every = {n: judged.score(n, _with(plain[n], touched.get(n, ()))) for n in names}
    spans = [
        [_reach(judged, n, plain[n], touched.get(n, ()), which, sign) for n in names]
        for which in (0, 1)
        for sign in (-1, 1)
    ]
    if not any(value == value for value, _ in base.values()):
        return measured, None, None
    return (
        measured,
        Numbers(precision, mean(every.values(), 0), *map(_mean, spans[:2])),
        Numbers(first, mean(every.values(), 1), *map(_mean, spans[2:])),
    )


def _mean(values: Iterable[float]) -> float:
    """Return the mean over objects with labels; NaN without any."""
    kept = [value for value in values if value == value]
    return float(np.mean(kept)) if kept else float("nan")


def _by_object(judged: Judged, changes: Iterable[Change]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for photo, name, role in changes:
        if name in judged.objects and role:
            found.setdefault(name, {})[photo] = role
    return found


def _with(roles: Mapping[str, str], changes: Iterable[Mapping[str, str]]) -> dict[str, str]:
    changed = dict(roles)
    for change in changes:
        changed |= change
    return {photo: role for photo, role in changed.items() if role != "none"}


def _gap(after: float, before: float) -> float:
    return after - before if after == after and before == before else 0.0


def _reach(
    judged: Judged,
    name: str,
    roles: Mapping[str, str],
    changes: Sequence[Mapping[str, str]],
    which: int,
    sign: int,
) -> float:
    """Return the lowest or highest value of an object that changing some of its suspects reaches."""
    taken = np.zeros(len(changes), bool)
    best = judged.score(name, roles)[which]
    every = judged.score(name, _with(roles, changes))[which]
    if sign * _gap(every, best) > 0:
        taken[:], best = True, every
    for _ in range(ROUNDS):
        before = best
        for number in range(len(changes)):
            taken[number] ^= True
            chosen = [change for change, on in zip(changes, taken, strict=True) if on]
            value = judged.score(name, _with(roles, chosen))[which]
            if sign * _gap(value, best) > 0:
                best = value
            else:
                taken[number] ^= True
        if best == before:
            break
    return best
