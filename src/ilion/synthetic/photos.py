"""The pictures of a set, one by one: query, positive, distractor.

Each depends only on the settings and its number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ilion.synthetic.exposure import expose
from ilion.synthetic.products import Product, instance, line, lookalike, product, variants
from ilion.synthetic.rooms import studio, wall
from ilion.synthetic.scenes import Scene, Wish
from ilion.synthetic.seeds import rng
from ilion.synthetic.shelf import shelf
from ilion.synthetic.stage import SUPERSAMPLE
from ilion.synthetic.tabletop import flatlay, table, workbench

Random = np.random.Generator
BLOCK = 100
"""Distractors that share a shop's stock of products; also the unit of work of one process."""
SMALLEST, LARGEST = 0.005, 0.52
"""Range of the target's share of the image."""
_LINES = 9_000  # of each of the two sorts below; more would need longer brand names
_STOCK_LINES = 28
_POSTER_LINES = 6


@dataclass(frozen=True)
class Settings:
    """Everything that a picture depends on, apart from its number.

    Args:
        seed: Seed of the set.
        instances: Number of instances.
        image_side: Pixels of the longer side.
        lookalikes: Whether look-alikes of the instances (and sister instances) occur.
    """

    seed: int
    instances: int
    image_side: int
    lookalikes: bool

    def product(self, index: int) -> Product:
        """Return an instance."""
        return instance(self.seed, index, self.lookalikes)


@dataclass(frozen=True)
class Photo:
    """A finished picture and what is known about it.

    Args:
        jpeg: Encoded bytes.
        size: Width and height in pixels.
        box: Left, top, width and height in whole pixels, within the image.
        clutter: Number of other objects that are visible.
        product: Product that the picture is about.
        kind: Name of the scene.
    """

    jpeg: bytes
    size: tuple[int, int]
    box: tuple[int, int, int, int]
    clutter: int
    product: Product
    kind: str

    @property
    def scale(self) -> float:
        """Area of the box as a fraction of the image."""
        return self.box[2] * self.box[3] / (self.size[0] * self.size[1])


Painter = Callable[[Random, Wish], Scene]

# Where products of a package are found, the likelier the more often named.
_PLACES: dict[str, tuple[Painter, ...]] = {
    "box": (shelf, shelf, table, flatlay),
    "gable": (shelf, shelf, table),
    "can": (shelf, table, table, workbench),
    "bottle": (shelf, table, table),
    "jar": (shelf, table),
    "tub": (shelf, shelf, table),
    "pouch": (shelf, shelf, table, flatlay),
    "parts": (workbench, workbench, shelf, flatlay),
    "book": (table, flatlay, shelf, workbench),
    "poster": (wall,),
}


@lru_cache(maxsize=8)
def stock(seed: int, shop: str, number: int) -> tuple[Product, ...]:
    """Return the products on sale in a shop; none of them is an instance or a look-alike of one."""
    draw = rng(seed, "shop", shop, number)
    goods: list[Product] = []
    for own_package, count in ((None, _STOCK_LINES), ("poster", _POSTER_LINES)):
        for which in draw.integers(0, _LINES, count):
            # The package is part of the number, so that a line is the same wherever it is met.
            of = line(seed, False, 2 * int(which) + (own_package is not None), own_package)
            first = int(draw.integers(variants(of)))
            for k in range(int(draw.integers(1, 4))):
                goods.append(product(of, (first + k) % variants(of)))
    return tuple(goods)


def _size(draw: Random, side: int, what: Product) -> tuple[int, int]:
    short = side * 3 // 4
    tall = what.line.size[1] > what.line.size[0] * 1.2
    portrait = draw.random() < (0.6 if tall else 0.3)
    if draw.random() < 0.12:
        return side, side
    return (short, side) if portrait else (side, short)


def _finished(draw: Random, scene: Scene, wish: Wish, harsh: float, kind: str) -> Photo:
    width, height = wish.size
    x0, y0, x1, y1 = (v / SUPERSAMPLE for v in scene.seen.box)
    left, top = int(np.clip(np.floor(x0), 0, width - 1)), int(np.clip(np.floor(y0), 0, height - 1))
    right, bottom = int(np.clip(np.ceil(x1), left + 1, width)), int(np.clip(np.ceil(y1), top + 1, height))
    box = (left, top, right - left, bottom - top)
    jpeg = expose(draw, scene.canvas, wish.size, harsh)
    return Photo(jpeg, wish.size, box, scene.seen.others, wish.target, kind)


def query(settings: Settings, index: int) -> Photo:
    """Return the clean product photo of an instance."""
    draw = rng(settings.seed, "query", index)
    what = settings.product(index)
    wish = Wish(what, (), float(draw.uniform(0.34, 0.48)), 0, _size(draw, settings.image_side, what))
    return _finished(draw, studio(draw, wish), wish, 0.12, "studio")


def positive(settings: Settings, index: int, number: int) -> Photo:
    """Return a photo of an instance in a cluttered scene.

    Sizes are spread evenly on a logarithmic scale: the n-th positive takes the n-th of a low-discrepancy
    sequence (multiples of the golden ratio modulo 1), so that any count of positives covers the range.
    """
    draw = rng(settings.seed, "positive", index, number)
    what = settings.product(index)
    start = float(rng(settings.seed, "sizes", index).random())
    spread = (start + number * 0.6180339887498949) % 1.0
    share = float(SMALLEST * (LARGEST / SMALLEST) ** spread)
    goods = stock(settings.seed, "positives", index // 4)
    if settings.lookalikes:
        goods += (lookalike(settings.seed, index, float(draw.random())),) * 4
    return _scene(draw, settings, what, goods, share)


def distractor(settings: Settings, index: int) -> Photo:
    """Return a photo that shows no instance: other products, look-alikes, or a single product."""
    draw = rng(settings.seed, "distractor", index)
    goods = stock(settings.seed, "distractors", index // BLOCK)
    choice, kind, which = (float(v) for v in draw.random(3))
    if settings.lookalikes and choice < 0.22:
        number = int(which * settings.instances)
        what = lookalike(settings.seed, number, float(draw.random()))
        goods += (what,) * 3
    else:
        what = goods[int(which * len(goods))]
    share = float(0.01 * 60 ** float(draw.random()))
    if kind < 0.14:
        wish = Wish(what, (), max(share, 0.08), 0, _size(draw, settings.image_side, what))
        plain = kind < 0.05
        return _finished(draw, studio(draw, wish, plain), wish, 0.12 if plain else 0.8, "studio")
    return _scene(draw, settings, what, goods, share)


def _scene(draw: Random, settings: Settings, what: Product, goods: Sequence[Product], share: float) -> Photo:
    places = _PLACES[what.line.package]
    place = places[int(draw.integers(len(places)))]
    others = tuple(p for p in goods if p.key != what.key)
    crowd = round(float(np.exp(draw.uniform(np.log(4), np.log(90)))))
    wish = Wish(what, others, share, crowd, _size(draw, settings.image_side, what))
    return _finished(draw, place(draw, wish), wish, 1.0, place.__name__)
