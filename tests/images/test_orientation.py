"""One rule for which way is up, and for what is white, in the probe, the check and the decoder."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tests.bad_images import SMOOTH, encode, orientation_exif, png_chunk, stored

from ilion.datasets.checking.inspect import inspect
from ilion.errors import ImageError
from ilion.images import decode, probe
from ilion.types import RGB, MemorySource

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    b"</rdf:RDF></x:xmpmeta>"
)
Samples = NDArray[Any]
Order = Literal["<", ">"]
ROWS, COLUMNS = np.mgrid[:32, :48]
PICTURE: RGB = SMOOTH
GREY = (20 + COLUMNS * 4 + ROWS).astype(np.uint8)
GOOD: dict[str, object] = {"quality": 95}
LOSSLESS: dict[str, dict[str, object]] = {
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "AVIF": GOOD,
    "JPEG": GOOD,
}


def with_xmp(kind: str, xmp: bytes = XMP, exif: int = 0) -> bytes:
    options: dict[str, object] = dict(LOSSLESS[kind])
    if kind == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        options["pnginfo"] = info
    elif kind == "TIFF":
        options["tiffinfo"] = {700: xmp} | ({0x0112: exif} if exif else {})
    else:
        options["xmp"] = xmp
    if exif and kind != "TIFF":
        options["exif"] = orientation_exif(exif)
    pixels = stored(PICTURE, exif) if exif else PICTURE
    return encode(np.ascontiguousarray(pixels), kind, **options)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_xmp_turns_nothing_in_any_format_and_that_is_said(kind: str) -> None:
    data = with_xmp(kind)
    facts, image = probe(data), decode(data).image
    assert facts.orientation == 1
    assert facts.size == (48, 32)
    assert image.shape == (32, 48, 3)
    assert np.abs(image.astype(int) - PICTURE).mean() < 4
    assert any("XMP says orientation 6, which is not followed" in each for each in facts.warnings)


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("value", [2, 3, 5, 8])
def test_exif_decides_whatever_xmp_says(kind: str, value: int) -> None:
    data = with_xmp(kind, exif=value)
    facts, image = probe(data), decode(data).image
    assert facts.orientation == value
    assert facts.size == (image.shape[1], image.shape[0]) == (48, 32)
    assert np.abs(image.astype(int) - PICTURE).mean() < 4


@pytest.mark.parametrize("kind", LOSSLESS)
def test_xmp_that_agrees_with_exif_is_no_oddity(kind: str) -> None:
    facts = probe(with_xmp(kind, exif=6))
    assert not any("XMP" in each for each in facts.warnings)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_xmp_in_a_png_compressed_or_after_its_pixels(compress: bool, after: bool) -> None:
    plain = encode(PICTURE, "PNG")
    text = zlib.compress(XMP) if compress else XMP
    chunk = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0" + bytes([compress, 0]) + b"\0\0" + text)
    data = plain[:-12] + chunk + plain[-12:] if after else plain[:33] + chunk + plain[33:]
    assert probe(data).size == (48, 32)
    assert np.array_equal(decode(data).image, PICTURE)


def test_exif_as_text_in_a_png_turns_nothing() -> None:
    """ImageMagick writes 'Raw profile type exif', which the probe never read and the decoder followed."""
    exif = orientation_exif(6).tobytes()
    info = PngInfo()
    info.add_text("Raw profile type exif", f"\nexif\n{len(exif):8}\n{exif.hex()}\n")
    data = encode(PICTURE, "PNG", pnginfo=info)
    assert probe(data).size == (48, 32)
    assert np.array_equal(decode(data).image, PICTURE)


def test_a_broken_exif_block_is_upright_in_webp_too() -> None:
    data = encode(PICTURE, "WEBP", lossless=True, exif=b"Exif\0\0MM\0*\xff\xff\xff\xf0" + bytes(14))
    facts = probe(data)
    assert facts.orientation == 1
    assert any("EXIF block is damaged" in each for each in facts.warnings)
    assert np.array_equal(decode(data).image, PICTURE)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_probe_check_and_decode_agree_on_the_size(kind: str) -> None:
    for value in range(1, 9):
        data = with_xmp(kind, exif=value)
        height, width = decode(data).image.shape[:2]
        seen = inspect(MemorySource("x", data))
        assert seen.facts is not None
        assert probe(data).size == seen.facts.size == (width, height) == (48, 32)


def tiff(samples: Samples, photometric: int, form: int, order: Order = "<") -> bytes:
    """A plain TIFF of one strip, in either order of bytes."""
    body = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    height, width = samples.shape
    bits = samples.dtype.itemsize * 8
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1}
    tags |= {278: height, 279: len(body), 339: form}
    ifd = struct.pack(f"{order}H", len(tags))
    for tag, value in tags.items():
        ifd += struct.pack(f"{order}HHII", tag, 4, 1, value)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(body))
    return head + body + ifd + bytes(4)


@pytest.mark.parametrize(
    ("samples", "form"),
    [(GREY, 1), (GREY.astype(np.uint16) * 257, 1), ((GREY / 255).astype(np.float32), 3)],
    ids=["8", "16", "float"],
)
@pytest.mark.parametrize("zero_is_white", [False, True])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
def test_white_is_zero_is_turned_at_every_depth(
    samples: Samples, form: int, zero_is_white: bool, order: Order
) -> None:
    top = 1 if form == 3 else np.iinfo(samples.dtype).max
    stored_so = (top - samples).astype(samples.dtype) if zero_is_white else samples
    data = tiff(stored_so, 1 - zero_is_white, form, order)
    assert np.abs(decode(data).image[:, :, 0].astype(int) - GREY).max() <= 1
    assert probe(data).size == (48, 32)


def test_samples_that_nothing_reads_are_not_called_damaged() -> None:
    with pytest.raises(ImageError, match="samples that Pillow does not read; save it with 8 or 16 bits"):
        decode(tiff(GREY.astype(np.uint64), 1, 1))


def test_one_bit_and_packed_white_is_zero() -> None:
    out = io.BytesIO()
    Image.fromarray(GREY > 100).save(out, "TIFF", tiffinfo={262: 0})
    plain = io.BytesIO()
    Image.fromarray(GREY > 100).save(plain, "TIFF", tiffinfo={262: 1})
    first, second = (decode(each.getvalue()).image for each in (out, plain))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK", "I;16", "LA", "1"])
def test_large_images_are_converted_in_bands(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = Image.fromarray(PICTURE)
    if mode == "RGBA":
        rgb.putalpha(Image.fromarray(GREY))
    image = Image.fromarray(GREY.astype(np.uint16) * 256) if mode == "I;16" else rgb.convert(mode)
    data = encode(image, "TIFF" if mode == "CMYK" else "PNG")
    whole = decode(data).image
    monkeypatch.setattr("ilion.images.colour._BAND", 48 * 5)
    assert np.array_equal(decode(data).image, whole)
