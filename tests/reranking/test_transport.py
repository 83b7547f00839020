"""Optimal transport between features, and the network over it, against their definitions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ilion.errors import ArtifactError, ConfigError, ExtractionError
from ilion.reranking.elvis import Elvis, ElvisScorer, gelu, load, parameter_shapes
from ilion.reranking.transport import TransportScorer, transport
from ilion.storage.statedict import write_state_dict
from ilion.types import Float64, LocalFeatures


def features(values: Any) -> LocalFeatures:
    values = np.asarray(values)
    m = len(values)
    return LocalFeatures(np.zeros((m, 2), np.float32), values, np.ones(m, np.float32), (99, 99))


def lse(values: Float64, axis: int) -> Float64:
    top = values.max(axis=axis, keepdims=True)
    return np.asarray((top + np.log(np.exp(values - top).sum(axis=axis, keepdims=True))).squeeze(axis))


def naive_plan(s: Float64, t: float, rounds: int, spare: tuple[Float64, Float64, float] | None) -> Float64:
    """Sinkhorn in the log domain, in masses that sum to one, as SuperGlue has it."""
    m, n = s.shape
    a, b = np.full(m, -math.log(m + n)), np.full(n, -math.log(m + n))
    if spare:
        s = np.block([[s, spare[0][:, None]], [spare[1][None], np.full((1, 1), spare[2])]])
        a, b = np.append(a, math.log(n) - math.log(m + n)), np.append(b, math.log(m) - math.log(m + n))
    s = s / t
    v = np.zeros(len(b))
    for _ in range(rounds):
        u = a - lse(s + v[None], 1)
        v = b - lse(s + u[:, None], 0)
    return np.exp(s + u[:, None] + v[None] + math.log(m + n))[:m, :n]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("with_spare", [False, True])
def test_plans_equal_the_definition(seed: int, with_spare: bool) -> None:
    rng = np.random.default_rng(seed)
    m, n = rng.integers(1, 30, 2)
    s = rng.uniform(-1, 1, (m, n))
    spare = (rng.uniform(-1, 1, m), rng.uniform(-1, 1, n), float(rng.normal())) if with_spare else None
    t = float(rng.choice([0.02, 0.1, 1.0]))
    expected = naive_plan(s, t, 10, spare)
    np.testing.assert_allclose(transport(s, temperature=t, spare=spare), expected, rtol=1e-9, atol=1e-12)
    found = transport(s, temperature=t, iterations=300)
    np.testing.assert_allclose(found.sum(axis=0), 1)
    if t >= 0.1:
        np.testing.assert_allclose(found.sum(axis=1), n / m, rtol=1e-3)


def test_a_repeated_pattern_counts_once() -> None:
    """Ten equal features of a query have one counterpart in the image: Chamfer counts ten, transport one."""
    rng = np.random.default_rng(0)
    pattern = rng.standard_normal(16)
    query = features(np.concatenate([[pattern] * 10, rng.standard_normal((10, 16))]))
    wall = features(np.concatenate([[pattern], rng.standard_normal((19, 16))]))
    same = features(np.asarray(query.descriptors, np.float64) + 0.1 * rng.standard_normal((20, 16)))
    scores = TransportScorer().score(query, [wall, same, features(np.empty((0, 16)))]).scores
    assert scores[1] > scores[0]
    assert np.isnan(scores[2])
    assert 0 <= scores[0] <= 1
    bits = rng.integers(0, 256, (20, 8), np.uint8)
    other = rng.integers(0, 256, (20, 8), np.uint8)
    found = TransportScorer("hamming").score(features(bits), [features(bits), features(other)]).scores
    assert found[0] > 0.9 > found[1]


def random_weights(seed: int, local: int = 24, dim: int = 128, embed: int = 16) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    shapes = parameter_shapes(local, dim, embed)
    found = {name: rng.normal(scale=0.3, size=shape).astype(np.float32) for name, shape in shapes.items()}
    extra = {"g.0.weight": (64, 1), "g.0.bias": (64,), "g.2.weight": (1, 64), "g.2.bias": (1,)}
    return found | {name: np.zeros(shape, np.float32) for name, shape in extra.items()}


def naive_score(w: dict[str, Any], query: Float64, image: Float64) -> float:
    """The forward pass of the paper, number by number where it is not a product."""

    def linear(x: Float64, name: str) -> Float64:
        return np.asarray(x @ np.asarray(w[f"{name}.weight"], np.float64).T + w[f"{name}.bias"])

    def norm(x: Float64, name: str, eps: float) -> Float64:
        scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
        return np.asarray(scaled * w[f"{name}.weight"] + w[f"{name}.bias"])

    def exact_gelu(x: Float64) -> Float64:
        return np.asarray(np.vectorize(lambda v: 0.5 * v * (1 + math.erf(v / math.sqrt(2))))(x))

    sides = []
    for values in (query, image):
        x = norm(linear(values, "remap_local.0"), "remap_local.1", 1e-5)
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        bins = np.tanh(linear(exact_gelu(linear(x, "dust_bin_mlp.0")), "dust_bin_mlp.2"))[:, 0]
        sides.append((x, bins))
    (q, of_q), (d, of_d) = sides
    plan = naive_plan(q @ d.T, 1 / 10.0, 10, (of_q, of_d, float(w["dust_bin"])))
    best = np.concatenate([plan.max(1), plan.max(0)])[:, None]
    x = linear(exact_gelu(norm(linear(best, "f.0"), "f.1", 1e-6)), "f.3")
    return float((1 / (1 + np.exp(-x))).sum())


@pytest.mark.parametrize("seed", range(6))
def test_elvis_equals_its_definition_from_a_file(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = random_weights(seed)
    path = tmp_path / "elvis.pt"
    write_state_dict(path, {f"module.{name}": array for name, array in weights.items()})
    scorer = ElvisScorer(load(path))
    query = rng.standard_normal((int(rng.integers(1, 20)), 24)).astype(np.float32)
    images = [rng.standard_normal((n, 24)).astype(np.float32) for n in (1, 7, 30)]
    found = scorer.logits(features(query), [features(image) for image in images])
    expected = [naive_score(weights, query.astype(float), image.astype(float)) for image in images]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    scores = scorer.score(features(query), [features(images[0]), features(np.empty((0, 24)))]).scores
    assert 0 < scores[0] < 1
    assert np.isnan(scores[1])


def test_the_normal_function_is_exact_enough() -> None:
    values = np.linspace(-12, 12, 5001)
    exact = [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in values]
    np.testing.assert_allclose(gelu(values), exact, atol=1e-10)


def test_other_networks_are_refused(tmp_path: Path) -> None:
    weights = random_weights(0)
    path = tmp_path / "x.pt"
    for change, message in (
        ({"remap_local.0.W": np.zeros((3, 3), np.float32)}, "binarised"),
        ({"f.3.bias": np.zeros(3, np.float32)}, r"f\.3\.bias is \(3,\), not \(1,\)"),
        ({"decoder.x": np.zeros(1, np.float32)}, "decoder.x is not known"),
    ):
        write_state_dict(path, weights | change)
        with pytest.raises(ExtractionError, match=message):
            load(path)
    write_state_dict(path, {"layer.weight": np.zeros((2, 2), np.float32)})
    with pytest.raises(ExtractionError, match="not an ELViS network"):
        load(path)
    with pytest.raises(ConfigError, match=r"needs rerank\.weights"):
        ElvisScorer.check("rootsift", "")
    network = Elvis({name: np.asarray(v, np.float64) for name, v in weights.items()})
    with pytest.raises(ArtifactError, match="takes 24"):
        network.describe(np.zeros((2, 5)))
