"""Ground truth and axes: from the ids of a data set to the rows of one database.

Letters: Q queries, N database images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ilion.errors import ArtifactError, DatasetError
from ilion.types import Axes, GroundTruth, Int64, RetrievalDataset


def truth_from_ids(
    query_ids: Sequence[str],
    database_ids: Sequence[str],
    positives: Mapping[str, tuple[str, ...]],
    ignored: Mapping[str, tuple[str, ...]] | None = None,
) -> GroundTruth:
    """Turn ids of positives and ignored images into rows of one database.

    Args:
        query_ids: Q ids.
        database_ids: N ids.
        positives: Query -> ids; those that are not in the database are counted as unreachable.
        ignored: Query -> ids; those that are not in the database have no effect.

    Raises:
        DatasetError: A query has no entry, or an image is both positive and ignored.
        ArtifactError: An image of the ground truth is in the database twice.

    >>> truth = truth_from_ids(["q"], ["a", "b", "c"], {"q": ("c", "gone")}, {"q": ("a",)})
    >>> truth.positives, truth.ignored, truth.unreachable
    ((array([2]),), (array([0]),), array([1]))
    """
    ignored = ignored or {}
    for query in query_ids:
        if query not in positives:
            raise DatasetError(f"query {query!r} has no entry in the ground truth; add its positives")
        both = set(positives[query]) & set(ignored.get(query, ()))
        if both:
            raise DatasetError(
                f"query {query!r}: {sorted(both)[0]!r} is both positive and ignored; keep one of the two"
            )
    # Only the few ids that matter are kept: a database of 100M ids would not fit into a dictionary.
    wanted = {image for query in query_ids for image in (*positives[query], *ignored.get(query, ()))}
    rows: dict[str, int] = {}
    for row, image in enumerate(database_ids):
        if image in wanted:
            if image in rows:
                raise ArtifactError(
                    f"image {image!r} is in the database twice, at rows {rows[image]} and {row}"
                )
            rows[image] = row

    def rows_of(images: Sequence[str]) -> Int64:
        return np.array(sorted({rows[image] for image in images if image in rows}), dtype=np.int64)

    found = tuple(rows_of(positives[query]) for query in query_ids)
    return GroundTruth(
        tuple(query_ids),
        found,
        tuple(rows_of(ignored.get(query, ())) for query in query_ids),
        np.array(
            [len(set(positives[query])) - len(each) for query, each in zip(query_ids, found, strict=True)],
            dtype=np.int64,
        ),
    )


def truth_of(
    dataset: RetrievalDataset, query_ids: Sequence[str], database_ids: Sequence[str]
) -> tuple[GroundTruth, Axes]:
    """Return what some queries of a data set should find among the rows of one database, and its axes.

    Args:
        dataset: The data set.
        query_ids: Q ids of its queries.
        database_ids: N ids in order of rows.

    Raises:
        DatasetError: The data set has no such query.
    """
    instance = {query.id: query.instance for query in dataset.queries}
    for query in query_ids:
        if query not in instance:
            raise DatasetError(f"{dataset.name}: the data set has no query {query!r}")
    truth = truth_from_ids(query_ids, database_ids, dataset.positives, dataset.ignored)
    instances = [instance[query] for query in query_ids]
    axes = axes_from_ids(
        query_ids, instances, database_ids, dataset.positives, dataset.labels, dataset.attributes
    )
    return truth, axes


def axes_from_ids(
    query_ids: Sequence[str],
    instances: Sequence[str],
    database_ids: Sequence[str],
    positives: Mapping[str, tuple[str, ...]],
    labels: Mapping[str, Mapping[str, str]] | None = None,
    attributes: Mapping[str, Mapping[str, float]] | None = None,
) -> Axes:
    """Turn labels of instances and attributes of positives into the axes of one database.

    Args:
        query_ids: Q ids.
        instances: The instance of each query.
        database_ids: N ids.
        positives: Query -> ids.
        labels: Axis -> instance -> label; an instance without one is labelled "".
        attributes: Axis -> id of a positive -> value. Values of positives that are not in the database are
            kept as those of unreachable ones.

    >>> labels, attributes = {"category": {"mug": "kitchen"}}, {"scale": {"b": 0.5, "gone": 0.1}}
    >>> axes = axes_from_ids(["q"], ["mug"], ["a", "b"], {"q": ("b", "gone")}, labels, attributes)
    >>> axes.query_labels, axes.row_values, axes.unreachable_values
    ({'category': ('kitchen',)}, {'scale': {1: 0.5}}, {'scale': ((0.1,),)})
    """
    labels, attributes = labels or {}, attributes or {}
    wanted = {image for query in query_ids for image in positives[query]}
    rows = {image: row for row, image in enumerate(database_ids) if image in wanted}
    return Axes(
        tuple(instances),
        {axis: tuple(of_axis.get(name, "") for name in instances) for axis, of_axis in labels.items()},
        {
            axis: {rows[image]: value for image, value in values.items() if image in rows}
            for axis, values in attributes.items()
        },
        {
            axis: tuple(
                tuple(values[image] for image in positives[query] if image not in rows and image in values)
                for query in query_ids
            )
            for axis, values in attributes.items()
        },
    )
