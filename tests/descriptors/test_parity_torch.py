"""Torch backends against the libraries' own preprocessing and output; small models, random weights."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ilion.descriptors.base import Extractor, ExtractorOptions, TextExtractor
from ilion.descriptors.registry import build
from ilion.errors import ConfigError, ExtractionError, IlionError
from ilion.types import RGB, Float32

torch: Any = pytest.importorskip("torch", reason="the 'torch' extra is not installed")
pytestmark = pytest.mark.extras

TOLERANCE = 1e-5


def _photo(height: int, width: int, seed: int = 0) -> RGB:
    """Smooth colours with a grid of edges: like a photo, the same everywhere."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    image[:: 5 + seed] //= 2
    return image


def _build(name: str, **options: Any) -> Extractor:
    return build(name, ExtractorOptions(**({"weights": "none", "device": "cpu"} | options)))


def _unit(values: Any) -> Float32:
    rows: Float32 = torch.nn.functional.normalize(values.float(), dim=1).numpy()
    return rows


def _same(found: Float32, expected: Any) -> None:
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, _unit(expected), atol=TOLERANCE)


def _gem(maps: Any) -> Any:
    return torch.nn.functional.avg_pool2d(maps.clamp(min=1e-6).pow(3), maps.shape[-2:]).pow(1 / 3).flatten(1)


@pytest.fixture(autouse=True)
def _quiet_numerics() -> Any:
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield


# --- timm ---------------------------------------------------------------------------------------------


def _timm_reference(name: str, image: RGB, **arguments: Any) -> tuple[Any, Any]:
    """The library's model and its own transform of an image that already has the right size."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0, **arguments).eval()
    config = timm.data.resolve_model_data_config(model)
    config |= {"input_size": (3, *image.shape[:2]), "crop_pct": 1.0}
    pixels = timm.data.create_transform(**config, is_training=False)(Image.fromarray(image))[None]
    assert tuple(pixels.shape[2:]) == image.shape[:2]
    return model, pixels


TIMM_POOLINGS: dict[str, Callable[[Any, Any], Any]] = {
    "head": lambda model, x: model(x),
    "gap": lambda model, x: model.forward_features(x).mean((2, 3)),
    "mac": lambda model, x: torch.nn.functional.adaptive_max_pool2d(model.forward_features(x), 1).flatten(1),
    "gem": lambda model, x: _gem(model.forward_features(x)),
}


@pytest.mark.parametrize("pooling", TIMM_POOLINGS)
@pytest.mark.parametrize("size", [(96, 64), (64, 96)])
def test_timm_convolutional(pooling: str, size: tuple[int, int]) -> None:
    image = _photo(*size)
    model, pixels = _timm_reference("resnet10t", image)
    extractor = _build("timm:resnet10t", pooling=pooling, side=96)
    _same(extractor.extract([image]), TIMM_POOLINGS[pooling](model, pixels))
    assert (extractor.spec.dim, extractor.spec.resize) == (512, "long")


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_wee_patch16_reg1_gap_256"])
def test_timm_transformer_at_its_own_size(name: str) -> None:
    side = int(name[-3:])
    image = _photo(side, side)
    model, pixels = _timm_reference(name, image)
    tokens = model.forward_features(pixels)
    prefix = model.num_prefix_tokens
    patches = tokens[:, prefix:].transpose(1, 2).unflatten(2, (side // 16, side // 16))
    expected = {"head": model(pixels), "gap": tokens[:, prefix:].mean(1), "gem": _gem(patches)}
    if prefix:
        expected["cls"] = tokens[:, 0]
    for pooling, values in expected.items():
        _same(_build(f"timm:{name}", pooling=pooling).extract([image]), values)


def test_timm_transformer_at_any_size() -> None:
    image = _photo(90, 60)
    model, pixels = _timm_reference(
        "vit_tiny_patch16_224", image, dynamic_img_size=True, dynamic_img_pad=True
    )
    tokens = model.forward_features(pixels)
    assert tokens.shape[1] == 1 + 6 * 4
    found = {
        p: _build("timm:vit_tiny_patch16_224", pooling=p, side=90).extract([image]) for p in ("cls", "gem")
    }
    _same(found["cls"], tokens[:, 0])
    _same(found["gem"], _gem(tokens[:, 1:].transpose(1, 2).unflatten(2, (6, 4))))


def test_timm_channels_last_maps() -> None:
    image = _photo(64, 64)
    model, pixels = _timm_reference("swin_tiny_patch4_window7_224", image, dynamic_img_size=True)
    maps = model.forward_features(pixels)
    assert maps.shape[1:] == (2, 2, 768)
    found = _build("timm:swin_tiny_patch4_window7_224", pooling="mac", side=64).extract([image])
    _same(found, maps.amax((1, 2)))


def test_timm_fixed_size() -> None:
    with pytest.raises(ConfigError, match="224 x 224 pixels only"):
        _build("timm:mixer_s32_224", side=64)
    with pytest.raises(ExtractionError, match="got 64 x 96; resize with square"):
        _build("timm:mixer_s32_224").extract([_photo(96, 64)])


def test_batches_of_mixed_shapes_keep_their_order() -> None:
    images = [
        _photo(*size, seed=i) for i, size in enumerate([(96, 64), (64, 96), (96, 64), (96, 96), (96, 64)])
    ]
    extractor = _build("timm:resnet10t", batch_size=2)
    together = extractor.extract(images)
    one_by_one = np.concatenate([extractor.extract([image]) for image in images])
    np.testing.assert_allclose(together, one_by_one, atol=1e-6)
    assert extractor.extract([]).shape == (0, 512)


def test_seed_and_caller_state() -> None:
    image = _photo(64, 64)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (_build("timm:resnet10t", seed=s) for s in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert first.spec.revision == again.spec.revision != other.spec.revision
    np.testing.assert_array_equal(first.extract([image]), again.extract([image]))
    assert not np.allclose(first.extract([image]), other.extract([image]), atol=1e-3)


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_timm_weights_from_a_file(tmp_path: Path, kind: str) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(9)
    model = timm.create_model("resnet10t").eval()
    path = tmp_path / f"weights.{kind}"
    if kind == "pth":
        torch.save({"state_dict": model.state_dict()}, path)
    else:
        pytest.importorskip("safetensors.torch").save_file(model.state_dict(), path)
    image = _photo(64, 96)
    _, pixels = _timm_reference("resnet10t", image)
    expected = model.forward_head(model.forward_features(pixels), pre_logits=True)
    extractor = _build("timm:resnet10t", weights=str(path))
    _same(extractor.extract([image]), expected)
    assert (extractor.spec.weights, extractor.spec.licence) == (path.name, "unknown")


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"conv.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(ExtractionError, match=r"1 are unknown \(conv.weight\)\. .*exactly this arch"):
        _build("timm:resnet10t", weights=str(path))
    with pytest.raises(ExtractionError, match=r"another model: \d+ tensors are missing \(conv1"):
        _build("torchvision:resnet18", weights=str(path))
    torch.save([1, 2], path)
    with pytest.raises(ExtractionError, match="expected tensors by name"):
        _build("timm:resnet10t", weights=str(path))
    with pytest.raises(ConfigError, match="there is no file"):
        _build("timm:resnet10t", weights=str(tmp_path / "none.pth"))


class _Hostile:
    """A pickle that would run code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("code from a weights file ran",))


def test_weights_never_run_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": _Hostile()}, path)
    with pytest.raises(ExtractionError, match="not a safetensors file or torch state dict"):
        _build("timm:resnet10t", weights=str(path))
    assert "ran" not in capsys.readouterr().out


def test_licence_and_size_are_said_and_offline_has_a_remedy(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with (
        caplog.at_level(logging.INFO),
        pytest.raises(ExtractionError, match=r"model\.safetensors .* set weights"),
    ):
        build("tinyclip-s", ExtractorOptions(device="cpu"))
    assert "about 33 MB, licence: MIT" in caplog.text
    with pytest.raises(ExtractionError, match="transformers:FOLDER"):
        build("transformers:someone/model", ExtractorOptions(device="cpu"))
    with pytest.raises(ExtractionError, match="set weights to that file"):
        build("openclip-b-224", ExtractorOptions(device="cpu"))


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("timm:resnet10x", {}, ConfigError, "no model 'resnet10x'; did you mean resnet10t"),
        ("timm:resnet10t.x", {}, ConfigError, "no weights 'x' for resnet10t; it has c3_in1k"),
        ("timm:resnet10t", {"pooling": "cls"}, ConfigError, "'cls' does not fit"),
        ("timm:resnet10t", {"pooling": "max"}, ConfigError, "'max' is not one of"),
        ("timm:resnet10t", {"resize": "longest"}, ConfigError, "'longest' is not one of"),
        ("timm:resnet10t", {"device": "tpu"}, ConfigError, "'tpu' is not one of"),
        ("timm:resnet10t", {"device": "cuda:99"}, ExtractionError, "CUDA devices; use cpu"),
        ("timm:resnet10t", {"precision": "float16"}, ConfigError, "needs an accelerator"),
        ("timm:resnet10t", {"precision": "int8"}, ConfigError, "'int8' is not one of"),
        ("timm:resnet10t", {"side": -1}, ConfigError, "positive number of pixels"),
        ("openclip:ViT-B-31/x", {}, ConfigError, "no model 'ViT-B-31'; did you mean"),
        ("openclip:ViT-B-32/x", {"weights": None}, ConfigError, "no weights 'x' for ViT-B-32"),
        ("openclip:ViT-B-32/openai", {"weights": "nothing.pt"}, ConfigError, "there is no file"),
        ("openclip:ViT-B-32/openai", {"pooling": "gem"}, ConfigError, "only have pooling 'head'"),
        ("torchvision:resnet19", {}, ConfigError, "no classifier 'resnet19'; did you mean resnet18"),
        ("torchvision:resnet18/X", {}, ConfigError, "no weights 'X'; torchvision has IMAGENET1K_V1"),
        ("torchvision:mobilenet_v2", {"pooling": "gem"}, ConfigError, "use pooling head"),
        ("torchhub:someone/repo/net", {"weights": None}, ConfigError, "runs code from someone/repo"),
        ("torchhub:net", {"weights": "trust-repo"}, ConfigError, "write torchhub:OWNER/REPO/NAME"),
    ],
)
def test_mistakes_are_explained(
    name: str, options: dict[str, Any], error: type[IlionError], message: str
) -> None:
    with pytest.raises(error, match=message):
        _build(name, **options)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_accelerator_agrees_with_the_cpu(precision: str) -> None:
    images = [_photo(96, 64, seed=i) for i in range(3)]
    for name in ("timm:resnet10t", "timm:vit_tiny_patch16_224"):
        slow = _build(name, pooling="gem", side=96).extract(images)
        fast = _build(name, pooling="gem", side=96, device="cuda", precision=precision).extract(images)
        assert ((slow * fast).sum(axis=1) > 0.998).all()


# --- open_clip ----------------------------------------------------------------------------------------

TEXT = {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
OPEN_CLIP_CONFIGS: dict[str, dict[str, Any]] = {
    "ilion-test-vit": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 16},
        "text_cfg": TEXT,
    },
    "ilion-test-timm": {
        "embed_dim": 192,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 224,
            "timm_model_name": "vit_tiny_patch16_224",
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "none",
        },
        "text_cfg": TEXT | {"width": 192, "heads": 3},
    },
}


@pytest.fixture(scope="module")
def open_clip(tmp_path_factory: pytest.TempPathFactory) -> Any:
    library = pytest.importorskip("open_clip")
    folder = tmp_path_factory.mktemp("configs")
    for name, config in OPEN_CLIP_CONFIGS.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    library.add_model_config(folder)
    return library


@pytest.mark.parametrize("name", OPEN_CLIP_CONFIGS)
def test_open_clip_images_and_texts(open_clip: Any, name: str) -> None:
    side = OPEN_CLIP_CONFIGS[name]["vision_cfg"]["image_size"]
    image = _photo(side, side)
    texts = ["a red can of soup", "a poster", "two shoes"]
    torch.manual_seed(0)
    model, _, transform = open_clip.create_model_and_transforms(name)
    model.eval()
    extractor = _build(f"openclip:{name}", batch_size=2)
    assert isinstance(extractor, TextExtractor)
    assert extractor.spec.text
    _same(extractor.extract([image]), model.encode_image(transform(Image.fromarray(image))[None]))
    _same(extractor.extract_text(texts), model.encode_text(open_clip.get_tokenizer(name)(texts)))
    assert extractor.extract_text([]).shape == (0, extractor.spec.dim)


def test_open_clip_says_when_a_text_is_cut(open_clip: Any, caplog: pytest.LogCaptureFixture) -> None:
    extractor = _build("openclip:ilion-test-vit")
    assert isinstance(extractor, TextExtractor)
    with caplog.at_level(logging.WARNING):
        extractor.extract_text(["a " * 18])
        assert "tokens" not in caplog.text
        extractor.extract_text(["a " * 19])
    assert "reads 20 tokens; 1 of 1 texts are longer and lose their end" in caplog.text


def test_open_clip_reads_long_texts_in_pieces_and_averages_prompts(open_clip: Any) -> None:
    torch.manual_seed(0)
    model = open_clip.create_model("ilion-test-vit").eval()
    tokenizer = open_clip.get_tokenizer("ilion-test-vit")

    def alone(text: str) -> Any:
        return torch.nn.functional.normalize(model.encode_text(tokenizer([text])), dim=-1)

    first, second = " ".join(["a"] * 18), " ".join(["red"] * 5)
    long = _build("openclip:ilion-test-vit", long_texts="average")
    assert isinstance(long, TextExtractor)
    _same(long.extract_text([f"{first} {second}"]), alone(first) + alone(second))
    prompted = _build("openclip:ilion-test-vit", prompts=("{}", "a photo of {}"))
    assert isinstance(prompted, TextExtractor)
    _same(prompted.extract_text(["a shoe"]), alone("a shoe") + alone("a photo of a shoe"))


def test_open_clip_timm_tower_takes_any_size(open_clip: Any) -> None:
    image = _photo(90, 60)
    torch.manual_seed(0)
    model = open_clip.create_model("ilion-test-timm").eval()
    plain, pixels = _timm_reference(
        "vit_tiny_patch16_224", image, dynamic_img_size=True, dynamic_img_pad=True, global_pool="avg"
    )
    plain.load_state_dict(model.visual.trunk.state_dict())
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.5,) * 3, (0.5,) * 3))
    own = open_clip.get_model_preprocess_cfg(model)
    own_mean, own_std = (torch.tensor(own[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    extractor = _build("openclip:ilion-test-timm", side=90)
    assert extractor.spec.resize == "long"
    _same(extractor.extract([image]), plain((pixels * std + mean - own_mean) / own_std))


def test_open_clip_fixed_tower(open_clip: Any) -> None:
    spec = _build("openclip:ilion-test-vit").spec
    assert (spec.side, spec.resize) == (32, "pad")
    larger = _build("openclip:ilion-test-vit", side=48)
    assert larger.extract([_photo(48, 48)]).shape == (1, 24)
    with pytest.raises(ConfigError, match="32 x 32 pixels only"):
        _build("openclip:ilion-test-vit", resize="long")


def test_open_clip_weights_from_a_file(open_clip: Any, tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = open_clip.create_model("ilion-test-vit").eval()
    path = tmp_path / "weights.pt"
    torch.save(model.state_dict(), path)
    extractor = _build("openclip:ilion-test-vit", weights=str(path))
    assert isinstance(extractor, TextExtractor)
    tokens = open_clip.get_tokenizer("ilion-test-vit")(["a shoe"])
    _same(extractor.extract_text(["a shoe"]), model.encode_text(tokens))


# --- transformers -------------------------------------------------------------------------------------

VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
LANGUAGE = {k: v for k, v in VISION.items() if k not in ("image_size", "patch_size")} | {
    "vocab_size": 40,
    "max_position_embeddings": 12,
    "pad_token_id": 1,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
WORDS = ["[UNK]", "[PAD]", "[BOS]", "[EOS]", "a", "red", "can", "of", "soup", "poster"]


def _model_folder(path: Path, config: Any, processor: Any) -> str:
    """A folder as it comes from the hub, without weights: config, image processor, tokenizer."""
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    config.save_pretrained(path)
    processor.save_pretrained(path)
    words = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]")
    )
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words.post_processor = tokenizers.processors.TemplateProcessing(
        single="[BOS] $A [EOS]", special_tokens=[("[BOS]", 2), ("[EOS]", 3)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]", bos_token="[BOS]", eos_token="[EOS]"
    ).save_pretrained(path)
    return str(path)


def _family(name: str) -> tuple[Any, Any]:
    transformers = pytest.importorskip("transformers")
    size = {"height": 32, "width": 32}
    two = {"vision_config": VISION, "text_config": LANGUAGE}
    return {
        "siglip": lambda: (transformers.SiglipConfig(**two), transformers.SiglipImageProcessor(size=size)),
        "clip": lambda: (
            transformers.CLIPConfig(**two, projection_dim=24),
            transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size),
        ),
        "dinov2": lambda: (
            transformers.Dinov2Config(**VISION),
            transformers.BitImageProcessor(size={"shortest_edge": 32}, crop_size=size),
        ),
        "dinov2-registers": lambda: (
            transformers.Dinov2WithRegistersConfig(**VISION),
            transformers.BitImageProcessor(size={"shortest_edge": 32}, crop_size=size),
        ),
        "dinov3": lambda: (
            transformers.DINOv3ViTConfig(**VISION, num_register_tokens=4),
            transformers.BitImageProcessor(size={"shortest_edge": 32}, crop_size=size),
        ),
    }[name]()


@pytest.mark.parametrize("family", ["siglip", "clip", "dinov2", "dinov2-registers", "dinov3"])
def test_transformers_images(tmp_path: Path, family: str) -> None:
    transformers = pytest.importorskip("transformers")
    config, processor = _family(family)
    name = f"transformers:{_model_folder(tmp_path, config, processor)}"
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(config).eval()
    image = _photo(32, 32)
    pixels = processor(images=Image.fromarray(image), return_tensors="pt")["pixel_values"]
    assert tuple(pixels.shape) == (1, 3, 32, 32)
    vision = getattr(model, "vision_model", model)(pixel_values=pixels)
    prefix = {"siglip": 0, "clip": 1, "dinov2": 1, "dinov2-registers": 5, "dinov3": 5}[family]
    tokens = vision.last_hidden_state
    assert tokens.shape[1] == prefix + 16
    expected = {"head": vision.pooler_output, "gap": tokens[:, prefix:].mean(1)}
    if family == "clip":
        expected["head"] = model.visual_projection(vision.pooler_output)
    if prefix:
        expected["cls"] = tokens[:, 0]
    for pooling, values in expected.items():
        extractor = _build(name, pooling=pooling)
        _same(extractor.extract([image]), values)
        assert extractor.spec.text == (family in ("siglip", "clip"))
    # Any size: 30 x 21 is padded to 32 x 24.
    extractor = _build(name, pooling="gap")
    padded = torch.zeros(1, 3, 32, 24)
    small = _photo(30, 21)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (processor.image_mean, processor.image_std))
    padded[:, :, :30, :21] = (torch.from_numpy(small).permute(2, 0, 1)[None] / 255 - mean) / std
    flexible = {"interpolate_pos_encoding": True} if family in ("siglip", "clip") else {}
    tokens = getattr(model, "vision_model", model)(pixel_values=padded, **flexible).last_hidden_state
    _same(extractor.extract([small]), tokens[:, prefix:].mean(1))


@pytest.mark.parametrize("family", ["siglip", "clip"])
def test_transformers_texts(tmp_path: Path, family: str, caplog: pytest.LogCaptureFixture) -> None:
    transformers = pytest.importorskip("transformers")
    config, processor = _family(family)
    folder = _model_folder(tmp_path, config, processor)
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(config).eval()
    texts = ["a red can of soup", "a poster", "red " * 11]
    extractor = _build(f"transformers:{folder}")
    assert isinstance(extractor, TextExtractor)
    with caplog.at_level(logging.WARNING):
        found = extractor.extract_text(texts)
    assert "reads 12 tokens; 1 of 3 texts are longer" in caplog.text
    pad = len(WORDS[:1])
    rows = [[2, *[WORDS.index(w) for w in text.split()][:10], 3] for text in texts]
    ids = torch.tensor([row + [pad] * (12 - len(row)) for row in rows])
    # SigLIP reads its padding; CLIP masks it.
    mask = {} if family == "siglip" else {"attention_mask": (ids != pad).long()}
    if family == "siglip":
        expected = model.text_model(input_ids=ids).pooler_output
    else:
        expected = model.text_projection(model.text_model(input_ids=ids, **mask).pooler_output)
    _same(found, expected)


def test_transformers_weights_from_a_file_and_a_folder(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config, processor = _family("dinov2")
    folder = _model_folder(tmp_path, config, processor)
    torch.manual_seed(4)
    model = transformers.AutoModel.from_config(config).eval()
    model.save_pretrained(folder)
    by_folder = build(f"transformers:{folder}", ExtractorOptions(device="cpu"))
    by_file = _build(f"transformers:{folder}", weights=str(tmp_path / "model.safetensors"))
    assert by_folder.spec.revision == by_file.spec.revision
    image = _photo(32, 32)
    pixels = processor(images=Image.fromarray(image), return_tensors="pt")["pixel_values"]
    _same(by_folder.extract([image]), model(pixel_values=pixels).pooler_output)
    np.testing.assert_array_equal(by_folder.extract([image]), by_file.extract([image]))


# --- torchvision and torch.hub ------------------------------------------------------------------------


def test_torchvision() -> None:
    torchvision = pytest.importorskip("torchvision")
    image = _photo(224, 224)
    torch.manual_seed(0)
    model = torchvision.models.resnet18(weights=None).eval()
    transform = torchvision.models.ResNet18_Weights.DEFAULT.transforms(resize_size=224)
    maps = torch.nn.Sequential(*list(model.children())[:-2])(transform(Image.fromarray(image))[None])
    assert maps.shape[1:] == (512, 7, 7)
    for pooling, values in {"head": maps.mean((2, 3)), "gem": _gem(maps), "mac": maps.amax((2, 3))}.items():
        _same(_build("torchvision:resnet18", pooling=pooling).extract([image]), values)


def test_torchvision_with_a_classifier_of_two_layers() -> None:
    torchvision = pytest.importorskip("torchvision")
    image = _photo(224, 224)
    torch.manual_seed(0)
    model = torchvision.models.mobilenet_v3_small(weights=None).eval()
    model.classifier[3] = torch.nn.Identity()
    transform = torchvision.models.MobileNet_V3_Small_Weights.DEFAULT.transforms(resize_size=224)
    expected = model(transform(Image.fromarray(image))[None])
    assert expected.shape == (1, 1024)
    _same(_build("torchvision:mobilenet_v3_small").extract([image]), expected)


HUBCONF = """
import torch

def small(pretrained=True):
    if pretrained:
        raise RuntimeError("asked to fetch weights")
    return torch.nn.Conv2d(3, 6, 5, stride=4)

def none(pretrained=True):
    return "no network"
"""


def test_torch_hub_needs_trust(tmp_path: Path) -> None:
    (tmp_path / "hubconf.py").write_text(HUBCONF)
    name = f"torchhub:{tmp_path}/small"
    with pytest.raises(ConfigError, match="If you trust it, set weights to 'trust-repo'"):
        _build(name)
    with pytest.raises(ExtractionError, match="asked to fetch weights"):
        _build(name, weights="trust-repo")
    with pytest.raises(ExtractionError, match="returned a str, not a network"):
        _build(f"torchhub:{tmp_path}/none", weights="trust-repo:none")
    image = _photo(40, 32)
    extractor = _build(name, weights="trust-repo:none", pooling="gap")
    torch.manual_seed(0)
    model = torch.nn.Conv2d(3, 6, 5, stride=4)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    pixels = (torch.from_numpy(image).permute(2, 0, 1) / 255 - mean) / std
    _same(extractor.extract([image]), model(pixels[None]).mean((2, 3)))
    path = tmp_path / "weights.pth"
    torch.save(model.state_dict(), path)
    from_file = _build(name, weights=f"trust-repo:{path}", pooling="gap", seed=8)
    np.testing.assert_array_equal(from_file.extract([image]), extractor.extract([image]))
