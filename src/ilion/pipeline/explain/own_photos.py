"""Queries whose own photo is in the database: found first, and wrong unless the ground truth names it."""

from __future__ import annotations

from ilion.errors import DatasetError
from ilion.pipeline.experiment import Experiment
from ilion.report.pictures import find_records
from ilion.types import GroundTruth, ImageRecord, Ranking
from ilion.wording import counted

LOOKED_AT = 3
"""First results among which a query's own photo is looked for."""
ALIKE = 0.995
"""Least similarity of two copies of one file; some are lower where descriptors are coarse, few are others."""
COMPARED = 20
"""Most queries whose first results are compared byte by byte; others are told by their ids alone."""
LARGEST = 200_000
"""Images of a database in which the files of some can be found at once."""


def note_own_photos(experiment: Experiment, ranking: Ranking, truth: GroundTruth) -> str:
    """Say how many queries find their own photo, which the ground truth names neither way; "" for none.

    The protocols of the benchmarks count it as a wrong answer unless the ground truth ignores it, and so does
    Ilion: the numbers stay as they are, and this says what is in them.

    Args:
        experiment: Experiment whose data set has the photos.
        ranking: A ranking by similarity; its queries may be fewer, others, or in another order.
        truth: Ground truth of the same rows; its queries may be in another order too.
    """
    same: dict[str, str] = {}
    alike: list[tuple[ImageRecord, str]] = []
    of_ranking, of_truth = ({name: row for row, name in enumerate(x.query_ids)} for x in (ranking, truth))
    for query in experiment.queries:
        q, t = of_ranking.get(query.id), of_truth.get(query.id)
        if q is None or t is None:
            continue  # judging says so
        named = {*truth.positives[t].tolist(), *truth.ignored[t].tolist()}
        for place in range(min(LOOKED_AT, int(ranking.counts[q]))):
            row = int(ranking.indices[q, place])
            if row in named:
                continue
            name = ranking.database_ids[row]
            if name == query.id:
                same[query.id] = name
                break
            if query.image is not None and ranking.similarities[q, place] >= ALIKE:
                alike.append((query.image, name))
    if len(ranking.database_ids) <= LARGEST:
        same |= _same_bytes(experiment, [pair for pair in alike if pair[0].id not in same][:COMPARED])
    if not same:
        return ""
    first, name = next(iter(same.items()))
    return (
        f"{len(same):,} of {counted(len(experiment.queries), 'query', 'queries')} found the same photo in "
        f"the database (such as {first!r}, as {name!r}): that counts as a wrong answer before all others; "
        "remove it from the database, or let the ground truth ignore it"
    )


def _same_bytes(experiment: Experiment, pairs: list[tuple[ImageRecord, str]]) -> dict[str, str]:
    found = find_records(experiment.dataset, [name for _, name in pairs]) if pairs else {}
    same: dict[str, str] = {}
    for photo, name in pairs:
        try:
            if photo.id not in same and photo.source.read() == found[name].source.read():
                same[photo.id] = name
        except (DatasetError, OSError):
            continue  # a photo of which only the id is known, or that has gone since
    return same
