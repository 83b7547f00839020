"""A pinhole camera, and drawing textured faces and cut-outs into its picture.

World coordinates are centimetres: x to the right, y up, z towards the viewer. Textures are pyramids of ever
smaller versions, so that small things do not shimmer. Points of a quad go top left, top right, bottom right,
bottom left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ilion.synthetic.ink import U8
from ilion.synthetic.warps import warp

F64 = NDArray[np.float64]
Pyramid = tuple[U8, ...]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Args:
        eye: (3,) position.
        axes: (3, 3) rows right, up, forward.
        focal: Focal length in pixels.
        width: Pixels.
        height: Pixels.
    """

    eye: F64
    axes: F64
    focal: float
    width: int
    height: int

    def project(self, points: F64) -> F64:
        """Return (N, 2) pixels of (N, 3) world points; points behind the camera are put far outside."""
        right, up, forward = ((points - self.eye) @ self.axes.T).T
        depth = np.maximum(forward, 1e-3)
        return np.stack(
            [self.width / 2 + self.focal * right / depth, self.height / 2 - self.focal * up / depth], axis=1
        )

    def depth(self, point: F64) -> float:
        """Return how far in front of the camera a point is."""
        return float((point - self.eye) @ self.axes[2])


def look_at(eye: F64, target: F64, roll: float, focal: float, width: int, height: int) -> Camera:
    """Return a camera at ``eye`` that looks at ``target``, rolled by ``roll`` degrees.

    >>> camera = look_at(np.array([0.0, 0, 10]), np.zeros(3), 0.0, 100.0, 64, 48)
    >>> camera.project(np.array([[1.0, 1.0, 0.0]])).tolist()
    [[42.0, 14.0]]
    """
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, np.array([0.0, 1.0, 0.0]))
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    c, s = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    return Camera(eye, np.stack([c * right + s * up, c * up - s * right, forward]), focal, width, height)


def turn(yaw: float, roll: float = 0.0) -> F64:
    """Return the (3, 3) rotation by ``roll`` degrees about z, then by ``yaw`` about y.

    >>> turn(90.0).round(6).tolist()
    [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]
    """
    a, b = np.radians(yaw), np.radians(roll)
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    product: F64 = about_y @ about_z
    return product


def pyramid(image: U8) -> Pyramid:
    """Return an image and its halvings down to about 12 pixels.

    >>> [level.shape[0] for level in pyramid(np.zeros((64, 64, 3), np.uint8))]
    [64, 32, 16]
    """
    levels = [image]
    while min(levels[-1].shape[:2]) >= 24:
        rows, columns = levels[-1].shape[:2]
        levels.append(cv2.resize(levels[-1], (columns // 2, rows // 2), interpolation=cv2.INTER_AREA))
    return tuple(levels)


def premultiplied(stamp: U8) -> U8:
    """Return an RGBA image whose colours are multiplied by its coverage.

    >>> premultiplied(np.full((1, 1, 4), 100, np.uint8)).tolist()
    [[[39, 39, 39, 100]]]
    """
    cover = cv2.cvtColor(cv2.extractChannel(stamp, 3), cv2.COLOR_GRAY2RGB)
    colour = cv2.multiply(cv2.cvtColor(stamp, cv2.COLOR_RGBA2RGB), cover, scale=1 / 255)
    return cv2.merge([colour, cv2.extractChannel(stamp, 3)])


def _place(
    canvas: U8, quad: F64, levels: Pyramid
) -> tuple[U8, NDArray[Any], tuple[int, int, int, int]] | None:
    """Return the level to use, its homography into the window, and the window; None when nothing is seen."""
    height, width = canvas.shape[:2]
    x0, y0 = max(int(np.floor(quad[:, 0].min())), 0), max(int(np.floor(quad[:, 1].min())), 0)
    x1, y1 = min(int(np.ceil(quad[:, 0].max())) + 1, width), min(int(np.ceil(quad[:, 1].max())) + 1, height)
    if x1 - x0 < 2 or y1 - y0 < 2:
        return None
    across = max(np.hypot(*(quad[1] - quad[0])), np.hypot(*(quad[2] - quad[3])), 1.0)
    down = max(np.hypot(*(quad[3] - quad[0])), np.hypot(*(quad[2] - quad[1])), 1.0)
    rows, columns = levels[0].shape[:2]
    shrink = max(columns / across, rows / down) / 1.5
    level = levels[int(np.clip(np.floor(np.log2(max(shrink, 1.0))) + (shrink > 1), 0, len(levels) - 1))]
    rows, columns = level.shape[:2]
    source = np.array([(0, 0), (columns, 0), (columns, rows), (0, rows)], np.float32) - np.float32(0.5)
    window = (quad - (x0, y0)).astype(np.float32)
    return level, cv2.getPerspectiveTransform(source, window), (x0, y0, x1, y1)


def draw_face(canvas: U8, quad: F64, levels: Pyramid, shade: float) -> None:
    """Draw an opaque face; nothing happens when it looks away from the camera.

    Args:
        canvas: (H, W, 3), changed in place.
        quad: (4, 2) pixels.
        levels: Texture (h, w, 3).
        shade: Factor of brightness.
    """
    if _cross(quad) < 2.0:
        return
    placed = _place(canvas, quad, levels)
    if placed is None:
        return
    level, homography, (x0, y0, x1, y1) = placed
    lit = cv2.convertScaleAbs(level, alpha=shade)
    warp(lit, homography, (x1 - x0, y1 - y0), cv2.BORDER_TRANSPARENT, canvas[y0:y1, x0:x1])


def draw_cutout(canvas: U8, quad: F64, levels: Pyramid, shade: float) -> None:
    """Draw a premultiplied RGBA texture over the picture; see `draw_face`."""
    placed = _place(canvas, quad, levels)
    if placed is None or abs(_cross(quad)) < 2.0:
        return
    level, homography, (x0, y0, x1, y1) = placed
    piece = warp(level, homography, (x1 - x0, y1 - y0), cv2.BORDER_CONSTANT)
    colour = cv2.convertScaleAbs(cv2.cvtColor(piece, cv2.COLOR_RGBA2RGB), alpha=shade)
    rest = cv2.cvtColor(cv2.bitwise_not(cv2.extractChannel(piece, 3)), cv2.COLOR_GRAY2RGB)
    window = canvas[y0:y1, x0:x1]
    window[:] = cv2.add(cv2.multiply(window, rest, scale=1 / 255), colour)


def draw_polygon(canvas: U8, points: F64, colour: tuple[float, ...]) -> None:
    """Fill a polygon of pixels with a colour."""
    fixed = np.round(np.clip(points, -4000, 8000) * 16).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], colour, cv2.LINE_AA, 4)


def _cross(quad: F64) -> float:
    """Return twice the signed area; positive when the face looks at the camera."""
    a, b = quad[2] - quad[0], quad[3] - quad[1]
    return float(a[0] * b[1] - a[1] * b[0])
