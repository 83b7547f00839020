"""Products of two similarities against their definition, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest

from ilion.searching import products
from ilion.types import Descriptors


@pytest.mark.parametrize("seed", range(6))
def test_products_equal_their_definition(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((40, 6)).astype(np.float32)
    values[7] = values[3]  # equal images tie, and the lower row stands in front
    queries = rng.standard_normal((5, 12)).astype(np.float32)
    ids = tuple(f"d{n}" for n in range(40))
    k = int(rng.integers(1, 50))
    monkeypatch.setattr(products, "BLOCK", int(rng.integers(1, 50)))
    found = products.search_products([f"q{n}" for n in range(5)], queries, Descriptors(ids, values), k=k)
    for number, query in enumerate(queries.astype(np.float64)):
        scores = []
        for image in values.astype(np.float64):
            photo, text = float(query[:6] @ image), float(query[6:] @ image)
            scores.append(np.float32(max(photo, 0.0) * max(text, 0.0)))
        order = sorted(range(40), key=lambda row: (-scores[row], row))[:k]
        assert found.indices[number].tolist() == order
        np.testing.assert_allclose(found.similarities[number], [scores[row] for row in order], rtol=1e-6)
