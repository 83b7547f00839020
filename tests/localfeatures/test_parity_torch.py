"""Dense tokens and learned keypoints against the libraries that serve them; small models, random weights."""

from __future__ import annotations

import importlib.util
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ilion.descriptors.packages import Package
from ilion.descriptors.rootsift import rootsift
from ilion.errors import ArtifactError, ConfigError, ExtractionError
from ilion.localfeatures import build
from ilion.localfeatures.base import LocalExtractor, LocalOptions
from ilion.localfeatures.kornia import KINDS
from ilion.localfeatures.tokens import record_attention
from ilion.reranking import glue
from ilion.reranking.lightglue import LightGlue
from ilion.types import RGB, Float32, LocalFeatures

torch: Any = pytest.importorskip("torch", reason="the 'torch' extra is not installed")
pytestmark = pytest.mark.extras

TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def _quiet_numerics() -> Any:
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield


def _photo(height: int, width: int, seed: int = 0) -> RGB:
    """Smooth colours with bright spots."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    image = np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    for y, x in zip(rng.integers(8, height - 8, 25), rng.integers(8, width - 8, 25), strict=True):
        image[y - 2 : y + 3, x - 2 : x + 3] = rng.integers(0, 256, 3)
    return image


def _build(name: str, **options: Any) -> LocalExtractor:
    return build(name, LocalOptions(**({"weights": "none", "device": "cpu"} | options)))


def _close(found: Any, expected: Any, *, atol: float = TOLERANCE, rtol: float = 0.0) -> None:
    np.testing.assert_allclose(found, expected, atol=atol, rtol=rtol)


def _same_tokens(found: LocalFeatures, tokens: Any, weights: Any, patch: int, columns: int) -> None:
    """Compare features with a library's patch tokens (T, d), by the patch in which each keypoint lies."""
    cells = np.floor(found.keypoints / patch).astype(int)
    _close(found.keypoints, cells * patch + (patch - 1) / 2, atol=1e-4)
    rows = cells[:, 1] * columns + cells[:, 0]
    assert len(set(rows.tolist())) == len(rows)
    unit = torch.nn.functional.normalize(tokens.float(), dim=-1).numpy()
    _close(found.descriptors, unit[rows], atol=TOLERANCE)
    _close(found.scores, weights.numpy()[rows], rtol=1e-4, atol=TOLERANCE)
    assert found.descriptors.dtype == found.keypoints.dtype == found.scores.dtype == np.float32
    # the heaviest ones, heaviest first
    _close(found.scores, np.sort(weights.numpy())[::-1][: len(rows)], rtol=1e-4)
    _close(found.scales, patch, rtol=1e-5)


# --- tokens ---------------------------------------------------------------------------------------------


def _timm(name: str, image: RGB, **arguments: Any) -> tuple[Any, Any]:
    """The library's model and its own preparation of an image that has the right size already."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0, **arguments).eval()
    config = timm.data.resolve_model_data_config(model)
    config |= {"input_size": (3, *image.shape[:2]), "crop_pct": 1.0}
    return model, timm.data.create_transform(**config, is_training=False)(Image.fromarray(image))[None]


def _last_softmax(model: Any, attention: Any, pixels: Any) -> Any:
    """The class token's row of an attention of timm, by the library's own unfused path: (S,)."""
    attention.fused_attn = False
    seen: list[Any] = []
    hook = attention.attn_drop.register_forward_hook(lambda module, args, output: seen.append(output))
    model(pixels)
    hook.remove()
    return seen[-1][0, :, 0].mean(0)


TIMM = ["vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3"]


@pytest.mark.parametrize("name", TIMM)
@pytest.mark.parametrize("selection", ["attention", "norm"])
def test_timm_tokens_are_the_librarys(name: str, selection: str) -> None:
    patch = 14 if "14" in name else 16
    image = _photo(5 * patch, 8 * patch)
    model, pixels = _timm(name, image, dynamic_img_size=True)
    tokens = model.forward_features(pixels)[0, model.num_prefix_tokens :]
    if selection == "norm":
        weights = tokens.norm(dim=1)
    else:
        weights = _last_softmax(model, model.blocks[-1].attn, pixels)[-40:]
    extractor = _build(f"tokens:timm:{name}", features=15, side=8 * patch, selection=selection)
    [found] = extractor.extract([image])
    assert len(found.keypoints) == 15
    assert extractor.spec.dim == tokens.shape[1]
    _same_tokens(found, tokens, weights, patch, 8)


def test_siglip_weights_are_those_of_its_pooling_query() -> None:
    name = "vit_base_patch16_siglip_224"
    image = _photo(64, 96)
    model, pixels = _timm(name, image, dynamic_img_size=True)
    tokens = model.forward_features(pixels)
    pool = model.attn_pool
    query = pool.q(pool.latent).reshape(pool.num_heads, 1, -1)
    key = pool.kv(tokens).reshape(24, 2, pool.num_heads, -1)[:, 0].transpose(0, 1)
    weights = torch.softmax(query @ key.transpose(1, 2) * pool.scale, dim=-1)[:, 0].mean(0)
    [found] = _build(f"tokens:timm:{name}", side=96).extract([image])
    assert len(found.keypoints) == 24
    _same_tokens(found, tokens[0], weights, 16, 6)


OPEN_CLIP_VISION: dict[str, dict[str, Any]] = {
    "ilion-tokens-vit": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 16},
    "ilion-tokens-timm": {
        "image_size": 224,
        "timm_model_name": "vit_tiny_patch16_224",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "none",
    },
}


@pytest.fixture(scope="module")
def open_clip(tmp_path_factory: pytest.TempPathFactory) -> Any:
    library = pytest.importorskip("open_clip")
    folder = tmp_path_factory.mktemp("configs")
    text = {"context_length": 20, "vocab_size": 100, "width": 192, "heads": 3, "layers": 1}
    for name, vision in OPEN_CLIP_VISION.items():
        config = {"embed_dim": 192, "custom_text": "timm" in name, "vision_cfg": vision, "text_cfg": text}
        (folder / f"{name}.json").write_text(json.dumps(config), encoding="utf-8")
    library.add_model_config(folder)
    return library


@pytest.mark.parametrize("name", OPEN_CLIP_VISION)
@pytest.mark.parametrize("selection", ["attention", "norm"])
def test_openclip_tokens_are_the_librarys(open_clip: Any, name: str, selection: str) -> None:
    torch.manual_seed(0)
    model = open_clip.create_model(name).eval()
    visual = model.visual
    side, patch = (32, 8) if name.endswith("vit") else (224, 16)
    image = _photo(side, side)
    own = open_clip.get_model_preprocess_cfg(model)
    mean, std = (torch.tensor(own[key]).view(3, 1, 1) for key in ("mean", "std"))
    pixels = ((torch.from_numpy(image).permute(2, 0, 1) / 255 - mean) / std)[None]
    if name.endswith("timm"):
        tokens = visual.trunk.forward_features(pixels)[0, 1:]
        weights = _last_softmax(visual.trunk, visual.trunk.blocks[-1].attn, pixels)[1:]
    else:
        last = visual.transformer.resblocks[-1]
        seen: list[Any] = []
        hook = last.ln_1.register_forward_hook(lambda module, args, output: seen.append(output))
        found_by_library = visual.forward_intermediates(
            pixels, indices=1, normalize_intermediates=True, output_fmt="NLC"
        )
        hook.remove()
        tokens = found_by_library["image_intermediates"][0][0]
        weights = last.attn(seen[0], seen[0], seen[0], need_weights=True)[1][0, 0, 1:]
    extractor = _build(f"tokens:openclip:{name}", selection=selection, features=10)
    [found] = extractor.extract([image])
    _same_tokens(found, tokens, tokens.norm(dim=1) if selection == "norm" else weights, patch, side // patch)


def _transformers_folder(folder: Path, kind: str) -> Path:
    transformers = pytest.importorskip("transformers")
    sizes: dict[str, Any] = {
        "hidden_size": 24,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "patch_size": 8,
        "image_size": 32,
    }
    if kind == "dinov2":
        config = transformers.Dinov2Config(**sizes)
    else:
        config = transformers.SiglipVisionConfig(**sizes, intermediate_size=48)
    config.save_pretrained(folder)
    values: dict[str, Any] = {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 32}}
    values |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_resize": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


@pytest.mark.parametrize("kind", ["dinov2", "siglip"])
def test_transformers_tokens_are_the_librarys(kind: str, tmp_path: Path) -> None:
    folder = _transformers_folder(tmp_path, kind)
    transformers = pytest.importorskip("transformers")
    image = _photo(32, 48)
    extractor = _build(f"tokens:transformers:{folder}", side=48)
    torch.manual_seed(0)
    config = transformers.AutoConfig.from_pretrained(folder)
    model = transformers.AutoModel.from_config(config, attn_implementation="eager").eval()
    pixels = (torch.from_numpy(image).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
    if kind == "dinov2":
        output = model(pixel_values=pixels, output_attentions=True)
        weights = output.attentions[-1][0, :, 0, 1:].mean(0)
    else:
        output = model(pixel_values=pixels, interpolate_pos_encoding=True)
        head = getattr(model, "vision_model", model).head
        hidden = output.last_hidden_state
        weights = head.attention(head.probe, hidden, hidden, need_weights=True)[1][0, 0]
    [found] = extractor.extract([image])
    _same_tokens(found, output.last_hidden_state[0, -24:], weights, 8, 6)


def test_keypoints_are_in_pixels_of_the_image_as_given() -> None:
    extractor = _build("tokens:timm:vit_tiny_patch16_224", side=64, features=1000)
    small, wide = _photo(30, 30), np.asarray(_photo(200, 400))
    found = extractor.extract([wide, small, wide])
    assert [f.image_size for f in found] == [(400, 200), (30, 30), (400, 200)]
    # 400 x 200 becomes 64 x 32: 4 x 2 patches of 100 x 100 pixels, with centres at 49.5, 149.5 ...
    centres = {(x, y) for x, y in found[0].keypoints.round(3).tolist()}
    assert centres == {(49.5 + 100 * c, 49.5 + 100 * r) for c in range(4) for r in range(2)}
    _close(found[0].scales, 100, rtol=1e-5)
    # 30 x 30 becomes 32 x 32, not more: 2 x 2 patches of 15 x 15 pixels
    assert {(x, y) for x, y in found[1].keypoints.round(3).tolist()} == {
        (a, b) for a in (7, 22) for b in (7, 22)
    }
    np.testing.assert_array_equal(found[0].descriptors, found[2].descriptors)


def test_fewer_features_are_the_first_of_more() -> None:
    image = _photo(64, 96)
    many, few = (
        _build("tokens:timm:vit_tiny_patch16_224", side=96, features=n).extract([image])[0] for n in (9, 4)
    )
    _close(many.keypoints[:4], few.keypoints)
    _close(many.descriptors[:4], few.descriptors, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tokens", {}, "write tokens:MODEL"),
        ("tokens:timm:vit_tiny_patch16_224", {"selection": "size"}, "'size' is not one of attention, norm"),
        ("tokens:timm:resnet18", {}, "not a vision transformer"),
        ("tokens:torchvision:resnet18", {}, "only models of timm, open_clip and transformers"),
        ("tokens:timm:vit_tiny_patch16_22", {}, "no model"),
        ("tokens:timm:vit_medium_patch16_gap_240", {"side": 48}, "set selection to norm"),
    ],
)
def test_impossible_tokens_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _build(name, **options)


def test_tokens_without_a_class_token_have_norms() -> None:
    extractor = _build("tokens:timm:vit_medium_patch16_gap_240", side=48, selection="norm")
    assert len(extractor.extract([_photo(48, 32)])[0].scores) == 6


def test_recording_attention_changes_no_output() -> None:
    torch.manual_seed(0)
    layer = torch.nn.MultiheadAttention(16, 2, batch_first=True).eval()
    values = torch.randn(2, 5, 16)
    plain, expected = layer(values, values, values, need_weights=True)
    with record_attention() as last:
        seen, _ = layer(values, values, values, need_weights=False)
    _close(seen.numpy(), plain.numpy(), atol=1e-6)
    queries, weights = last[0]
    assert queries == 5
    _close(weights.numpy(), expected[:, 0].numpy(), atol=1e-6)


# --- keypoints of kornia ---------------------------------------------------------------------------------


def _kornia() -> Any:
    return pytest.importorskip("kornia.feature")


def _seeded(make: Any) -> Any:
    torch.manual_seed(0)
    return make().eval()


def _pixels(image: RGB) -> Any:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


def _expected(name: str, image: RGB) -> tuple[Float32, Float32, Float32]:
    """The library's own keypoints, descriptors and scores, in its order."""
    kornia, pixels = _kornia(), _pixels(image)
    if name == "disk":
        [found] = _seeded(kornia.DISK)(pixels, n=20, pad_if_not_divisible=True)
        values = found.keypoints, found.descriptors, found.detection_scores
    elif name == "aliked":
        [found] = _seeded(lambda: kornia.ALIKED("aliked-n16", max_num_keypoints=20))(pixels)
        values = found.keypoints, found.descriptors, found.keypoint_scores
    else:
        keypoints, scores, descriptors = _seeded(lambda: kornia.DeDoDe("L", "B"))(pixels, n=20)
        values = keypoints[0] - 0.5, descriptors[0], scores[0]
    keypoints, descriptors, scores = (value.numpy() for value in values)
    return keypoints, descriptors, scores


@pytest.mark.parametrize("name", ["disk", "aliked", "dedode"])
def test_keypoints_are_the_librarys(name: str) -> None:
    _kornia()
    height, width = (40, 60) if name == "dedode" else (96, 128)
    image = _photo(height, width)
    extractor = _build(name, features=20)
    [found] = extractor.extract([image])
    keypoints, descriptors, scores = _expected(name, image)
    order = np.argsort(-scores, kind="stable")
    assert 10 <= len(found.scores) <= 20
    assert found.descriptors.shape[1] == extractor.spec.dim
    _close(found.keypoints, keypoints[order], atol=1e-4)
    _close(found.descriptors, descriptors[order], atol=TOLERANCE)
    _close(found.scores, scores[order], rtol=1e-5)
    assert (found.keypoints >= -0.5).all()
    assert (found.keypoints <= np.array([width - 0.5, height - 0.5])).all()


@pytest.mark.parametrize("name", ["disk", "aliked"])
def test_a_shrunk_image_has_keypoints_in_its_own_pixels(name: str) -> None:
    _kornia()
    image = _photo(96, 128)
    large = np.repeat(np.repeat(image, 2, axis=0), 2, axis=1)
    extractor = _build(name, features=20, side=128)
    own, shrunk = extractor.extract([image, large])
    assert shrunk.image_size == (256, 192)
    # a pixel becomes 2 x 2 of them, so its centre c comes to lie at 2 c + 0.5
    _close(shrunk.keypoints, 2 * own.keypoints + 0.5, atol=1e-3)
    _close(shrunk.descriptors, own.descriptors, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["disk", "aliked"])
def test_odd_and_featureless_images(name: str) -> None:
    _kornia()
    extractor = _build(name, features=20)
    odd, tiny, strip = _photo(67, 45), np.zeros((3, 3, 3), np.uint8), np.zeros((20, 300, 3), np.uint8)
    found = extractor.extract([odd, tiny, strip, odd])
    assert [len(f.scores) for f in found[1:3]] == [0, 0]
    assert found[1].descriptors.shape == (0, extractor.spec.dim)
    np.testing.assert_array_equal(found[0].keypoints, found[3].keypoints)
    if len(found[0].scores):
        assert found[0].keypoints.max(axis=0)[0] < 45
        assert found[0].keypoints.max(axis=0)[1] < 67


def test_xfeat_without_torch_gives_the_librarys_features(tmp_path: Path) -> None:
    """Random weights give a flat map of keypoints, all below the threshold, unless they are made larger."""
    network = _seeded(lambda: _kornia().XFeat(top_k=20))
    network.net.keypoint_head[-1].weight.mul_(300)
    torch.save(network.net.state_dict(), tmp_path / "xfeat.pt")
    image = _photo(96, 128)
    extractor = _build("xfeat", weights=str(tmp_path / "xfeat.pt"), features=20, selection="response")
    [found] = extractor.extract([image])
    [expected] = network.detectAndCompute(_pixels(image))
    assert 10 <= len(found.scores) <= 20
    _close(found.keypoints, expected["keypoints"].numpy(), atol=1e-4)
    _close(found.descriptors, expected["descriptors"].numpy(), atol=1e-4)
    _close(found.scores, expected["scores"].numpy(), rtol=1e-4)


def test_aliked_without_torch_gives_the_librarys_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kornia leaves out what becomes a maximum beside a stronger one, which the authors keep."""
    network = _seeded(lambda: _kornia().ALIKED("aliked-n16", max_num_keypoints=5000))
    torch.save(network.state_dict(), tmp_path / "aliked.pth")
    image = _photo(100, 130)
    [expected] = network(_pixels(image))
    _hide_torch(monkeypatch)
    [found] = _build("aliked", weights=str(tmp_path / "aliked.pth"), features=5000).extract([image])
    places = expected.keypoints.numpy()
    assert len(found.scores) > len(places) > 50
    apart = np.linalg.norm(found.keypoints[:, None] - places, axis=2)
    own = apart.argmin(axis=0)
    assert len(set(own.tolist())) == len(places)
    _close(apart.min(axis=0), 0, atol=1e-3)
    _close(found.scores[own], expected.keypoint_scores.numpy(), rtol=1e-4)
    _close(found.descriptors[own], expected.descriptors.numpy(), atol=1e-4)


def _hide_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of weights go to kornia where torch is installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))


def test_weights_come_from_a_file(tmp_path: Path) -> None:
    network = _seeded(_kornia().DISK)
    torch.save(network.state_dict(), tmp_path / "disk.pth")
    torch.save({"extractor": network.state_dict()}, tmp_path / "published.pth")
    revisions = {
        _build("disk", weights=weights, seed=seed).spec.revision
        for weights, seed in (
            ("none", 0),
            (str(tmp_path / "disk.pth"), 1),
            (str(tmp_path / "published.pth"), 1),
        )
    }
    assert len(revisions) == 1
    assert _build("disk", seed=1).spec.revision not in revisions
    with pytest.raises(ExtractionError, match="does not hold the state dict"):
        _build("aliked", weights=str(tmp_path / "disk.pth"))
    with pytest.raises(ConfigError, match="there is no file"):
        _build("disk", weights=str(tmp_path / "missing.pth"))


def test_a_download_is_announced_and_its_failure_explained(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    kornia = _kornia()
    monkeypatch.setattr(Package, "find", lambda self, file: None)
    for network in (kornia.DISK, kornia.ALIKED):
        monkeypatch.setattr(network, "from_pretrained", offline)
    monkeypatch.setattr("kornia.feature.lightglue.load_state_dict_from_url", offline)
    with caplog.at_level(logging.WARNING):
        for name in ("disk", "aliked"):
            with pytest.raises(ExtractionError, match=f"{name}: cannot fetch the weights: no route to host"):
                _build(name, weights=None)
        with pytest.raises(ExtractionError, match="set weights to that file"):
            LightGlue("disk", device="cpu")
    assert "about 4 MB, licence: Apache-2.0" in caplog.text
    assert "lightglue: fetching weights unless they are cached: about 48 MB" in caplog.text


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("disk:wide", {}, "'wide' is not one of depth, epipolar"),
        ("disk", {"selection": "scale"}, "it keeps the strongest"),
        ("disk", {"precision": "float16"}, "leave it at float32"),
        ("disk", {"device": "tpu"}, "device 'tpu'"),
    ],
)
def test_impossible_keypoints_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    _kornia()
    with pytest.raises(ConfigError, match=message):
        _build(name, **options)


# --- LightGlue -------------------------------------------------------------------------------------------


def _open_threshold(matcher: LightGlue) -> None:
    """Random weights are sure of nothing; keep every mutual best pair, and run all layers."""
    matcher.network.conf.filter_threshold = 0.0
    matcher.network.conf.depth_confidence = matcher.network.conf.width_confidence = -1


def test_lightglue_gives_the_librarys_matches() -> None:
    kornia = _kornia()
    rng = np.random.default_rng(0)

    def features(count: int, size: tuple[int, int]) -> LocalFeatures:
        keypoints = (rng.random((count, 2)) * np.array(size)).astype(np.float32)
        values = rng.standard_normal((count, 128)).astype(np.float32)
        values /= np.linalg.norm(values, axis=1, keepdims=True)
        return LocalFeatures(keypoints, values, np.ones(count, np.float32), size)

    query, image, empty = features(12, (100, 80)), features(15, (60, 90)), features(0, (10, 10))
    matcher = LightGlue("disk", weights="none", device="cpu")
    _open_threshold(matcher)
    found, none = matcher.match_many(query, [image, empty])
    assert len(none) == 0
    torch.manual_seed(0)
    network = kornia.LightGlue(
        None, input_dim=128, filter_threshold=0.0, depth_confidence=-1, width_confidence=-1
    )
    network.eval()
    given = {
        f"image{i}": {
            "keypoints": torch.from_numpy(f.keypoints)[None],
            "descriptors": torch.from_numpy(f.descriptors)[None],
            "image_size": torch.tensor([f.image_size]),
        }
        for i, f in enumerate((query, image))
    }
    expected = network(given)
    forward = expected["matches0"][0].numpy()
    assert len(found) == (forward >= 0).sum() > 3
    np.testing.assert_array_equal(found.query_rows, np.flatnonzero(forward >= 0))
    np.testing.assert_array_equal(found.database_rows, forward[forward >= 0])
    scores = expected["matching_scores0"][0].numpy()[forward >= 0]
    _close(found.similarities, scores, atol=TOLERANCE)


@pytest.mark.parametrize("kind", ["rootsift", "disk", "xfeat"])
def test_lightglue_without_torch_gives_the_librarys_matches(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _kornia()
    random = LightGlue(kind, weights="none", device="cpu")
    torch.save(random.network.state_dict(), tmp_path / "glue.pth")
    image = _photo(120, 160)
    if kind == "rootsift":
        query = rootsift(image, 60)
    else:
        rng = np.random.default_rng(0)
        values = rng.standard_normal((60, DIMS[kind])).astype(np.float32)
        places = (rng.random((60, 2)) * (160, 120)).astype(np.float32)
        query = LocalFeatures(places, values, np.ones(60, np.float32), (160, 120))
    rest = query.take(np.arange(len(query.scores))[::-1][:50])
    _hide_torch(monkeypatch)
    ours = LightGlue(kind, weights=str(tmp_path / "glue.pth"), device="cpu")
    # random weights are sure of nothing: keep every mutual best pair
    monkeypatch.setattr(glue, "THRESHOLD", 0.0)
    random.network.conf.filter_threshold = 0.0
    [expected], [found] = (each.match_many(query, [rest]) for each in (random, ours))
    assert len(expected) > 5
    np.testing.assert_array_equal(found.query_rows, expected.query_rows)
    np.testing.assert_array_equal(found.database_rows, expected.database_rows)
    _close(found.similarities, expected.similarities, atol=TOLERANCE)


def test_lightglue_takes_rootsift_and_says_what_it_lacks() -> None:
    _kornia()
    image = _photo(120, 160)
    features = rootsift(image, 40)
    matcher = LightGlue("rootsift", weights="none", device="cpu")
    _open_threshold(matcher)
    [found] = matcher.match_many(features, [features])
    assert len(found) > 0
    assert found.query_rows.dtype == np.int64
    bare = LocalFeatures(features.keypoints, features.descriptors, features.scores, features.image_size)
    with pytest.raises(ArtifactError, match="no scales and angles"):
        matcher.match_many(bare, [bare])
    packed = LocalFeatures(
        features.keypoints, np.zeros((len(features.scores), 16), np.uint8), features.scores, (160, 120)
    )
    with pytest.raises(ArtifactError, match=r"database image 0 have shape \(\d+, 16\).*not compressed"):
        matcher.match_many(features, [packed])


DIMS = {**{name: kind.dim for name, kind in KINDS.items()}, "rootsift": 128, "xfeat": 64}


@pytest.mark.parametrize("features", DIMS)
def test_lightglue_fits_each_kind_of_features(features: str) -> None:
    _kornia()
    matcher = LightGlue(features, weights="none", device="cpu")
    assert matcher.network.conf.input_dim == DIMS[features]


def test_lightglue_has_no_weights_for_other_features() -> None:
    _kornia()
    with pytest.raises(ConfigError, match="'orb' is not one of rootsift, disk"):
        LightGlue("orb", weights="none")
