"""Settings of the search by local features, and what follows from the budget."""

from __future__ import annotations

from dataclasses import dataclass

from ilion.errors import ConfigError
from ilion.searching.local.records import GEOMETRY, ROW

BUDGETS = (1024, 65536)
"""Least and largest bytes a photo that can be asked for."""
LONG, SHORT = 8, 4
"""Bytes of a code of what a feature looks like."""
LONG_FROM = 24576
"""Budget from which on codes are `LONG`: below it, more features with shorter codes find more."""
FINE, RAW, FINE_FROM = 16, 8, 8192
"""Cells of the grid of colours along either side, from `FINE_FROM` bytes a photo on, and below."""
MANY, POOL, LARGE_POOL = 1000, 1500, 2000
"""Strongest features of a photo among which a budget chooses: `POOL`, or, where it keeps fewer than `MANY`,
`LARGE_POOL`; more of them take longer to describe."""
FEW, MORE, MOST = 3, 4, 8
"""Nearest words in which a feature of a query is looked up: where codes are `LONG`, where they are `SHORT`,
and where a photo has less than `MANY` of them, so that postings are few."""
RESERVE, SHARE = 128, 128
"""Bytes of a photo set aside for its id and its share of the index over the words: `RESERVE` and one in
`SHARE` of the budget are enough from 100 photos on."""


@dataclass(frozen=True)
class LocalSettings:
    """What is stored of a photo, and how a query is compared.

    Args:
        budget: Bytes a photo, everything counted.
        side: Longer side of a photo in pixels; smaller ones are enlarged to it.
        sizes: Longer sides, beside its own, at which a query is asked, in pixels.
        assignments: Nearest words in which a feature of a query is looked up; 0 means `FEW`, `MORE` or
            `MOST`, as the budget allows.
        shortlist: Number of photos whose matches are verified.

    Raises:
        ConfigError: A value is out of range.
    """

    budget: int = 16384
    side: int = 512
    sizes: tuple[int, ...] = (256, 160, 96)
    assignments: int = 0
    shortlist: int = 300

    def __post_init__(self) -> None:
        least, most = BUDGETS
        if not least <= self.budget <= most:
            raise ConfigError(
                f"search.local.budget = {self.budget}: a photo takes from {least:,} to {most:,} bytes; with "
                "fewer nothing would be found any more"
            )
        if min(self.side, self.assignments + 1, self.shortlist, *self.sizes) < 1:
            raise ConfigError(
                "search.local: side, sizes and shortlist must be at least 1, assignments at least 0"
            )

    @property
    def code(self) -> int:
        """Bytes of a code."""
        return LONG if self.budget >= LONG_FROM else SHORT

    @property
    def lookups(self) -> int:
        """Nearest words in which a feature of a query is looked up."""
        if self.assignments:
            return self.assignments
        return MOST if self.features < MANY else MORE if self.code == SHORT else FEW

    @property
    def cells(self) -> int:
        """Cells of the grid of colours along either side."""
        return FINE if self.budget >= FINE_FROM else RAW

    @property
    def features(self) -> int:
        """Largest number of features stored of a photo.

        >>> LocalSettings().features, LocalSettings(budget=1024).features
        (1442, 74)
        """
        left = self.budget - RESERVE - self.budget // SHARE - self.cells**2
        return left // (self.code + GEOMETRY + ROW)

    @property
    def pool(self) -> int:
        """Strongest features among which those that are stored are chosen."""
        return max(self.features, POOL if self.features >= MANY else LARGE_POOL)
