"""Layers of networks as they are defined, in double precision; images to look at, packages of weights."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ilion.reranking.glue import Sizes
from ilion.types import RGB

Array = NDArray[np.float64]
Weights = dict[str, NDArray[np.float32]]


def close(found: Any, expected: Any, *, atol: float) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


def drawn(height: int, width: int, seed: int = 0) -> RGB:
    """Squares of random colours: corners that do not depend on any library's drawing."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), 128, np.uint8)
    for _ in range(40):
        y, x = rng.integers(0, height), rng.integers(0, width)
        image[y : y + rng.integers(6, 30), x : x + rng.integers(6, 30)] = rng.integers(0, 256, 3)
    return image


def draw(weights: Weights, rng: np.random.Generator, name: str, *shape: int) -> None:
    """Add random weights that keep the size of what passes."""
    fan = max(1, int(np.prod(shape[1:])))
    weights[name] = (rng.standard_normal(shape) * np.sqrt(2 / fan)).astype(np.float32)


def convolve(x: Array, kernel: Array, stride: int = 1) -> Array:
    around = kernel.shape[2] // 2
    padded = np.pad(x, ((0, 0), (around, around), (around, around)))
    rows, columns = x.shape[1:]
    total = np.zeros((len(kernel), rows, columns))
    for dy, dx in itertools.product(range(kernel.shape[2]), repeat=2):
        total += np.einsum("oc,cyx->oyx", kernel[:, :, dy, dx], padded[:, dy : dy + rows, dx : dx + columns])
    return total[:, ::stride, ::stride]


def put_package(folder: Path, monkeypatch: pytest.MonkeyPatch, package: str, file: str) -> Path:
    """Put a package on the path that cannot be imported; returns where its file of weights lies."""
    path = folder / package / file
    path.parent.mkdir(parents=True)
    (folder / package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(str(folder))
    return path


def glue_weights(sizes: Sizes, seed: int = 0) -> Weights:
    """Weights of LightGlue; layers change little and the last products are large: matches are sure."""
    rng = np.random.default_rng(seed)
    weights: Weights = {}
    dim = sizes.dim

    def linear(name: str, high: int, wide: int) -> None:
        draw(weights, rng, f"{name}.weight", high, wide)
        weights[f"{name}.bias"] = rng.normal(0, 0.2, high).astype("f")

    linear("input_proj", dim, sizes.given)
    draw(weights, rng, "posenc.Wr.weight", dim // sizes.heads // 2, 4 if sizes.oriented else 2)
    for number in range(sizes.layers):
        for block, parts in (
            ("self_attn", ("Wqkv", "out_proj")),
            ("cross_attn", ("to_qk", "to_v", "to_out")),
        ):
            at = f"transformers.{number}.{block}"
            for part in parts:
                linear(f"{at}.{part}", 3 * dim if part == "Wqkv" else dim, dim)
            linear(f"{at}.ffn.0", 2 * dim, 2 * dim)
            linear(f"{at}.ffn.3", dim, 2 * dim)
            weights[f"{at}.ffn.3.weight"] *= np.float32(0.4)
            weights[f"{at}.ffn.1.weight"] = rng.uniform(0.5, 1.5, 2 * dim).astype("f")
            weights[f"{at}.ffn.1.bias"] = rng.normal(0, 0.2, 2 * dim).astype("f")
        linear(f"log_assignment.{number}.matchability", 1, dim)
        weights[f"log_assignment.{number}.matchability.bias"] += 2
        linear(f"log_assignment.{number}.final_proj", dim, dim)
        weights[f"log_assignment.{number}.final_proj.weight"] *= 3
        if number < sizes.layers - 1:
            linear(f"token_confidence.{number}.token.0", 1, dim)
    return weights
