"""Products: lines (a brand and a design) and their variants (flavour, number, volume).

A product is identified by (kind of line, line number, variant). Instances come from lines of their own, whose
brand names no other line shares; a look-alike is another variant of an instance's line that is no instance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ilion.synthetic import goods, words
from ilion.synthetic.color import BLACK, PALETTES, WHITE, Colour, darker, luminance, mix, turned
from ilion.synthetic.goods import Flavour, Package
from ilion.synthetic.ink import Style
from ilion.synthetic.seeds import rng

SISTER_EVERY = 6
"""Every sixth instance is another variant of the line of the one before it."""
FIRST_LOOKALIKE = 2
"""Variants 0 and 1 of a line can be instances; the others are look-alikes."""
_EDITIONS = 12
_BRANDS = 18_564  # lines that get a short brand name before longer names are used


@dataclass(frozen=True)
class Line:
    """A brand's product line: everything that its variants share.

    Args:
        own: Whether it is the line of instances (True) or of other goods.
        number: Number among the lines of that sort.
    """

    own: bool
    number: int
    brand: str
    package: Package
    noun: str
    path: tuple[str, str]
    flavours: tuple[str, ...]
    amount: str
    claim: str
    claim2: str
    ground: Colour
    dark: Colour
    paper: Colour
    second: Colour
    layout: int
    logo: int
    style: Style
    size: tuple[float, float, float]
    art: str
    title: str
    serial: int


@dataclass(frozen=True)
class Product:
    """One thing with its own print.

    Args:
        line: Product line, shared with its look-alikes.
        variant: Number of the variant within its line.
        flavour: The variant's word, colour and drawing.
        number: The part number, volume, year or amount printed on it.
    """

    line: Line
    variant: int
    flavour: Flavour
    number: str

    @property
    def key(self) -> tuple[bool, int, int]:
        """What identifies the product within a set."""
        return self.line.own, self.line.number, self.variant

    @property
    def name(self) -> str:
        """Lower-case words joined by underscores, for folders and the taxonomy."""
        line = self.line
        if line.package in ("book", "poster"):
            text = f"{line.title} {self.number}"
        elif line.package == "parts":
            text = f"{line.brand} {line.noun} {self.number}"
        else:
            text = f"{line.brand} {self.flavour.name} {line.noun}"
        return "_".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


# Instances take these packages in turn, so that a small set shows all of them.
_TURN: tuple[Package, ...] = (
    "gable", "box", "parts", "tub", "poster", "can", "book", "pouch", "box", "jar",
    "parts", "bottle", "gable", "poster", "box", "can", "book", "tub", "pouch", "box",
)  # fmt: skip
_STOCK: tuple[Package, ...] = (
    "box", "box", "box", "box", "gable", "gable", "can", "can", "can", "bottle",
    "bottle", "jar", "jar", "tub", "tub", "pouch", "pouch", "parts", "parts", "book", "book", "poster",
)  # fmt: skip

_STYLES: tuple[Style, ...] = (
    Style(weight=0.06, slant=0.18),
    Style(weight=0.07, stretch=0.8),
    Style(weight=0.02, spacing=0.2),
    Style(weight=0.09, round=True),
    Style(weight=0.05, arc=0.22),
    Style(weight=0.03, stretch=1.3),
    Style(weight=0.08, cut=True),
    Style(weight=0.0, stretch=0.72),
    Style(weight=0.06, round=True, arc=0.3, slant=0.1),
    Style(weight=0.045, slant=0.25, stretch=1.15),
    Style(weight=0.1, stretch=0.9, spacing=0.06),
    Style(weight=0.055, arc=-0.2),
)


@lru_cache(maxsize=4096)
def line(seed: int, own: bool, number: int, package: Package | None = None) -> Line:
    """Return a product line; it depends on nothing but the arguments.

    Args:
        seed: Seed of the set.
        own: Whether instances come from it.
        number: Number of the object.
        package: Kind of package; None lets the line have its own (instances take all kinds in turn).
    """
    draw = rng(seed, "line", int(own), number)
    if package is None:
        package = _TURN[number % len(_TURN)] if own else _STOCK[int(draw.integers(len(_STOCK)))]
    offset = int(rng(seed, "brands").integers(_BRANDS))
    block, within = divmod(number, _BRANDS)
    brand = words.brand_name(2 * (block * _BRANDS + (offset + within * 7919) % _BRANDS) + int(not own))

    ground, dark, paper, second = PALETTES[int(draw.integers(len(PALETTES)))]
    hue, light = float(draw.uniform(-0.03, 0.03)), float(draw.uniform(-0.04, 0.04))
    ground, second = turned(ground, hue, light), turned(second, hue)
    style = _STYLES[int(draw.integers(len(_STYLES)))]
    layout, logo, serial = (int(v) for v in draw.integers(0, 10_000, 3))
    grow = float(draw.uniform(0.88, 1.12))
    slim = float(draw.uniform(0.92, 1.08))
    art = title = claim = claim2 = ""
    flavours: tuple[str, ...] = ()
    if package == "parts":
        part = goods.PART_KINDS[int(draw.integers(len(goods.PART_KINDS)))]
        noun, path, amount, art = part.noun, ("technical", "parts"), "", part.art
        width, height, depth = ((14, 10, 8), (11, 11, 7), (18, 11, 9))[int(draw.integers(3))]
        claim = f"{(2, 4, 6, 10, 25)[int(draw.integers(5))]} pcs"
        size: tuple[float, float, float] = (width, height, depth)
    elif package == "book":
        noun, claim = words.BOOK_GENRES[int(draw.integers(len(words.BOOK_GENRES)))]
        path, amount = ("media", "books"), ""
        title = f"{_one(draw, words.BOOK_FIRST)} {_one(draw, words.BOOK_SECOND)}"
        claim2 = f"{_one(draw, words.AUTHORS_FIRST)} {_one(draw, words.AUTHORS_LAST)}"
        size = (15, 22, float(draw.uniform(1.8, 4.2)))
    elif package == "poster":
        noun, path, amount = f"{_one(draw, words.POSTER_TOPICS)} poster", ("media", "posters"), ""
        title = f"{_one(draw, words.POSTER_FIRST)} {_one(draw, words.POSTER_SECOND)}"
        claim = f"{int(draw.integers(1, 29))} {_one(draw, words.MONTHS)}"
        size = (50, 70, 1)
    else:
        kinds = [kind for kind in goods.FOOD_KINDS if kind.package == package]
        kind = kinds[int(draw.integers(len(kinds)))]
        noun, path, size = kind.noun, kind.path, kind.size
        amount = _one(draw, kind.amounts)
        claim, claim2 = (str(c) for c in draw.permutation(kind.claims)[:2])
        flavours = tuple(str(f) for f in draw.permutation(kind.flavours))
    size = (size[0] * grow * slim, size[1] * grow, size[2] * grow * (slim if size[2] > 1 else 1))
    return Line(
        own, number, brand, package, noun, path, flavours, amount, claim, claim2,
        ground, dark, paper, second, layout, logo, style, size, art, title, serial,
    )  # fmt: skip


def _one(draw: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(draw.integers(len(options)))]


def variants(of: Line) -> int:
    """Return how many variants a line has; all of them differ in print."""
    return len(of.flavours) or _EDITIONS


def product(of: Line, variant: int) -> Product:
    """Return a variant of a line, ``0 <= variant < variants(of)``."""
    if of.flavours:
        return Product(of, variant, goods.FLAVOURS[of.flavours[variant]], of.amount)
    accent = of.second if of.layout % 2 else turned(of.second, 0.31 * variant)
    if of.package == "parts":
        prefix = next(p.prefix for p in goods.PART_KINDS if p.noun == of.noun)
        number = f"{prefix} {6000 + of.serial % 900}-{(4 * of.serial + 5 * variant) % 60 + 10}"
        return Product(of, variant, Flavour(of.noun, accent, of.art), number)
    ground = turned(of.ground, 0.17 * variant if of.layout % 3 else 0.0)
    if of.package == "book":
        return Product(of, variant, Flavour(of.noun, ground, ""), f"Volume {variant + 1}")
    return Product(of, variant, Flavour(of.noun, ground, ""), str(2016 + (of.serial + variant) % 12))


def instance(seed: int, index: int, sisters: bool = True) -> Product:
    """Return the product that is an instance of the set.

    Args:
        seed: Seed of the set.
        index: Number of the instance.
        sisters: Whether every sixth is a variant of the one before it; if not, each has its own line.
    """
    if not sisters:
        return product(line(seed, True, index), 0)
    group, place = divmod(index, SISTER_EVERY)
    sister = place == SISTER_EVERY - 1
    number = group * (SISTER_EVERY - 1) + (place - 1 if sister else place)
    return product(line(seed, True, number), int(sister))


def lookalike(seed: int, index: int, choice: float) -> Product:
    """Return a product of an instance's line that is no instance.

    Args:
        seed: Seed of the set.
        index: The instance.
        choice: In [0, 1), which of the look-alikes.
    """
    of = instance(seed, index).line
    return product(of, FIRST_LOOKALIKE + int(choice * (variants(of) - FIRST_LOOKALIKE)))


def paper_of(what: Product) -> Colour:
    """Return the light colour of a package, never so dark that print would drown."""
    return what.line.paper if luminance(what.line.paper) > 180 else mix(what.line.paper, WHITE, 0.5)


def print_on(ground: Colour, of: Line) -> Colour:
    """Return the colour of letters on a ground: the line's dark tone or its paper."""
    dark = of.dark if luminance(of.dark) < 90 else mix(of.dark, BLACK, 0.5)
    return darker(dark, 0.1) if luminance(ground) > 140 else of.paper
