"""Any supported image file to upright 8-bit sRGB, or an error that says why not."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from ilion.errors import ImageError
from ilion.images.colour import changes_colours, to_srgb, turn_upright
from ilion.images.jpeg import MAX_SCANS, JpegHeader, read_jpeg_header
from ilion.images.orientation import exif_orientation, pillow_orientation
from ilion.images.pillow import open_image
from ilion.images.png import check_png, read_png_header
from ilion.images.probe import add_place, sniff
from ilion.types import RGB, Value

MAX_PIXELS = 200_000_000
"""Most pixels of an image. Phones deliver up to 200 megapixels; more counts as a decompression bomb."""

_DAMAGE = re.compile(r"Corrupt JPEG data|Premature end|Inconsistent progression")
_LEFTOVER = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
_MAX_LEFTOVER = 8


@dataclass(frozen=True, slots=True)
class Decoded(Value):
    """A decoded image.

    Args:
        image: (H, W, 3), upright sRGB.
        full_size: (width, height) in pixels of the upright image at full size; boxes refer to it.
    """

    image: RGB
    full_size: tuple[int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """Factors of x and y from the full size to ``image``."""
        height, width = self.image.shape[:2]
        return width / self.full_size[0], height / self.full_size[1]


def decode(
    data: bytes,
    *,
    at_least: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
    where: str = "",
    upright: bool = True,
) -> Decoded:
    """Decode an image: upright, first frame, on white where transparent, 8-bit sRGB.

    JPEG goes through libjpeg-turbo, which stops at any damage that it notices; a damaged stream that is
    still a valid one cannot be told from a picture. Everything else goes through Pillow.

    Args:
        data: The whole encoded file. The content decides, never a file name.
        at_least: (longer side, shorter side) in pixels that suffice; a larger JPEG may be decoded at a
            fraction of its size, which is several times faster (see `least_size`). None decodes at full size.
        max_pixels: Most pixels; a header that claims more is refused before anything is allocated.
        where: Place for messages, such as the path.
        upright: Whether to turn the image as its EXIF orientation says.

    Raises:
        ImageError: Empty, truncated, damaged, zero-sized, too large, or no decoder for it; the message says
            what was seen and what to do.

    >>> import simplejpeg
    >>> data = simplejpeg.encode_jpeg(np.full((300, 400, 3), 200, np.uint8))
    >>> half = decode(data, at_least=(200, 1))
    >>> half.image.shape, half.full_size, half.scale
    ((150, 200, 3), (400, 300), (0.5, 0.5))
    >>> decode(data[:100], where="photo.jpg")
    Traceback (most recent call last):
      ...
    ilion.errors.ImageError: photo.jpg: truncated JPEG: its 100 bytes end within the header; fetch it again
    """
    with add_place(where):
        kind = sniff(data)
        if kind == "jpeg":
            header = read_jpeg_header(data)
            check_size(header.width, header.height, max_pixels)
            return _decode_jpeg(data, header if upright else replace(header, orientation=1), at_least)
        if kind == "png":
            png = read_png_header(data)
            check_size(png.width, png.height, max_pixels)
            check_png(data)
            return _decode_pillow(data, kind, max_pixels, exif_orientation(png.exif)[0] if upright else 1)
        return _decode_pillow(data, kind, max_pixels, 0 if upright else 1)


def check_size(width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse a header that claims no pixels, or more than allowed.

    Raises:
        ImageError: The header claims no pixels, or too many.
    """
    if width < 1 or height < 1:
        raise ImageError(
            f"zero-sized: the header says {width} x {height} pixels; fetch the file again or save it anew"
        )
    if width * height > max_pixels:
        raise ImageError(
            f"the header says {width} x {height} pixels, more than the limit of {max_pixels:,}; if that is "
            "true, scale the image down"
        )


def _decode_jpeg(data: bytes, header: JpegHeader, at_least: tuple[int, int] | None) -> Decoded:
    full_size = (header.width, header.height) if header.orientation < 5 else (header.height, header.width)
    # Counting is exact: within a scan, a byte ff is always followed by 00 or a restart marker.
    scans = data.count(b"\xff\xda") if header.process & 3 == 2 else 1
    if scans > MAX_SCANS:
        raise ImageError(
            f"a progressive JPEG of {scans} scans, which takes very long to decode and which no camera "
            "writes; save it anew"
        )
    pixels = _libjpeg(data, header, at_least) if header.bits == 8 else None
    if pixels is None:
        with open_image(data, "jpeg") as unusual:
            unusual.load()
            image = to_srgb(unusual, header.icc)
    elif header.components == 4:
        ink = ~pixels if header.adobe else pixels
        size = (ink.shape[1], ink.shape[0])
        image = to_srgb(Image.frombuffer("CMYK", size, ink, "raw", "CMYK", 0, 1), header.icc)
    elif header.components == 3 and changes_colours(header.icc):
        image = to_srgb(Image.fromarray(pixels), header.icc)
    else:
        image = pixels
    return Decoded(turn_upright(image, header.orientation), full_size)


def _libjpeg(data: bytes, header: JpegHeader, at_least: tuple[int, int] | None) -> NDArray[np.uint8] | None:
    """Decode with libjpeg-turbo; None if it cannot read this kind of JPEG.

    Raises:
        ImageError: The stream is damaged.
    """
    longer, shorter = at_least or (0, 0)
    wide = header.width >= header.height
    options = {
        "colorspace": "CMYK" if header.components == 4 else "RGB",
        "min_width": longer if wide else shorter,
        "min_height": shorter if wide else longer,
        # Fractions above one half take longer than the whole, for which libjpeg-turbo has vector code.
        "min_factor": 2,
    }
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, **options), np.uint8)
    except ValueError as error:
        message = str(error)
        leftover = _LEFTOVER.search(message)
        # Some cameras leave a few bytes between the last block and the end marker; a lost block leaves more.
        if leftover and int(leftover[1]) <= _MAX_LEFTOVER:
            return np.asarray(simplejpeg.decode_jpeg(data, strict=False, **options), np.uint8)
        if _DAMAGE.search(message):
            raise ImageError(
                f"damaged or truncated JPEG ({message}); fetch the file again or save it anew"
            ) from error
        return None


def _decode_pillow(data: bytes, kind: str, max_pixels: int, orientation: int = 0) -> Decoded:
    """Decode with Pillow; an orientation of 0 is the one that the opened image states."""
    with open_image(data, kind) as image:
        check_size(*image.size, max_pixels)
        stated, _ = pillow_orientation(image)
        if kind == "tiff":  # which Pillow turns itself while loading
            stated = 1
        image.load()
        orientation = orientation or stated
        pixels = to_srgb(image, image.info.get("icc_profile") or b"")
    turned = turn_upright(pixels, orientation)
    return Decoded(turned, (turned.shape[1], turned.shape[0]))
