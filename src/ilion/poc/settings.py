"""Settings of a proof of concept: what ``poc.toml`` holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import product
from typing import Annotated, Literal

from ilion.errors import ConfigError
from ilion.types import Between, Value
from ilion.wording import counted

Measure = Literal["AP", "R@1"]

DESIGNS: Mapping[str, tuple[str, ...]] = {
    "global": ("extraction.model=default",),
    "local-1k": ("search.method=local", "search.local.budget=1024"),
    "local-2k": ("search.method=local", "search.local.budget=2048"),
    "local-4k": ("search.method=local", "search.local.budget=4096"),
    "local-16k": ("search.method=local", "search.local.budget=16384"),
    "few-shot": ("extraction.model=default", "adaptation.method=few-shot"),
    "local-16k-reading": (
        "search.method=local",
        "search.local.budget=16384",
        "reading.use=fused",
        "reading.fusion=calibrated",
    ),
}
"""Designs that are worth trying, cheapest to make first -> settings of an experiment. What is learnt in one
(the share of the text, a layer) is learnt on other objects than it is judged on."""


@dataclass(frozen=True)
class PhotosConfig:
    """Cells of object size and clutter.

    Args:
        folder: Folder of the photos, a data set in any layout.
        sizes: Names of the sizes, from small to large; none tells no sizes apart.
        size_edges: Shares of the photo's area at which sizes meet, one less than there are sizes.
        backgrounds: Names of the backgrounds, from plain to crowded; none tells none apart.
        clutter_edges: Numbers of things on the photo at which backgrounds meet. Where nobody counted,
            backgrounds meet at quantiles of what is measured.
        shares: Shares of the searches, sizes first: small and plain, small and crowded ... in any unit; none
            takes the shares of the photos.
    """

    folder: str = "photos"
    sizes: tuple[str, ...] = ("small", "medium", "large")
    size_edges: Annotated[tuple[float, ...], Between(0.0001, 0.99)] = (0.03, 0.1)
    backgrounds: tuple[str, ...] = ("plain", "crowded")
    clutter_edges: Annotated[tuple[float, ...], Between(0, 10**6)] = (15.0,)
    shares: Annotated[tuple[float, ...], Between(0, 1e12)] = ()

    def __post_init__(self) -> None:
        for names, edges, what in (
            (self.sizes, self.size_edges, "size"),
            (self.backgrounds, self.clutter_edges, "clutter"),
        ):
            if len(edges) != max(len(names) - 1, 0):
                raise ConfigError(
                    f"photos.{what}_edges has {counted(len(edges), 'number')} "
                    f"for {counted(len(names), 'name')} "
                    f"({', '.join(names)}); write {max(len(names) - 1, 0)}, one between each two"
                )
            if list(edges) != sorted(set(edges)):
                raise ConfigError(
                    f"photos.{what}_edges must ascend, got {', '.join(f'{e:g}' for e in edges)}"
                )
            bad = next((n for n in names if not n.strip() or "/" in n or n == "all"), None)
            if bad is not None or len(set(names)) < len(names):
                raise ConfigError(
                    f"photos: {', '.join(map(repr, names))} must be different names without '/', and "
                    "none of them 'all'"
                )
        if self.shares and (len(self.shares) != len(self.cells) or not sum(self.shares)):
            raise ConfigError(
                f"photos.shares has {counted(len(self.shares), 'number')} for "
                f"{counted(len(self.cells), 'cell')} "
                f"({', '.join(self.cells)}); write one for each, not all of them 0"
            )

    @property
    def cells(self) -> tuple[str, ...]:
        """Names of all cells, sizes first."""
        return tuple("/".join(filter(None, pair)) or "all photos" for pair in self.pairs)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Size and background of each cell; "" where they are not told apart."""
        return tuple(product(self.sizes or ("",), self.backgrounds or ("",)))


@dataclass(frozen=True)
class GoalConfig:
    """What the decision is about.

    Args:
        measure: ``AP`` (average precision: how far in front all photos of an object stand) or ``R@1``
            (whether the first answer is right).
        gain: Gain worth paying for, a fraction (0.05 is 5 points).
        hoped: Gain that is hoped for and should be shown if it is there, a fraction above ``gain``.
        width: Half the width of a gain's 95% interval that is wanted, a fraction.
        power: Probability with which the hoped gain should be shown.
        risk: Largest share of searches that may end in a wrong answer that is accepted (docs/threshold.md).
        confidence: Probability with which that is to hold.
    """

    measure: Measure = "AP"
    gain: Annotated[float, Between(0, 0.9)] = 0.05
    hoped: Annotated[float, Between(0.001, 1)] = 0.2
    width: Annotated[float, Between(0.005, 0.5)] = 0.1
    power: Annotated[float, Between(0.1, 0.99)] = 0.8
    risk: Annotated[float, Between(0.001, 0.9)] = 0.05
    confidence: Annotated[float, Between(0.5, 0.999)] = 0.9

    def __post_init__(self) -> None:
        if self.hoped <= self.gain:
            raise ConfigError(
                f"goal.hoped ({self.hoped:g}) must be above goal.gain ({self.gain:g}): a gain that is just "
                "worth its price cannot be told from one that is just not"
            )


@dataclass(frozen=True)
class PlanConfig:
    """How much can be photographed.

    Args:
        objects: Number of objects that you can photograph; 0 means as many as are needed.
        photos: Number of photos of an object in each cell.
        queries: Number of clean photos of an object to search with.
        distractors: Number of photos that show none of the objects.
        pilot: Folder of an earlier proof of concept, whose spread over objects is taken; "" takes that of two
            sets of photos that Ilion was developed with.
    """

    objects: Annotated[int, Between(0, 10**6)] = 0
    photos: Annotated[int, Between(1, 1000)] = 2
    queries: Annotated[int, Between(1, 100)] = 1
    distractors: Annotated[int, Between(0, 10**9)] = 300
    pilot: str = ""


@dataclass(frozen=True)
class MoneyConfig:
    """Prices; 0 is unknown, and then nothing is said in money.

    Args:
        currency: Currency of all prices, as it is shown.
        searches_a_day: Number of searches a day.
        find: Value of a right first answer.
        wrong_pick: Cost of a wrong pick.
        minute: Cost of a minute of a person's time.
        minutes_lost: Minutes that a search costs whose first answer is wrong.
        gigabyte_month: Price of a gigabyte of memory or disk, wherever the design keeps its bytes, a month.
        core_month: Price of a processor core a month.
        photos: Number of photos that will be searched.
        peak: Searches in the busiest hour as a share of a day's.
    """

    currency: str = ""
    searches_a_day: Annotated[float, Between(0, 1e12)] = 0.0
    find: Annotated[float, Between(0, 1e12)] = 0.0
    wrong_pick: Annotated[float, Between(0, 1e12)] = 0.0
    minute: Annotated[float, Between(0, 1e9)] = 0.0
    minutes_lost: Annotated[float, Between(0, 1e6)] = 0.0
    gigabyte_month: Annotated[float, Between(0, 1e9)] = 0.0
    core_month: Annotated[float, Between(0, 1e9)] = 0.0
    photos: Annotated[float, Between(0, 1e12)] = 0.0
    peak: Annotated[float, Between(0.01, 1)] = 0.2


@dataclass(frozen=True)
class DesignsConfig:
    """Designs that are tried.

    Args:
        names: Names of the designs, of those in `DESIGNS`.
        baseline: Design that the others are compared with.
        labels: CSV file of labelled photos of other objects, for ``few-shot`` (docs/adaptation.md).
        settings: Further settings of all designs, as ``section.key=value``.
    """

    names: tuple[str, ...] = tuple(DESIGNS)
    baseline: str = "global"
    labels: str = ""
    settings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (*self.names, self.baseline):
            if name not in DESIGNS:
                close = get_close_matches(name, DESIGNS, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(DESIGNS)}"
                raise ConfigError(f"designs: there is no design {name!r}; {hint}")
        if self.baseline not in self.names:
            raise ConfigError(f"designs.baseline ({self.baseline}) must be among designs.names")
        if len(set(self.names)) < len(self.names) or len(self.names) < 2:
            raise ConfigError("designs.names must be two or more different designs")


@dataclass(frozen=True)
class PocConfig(Value):
    """A proof of concept: the whole of ``poc.toml``.

    Args:
        name: Name that pages show.
        language: Language of the pages.
        seed: Seed of everything that is drawn at random.
    """

    name: str = "proof of concept"
    language: Literal["en", "ja"] = "en"
    seed: Annotated[int, Between(0, 2**32 - 1)] = 0
    photos: PhotosConfig = field(default_factory=PhotosConfig)
    goal: GoalConfig = field(default_factory=GoalConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
    money: MoneyConfig = field(default_factory=MoneyConfig)
    designs: DesignsConfig = field(default_factory=DesignsConfig)


def range_of(name: str, names: Sequence[str], edges: Sequence[float], most: float) -> tuple[float, float]:
    """Return where a bin begins and ends; all that there is for a name that is none of the bins.

    >>> range_of("medium", ("small", "medium", "large"), (0.03, 0.1), 1.0)
    (0.03, 0.1)
    """
    if name not in names:
        return (0.0, most)
    ends = (0.0, *edges, most)
    place = list(names).index(name)
    return (ends[place], ends[place + 1])
