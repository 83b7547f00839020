"""Settings of the search by local features, and what follows from the budget."""

from __future__ import annotations

from dataclasses import dataclass

from ilion.errors import ConfigError
from ilion.searching.local.records import SIZE

BUDGETS = (1024, 65536)
"""Least and largest bytes a photo that can be asked for."""
FINE, RAW, FINE_FROM = 16, 8, 4096
"""Cells of the grid of colours along either side, from `FINE_FROM` bytes a photo on, and below."""
WORDS = (16_384, 65_536)
"""Numbers of visual words of the models that come with Ilion."""
POOL = 2000
"""Strongest features of a photo, among which a budget chooses."""
ASSIGNMENTS = 8
"""Nearest words in which a feature of a query is looked up."""
RESERVES = {16_384: (128, 100), 65_536: (144, 64)}
"""Bytes of a photo set aside for its id and its share of the index over so many words: the first, and one in
the second of the budget, are enough from 100 photos on."""


@dataclass(frozen=True)
class LocalSettings:
    """What is stored of a photo, and how a query is compared.

    Args:
        budget: Bytes a photo, everything counted.
        side: Longer side of a photo in pixels; smaller ones are enlarged to it.
        sizes: Longer sides, beside its own, at which a query is asked, in pixels.
        assignments: Nearest words in which a feature of a query is looked up; 0 means `ASSIGNMENTS`.
        shortlist: Number of photos whose matches are verified.
        words: Visual words, one of `WORDS`.

    Raises:
        ConfigError: A value is out of range.
    """

    budget: int = 16384
    side: int = 512
    sizes: tuple[int, ...] = (320, 224, 160, 112, 80)
    assignments: int = 0
    shortlist: int = 300
    words: int = WORDS[0]

    def __post_init__(self) -> None:
        least, most = BUDGETS
        if not least <= self.budget <= most:
            raise ConfigError(
                f"search.local.budget = {self.budget}: a photo takes from {least:,} to {most:,} bytes; with "
                "fewer nothing would be found any more"
            )
        if self.words not in WORDS:
            raise ConfigError(
                f"search.local.words = {self.words}: must be one of {', '.join(map(str, WORDS))}"
            )
        if min(self.side, self.assignments + 1, self.shortlist, *self.sizes) < 1:
            raise ConfigError(
                "search.local: side, sizes and shortlist must be at least 1, assignments at least 0"
            )

    @property
    def lookups(self) -> int:
        """Nearest words in which a feature of a query is looked up."""
        return self.assignments or ASSIGNMENTS

    @property
    def cells(self) -> int:
        """Cells of the grid of colours along either side."""
        return FINE if self.budget >= FINE_FROM else RAW

    @property
    def features(self) -> int:
        """Largest number of features stored of a photo.

        >>> LocalSettings().features, LocalSettings(budget=1024).features
        (1979, 102)
        """
        fixed, share = RESERVES[self.words]
        left = self.budget - fixed - self.budget // share - self.cells**2
        return left // SIZE

    @property
    def pool(self) -> int:
        """Strongest features among which those that are stored are chosen."""
        return max(self.features, POOL)
