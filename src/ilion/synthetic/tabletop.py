"""Tables and benches: packages among crockery, fruit and tools, standing or laid out flat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ilion.synthetic.camera import F64, Camera, turn
from ilion.synthetic.ink import U8
from ilion.synthetic.products import Product
from ilion.synthetic.props import HEIGHTS
from ilion.synthetic.scenes import (
    LEAST_VISIBLE,
    Random,
    Scene,
    Wish,
    X,
    Y,
    Z,
    aim,
    backdrop,
    below,
    draw_light,
    shade_towards,
)
from ilion.synthetic.solids import ROUND, Light, Solid
from ilion.synthetic.stage import (
    Census,
    Lying,
    Standing,
    Thing,
    cast,
    paint_plane,
    ray_hits,
    shadow_mask,
)
from ilion.synthetic.surfaces import surface

SPANS = {"cloth": 48.0, "plaster": 140.0, "tiles": 70.0, "pegboard": 62.0}
"""Centimetres that a tile of a material covers; 110 for the others."""


@dataclass(frozen=True)
class Place:
    """What a kind of table is made of and what lies on it.

    Args:
        tops: Materials of the table.
        walls: Materials of the wall.
        standing: Names of `props.STANDING` things, and ``fruit``.
        lying: Names of `props.FLAT` things.
        tiny: Things spilt over it.
    """

    tops: tuple[str, ...]
    walls: tuple[str, ...]
    standing: tuple[str, ...]
    lying: tuple[str, ...]
    tiny: tuple[str, ...]


KITCHEN = Place(
    ("wood", "cloth", "stone", "wood"),
    ("tiles", "plaster", "wallpaper", "tiles"),
    ("mug", "glass", "fruit", "fruit", "fruit", "plant", "bowl", "kettle"),
    ("plate", "fork", "knife", "coffee", "leaf", "note"),
    ("sphere",),
)
BENCH = Place(
    ("wood", "wood", "stone"),
    ("pegboard",),
    ("cup", "mug", "cup", "lamp"),
    ("wrench", "screwdriver", "hammer", "pliers", "tape", "pen", "note"),
    ("nut", "screw"),
)


def table(draw: Random, wish: Wish) -> Scene:
    """Draw a kitchen table with crockery, fruit and other packages in front of a wall."""
    return _standing_scene(draw, wish, KITCHEN)


def workbench(draw: Random, wish: Wish) -> Scene:
    """Draw a bench with tools and small parts, and a pegboard with tools behind it."""
    return _standing_scene(draw, wish, BENCH)


def _pick(draw: Random, options: Sequence[str]) -> str:
    return options[int(draw.integers(len(options)))]


def _standing_scene(draw: Random, wish: Wish, place: Place) -> Scene:
    light = draw_light(draw)
    target = Solid(wish.target, np.zeros(3), turn(float(draw.uniform(-42, 42))))
    camera = aim(draw, wish, target, (-12, 12), (9, 34), (0.95, 1.5))
    back = -float(draw.uniform(22, 60)) - wish.target.line.size[2]
    wall_hits, top_hits = ray_hits(camera, 2, back), ray_hits(camera, 1, 0.0)
    # Where things may stand: what is seen, but no more than a large table.
    x0, x1 = max(wall_hits[:, 0].min(), -120.0), min(wall_hits[:, 0].max(), 120.0)
    front = float(min(top_hits[2:, 2].max(), camera.eye[2] - 12, 90.0))
    canvas = _room(draw, wish, place, camera, light, back)

    hung: list[Thing] = []
    if "pegboard" in place.walls:
        top_y = float(np.clip(wall_hits[:, 1].max(), 20, 90))
        for _ in range(round(wish.crowd * 0.4)):
            name = _pick(draw, ("wrench", "screwdriver", "hammer", "pliers"))
            at = np.array([draw.uniform(x0 - 30, x1 + 30), draw.uniform(12, top_y), back + 0.6])
            hung.append(Lying(name, int(draw.integers(10)), at, X, Y, HEIGHTS[name] * 1.1))

    spots = _Spots(draw, (x0, x1), (back + 8, front))
    spots.take(0.0, 0.0, _reach(wish.target))
    goods = [p for p in wish.stock if p.line.package != "poster"]
    things: list[Solid | Standing] = [target]
    lying: list[Thing] = []
    for _ in range(max(3, round(wish.crowd * float(draw.uniform(0.35, 0.65))))):
        what = goods[int(draw.integers(len(goods)))]
        if (spot := spots.find(_reach(what))) is not None:
            things.append(Solid(what, spot, turn(float(draw.uniform(-55, 55)))))
    for _ in range(max(2, round(wish.crowd * 0.25))):
        name = _pick(draw, place.standing)
        if (spot := spots.find(HEIGHTS[name] * 0.42)) is not None:
            height = HEIGHTS[name] * float(draw.uniform(0.9, 1.15))
            things.append(Standing(name, int(draw.integers(10)), spot, height))
    for _ in range(max(1, round(wish.crowd * 0.25))):
        name = _pick(draw, place.lying)
        if (spot := spots.find(HEIGHTS[name] * 0.3)) is not None:
            lying.append(_lay(draw, name, spot + 0.2 * Y, X, Z))
    if wish.crowd > 16:
        lying += _spill(draw, wish, place.tiny, camera, front)
    if draw.random() < 0.6:
        things.append(_occluder(draw, wish, goods, camera))
    return _draw(draw, wish, canvas, camera, light, target, hung, lying, things, 1)


def _room(draw: Random, wish: Wish, place: Place, camera: Camera, light: Light, back: float) -> U8:
    """Paint the wall and the top of the table."""
    top, wall, number = _pick(draw, place.tops), _pick(draw, place.walls), int(draw.integers(6))
    origin = back * Z

    def paint(ground: U8) -> None:
        paint_plane(ground, camera, origin, X, -Y, surface(wall, number), SPANS.get(wall, 110.0))
        shade_towards(ground, float(light.direction[0]))
        edge = below(camera, origin + np.array([(-600.0, 0, 0), (600.0, 0, 0)]))
        paint_plane(ground, camera, origin, X, Z, surface(top, (number + 1) % 6), SPANS.get(top, 110.0), edge)

    return backdrop(wish, paint, float(draw.uniform(0, 1.1)))


def _reach(what: Product) -> float:
    width, _, depth = what.line.size
    return 0.5 * float(np.hypot(width, depth))


class _Spots:
    """Finds free places on the ground; likelier near the middle.

    Args:
        draw: Random numbers.
        xs: Range of the first coordinate.
        zs: Range of the second one.
    """

    def __init__(self, draw: Random, xs: tuple[float, float], zs: tuple[float, float]) -> None:
        self._draw = draw
        self._low = np.array([xs[0], min(zs)])
        self._high = np.array([xs[1], max(zs)])
        self._taken: list[tuple[float, float, float]] = []

    def take(self, x: float, z: float, radius: float) -> None:
        """Mark a place as taken."""
        self._taken.append((x, z, radius))

    def find(self, radius: float) -> F64 | None:
        """Return a free place (x, 0, z) and take it; None when eight tries found none."""
        for _ in range(8):
            even = self._draw.random(2)
            middle = (even + self._draw.random(2)) / 2
            share = even if self._draw.random() < 0.4 else middle
            x, z = (self._low + share * (self._high - self._low)).tolist()
            if all((x - a) ** 2 + (z - b) ** 2 > (radius + r) ** 2 for a, b, r in self._taken):
                self.take(x, z, radius)
                return np.array([x, 0.0, z])
        return None


def _lay(draw: Random, name: str, at: F64, first: F64, second: F64) -> Lying:
    """Lay a flat thing down in any direction of the plane of two unit vectors."""
    a = float(draw.uniform(0, 2 * np.pi))
    c, s = float(np.cos(a)), float(np.sin(a))
    return Lying(
        name, int(draw.integers(10)), at, c * first + s * second, s * first - c * second, HEIGHTS[name]
    )


def _spill(draw: Random, wish: Wish, names: tuple[str, ...], camera: Camera, front: float) -> list[Thing]:
    """Spill small things around the target, so that close views can be crowded too."""
    reach = max(_reach(wish.target), 0.12 * (front + 20))
    tone = int(draw.integers(10))
    out: list[Thing] = []
    for x, z in draw.normal(0, 1, (round(wish.crowd * float(draw.uniform(0.4, 1.1))), 2)):
        at = np.array([x * reach * 2.2, 0.15, reach * (0.9 + 1.1 * z)])
        # Not under the target, and not at the lens.
        if np.hypot(at[0], at[2]) < _reach(wish.target) or camera.depth(at) < 8:
            continue
        name = _pick(draw, names)
        if name == "sphere":
            out.append(Standing("sphere", tone, at, float(draw.uniform(1.2, 2.2))))
        else:
            out.append(_lay(draw, name, at, X, Z))
    return out


def _occluder(draw: Random, wish: Wish, goods: list[Product], camera: Camera) -> Solid:
    """Put a product partly in front of the target."""
    what = goods[int(draw.integers(len(goods)))]
    towards = camera.eye * (X + Z)
    towards = towards / np.linalg.norm(towards)
    aside = np.cross(Y, towards) * float(draw.choice([-1.0, 1.0]))
    gap = (_reach(wish.target) + _reach(what)) * float(draw.uniform(0.8, 1.15))
    shift = wish.target.line.size[0] * float(draw.uniform(0.35, 0.8))
    return Solid(what, towards * gap + aside * shift, turn(float(draw.uniform(-40, 40))))


def _draw(
    draw: Random,
    wish: Wish,
    canvas: U8,
    camera: Camera,
    light: Light,
    target: Solid,
    hung: list[Thing],
    lying: list[Thing],
    things: list[Solid | Standing],
    axis: int,
    over: Sequence[Thing] = (),
) -> Scene:
    """Take away what hides the target, cast shadows, and draw from far to near.

    Args:
        draw: Random numbers.
        wish: Scene to show.
        canvas: The background.
        camera: The camera.
        light: The light.
        target: The target, one of ``things``.
        hung: Things on the wall.
        lying: Flat things on the ground.
        things: Things that stand on the ground and cast shadows.
        axis: Normal of the ground.
        over: Things that are drawn last, over all others.
    """
    near = camera.focal / max(camera.width, camera.height) * 9
    ordered = sorted(
        (t for t in things if t is target or camera.depth(t.foot) > near),
        key=lambda t: camera.depth(t.foot),
        reverse=True,
    )
    census = Census(camera, target)
    while True:
        seen = census.count([*hung, *lying, *ordered, *over])
        after = ordered[ordered.index(target) + 1 :]
        if seen.visible >= LEAST_VISIBLE or not after:
            break
        ordered.remove(after[int(draw.integers(len(after)))])
    for thing in (*hung, *lying):
        thing.draw(canvas, camera, light)
    casters = [t for t in ordered if isinstance(t, Solid)]
    # A standing cut-out casts the shadow of a small box at its foot.
    casters += [Solid(target.what, t.foot, np.eye(3) * 0.4) for t in ordered if isinstance(t, Standing)]
    cast(canvas, shadow_mask(camera, casters, axis, 0.0, light, wish.canvas), 0.85)
    for thing in (*ordered, *over):
        thing.draw(canvas, camera, light)
    return Scene(canvas, seen)


def flatlay(draw: Random, wish: Wish) -> Scene:
    """Draw things laid out flat on a table or the floor, seen from above, in any orientation."""
    light = draw_light(draw)
    w, h, d = wish.target.line.size
    rotation = turn(0.0, float(draw.uniform(0, 360)) if draw.random() < 0.6 else float(draw.normal(0, 14)))
    target = Solid(wish.target, rotation @ np.array([0, -h / 2, d / 2]), rotation)
    camera = aim(draw, wish, target, (-24, 24), (-20, 20))
    seen = ray_hits(camera, 2, 0.0)
    low, high = np.clip(seen.min(axis=0), -120, 120), np.clip(seen.max(axis=0), -120, 120)
    name, number = _pick(draw, ("wood", "cloth", "stone", "floor", "wood", "tiles")), int(draw.integers(6))

    def paint(ground: U8) -> None:
        paint_plane(ground, camera, np.zeros(3), X, -Y, surface(name, number), SPANS.get(name, 110.0))
        shade_towards(ground, float(light.direction[0]))

    canvas = backdrop(wish, paint, 0.0)
    spots = _Spots(draw, (low[0], high[0]), (low[1], high[1]))
    spots.take(0.0, 0.0, 0.5 * float(np.hypot(w, h)))
    goods = [p for p in wish.stock if p.line.package not in (*ROUND, "gable", "poster")]
    flat = (BENCH if wish.target.line.package == "parts" else KITCHEN).lying
    tiny = ("nut", "screw") if wish.target.line.package == "parts" else ("leaf", "pen")
    things: list[Solid | Standing] = [target]
    lying: list[Thing] = []
    for _ in range(round(wish.crowd * 1.2)):
        if goods and draw.random() < 0.45:
            what = goods[int(draw.integers(len(goods)))]
            a, b, c = what.line.size
            if (spot := spots.find(0.42 * float(np.hypot(a, b)))) is not None:
                about = turn(0.0, float(draw.uniform(0, 360)))
                things.append(Solid(what, spot[[0, 2, 1]] + about @ np.array([0, -b / 2, c / 2]), about))
        else:
            prop_name = _pick(draw, (*flat, *tiny))
            if (spot := spots.find(HEIGHTS[prop_name] * 0.35)) is not None:
                lying.append(_lay(draw, prop_name, spot[[0, 2, 1]] + 0.2 * Z, X, Y))
    over: list[Thing] = []
    if draw.random() < 0.4:  # something lies across a corner of the target
        corner = np.array([w * draw.choice([-0.5, 0.5]), h * draw.choice([-0.5, 0.5]), 0])
        over.append(_lay(draw, _pick(draw, flat), rotation @ corner + (d + 0.6) * Z, X, Y))
    return _draw(draw, wish, canvas, camera, light, target, [], lying, things, 2, over)
