"""A room with posters on the wall, and the seamless paper of a product photographer."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ilion.synthetic.camera import F64, Camera, turn
from ilion.synthetic.color import Colour, parse
from ilion.synthetic.ink import U8
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
from ilion.synthetic.solids import Light, Solid
from ilion.synthetic.stage import (
    Block,
    Census,
    Standing,
    Thing,
    cast,
    paint_plane,
    ray_hits,
    shadow_mask,
)
from ilion.synthetic.surfaces import surface
from ilion.synthetic.warps import enlarge

_FRAMES = ((40.0, 38.0, 38.0), (190.0, 150.0, 100.0), (240.0, 238.0, 232.0))
_WOODS: tuple[Colour, ...] = tuple(parse(c) for c in ("b98d5d", "6a4630", "e9e6df", "4d6a6d"))


def wall(draw: Random, wish: Wish) -> Scene:
    """Draw a room: posters on the wall, furniture, plants and lamps in front of it."""
    light = draw_light(draw)
    target = Solid(wish.target, 0.6 * Z, turn(0.0, float(draw.normal(0, 1.5))))
    camera = aim(draw, wish, target, (-42, 42), (-14, 12), (0.85, 1.4))
    floor = -float(draw.uniform(75, 105))
    seen = ray_hits(camera, 2, 0.0)
    x0, x1 = max(seen[:, 0].min(), -420.0), min(seen[:, 0].max(), 420.0)
    y0, y1 = max(seen[:, 1].min(), floor + 60), min(seen[:, 1].max(), 190.0)
    canvas = _room(draw, wish, camera, light, floor)
    hung = [target, *_posters(draw, wish, (x0, x1), (y0, y1) if y0 < y1 else (0.0, 60.0))]
    frames = [_frame(draw, solid) for solid in hung if draw.random() < 0.55]
    furniture, things = _furnish(draw, wish, x0 - 30, x1, floor)
    if draw.random() < 0.5:
        x = float(draw.choice([-1, 1])) * (wish.target.line.size[0] * float(draw.uniform(0.5, 0.9)) + 20)
        things.append(
            Standing(
                "plant", int(draw.integers(10)), np.array([x, floor, 70.0]), float(draw.uniform(90, 140))
            )
        )
    cast(canvas, shadow_mask(camera, hung, 2, 0.0, light, wish.canvas), 0.6)
    ordered = sorted(
        (t for t in things if camera.depth(t.foot) > 20), key=lambda t: camera.depth(t.foot), reverse=True
    )
    census = Census(camera, target)
    result = census.count([*hung, *furniture, *ordered])
    while result.visible < LEAST_VISIBLE and ordered:
        ordered.pop()
        census = Census(camera, target)
    result = census.count([*hung, *furniture, *ordered])
    for thing in (*frames, *hung, *furniture, *ordered):
        thing.draw(canvas, camera, light)
    return Scene(canvas, result)


def _room(draw: Random, wish: Wish, camera: Camera, light: Light, floor: float) -> U8:
    """Paint the wall, the floor and the skirting board."""
    number = int(draw.integers(8))
    material = ("plaster", "plaster", "wallpaper")[int(draw.integers(3))]

    def paint(ground: U8) -> None:
        paint_plane(ground, camera, np.zeros(3), X, -Y, surface(material, number), 160.0)
        shade_towards(ground, float(light.direction[0]))
        edge = below(camera, np.array([(-900.0, floor, 0), (900.0, floor, 0)]))
        paint_plane(ground, camera, floor * Y, X, Z, surface("floor", number % 6), 150.0, edge)

    canvas = backdrop(wish, paint, 0.5)
    skirting = Block(np.array([-900, floor, 0]), np.array([900, floor + 9, 1.2]), (236.0, 233.0, 226.0))
    skirting.draw(canvas, camera, light)
    return canvas


def _posters(draw: Random, wish: Wish, xs: tuple[float, float], ys: tuple[float, float]) -> list[Solid]:
    """Hang other posters around the target."""
    stock = [p for p in wish.stock if p.line.package == "poster"]
    taken = [(0.0, wish.target.line.size[1] / 2, 0.62 * wish.target.line.size[1])]
    most = min(20, 4 + wish.crowd // 3)
    out = []
    for _ in range(8 * most if stock else 0):
        what = stock[int(draw.integers(len(stock)))]
        tall = what.line.size[1]
        x, y = float(draw.uniform(*xs)), float(draw.uniform(*ys))
        if all((x - a) ** 2 + (y - b) ** 2 > (0.55 * tall + r) ** 2 for a, b, r in taken):
            taken.append((x, y, 0.55 * tall))
            out.append(Solid(what, np.array([x, y - tall / 2, 0.6]), turn(0.0, float(draw.normal(0, 1)))))
        if len(out) >= most:
            break
    return out


def _frame(draw: Random, solid: Solid) -> Block:
    """Return the frame around a poster, behind it."""
    width, height, _ = solid.what.line.size
    low = solid.foot + np.array([-width / 2 - 2.2, -2.2, -0.5])
    high = solid.foot + np.array([width / 2 + 2.2, height + 2.2, -0.05])
    return Block(low, high, _FRAMES[int(draw.integers(len(_FRAMES)))])


def _furnish(
    draw: Random, wish: Wish, x: float, end: float, floor: float
) -> tuple[list[Thing], list[Solid | Standing]]:
    """Put sideboards along the wall, with packages, plants and lamps on them."""
    small = [p for p in wish.stock if p.line.package not in ("poster", "parts")]
    furniture: list[Thing] = []
    things: list[Solid | Standing] = []
    filled = min(0.9, 0.25 + wish.crowd / 60)
    while x < end:
        wide, tall, deep = (
            float(draw.uniform(80, 150)),
            float(draw.uniform(38, 62)),
            float(draw.uniform(32, 45)),
        )
        x += float(draw.uniform(5, 70))
        tone = _WOODS[int(draw.integers(len(_WOODS)))]
        furniture += _cabinet(np.array([x, floor, 4.0]), (wide, tall, deep), tone, int(draw.integers(2, 5)))
        for at in np.arange(x + 8, x + wide - 8, float(draw.uniform(13, 24))).tolist():
            place = np.array([at, floor + tall, float(draw.uniform(14, 26))])
            if small and draw.random() < filled:
                what = small[int(draw.integers(len(small)))]
                # What would stand in front of the target is left out.
                if what.line.size[1] + place[1] < -1 or abs(at) > wish.target.line.size[0]:
                    things.append(Solid(what, place, turn(float(draw.uniform(-35, 35)))))
            else:
                name = ("plant", "lamp", "mug", "bowl", "plant")[int(draw.integers(5))]
                things.append(Standing(name, int(draw.integers(10)), place, HEIGHTS[name]))
        x += wide
    return furniture, things


def _cabinet(at: F64, size: tuple[float, float, float], tone: Colour, doors: int) -> list[Thing]:
    """Return a sideboard with doors, knobs and legs."""
    wide, tall, deep = size
    r, g, b = (float(c) for c in tone)
    out: list[Thing] = [Block(at + 8 * Y, at + np.array(size), (r, g, b))]
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


_PAPERS: tuple[Colour, ...] = (
    (250, 250, 249),
    (247, 246, 243),
    (242, 245, 248),
    (252, 251, 248),
    (206, 178, 150),
    (150, 178, 190),
    (226, 190, 110),
    (190, 120, 110),
)
_CALM_PAPERS = 4


@lru_cache(maxsize=32)
def _paper(width: int, height: int, tone: int, side: int) -> U8:
    """Return a photographer's seamless paper: bright, with a soft fall-off."""
    x = np.linspace(-1, 1, 96, dtype=np.float32)[None, :] - 0.4 * side
    y = np.linspace(0, 1, 96, dtype=np.float32)[:, None]
    gain = 1.02 - 0.035 * x**2 - 0.06 * np.exp(-((y - 0.62) ** 2) / 0.03) - 0.03 * (1 - y)
    small = np.clip(np.array(_PAPERS[tone], np.float32) * gain[..., None], 0, 255).astype(np.float32)
    large = enlarge(small, (width, height), cubic=False)
    paper: U8 = np.clip(large, 0, 255).astype(np.uint8)
    return paper


def studio(draw: Random, wish: Wish, plain: bool = True) -> Scene:
    """Draw one product on seamless paper with a soft shadow; ``plain`` keeps paper, pose and light calm."""
    tone = int(draw.integers(_CALM_PAPERS if plain else len(_PAPERS)))
    canvas = _paper(*wish.canvas, tone, int(draw.integers(-1, 2))).copy()
    direction = np.array([draw.uniform(-0.5, 0.5), 0.7, 0.75])
    light = Light(direction / np.linalg.norm(direction), 0.7)
    limit = 16.0 if plain else 50.0
    target = Solid(wish.target, np.zeros(3), turn(float(draw.uniform(-limit, limit))))
    camera = aim(draw, wish, target, (0, 0), (3, 12) if plain else (2, 32), (1.5, 2.2), steady=plain)
    cast(canvas, shadow_mask(camera, [target], 1, 0.0, light, wish.canvas), 0.5)
    target.draw(canvas, camera, light)
    return Scene(canvas, Census(camera, target).count([target]))
