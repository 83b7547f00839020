"""QuARI against its definition, written out token by token, and what its files may hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ilion.errors import ArtifactError, ConfigError, DatasetError, ExtractionError
from ilion.reranking.quari import Quari, QuariConfig, load, parameter_shapes, save
from ilion.storage.statedict import read_state_dict, write_state_dict
from ilion.types import Float64

SMALL = QuariConfig(
    dim=10, rank=3, width=16, steps=3, heads=4, layers=2, residual=0.3, scaled=True, anchor=0.7
)


def random_network(config: QuariConfig, seed: int) -> Quari:
    rng = np.random.default_rng(seed)
    return Quari(
        config,
        {n: rng.normal(scale=0.4, size=s).astype(np.float32) for n, s in parameter_shapes(config).items()},
    )


def naive_cosines(network: Quari, query: Float64, images: Float64) -> Float64:
    """The forward pass of the paper with all tokens of both factors, and the whole matrix."""
    c, w = network.config, {name: a.astype(np.float64) for name, a in network.weights.items()}

    def linear(x: Float64, name: str) -> Float64:
        return np.asarray(x @ w[f"{name}.weight"].T + w[f"{name}.bias"])

    def norm(x: Float64, name: str) -> Float64:
        scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return np.asarray(scaled * w[f"{name}.weight"] + w[f"{name}.bias"])

    def gelu(x: Float64) -> Float64:
        return np.asarray(np.vectorize(lambda v: 0.5 * v * (1 + math.erf(v / math.sqrt(2))))(x))

    def attention(x: Float64, name: str) -> Float64:
        q, k, v = np.split(x @ w[f"{name}.in_proj_weight"].T + w[f"{name}.in_proj_bias"], 3, axis=1)
        each, parts = c.width // c.heads, []
        for head in range(c.heads):
            own = slice(head * each, (head + 1) * each)
            found = np.exp(q[:, own] @ k[:, own].T / math.sqrt(each))
            parts.append(found / found.sum(1, keepdims=True) @ v[:, own])
        return linear(np.concatenate(parts, 1), f"{name}.out_proj")

    rates = [10000 ** (-2 * i / c.width) for i in range(c.width // 2)]
    places = np.array([[f(p * r) for r in rates for f in (math.sin, math.cos)] for p in range(c.rank)])
    context = norm(linear(query[None], "query_encoder.0"), "query_encoder.1")
    context = norm(linear(gelu(context), "query_encoder.4"), "query_encoder.5")
    left, right = np.zeros((c.rank, c.width)), np.zeros((c.rank, c.width))
    for step in range(c.steps):
        clock = np.array([[f(step * r) for f in (math.cos, math.sin) for r in rates]])
        clock = linear(gelu(linear(clock, "step_proj.0")), "step_proj.2")
        x = np.concatenate([context + clock, left + places, right + places])
        for layer in range(c.layers):
            name = f"transformer.layers.{layer}"
            x = x + attention(norm(x, f"{name}.norm1"), f"{name}.self_attn")
            x = x + linear(gelu(linear(norm(x, f"{name}.norm2"), f"{name}.linear1")), f"{name}.linear2")
        context = context + x[:1]
        left, right = left + x[1 : 1 + c.rank], right + x[1 + c.rank :]

    def decode(x: Float64, name: str) -> Float64:
        return linear(gelu(linear(x, f"{name}.0")), f"{name}.3")

    better = (1 - c.residual) * decode(context, "query_decoder")[0] + c.residual * query
    u, v = decode(left, "dec_u_img").T, decode(right, "dec_v_img").T
    if c.scaled:
        u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
    moved = images @ (np.eye(c.dim) + c.anchor * u @ v.T)
    return np.asarray(moved @ better / np.linalg.norm(moved, axis=1) / np.linalg.norm(better))


@pytest.mark.parametrize("seed", range(4))
def test_it_equals_its_definition_from_a_file(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    config = replace(SMALL, scaled=seed != 3, residual=seed / 4)
    save(random_network(config, seed), tmp_path)
    network = load(tmp_path)
    assert network.config == config
    queries, images = rng.standard_normal((2, 10)), rng.standard_normal((6, 10))
    for query, projection in zip(queries, network.project(queries), strict=True):
        found = projection.compare(images)
        np.testing.assert_allclose(found, naive_cosines(network, query, images), atol=1e-5)
    with pytest.raises(ArtifactError, match="takes 10 numbers"):
        network.project(np.zeros((1, 4)))


def test_sizes_may_stand_in_the_weights_alone(tmp_path: Path) -> None:
    """Of a file without ``config.yml``, what the tensors do not show is as the authors have it."""
    save(random_network(replace(SMALL, heads=8, steps=4, residual=0.5, anchor=0.8), 0), tmp_path)
    (tmp_path / "config.yml").unlink()
    assert load(tmp_path / "weights.pt").config == QuariConfig(10, rank=3, width=16, layers=2)


def test_other_files_are_refused(tmp_path: Path) -> None:
    save(random_network(SMALL, 0), tmp_path)
    whole = read_state_dict(tmp_path / "weights.pt")
    for change, message in (
        ({"dec_u_img.3.bias": np.zeros(3, np.float32)}, r"dec_u_img\.3\.bias is \(3,\), not \(10,\)"),
        ({"other.x": np.zeros(1, np.float32)}, r"other\.x is not known"),
        ({"pos_scale": np.full(1, 2, np.float32)}, "pos_scale is not that of the public code"),
    ):
        write_state_dict(tmp_path / "weights.pt", whole | change)
        with pytest.raises(ExtractionError, match=message):
            load(tmp_path)
    write_state_dict(tmp_path / "weights.pt", {"layer.weight": np.zeros((2, 2), np.float32)})
    with pytest.raises(ExtractionError, match="not a QuARI network"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="multiple of heads"):
        QuariConfig(8, width=10, heads=4)
    write_state_dict(tmp_path / "weights.pt", whole)
    (tmp_path / "config.yml").write_text("hparams:\n  nhead: many\n")
    with pytest.raises(ExtractionError, match="nhead = 'many' is no such number"):
        load(tmp_path)


@pytest.mark.extras
def test_training_learns_what_to_look_at() -> None:
    """Half of a descriptor tells the object, the other half is noise of greater length."""
    from ilion.reranking.quari_training import QuariTraining, train

    rng = np.random.default_rng(0)
    objects = rng.standard_normal((140, 8))

    def photos(numbers: Sequence[int]) -> Float64:
        known = objects[list(numbers)] + 0.2 * rng.standard_normal((len(numbers), 8))
        values = np.concatenate([known, 2 * rng.standard_normal((len(numbers), 8))], axis=1)
        return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True))

    config = QuariConfig(16, rank=8, width=32, steps=1, heads=2, layers=1, anchor=8.0)
    options = QuariTraining(steps=60, batch=64, learning_rate=1e-2, semi_positives=0, noise=0, device="cpu")
    numbers = [n for n in range(100) for _ in range(4)]
    found = train(photos(numbers), [str(n) for n in numbers], config, options)
    network = found.network
    assert found.watched[found.step] == max(found.watched.values()) > found.plain
    queries, images = photos(range(100, 140)), photos(range(100, 140))  # objects that it never saw
    before = (queries @ images.T).argmax(1) == np.arange(40)
    after = np.array([p.compare(images).argmax() for p in network.project(queries)]) == np.arange(40)
    assert after.mean() >= before.mean() + 0.1  # 0.15 and 0.375 as measured
    some = replace(options, steps=2, semi_positives=2, noise=0.3, held_out=0)
    again = train(photos(range(12)), ["a", "b"] * 5 + ["", ""], config, some).network
    assert np.isfinite(again.project(queries[:1])[0].query).all()
    with pytest.raises(DatasetError, match="needs two objects"):
        train(photos(range(3)), ["a", "a", "b"], config, some)


@pytest.mark.extras
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("residual", [0.0, 0.5])
def test_a_training_that_gains_nothing_changes_nothing(scaled: bool, residual: float, tmp_path: Path) -> None:
    """Labels of chance: there is nothing to learn, and what the descriptors know must not be lost."""
    from ilion.reranking.quari_training import QuariTraining, train

    rng = np.random.default_rng(1)
    values = rng.standard_normal((80, 16))
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    config = QuariConfig(16, rank=4, width=32, steps=1, heads=2, layers=1, scaled=scaled, residual=residual)
    options = QuariTraining(steps=40, batch=16, learning_rate=1e-2, device="cpu")
    found = train(values, [str(n % 20) for n in range(80)], config, options)
    assert (found.step, len(found.watched)) == (0, 2)
    save(found.network, tmp_path)
    for network in (found.network, load(tmp_path)):
        for query, one in zip(values, network.project(values), strict=True):
            np.testing.assert_allclose(one.compare(values), values @ query, atol=1e-6)
