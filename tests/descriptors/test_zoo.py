"""The list of well-known models: sound, documented, and true for the installed libraries."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ilion.descriptors import registry
from ilion.descriptors.base import ExtractorOptions
from ilion.descriptors.pooling import POOLINGS
from ilion.descriptors.registry import BACKENDS, ModelInfo, build, find_models, model_info, models
from ilion.descriptors.zoo import PRESETS
from ilion.errors import ConfigError, MissingExtraError

DOCS = Path(__file__).parents[2] / "docs" / "models.md"


def _ids(info: ModelInfo) -> str:
    return info.name


@pytest.mark.parametrize("info", PRESETS, ids=_ids)
def test_presets_are_complete(info: ModelInfo) -> None:
    assert model_info(info.name) is info
    assert info in models()
    assert BACKENDS.find(info.backend).extra == info.extra == "torch"
    assert info.licence not in ("", "unknown")
    assert info.download_mb > 0
    assert info.text == (info.backend == "openclip")
    assert info.settings["pooling"] in POOLINGS
    assert info.family
    assert set(info.ilias) <= {"5M", "100M", "5M adapted", "5M text"}
    assert all(0 < value < 1 for value in info.ilias.values())
    assert info.open_licence == ("not an open-source one" not in info.note)
    if "dinov3" in info.source:
        assert "DINOv3 License" in info.licence
        assert "not an open-source one" in info.note


@pytest.mark.parametrize("info", PRESETS, ids=_ids)
def test_the_table_of_the_docs_says_the_same(info: ModelInfo) -> None:
    rows = re.findall(rf"^\| `{re.escape(info.name)}` \|.*$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == 1
    cells = [cell.strip() for cell in rows[0].strip("|").split("|")]
    licence = "DINOv3 License" if "DINOv3" in info.licence else info.licence
    figures = [info.ilias.get(name) for name in ("5M", "100M", "5M adapted", "5M text")]
    assert cells[1:] == [
        str(info.dim),
        str(info.side),
        "yes" if info.text else "no",
        f"{info.download_mb:,} MB",
        licence,
        info.settings["pooling"],
        *("" if value is None else f"{100 * value:.1f}" for value in figures),
        info.note,
    ]


def test_models_are_found_by_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def names(*words: str, **options: Any) -> list[str]:
        return [info.name for info in find_models(words, **options)]

    assert names() == [info.name for info in models()]
    assert set(names("SIGLIP2-512", "webli")) == {"siglip2-b-512", "siglip2-l-512", "siglip2-so400m-512"}
    assert names("no such thing") == []
    assert "default" in names(max_download=0)
    outside = ModelInfo("outside", "outside", 0, 0, "unknown", -1)  # what it downloads is not known
    monkeypatch.setitem(registry._MODELS, "outside", outside)
    assert "outside" in names()
    assert all(info.download_mb == 0 for info in find_models(max_download=0))
    assert "outside" not in names(max_download=10**6)
    monkeypatch.delitem(registry._MODELS, "outside")
    open_text = find_models(text=True, open_licence=True)
    assert {info.licence for info in open_text} == {"Apache-2.0", "MIT"}
    assert all(info.text for info in open_text)
    assert names(licence="nc") == ["metaclip-l-224"]
    assert names(family="dinov2", sort="download")[0] == "dinov2-s"
    assert names(backend="vlad") == ["rootsift-vlad"]
    assert names(domain="satellite") == ["dinov3-l-sat"]
    assert "dinov3-l-sat" not in names(domain="general")
    by_figure = names(sort="mAP")
    assert by_figure[:4] == ["dinov3-l", "pe-core-l-336", "dinov3-b", "siglip2-l-512"]
    assert sorted(by_figure) == sorted(names())
    assert names("dinov2", sort="dim")[-1] == "dinov2-g"
    for options, message in (
        ({"sort": "price"}, "sort 'price' is not one of mAP, download"),
        ({"family": "dino9"}, "is not one of Ilion"),
        ({"backend": "jax"}, "is not one of default"),
    ):
        with pytest.raises(ConfigError, match=message):
            find_models(**options)  # type: ignore[arg-type]


def test_the_command_lists_and_filters(capsys: pytest.CaptureFixture[str]) -> None:
    from ilion.cli.about import models as command

    command(["vit_large_patch16_dinov3"], domain="general", as_json=True)
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["ilias"]["100M"], found["open_licence"]) == (0.265, False)
    command(sort="mAP", family="ResNet")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:1] == ["resnet101"]
    assert " 2.7 " in lines[0]
    assert lines[-1].startswith("2 models")
    command(["nothing like this"])
    assert capsys.readouterr().out.startswith("0 models")


def test_a_misspelt_name_is_explained() -> None:
    with pytest.raises(ConfigError, match="did you mean 'siglip2-l-512"):
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
    from ilion.descriptors.timm import accepts_any_size

    assert info.source in timm.list_pretrained()
    arguments = {"dynamic_img_size": True, "dynamic_img_pad": True}
    with torch.device("meta"):
        model = timm.create_model(info.source, **(arguments if accepts_any_size(timm, info.source) else {}))
        pixels = torch.zeros(1, 3, info.side, info.side * 3 // 4)
    assert _megabytes(model) == pytest.approx(info.download_mb, rel=0.02)
    model.reset_classifier(0)
    with torch.inference_mode():
        maps = (
            info.settings.get("pooling") == "gem"
        )  # pooled here, so that layers after the maps do not count
        assert (model.forward_features(pixels) if maps else model(pixels)).shape[:2] == (1, info.dim)
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


@pytest.mark.extras
@pytest.mark.parametrize("info", PRESETS, ids=_ids)
def test_presets_build_without_weights(info: ModelInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole recipe on a device without memory: nothing is allocated, shapes are real."""
    torch: Any = pytest.importorskip("torch")
    open_clip: Any = pytest.importorskip("open_clip")
    torch_common: Any = importlib.import_module("ilion.descriptors.torch_common")

    def describe(self: Any, images: Sequence[Any]) -> Any:
        output, grid = self.run(lambda pixels: self.tower.forward(pixels, self.spec.pooling), images)
        pooled = torch_common.pool(output.float(), self.spec.pooling, grid, self.tower.prefix)
        return np.zeros(tuple(pooled.shape), np.float32)

    monkeypatch.setattr(torch_common, "weights_digest", lambda module: "none")
    monkeypatch.setattr(torch_common, "torch_device", lambda name: torch.device("meta"))
    monkeypatch.setattr(torch_common.TorchExtractor, "inference", lambda self: torch.inference_mode())
    monkeypatch.setattr(torch_common.TorchExtractor, "_describe", describe)
    monkeypatch.setattr(open_clip, "create_model", partial(open_clip.create_model, device="meta"))
    with torch.device("meta"):
        extractor: Any = build(info.name, ExtractorOptions(weights="none"))
        spec = extractor.spec
        width = spec.side * 3 // 4 if spec.resize == "long" else spec.side
        assert describe(extractor, [np.zeros((spec.side, width, 3), np.uint8)] * 2).shape == (2, info.dim)
        assert (spec.dim, spec.side, spec.text) == (info.dim, info.side, info.text)
        assert spec.pooling == info.settings["pooling"]
        if info.text:
            tokens = torch.zeros(1, extractor._text.context, dtype=torch.long)
            assert tuple(extractor._text.encode(tokens).shape) == (1, info.dim)


def _megabytes(model: Any) -> float:
    """Size of the weights in float32, without allocating them."""
    return float(sum(p.numel() for p in model.parameters()) * 4 / 1e6)
