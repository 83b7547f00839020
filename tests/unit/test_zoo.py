"""The list of well-known models: sound, documented, and true for the installed libraries."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from ilion.errors import ConfigError, MissingExtraError
from ilion.extractors.base import BACKENDS, ModelInfo, build, model_info, models
from ilion.extractors.zoo import PRESETS
from ilion.pooling import POOLINGS

DOCS = Path(__file__).parents[2] / "docs" / "models.md"


def _ids(info: ModelInfo) -> str:
    return info.name


@pytest.mark.parametrize("info", PRESETS, ids=_ids)
def test_presets_are_complete(info: ModelInfo) -> None:
    assert model_info(info.name) is info
    assert info in models()
    assert BACKENDS[info.backend] == info.extra == "torch"
    assert info.licence not in ("", "unknown")
    assert info.download_mb > 0
    assert info.text == (info.backend == "openclip")
    assert info.settings.get("pooling", "head") in POOLINGS
    if "dinov3" in info.source:
        assert "DINOv3 License" in info.licence
        assert "not an open-source one" in info.note


@pytest.mark.parametrize("info", PRESETS, ids=_ids)
def test_the_table_of_the_docs_says_the_same(info: ModelInfo) -> None:
    rows = re.findall(rf"^\| `{re.escape(info.name)}` \|.*$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == 1
    cells = [cell.strip() for cell in rows[0].strip("|").split("|")]
    licence = "DINOv3 License" if "DINOv3" in info.licence else info.licence
    assert cells[1:6] == [
        str(info.dim),
        str(info.side),
        "yes" if info.text else "no",
        f"{info.download_mb:,} MB",
        licence,
    ]


def test_a_misspelt_name_is_explained() -> None:
    with pytest.raises(ConfigError, match="did you mean siglip2-l-512"):
        model_info("siglip2-l-521")


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="the 'torch' extra is installed")
@pytest.mark.parametrize(
    "name", ["dinov2-l", "siglip2-l-512", "transformers:a/b", "torchvision:x", "torchhub:a/b"]
)
def test_without_the_extra_its_install_line_is_said(name: str) -> None:
    with pytest.raises(
        MissingExtraError, match=re.escape(f"{name} needs the 'torch' extra. Install it with: pip")
    ):
        build(name)


@pytest.mark.extras
@pytest.mark.parametrize("info", [p for p in PRESETS if p.backend == "timm"], ids=_ids)
def test_timm_presets_exist_with_that_size_and_shape(info: ModelInfo) -> None:
    torch: Any = pytest.importorskip("torch")
    timm: Any = pytest.importorskip("timm")
    from ilion.extractors.timm import accepts_any_size

    assert info.source in timm.list_pretrained()
    arguments = {"dynamic_img_size": True, "dynamic_img_pad": True}
    with torch.device("meta"):
        model = timm.create_model(info.source, **(arguments if accepts_any_size(timm, info.source) else {}))
        pixels = torch.zeros(1, 3, info.side, info.side * 3 // 4)
    assert _megabytes(model) == pytest.approx(info.download_mb, rel=0.02)
    model.reset_classifier(0)
    with torch.inference_mode():
        assert tuple(model(pixels).shape) == (1, info.dim)
    licence = model.pretrained_cfg["license"]
    assert licence.split("-")[0] == info.licence.split("-")[0].split()[0].lower()


@pytest.mark.extras
@pytest.mark.parametrize("info", [p for p in PRESETS if p.backend == "openclip"], ids=_ids)
def test_open_clip_presets_exist_with_that_size_and_shape(info: ModelInfo) -> None:
    torch: Any = pytest.importorskip("torch")
    open_clip: Any = pytest.importorskip("open_clip")
    architecture, tag = info.source.split("/")
    assert (architecture, tag) in open_clip.list_pretrained()
    with torch.device("meta"):
        model = open_clip.create_model(architecture, device="meta")
        height, width = open_clip.get_model_preprocess_cfg(model)["size"]
        pixels = torch.zeros(1, 3, height, width)
        tokens = torch.zeros(1, model.context_length, dtype=torch.long)
    assert (height, width) == (info.side, info.side)
    assert _megabytes(model) == pytest.approx(info.download_mb, rel=0.02)
    with torch.inference_mode():
        assert tuple(model.encode_image(pixels).shape) == (1, info.dim)
        assert tuple(model.encode_text(tokens).shape) == (1, info.dim)


def _megabytes(model: Any) -> float:
    """Size of the weights in float32, without allocating them."""
    return float(sum(p.numel() for p in model.parameters()) * 4 / 1e6)
