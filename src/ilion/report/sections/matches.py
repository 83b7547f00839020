"""A query and a result side by side, with their matches as lines and the found outline.

Everything is drawn over thumbnails in the pixels of the full-size images. An inlier's line is solid and
bright on a dark border, other matches are thin, pale and dashed: the two differ in more than colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from ilion.report.pictures import Picture
from ilion.types import Bool, Box, Float64, Value

MOST_INLIERS, MOST_OTHERS = 40, 25
"""Lines drawn at most; more would hide the photos."""
_SIDE, _GAP = 300.0, 36.0


@dataclass(frozen=True)
class Link(Value):
    """The matches of two images, in pixels of each.

    Args:
        query: (n, 2) places in the query.
        image: (n, 2) places in the database image.
        inliers: (n,) which of them agree on one motion.
        outline: (4, 2) the query's outline in the database image; None without a plausible motion.
    """

    query: Float64
    image: Float64
    inliers: Bool
    outline: Float64 | None


@dataclass(frozen=True)
class _Cell:
    """Place of a picture in the drawing: full-size pixels times ``scale``, then moved."""

    picture: Picture
    left: float
    top: float
    scale: float

    def place(self, points: Float64) -> Float64:
        return points * self.scale + (self.left, self.top)


def draw_link(
    query: Picture, image: Picture, link: Link | None, boxes: tuple[Sequence[Box], Sequence[Box]], text: str
) -> Markup:
    """Draw two pictures and what connects them.

    Args:
        query: Picture of the query.
        image: Picture of the result.
        link: Matches of the two; None draws the pictures alone.
        boxes: Boxes of the data set, of the query and of the result.
        text: Text for people who do not see it.
    """
    scales = [_SIDE / max(p.width, p.height) for p in (query, image)]
    height = max(p.height * scale for p, scale in zip((query, image), scales, strict=True))
    # a narrow picture stands beside the gap, so that lines are short
    first = _Cell(query, _SIDE - query.width * scales[0], (height - query.height * scales[0]) / 2, scales[0])
    second = _Cell(image, _SIDE + _GAP, (height - image.height * scales[1]) / 2, scales[1])
    left = first.left
    right = second.left + image.width * scales[1]
    parts = [
        Markup(
            '<svg class="link-picture" viewBox="{:.1f} 0 {:.1f} {:.1f}" role="img" aria-label="{}">'
        ).format(left, right - left, height, text)
    ]
    parts += [_picture(cell) for cell in (first, second)]
    if link is not None:
        parts.append(_others(link, first, second))
    for cell, some in zip((first, second), boxes, strict=True):
        parts += [_frame(cell.place(_corners(box)), "box true") for box in some]
    if link is not None:
        if link.outline is not None:
            parts.append(_clip(second, _frame(second.place(link.outline), "box found")))
        parts.append(_inliers(link, first, second))
    return Markup("").join([*parts, Markup("</svg>")])


def _picture(cell: _Cell) -> Markup:
    return Markup('<g transform="translate({:.2f} {:.2f}) scale({:.5f})"><use href="#p{}"/></g>').format(
        cell.left, cell.top, cell.scale, cell.picture.number
    )


def _clip(cell: _Cell, content: Markup) -> Markup:
    """Cut off what reaches beyond a picture: a nested SVG hides its overflow."""
    width, height = cell.picture.width * cell.scale, cell.picture.height * cell.scale
    return Markup(
        '<svg x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" '
        'viewBox="{x:.1f} {y:.1f} {w:.1f} {h:.1f}">{content}</svg>'
    ).format(x=cell.left, y=cell.top, w=width, h=height, content=content)


def _corners(box: Box) -> Float64:
    left, top, right, bottom = box.x, box.y, box.x + box.width, box.y + box.height
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


def _frame(corners: Float64, css: str) -> Markup:
    data = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in corners.tolist()) + "Z"
    return Markup('<path class="halo" d="{d}"/><path class="{css}" d="{d}"/>').format(d=data, css=css)


def _lines(starts: Float64, ends: Float64) -> str:
    return "".join(
        f"M{x:.0f} {y:.0f}L{u:.0f} {v:.0f}"
        for (x, y), (u, v) in zip(starts.tolist(), ends.tolist(), strict=True)
    )


def _inliers(link: Link, first: _Cell, second: _Cell) -> Markup:
    """Draw inliers, of many an even choice from top to bottom, and their ends as dots."""
    rows = np.flatnonzero(link.inliers)
    rows = rows[np.argsort(link.query[rows, 1], kind="stable")]
    if len(rows) > MOST_INLIERS:
        rows = rows[np.linspace(0, len(rows) - 1, MOST_INLIERS).round().astype(np.int64)]
    if not len(rows):
        return Markup("")
    starts, ends = first.place(link.query[rows]), second.place(link.image[rows])
    lines = _lines(starts, ends)
    dots = "".join(f"M{x:.0f} {y:.0f}h0" for x, y in np.concatenate([starts, ends]).tolist())
    return Markup(
        '<path class="match under" d="{0}"/><path class="match" d="{0}"/>'
        '<path class="match-dot under" d="{1}"/><path class="match-dot" d="{1}"/>'
    ).format(lines, dots)


def _others(link: Link, first: _Cell, second: _Cell) -> Markup:
    """Draw the first other matches: they come with the most similar ones first or in any fixed order."""
    rows = np.flatnonzero(~link.inliers)[:MOST_OTHERS]
    if not len(rows):
        return Markup("")
    lines = _lines(first.place(link.query[rows]), second.place(link.image[rows]))
    return Markup('<path class="match loose" d="{}"/>').format(lines)
