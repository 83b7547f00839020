"""Pillow, kept quiet and behind a closed list of formats."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, TiffImagePlugin

from ilion.errors import ImageError

FORMATS = {
    "png": "PNG",
    "gif": "GIF",
    "webp": "WEBP",
    "bmp": "BMP",
    "tiff": "TIFF",
    "avif": "AVIF",
    "jpeg": "JPEG",
    "jpeg2000": "JPEG2000",
    "ppm": "PPM",
    "heic": "HEIF",
}
"""Name of a format here -> Pillow's. A closed list: Pillow knows formats that start other programs (EPS)."""


class _Quiet:
    """Silences the warnings of Pillow while at least one thread is inside.

    `warnings.catch_warnings` is not safe with threads: the one that leaves first would restore the filters of
    another. Here the first one in sets the filter, and the last one out restores it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._caught = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._caught.__exit__(None, None, None)


_quiet = _Quiet()


@contextmanager
def open_image(data: bytes, kind: str) -> Iterator[Image.Image]:
    """Open an image with the one plugin of its format; whatever goes wrong inside becomes an `ImageError`.

    The plugin is called directly, because `PIL.Image.open` has a process-wide limit of pixels; ours is an
    argument. The kind is one of `FORMATS`.

    Raises:
        ImageError: Pillow here has no such plugin, the extra for it is not installed, or the file is damaged.
    """
    Image.init()
    if kind == "heic":
        _register_heif()
    if kind == "tiff":
        # of 16-bit samples in which 0 is white Pillow knows one order of bytes only
        tiff = TiffImagePlugin
        tiff.OPEN_INFO.setdefault((tiff.MM, 0, (1,), 1, (16,), ()), ("I;16B", "I;16B"))
    plugin = Image.OPEN.get(FORMATS[kind])
    if plugin is None:
        raise ImageError(
            f"{name(kind)} image, for which this Pillow has no decoder; update it (pip install -U pillow) or "
            "convert the image to JPEG or PNG"
        )
    try:
        with _quiet, plugin[0](io.BytesIO(data), "") as image:
            yield image
    except (ImageError, MemoryError):
        raise
    except Image.DecompressionBombError as error:  # TIFF and WebP look at that limit all the same
        raise ImageError(
            f"a {name(kind)} above Pillow's own limit of pixels ({error}); scale it down or "
            "save it as JPEG or PNG"
        ) from error
    # Plugins raise what they stumble over: OSError, SyntaxError, ValueError, struct.error, KeyError ...
    except Exception as error:
        seen = str(error).replace("not identified by this driver", "its header makes no sense")
        if seen == "unknown pixel mode":
            raise ImageError(
                f"a {name(kind)} of samples that Pillow does not read; save it with 8 or 16 bits a sample"
            ) from error
        raise ImageError(
            f"damaged or truncated {name(kind)} ({seen or type(error).__name__}); fetch the file again or "
            "save it anew"
        ) from error


def _register_heif() -> None:
    """Add the decoder of HEIC, which is an extra, to Pillow's.

    Raises:
        ImageError: The extra is not installed.
    """
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise ImageError(
            "an HEIC photo (iPhone), whose decoder is an extra; install it with pip install 'ilion[heic]', "
            "or convert the photo to JPEG and set the phone to 'Most Compatible'"
        ) from None
    register_heif_opener(thumbnails=False)


def name(kind: str) -> str:
    """Return a format's name as people write it.

    >>> name("jpeg"), name("webp")
    ('JPEG', 'WebP')
    """
    return {"webp": "WebP", "jpeg2000": "JPEG 2000"}.get(kind, kind.upper())
