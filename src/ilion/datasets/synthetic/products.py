"""What is for sale: product lines (a brand and a design) and their variants (flavour, number, volume).

A product is identified by (kind of line, line number, variant). Instances come from lines of their own, whose brand
names no other line shares; a look-alike is another variant of an instance's line that is no instance itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ilion.datasets.synthetic import words
from ilion.datasets.synthetic.color import BLACK, PALETTES, WHITE, Colour, darker, luminance, mix, turned
from ilion.datasets.synthetic.ink import Style
from ilion.datasets.synthetic.seeds import rng
from ilion.datasets.synthetic.words import Flavour, Package

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
        number: Its number among the lines of that sort.
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
        line: What it shares with its look-alikes.
        variant: Which of the line's variants it is.
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
        number: Which one.
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
        part = words.PART_KINDS[int(draw.integers(len(words.PART_KINDS)))]
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
        title = _one(draw, words.POSTER_PLACES)
        claim = f"{int(draw.integers(1, 29))} {_one(draw, _MONTHS)}"
        size = (50, 70, 1)
    else:
        kinds = [kind for kind in words.FOOD_KINDS if kind.package == package]
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


_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


def _one(draw: object, options: tuple[str, ...] | list[str]) -> str:
    return options[int(draw.integers(len(options)))]  # type: ignore[attr-defined]


def variants(of: Line) -> int:
    """Return how many variants a line has; all of them differ in print."""
    return len(of.flavours) or _EDITIONS


def product(of: Line, variant: int) -> Product:
    """Return a variant of a line, ``0 <= variant < variants(of)``."""
    if of.flavours:
        return Product(of, variant, words.FLAVOURS[of.flavours[variant]], of.amount)
    accent = of.second if of.layout % 2 else turned(of.second, 0.31 * variant)
    if of.package == "parts":
        prefix = next(p.prefix for p in words.PART_KINDS if p.noun == of.noun)
        number = f"{prefix} {6000 + of.serial % 900}-{(4 * of.serial + 5 * variant) % 60 + 10}"
        return Product(of, variant, Flavour(of.noun, accent, of.art), number)
    ground = turned(of.ground, 0.17 * variant if of.layout % 3 else 0.0)
    if of.package == "book":
        return Product(of, variant, Flavour(of.noun, ground, ""), f"Volume {variant + 1}")
    return Product(of, variant, Flavour(of.noun, ground, ""), str(2016 + (of.serial + variant) % 12))


def instance(seed: int, index: int) -> Product:
    """Return the product that is an instance of the set."""
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


_COLOUR_NAMES: tuple[tuple[str, Colour], ...] = (
    ("white", (250, 250, 248)), ("cream", (245, 235, 210)), ("black", (25, 25, 28)), ("grey", (140, 140, 142)),
    ("red", (205, 40, 40)), ("dark red", (125, 25, 40)), ("orange", (236, 125, 45)), ("yellow", (243, 205, 70)),
    ("gold", (205, 160, 60)), ("brown", (115, 75, 48)), ("beige", (205, 175, 135)), ("green", (80, 150, 75)),
    ("dark green", (40, 95, 70)), ("light green", (160, 195, 95)), ("teal", (25, 130, 130)),
    ("blue", (50, 95, 180)), ("dark blue", (28, 55, 105)), ("light blue", (140, 195, 222)),
    ("purple", (110, 65, 140)), ("violet", (150, 120, 195)), ("pink", (238, 160, 165)), ("magenta", (195, 35, 95)),
)  # fmt: skip


def colour_name(colour: Colour) -> str:
    """Return the everyday name that is nearest to a colour.

    >>> colour_name((200, 30, 30))
    'red'
    """
    return min(
        _COLOUR_NAMES, key=lambda entry: sum((a - b) ** 2 for a, b in zip(entry[1], colour, strict=True))
    )[0]


_SHAPES: dict[Package, str] = {
    "box": "cardboard box", "gable": "gable-top carton", "can": "can", "bottle": "bottle", "jar": "glass jar",
    "tub": "round tub", "pouch": "stand-up pouch", "parts": "parts box", "book": "book", "poster": "poster",
}  # fmt: skip
_ART_WORDS = {
    "cluster": "berries", "citrus": "citrus fruit and a slice", "round": "a round fruit with a leaf",
    "peach": "a fruit with leaves", "bean": "roasted beans", "nut": "nuts", "wheat": "ears of grain",
    "leaves": "green leaves", "comb": "a honeycomb", "drop": "a drop", "flower": "a white flower",
    "bubbles": "bubbles", "paw": "a paw print", "fish": "a fish", "chocolate": "a bar of chocolate",
}  # fmt: skip


def describe(what: Product) -> str:
    """Return a description in two or three sentences, as a person would write a text query."""
    line, flavour = what.line, what.flavour
    shape = _SHAPES[line.package]
    ground = colour_name(line.ground)
    if line.package == "poster":
        return (
            f"A {colour_name(flavour.colour)} {line.noun} with the title {line.title} {what.number}. "
            f"It is printed with bold shapes and the date {line.claim}, and signed {line.brand}."
        )
    if line.package == "book":
        return (
            f'The book "{line.title}" by {line.claim2}, {what.number.lower()}, published by {line.brand}. '
            f"{line.claim} with a {colour_name(flavour.colour)} cover and large letters."
        )
    if line.package == "parts":
        return (
            f"A {shape} of {line.brand} {line.noun}s, part number {what.number}, {line.claim}. ".replace(
                "ss,", "s,"
            )
            + f"The box is {ground} and {colour_name(flavour.colour)} with a drawing of the part and a table of sizes."
        )
    art = _ART_WORDS.get(flavour.art, f"a {flavour.art}")
    accent = colour_name(flavour.colour)
    both = ground if ground == accent else f"{ground} and {accent}"
    return (
        f"{line.brand} {line.noun}, {flavour.name.lower()}, in a {both} {shape} of {what.number}. "
        f"The front shows {art} and the words {flavour.name} in large letters. "
        f'It says "{line.claim}".'
    )


def paper_of(what: Product) -> Colour:
    """Return the light colour of a package, never so dark that print would drown."""
    return what.line.paper if luminance(what.line.paper) > 180 else mix(what.line.paper, WHITE, 0.5)


def print_on(ground: Colour, of: Line) -> Colour:
    """Return the colour of letters on a ground: the line's dark tone or its paper."""
    dark = of.dark if luminance(of.dark) < 90 else mix(of.dark, BLACK, 0.5)
    return darker(dark, 0.1) if luminance(ground) > 140 else of.paper
