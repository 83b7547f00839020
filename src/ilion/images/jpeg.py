"""The header of a JPEG file (ITU-T T.81; EXIF 2.32; ICC.1 annex B.4; Adobe TN 5116)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ilion.errors import ImageError

ORIENTATION = 0x0112
"""EXIF tag of the orientation."""

MAX_SCANS = 500
"""Most scans of one progressive image. Encoders write about ten; thousands are an attack on our time."""

_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """Content of the markers before the first scan; width and height are in pixels as stored.

    Args:
        components: 1 gray, 3 colour, 4 CMYK.
        bits: Bits a sample.
        process: Low nibble of the frame marker: 0 baseline, 1 extended, 2 progressive, 3 lossless, 9 and 10
            the same with arithmetic coding.
        orientation: EXIF orientation, 1 to 8.
        exif_damaged: Whether the EXIF block cannot be read, or its orientation is none of the eight.
        adobe: Whether an Adobe marker is there: CMYK samples are then inverted.
        icc: Embedded colour profile, or b"".
    """

    width: int
    height: int
    components: int
    bits: int
    process: int
    orientation: int
    exif_damaged: bool
    adobe: bool
    icc: bytes


def read_jpeg_header(data: bytes) -> JpegHeader:
    """Read the markers of a JPEG file up to its first scan.

    Raises:
        ImageError: The file ends in its header, or the header makes no sense.
    """
    frame: tuple[int, int, int, int, int] | None = None
    orientation, exif_damaged, adobe = 1, False, False
    seen_exif = False
    icc: dict[int, bytes] = {}
    position = 2
    while True:
        if data[position : position + 1] not in (b"\xff", b""):
            raise ImageError(
                f"damaged JPEG header: no marker at byte {position}; fetch the file again or save it anew"
            )
        while data[position : position + 1] == b"\xff":
            position += 1
        if position + 3 > len(data):
            raise ImageError(f"truncated JPEG: its {len(data)} bytes end within the header; fetch it again")
        marker = data[position]
        length = data[position + 1] << 8 | data[position + 2]
        start, end = position + 3, position + 1 + length
        if marker == 0xDA:
            break
        if marker == 0xD9 or length < 2:
            raise ImageError("damaged JPEG header: no picture follows; fetch the file again or save it anew")
        if end > len(data):
            raise ImageError(f"truncated JPEG: its {len(data)} bytes end within the header; fetch it again")
        if marker in _SOF and frame is None:
            if length < 8:
                raise ImageError("damaged JPEG header: the frame is too short; fetch the file again")
            bits, height, width, components = struct.unpack_from(">BHHB", data, start)
            frame = (width, height, components, bits, marker & 15)
        elif marker == 0xE1 and not seen_exif and data.startswith(b"Exif\0", start):
            seen_exif = True
            orientation, exif_damaged = read_orientation(data[start + 6 : end])
        elif marker == 0xE2 and data.startswith(b"ICC_PROFILE\0", start):
            icc[data[start + 12]] = data[start + 14 : end]
        elif marker == 0xEE and data.startswith(b"Adobe", start):
            adobe = True
        position = end
    if frame is None:
        raise ImageError("damaged JPEG header: it says no size; fetch the file again or save it anew")
    width, height, components, bits, process = frame
    profile = b"".join(icc[key] for key in sorted(icc))
    return JpegHeader(width, height, components, bits, process, orientation, exif_damaged, adobe, profile)


def read_orientation(exif: bytes) -> tuple[int, bool]:
    """Return the orientation in an EXIF block (a small TIFF file), and whether the block is damaged.

    Without the tag an image is upright; so it is, in all viewers, when the block cannot be read.

    >>> read_orientation(b"MM" + bytes.fromhex("002a 00000008 0001 0112 0003 00000001 0006 0000"))
    (6, False)
    >>> read_orientation(b"MM scrambled")
    (1, True)
    """
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1, True
    try:
        (offset,) = struct.unpack_from(order + "4xI", exif)
        (count,) = struct.unpack_from(order + "H", exif, offset)
        for entry in range(offset + 2, offset + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", exif, entry)
            if tag == ORIENTATION:
                (value,) = struct.unpack_from(order + ("I" if kind == 4 else "H"), exif, entry + 8)
                return (value, False) if 1 <= value <= 8 else (1, value != 0)
    except struct.error:
        return 1, True
    return 1, False
