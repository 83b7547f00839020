"""HEIC through the extra: upright, bounded, and with its install line where it is missing."""

from __future__ import annotations

import io
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.bad_images import SMOOTH, orientation_exif
from tests.conftest import write

from ilion.datasets import open_dataset
from ilion.datasets.checking.inspect import inspect
from ilion.errors import ImageError
from ilion.images import decode, probe
from ilion.types import MemorySource

HEAD = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def heic(**options: object) -> bytes:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener(thumbnails=False)
    out = io.BytesIO()
    Image.fromarray(np.repeat(np.repeat(SMOOTH, 4, 0), 4, 1)).save(out, "HEIF", **{"quality": 95, **options})
    return out.getvalue()


def test_a_photo_of_a_phone_is_read() -> None:
    data = heic()
    facts = probe(data, where="IMG.HEIC")
    assert (facts.format, facts.size, facts.orientation, facts.mode) == ("heic", (192, 128), 1, "RGB")
    image = decode(data).image
    assert np.abs(image[::4, ::4].astype(int) - SMOOTH).mean() < 6


@pytest.mark.parametrize("value", [1, 3, 6, 8])
def test_probe_and_decoder_agree_however_it_was_held(value: int) -> None:
    data = heic(exif=orientation_exif(value).tobytes())
    image = decode(data).image
    assert probe(data).size == (image.shape[1], image.shape[0])


def test_a_truncated_or_large_photo_is_a_sentence() -> None:
    data = heic()
    with pytest.raises(ImageError, match="damaged or truncated HEIC"):
        decode(data[: len(data) // 2])
    with pytest.raises(ImageError, match="more than the limit of 100"):
        decode(data, max_pixels=100)
    for cut in range(0, len(data), max(1, len(data) // 60)):
        try:
            decode(data[:cut])
        except ImageError:
            continue


def test_without_the_extra_the_message_has_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for read in (probe, decode):
        with pytest.raises(ImageError, match=r"an HEIC photo \(iPhone\).*pip install 'ilion\[heic\]'"):
            read(HEAD + bytes(100))
    assert "pip install 'ilion[heic]'" in inspect(MemorySource("x.heic", HEAD + bytes(100))).error


def test_photos_of_a_phone_with_names_of_a_mac_belong_to_their_rows(tmp_path: Path) -> None:
    def mac(name: str) -> str:
        return unicodedata.normalize("NFD", name)

    root = tmp_path / mac("が写真")
    names = {role: f"objects/ガラス瓶/{role}/グラス.HEIC" for role in ("query", "positive")}
    for number, role in enumerate(names):
        write(root / mac(names[role]), heic(quality=90 - number))
    write(root / mac("distractors/パン.HEIC"), heic(quality=50))
    rows = "".join(f"{name},ガラス瓶,{role},5,6,50,40\n" for role, name in names.items())
    (root / "photos.csv").write_text(f"file,object,role,x,y,width,height\n{rows}", "utf-8")
    dataset = open_dataset(root)
    assert not dataset.notes
    (query,) = dataset.queries
    assert query.image is not None
    assert query.image.boxes
    assert dataset.positives[query.id] == (mac(names["positive"]),)
    found = {record.id: record for shard in dataset.database for record in shard.records()}
    assert sorted(found) == [mac("distractors/パン.HEIC"), mac(names["positive"])]
    for record in (*found.values(), query.image):
        image = decode(record.source.read(), where=record.id).image
        assert image.shape == (128, 192, 3)
