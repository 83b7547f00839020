"""What a search asks of the photos that it searches, wherever they lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ilion.searching.local.encode import Encoded, LocalQuery
from ilion.searching.local.matches import Matches
from ilion.searching.local.model import LocalModel
from ilion.searching.local.tones import Looks
from ilion.types import Int64, Value


@dataclass(frozen=True, eq=False)
class FirstPass(Value):
    """What a large database has in common with a query.

    Args:
        sums: (N,) int64 of the photos, see `ilion.searching.local.matches.Sums`.
        totals: (M,) int64 of the features of the query.
        matches: Function that finds the matches in photos of ascending rows.
    """

    sums: Int64
    totals: Int64
    matches: Callable[[Int64], Matches]


class Database(Protocol):
    """Stored photos by row: `ilion.searching.local.Postings`, or something that asks several of them.

    Every method raises ArtifactError where stored features are damaged or cannot be reached.
    """

    @property
    def ids(self) -> Sequence[str]:
        """Ids by row."""

    @property
    def count(self) -> int:
        """Number of stored features."""

    @property
    def lengths(self) -> Int64:
        """(W,) number of stored features of each word."""

    def __len__(self) -> int:
        """Return the number of photos."""

    def first_pass(self, query: LocalQuery, model: LocalModel) -> FirstPass:
        """Sum the matches of each photo, and of each feature of a query."""

    def matches(self, query: LocalQuery, model: LocalModel, rows: Int64 | None = None) -> Matches:
        """Find the matches of a query in photos of ascending rows, part by part; None means all photos."""

    def photo(self, row: int) -> Encoded:
        """Read all that is stored of one photo."""

    def photos(self, rows: Int64) -> list[Encoded]:
        """Read all that is stored of some photos."""

    def looks(self, rows: Int64) -> Looks:
        """Read the sizes and colours of photos (S,)."""

    def stored_bytes(self) -> int:
        """Return the bytes of all that is stored of the photos on disk."""
