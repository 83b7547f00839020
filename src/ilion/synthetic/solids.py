"""Packages as solids: cuboids, gable-top cartons, round packages, pouches, as a camera sees them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from ilion.synthetic import printing
from ilion.synthetic.camera import (
    F64,
    Camera,
    Pyramid,
    draw_cutout,
    draw_face,
    draw_polygon,
    premultiplied,
    pyramid,
)
from ilion.synthetic.color import CREAM, Colour, darker, lighter
from ilion.synthetic.ink import U8
from ilion.synthetic.products import Product
from ilion.synthetic.warps import remap

ROUND = ("can", "bottle", "jar", "tub")
_CACHED = 192  # textures kept; about half a megabyte each, enough for one shop's stock

# Radius (1 is the widest) at heights in [0, 1] from the foot.
_PROFILES: dict[str, tuple[tuple[float, float], ...]] = {
    "can": ((0, 0.93), (0.04, 1), (0.93, 1), (0.975, 0.9), (1, 0.9)),
    "bottle": (
        (0, 0.94), (0.03, 1), (0.62, 1), (0.72, 0.9), (0.8, 0.55), (0.86, 0.38), (0.89, 0.36), (0.895, 0.42),
        (1, 0.42),
    ),
    "jar": ((0, 0.94), (0.03, 1), (0.74, 1), (0.8, 0.9), (0.83, 0.88), (0.835, 0.93), (1, 0.93)),
    "tub": ((0, 0.78), (0.9, 0.98), (0.905, 1.0), (1, 1.0)),
}  # fmt: skip


@lru_cache(maxsize=_CACHED)
def _face(what: Product, which: str) -> Pyramid:
    make = {"front": printing.front, "side": printing.side, "top": printing.top}
    if which in make:
        return pyramid(_aged(make[which](what), which))
    return pyramid(premultiplied(printing.pouch(what)))


def _aged(face: U8, which: str) -> U8:
    """Darken the edges and the foot a little, as cardboard does where light does not reach."""
    rows, columns = face.shape[:2]
    y = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, columns, dtype=np.float32)[None, :]
    gain = np.repeat(1.0 - 0.13 * x**8, rows, axis=0)
    if which != "top":
        gain = gain * (1.03 - 0.16 * y**5) * (1 - 0.12 * (y < 0.008))
    return cv2.multiply(face, cv2.merge([gain.astype(np.float32)] * 3), dtype=cv2.CV_8U)


@lru_cache(maxsize=_CACHED // 3)
def _skin(what: Product) -> Pyramid:
    """Return the whole surface of a round package, unrolled: lid, glass or metal, and label."""
    of = what.line
    label = printing.wrap(what)
    start, length = printing.LABEL[of.package]
    rows = round(label.shape[0] / length)
    skin = np.empty((rows, label.shape[1], 3), np.uint8)
    content: Colour = what.flavour.colour
    if of.package == "can":
        shine = 190 + 40 * np.sin(np.linspace(0, 14 * np.pi, label.shape[1]))
        skin[:] = shine[None, :, None].astype(np.uint8)
    elif of.package == "bottle":
        skin[:] = lighter(content, 0.15) if of.layout % 2 else (240, 240, 236)
        skin[: round(rows * 0.105)] = of.ground
        skin[: round(rows * 0.105) : 3] = darker(of.ground, 0.25)
    elif of.package == "jar":
        skin[:] = darker(content, 0.12)
        skin[round(rows * 0.165) : round(rows * 0.2)] = lighter(content, 0.55)
        skin[: round(rows * 0.165)] = of.second
        skin[round(rows * 0.15) : round(rows * 0.165)] = darker(of.second, 0.35)
    else:
        skin[:] = lighter(of.ground, 0.25)
        skin[: round(rows * 0.095)] = CREAM
        skin[round(rows * 0.08) : round(rows * 0.098)] = darker(CREAM, 0.3)
    top = round(rows * start)
    skin[top : top + label.shape[0]] = label[: rows - top]
    return pyramid(skin)


@dataclass(frozen=True, eq=False)
class _Map:
    """Where each pixel of a round cut-out looks up the skin, and how bright it is."""

    u: NDArray[np.float32]
    v: NDArray[np.float32]
    gain: NDArray[np.float32]
    cover: U8
    lid: U8
    edge: NDArray[np.float32]
    span: tuple[float, float, float]  # half width, top and bottom in units of the height


@lru_cache(maxsize=80)
def _round_map(package: str, slim: int, pitch: int, tall: int) -> _Map:
    """Solve, for every pixel, which point of a surface of revolution is seen there.

    Args:
        package: Key of `_PROFILES`.
        slim: Radius over height in hundredths.
        pitch: Camera elevation in steps of 5 degrees.
        tall: Pixels of the height.
    """
    radius, angle = slim / 100, np.radians(5.0 * pitch)
    c, s = float(np.cos(angle)), float(np.sin(angle))
    heights, radii = np.array(_PROFILES[package]).T
    up = radius * abs(s)
    above, below = c + up, up
    rows = max(8, round(tall * (above + below)))
    columns = max(6, round(tall * 2 * radius))
    x = np.linspace(-radius, radius, columns, dtype=np.float32)[None, :]
    screen = np.linspace(-above, below, rows, dtype=np.float32)[:, None]
    y = np.broadcast_to(-screen / c, (rows, columns))
    table = (radius * np.interp(np.linspace(0, 1, 1024), heights, radii)).astype(np.float32)
    for _ in range(3):
        r = table[np.clip(y * 1024, 0, 1023).astype(np.int32)]
        y = (np.sqrt(np.maximum(r * r - x * x, 0)) * s - screen) / c
    r = table[np.clip(y * 1024, 0, 1023).astype(np.int32)]
    ratio = np.clip(x / r, -1, 1)
    wall = (np.abs(x) <= r) & (y >= 0) & (y <= 1)
    end = 1.0 if s > 0 else 0.0
    rim = radius * float(np.interp(end, heights, radii))
    lid = ((x / rim) ** 2 + ((screen + end * c) / (rim * max(abs(s), 1e-3))) ** 2 <= 1) & ~wall
    light = 0.62 + 0.42 * np.sqrt(np.clip(1 - (ratio + 0.25) ** 2, 0, 1))
    light += 0.2 * np.exp(-((ratio + 0.45) ** 2) / 0.012) + 0.08 * np.exp(-((ratio - 0.72) ** 2) / 0.01)
    light *= 1.02 - 0.12 * np.clip(1 - y * 6, 0, 1)
    cover = cv2.GaussianBlur(((wall | lid) * np.uint8(255)).astype(np.uint8), (3, 3), 0)
    return _Map(
        (np.arcsin(ratio) / (2 * np.pi) + 0.5).astype(np.float32),
        (1 - y).astype(np.float32),
        light.astype(np.float32),
        cover,
        (lid * np.uint8(255)).astype(np.uint8),
        _edge(cover),
        (radius, -above, below),
    )


@lru_cache(maxsize=_CACHED)
def _round_cutout(what: Product, pitch: int, yaw: int, tall: int) -> tuple[Pyramid, _Map]:
    width, height, _ = what.line.size
    where = _round_map(what.line.package, 2 * round(25 * width / height), pitch, tall)
    skin = _skin(what)
    level = skin[min(len(skin) - 1, int(np.log2(max(1.0, skin[0].shape[0] / tall / 1.2))))]
    rows, columns = level.shape[:2]
    u = np.mod(where.u + yaw / 30, 1.0) * columns - 0.5
    surface = remap(level, u, where.v * rows - 0.5, cv2.BORDER_REPLICATE)
    surface = cv2.multiply(surface, cv2.merge([where.gain] * 3), dtype=cv2.CV_8U)
    lid = {"can": (186, 190, 196), "tub": CREAM, "jar": what.line.second}.get(
        what.line.package, what.line.ground
    )
    surface[where.lid > 0] = lighter(lid, 0.12)
    return (premultiplied(cv2.merge([surface, where.cover])),), where


@dataclass(frozen=True)
class Light:
    """Where the light comes from.

    Args:
        direction: (3,) unit vector towards the light.
        ambient: Brightness of a face that the light does not reach, [0, 1].
    """

    direction: F64
    ambient: float

    def on(self, normal: F64) -> float:
        """Return the brightness of a face; 1 is one that looks about halfway to the light."""
        facing = max(0.0, float(normal @ self.direction))
        return min(1.12, self.ambient + (1.15 - self.ambient) * 1.25 * facing)


@dataclass(frozen=True, eq=False)
class Solid:
    """A product at a place.

    Args:
        what: The product.
        foot: (3,) centre of its base.
        rotation: (3, 3), from the product's own axes to the world's.
    """

    what: Product
    foot: F64
    rotation: F64

    def corners(self) -> F64:
        """Return the (8, 3) corners of its cuboid: front then back, each clockwise from the top left."""
        w, h, d = self.what.line.size
        x, z = w / 2, d / 2
        own = np.array(
            [(-x, h, z), (x, h, z), (x, 0, z), (-x, 0, z), (-x, h, -z), (x, h, -z), (x, 0, -z), (-x, 0, -z)]
        )
        return own @ self.rotation.T + self.foot

    def edges(self) -> F64:
        """Return (2 K, 3) points around its foot, then around its top, for its shadow."""
        if self.what.line.package not in ROUND:
            corners = self.corners()
            return corners[[2, 3, 6, 7, 0, 1, 4, 5]]
        width, height, _ = self.what.line.size
        t = np.linspace(0, 2 * np.pi, 10, endpoint=False)
        (_, foot), *_, (_, top) = _PROFILES[self.what.line.package]
        own = [
            np.stack([r * width / 2 * np.cos(t), np.full(10, y), r * width / 2 * np.sin(t)], axis=1)
            for r, y in ((foot, 0.0), (top, height))
        ]
        return np.vstack(own) @ self.rotation.T + self.foot

    def outline(self, camera: Camera) -> F64:
        """Return (K, 2) pixels whose convex hull is the product's full outline."""
        package = self.what.line.package
        if package in ROUND:
            quad, _, where = self._cutout(camera)
            return _moved(quad, where)
        if package == "pouch":
            return camera.project(self.corners()[:4])
        if package == "gable":
            return camera.project(np.vstack([self._gable()[0], self._gable()[1]]))
        return camera.project(self.corners())

    def draw(self, canvas: U8, camera: Camera, light: Light) -> None:
        """Draw the product over the picture."""
        package = self.what.line.package
        if package in ROUND:
            quad, levels, _ = self._cutout(camera)
            draw_cutout(canvas, quad, levels, light.on(np.array([0.0, 0.0, 1.0])))
        elif package == "pouch":
            quad = camera.project(self.corners()[:4])
            draw_cutout(canvas, quad, _face(self.what, "pouch"), light.on(self.rotation[:, 2]))
        elif package == "gable":
            self._draw_gable(canvas, camera, light)
        else:
            p = camera.project(self.corners())
            self._draw_sides(canvas, p, light)
            if _front_is_seen(p[[4, 5, 1, 0]]):
                draw_face(canvas, p[[4, 5, 1, 0]], _face(self.what, "top"), light.on(self.rotation[:, 1]))
            if _front_is_seen(p[[3, 2, 6, 7]]):
                draw_face(canvas, p[[3, 2, 6, 7]], _face(self.what, "top"), 0.6 * light.ambient)

    def _draw_sides(self, canvas: U8, p: F64, light: Light) -> None:
        x, z = self.rotation[:, 0], self.rotation[:, 2]
        faces = (((1, 5, 6, 2), "side", x), ((4, 0, 3, 7), "side", -x), ((0, 1, 2, 3), "front", z))
        book = self.what.line.package == "book"
        for index, which, normal in faces:
            quad = p[list(index)]
            if not _front_is_seen(quad):
                continue
            if book and normal is x:
                draw_polygon(canvas, quad, tuple(light.on(normal) * v for v in (228, 220, 200)))
            else:
                draw_face(canvas, quad, _face(self.what, which), light.on(normal))

    def _gable(self) -> tuple[F64, F64]:
        """Return the corners of the body and the two ends of the fin, top and bottom."""
        w, h, d = self.what.line.size
        x, z = w / 2, d / 2
        low, ridge = h * 0.8, h * 0.94
        own = np.array(
            [
                (-x, low, z),
                (x, low, z),
                (x, 0, z),
                (-x, 0, z),
                (-x, low, -z),
                (x, low, -z),
                (x, 0, -z),
                (-x, 0, -z),
            ]
        )
        fin = np.array([(-x, h, 0), (x, h, 0), (x, ridge, 0), (-x, ridge, 0)])
        return own @ self.rotation.T + self.foot, fin @ self.rotation.T + self.foot

    def _draw_gable(self, canvas: U8, camera: Camera, light: Light) -> None:
        body3, fin3 = self._gable()
        body, fin = camera.project(body3), camera.project(fin3)
        up, z = self.rotation[:, 1], self.rotation[:, 2]
        ground = self.what.line.ground
        x = self.rotation[:, 0]
        for triangle, normal in (
            (np.stack([body[1], body[5], fin[2]]), x),
            (np.stack([body[4], body[0], fin[3]]), -x),
        ):
            a, b = triangle[1] - triangle[0], triangle[2] - triangle[0]
            if a[0] * b[1] - a[1] * b[0] < 0:
                draw_polygon(canvas, triangle, tuple(0.82 * light.on(normal) * v for v in ground))
        back = np.stack([body[5], body[4], fin[3], fin[2]])
        if _front_is_seen(back[::-1]):
            draw_polygon(canvas, back, tuple(0.7 * v for v in ground))
        self._draw_sides(canvas, body, light)
        slope = (up + z) / np.sqrt(2)
        draw_face(
            canvas, np.stack([fin[3], fin[2], body[1], body[0]]), _face(self.what, "top"), light.on(slope)
        )
        fin_tone = darker(self.what.flavour.colour, 0.12)
        draw_polygon(canvas, fin, tuple(light.on(z) * v for v in fin_tone))

    def _cutout(self, camera: Camera) -> tuple[F64, Pyramid, _Map]:
        height = self.what.line.size[1]
        axis = self.rotation[:, 1]
        ends = np.stack([self.foot + height * axis, self.foot])
        top, foot = camera.project(ends)
        scale = [camera.focal / max(camera.depth(end), 1e-3) for end in ends]
        sight = camera.eye - (self.foot + height / 2 * axis)
        sight = sight / np.linalg.norm(sight)
        pitch = int(np.clip(round(float(np.degrees(np.arcsin(np.clip(sight @ axis, -1, 1)))) / 5), -12, 12))
        facing = float(np.degrees(np.arctan2(sight @ self.rotation[:, 0], sight @ self.rotation[:, 2])))
        tall = float(max(scale) * height)
        steps = (32, 64, 128, 256, 512)
        pixels = min((s for s in steps if s >= tall * 0.8), default=steps[-1])
        levels, where = _round_cutout(self.what, pitch, round(facing / 12), pixels)
        up = top - foot
        length = float(np.hypot(*up))
        up = up / max(length, 1e-6)
        out = np.array([-up[1], up[0]])
        half, above, below = where.span
        cos = -above - below
        stretch = length / cos
        high, low = foot - up * above * stretch, foot - up * below * stretch
        wide_high, wide_low = half * height * scale[0], half * height * scale[1]
        quad = np.stack(
            [high - out * wide_high, high + out * wide_high, low + out * wide_low, low - out * wide_low]
        )
        return quad, levels, where


def _front_is_seen(quad: F64) -> bool:
    a, b = quad[2] - quad[0], quad[3] - quad[1]
    return bool(a[0] * b[1] - a[1] * b[0] > 2.0)


def _edge(cover: U8) -> NDArray[np.float32]:
    """Return the (K, 2) outermost covered pixels of a cut-out."""
    solid = cover > 127
    rows = np.flatnonzero(solid.any(axis=1))
    left = solid[rows].argmax(axis=1)
    right = solid.shape[1] - 1 - solid[rows, ::-1].argmax(axis=1)
    ends = np.concatenate([np.stack([left, rows], axis=1), np.stack([right + 1, rows + 1], axis=1)])
    hull: NDArray[np.float32] = cv2.convexHull(ends.astype(np.int32))[:, 0].astype(np.float32)
    return hull


def _moved(quad: F64, where: _Map) -> F64:
    """Return where the outermost pixels of a cut-out land in the picture."""
    height, width = where.cover.shape
    source = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32) - np.float32(0.5)
    homography = cv2.getPerspectiveTransform(source, quad.astype(np.float32))
    moved: F64 = cv2.perspectiveTransform(where.edge[None], homography)[0].astype(np.float64)
    return moved
