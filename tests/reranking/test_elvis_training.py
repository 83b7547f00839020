"""The training of ELViS: its scores are those of the network that is used, and it learns what it is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ilion.reranking.elvis import Elvis, load, parameter_shapes, save
from ilion.types import LocalFeatures

pytestmark = pytest.mark.extras


def features(rows: np.ndarray) -> LocalFeatures:
    count = len(rows)
    return LocalFeatures(
        np.zeros((count, 2), np.float32), rows.astype(np.float32), np.ones(count, np.float32), (64, 64)
    )


def test_its_scores_are_those_that_are_used() -> None:
    import torch

    from ilion.reranking.elvis_training import _side, score

    rng = np.random.default_rng(0)
    weights = {n: rng.normal(scale=0.3, size=s) for n, s in parameter_shapes(12, 16).items()}
    network = Elvis(weights)
    first = [rng.standard_normal((n, 12)) for n in (3, 9, 5)]
    second = [rng.standard_normal((n, 12)) for n in (7, 4, 8)]
    tensors = {name: torch.from_numpy(np.asarray(w, np.float32)) for name, w in weights.items()}
    found = score(tensors, *_side(first, "cpu"), *_side(second, "cpu"))
    expected = [
        network.compare(network.describe(a), network.describe(b)) for a, b in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)


def test_it_learns_to_tell_objects_apart(tmp_path: Path) -> None:
    """Six of ten descriptors are an object's own, seen through noise in half of the dimensions."""
    from ilion.reranking.elvis_training import ElvisTraining, train

    rng = np.random.default_rng(0)
    objects = rng.standard_normal((60, 6, 16))
    noisy = np.where(np.arange(16) < 8, 0.1, 1.0)

    def photo(number: int) -> LocalFeatures:
        own = objects[number] + noisy * rng.standard_normal((6, 16))
        return features(np.concatenate([own, rng.standard_normal((4, 16))]))

    def accuracy(network: Elvis) -> float:
        """Share of pairs of an object, among the last 20, that stand before one with another object."""
        sides = [[network.describe(photo(n).descriptors) for n in range(40, 60)] for _ in range(2)]
        scores = np.array([[network.compare(a, b) for b in sides[1]] for a in sides[0]])
        return float((scores.diagonal()[:, None] > scores).sum() / (20 * 19))

    numbers = [n for n in range(40) for _ in range(3)]
    options = ElvisTraining(steps=100, pairs=32, learning_rate=5e-3, fewest=10, most=10, device="cpu")
    photos = [photo(n) for n in numbers]
    network = train(photos, [str(n) for n in numbers], options, dim=16)
    untrained = train(photos, [str(n) for n in numbers], replace(options, steps=1), dim=16)
    assert accuracy(network) >= accuracy(untrained) + 0.1  # 0.98 and 0.72 as measured
    save(network, tmp_path / "elvis.pt")
    image = [n.describe(photos[0].descriptors) for n in (network, load(tmp_path / "elvis.pt"))]
    np.testing.assert_allclose(image[0][0], image[1][0], atol=1e-6)
