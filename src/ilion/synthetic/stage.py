"""Parts of scenes: flat and standing things, planes, shadows, and what is visible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ilion.synthetic.camera import F64, Camera, draw_cutout, draw_face, draw_polygon, look_at
from ilion.synthetic.ink import U8
from ilion.synthetic.props import HEIGHTS, price_tag, prop
from ilion.synthetic.solids import Light, Solid
from ilion.synthetic.warps import warp

SUPERSAMPLE = 2
"""Scenes are drawn this many times larger than they are kept, against jagged edges."""


class Thing(Protocol):
    """Anything that is drawn and counts as an object."""

    def outline(self, camera: Camera) -> F64:
        """Return (K, 2) pixels whose convex hull is the outline."""
        ...

    def draw(self, canvas: U8, camera: Camera, light: Light) -> None:
        """Draw it over the picture."""
        ...


@dataclass(frozen=True, eq=False)
class Standing:
    """A cut-out that stands upright and faces the camera."""

    name: str
    tone: int
    foot: F64
    height: float

    def _quad(self, camera: Camera) -> F64:
        right = camera.axes[0] * np.array([1.0, 0.0, 1.0])
        half = self.height / 2 * right / np.linalg.norm(right)
        up = np.array([0.0, self.height, 0.0])
        corners = [self.foot - half + up, self.foot + half + up, self.foot + half, self.foot - half]
        return camera.project(np.stack(corners))

    def outline(self, camera: Camera) -> F64:
        """Return the (4, 2) pixels of its frame, drawn in to where the drawing mostly is."""
        quad = self._quad(camera)
        middle: F64 = quad.mean(axis=0)
        return middle + 0.85 * (quad - middle)

    def draw(self, canvas: U8, camera: Camera, light: Light) -> None:
        """Draw it over the picture."""
        draw_cutout(canvas, self._quad(camera), prop(self.name, self.tone), 0.97)


@dataclass(frozen=True, eq=False)
class Lying:
    """A cut-out that lies flat on a plane spanned by two unit vectors."""

    name: str
    tone: int
    centre: F64
    across: F64
    along: F64
    size: float

    def _quad(self, camera: Camera) -> F64:
        a, b = self.across * self.size / 2, self.along * self.size / 2
        c = self.centre
        return camera.project(np.stack([c - a + b, c + a + b, c + a - b, c - a - b]))

    def outline(self, camera: Camera) -> F64:
        """Return the (4, 2) pixels of its frame, narrow for long thin things."""
        narrow = 0.3 if HEIGHTS[self.name] > 12 and self.name not in ("plate", "coffee") else 0.9
        a, b = self.across * self.size * narrow / 2, self.along * self.size / 2
        c = self.centre
        return camera.project(np.stack([c - a + b, c + a + b, c + a - b, c - a - b]))

    def draw(self, canvas: U8, camera: Camera, light: Light) -> None:
        """Draw it over the picture."""
        draw_cutout(canvas, self._quad(camera), prop(self.name, self.tone), 0.98)


@dataclass(frozen=True, eq=False)
class Tag:
    """A price tag on the edge of a shelf board."""

    number: int
    centre: F64

    def outline(self, camera: Camera) -> F64:
        """Return its (4, 2) corner pixels."""
        x, y = np.array([2.5, 0, 0]), np.array([0, 1.55, 0])
        c = self.centre
        return camera.project(np.stack([c - x + y, c + x + y, c + x - y, c - x - y]))

    def draw(self, canvas: U8, camera: Camera, light: Light) -> None:
        """Draw it over the picture."""
        draw_face(canvas, self.outline(camera), price_tag(self.number), 1.0)


@dataclass(frozen=True, eq=False)
class Block:
    """A plain cuboid: furniture, a shelf board. Its faces are shaded by the light."""

    low: F64
    high: F64
    colour: tuple[float, float, float]

    def _corners(self) -> F64:
        (x0, y0, z0), (x1, y1, z1) = self.low, self.high
        return np.array(
            [
                (x0, y1, z1),
                (x1, y1, z1),
                (x1, y0, z1),
                (x0, y0, z1),
                (x0, y1, z0),
                (x1, y1, z0),
                (x1, y0, z0),
                (x0, y0, z0),
            ]
        )

    def outline(self, camera: Camera) -> F64:
        """Return its (8, 2) corner pixels."""
        return camera.project(self._corners())

    def draw(self, canvas: U8, camera: Camera, light: Light) -> None:
        """Draw it over the picture."""
        p = camera.project(self._corners())
        axes = np.eye(3)
        for index, normal in (
            ((1, 5, 6, 2), axes[0]),
            ((4, 0, 3, 7), -axes[0]),
            ((4, 5, 1, 0), axes[1]),
            ((3, 2, 6, 7), -axes[1]),
            ((0, 1, 2, 3), axes[2]),
        ):
            quad = p[list(index)]
            a, b = quad[2] - quad[0], quad[3] - quad[1]
            if a[0] * b[1] - a[1] * b[0] > 0:
                draw_polygon(canvas, quad, tuple(min(255.0, light.on(normal) * c) for c in self.colour))


def solve_camera(
    target: Solid,
    towards: F64,
    share: float,
    focal: float,
    roll: float,
    off: tuple[float, float],
    size: tuple[int, int],
) -> Camera:
    """Return the camera from which a product covers a share of the image; less where it would not fit in.

    Args:
        target: The product.
        towards: (3,) unit vector from the product to the camera.
        share: Wanted area of its axis-aligned box as a fraction of the image.
        focal: Focal length as a fraction of the image's longer side.
        roll: Degrees.
        off: Place of its centre, as fractions of half the image; (0, 0) is the middle.
        size: Width and height in pixels.
    """
    width, height = size
    pixels = focal * max(size)
    corners = target.corners()
    centre = corners.mean(axis=0)
    radius = float(np.linalg.norm(corners - centre, axis=1).max())
    low, high = radius * 1.15, radius * 200
    camera = look_at(centre + towards * high, centre, roll, pixels, width, height)
    for _ in range(18):
        distance = float(np.sqrt(low * high))
        camera = look_at(centre + towards * distance, centre, roll, pixels, width, height)
        spread = np.ptp(camera.project(corners), axis=0)
        if spread[0] * spread[1] / (width * height) > share or (spread > 0.96 * np.array(size)).any():
            low = distance
        else:
            high = distance
    room = np.maximum(0.0, 1 - np.minimum(1, np.ptp(camera.project(corners), axis=0) / (width, height)))
    shift = off * room * np.array([width, height]) / 2 * distance / pixels
    eye = centre + towards * distance - camera.axes[0] * shift[0] + camera.axes[1] * shift[1]
    return Camera(eye, camera.axes, pixels, width, height)


def ray_hits(camera: Camera, axis: int, level: float) -> F64:
    """Return where the rays of the four image corners hit the plane ``coordinate[axis] == level``.

    Rays that miss end far away along their direction.
    """
    w, h = camera.width / 2, camera.height / 2
    pixels = np.array([(-w, h), (w, h), (w, -h), (-w, -h)]) / camera.focal
    rays = np.column_stack([pixels, np.ones(4)]) @ camera.axes
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (level - camera.eye[axis]) / rays[:, axis]
    t = np.where(np.isfinite(t) & (t > 0), t, 1e4)
    return camera.eye + np.minimum(t, 1e4)[:, None] * rays


def paint_plane(
    ground: U8, camera: Camera, origin: F64, u: F64, v: F64, tile: U8, span: float, polygon: F64 | None = None
) -> None:
    """Cover a picture (or a polygon of it) with a tiled plane.

    Args:
        ground: (H, W, 3), changed in place; ``camera`` pixels scaled to its size.
        camera: The camera.
        origin: (3,) a point of the plane where a tile starts.
        u: (3,) unit vector along the tile's width.
        v: (3,) unit vector along the tile's height, downwards in the tile.
        tile: (n, n, 3).
        span: Centimetres that a tile covers.
        polygon: (K, 2) pixels of the camera.
    """
    height, width = ground.shape[:2]
    scale = width / camera.width
    reach = float(abs((origin - camera.eye) @ camera.axes[2]))
    pixels_per_tile = span * camera.focal * scale / max(reach, 1.0)
    side = int(np.clip(2 ** np.round(np.log2(max(pixels_per_tile, 1.0))), 16, tile.shape[0]))
    small = cv2.resize(tile, (side, side), interpolation=cv2.INTER_AREA) if side != tile.shape[0] else tile
    plane = np.stack([u * span / side, v * span / side, origin - camera.eye], axis=1)
    intrinsic = np.diag([camera.focal * scale, -camera.focal * scale, 1.0])
    intrinsic[:2, 2] = width / 2, height / 2
    homography = intrinsic @ camera.axes @ plane
    if polygon is None:
        warp(small, homography, (width, height), cv2.BORDER_WRAP, ground)
        return
    points = np.clip(polygon * scale, -4000, 8000)
    top = int(np.clip(points[:, 1].min(), 0, height - 1))
    move = np.array([[1, 0, 0], [0, 1, -top], [0, 0, 1.0]])
    covered = warp(small, move @ homography, (width, height - top), cv2.BORDER_WRAP)
    mask = np.zeros((height - top, width), np.uint8)
    fixed = np.round((points - (0, top)) * 16).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, 4)
    cv2.copyTo(covered, mask, ground[top:])


def shadow_mask(
    camera: Camera, solids: Sequence[Solid], axis: int, level: float, light: Light, size: tuple[int, int]
) -> U8:
    """Return how dark the shadows are that solids cast on ``coordinate[axis] == level``, (H, W), 255 is lit.

    Args:
        camera: The camera.
        solids: Solids that cast shadows.
        axis: Normal of the plane, 0 to 2.
        level: Height of the plane.
        light: The light; its rays are taken steeper than they are, so that shadows stay short.
        size: Width and height in pixels.
    """
    width, height = size[0] // 4, size[1] // 4
    soft: U8 = np.full((height, width), 255, np.uint8)
    contact: U8 = soft.copy()
    scale = 16 * width / camera.width
    ray = light.direction.copy()
    ray[axis] = max(ray[axis], 0.75)
    for solid in solids:
        edges = solid.edges()
        lift = edges[:, axis] - level
        foot = edges - ray * (lift / ray[axis])[:, None]
        near = edges[np.argsort(lift, kind="stable")[: len(edges) // 2]]
        near[:, axis] = level
        for mask, points, tone in ((soft, foot, 120), (contact, near, 60)):
            hull = cv2.convexHull(np.clip(camera.project(points) * scale, -30000, 30000).astype(np.int32))
            cv2.fillConvexPoly(mask, hull, tone, cv2.LINE_AA, 4)
    soft = cv2.GaussianBlur(soft, (0, 0), max(1.2, width / 90))
    contact = cv2.GaussianBlur(contact, (0, 0), max(0.8, width / 190))
    return cv2.multiply(soft, contact, scale=1 / 255)


def cast(canvas: U8, mask: U8, strength: float) -> None:
    """Darken a picture where a shadow mask is dark."""
    height, width = canvas.shape[:2]
    lit = cv2.convertScaleAbs(mask, alpha=strength, beta=255 * (1 - strength))
    full = cv2.resize(lit, (width, height), interpolation=cv2.INTER_LINEAR)
    cv2.multiply(canvas, cv2.cvtColor(full, cv2.COLOR_GRAY2RGB), dst=canvas, scale=1 / 255)


@dataclass(frozen=True)
class Seen:
    """What a picture shows of its things.

    Args:
        box: Left, top, right, bottom of the target in pixels of the canvas, not clipped.
        visible: Share of the target's outline within the image that nothing covers.
        others: Number of other things that are visible.
    """

    box: tuple[float, float, float, float]
    visible: float
    others: int


class Census:
    """Counts what a camera sees, on a grid of a quarter of the canvas; outlines are computed once.

    Args:
        camera: The camera.
        target: The thing that the picture is about.
    """

    def __init__(self, camera: Camera, target: Thing) -> None:
        self._camera = camera
        self._target = target
        self._hulls: dict[Thing, NDArray[np.int32]] = {}
        outline = target.outline(camera)
        (x0, y0), (x1, y1) = outline.min(axis=0).tolist(), outline.max(axis=0).tolist()
        self._box = (x0, y0, x1, y1)

    def _hull(self, thing: Thing) -> NDArray[np.int32]:
        if thing not in self._hulls:
            outline = np.clip(thing.outline(self._camera) * 4, -30000, 30000)
            self._hulls[thing] = np.asarray(cv2.convexHull(outline.astype(np.int32)), np.int32)
        return self._hulls[thing]

    def count(self, things: Sequence[Thing]) -> Seen:
        """Return what is seen when things are drawn in their order.

        Another thing counts as visible when at least three cells of the grid show it.
        """
        owner = np.zeros((self._camera.height // 4, self._camera.width // 4), np.float32)
        full, index = 0, -1
        for number, thing in enumerate(things, start=1):
            cv2.fillConvexPoly(owner, self._hull(thing), float(number), cv2.LINE_8, 4)
            if thing is self._target:
                full, index = int((owner == number).sum()), number - 1
        cells = np.bincount(owner.astype(np.int64).ravel(), minlength=len(things) + 1)[1:]
        others = int((cells >= 3).sum() - (index >= 0 and cells[index] >= 3))
        return Seen(self._box, float(cells[index]) / max(full, 1) if index >= 0 else 0.0, others)
