"""A supermarket shelf: boards with rows of goods, several of one product side by side, and price tags."""

from __future__ import annotations

import cv2
import numpy as np

from ilion.synthetic.camera import Camera, turn
from ilion.synthetic.color import Colour, darker, lighter, parse
from ilion.synthetic.ink import U8
from ilion.synthetic.products import Product
from ilion.synthetic.scenes import Random, Scene, Wish, X, Y, Z, aim, backdrop, below
from ilion.synthetic.solids import Light, Solid
from ilion.synthetic.stage import Block, Census, Tag, Thing, cast, paint_plane, ray_hits, shadow_mask
from ilion.synthetic.surfaces import surface

BOARD = 2.2
DEPTH = 36.0
"""Centimetres."""
_COLOURS: tuple[Colour, ...] = tuple(parse(c) for c in ("e8e6e0", "4a4d52", "b98d5d", "d8dde0"))


def shelf(draw: Random, wish: Wish) -> Scene:
    """Draw rows of goods on the boards of a shop shelf, with price tags."""
    light = Light(np.array([0.1, 0.6, 0.79]), float(draw.uniform(0.6, 0.72)))
    target = Solid(
        wish.target, np.array([0, 0, -wish.target.line.size[2] / 2]), turn(float(draw.uniform(-14, 14)))
    )
    camera = aim(draw, wish, target, (-32, 32), (-6, 20))
    seen = ray_hits(camera, 2, 0.0)
    x0, x1 = max(seen[:, 0].min(), -260.0) - 8, min(seen[:, 0].max(), 260.0) + 8
    y0, y1 = max(seen[:, 1].min(), -170.0), min(seen[:, 1].max(), 190.0)
    rows = _rows(draw, wish, y0, y1)
    colour = _COLOURS[int(draw.integers(len(_COLOURS)))]
    canvas = _background(draw, wish, camera, colour, min(row[0] for row in rows) - 10)

    things: list[Thing] = []
    rows.sort(key=lambda row: -abs(row[0] + row[1] / 2 - camera.eye[1]))
    for level, tall, choice in rows:
        _board(x0, x1, level - BOARD, level, -DEPTH, 1.2, colour).draw(canvas, camera, light)
        row, tags = _fill(draw, wish, target if level == 0 else None, choice, (x0, x1), level, tall)
        if camera.eye[1] > level:
            cast(canvas, shadow_mask(camera, row, 1, level, light, wish.canvas), 0.75)
        row.sort(key=lambda solid: camera.depth(solid.foot), reverse=True)
        for solid in row:
            solid.draw(canvas, camera, light)
        _board(x0, x1, level - 3.4, level + 0.4, 1.2, 1.5, lighter(colour, 0.15)).draw(canvas, camera, light)
        for tag in tags:
            tag.draw(canvas, camera, light)
        things += [*row, *tags]
    return Scene(canvas, Census(camera, target).count(things))


def _board(x0: float, x1: float, y0: float, y1: float, z0: float, z1: float, colour: Colour) -> Block:
    r, g, b = colour
    return Block(np.array([x0 - 60, y0, z0]), np.array([x1 + 60, y1, z1]), (float(r), float(g), float(b)))


def _rows(draw: Random, wish: Wish, y0: float, y1: float) -> list[tuple[float, float, list[Product]]]:
    """Return level, clear height and goods of each board; the target's board is at level 0."""
    tall = wish.target.line.size[1] * float(draw.uniform(1.08, 1.22)) + 3
    rows = [(0.0, tall, _section(draw, wish, tall))]
    level = tall + BOARD
    while level < y1 and len(rows) < 9:
        goods = _section(draw, wish, None)
        tall = max(p.line.size[1] for p in goods) * 1.06 + 3
        rows.append((level, tall, goods))
        level += tall + BOARD
    level = -BOARD
    while level > y0 and len(rows) < 14:
        goods = _section(draw, wish, None)
        tall = max(p.line.size[1] for p in goods) * 1.06 + 3
        rows.append((level - tall, tall, goods))
        level -= tall + BOARD
    return rows


def _section(draw: Random, wish: Wish, tall: float | None) -> list[Product]:
    """Return goods of about the same height for one board; the target's look-alikes beside the target."""
    goods = [p for p in wish.stock if p.line.package != "poster"]
    if tall is not None:
        like = [p for p in goods if p.key[:2] == wish.target.key[:2]]
        fit = [p for p in goods if 0.45 * tall < p.line.size[1] < tall - 1.5]
        return [*like, *(fit[int(k)] for k in draw.integers(0, len(fit), 6))] if fit else like
    pivot = goods[int(draw.integers(len(goods)))].line.size[1]
    some = [goods[int(k)] for k in draw.integers(0, len(goods), 16)]
    return sorted(some, key=lambda p: abs(p.line.size[1] - pivot))[:6]


def _background(draw: Random, wish: Wish, camera: Camera, colour: Colour, floor: float) -> U8:
    number = int(draw.integers(4))

    def paint(ground: U8) -> None:
        tile = surface("pegboard", 2 if sum(colour) < 400 else 1)
        paint_plane(ground, camera, np.array([0, 0, -DEPTH]), X, -Y, tile, 60.0)
        cv2.convertScaleAbs(ground, dst=ground, alpha=0.42)
        line = np.array([(-400, floor, 0.0), (400, floor, 0.0)])
        material = surface("tiles" if colour[0] > 200 else "floor", number)
        paint_plane(ground, camera, line[0] + 400 * X, X, Z, material, 90.0, below(camera, line))

    canvas = backdrop(wish, paint, 0.8)
    _board(-340, 340, floor, floor + 10, -DEPTH, 0.5, darker(colour, 0.5)).draw(canvas, camera, Light(Z, 0.5))
    return canvas


def _fill(
    draw: Random,
    wish: Wish,
    target: Solid | None,
    goods: list[Product],
    reach: tuple[float, float],
    level: float,
    tall: float,
) -> tuple[list[Solid], list[Tag]]:
    """Fill a board with facings, and a tag below each group; the target, if any, has one facing."""
    solids: list[Solid] = []
    tags: list[Tag] = []
    spans = [reach]
    if target is not None:
        half = wish.target.line.size[0] / 2 + float(draw.uniform(0.6, 2.0))
        spans = [(reach[0], -half), (half, reach[1])]
        solids.append(target)
        tags.append(Tag(int(draw.integers(60)), np.array([0.0, level - 1.5, 1.6])))
    full = float(np.clip(draw.uniform(0.75, 1.2), 0, 1))
    # Products behind the first ones show only where the camera is near.
    behind = 2 if wish.share > 0.03 else 0
    for start, end in spans:
        x = start
        while x < end and goods:
            what = goods[int(draw.integers(len(goods)))]
            width, _, depth = what.line.size
            group = int(draw.integers(1, 5))
            tags.append(Tag(int(draw.integers(60)), np.array([x + group * width / 2, level - 1.5, 1.6])))
            for _ in range(group):
                if x + width > end:
                    x = end
                    break
                if draw.random() < full:
                    tidy = draw.random() < 0.85
                    yaw = float(draw.normal(0, 4)) if tidy else float(draw.uniform(-25, 25))
                    back = float(draw.uniform(-3, -0.4)) if tidy else float(draw.uniform(-14, -3))
                    for k in range(1 + behind):
                        z = back - depth * (0.5 + 1.05 * k)
                        if z - depth / 2 < -DEPTH:
                            break
                        foot = np.array([x + width / 2, level, z])
                        solids.append(Solid(what, foot, turn(yaw if k == 0 else float(draw.normal(0, 3)))))
                x += width * float(draw.uniform(1.03, 1.12))
    return solids, tags
