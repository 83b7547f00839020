"""Adaptation layers, labels and the closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ilion.adapt import Adapter, identity, is_identity, load_labels, load_layer, make_labels, save_layer
from ilion.adapt.closed import lda, pca_whitening, ridge, wccn
from ilion.adapt.layer import Correction
from ilion.adapt.scatter import class_means, spectrum
from ilion.errors import ArtifactError, ConfigError, DatasetError
from ilion.types import Float32, Int64


def unit(values: Float32) -> Float32:
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


def random_layer(rng: np.random.Generator, out: int, dim: int, *, bias: bool = True) -> Adapter:
    offset = rng.standard_normal(out) if bias else np.zeros(out)
    return Adapter(rng.standard_normal((out, dim)).astype(np.float32), offset.astype(np.float32))


def photos(rng: np.random.Generator, n: int = 60, dim: int = 10, classes: int = 6) -> tuple[Float32, Int64]:
    labels = np.arange(n) % classes
    centres = rng.standard_normal((classes, dim))
    noise = rng.standard_normal((n, dim)) * np.linspace(0.1, 1.5, dim)
    return unit((centres[labels] + noise).astype(np.float32)), labels


def test_a_layer_is_the_definition_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    layer = random_layer(rng, 3, 7)
    values = rng.standard_normal((50, 7)).astype(np.float16)
    expected = values.astype(np.float64) @ layer.weight.astype(np.float64).T + layer.bias
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    whole = layer.apply(values)
    np.testing.assert_allclose(whole, expected, atol=1e-6)
    assert whole.dtype == np.float32
    monkeypatch.setattr("ilion.adapt.layer.BLOCK", 7)
    np.testing.assert_allclose(layer.apply(values), whole, atol=1e-6)


def test_zero_descriptors_stay_zero_and_so_does_what_the_layer_cancels() -> None:
    layer = Adapter(np.array([[1, 0], [0, 0]], np.float32), np.zeros(2, np.float32))
    biased = Adapter(np.eye(2, dtype=np.float32), np.ones(2, np.float32))
    values = np.array([[0, 0], [0, 1], [1, 0]], np.float32)
    assert layer.apply(values).tolist() == [[0, 0], [0, 0], [1, 0]]
    assert biased.apply(values)[0].tolist() == [0, 0]
    assert layer.apply(np.empty((0, 2), np.float32)).shape == (0, 2)


def test_a_correction_is_its_dense_form() -> None:
    rng = np.random.default_rng(1)
    layer = Correction(
        rng.standard_normal((2, 6)).astype(np.float32),
        rng.standard_normal((6, 2)).astype(np.float32),
        rng.standard_normal(6).astype(np.float32),
    )
    values = unit(rng.standard_normal((9, 6)).astype(np.float32))
    np.testing.assert_allclose(layer.apply(values), layer.dense().apply(values), atol=1e-6)


def test_what_is_the_identity() -> None:
    assert is_identity(identity(3))
    assert is_identity(identity(3).dense())
    assert not is_identity(Adapter(-np.eye(2, dtype=np.float32), np.zeros(2, np.float32)))
    assert not is_identity(Adapter(np.eye(2, dtype=np.float32), np.ones(2, np.float32)))
    assert not is_identity(Adapter(np.ones((1, 2), np.float32), np.zeros(1, np.float32)))


def test_a_wrong_layer_or_descriptor_is_named() -> None:
    good = np.eye(2, dtype=np.float32)
    with pytest.raises(ArtifactError, match="bias"):
        Adapter(good, np.zeros(3, np.float32))
    with pytest.raises(ArtifactError, match="float64"):
        Adapter(np.eye(2), np.zeros(2, np.float32))  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match="NaN"):
        Adapter(good * np.nan, np.zeros(2, np.float32))
    with pytest.raises(ArtifactError, match="down"):
        Correction(good, np.zeros((3, 2), np.float32), np.zeros(3, np.float32))
    layer = Adapter(good, np.zeros(2, np.float32))
    with pytest.raises(ArtifactError, match="2 dimensions"):
        layer.apply(np.ones((1, 3), np.float32))
    with pytest.raises(ArtifactError, match="row 1"):
        layer.apply(np.array([[1, 0], [np.inf, 0]], np.float32))


def test_a_layer_is_frozen_and_its_digest_follows_its_numbers() -> None:
    values = np.eye(2, dtype=np.float32)
    layer = Adapter(values, np.zeros(2, np.float32))
    values[0, 0] = 7
    assert layer.weight[0, 0] == 1
    with pytest.raises(ValueError):
        layer.weight[0, 0] = 2
    other = Adapter(values, np.zeros(2, np.float32))
    assert layer.digest != other.digest
    assert layer.digest == Adapter(np.eye(2, dtype=np.float32), np.zeros(2, np.float32)).digest


@pytest.mark.parametrize("name", ["layer.npz", "layer.pt"])
def test_a_layer_comes_back_from_its_file(tmp_path: Path, name: str) -> None:
    layer = random_layer(np.random.default_rng(3), 4, 6)
    save_layer(tmp_path / name, layer, {"method": "test"})
    back = load_layer(tmp_path / name)
    assert back.layer.digest == layer.digest
    assert back.facts.get("method") == ("test" if name.endswith("npz") else None)
    assert layer.digest in (tmp_path / "layer.json").read_text()


def test_a_correction_comes_back_in_both_kinds_of_file(tmp_path: Path) -> None:
    values, labels = photos(np.random.default_rng(4))
    layer = wccn(values, labels, shrinkage=0.5)
    save_layer(tmp_path / "layer.npz", layer)
    save_layer(tmp_path / "layer.pt", layer)
    assert load_layer(tmp_path / "layer.npz").layer.digest == layer.digest
    np.testing.assert_allclose(
        load_layer(tmp_path / "layer.pt").layer.apply(values), layer.apply(values), atol=1e-6
    )


def test_files_that_hold_no_layer_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", something=np.zeros(3))
    with pytest.raises(ArtifactError, match="something"):
        load_layer(tmp_path / "other.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "other.npz").read_bytes()[:50])
    with pytest.raises(ArtifactError, match="damaged"):
        load_layer(tmp_path / "cut.npz")
    np.savez(tmp_path / "facts.npz", weight=np.eye(2), bias=np.zeros(2), facts=np.zeros(4, np.uint8))
    with pytest.raises(ArtifactError, match="facts"):
        load_layer(tmp_path / "facts.npz")
    with pytest.raises(ArtifactError, match="no such file"):
        load_layer(tmp_path / "none.npz")
    with pytest.raises(ArtifactError, match=r"\.npz"):
        save_layer(tmp_path / "layer.txt", identity(2))


# --- labels ---


def test_labels_number_pairs_of_class_and_domain(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("path,class,domain\na.jpg,7,shop\nb.jpg,7,web\nsub/c.jpg,9,shop\n\n")
    labels = load_labels(tmp_path / "l.csv")
    assert labels.paths == ("a.jpg", "b.jpg", "sub/c.jpg")
    assert labels.class_names == ("shop/7", "web/7", "shop/9")
    assert labels.domains.tolist() == [0, 1, 0]
    part = labels.take(np.array([2, 0]))
    assert part.class_names == ("shop/9", "shop/7")
    assert part.classes.tolist() == [0, 1]
    (tmp_path / "two.csv").write_text("a.jpg,x\nb.jpg,y\n")
    assert load_labels(tmp_path / "two.csv").class_names == ("x", "y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no labelled photo"),
        ("a.jpg\n", "l.csv:1"),
        ("a.jpg,1,0\n../b.jpg,1,0\n", "l.csv:2.*leaves the folder"),
        ("/a.jpg,1,0\n", "leaves the folder"),
        ("a.jpg,1,0\na.jpg,2,0\n", "labelled twice"),
        ("a.jpg,,0\n", "l.csv:1"),
    ],
)
def test_wrong_labels_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        load_labels(tmp_path / "l.csv")
    with pytest.raises(DatasetError, match="no such file"):
        load_labels(tmp_path / "none.csv")


def test_labels_need_equal_lengths() -> None:
    with pytest.raises(ValueError):
        make_labels(["a"], ["x", "y"])


# --- closed forms ---


def test_class_means_are_the_means_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    values, labels = rng.standard_normal((40, 3)).astype(np.float16), rng.permutation(np.arange(40) % 7)
    monkeypatch.setattr("ilion.adapt.scatter.BLOCK", 9)
    found = class_means(values, labels)
    for c in range(7):
        np.testing.assert_allclose(found.means[c], values[labels == c].astype(np.float64).mean(axis=0))
    assert found.counts.tolist() == np.bincount(labels).tolist()
    with pytest.raises(DatasetError, match="class 1 has no descriptor"):
        class_means(values[:2], np.array([0, 2]))
    with pytest.raises(DatasetError, match="negative"):
        class_means(values[:2], np.array([0, -1]))
    with pytest.raises(DatasetError, match="do not fit"):
        class_means(values, labels[:3])


def test_the_spectrum_is_the_same_from_either_side() -> None:
    """Few descriptors go through the matrix of their products, many through the covariance."""
    rng = np.random.default_rng(6)
    low = rng.standard_normal((30, 4)) @ rng.standard_normal((4, 8))
    many = spectrum(low, low.mean(axis=0))
    wide = np.hstack([low, np.zeros((30, 40))])
    few = spectrum(wide, wide.mean(axis=0))
    assert len(many.variances) == len(few.variances) == 4
    np.testing.assert_allclose(many.variances, few.variances)
    np.testing.assert_allclose(np.abs((few.directions[:, :8] * many.directions).sum(axis=1)), 1.0)
    np.testing.assert_allclose(few.directions @ few.directions.T, np.eye(4), atol=1e-9)


def test_full_shrinkage_is_the_identity_and_less_moves_away_from_it() -> None:
    values, labels = photos(np.random.default_rng(7), n=20, dim=64)
    assert is_identity(wccn(values, labels, shrinkage=1))
    moved = [
        np.abs(wccn(values, labels, shrinkage=s).apply(values) - values).max() for s in (0.999, 0.9, 0.5)
    ]
    assert 0 < moved[0] < moved[1] < moved[2]


def test_what_cannot_be_learnt_is_said() -> None:
    values, labels = photos(np.random.default_rng(8), n=12, dim=30)
    with pytest.raises(ConfigError, match="shrinkage 0"):
        wccn(values, labels, shrinkage=0)
    with pytest.raises(DatasetError, match="one photo only"):
        wccn(values, np.arange(12), shrinkage=0.5)
    with pytest.raises(DatasetError, match="two classes"):
        lda(values, np.zeros(12, np.int64))
    with pytest.raises(DatasetError, match="do not scatter"):
        pca_whitening(np.ones((5, 3), np.float32))
    with pytest.raises(ConfigError, match="alpha"):
        ridge(values, labels, alpha=0)
    with pytest.raises(ConfigError, match="shrinkage"):
        lda(values, labels, shrinkage=2)


def test_too_much_to_decompose_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    values, labels = photos(np.random.default_rng(9))
    monkeypatch.setattr("ilion.adapt.scatter.LARGEST", 5)
    monkeypatch.setattr("ilion.adapt.closed.LARGEST", 5)
    with pytest.raises(ConfigError, match="too large"):
        pca_whitening(values)
    with pytest.raises(ConfigError, match="too many"):
        ridge(values, labels)
