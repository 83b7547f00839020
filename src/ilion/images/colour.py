"""Colours to 8-bit sRGB."""

from __future__ import annotations

import io
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from ilion.errors import ImageError
from ilion.types import RGB

_SPACES = {b"RGB ": "RGB", b"CMYK": "CMYK"}
_FLIPS = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}
"""EXIF orientation -> OpenCV's code of the flip that undoes it, after a transposition from 5 on."""


def profile_name(icc: bytes) -> str:
    """Return the description in a colour profile, "" without a profile, "damaged" if it cannot be read."""
    if not icc:
        return ""
    try:
        return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(icc))).strip() or "unnamed"
    except (ImageCms.PyCMSError, OSError):
        return "damaged"


def changes_colours(icc: bytes) -> bool:
    """Return whether a profile asks for a conversion: it is for RGB or CMYK and does not call itself sRGB.

    >>> changes_colours(b"")
    False
    """
    return icc[16:20] in _SPACES and b"sRGB" not in icc and "sRGB".encode("utf-16-be") not in icc


_BAND = 1 << 22
"""Pixels that are converted at once: several copies of a photo of 200 megapixels are gigabytes."""


def to_srgb(image: Image.Image, icc: bytes) -> RGB:
    """Convert any decoded image to 8-bit sRGB; what is transparent shows white.

    Args:
        image: RGB and CMYK (0 is no ink) are converted by their profile, other modes plainly.
        icc: Embedded profile, or b"". One that is damaged or for other colours counts as none, as in all
            viewers.

    Raises:
        ImageError: Numbers without an agreed white (float or 32-bit samples outside [0, 1] or 16 bits).
    """
    width, height = image.size
    rows = max(1, _BAND // max(width, 1))
    if height <= rows:
        return _band_to_srgb(image, image, icc)
    result = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(top + rows, height)))
        result[top : top + rows] = _band_to_srgb(band, image, icc)
    return result


def _band_to_srgb(band: Image.Image, image: Image.Image, icc: bytes) -> RGB:
    """Convert some rows of an image, whose tags say what its samples mean."""
    flat = _flatten(band, image)
    if changes_colours(icc) and _SPACES[icc[16:20]] == flat.mode:
        transform = _transform(icc)
        if transform is not None:
            return np.array(transform.apply(flat))
    return np.array(flat.convert("RGB"))


@lru_cache(maxsize=32)
def _transform(icc: bytes) -> ImageCms.ImageCmsTransform | None:
    """Build a conversion to sRGB; the photos of one camera share it."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        return ImageCms.ImageCmsTransform(profile, target, _SPACES[icc[16:20]], "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def _flatten(image: Image.Image, whole: Image.Image) -> Image.Image:
    """Bring a decoded image of any Pillow mode to L, RGB or CMYK of 8 bits; what is transparent shows white.

    Raises:
        ImageError: Numbers without an agreed white (float or 32-bit samples outside [0, 1] or 16 bits).
    """
    mode = image.mode
    if mode in ("L", "RGB", "CMYK") and "transparency" not in image.info:
        return image
    if mode.startswith("I") or mode == "F":
        return Image.fromarray(_to_8_bits(image, whole))
    if "transparency" in image.info or mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        pixels = image.convert("RGBA")
        white = Image.new("RGBA", pixels.size, "white")
        return Image.alpha_composite(white, pixels).convert("RGB")
    return image.convert("L" if mode == "1" else "RGB")


def _to_8_bits(image: Image.Image, whole: Image.Image) -> NDArray[np.uint8]:
    """Scale 16-bit integers by 1/257 and floats in [0, 1] by 255, rounded; ``whole`` has the tags."""
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if image.mode == "F":
        if not (low >= 0 and high <= 1):
            raise ImageError(
                f"float samples from {low:g} to {high:g}: nothing says what is white; scale them to [0, 1] "
                "or save 8-bit or 16-bit integers"
            )
        scaled = np.round(values * 255).astype(np.uint8)
        return ~scaled if _white_is_zero(whole) else scaled
    # TIFF tag 258 says how many bits count: 12-bit scanners store 0 to 4095.
    white = 4095 if _bits(whole) == 12 else 65535
    if low < 0 or high > white:
        raise ImageError(
            f"32-bit samples from {low:g} to {high:g}: nothing says what is white; "
            "save 8-bit or 16-bit integers"
        )
    scaled = ((values.astype(np.uint32) * 510 + white) // (2 * white)).astype(np.uint8)
    return ~scaled if _white_is_zero(whole) else scaled


def _white_is_zero(image: Image.Image) -> bool:
    """Return whether a TIFF says (tag 262) that 0 is white; Pillow turns samples of up to 8 bits itself."""
    return getattr(image, "tag_v2", {}).get(262) == 0


def _bits(image: Image.Image) -> int:
    """Return the bits a sample that a TIFF declares, 16 for other formats."""
    tags = getattr(image, "tag_v2", {})
    return int(tags.get(258, (16,))[0])


def turn_upright(image: RGB, orientation: int) -> RGB:
    """Undo an EXIF orientation.

    Args:
        image: (H, W, 3) as stored.
        orientation: 1 to 8 (EXIF 2.32, tag 0x0112).

    >>> turn_upright(np.zeros((2, 5, 3), np.uint8), 6).shape
    (5, 2, 3)
    """
    if orientation not in range(2, 9):
        return image
    turned = cv2.transpose(image) if orientation >= 5 else image
    flip = _FLIPS.get(orientation)
    return np.asarray(turned if flip is None else cv2.flip(turned, flip), np.uint8)
