"""Common parts of all scenes: wish and result, light, viewpoint, background.

Every scene takes a target product, the share of the image that it shall cover, and a stock of other products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ilion.synthetic.camera import F64, Camera
from ilion.synthetic.ink import U8
from ilion.synthetic.products import Product
from ilion.synthetic.solids import Light, Solid
from ilion.synthetic.stage import SUPERSAMPLE, Seen, solve_camera

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


def draw_light(draw: Random) -> Light:
    """Return a light from above and in front."""
    direction = np.array([draw.uniform(-0.8, 0.8), draw.uniform(0.5, 1.1), draw.uniform(0.5, 1.0)])
    return Light(direction / np.linalg.norm(direction), float(draw.uniform(0.45, 0.7)))


def aim(
    draw: Random,
    wish: Wish,
    target: Solid,
    yaw: tuple[float, float],
    pitch: tuple[float, float],
    lens: tuple[float, float] = (0.9, 1.4),
    steady: bool = False,
) -> Camera:
    """Return a camera that sees the target at the wished size.

    Args:
        draw: Random numbers.
        wish: Scene to show.
        target: The target in its place.
        yaw: Range of the camera's direction to the side, degrees.
        pitch: Range of the camera's direction upwards, degrees.
        lens: Range of the focal length as a fraction of the longer side.
        steady: Whether the camera is level and the target near the middle.
    """
    a, b = np.radians(float(draw.uniform(*yaw))), np.radians(float(draw.uniform(*pitch)))
    towards = np.array([np.sin(a) * np.cos(b), np.sin(b), np.cos(a) * np.cos(b)])
    reach, shake = (0.15, 0.5) if steady else (0.7, 3.2)
    off = (float(draw.uniform(-reach, reach)), 0.6 * float(draw.uniform(-reach, reach)))
    roll = float(draw.normal(0, shake))
    return solve_camera(target, towards, wish.share, float(draw.uniform(*lens)), roll, off, wish.canvas)


def below(camera: Camera, line: F64) -> F64:
    """Return the (4, 2) polygon of all that lies below a line in the picture.

    Args:
        camera: The camera.
        line: (2, 3) world points, left and right, far outside of the picture.
    """
    low = camera.height * 3
    corners = np.array([(camera.width * 3, low), (-camera.width * 2, low)], np.float64)
    return np.vstack([camera.project(line), corners])


def backdrop(wish: Wish, paint: Callable[[U8], None], blur: float) -> U8:
    """Paint planes at the finished size, blur them, and enlarge them to the canvas."""
    ground: U8 = np.zeros((wish.size[1], wish.size[0], 3), np.uint8)
    paint(ground)
    if blur > 0.3:
        ground = cv2.GaussianBlur(ground, (0, 0), blur)
    return cv2.resize(ground, wish.canvas, interpolation=cv2.INTER_LINEAR)


def shade_towards(ground: U8, side: float) -> None:
    """Darken a wall away from the light; ``side`` in [-1, 1] is where the light comes from."""
    height, width = ground.shape[:2]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(1, -0.6, height, dtype=np.float32)[:, None]
    gain = np.clip(0.92 + 0.16 * side * x + 0.1 * y, 0.5, 1.15).astype(np.float32)
    cv2.multiply(ground, cv2.merge([gain] * 3), dst=ground, dtype=cv2.CV_8U)
