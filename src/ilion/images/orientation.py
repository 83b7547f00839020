"""Which way is up: the one rule by which probe, check and decode turn a picture.

The EXIF block decides, or the tag of that number in a TIFF itself, or the turn that an AVIF container states.
What XMP says is never followed, as in browsers: programs that turn the pixels often leave it as it was.
"""

from __future__ import annotations

import re

from PIL import Image

from ilion.images.jpeg import ORIENTATION, read_orientation

_XMP = re.compile(rb"tiff:Orientation(?:\s*=\s*[\"']|>)\s*([1-8])")
_XMP_KEYS = ("xmp", "XML:com.adobe.xmp")


def exif_orientation(exif: bytes) -> tuple[int, bool]:
    """Return the orientation (1 to 8) in an EXIF block, and whether the block is damaged; none is upright.

    >>> exif_orientation(b""), exif_orientation(b"Exif\\0\\0MM scrambled")
    ((1, False), (1, True))
    """
    return read_orientation(exif.removeprefix(b"Exif\0\0")) if exif else (1, False)


def pillow_orientation(image: Image.Image) -> tuple[int, bool]:
    """Return the same for an image that Pillow opened; to be asked before its pixels are loaded.

    It also hides what XMP says from Pillow, which would follow it, and which turns a TIFF while loading.
    """
    for key in _XMP_KEYS:
        image.info.pop(key, None)
    if hasattr(image, "tag_v2"):
        value = image.tag_v2.get(ORIENTATION, 1)
        sound = isinstance(value, int) and 1 <= value <= 8
        return (value, False) if sound else (1, value != 0)
    return exif_orientation(image.info.get("exif") or b"")


def xmp_orientation(data: bytes) -> int:
    """Return the orientation that the XMP of any file states in plain text, 0 where there is none.

    >>> xmp_orientation(b'<rdf:Description tiff:Orientation="6"/>'), xmp_orientation(b"JFIF")
    (6, 0)
    """
    found = data.find(b"tiff:Orientation")  # many times faster than the expression
    match = _XMP.match(data, found) if found >= 0 else None
    return int(match[1]) if match else 0
