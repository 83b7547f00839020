"""The way of the ILIAS benchmark's own extractor, written anew from what its script does to a picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image
from tests.conftest import draw_photo, write_tar
from tests.networks import tiny_network

from ilion.config import ExtractionConfig
from ilion.datasets.shards import TarShard
from ilion.errors import ConfigError
from ilion.extraction.images import load_image
from ilion.images import resize
from ilion.pipeline.stages.model import extractor_of
from ilion.types import Box, FileSource, ImageRecord


def official(image: Image.Image, side: int) -> Image.Image:
    """Longer side to ``side``; the other is cut off to whole pixels; Pillow's default, which is bicubic."""
    width, height = image.size
    aspect = float(height) / float(width)
    new_height = int(side * aspect) if aspect <= 1 else side
    new_width = int(side / aspect) if aspect > 1 else side
    return image.resize((max(1, new_width), max(1, new_height)))


@pytest.mark.parametrize("size", [(96, 64), (64, 97), (100, 100), (333, 7), (40, 31), (1200, 801)])
@pytest.mark.parametrize("side", [64, 96, 385])
def test_resizing_is_the_script_s_to_the_bit(size: tuple[int, int], side: int) -> None:
    image = Image.open(io.BytesIO(draw_photo(3, size, "PNG")))
    found = resize(np.asarray(image), "ilias", side)
    np.testing.assert_array_equal(found, np.asarray(official(image, side)))


def oriented() -> bytes:
    image = Image.open(io.BytesIO(draw_photo(1, (60, 40), "PNG")))
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    image.save(out, "JPEG", exif=exif.tobytes(), quality=95)
    return out.getvalue()


def test_exif_turns_files_and_not_tars(tmp_path: Path) -> None:
    settings = ExtractionConfig(model=f"onnx:{tiny_network(tmp_path / 'n.onnx')}", like="ilias", side=60)
    spec = extractor_of(settings, 0).spec
    assert (spec.resize, spec.side) == ("ilias", 60)
    (tmp_path / "a.jpg").write_bytes(oriented())
    write_tar(tmp_path / "t.tar", {"a.jpg": oriented()})
    in_file = load_image(ImageRecord("a", FileSource(tmp_path / "a.jpg")), spec)
    [record] = TarShard("t", tmp_path / "t.tar").records()
    in_tar = load_image(record, spec)
    assert in_file.shape == (60, 40, 3)
    assert in_tar.shape == (40, 60, 3)
    plain = extractor_of(ExtractionConfig(model=settings.model, side=60), 0).spec
    assert load_image(record, plain).shape == (60, 40, 3)


def test_queries_are_not_cropped_by_default(tmp_path: Path) -> None:
    assert ExtractionConfig(like="ilias").global_box == "none"
    assert ExtractionConfig(like="ilias", query_box="mask").global_box == "mask"
    assert ExtractionConfig().global_box == "crop"
    (tmp_path / "a.png").write_bytes(draw_photo(2, (90, 60), "PNG"))
    settings = ExtractionConfig(model=f"onnx:{tiny_network(tmp_path / 'n.onnx')}", like="ilias")
    record = ImageRecord("a", FileSource(tmp_path / "a.png"), (Box(0, 0, 20, 20),))
    spec = extractor_of(settings, 0).spec
    whole, cropped = (load_image(record, spec, use) for use in (settings.global_box, "crop"))
    assert whole.shape != cropped.shape
    with pytest.raises(ConfigError, match=r"leave extraction\.resize = 'square' out"):
        ExtractionConfig(like="ilias", resize="square")


@pytest.mark.extras
@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_descriptors_are_those_of_the_script(name: str) -> None:
    """Random weights; padding is centred and comes after normalisation, as in the script."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("timm")
    pooling: Literal["gem", "cls"] = "gem" if name == "resnet18" else "cls"
    settings = ExtractionConfig(
        model=f"timm:{name}", weights="none", like="ilias", side=200, pooling=pooling, device="cpu"
    )
    extractor = extractor_of(settings, 0)
    network = extractor.tower.module  # type: ignore[attr-defined]
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (extractor.spec.mean, extractor.spec.std))
    least = 1.0
    for seed in range(24):
        rng = np.random.default_rng(seed)
        size = (int(rng.integers(120, 500)), int(rng.integers(120, 500)))
        image = Image.open(io.BytesIO(draw_photo(seed, size, "PNG")))
        own = extractor.extract([resize(np.asarray(image), "ilias", 200)])[0]
        pixels = torch.from_numpy(np.asarray(official(image, 200)).copy()).permute(2, 0, 1).float() / 255
        pixels = (pixels - mean / 255 if mean.max() > 1 else pixels - mean) / (
            std / 255 if std.max() > 1 else std
        )
        if name != "resnet18":
            pads = []
            for length in (pixels.shape[2], pixels.shape[1]):
                lack = -length % 16
                pads += [lack // 2, lack - lack // 2]
            pixels = torch.nn.functional.pad(pixels, pads)
        with torch.inference_mode():
            features = network.forward_features(pixels[None])
            if name == "resnet18":
                value = features.clamp(min=1e-6).pow(3).mean(dim=(2, 3)).pow(1 / 3)[0]
            else:
                value = features[0, 0]
        value = (value / value.norm()).numpy()
        least = min(least, float(own @ value))
    assert least > 0.9999
