"""What a search answers: objects, each with its best photo and why, and photos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ilion.types import Box, Value
from ilion.wording import counted


@dataclass(frozen=True)
class FoundPhoto(Value):
    """A photo that was found.

    Args:
        id: Id in the index.
        rank: Place in the ranking, from 1.
        score: Similarity after all stages; it orders the answers of one search and means nothing by itself.
        objects: Names of the objects that it shows, as far as somebody said so.
        labels: Labels of the photo.
        source: Place that the photo came from.
        size: Width and height in pixels, upright.
        points: Matches of points with the query that agree on one motion; None where no points were compared.
        region: Box of the query's object in it, pixels; None where that is not known.
    """

    id: str
    rank: int
    score: float
    objects: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    size: tuple[int, int] = (0, 0)
    points: int | None = None
    region: Box | None = None

    @property
    def why(self) -> str:
        """The reason in words."""
        if self.points is None:
            return f"looks alike (similarity {self.score:.2f}; points were not compared)"
        if self.points == 0:
            return f"looks alike (similarity {self.score:.2f}), but no points agree"
        return f"{counted(self.points, 'point agrees', 'points agree')} in place and shape"


@dataclass(frozen=True)
class FoundObject(Value):
    """An object that was found.

    Args:
        name: Name of the object; "" for a photo that nobody said what it shows.
        photo: Best photo of the object.
        photos: Number of its photos among the results.
    """

    name: str
    photo: FoundPhoto
    photos: int

    @property
    def score(self) -> float:
        """The score of its best photo."""
        return self.photo.score

    @property
    def why(self) -> str:
        """The reason in words."""
        return self.photo.why


@dataclass(frozen=True)
class Searched(Value):
    """What was searched.

    Args:
        photos: Number of photos that could be found.
        filtered: Number of photos that the filter left out.
        without_descriptor: Number of photos that are in the index and cannot be found, since they could not
            be read when they were described.
        design: Name of the design that answered.
        revision: State of the index; it counts all changes.
        seconds: Wall-clock seconds.
    """

    photos: int
    filtered: int
    without_descriptor: int
    design: str
    revision: int
    seconds: float


@dataclass(frozen=True)
class Answer(Value):
    """The answer to one search.

    Args:
        objects: Objects, best first.
        photos: Photos, best first.
        none: Whether none of these is what was asked for, by the design's threshold; None without one.
        searched: Request that was searched.
    """

    objects: tuple[FoundObject, ...]
    photos: tuple[FoundPhoto, ...]
    none: bool | None
    searched: Searched

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        plain = asdict(self)
        for values, found in zip(plain["objects"], self.objects, strict=True):
            values |= {"score": found.score, "why": found.why}
        for values, photo in zip(plain["photos"], self.photos, strict=True):
            values["why"] = photo.why
        return plain
