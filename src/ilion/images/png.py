"""The chunks of a PNG file (ISO/IEC 15948; APNG; the eXIf and iCCP chunks)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from ilion.errors import ImageError

_MAX_PROFILE = 8_000_000
"""Most bytes of a colour profile after decompression; real ones stay below 4 MB."""


@dataclass(frozen=True, slots=True)
class PngHeader:
    """Content of the chunks; width and height are in pixels as stored.

    Args:
        bits: Bits a sample.
        colour: Colour type: 0 gray, 2 RGB, 3 palette, 4 gray and alpha, 6 RGBA.
        transparent: Whether one colour, or colours of the palette, are transparent.
        frames: Number of frames of an animation, else 1.
        exif: EXIF block, or b"".
        icc: Embedded colour profile, or b"".
    """

    width: int
    height: int
    bits: int
    colour: int
    transparent: bool
    frames: int
    exif: bytes
    icc: bytes


def read_png_header(data: bytes) -> PngHeader:
    """Read the chunks of a PNG file, skipping its pixels.

    Raises:
        ImageError: The file does not begin with a complete header, or the header fails its checksum.
    """
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise ImageError(
            f"damaged or truncated PNG: {len(data)} bytes without a complete header; fetch it again"
        )
    if zlib.crc32(data[12:29]) != int.from_bytes(data[29:33], "big"):
        raise ImageError("damaged PNG: the header fails its checksum; fetch the file again or save it anew")
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    transparent, frames, exif, icc = False, 1, b"", b""
    position = 33
    while position + 8 <= len(data):
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        body = slice(position + 8, position + 8 + length)
        if kind == b"tRNS":
            transparent = True
        elif kind == b"acTL":
            frames = int.from_bytes(data[body][:4], "big")
        elif kind == b"eXIf":
            exif = data[body].removeprefix(b"Exif\0\0")
        elif kind == b"iCCP":
            icc = _inflate(data[body].partition(b"\0")[2][1:])
        position += 12 + length
    return PngHeader(width, height, bits, colour, transparent, frames, exif, icc)


def check_png(data: bytes) -> None:
    """Compare the checksum of every chunk; Pillow reads past those of the pixels.

    Raises:
        ImageError: A chunk fails its checksum, or the file ends too early.
    """
    position = 8
    view = memoryview(data)
    while True:
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        end = position + 12 + length
        if end > len(data):
            raise ImageError(
                f"truncated PNG: it ends after {len(data)} bytes, within its data; fetch it again"
            )
        if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            name = kind.decode("ascii", "replace")
            raise ImageError(
                f"damaged PNG: the {name} chunk at byte {position} fails its checksum; fetch the file again"
            )
        if kind == b"IEND":
            return
        position = end


def _inflate(data: bytes) -> bytes:
    """Decompress a colour profile; a damaged or oversized one counts as none, as in all viewers."""
    try:
        inflater = zlib.decompressobj()
        profile = inflater.decompress(data, _MAX_PROFILE)
    except zlib.error:
        return b""
    return profile if inflater.eof else b""
