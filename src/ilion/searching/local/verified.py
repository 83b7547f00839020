"""What is known of the shortlist of a query once its matches were verified."""

from __future__ import annotations

from dataclasses import dataclass

from ilion.searching.local.matches import Matches
from ilion.types import Bool, Float32, Float64, Int64, Value


@dataclass(frozen=True, eq=False)
class Verified(Value):
    """What is known of the shortlist of a query.

    Args:
        rows: (S,) database rows, most votes first.
        votes: (S,) votes.
        matches: The matches of these photos, photo by photo.
        starts: (S + 1,) where the matches of each photo start.
        weights: (P,) what each match counts.
        query: (P, 4) frame of the query's feature of each match.
        image: (P, 4) frame of the stored feature.
        sums: (S,) weight of the verified matches.
        motions: (S, 6) from query to photo, both in shares of the longer side: x' = a x + b y + c, then y'.
        supports: (P,) which matches are verified.
    """

    rows: Int64
    votes: Float64
    matches: Matches
    starts: Int64
    weights: Float64
    query: Float32
    image: Float32
    sums: Float64
    motions: Float64
    supports: Bool
