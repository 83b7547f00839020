"""A strip of small pictures with captions, for notebooks: HTML that loads nothing."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from markupsafe import Markup

from ilion.report.pictures import load_picture, smaller
from ilion.types import ImageRecord

STEP = (160, 78)
"""Longer side in pixels and JPEG quality of a picture."""


def strip(cells: Sequence[tuple[ImageRecord, str, str]]) -> Markup:
    """Return pictures side by side.

    Args:
        cells: Image, caption, and colour of its frame ("" for none).
    """
    figures = []
    for number, (record, caption, colour) in enumerate(cells):
        picture = load_picture(record.source, number)
        data = base64.b64encode(smaller(picture.jpeg, *STEP)).decode("ascii")
        image = Markup('<img alt="" src="data:image/jpeg;base64,{}">').format(data)
        style = f"margin:4px;width:{STEP[0]}px;border:3px solid {colour or 'transparent'}"
        figures.append(
            Markup('<figure style="{}">{}<figcaption>{}</figcaption></figure>').format(
                style, image if data else picture.problem, caption
            )
        )
    style = "display:flex;flex-wrap:wrap;overflow-wrap:anywhere;font-size:11px"
    return Markup('<div style="{}">{}</div>').format(style, Markup("").join(figures))
