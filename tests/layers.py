"""Layers of networks as they are defined, in double precision; images to look at, packages of weights."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
