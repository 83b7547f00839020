"""A small drawing surface: anti-aliased shapes with flat or graded colour, stamps, and lettering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ilion.synthetic.color import Colour
from ilion.synthetic.warps import remap, warp

U8 = NDArray[Any]
"""An array of uint8; the stubs of OpenCV do not know which type its functions return."""
Points = Sequence[tuple[float, float]] | NDArray[np.floating]

_SUBPIXEL = 4  # fractional bits of coordinates given to OpenCV


@dataclass(frozen=True)
class Graded:
    """A colour that changes along a direction, or outwards from a point.

    Args:
        start: Colour at the start (or the centre).
        end: Colour at the end (or the rim).
        angle: Degrees, 0 is left to right, 90 top to bottom.
        radial: Grade outwards from ``centre`` instead.
        centre: Fractions of the shape's bounding box.
    """

    start: Colour
    end: Colour
    angle: float = 90.0
    radial: bool = False
    centre: tuple[float, float] = (0.38, 0.32)


Fill = Colour | Graded


@dataclass(frozen=True)
class Style:
    """How letters are formed from the one font there is.

    Args:
        weight: Stroke thickening as a fraction of the letter height.
        stretch: Width relative to the font's own.
        slant: Horizontal shift per unit of height.
        spacing: Extra space between letters as a fraction of the letter height.
        round: Whether corners are rounded off.
        arc: Rise of the middle as a fraction of the letter height (negative: sag).
        cut: Whether a fine horizontal line is cut through the letters.
    """

    weight: float = 0.0
    stretch: float = 1.0
    slant: float = 0.0
    spacing: float = 0.0
    round: bool = False
    arc: float = 0.0
    cut: bool = False


PLAIN = Style()
BOLD = Style(weight=0.045)
CAPS = Style(weight=0.02, spacing=0.18)


def smooth(points: Points, steps: int = 8, closed: bool = True) -> NDArray[np.float64]:
    """Return a Catmull-Rom curve through points (Catmull and Rom, 1974).

    Args:
        points: (N, 2) at least three.
        steps: Pieces between two points.
        closed: Whether the curve returns to its start.

    >>> smooth([(0, 0), (1, 0), (1, 1)], steps=4).shape
    (12, 2)
    """
    p = np.asarray(points, dtype=np.float64)
    padded = np.vstack([p[-1:], p, p[:2]]) if closed else np.vstack([p[:1], p, p[-1:]])
    a, b, c, d = padded[:-3, None], padded[1:-2, None], padded[2:-1, None], padded[3:, None]
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - 3 * c + d - a) * t**3)
    flat: NDArray[np.float64] = curve.reshape(-1, 2)
    return flat if closed else np.vstack([flat, p[-1:]])


def oval(
    cx: float, cy: float, rx: float, ry: float, angle: float = 0.0, steps: int = 40
) -> NDArray[np.float64]:
    """Return (steps, 2) points of an ellipse turned by ``angle`` degrees.

    >>> oval(0, 0, 2, 1, steps=4).round(6).tolist()
    [[2.0, 0.0], [0.0, 1.0], [-2.0, 0.0], [-0.0, -1.0]]
    """
    t = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    x, y = rx * np.cos(t), ry * np.sin(t)
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return np.stack([cx + c * x - s * y, cy + s * x + c * y], axis=1)


class Ink:
    """A surface of RGB colour and coverage; coordinates are in units of ``unit`` pixels.

    Args:
        width: Pixels.
        height: Pixels.
        unit: Pixels per unit of the coordinates.
        ground: Colour that covers the surface; None leaves it transparent.
    """

    def __init__(self, width: int, height: int, unit: float, ground: Fill | None = None) -> None:
        self.unit = unit
        self.rgb: U8 = np.zeros((height, width, 3), np.uint8)
        self.alpha: U8 = np.zeros((height, width), np.uint8)
        if ground is not None:
            self.alpha[:] = 255
            self.rgb[:] = _colour_of(ground, height, width)

    @property
    def width(self) -> float:
        """Width in units."""
        return float(self.rgb.shape[1] / self.unit)

    @property
    def height(self) -> float:
        """Height in units."""
        return float(self.rgb.shape[0] / self.unit)

    def polygon(self, points: Points, fill: Fill, opacity: float = 1.0) -> None:
        """Fill a polygon."""
        p = np.round(np.asarray(points, dtype=np.float64) * self.unit * 2**_SUBPIXEL).astype(np.int32)
        if opacity == 1.0 and not isinstance(fill, Graded):
            cv2.fillPoly(self.rgb, [p], fill, cv2.LINE_AA, _SUBPIXEL)
            cv2.fillPoly(self.alpha, [p], 255, cv2.LINE_AA, _SUBPIXEL)
            return
        height, width = self.alpha.shape
        x0, y0 = np.clip((p.min(axis=0) >> _SUBPIXEL) - 1, 0, (width, height))
        x1, y1 = np.clip((p.max(axis=0) >> _SUBPIXEL) + 2, 0, (width, height))
        if x1 <= x0 or y1 <= y0:
            return
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillPoly(mask, [p - np.array([x0, y0]) * 2**_SUBPIXEL], 255, cv2.LINE_AA, _SUBPIXEL)
        self._blend(mask, int(x0), int(y0), fill, opacity)

    def curve(self, points: Points, fill: Fill, opacity: float = 1.0) -> None:
        """Fill a smooth closed curve through points."""
        self.polygon(smooth(points), fill, opacity)

    def ellipse(
        self,
        cx: float,
        cy: float,
        rx: float,
        ry: float,
        fill: Fill,
        angle: float = 0.0,
        opacity: float = 1.0,
    ) -> None:
        """Fill an ellipse."""
        self.polygon(oval(cx, cy, rx, ry, angle), fill, opacity)

    def ring(self, cx: float, cy: float, radius: float, thickness: float, colour: Colour) -> None:
        """Draw a circle line."""
        self.line([*oval(cx, cy, radius, radius, steps=60).tolist()], thickness, colour, closed=True)

    def rect(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        fill: Fill,
        radius: float = 0.0,
        opacity: float = 1.0,
    ) -> None:
        """Fill a rectangle with corners of a radius."""
        if radius <= 0:
            self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill, opacity)
            return
        t = np.linspace(0, np.pi / 2, 6)
        quarter = radius * np.stack([np.cos(t), np.sin(t)], axis=1)
        back = quarter[::-1]
        corners = [
            quarter + np.array([x1 - radius, y1 - radius]),
            back * (-1, 1) + (x0 + radius, y1 - radius),
            quarter * (-1, -1) + (x0 + radius, y0 + radius),
            back * (1, -1) + (x1 - radius, y0 + radius),
        ]
        self.polygon(np.vstack(corners), fill, opacity)

    def line(self, points: Points, thickness: float, colour: Colour, closed: bool = False) -> None:
        """Draw a line through points."""
        p = np.round(np.asarray(points, dtype=np.float64) * self.unit * 2**_SUBPIXEL).astype(np.int32)
        wide = max(1, round(thickness * self.unit))
        cv2.polylines(self.rgb, [p], closed, colour, wide, cv2.LINE_AA, _SUBPIXEL)
        cv2.polylines(self.alpha, [p], closed, 255, wide, cv2.LINE_AA, _SUBPIXEL)

    def mask(self, mask: U8, x: float, y: float, fill: Fill, opacity: float = 1.0) -> None:
        """Print a coverage mask in pixels with its top left corner at (x, y) units."""
        left, top = round(x * self.unit), round(y * self.unit)
        height, width = self.alpha.shape
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + mask.shape[1], width), min(top + mask.shape[0], height)
        if x1 > x0 and y1 > y0:
            self._blend(mask[y0 - top : y1 - top, x0 - left : x1 - left], x0, y0, fill, opacity)

    def stamp(
        self, stamp: U8, cx: float, cy: float, size: float, angle: float = 0.0, opacity: float = 1.0
    ) -> None:
        """Print a square RGBA stamp (S, S, 4) with its centre at (cx, cy), ``size`` units wide."""
        side = max(2, round(size * self.unit))
        reach = side if angle == 0 else round(side * (abs(np.cos(a := np.radians(angle))) + abs(np.sin(a))))
        small = cv2.resize(stamp, (side, side), interpolation=cv2.INTER_AREA)
        if angle != 0:
            turn = cv2.getRotationMatrix2D((side / 2, side / 2), -angle, 1.0)
            turn = turn + np.array([[0, 0, 1], [0, 0, 1]]) * ((reach - side) / 2)
            small = warp(small, turn, (reach, reach), cv2.BORDER_CONSTANT)
        left, top = round(cx * self.unit - reach / 2), round(cy * self.unit - reach / 2)
        height, width = self.alpha.shape
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + reach, width), min(top + reach, height)
        if x1 <= x0 or y1 <= y0:
            return
        piece = small[y0 - top : y1 - top, x0 - left : x1 - left]
        cover = piece[..., 3].astype(np.float32) * (opacity / 255)
        target = self.rgb[y0:y1, x0:x1]
        target[:] = cv2.blendLinear(np.ascontiguousarray(piece[..., :3]), target.copy(), cover, 1 - cover)
        cover_alpha = self.alpha[y0:y1, x0:x1]
        np.maximum(cover_alpha, piece[..., 3], out=cover_alpha)

    def text(
        self,
        text: str,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: Fill,
        style: Style = PLAIN,
        align: float = 0.5,
        outline: tuple[Colour, float] | None = None,
        turn: int = 0,
    ) -> tuple[float, float, float, float]:
        """Set one line of text as large as a box allows, centred in height.

        Args:
            text: The line.
            x: Left edge of the box.
            y: Top edge of the box.
            width: Width of the box.
            height: Height of the box; capital letters take about 0.7 of it.
            fill: Colour.
            style: Letter forms.
            align: 0 left, 0.5 centre, 1 right.
            outline: Colour and width (fraction of the height) of a line around the letters.
            turn: Quarter turns counter-clockwise; the box is the one on the turned page.

        Returns:
            Left, top, right and bottom of the printed letters.
        """
        box = (height, width) if turn % 2 else (width, height)
        mask = lettering(text, style, max(3, round(box[1] * self.unit)), max(3, round(box[0] * self.unit)))
        mask = np.ascontiguousarray(np.rot90(mask, turn)) if turn else mask
        left = x + (width - mask.shape[1] / self.unit) * (align if turn % 2 == 0 else 0.5)
        top = y + (height - mask.shape[0] / self.unit) * (0.5 if turn % 2 == 0 else 1 - align)
        if outline is not None:
            colour, share = outline
            grow = max(1, round(share * mask.shape[0]))
            kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow + 1, 2 * grow + 1))
            wide = cv2.dilate(cv2.copyMakeBorder(mask, grow, grow, grow, grow, cv2.BORDER_CONSTANT), kernel)
            self.mask(wide, left - grow / self.unit, top - grow / self.unit, colour)
        self.mask(mask, left, top, fill)
        return left, top, left + mask.shape[1] / self.unit, top + mask.shape[0] / self.unit

    def rgba(self) -> U8:
        """Return the surface as (H, W, 4)."""
        return cv2.merge([self.rgb, self.alpha])

    def _blend(self, mask: U8, x: int, y: int, fill: Fill, opacity: float) -> None:
        height, width = mask.shape
        cover = mask.astype(np.float32) * (opacity / 255)
        target = self.rgb[y : y + height, x : x + width]
        target[:] = cv2.blendLinear(_colour_of(fill, height, width), target.copy(), cover, 1 - cover)
        alpha = self.alpha[y : y + height, x : x + width]
        np.maximum(alpha, mask if opacity == 1 else (mask * opacity).astype(np.uint8), out=alpha)


def _colour_of(fill: Fill, height: int, width: int) -> U8:
    if not isinstance(fill, Graded):
        flat: U8 = np.empty((height, width, 3), np.uint8)
        flat[:] = fill
        return flat
    # Grades are smooth, so they are computed on a few points and enlarged.
    columns, rows = min(width, 48 if fill.radial else 2), min(height, 48 if fill.radial else 2)
    x = ((np.arange(columns, dtype=np.float32) + 0.5) / columns)[None, :]
    y = ((np.arange(rows, dtype=np.float32) + 0.5) / rows)[:, None]
    if not fill.radial:
        x, y = x * 2 - 0.5 if columns == 2 else x, y * 2 - 0.5 if rows == 2 else y
    if fill.radial:
        t = np.sqrt((x - fill.centre[0]) ** 2 + (y - fill.centre[1]) ** 2) * 1.35
    else:
        c, s = np.float32(np.cos(np.radians(fill.angle))), np.float32(np.sin(np.radians(fill.angle)))
        t = 0.5 + (x - 0.5) * c + (y - 0.5) * s
    start, end = np.array(fill.start, np.float32), np.array(fill.end, np.float32)
    graded = (start + (end - start) * np.clip(t, 0, 1)[..., None]).astype(np.uint8)
    return cv2.resize(graded, (width, height), interpolation=cv2.INTER_LINEAR)


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType, so it has no scalable font")
    return font


_SIZES = (12, 16, 24, 36, 54, 80, 120, 180)


@lru_cache(maxsize=4096)
def lettering(text: str, style: Style, height: int, width: int) -> U8:
    """Return the coverage mask of a line of text, as large as fits (height, width) pixels.

    The height of the mask is that of the letters from the top of a capital to the lowest descender in use.
    """
    size = next((s for s in _SIZES if s >= height), _SIZES[-1])
    font = _font(size)
    stroke = round(style.weight * size)
    gap = (style.spacing + (1.4 * style.weight if style.weight > 0.04 else 0)) * size
    advance = [font.getlength(c) + gap for c in text] if gap else []
    long = int(sum(advance) if gap else font.getlength(text)) + 2 * stroke + size
    page = Image.new("L", (long, 2 * size), 0)
    draw = ImageDraw.Draw(page)
    x = float(stroke + 2)
    if gap:
        for letter, step in zip(text, advance, strict=True):
            draw.text((x, size / 4), letter, 255, font, stroke_width=stroke)
            x += step
    else:
        draw.text((x, size / 4), text, 255, font, stroke_width=stroke)
    mask: U8 = np.asarray(page)
    if style.round:
        mask = cv2.GaussianBlur(mask, (0, 0), 0.035 * size)
        mask = np.clip((mask.astype(np.float32) - 88) * (255 / 80), 0, 255).astype(np.uint8)
    if style.cut:
        mask = mask.copy()
        middle, half = round(size * 0.72), max(1, size // 50)
        mask[middle - half : middle + half] = 0
    if style.slant:
        shear = np.array([[1, -style.slant, style.slant * 2 * size], [0, 1, 0]], np.float64)
        wide = long + round(abs(style.slant) * 2 * size)
        mask = warp(mask, shear, (wide, 2 * size), cv2.BORDER_CONSTANT)
    if style.arc:
        mask = _bent(mask, style.arc * size)
    rows, columns = np.flatnonzero(mask.max(axis=1) > 40), np.flatnonzero(mask.max(axis=0) > 40)
    if not rows.size:
        return np.zeros((1, 1), np.uint8)
    mask = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = min(height / max(mask.shape[0], 0.7 * size), width / (mask.shape[1] * style.stretch))
    to = (max(1, round(mask.shape[1] * style.stretch * scale)), max(1, round(mask.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    fitted: U8 = cv2.resize(mask, to, interpolation=how)
    fitted.setflags(write=False)
    return fitted


def _bent(mask: U8, rise: float) -> U8:
    width = mask.shape[1]
    x = np.linspace(-1, 1, width, dtype=np.float32)
    shift = np.float32(rise) * (1 - x**2)
    pad = int(abs(rise)) + 2
    tall = cv2.copyMakeBorder(mask, pad, pad, 0, 0, cv2.BORDER_CONSTANT)
    rows = np.arange(tall.shape[0], dtype=np.float32)[:, None] + shift[None, :]
    columns = np.broadcast_to(np.arange(width, dtype=np.float32), rows.shape)
    return remap(tall, columns, rows, cv2.BORDER_CONSTANT)
