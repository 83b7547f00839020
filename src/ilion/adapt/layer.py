"""Adaptation layers: a linear map, then L2 normalisation. One layer serves image and text descriptors.

Two forms have the same use: `Adapter` is a full matrix; `Correction` is the identity plus a few directions,
so that a layer learnt from a few hundred photos stays small where descriptors have many thousand dimensions.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError
from ilion.interop.layers import read_layer, write_layer
from ilion.opening import parse_json
from ilion.storage import read_arrays, write_arrays, write_bytes
from ilion.types import Float32, Value

BLOCK = 4096
"""Descriptors adapted at once."""
TORCH_SUFFIXES = (".pt", ".pth", ".bin")
"""File names that mean the benchmark's state dict."""
_TINY = 1e-12


class Layer(Value, ABC):
    """What turns descriptors into adapted descriptors; a dataclass of arrays, the first a matrix (..., D)."""

    bias: Float32

    @property
    def dim_in(self) -> int:
        """Dimensions D of what it takes."""
        return int(next(iter(self.arrays().values())).shape[1])

    @property
    def dim_out(self) -> int:
        """Dimensions D' of what it gives."""
        return len(self.bias)

    @property
    def digest(self) -> str:
        """A short digest of all its numbers."""
        digest = hashlib.blake2b(digest_size=16)
        for name, values in sorted(self.arrays().items()):
            digest.update(f"{name}{values.shape}".encode())
            digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()

    def arrays(self) -> dict[str, Float32]:
        """Return its arrays by name, as they are stored."""
        return dict(vars(self))

    @abstractmethod
    def _product(self, block: Float32) -> Float32:
        """Adapt (B, D) float32 to (B, D'), not normalised."""

    def apply(self, values: NDArray[np.floating]) -> Float32:
        """Adapt descriptors; a zero vector stays zero, because an image without features resembles none.

        Args:
            values: (N, D) float16 or float32.

        Returns:
            (N, D') float32, each row L2-normalised.

        Raises:
            ArtifactError: The descriptors have other dimensions, or a value is not finite.
        """
        if values.ndim != 2 or values.shape[1] != self.dim_in:
            raise ArtifactError(
                f"descriptors of shape {values.shape} do not fit an adaptation layer of {self.dim_in} "
                "dimensions; use the model and settings that it was learnt with"
            )
        result = np.empty((len(values), self.dim_out), np.float32)
        for start in range(0, len(values), BLOCK):
            block = np.asarray(values[start : start + BLOCK], np.float32)
            with np.errstate(invalid="ignore", over="ignore"):  # said below
                moved = self._product(block)
            moved[~block.any(axis=1)] = 0.0
            norms = np.linalg.norm(moved, axis=1, keepdims=True)
            if not np.isfinite(norms).all():
                row = start + int(np.flatnonzero(~np.isfinite(norms))[0])
                raise ArtifactError(f"the adapted descriptor in row {row} has NaN or infinity")
            np.divide(moved, norms, out=moved, where=norms > _TINY)
            moved[norms[:, 0] <= _TINY] = 0.0
            result[start : start + BLOCK] = moved
        return result


@dataclass(frozen=True)
class Adapter(Layer):
    """A linear layer as a full matrix: x -> (weight x + bias) / its length.

    Args:
        weight: (D', D) float32.
        bias: (D',) float32.

    Raises:
        ArtifactError: Shapes do not fit, or a value is not finite.

    >>> layer = Adapter(np.array([[0, 2], [1, 0]], np.float32), np.zeros(2, np.float32))
    >>> layer.apply(np.array([[0.6, 0.8], [0, 0]], np.float32)).round(3).tolist()
    [[0.9359999895095825, 0.35100001096725464], [0.0, 0.0]]
    """

    weight: Float32
    bias: Float32

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or 0 in self.weight.shape or self.bias.shape != self.weight.shape[:1]:
            raise ArtifactError(
                f"an adaptation layer needs a weight (D', D) and a bias (D',), got {self.weight.shape} and "
                f"{self.bias.shape}"
            )
        _freeze(self)

    def _product(self, block: Float32) -> Float32:
        return block @ self.weight.T + self.bias


@dataclass(frozen=True)
class Correction(Layer):
    """The identity plus a low-rank part: x -> (x + up (down x) + bias) / its length.

    Args:
        down: (R, D) float32.
        up: (D, R) float32.
        bias: (D,) float32.

    Raises:
        ArtifactError: Shapes do not fit, or a value is not finite.

    >>> halve = Correction(np.array([[1, 0]], np.float32), np.array([[-0.5], [0]], np.float32),
    ...     np.zeros(2, np.float32))
    >>> halve.apply(np.array([[0.8, 0.3]], np.float32)).round(2).tolist()
    [[0.800000011920929, 0.6000000238418579]]
    """

    down: Float32
    up: Float32
    bias: Float32

    def __post_init__(self) -> None:
        shapes = self.down.shape, self.up.shape, self.bias.shape
        if self.down.ndim != 2 or shapes[1:] != (self.down.shape[::-1], self.down.shape[1:]):
            raise ArtifactError(f"a correction needs down (R, D), up (D, R) and a bias (D,), got {shapes}")
        _freeze(self)

    def _product(self, block: Float32) -> Float32:
        return np.asarray(block + (block @ self.down.T) @ self.up.T + self.bias, np.float32)

    def dense(self) -> Adapter:
        """Return the same layer as a full matrix: D x D numbers."""
        weight = self.up.astype(np.float64) @ self.down.astype(np.float64)
        weight[np.diag_indices(self.dim_in)] += 1.0
        return Adapter(weight.astype(np.float32), self.bias)


def identity(dim: int) -> Correction:
    """Return the layer that changes nothing.

    >>> identity(3).apply(np.eye(3, dtype=np.float16)).tolist() == np.eye(3).tolist()
    True
    """
    return Correction(
        np.empty((0, dim), np.float32), np.empty((dim, 0), np.float32), np.zeros(dim, np.float32)
    )


def is_identity(layer: Layer) -> bool:
    """Tell whether a layer changes no normalised descriptor, up to rounding.

    >>> is_identity(identity(2)), is_identity(identity(2).dense())
    (True, True)
    """
    if layer.dim_in != layer.dim_out:
        return False
    if isinstance(layer, Correction):
        return not layer.bias.any() and not (layer.up.any() and layer.down.any())
    assert isinstance(layer, Adapter)  # the only other form
    scale = layer.weight[0, 0]
    return bool(scale > 0 and not layer.bias.any() and (layer.weight == scale * np.eye(layer.dim_in)).all())


@dataclass(frozen=True)
class StoredLayer:
    """A layer and what is known about it.

    Args:
        layer: The layer.
        facts: Printable facts: method, what it was learnt from, held-out estimate. Empty for a foreign file.
    """

    layer: Layer
    facts: Mapping[str, Any] = field(default_factory=dict)

    def printable(self) -> dict[str, Any]:
        """Return what a report says: all facts but the long lists, and the layer's size and digest."""
        short = {k: v for k, v in self.facts.items() if k not in ("objects", "learnt_from", "model")}
        return {
            **short,
            "digest": self.layer.digest,
            "dimensions": f"{self.layer.dim_in} -> {self.layer.dim_out}",
        }


def save_layer(path: Path, layer: Layer, facts: Mapping[str, Any] | None = None) -> None:
    """Write a layer: ``.npz`` with its facts, or the benchmark's state dict for ``.pt``, ``.pth``, ``.bin``.

    Args:
        path: The file; written aside and renamed. Beside it goes a ``.json`` with the facts, for people.
        layer: The layer; a `Correction` becomes a full matrix in a state dict.
        facts: Printable facts, as JSON has them.

    Raises:
        ArtifactError: The file's kind is another one, or it cannot be written.
    """
    text = json.dumps({**(facts or {}), "digest": layer.digest}, ensure_ascii=False, indent=1, default=float)
    if path.suffix in TORCH_SUFFIXES:
        dense = layer.dense() if isinstance(layer, Correction) else layer
        assert isinstance(dense, Adapter)  # the only other form
        write_layer(path, dense.weight, dense.bias)
    elif path.suffix == ".npz":
        encoded = np.frombuffer(text.encode(), np.uint8)
        write_arrays(path, {**layer.arrays(), "facts": encoded})
    else:
        raise ArtifactError(f"{path}: name the layer .npz (with facts) or .pt (the benchmark's state dict)")
    write_bytes(path.with_suffix(".json"), text.encode())


def load_layer(path: Path) -> StoredLayer:
    """Read a layer that `save_layer` or the benchmark's code wrote; nothing in the file is executed.

    Raises:
        ArtifactError: The file is missing, damaged, or holds no layer.
    """
    if path.suffix != ".npz":
        return StoredLayer(Adapter(*read_layer(path)))
    arrays = read_arrays(path)
    facts: dict[str, Any] = {}
    if "facts" in arrays:
        try:
            facts = dict(parse_json(bytes(np.asarray(arrays.pop("facts"), np.uint8))))
        except (ValueError, TypeError) as error:
            raise ArtifactError(f"{path}: its facts are damaged ({error}); train the layer again") from None
    for names, form in (({"weight", "bias"}, Adapter), ({"down", "up", "bias"}, Correction)):
        if set(arrays) == names:
            plain = {name: np.asarray(values, np.float32) for name, values in arrays.items()}
            return StoredLayer(form(**plain), facts)
    raise ArtifactError(
        f"{path}: holds {', '.join(sorted(arrays)) or 'nothing'}; a layer has weight and bias, or down, up "
        "and bias"
    )


def _freeze(layer: Adapter | Correction) -> None:
    for name, values in layer.arrays().items():
        if values.dtype != np.float32:
            raise ArtifactError(f"an adaptation layer holds float32, but its {name} {values.dtype}")
        if not np.isfinite(values).all():
            raise ArtifactError(f"the {name} of an adaptation layer holds NaN or infinity")
        frozen = np.ascontiguousarray(values)
        if frozen is values and values.flags.writeable:
            frozen = values.copy()
        frozen.flags.writeable = False
        object.__setattr__(layer, name, frozen)
