"""Facts about an image file, from its content and without decoding pixels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from ilion.errors import ImageError
from ilion.images.colour import changes_colours, profile_name
from ilion.images.jpeg import read_jpeg_header
from ilion.images.orientation import exif_orientation, pillow_orientation, xmp_orientation
from ilion.images.pillow import open_image
from ilion.images.png import read_png_header

Mode = Literal["gray", "gray+alpha", "RGB", "RGBA", "palette", "CMYK", "1-bit", "float", "other"]

EXTENSIONS = {
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "png": (".png", ".apng"),
    "gif": (".gif",),
    "webp": (".webp",),
    "bmp": (".bmp", ".dib"),
    "tiff": (".tif", ".tiff"),
    "avif": (".avif", ".avifs"),
    "jpeg2000": (".jp2", ".j2k", ".jpx", ".jpc", ".j2c"),
    "ppm": (".ppm", ".pgm", ".pbm", ".pnm"),
    "heic": (".heic", ".heif", ".hif"),
}
"""Format -> its file name extensions."""

_MODES: dict[str, tuple[Mode, int]] = {
    "1": ("1-bit", 1),
    "L": ("gray", 8),
    "LA": ("gray+alpha", 8),
    "I;16": ("gray", 16),
    "I;16B": ("gray", 16),
    "I;16L": ("gray", 16),
    "I": ("gray", 32),
    "F": ("float", 32),
    "P": ("palette", 8),
    "PA": ("palette", 8),
    "RGB": ("RGB", 8),
    "RGBA": ("RGBA", 8),
    "RGBX": ("RGB", 8),
    "CMYK": ("CMYK", 8),
}
"""Mode of Pillow -> `Mode` and bits a sample."""

_PNG_MODES: dict[int, Mode] = {0: "gray", 2: "RGB", 3: "palette", 4: "gray+alpha", 6: "RGBA"}
_JPEG_MODES: dict[int, Mode] = {1: "gray", 3: "RGB", 4: "CMYK"}


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Content of an image's header.

    Args:
        format: ``jpeg``, ``png``, ``gif``, ``webp``, ``bmp``, ``tiff``, ``avif``, ``jpeg2000``, ``ppm`` or
            ``heic``.
        stored_size: (width, height) in pixels as stored.
        orientation: EXIF orientation, 1 (upright) to 8.
        mode: Kind of colours as stored.
        bits: Bits a channel.
        frames: Number of frames or pages; only the first is ever used.
        icc: Name of the embedded colour profile, or "".
        warnings: Oddities that decoding takes care of, one phrase each.
    """

    format: str
    stored_size: tuple[int, int]
    orientation: int
    mode: Mode
    bits: int
    frames: int
    icc: str
    warnings: tuple[str, ...]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels of the upright image; boxes refer to it."""
        width, height = self.stored_size
        return (height, width) if self.orientation >= 5 else (width, height)


def probe(data: bytes, *, where: str = "") -> ImageFacts:
    """Read the header of an image. The content decides, never a file name.

    A header can be fine and the pixels damaged: only `decode` knows.

    Args:
        data: The whole encoded file.
        where: Place for messages, such as the path.

    Raises:
        ImageError: The file is empty, no image, of a format without a decoder, or its header is damaged.

    >>> probe(b"<html><body>404 Not Found</body></html>", where="cat.jpg")
    Traceback (most recent call last):
      ...
    ilion.errors.ImageError: cat.jpg: a web page (HTML), not an image; fetch the file again
    """
    with add_place(where):
        kind = sniff(data)
        facts = {"jpeg": _jpeg_facts, "png": _png_facts}.get(kind)
        found = facts(data) if facts else _pillow_facts(data, kind)
    xmp = xmp_orientation(data)
    if xmp in (0, found.orientation):
        return found
    odd = f"XMP says orientation {xmp}, which is not followed: EXIF decides, as in browsers"
    return replace(found, warnings=(*found.warnings, odd))


def _jpeg_facts(data: bytes) -> ImageFacts:
    header = read_jpeg_header(data)
    return _facts(
        "jpeg",
        (header.width, header.height),
        _JPEG_MODES.get(header.components, "other"),
        header.bits,
        orientation=header.orientation,
        exif_damaged=header.exif_damaged,
        icc=header.icc,
    )


def _png_facts(data: bytes) -> ImageFacts:
    header = read_png_header(data)
    orientation, exif_damaged = exif_orientation(header.exif)
    mode = _PNG_MODES.get(header.colour, "other")
    return _facts(
        "png",
        (header.width, header.height),
        "1-bit" if mode == "gray" and header.bits == 1 else mode,
        header.bits,
        orientation=orientation,
        exif_damaged=exif_damaged,
        icc=header.icc,
        frames=header.frames,
        transparent=header.transparent,
    )


def _pillow_facts(data: bytes, kind: str) -> ImageFacts:
    with open_image(data, kind) as image:
        mode, bits = _MODES.get(image.mode, ("other", 8))
        tags = getattr(image, "tag_v2", {})
        size = image.size
        orientation, exif_damaged = pillow_orientation(image)
        if kind == "tiff" and orientation >= 5:  # Pillow has turned the size of a TIFF already
            size = size[::-1]
        return _facts(
            kind,
            size,
            mode,
            int(tags.get(258, (bits,))[0]),
            orientation=orientation,
            exif_damaged=exif_damaged,
            icc=image.info.get("icc_profile") or b"",
            frames=getattr(image, "n_frames", 1),
            transparent="transparency" in image.info,
        )


def _facts(
    kind: str,
    size: tuple[int, int],
    mode: Mode,
    bits: int,
    *,
    orientation: int,
    icc: bytes,
    exif_damaged: bool = False,
    frames: int = 1,
    transparent: bool = False,
) -> ImageFacts:
    """Return the facts, with a phrase for all that is odd."""
    odd = []
    if mode == "CMYK":
        odd.append("CMYK colours (for print); converted to RGB")
    if mode in ("gray+alpha", "RGBA") or transparent:
        odd.append("transparent; shown on white")
    if mode == "float" or bits > 8:
        odd.append(f"{bits} bits a channel; scaled to 8")
    if orientation != 1:
        odd.append(f"stored turned (EXIF orientation {orientation}); shown upright")
    if exif_damaged:
        odd.append("the EXIF block is damaged; taken as upright")
    if frames > 1:
        odd.append(f"{frames} frames or pages; only the first is used")
    icc_name = profile_name(icc)
    if icc_name == "damaged":
        odd.append("the colour profile is damaged; taken as sRGB")
    elif changes_colours(icc):
        odd.append(f"colour profile {icc_name!r}; converted to sRGB")
    if 0 in size:
        odd.append(f"zero-sized ({size[0]} x {size[1]})")
    return ImageFacts(kind, size, orientation, mode, bits, frames, icc_name, tuple(odd))


@contextmanager
def add_place(where: str) -> Iterator[None]:
    """Put the place of an image before the message of an `ImageError`."""
    try:
        yield
    except ImageError as error:
        if not where:
            raise
        raise ImageError(f"{where}: {error}") from error.__cause__


def sniff(data: bytes) -> str:
    """Return the format of an image, from its first bytes.

    Raises:
        ImageError: Not an image, or one that cannot be decoded here; the message says what it looks like.

    >>> sniff(bytes.fromhex("ffd8ffe0") + bytes(100))
    'jpeg'
    """
    for name, offset, magic in _SIGNATURES:
        if data.startswith(magic, offset):
            return name
    if data[4:8] == b"ftyp":
        return _sniff_ftyp(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    raise ImageError(_not_an_image(data))


_SIGNATURES = (
    ("jpeg", 0, b"\xff\xd8\xff"),
    ("png", 0, b"\x89PNG\r\n\x1a\n"),
    ("gif", 0, b"GIF87a"),
    ("gif", 0, b"GIF89a"),
    ("bmp", 0, b"BM"),
    ("tiff", 0, b"II*\0"),
    ("tiff", 0, b"MM\0*"),
    ("tiff", 0, b"II+\0"),
    ("tiff", 0, b"MM\0+"),
    ("jpeg2000", 0, b"\0\0\0\x0cjP  \r\n\x87\n"),
    ("jpeg2000", 0, b"\xff\x4f\xff\x51"),
    *(("ppm", 0, b"P%d" % i + space) for i in range(1, 7) for space in (b"\n", b" ", b"\r", b"\t")),
)


def _sniff_ftyp(data: bytes) -> str:
    """Return the format of a file in an ISO media container."""
    brands = data[8 : min(len(data), int.from_bytes(data[:4], "big"), 256)]
    if b"avif" in brands or b"avis" in brands:
        return "avif"
    if any(brand in brands for brand in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")):
        return "heic"
    raise ImageError(
        "a video or audio file (MP4 family), not an image; take a frame out of it and save that as JPEG"
    )


_OTHERS = (
    (b"%PDF", "a PDF document, not an image; export its page as PNG or JPEG"),
    (b"%!PS", "PostScript, not an image; export it as PNG or JPEG"),
    (b"8BPS", "a Photoshop file; export it as PNG or JPEG"),
    (b"\0\0\x01\0", "a Windows icon; export it as PNG"),
    (b"\xff\x0a", "a JPEG XL image, for which there is no decoder here; convert it to JPEG or PNG"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image, for which there is no decoder here; convert it to JPEG or PNG"),
    (b"PK\x03\x04", "a zip archive, not an image; unpack it"),
    (b"\x1f\x8b", "a gzip archive, not an image; unpack it"),
    (b"version https://git-lfs", "a Git LFS pointer, not the image itself; run: git lfs pull"),
)


def _not_an_image(data: bytes) -> str:
    """Return a description of a file that is no image, and what to do."""
    if not data:
        return "the file is empty (0 bytes); fetch it again"
    if not data.strip(b"\0"):
        return f"all {len(data)} bytes are zero, as a broken copy leaves behind; fetch the file again"
    for magic, message in _OTHERS:
        if data.startswith(magic):
            return message
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in head:
        return "an SVG drawing, which has no pixels; export it as PNG"
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "a web page (HTML), not an image; fetch the file again"
    if head.startswith(b"<?xml"):
        return "an XML document, not an image; fetch the file again"
    if len(data) < 12:
        return f"the file has only {len(data)} bytes, too few for an image; fetch it again"
    try:
        text = data[:64].decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if text and all(c.isprintable() or c.isspace() for c in text):
        return f"a text file, not an image (it begins {' '.join(text.split())[:40]!r}); fetch it again"
    start = data[:8].hex(" ")
    return f"not an image that is known here (it begins with the bytes {start}); save it as JPEG or PNG"
