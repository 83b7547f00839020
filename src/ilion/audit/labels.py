"""Which photo shows which object: what queries, photos, descriptors and words say, alone and together.

A label is not asked about itself: of the photos that are said to show an object, each is judged by the
others. Letters: P pairs of a photo and an object, S results of a photo that asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ilion.audit.words import Vocabulary, Words, weigh_words, word_pairs
from ilion.errors import ArtifactError
from ilion.searching.local.score import ScoreModel
from ilion.storage import read_json
from ilion.types import Float32, Float64, Int64, Value

SCORE = Path(__file__).parent / "score.json"
LEAST = 0.02
"""Chance of a verified result below which it says nothing."""
FLOOR = 1e-3
NEAREST = 3
"""Photos of an object by which descriptors judge."""
SEVERAL = 5
"""Photos of an object that speak together."""


@dataclass(frozen=True, eq=False)
class Asked(Value):
    """What one photo found when it asked for what it shows.

    Args:
        photo: Id of the photo.
        row: Database row of the photo; -1 for a query, which is not in the database.
        objects: Objects that it is said to show.
        rows: (S,) database rows.
        chances: (S,) probability that the row shows the same object, by verified local matches.
    """

    photo: str
    row: int
    objects: tuple[str, ...]
    rows: Int64
    chances: Float64

    @property
    def is_query(self) -> bool:
        """Whether it is a query."""
        return self.row < 0


@dataclass(frozen=True, eq=False)
class Shown(Value):
    """What speaks for photos to show objects.

    Args:
        rows: (P,) database rows.
        objects: (P,) numbers of objects.
        labelled: (P,) whether the photo is said to show the object.
        numbers: Name -> (P,), see `weigh_labels`.
        witnesses: (P,) number of the photo among those that asked which speaks most for the pair; -1 for
            none.
    """

    rows: Int64
    objects: Int64
    labelled: NDArray[np.bool_]
    numbers: Mapping[str, Float64]
    witnesses: Int64


def logit(values: NDArray[np.floating]) -> Float64:
    """Return log odds of probabilities, those below `FLOOR` and above 1 - `FLOOR` as of these."""
    kept = np.clip(np.asarray(values, np.float64), FLOOR, 1 - FLOOR)
    return np.asarray(np.log(kept / (1 - kept)) - np.log(FLOOR / (1 - FLOOR)), np.float64)


def weigh_labels(
    asked: Sequence[Asked],
    names: Sequence[str],
    shown: Mapping[int, Iterable[int]],
    described: Mapping[int, Float32],
    queries: Mapping[int, Sequence[Float32]],
    believed: frozenset[int] = frozenset(),
    words: Words | None = None,
) -> Shown:
    """Weigh every pair of a photo and an object that is labelled, or for which anything speaks.

    Args:
        asked: Results of the photos that asked.
        names: Names of the objects.
        shown: Database row -> numbers of the objects that it is said to show.
        described: Database row -> unit descriptor of what it shows (of its boxes, where it has some); rows
            may lack it.
        queries: Number of an object -> unit descriptors of its queries.
        believed: Rows of ``shown`` that no label names, but which may speak for others.
        words: Words read in photos; None where nothing was read.

    Returns:
        The pairs with these numbers. ``query``: log odds of the best of the object's queries; ``photos``: of
        the best of its other photos; ``second``: of the second best; ``several``: mean of the best five, or
        of as many as there are; ``rest``: of the best photo or query of any other object; ``queries rest``:
        of the best query of any other; ``several rest``: the highest ``several`` of any other;
        ``descriptor``: likeness to the object's queries and nearest photos, in deviations above the mean of
        all objects, 0 where unknown; ``described``: whether it is known;
        ``elsewhere``: whether the photo is said to show another object; ``both``: the lesser of ``query`` and
        ``photos``; ``words`` to ``words rest``: see `ilion.audit.words.weigh_words`;
        ``read``: whether they are known. Log odds are from 0 (nothing) to 13.8.
    """
    number = {name: n for n, name in enumerate(names)}
    # a photo of the object speaks once, whichever of the two found the other
    best: dict[tuple[int, int], dict[int, tuple[float, int]]] = {}
    by_query: dict[tuple[int, int], tuple[float, int]] = {}

    def note(row: int, name: int, partner: int, said: tuple[float, int]) -> None:
        own = best.setdefault((row, name), {})
        own[partner] = max(own.get(partner, (0.0, -1)), said)

    for witness, photo in enumerate(asked):
        own = photo.row
        for row, chance in zip(photo.rows.tolist(), photo.chances.tolist(), strict=True):
            if chance < LEAST or row == own or row < 0:
                continue
            for name in (number[each] for each in photo.objects):
                if photo.is_query:
                    by_query[row, name] = max(by_query.get((row, name), (0.0, -1)), (chance, witness))
                else:
                    note(row, name, own, (chance, witness))
            if not photo.is_query:  # what it found is a witness for it, too
                for other in shown.get(row, ()):
                    note(own, other, row, (chance, witness))
    vocabulary = Vocabulary(words, shown) if words is not None else None
    found = word_pairs(vocabulary) if vocabulary is not None else set()
    labels = ((row, name) for row, several in shown.items() for name in several)
    pairs = sorted({*best, *by_query, *found, *labels})
    rows = np.array([row for row, _ in pairs], np.int64)
    objects = np.array([name for _, name in pairs], np.int64)
    counts = Counter(name for several in shown.values() for name in several)
    others = np.array([counts[name] - (name in shown.get(row, ())) for row, name in pairs], np.int64)
    ranked = [sorted(best.get(pair, {}).values(), reverse=True)[:SEVERAL] for pair in pairs]
    table = np.zeros((len(pairs), SEVERAL))
    for n, line in enumerate(ranked):
        table[n, : len(line)] = [chance for chance, _ in line]
    odds = logit(table)
    query = logit(np.array([by_query.get(pair, (0.0, -1))[0] for pair in pairs]))
    first, second = odds[:, 0], odds[:, 1]
    together = odds.sum(axis=1) / np.clip(others, 1, SEVERAL)
    most = [
        max([by_query.get(pair, (0.0, -1)), *(line[:1] or [(0.0, -1)])])
        for pair, line in zip(pairs, ranked, strict=True)
    ]
    said = {row: tuple(several) for row, several in shown.items() if row not in believed}
    likeness, known = _standings(rows, objects, shown, described, queries)
    numbers: dict[str, Float64] = {
        "query": query,
        "photos": first,
        "second": second,
        "several": together,
        "both": np.minimum(query, first),
        "rest": _best_other(rows, np.maximum(query, first)),
        "queries rest": _best_other(rows, query),
        "several rest": _best_other(rows, together),
        "descriptor": likeness,
        "described": known.astype(np.float64),
        "elsewhere": np.array([bool(set(said.get(row, ())) - {name}) for row, name in pairs], np.float64),
    }
    numbers |= _weigh_words(vocabulary, pairs)
    labelled = np.array([name in said.get(row, ()) for row, name in pairs], bool)
    return Shown(rows, objects, labelled, numbers, np.array([w for _, w in most], np.int64))


def _weigh_words(vocabulary: Vocabulary | None, pairs: Sequence[tuple[int, int]]) -> dict[str, Float64]:
    if vocabulary is None:
        return dict.fromkeys(("words", "strange words", "words rest", "read"), np.zeros(len(pairs)))
    numbers, known = weigh_words(vocabulary, pairs)
    return numbers | {"read": known.astype(np.float64)}


def _best_other(rows: Int64, values: Float64) -> Float64:
    """Return for each pair the best value of the same row's other pairs; 0 for none."""
    result = np.zeros(len(rows))
    starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]]) if len(rows) else np.empty(0, np.int64)
    for start, end in zip(starts, np.r_[starts[1:], len(rows)], strict=True):
        own = values[start:end]
        if len(own) > 1:
            top = int(own.argmax())
            result[start:end] = own[top]
            result[start + top] = max(np.delete(own, top))
    return result


def _standings(
    rows: Int64,
    objects: Int64,
    shown: Mapping[int, Iterable[int]],
    described: Mapping[int, Float32],
    queries: Mapping[int, Sequence[Float32]],
) -> tuple[Float64, NDArray[np.bool_]]:
    """Return (P,) how far above all objects each pair's stands by descriptors, and whether that is known."""
    known = np.array([row in described for row in rows.tolist()], bool)
    result = np.zeros(len(rows))
    if not known.any() or not described:
        return result, known
    members: dict[int, list[int]] = {}
    for row, several in shown.items():
        for name in several:
            if row in described:
                members.setdefault(name, []).append(row)
    names = sorted({*members, *queries})
    column = {name: n for n, name in enumerate(names)}
    looked = sorted(set(rows[known].tolist()))
    own = np.stack([described[row] for row in looked]).astype(np.float32)
    table = np.full((len(looked), len(names)), np.nan, np.float32)
    place = {row: n for n, row in enumerate(looked)}
    for name in names:
        parts = []
        if name in queries and len(queries[name]):
            parts.append((own @ np.stack(queries[name]).T.astype(np.float32)).max(axis=1))
        photos = members.get(name, [])
        if photos:
            likeness = own @ np.stack([described[row] for row in photos]).T.astype(np.float32)
            for n, row in enumerate(photos):
                if row in place:
                    likeness[place[row], n] = -np.inf  # no photo vouches for itself
            near = np.sort(likeness, axis=1)[:, ::-1][:, :NEAREST]
            near = np.where(np.isfinite(near), near, np.nan)
            valid = np.isfinite(near).any(axis=1)
            means = np.full(len(looked), np.nan, np.float32)
            means[valid] = np.nanmean(near[valid], axis=1)
            parts.append(means)
        stacked = np.stack(parts)
        some = np.isfinite(stacked).any(axis=0)
        table[some, column[name]] = np.nanmean(stacked[:, some], axis=0)
    # deviations of the photo's own likenesses, so that a likeness means the same in all data
    middle, spread = np.nanmean(table, axis=1), np.maximum(np.nanstd(table, axis=1), 1e-6)
    for n, (row, name) in enumerate(zip(rows.tolist(), objects.tolist(), strict=True)):
        value = table[place[row], column[name]] if known[n] and name in column else np.nan
        known[n] = np.isfinite(value)
        if known[n]:
            result[n] = (value - middle[place[row]]) / spread[place[row]]
    return result, known


@cache
def shipped_scores() -> Mapping[str, ScoreModel]:
    """Return the models that come with Ilion, see `kinds_of`.

    ``scripts/learn_audit.py`` learnt them on drawn photos with planted errors. They are calibrated for data
    of which one label in twenty is wrong.
    """
    return read_scores(SCORE)


def read_scores(path: Path) -> Mapping[str, ScoreModel]:
    """Read the models.

    Raises:
        ArtifactError: The file is missing or damaged.
    """
    try:
        return {
            kind: ScoreModel(
                tuple(one["weights"]), np.array(list(one["weights"].values()), np.float64), float(one["bias"])
            )
            for kind, one in read_json(path).items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{path}: is no score of an audit ({error}); learn it again") from error


def chances_of(shown: Shown, models: Mapping[str, ScoreModel] | None = None) -> Float64:
    """Return (P,) the probability that each photo shows each object.

    What is labelled is likely to be so, and what is not is not; and where no descriptor or no word is known,
    matches say more: each kind has a model of its own.
    """
    models = models or shipped_scores()
    result = np.zeros(len(shown.rows))
    for name, some in kinds_of(shown).items():
        if some.any():
            numbers = {name: np.asarray(values)[some] for name, values in shown.numbers.items()}
            result[some] = models[name].probabilities(numbers)
    return result


def kinds_of(shown: Shown) -> dict[str, NDArray[np.bool_]]:
    """Return model -> the pairs that it judges: by labels, and by descriptors and words that are known."""
    blind, read = shown.numbers["described"] == 0, shown.numbers["read"] > 0
    return {
        f"{'' if label else 'un'}labelled{', blind' * unseen}{', read' * heard}": (
            (shown.labelled == label) & (blind == unseen) & (read == heard)
        )
        for label in (True, False)
        for unseen in (False, True)
        for heard in (False, True)
    }
