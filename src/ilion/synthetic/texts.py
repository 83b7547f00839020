"""Text queries: what a person would say to describe a product."""

from __future__ import annotations

from collections import Counter

import cv2

from ilion.synthetic import printing
from ilion.synthetic.color import Colour
from ilion.synthetic.goods import Package
from ilion.synthetic.products import Product

_COLOUR_NAMES: tuple[tuple[str, Colour], ...] = (
    ("white", (250, 250, 248)), ("cream", (245, 235, 210)), ("black", (25, 25, 28)),
    ("grey", (140, 140, 142)),
    ("red", (205, 40, 40)), ("dark red", (125, 25, 40)), ("orange", (236, 125, 45)),
    ("yellow", (243, 205, 70)),
    ("gold", (205, 160, 60)), ("brown", (115, 75, 48)), ("beige", (205, 175, 135)),
    ("green", (80, 150, 75)),
    ("dark green", (40, 95, 70)), ("light green", (160, 195, 95)), ("teal", (25, 130, 130)),
    ("blue", (50, 95, 180)), ("dark blue", (28, 55, 105)), ("light blue", (140, 195, 222)),
    ("purple", (110, 65, 140)), ("violet", (150, 120, 195)), ("pink", (238, 160, 165)),
    ("magenta", (195, 35, 95)),
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
    "grapes": "grapes", "bubbles": "bubbles", "paw": "a paw print", "fish": "a fish",
    "chocolate": "a bar of chocolate",
}  # fmt: skip


def main_colours(what: Product) -> str:
    """Return the names of the one or two colours that cover most of a product's front."""
    small = cv2.resize(printing.front(what), (24, 24), interpolation=cv2.INTER_AREA)
    names = Counter(colour_name((int(r), int(g), int(b))) for r, g, b in small.reshape(-1, 3))
    (first, _), *rest = names.most_common(2)
    return f"{first} and {rest[0][0]}" if rest and rest[0][1] > 0.12 * small.shape[0] ** 2 else first


def describe(what: Product) -> str:
    """Return a description in two or three sentences, as a person would write a text query."""
    line, flavour, colours = what.line, what.flavour, main_colours(what)
    if line.package == "poster":
        return (
            f"A {colours} {line.noun} with the title {line.title} {what.number}. "
            f"It gives the date {line.claim} and is signed {line.brand}."
        )
    if line.package == "book":
        return (
            f'The book "{line.title}" by {line.claim2}, {what.number.lower()}, published by {line.brand}. '
            f"The cover is {colours} and says: {line.claim.lower()}."
        )
    if line.package == "parts":
        return (
            f"A box of {line.brand} {line.noun}s, part number {what.number}, {line.claim}. "
            f"The box is {colours}, with a drawing of the part, a table of sizes and a barcode."
        )
    art = _ART_WORDS.get(flavour.art, f"a {flavour.art}")
    return (
        f"{line.brand} {line.noun}, {flavour.name.lower()}, in a {_SHAPES[line.package]} of {what.number}. "
        f"The front is {colours} and shows {art} and the word {flavour.name} in large letters. "
        f'It says "{line.claim}".'
    )
