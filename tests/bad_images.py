"""Bad and odd image files by name, each with what must become of it. Reused by the tests of other stages."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageCms

Pixels = NDArray[np.uint8]

_ROWS, _COLUMNS = np.mgrid[:32, :48]
SMOOTH: Pixels = np.stack([40 + _COLUMNS * 4, 60 + _ROWS * 5, 200 - _COLUMNS * 2 - _ROWS * 2], 2).astype(
    np.uint8
)
"""A picture without symmetry that JPEG hardly changes."""
FLAT: Pixels = np.zeros((32, 48, 3), np.uint8)
"""Four colours, so that a palette holds them."""
FLAT[:16, :24], FLAT[:16, 24:], FLAT[16:, :24], FLAT[16:, 24:] = (
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (9, 9, 9),
)
GRAY: Pixels = np.repeat((20 + _COLUMNS * 4 + _ROWS)[:, :, None], 3, 2).astype(np.uint8)
BUSY: Pixels = (
    np.random.default_rng(7).integers(0, 256, (24, 32, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
)
"""Large enough that damage in the middle hits the pixels."""


@dataclass(frozen=True)
class Case:
    """One file.

    Args:
        data: Its content.
        error: What the message of the `ImageError` must contain; "" if the image decodes.
        pixels: What it must decode to, (H, W, 3).
        tolerance: Mean absolute difference that the coding explains.
        facts: What `probe` must say, by name of the field.
        warning: What one of the warnings of `probe` must contain.
        header_ok: Whether `probe` accepts what `decode` refuses.
    """

    data: bytes
    error: str = ""
    pixels: Pixels | None = None
    tolerance: float = 0.0
    facts: dict[str, object] = field(default_factory=dict)
    warning: str = ""
    header_ok: bool = False


def encode(pixels: NDArray[np.generic] | Image.Image, kind: str, **options: object) -> bytes:
    """Encode with Pillow."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """Build a PNG chunk with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_claiming(width: int, height: int) -> bytes:
    """Build a PNG of few bytes that claims any size."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(bytes(64))) + png_chunk(b"IEND", b"")
    )


def jpeg_claiming(width: int, height: int) -> bytes:
    """Take a small JPEG and write another size into its header."""
    data = bytearray(encode(SMOOTH, "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def jpeg_with_scans(count: int) -> bytes:
    """Build a progressive JPEG that repeats its last scan."""
    data = encode(SMOOTH, "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def orientation_exif(value: int) -> Image.Exif:
    """Build an EXIF block with nothing but the orientation."""
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def stored(pixels: Pixels, orientation: int) -> Pixels:
    """Turn upright pixels into what a camera stores for an EXIF orientation (EXIF 2.32, table 6)."""
    return {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: pixels.transpose(1, 0, 2)[::-1],
        7: pixels.transpose(1, 0, 2)[::-1, ::-1],
        8: pixels.transpose(1, 0, 2)[:, ::-1],
    }[orientation]


P3_TO_XYZ = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
"""Display P3 adapted to D50, as in Apple's profile."""


def display_p3_profile() -> bytes:
    """Build a Display P3 profile: the sRGB one with other primaries and another name."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack_from(">I", profile, 128)
    for tag in range(count):
        name, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * tag)
        if name in (b"rXYZ", b"gXYZ", b"bXYZ"):
            column = P3_TO_XYZ[:, b"rgb".index(name[:1])]
            struct.pack_into(">3i", profile, offset + 8, *(round(v * 65536) for v in column))
        if name == b"desc":
            text = profile[offset : offset + size].replace(
                "sRGB built-in".encode("utf-16-be"), "P3 for a test".encode("utf-16-be")
            )
            profile[offset : offset + size] = text
    return bytes(profile)


# Written once with cjpeg of libjpeg-turbo from SMOOTH: arithmetic coding (quality 95), and chroma
# sampled 3 x 1 (quality 90), which libjpeg-turbo's own interface does not name.
_ARITHMETIC = """
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoK
CgoKBggLDAsKDAkKCgr/2wBDAQICAgICAgUDAwUKBwYHCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoK
CgoKCgoKCgr/yQARCAAgADADAREAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD/ANydKjxRRG7u+OuBHatJycb286P6
xJqvG2Ainebqxz2XoRw4oehMnDGXYNrTHz4Rdh0ryLnjTF+9daALHSSRICbERQj4d+Gi6bPWPMhV9kcm+RsxwlUCyF0sA+uSFICu
NaH+GBp7vwHL1KKsv3L6gtzU0jLwk4jRHlAC+QhS1MQeWXH4I4bPUVvyghFc9PSrw1OfBNDdAH3/AOXQtS9n5xRVtO2qjWfLF67q
Yxv2tv5AjYzV0hRoHv8AwVzuw2Vq6UzNUOfpsosNz0GzR+Ua3FD8BZvI1MdEzyA13S6VkbKa6ioNdhXt5t49bhOAliQVN6vWgDOV
i7bNBAXC8jsgSs+DJLhua3f/2Q==
"""
_SAMPLED_3X1 = """
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQERMU
FRUVDA8XGBYUGBIUFRT/2wBDAQMEBAUEBQkFBQkUDQsNFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU
FBQUFBQUFBT/wAARCAAgADADATEAAhEBAxEB/8QAFgABAQEAAAAAAAAAAAAAAAAABQYH/8QAGRAAAgMBAAAAAAAAAAAAAAAAAAQF
IjGh/8QAFwEBAQEBAAAAAAAAAAAAAAAACAcGBP/EABgRAAMBAQAAAAAAAAAAAAAAAAAEBTEh/9oADAMBAAIRAxEAPwDB1obKii0N
lRVaGypeK7m9OaCzgotDZXgqtDZUVWhsqROu5vRFwWcJFaGyoqtDZUVWhsrw2ddzehLgs4KLQ2VFVobKiq0NlSKV3N6IuCzhIrQ2
VFVobK8FVobKmyrub0JcFnBRaGyoqtDZXgotDZXhFK7m9EVBZwklobKiq0NlRRaGyps67m9CZBZwVWhsrwVWhsqKLQ2VInXc3oio
LOH/2Q==
"""


@lru_cache(maxsize=1)
def cases() -> dict[str, Case]:
    """Return all files by name; treat them as read-only."""
    return {**_no_images(), **_damaged(), **_absurd(), **_turned(), **_odd_jpegs(), **_odd_others()}


def _no_images() -> dict[str, Case]:
    return {
        "empty.jpg": Case(b"", "empty"),
        "one_byte.jpg": Case(b"\xff", "only 1 bytes"),
        "zeros.jpg": Case(bytes(5000), "all 5000 bytes are zero"),
        "text.jpg": Case(b"Please log in to download this photo.\n", "a text file"),
        "page.jpg": Case(b"<!DOCTYPE html>\n<html><body>404</body></html>", r"a web page \(HTML\)"),
        "xml.jpg": Case(b'<?xml version="1.0"?><Error>AccessDenied</Error>', "an XML document"),
        "drawing.svg": Case(b'<svg xmlns="http://www.w3.org/2000/svg"></svg>', "an SVG drawing.*export"),
        "drawing2.svg": Case(b'<?xml version="1.0"?>\n<!-- x -->\n<svg></svg>', "an SVG drawing"),
        "iphone.heic": Case(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "HEIC"),
        "clip.jpg": Case(b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(99), "a video"),
        "scan.pdf": Case(b"%PDF-1.7\n" + bytes(99), "a PDF"),
        "photos.zip": Case(b"PK\x03\x04" + bytes(99), "a zip archive"),
        "pointer.jpg": Case(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        "noise.jpg": Case(bytes(range(128, 256)), "not an image that is known here"),
        "figure.eps": Case(b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
    }


def _damaged() -> dict[str, Case]:
    jpeg, png = encode(BUSY, "JPEG", quality=90), encode(BUSY, "PNG")
    middle = len(jpeg) // 2
    idat = png.index(b"IDAT")

    def cut(data: bytes, share: float) -> bytes:
        return data[: int(len(data) * share)]

    frames = [Image.fromarray(FLAT), Image.fromarray(FLAT[::-1].copy())]
    return {
        "truncated_header.jpg": Case(jpeg[:200], "truncated JPEG: its 200 bytes end within the header"),
        "truncated_10.jpg": Case(cut(jpeg, 0.1), "truncated", header_ok=True),
        "truncated_50.jpg": Case(cut(jpeg, 0.5), "truncated", header_ok=True),
        "truncated_99.jpg": Case(cut(jpeg, 0.99), "truncated", header_ok=True),
        "truncated_progressive.jpg": Case(
            cut(encode(BUSY, "JPEG", progressive=True), 0.6), "truncated", header_ok=True
        ),
        "truncated_cmyk.jpg": Case(
            cut(encode(Image.fromarray(BUSY).convert("CMYK"), "JPEG"), 0.6), "truncated", header_ok=True
        ),
        "zeroed_middle.jpg": Case(
            jpeg[:middle] + bytes(300) + jpeg[middle + 300 :], "damaged.*Corrupt JPEG", header_ok=True
        ),
        "lost_middle.jpg": Case(
            jpeg[:middle] + b"\xff\xd9" + jpeg[middle:], "damaged.*premature end", header_ok=True
        ),
        "repeated_middle.jpg": Case(
            jpeg[:middle] + jpeg[middle - 500 :], "damaged.*extraneous bytes", header_ok=True
        ),
        "no_frame.jpg": Case(jpeg[:2] + jpeg[jpeg.index(b"\xff\xda") :], "says no size"),
        "no_marker.jpg": Case(jpeg[:20] + b"????" + jpeg[20:], "no marker at byte 20"),
        "truncated.png": Case(cut(png, 0.5), "truncated PNG", header_ok=True),
        "truncated_header.png": Case(png[:20], "without a complete header"),
        "no_end.png": Case(png[:-12], "truncated PNG", header_ok=True),
        "bad_pixels.png": Case(
            png[: idat + 90] + b"\0\1\2\3" + png[idat + 94 :], "IDAT chunk.*checksum", header_ok=True
        ),
        "bad_header.png": Case(png[:19] + b"\x09" + png[20:], "header fails its checksum"),
        "truncated.gif": Case(cut(encode(BUSY, "GIF"), 0.5), "truncated GIF", header_ok=True),
        "truncated.webp": Case(cut(encode(BUSY, "WEBP"), 0.5), "truncated WebP"),
        "truncated_animated.webp": Case(
            cut(encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True), 0.8),
            "truncated WebP",
        ),
        "truncated.bmp": Case(cut(encode(BUSY, "BMP"), 0.5), "truncated BMP", header_ok=True),
        "truncated.tif": Case(cut(encode(BUSY, "TIFF"), 0.5), "truncated TIFF", header_ok=True),
        "truncated_lzw.tif": Case(cut(encode(BUSY, "TIFF", compression="tiff_lzw"), 0.5), "truncated TIFF"),
        "truncated.avif": Case(cut(encode(BUSY, "AVIF"), 0.5), "truncated AVIF"),
    }


def _absurd() -> dict[str, Case]:
    jpeg = encode(SMOOTH, "JPEG")
    frame = jpeg.index(b"\xff\xc0")
    gif, bmp = bytearray(encode(FLAT, "GIF")), bytearray(encode(FLAT, "BMP"))
    frame_of_gif = gif.index(b"\x2c\0\0\0\0")
    gif[6:10] = gif[frame_of_gif + 5 : frame_of_gif + 9] = bytes(4)
    bmp[18:26] = bytes(8)
    return {
        "zero_width.jpg": Case(jpeg_claiming(0, 32), "zero-sized", header_ok=True),
        "zero_height.jpg": Case(jpeg_claiming(48, 0), "zero-sized", header_ok=True),
        "zero_width.png": Case(png_claiming(0, 32), "zero-sized", header_ok=True),
        "zero.gif": Case(bytes(gif), r"damaged or truncated GIF \(its header makes no sense\)"),
        "zero.bmp": Case(bytes(bmp), "damaged or truncated BMP.*header makes no sense"),
        "bomb.png": Case(png_claiming(60000, 60000), "60000 x 60000 pixels, more than", header_ok=True),
        "bomb.jpg": Case(jpeg_claiming(65000, 65000), "65000 x 65000 pixels, more than", header_ok=True),
        "scans.jpg": Case(jpeg_with_scans(1000), "progressive JPEG of 10.. scans", header_ok=True),
        "bits_12.jpg": Case(jpeg[: frame + 4] + b"\x0c" + jpeg[frame + 5 :], "JPEG", header_ok=True),
    }


def _turned() -> dict[str, Case]:
    turned = {}
    for value in range(1, 9):
        facts: dict[str, object] = {
            "orientation": value,
            "size": (48, 32),
            "stored_size": (32, 48) if value >= 5 else (48, 32),
        }
        warning = f"EXIF orientation {value}" if value > 1 else ""
        exif = orientation_exif(value)
        pixels = np.ascontiguousarray(stored(SMOOTH, value))
        for kind, extension, options, tolerance in (
            ("JPEG", "jpg", {"quality": 95}, 2.0),
            ("PNG", "png", {}, 0.0),
            ("WEBP", "webp", {"lossless": True}, 0.0),
            ("TIFF", "tif", {}, 0.0),
        ):
            data = encode(pixels, kind, exif=exif, **options)
            turned[f"exif_{value}.{extension}"] = Case(
                data, "", SMOOTH, tolerance, {**facts, "format": kind.lower()}, warning
            )
    return turned


def _odd_jpegs() -> dict[str, Case]:
    plain = encode(SMOOTH, "JPEG", quality=95)
    image = Image.fromarray(SMOOTH)
    exif = b"\xff\xe1" + struct.pack(">H", 30) + b"Exif\0\0" + b"MM\0*\xff\xff\xff\xf0" + bytes(14)
    wrong = encode(SMOOTH, "JPEG", quality=95, exif=orientation_exif(23))
    p3 = np.full((32, 48, 3), (200, 40, 60), np.uint8)
    ink = np.dstack([255 - SMOOTH, np.zeros((32, 48), np.uint8)])
    ycck = simplejpeg.encode_jpeg(np.ascontiguousarray(255 - ink), 95, "CMYK", "444")
    return {
        "garbage_after_end.jpg": Case(plain + b"trailer" * 99, "", SMOOTH, 2.0),
        "leftover_bytes.jpg": Case(plain[:-2] + b"\x12" * 8 + plain[-2:], "", SMOOTH, 2.0),
        "gray.jpg": Case(encode(GRAY[:, :, 0], "JPEG", quality=95), "", GRAY, 2.0, {"mode": "gray"}),
        "cmyk_adobe.jpg": Case(
            encode(image.convert("CMYK"), "JPEG", quality=95), "", SMOOTH, 2.0, {"mode": "CMYK"}, "CMYK"
        ),
        "ycck_adobe.jpg": Case(ycck, "", SMOOTH, 2.0, {"mode": "CMYK"}, "CMYK"),
        "cmyk_plain.jpg": Case(
            _without_adobe(encode(Image.fromarray(255 - ink, "CMYK"), "JPEG", quality=95)), "", SMOOTH, 2.0
        ),
        "rgb_stored.jpg": Case(encode(SMOOTH, "JPEG", quality=95, keep_rgb=True), "", SMOOTH, 2.0),
        "progressive.jpg": Case(encode(SMOOTH, "JPEG", quality=95, progressive=True), "", SMOOTH, 2.0),
        "arithmetic.jpg": Case(base64.b64decode(_ARITHMETIC), "", SMOOTH, 2.0),
        "sampled_3x1.jpg": Case(base64.b64decode(_SAMPLED_3X1), "", SMOOTH, 3.0),
        "broken_exif.jpg": Case(
            plain[:2] + exif + plain[2:], "", SMOOTH, 2.0, {"orientation": 1}, "EXIF block is damaged"
        ),
        "absurd_exif.jpg": Case(wrong, "", SMOOTH, 2.0, {"orientation": 1}, "EXIF block is damaged"),
        "display_p3.jpg": Case(
            encode(p3, "JPEG", quality=95, icc_profile=display_p3_profile()),
            "",
            p3_to_srgb(p3),
            3.0,
            {"icc": "P3 for a test"},
            "colour profile 'P3 for a test'",
        ),
        "damaged_profile.jpg": Case(
            encode(SMOOTH, "JPEG", quality=95, icc_profile=b"\0" * 16 + b"RGB " + b"broken" * 30),
            "",
            SMOOTH,
            2.0,
            {"icc": "damaged"},
            "profile is damaged",
        ),
        "named_jpg.png": Case(plain, "", SMOOTH, 2.0, {"format": "jpeg"}),
        "one_pixel.jpg": Case(encode(SMOOTH[:1, :1], "JPEG", quality=95), "", SMOOTH[:1, :1], 4.0),
    }


def _without_adobe(data: bytes) -> bytes:
    """Cut out the Adobe marker."""
    start = data.index(b"\xff\xee")
    return data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") :]


def p3_to_srgb(pixels: Pixels) -> Pixels:
    """Convert Display P3 to sRGB by the definitions (IEC 61966-2-1), clipped."""
    v = pixels / 255
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    srgb_to_xyz = np.array(
        [[0.43607, 0.38515, 0.14307], [0.22249, 0.71689, 0.06062], [0.01392, 0.09708, 0.71409]]
    )
    linear = np.clip(linear @ (np.linalg.inv(srgb_to_xyz) @ P3_TO_XYZ).T, 0, 1)
    v = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.round(v * 255), np.uint8)


def _odd_others() -> dict[str, Case]:
    gray = GRAY[:, :, 0]
    wide = SMOOTH.astype(np.uint16) * 257
    palette = Image.fromarray(FLAT).quantize(4)
    black = palette.getpixel((47, 31))
    cleared = FLAT.copy()
    cleared[16:, 24:] = 255
    alpha = np.dstack([SMOOTH, np.full((32, 48), 128, np.uint8)])
    on_white = np.round(SMOOTH * (128 / 255) + 255 * (127 / 255)).astype(np.uint8)
    two = [Image.fromarray(FLAT), Image.fromarray(FLAT[::-1].copy())]
    animation = {"save_all": True, "append_images": two[1:], "duration": 100}
    bits = GRAY > 100
    strip = np.repeat(SMOOTH[:1, :1], 3000, 1)

    def cv(extension: str, pixels: NDArray[np.uint16]) -> bytes:
        return cv2.imencode(extension, pixels)[1].tobytes()

    return {
        "gray_16.png": Case(
            encode(gray.astype(np.uint16) * 257, "PNG"), "", GRAY, 0, {"bits": 16}, "16 bits"
        ),
        "rgb_16.png": Case(
            cv(".png", wide[:, :, ::-1]), "", SMOOTH, 1, {"bits": 16, "mode": "RGB"}, "16 bits"
        ),
        "gray_16.tif": Case(
            encode(gray.astype(np.uint16) * 257, "TIFF"), "", GRAY, 0, {"bits": 16}, "16 bits"
        ),
        "rgb_16.tif": Case(cv(".tiff", wide[:, :, ::-1]), "", SMOOTH, 1, {"bits": 16}, "16 bits"),
        "float.tif": Case(
            encode((gray / 255).astype(np.float32), "TIFF"), "", GRAY, 0, {"mode": "float"}, "32 bits"
        ),
        "float_range.tif": Case(encode(gray.astype(np.float32), "TIFF"), "what is white", header_ok=True),
        "float_nan.tif": Case(
            encode(np.full((9, 9), np.nan, np.float32), "TIFF"), "what is white", header_ok=True
        ),
        "int_32.tif": Case(encode(gray.astype(np.int32) * 70000, "TIFF"), "what is white", header_ok=True),
        "bits.png": Case(
            encode(Image.fromarray(bits[:, :, 0]), "PNG"),
            "",
            bits.astype(np.uint8) * 255,
            0,
            {"mode": "1-bit"},
        ),
        "bits.tif": Case(
            encode(Image.fromarray(bits[:, :, 0]), "TIFF", compression="group4"),
            "",
            bits.astype(np.uint8) * 255,
        ),
        "palette.png": Case(encode(palette, "PNG"), "", FLAT, 0, {"mode": "palette"}),
        "palette_clear.png": Case(
            encode(palette, "PNG", transparency=black), "", cleared, 0, {"mode": "palette"}, "transparent"
        ),
        "rgb_clear.png": Case(encode(FLAT, "PNG", transparency=(9, 9, 9)), "", cleared, 0, {}, "transparent"),
        "rgba.png": Case(encode(alpha, "PNG"), "", on_white, 1, {"mode": "RGBA"}, "transparent"),
        "gray_alpha.png": Case(
            encode(Image.fromarray(alpha[:, :, [0, 3]]), "PNG"),
            "",
            on_white[:, :, [0, 0, 0]],
            1,
            {},
            "transparent",
        ),
        "rgba.webp": Case(
            encode(alpha, "WEBP", lossless=True), "", on_white, 1, {"mode": "RGBA"}, "transparent"
        ),
        "plain.webp": Case(encode(SMOOTH, "WEBP", quality=95), "", SMOOTH, 4),
        "plain.bmp": Case(encode(SMOOTH, "BMP"), "", SMOOTH, 0, {"format": "bmp"}),
        "plain.ppm": Case(encode(SMOOTH, "PPM"), "", SMOOTH, 0, {"format": "ppm"}),
        "plain.jp2": Case(encode(SMOOTH, "JPEG2000"), "", SMOOTH, 1, {"format": "jpeg2000"}),
        "plain.avif": Case(encode(SMOOTH, "AVIF", quality=95), "", SMOOTH, 4, {"format": "avif"}),
        "plain.gif": Case(encode(palette, "GIF"), "", FLAT, 0, {"format": "gif", "frames": 1}),
        "animated.gif": Case(encode(two[0], "GIF", **animation), "", FLAT, 0, {"frames": 2}, "2 frames"),
        "animated.webp": Case(
            encode(two[0], "WEBP", lossless=True, **animation), "", FLAT, 0, {"frames": 2}, "2 frames"
        ),
        "animated.png": Case(encode(two[0], "PNG", **animation), "", FLAT, 0, {"frames": 2}, "2 frames"),
        "pages.tif": Case(
            encode(two[0], "TIFF", save_all=True, append_images=two[1:]),
            "",
            FLAT,
            0,
            {"frames": 2},
            "2 frames",
        ),
        "cmyk.tif": Case(
            encode(two[0].convert("CMYK"), "TIFF"), "", FLAT, 1, {"mode": "CMYK", "format": "tiff"}, "CMYK"
        ),
        "display_p3.png": Case(
            encode(FLAT, "PNG", icc_profile=display_p3_profile()),
            "",
            p3_to_srgb(FLAT),
            1,
            {"icc": "P3 for a test"},
        ),
        "named_png.jpg": Case(encode(SMOOTH, "PNG"), "", SMOOTH, 0, {"format": "png"}),
        "one_pixel.png": Case(encode(SMOOTH[:1, :1], "PNG"), "", SMOOTH[:1, :1]),
        "strip.png": Case(encode(strip, "PNG"), "", strip, 0, {"size": (3000, 1)}),
        "pole.png": Case(encode(strip.transpose(1, 0, 2).copy(), "PNG"), "", strip.transpose(1, 0, 2)),
    }
