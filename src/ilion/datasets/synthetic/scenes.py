"""Scenes: a supermarket shelf, a table, a workbench, a wall of posters, things laid out flat, a studio.

Every scene takes a target product, the share of the image that it shall cover, and a stock of other products; it
returns the picture and what is known about it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from ilion.datasets.synthetic.camera import F64, Camera, turn
from ilion.datasets.synthetic.color import darker, lighter, parse
from ilion.datasets.synthetic.ink import U8
from ilion.datasets.synthetic.products import Product
from ilion.datasets.synthetic.props import HEIGHTS, surface
from ilion.datasets.synthetic.solids import ROUND, Light, Solid
from ilion.datasets.synthetic.stage import (
    SUPERSAMPLE,
    Block,
    Lying,
    Seen,
    Standing,
    Tag,
    Thing,
    cast,
    census,
    paint_plane,
    ray_hits,
    shadow_mask,
    solve_camera,
)

Random = np.random.Generator
X, Y, Z = np.eye(3)
LEAST_VISIBLE = 0.4
"""Occluders are taken away until at least this share of the target can be seen."""


@dataclass(frozen=True)
class Wish:
    """What a scene shall show.

    Args:
        target: The product that the picture is about.
        stock: Other products, to put around it.
        share: Area of the target's box as a fraction of the image.
        crowd: About how many other things to place, where the scene allows a choice.
        size: Width and height in pixels of the finished picture.
    """

    target: Product
    stock: Sequence[Product]
    share: float
    crowd: int
    size: tuple[int, int]

    @property
    def canvas(self) -> tuple[int, int]:
        """Width and height that are drawn."""
        return self.size[0] * SUPERSAMPLE, self.size[1] * SUPERSAMPLE


@dataclass(frozen=True)
class Scene:
    """A drawn scene, still `SUPERSAMPLE` times too large, without the camera's faults."""

    canvas: U8
    seen: Seen


def _light(draw: Random) -> Light:
    direction = np.array([draw.uniform(-0.8, 0.8), draw.uniform(0.5, 1.1), draw.uniform(0.5, 1.0)])
    return Light(direction / np.linalg.norm(direction), float(draw.uniform(0.45, 0.7)))


def _direction(yaw: float, pitch: float) -> F64:
    a, b = np.radians(yaw), np.radians(pitch)
    return np.array([np.sin(a) * np.cos(b), np.sin(b), np.cos(a) * np.cos(b)])


def _off(draw: Random) -> tuple[float, float]:
    x, y = draw.uniform(-0.75, 0.75, 2)
    return float(x), float(y)


def _backdrop(wish: Wish, paint: Callable[[U8], None], blur: float) -> U8:
    """Paint planes at the finished size, blur them, and enlarge them to the canvas."""
    ground = np.zeros((wish.size[1], wish.size[0], 3), np.uint8)
    paint(ground)
    if blur > 0.3:
        ground = cv2.GaussianBlur(ground, (0, 0), blur)
    return cv2.resize(ground, wish.canvas, interpolation=cv2.INTER_LINEAR)


def _shade_towards(ground: U8, side: float) -> None:
    """Darken a wall away from the light; ``side`` in [-1, 1] is where the light comes from."""
    height, width = ground.shape[:2]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(1, -0.6, height, dtype=np.float32)[:, None]
    gain = np.clip(0.92 + 0.16 * side * x + 0.1 * y, 0.5, 1.15).astype(np.float32)
    cv2.multiply(ground, cv2.merge([gain] * 3), dst=ground, dtype=cv2.CV_8U)


def shelf(draw: Random, wish: Wish) -> Scene:
    """Rows of goods on the boards of a shop shelf, with price tags."""
    light = Light(np.array([0.1, 0.6, 0.79]), float(draw.uniform(0.6, 0.72)))
    target = Solid(wish.target, np.zeros(3), turn(float(draw.uniform(-14, 14))))
    camera = solve_camera(
        target, _direction(float(draw.uniform(-32, 32)), float(draw.uniform(-8, 22))), wish.share,
        float(draw.uniform(0.9, 1.4)), float(draw.normal(0, 3)), _off(draw), wish.canvas,
    )  # fmt: skip
    depth = 34.0
    corners = ray_hits(camera, 2, 0.0)
    x0, x1 = max(corners[:, 0].min(), -260.0), min(corners[:, 0].max(), 260.0)
    y0, y1 = max(corners[:, 1].min(), -170.0), min(corners[:, 1].max(), 190.0)
    goods = [p for p in wish.stock if p.line.package != "poster"]
    like = [p for p in goods if p.line is wish.target.line]
    metal = (parse("e8e6e0"), parse("4a4d52"), parse("b98d5d"), parse("d8dde0"))[int(draw.integers(4))]
    # Rows upwards from the target's, then downwards.
    heights = {0: wish.target.line.size[1] * float(draw.uniform(1.08, 1.25)) + 3}
    rows: list[tuple[float, float, list[Product]]] = []
    level, number = 0.0, 0
    while level < y1 and number < 9:
        choice = [goods[int(k)] for k in draw.integers(0, len(goods), 8)]
        if number == 0:
            choice = [p for p in choice if p.line.size[1] < heights[0] - 1.5] + like
            tall = heights[0]
        else:
            tall = max(p.line.size[1] for p in choice) * 1.08 + 3
        rows.append((level, tall, choice or [wish.target]))
        level, number = level + tall + 2.2, number + 1
    level = -2.2
    while level > y0 and len(rows) < 14:
        choice = [goods[int(k)] for k in draw.integers(0, len(goods), 8)]
        tall = max(p.line.size[1] for p in choice) * 1.08 + 3
        level -= tall
        rows.append((level, tall, choice))
        level -= 2.2
    bottom = min(r[0] for r in rows)

    def paint(ground: U8) -> None:
        ground[:] = darker(metal, 0.72)
        tile = surface("pegboard", 2 if sum(metal) < 400 else 1)
        paint_plane(ground, camera, np.array([0, 0, -depth]), X, -Y, tile, 60.0)
        cv2.convertScaleAbs(ground, dst=ground, alpha=0.42)
        if y0 < bottom - 8:
            line = camera.project(np.array([(-400, bottom - 10, 0.0), (400, bottom - 10, 0.0)]))
            edge = np.vstack([line, [(camera.width + 200, camera.height * 2), (-200, camera.height * 2)]])
            floor = surface("tiles" if metal[0] > 200 else "floor", int(draw.integers(4)))
            paint_plane(ground, camera, np.array([0, bottom - 10.0, 0]), X, Z, floor, 90.0, edge)

    canvas = _backdrop(wish, paint, 0.8)
    things: list[Thing] = []
    rows.sort(key=lambda row: -abs(row[0] + row[1] / 2 - camera.eye[1]))
    for level, tall, choice in rows:
        board = Block(
            np.array([x0 - 60, level - 2.2, -depth]),
            np.array([x1 + 60, level, 1.2]),
            tuple(map(float, metal)),
        )
        board.draw(canvas, camera, light)
        row, tags = _row(draw, wish, target, choice, (x0, x1), level, tall)
        if camera.eye[1] > level:
            cast(canvas, shadow_mask(camera, row, 1, level, light, wish.canvas), 0.75)
        row.sort(key=lambda solid: -abs(float(solid.foot[0] - camera.eye[0])))
        for solid in row:
            solid.draw(canvas, camera, light)
        lip = Block(
            np.array([x0 - 60, level - 3.6, 1.2]),
            np.array([x1 + 60, level + 0.4, 1.5]),
            tuple(map(float, lighter(metal, 0.15))),
        )
        lip.draw(canvas, camera, light)
        for tag in tags:
            tag.draw(canvas, camera, light)
        things += [*row, *tags]
    return Scene(canvas, census(camera, things, target))


def _row(
    draw: Random,
    wish: Wish,
    target: Solid,
    choice: list[Product],
    reach: tuple[float, float],
    level: float,
    tall: float,
) -> tuple[list[Solid], list[Tag]]:
    """Fill a board with facings, several of one product side by side, and a tag below each group."""
    solids: list[Solid] = []
    tags: list[Tag] = []
    spans = [(reach[0] - 8, reach[1] + 8)]
    if level == 0.0:
        half = wish.target.line.size[0] / 2 + float(draw.uniform(0.6, 2.0))
        spans = [(reach[0] - 8, -half), (half, reach[1] + 8)]
        solids.append(target)
        tags.append(Tag(int(draw.integers(60)), np.array([0.0, level - 1.6, 1.6])))
    fits = [p for p in choice if p.line.size[1] < tall - 1 and p.key != wish.target.key] or [
        p for p in wish.stock if p.line.size[1] < tall - 1 and p.line.package != "poster"
    ]
    full = float(np.clip(draw.uniform(0.75, 1.2), 0, 1))
    for start, end in spans:
        x = start
        while x < end and fits:
            what = fits[int(draw.integers(len(fits)))]
            width = what.line.size[0]
            group = int(draw.integers(1, 5))
            tags.append(Tag(int(draw.integers(60)), np.array([x + group * width / 2, level - 1.6, 1.6])))
            for _ in range(group):
                if x + width > end:
                    x = end
                    break
                if draw.random() < full:
                    yaw = float(draw.normal(0, 4)) if draw.random() < 0.85 else float(draw.uniform(-25, 25))
                    back = (
                        float(draw.uniform(-3, -0.4))
                        if draw.random() < 0.85
                        else float(draw.uniform(-14, -3))
                    )
                    foot = np.array([x + width / 2, level, back - what.line.size[2] / 2])
                    solids.append(Solid(what, foot, turn(yaw)))
                x += width * float(draw.uniform(1.03, 1.12))
    return solids, tags


def table(draw: Random, wish: Wish) -> Scene:
    """A kitchen table with crockery, fruit and other packages in front of a wall."""
    names = ("mug", "glass", "fruit", "fruit", "fruit", "plant", "bowl", "kettle")
    flat = ("plate", "fork", "knife", "coffee", "leaf", "note")
    top = ("wood", "cloth", "stone", "wood")[int(draw.integers(4))]
    wall = ("tiles", "plaster", "wallpaper", "tiles")[int(draw.integers(4))]
    return _surface_scene(draw, wish, names, flat, "sphere", top, wall)


def workbench(draw: Random, wish: Wish) -> Scene:
    """A bench with tools and small parts; a pegboard with tools behind it."""
    names = ("cup", "mug", "cup", "lamp")
    flat = ("wrench", "screwdriver", "hammer", "pliers", "tape", "screw", "nut", "pen", "note")
    return _surface_scene(
        draw, wish, names, flat, "nut", "wood" if draw.random() < 0.7 else "stone", "pegboard"
    )


def _surface_scene(
    draw: Random, wish: Wish, names: tuple[str, ...], flat: tuple[str, ...], tiny: str, top: str, wall: str
) -> Scene:
    light = _light(draw)
    target = Solid(wish.target, np.zeros(3), turn(float(draw.uniform(-42, 42))))
    camera = solve_camera(
        target, _direction(float(draw.uniform(-12, 12)), float(draw.uniform(9, 36))), wish.share,
        float(draw.uniform(0.95, 1.5)), float(draw.normal(0, 4)), _off(draw), wish.canvas,
    )  # fmt: skip
    back = -float(draw.uniform(25, 75)) - wish.target.line.size[2]
    wall_hits, top_hits = ray_hits(camera, 2, back), ray_hits(camera, 1, 0.0)
    x0, x1 = max(wall_hits[:, 0].min(), -170.0), min(wall_hits[:, 0].max(), 170.0)
    front = float(min(top_hits[2:, 2].max(), camera.eye[2] - 12))
    number = int(draw.integers(6))

    def paint(ground: U8) -> None:
        paint_plane(
            ground,
            camera,
            np.array([0, 0, back]),
            X,
            -Y,
            surface(wall, number),
            70.0 if wall != "plaster" else 140.0,
        )
        _shade_towards(ground, float(light.direction[0]))
        line = camera.project(np.array([(-600, 0, back), (600, 0, back)]))
        edge = np.vstack(
            [line, [(camera.width * 3, camera.height * 3), (-camera.width * 2, camera.height * 3)]]
        )
        paint_plane(
            ground,
            camera,
            np.array([0, 0, back]),
            X,
            Z,
            surface(top, number + 1),
            110.0 if top != "cloth" else 48.0,
            edge,
        )

    canvas = _backdrop(wish, paint, float(draw.uniform(0, 1.1)))
    hung: list[Thing] = []
    if wall == "pegboard":
        for _ in range(int(min(wish.crowd * 0.35, 14))):
            name = ("wrench", "screwdriver", "hammer", "pliers")[int(draw.integers(4))]
            at = np.array([draw.uniform(x0, x1), draw.uniform(16, 70), back + 0.6])
            hung.append(Lying(name, int(draw.integers(10)), at, X, Y, HEIGHTS[name] * 1.15))
    placed: list[tuple[float, float, float]] = [(0.0, 0.0, _reach(wish.target))]
    solids: list[Solid] = [target]
    upright: list[Standing] = []
    lying: list[Thing] = []
    goods = [p for p in wish.stock if p.line.package != "poster"]
    for _ in range(max(2, round(wish.crowd * float(draw.uniform(0.3, 0.6))))):
        what = goods[int(draw.integers(len(goods)))]
        spot = _spot(draw, placed, _reach(what), (x0, x1), (back + 8, front))
        if spot is not None:
            solids.append(Solid(what, np.array([spot[0], 0, spot[1]]), turn(float(draw.uniform(-55, 55)))))
    for _ in range(max(1, round(wish.crowd * 0.25))):
        name = names[int(draw.integers(len(names)))]
        spot = _spot(draw, placed, HEIGHTS[name] * 0.42, (x0, x1), (back + 8, front))
        if spot is not None:
            height = HEIGHTS[name] * float(draw.uniform(0.9, 1.15))
            upright.append(Standing(name, int(draw.integers(10)), np.array([spot[0], 0, spot[1]]), height))
    for _ in range(max(1, round(wish.crowd * 0.2))):
        name = flat[int(draw.integers(len(flat)))]
        spot = _spot(draw, placed, HEIGHTS[name] * 0.3, (x0, x1), (back + 8, front))
        if spot is not None:
            lying.append(_lay(draw, name, np.array([spot[0], 0.2, spot[1]])))
    if wish.crowd > 20:
        lying += _scatter(draw, tiny, wish.crowd // 2, camera, front)
    if draw.random() < 0.6:
        solids.append(_occluder(draw, wish, goods, camera))
    return _finish(draw, wish, canvas, camera, light, target, hung, lying, [*solids, *upright], 1, 0.0)


def _reach(what: Product) -> float:
    width, _, depth = what.line.size
    return 0.5 * float(np.hypot(width, depth))


def _spot(
    draw: Random,
    placed: list[tuple[float, float, float]],
    radius: float,
    xs: tuple[float, float],
    zs: tuple[float, float],
) -> tuple[float, float] | None:
    """Find a free place; None when eight tries found none."""
    for _ in range(8):
        x, z = float(draw.uniform(*xs)), float(draw.uniform(min(zs), max(zs)))
        if all((x - a) ** 2 + (z - b) ** 2 > (radius + r) ** 2 for a, b, r in placed):
            placed.append((x, z, radius))
            return x, z
    return None


def _lay(draw: Random, name: str, at: F64) -> Lying:
    a = float(draw.uniform(0, 2 * np.pi))
    across = np.array([np.cos(a), 0, np.sin(a)])
    return Lying(name, int(draw.integers(10)), at, across, np.cross(across, Y), HEIGHTS[name])


def _scatter(draw: Random, name: str, count: int, camera: Camera, front: float) -> list[Thing]:
    """Spill small things over a part of the table."""
    cx, cz = float(draw.uniform(-22, 22)), float(draw.uniform(2, max(4, min(front, 30))))
    spread = float(draw.uniform(5, 14))
    out: list[Thing] = []
    tone = int(draw.integers(10))
    for x, z in draw.normal(0, spread, (count, 2)):
        at = np.array([cx + x, 0.15, cz + 0.6 * z])
        if camera.depth(at) < 8:
            continue
        if name == "sphere":
            out.append(Standing("sphere", tone, at, float(draw.uniform(1.4, 2.4))))
        else:
            out.append(_lay(draw, ("nut", "screw")[int(draw.integers(2))], at))
    return out


def _occluder(draw: Random, wish: Wish, goods: list[Product], camera: Camera) -> Solid:
    """Put a product partly in front of the target."""
    what = goods[int(draw.integers(len(goods)))]
    towards = camera.eye * np.array([1.0, 0, 1.0])
    towards = towards / np.linalg.norm(towards)
    aside = np.cross(Y, towards) * float(draw.choice([-1.0, 1.0]))
    gap = _reach(wish.target) + _reach(what)
    foot = towards * gap * float(draw.uniform(0.8, 1.15)) + aside * wish.target.line.size[0] * float(
        draw.uniform(0.35, 0.8)
    )
    return Solid(what, foot * np.array([1, 0, 1]), turn(float(draw.uniform(-40, 40))))


def _finish(
    draw: Random, wish: Wish, canvas: U8, camera: Camera, light: Light, target: Solid,
    behind: list[Thing], lying: list[Thing], things: list[Solid | Standing], axis: int, level: float,
) -> Scene:  # fmt: skip
    """Sort, take away what hides the target, cast shadows, draw."""

    def depth(thing: Solid | Standing) -> float:
        return camera.depth(thing.foot)

    near = camera.focal / max(camera.width, camera.height) * 9
    ordered = sorted((t for t in things if t is target or depth(t) > near), key=depth, reverse=True)
    while True:
        everything: list[Thing] = [*behind, *lying, *ordered]
        seen = census(camera, everything, target)
        after = ordered[ordered.index(target) + 1 :]
        if seen.visible >= LEAST_VISIBLE or not after:
            break
        ordered.remove(after[int(draw.integers(len(after)))])
    for thing in behind:
        thing.draw(canvas, camera, light)
    for thing in lying:
        thing.draw(canvas, camera, light)
    solids = [t for t in ordered if isinstance(t, Solid)]
    feet = [
        Solid(target.what, t.foot, np.eye(3) * 0.4)
        for t in ordered
        if isinstance(t, Standing) and t.height > 4
    ]
    cast(canvas, shadow_mask(camera, [*solids, *feet], axis, level, light, wish.canvas), 0.85)
    for thing in ordered:
        thing.draw(canvas, camera, light)
    return Scene(canvas, seen)


def flatlay(draw: Random, wish: Wish) -> Scene:
    """Things laid out flat on a table or the floor, seen from above, in any orientation."""
    light = _light(draw)
    w, h, d = wish.target.line.size
    spin = float(draw.uniform(0, 360)) if draw.random() < 0.6 else float(draw.normal(0, 14))
    rotation = turn(0.0, spin)
    target = Solid(wish.target, rotation @ np.array([0, -h / 2, d / 2]), rotation)
    camera = solve_camera(
        target, _direction(float(draw.uniform(-24, 24)), float(draw.uniform(-20, 20))), wish.share,
        float(draw.uniform(0.9, 1.4)), float(draw.normal(0, 3)), _off(draw), wish.canvas,
    )  # fmt: skip
    hits = ray_hits(camera, 2, 0.0)
    xs = (max(hits[:, 0].min(), -150.0), min(hits[:, 0].max(), 150.0))
    ys = (max(hits[:, 1].min(), -150.0), min(hits[:, 1].max(), 150.0))
    name = ("wood", "cloth", "stone", "floor", "wood", "tiles")[int(draw.integers(6))]
    number = int(draw.integers(6))

    def paint(ground: U8) -> None:
        paint_plane(
            ground, camera, np.zeros(3), X, -Y, surface(name, number), 48.0 if name == "cloth" else 110.0
        )
        _shade_towards(ground, float(light.direction[0]))

    canvas = _backdrop(wish, paint, 0.0)
    placed = [(0.0, 0.0, 0.5 * float(np.hypot(w, h)))]
    goods = [p for p in wish.stock if p.line.package not in (*ROUND, "gable", "poster")]
    things: list[Solid | Standing] = [target]
    lying: list[Thing] = []
    kitchen = ("fork", "knife", "plate", "coffee", "leaf", "pen", "note")
    bench = ("wrench", "screwdriver", "pliers", "hammer", "tape", "nut", "screw", "pen", "note")
    flat = bench if wish.target.line.package == "parts" else kitchen
    for _ in range(wish.crowd if goods else 0):
        if draw.random() < 0.45:
            what = goods[int(draw.integers(len(goods)))]
            a, b, c = what.line.size
            spot = _spot(draw, placed, 0.42 * float(np.hypot(a, b)), xs, ys)
            if spot is not None:
                about = turn(0.0, float(draw.uniform(0, 360)))
                foot = np.array([spot[0], spot[1], 0]) + about @ np.array([0, -b / 2, c / 2])
                things.append(Solid(what, foot, about))
        else:
            prop_name = flat[int(draw.integers(len(flat)))]
            spot = _spot(draw, placed, HEIGHTS[prop_name] * 0.35, xs, ys)
            if spot is not None:
                a = float(draw.uniform(0, 2 * np.pi))
                across = np.array([np.cos(a), np.sin(a), 0.0])
                along = np.array([-np.sin(a), np.cos(a), 0.0])
                at = np.array([spot[0], spot[1], 0.2])
                lying.append(Lying(prop_name, int(draw.integers(10)), at, across, along, HEIGHTS[prop_name]))
    if draw.random() < 0.4:  # something lies across a corner of the target
        name_over = flat[int(draw.integers(len(flat)))]
        a = float(draw.uniform(0, 2 * np.pi))
        across, along = np.array([np.cos(a), np.sin(a), 0.0]), np.array([-np.sin(a), np.cos(a), 0.0])
        at = rotation @ np.array([w * draw.choice([-0.5, 0.5]), h * draw.choice([-0.5, 0.5]), d + 0.6])
        over: list[Thing] = [Lying(name_over, int(draw.integers(10)), at, across, along, HEIGHTS[name_over])]
    else:
        over = []
    scene = _finish(draw, wish, canvas, camera, light, target, [], lying, things, 2, 0.0)
    for thing in over:
        thing.draw(scene.canvas, camera, light)
    if over:
        ordered: list[Thing] = [*lying, *(t for t in things if t is not target), target, *over]
        return Scene(scene.canvas, census(camera, ordered, target))
    return scene


def wall(draw: Random, wish: Wish) -> Scene:
    """A room: posters on the wall, furniture, plants and lamps in front of it."""
    light = _light(draw)
    rotation = turn(0.0, float(draw.normal(0, 1.5)))
    target = Solid(wish.target, np.array([0, 0, 0.6]), rotation)
    h = wish.target.line.size[1]
    camera = solve_camera(
        target, _direction(float(draw.uniform(-42, 42)), float(draw.uniform(-14, 12))), wish.share,
        float(draw.uniform(0.85, 1.4)), float(draw.normal(0, 3)), _off(draw), wish.canvas,
    )  # fmt: skip
    floor = -float(draw.uniform(75, 105))
    hits = ray_hits(camera, 2, 0.0)
    xs = (max(hits[:, 0].min(), -420.0), min(hits[:, 0].max(), 420.0))
    ys = (max(hits[:, 1].min(), floor + 60), min(hits[:, 1].max(), 140.0))
    number = int(draw.integers(8))
    material = ("plaster", "plaster", "wallpaper")[int(draw.integers(3))]

    def paint(ground: U8) -> None:
        paint_plane(ground, camera, np.zeros(3), X, -Y, surface(material, number), 160.0)
        _shade_towards(ground, float(light.direction[0]))
        line = camera.project(np.array([(-900.0, floor, 0), (900.0, floor, 0)]))
        edge = np.vstack(
            [line, [(camera.width * 3, camera.height * 3), (-camera.width * 2, camera.height * 3)]]
        )
        paint_plane(ground, camera, np.array([0, floor, 0]), X, Z, surface("floor", number), 150.0, edge)

    canvas = _backdrop(wish, paint, 0.5)
    skirting = Block(np.array([-900, floor, 0]), np.array([900, floor + 9, 1.2]), (236.0, 233.0, 226.0))
    skirting.draw(canvas, camera, light)
    posters = [p for p in wish.stock if p.line.package == "poster"]
    things: list[Solid | Standing] = []
    frames: list[Thing] = []
    hung = [target]
    placed = [(0.0, h / 2, 0.62 * h)]
    for _ in range(min(14, 3 + wish.crowd // 3) if posters else 0):
        what = posters[int(draw.integers(len(posters)))]
        spot = _spot(draw, placed, what.line.size[1] * 0.55, xs, ys if ys[0] < ys[1] else (0.0, 60.0))
        if spot is not None:
            foot = np.array([spot[0], spot[1] - what.line.size[1] / 2, 0.6])
            hung.append(Solid(what, foot, turn(0.0, float(draw.normal(0, 1)))))
    for solid in hung:
        if draw.random() < 0.55:
            a, b, _ = solid.what.line.size
            low = solid.foot + np.array([-a / 2 - 2.2, -2.2, -0.5])
            tone = ((40.0, 38, 38), (190.0, 150, 100), (240.0, 238, 232))[int(draw.integers(3))]
            frames.append(Block(low, solid.foot + np.array([a / 2 + 2.2, b + 2.2, -0.05]), tone))
    furniture: list[Thing] = []
    small = [p for p in wish.stock if p.line.package not in ("poster", "parts")]
    x = xs[0] - 30
    while x < xs[1]:
        wide, tall, deep = (
            float(draw.uniform(80, 150)),
            float(draw.uniform(38, 62)),
            float(draw.uniform(32, 45)),
        )
        x += float(draw.uniform(5, 70))
        tone = (parse("b98d5d"), parse("6a4630"), parse("e9e6df"), parse("4d6a6d"))[int(draw.integers(4))]
        furniture += _cabinet(
            np.array([x, floor, 4.0]), (wide, tall, deep), tuple(map(float, tone)), int(draw.integers(2, 5))
        )
        y = floor + tall
        for at in np.arange(x + 8, x + wide - 8, float(draw.uniform(13, 24))):
            if small and draw.random() < min(0.9, 0.25 + wish.crowd / 60):
                what = small[int(draw.integers(len(small)))]
                if what.line.size[1] + y < -1 or abs(at) > wish.target.line.size[0]:
                    things.append(
                        Solid(
                            what,
                            np.array([at, y, float(draw.uniform(14, 26))]),
                            turn(float(draw.uniform(-35, 35))),
                        )
                    )
            else:
                name = ("plant", "lamp", "mug", "bowl", "plant")[int(draw.integers(5))]
                things.append(Standing(name, int(draw.integers(10)), np.array([at, y, 20.0]), HEIGHTS[name]))
        x += wide
    if draw.random() < 0.5:
        at = float(draw.choice([-1, 1])) * (wish.target.line.size[0] * float(draw.uniform(0.5, 0.9)) + 20)
        things.append(
            Standing(
                "plant", int(draw.integers(10)), np.array([at, floor, 70.0]), float(draw.uniform(90, 140))
            )
        )
    cast(canvas, shadow_mask(camera, hung, 2, 0.0, light, wish.canvas), 0.6)
    near = 20.0
    ordered: list[Solid | Standing] = sorted(
        (t for t in things if camera.depth(t.foot) > near), key=lambda t: camera.depth(t.foot), reverse=True
    )
    while True:
        everything: list[Thing] = [*frames, *hung, *furniture, *ordered]
        seen = census(camera, [t for t in everything if t not in frames], target)
        if seen.visible >= LEAST_VISIBLE or not ordered:
            break
        ordered.pop()
    for thing in everything:
        thing.draw(canvas, camera, light)
    return Scene(canvas, seen)


def _cabinet(at: F64, size: tuple[float, float, float], tone: tuple[float, ...], doors: int) -> list[Thing]:
    """A sideboard with doors and knobs."""
    r, g, b = tone
    wide, tall, deep = size
    out: list[Thing] = [Block(at + np.array([0, 8, 0]), at + np.array(size), (r, g, b))]
    step = (wide - 4) / doors
    for k in range(doors):
        low = at + np.array([3 + k * step, 11, deep])
        out.append(Block(low, low + np.array([step - 2, tall - 15, 0.8]), (r * 0.93, g * 0.93, b * 0.93)))
        knob = low + np.array([step / 2, tall - 22, 0.8])
        out.append(Block(knob, knob + np.array([2.2, 2.2, 1.6]), (60.0, 58.0, 56.0)))
    for x in (4.0, wide - 7):
        leg = at + np.array([x, 0, deep - 6])
        out.append(Block(leg, leg + np.array([3, 8, 3]), (r * 0.5, g * 0.5, b * 0.5)))
    return out


@lru_cache(maxsize=32)
def _paper_sweep(width: int, height: int, tone: int, side: int) -> U8:
    """Return a photographer's seamless paper: light, with a soft fall-off."""
    base = (
        (246, 246, 245),
        (240, 238, 234),
        (232, 236, 240),
        (250, 249, 246),
        (206, 178, 150),
        (150, 178, 190),
        (226, 190, 110),
        (190, 120, 110),
    )[tone]
    x = np.linspace(-1, 1, 96, dtype=np.float32)[None, :] - 0.4 * side
    y = np.linspace(0, 1, 96, dtype=np.float32)[:, None]
    gain = 1.02 - 0.06 * x**2 - 0.1 * np.exp(-((y - 0.62) ** 2) / 0.03) - 0.05 * (1 - y)
    small = np.clip(np.array(base, np.float32) * gain[..., None], 0, 255).astype(np.float32)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def studio(draw: Random, wish: Wish, plain: bool = True) -> Scene:
    """One product on seamless paper with a soft shadow; ``plain`` keeps paper, pose and light calm."""
    width, height = wish.canvas
    tone = int(draw.integers(4 if plain else 8))
    canvas = _paper_sweep(width, height, tone, int(draw.integers(-1, 2))).copy()
    direction = np.array([draw.uniform(-0.5, 0.5), 0.7, 0.75])
    light = Light(direction / np.linalg.norm(direction), 0.66)
    limit = 16.0 if plain else 50.0
    target = Solid(wish.target, np.zeros(3), turn(float(draw.uniform(-limit, limit))))
    pitch = float(draw.uniform(3, 12)) if plain else float(draw.uniform(2, 32))
    roll = float(draw.normal(0, 0.5 if plain else 5))
    off = (float(draw.uniform(-0.2, 0.2)), float(draw.uniform(-0.2, 0.2)))
    camera = solve_camera(
        target, _direction(0.0, pitch), wish.share, float(draw.uniform(1.5, 2.2)), roll, off, wish.canvas
    )
    cast(canvas, shadow_mask(camera, [target], 1, 0.0, light, wish.canvas), 0.7)
    target.draw(canvas, camera, light)
    return Scene(canvas, census(camera, [target], target))
