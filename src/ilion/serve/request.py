"""What somebody asks an index for."""

from __future__ import annotations

from dataclasses import dataclass

from ilion.errors import ConfigError
from ilion.serve.photos import memory_source
from ilion.types import Box, ImageRecord, Query, Source


@dataclass(frozen=True, eq=False)
class SearchRequest:
    """A search by a photo, by a text, by both, or by a photo of the index.

    Args:
        photo: A file, its encoded bytes, or an array (H, W, 3) RGB uint8; None without a photo.
        box: Part of the photo that shows what is searched for, in pixels of the upright photo.
        text: Words to search for; beside a photo, both are asked together.
        like: Id of a photo of the index, in place of a photo.
        where: Filter, see `ilion.serve.where.parse_where`.
        k: Number of objects, and of photos.
        explain: Whether to look for the region in which each photo shows what is asked for.

    Raises:
        ConfigError: Nothing is asked for, or things that exclude each other.
    """

    photo: object = None
    box: Box | None = None
    text: str = ""
    like: str = ""
    where: str = ""
    k: int = 10
    explain: bool = True

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"k must be at least 1, got {self.k}")
        given = (self.photo is not None) + bool(self.like)
        if given > 1 or (not given and not self.text.strip()):
            raise ConfigError("ask with a photo, with a photo of the index, or with a text")
        if not given and self.box is not None:
            raise ConfigError("a box belongs to a photo; there is none")

    def query(self, stored: Source | None = None) -> tuple[Query, dict[str, str]]:
        """Return the query for the design, and the text beside its photo by the id of the query.

        Args:
            stored: Place of the photo of the index that is asked with.

        Raises:
            ImageError: The photo is nothing that can be read.
        """
        text = self.text.strip()
        if self.photo is None and stored is None:
            return Query("query", "", text=text), {}
        source = stored or memory_source(self.photo, "query")
        image = ImageRecord("query", source, () if self.box is None else (self.box,))
        return Query("query", "", image), {"query": text} if text else {}
