"""How the authors of a benchmark judge it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ilion.types.printing import Value


@dataclass(frozen=True)
class BenchmarkProtocol(Value):
    """One of the ways in which a benchmark's publications judge results.

    Args:
        name: Shown to people, such as ``hard``.
        definition: Definition of AP: ``ilias``, ``trec`` or ``revisited``.
        k: Cut-off of AP; 0 for all results.
        metrics: Further metrics; those whose cut-off is above the number of results are left out.
        positives: Query id -> ids of database images. Queries without any take no part. None takes those of
            the data set.
        ignored: Query id -> ids of database images that count neither way; None takes those of the data set.
        average: Unit of the mean: ``queries``, or ``instances``, each the mean of its queries.
    """

    name: str
    definition: Literal["ilias", "trec", "revisited"]
    k: int = 0
    metrics: tuple[str, ...] = field(default=())
    positives: Mapping[str, tuple[str, ...]] | None = None
    ignored: Mapping[str, tuple[str, ...]] | None = None
    average: Literal["queries", "instances"] = "queries"
