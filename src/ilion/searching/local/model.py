"""The models that come with Ilion: projection, visual words and codes of local descriptors, learnt once.

They were learnt by ``scripts/learn_local_model.py`` from photos that have nothing to do with any database, so
nothing is fitted to a database and nothing drifts when one grows.

Letters: D dimensions after projection, C coarse words, F fine words in each of them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError
from ilion.opening import read_bytes
from ilion.searching.local.records import CENTROIDS, PARTS
from ilion.searching.local.settings import WORDS
from ilion.storage import read_arrays
from ilion.types import Float32, Value

HOME = Path(__file__).parent
NAMES = ("mean", "projection", "coarse", "fine", "book")
"""Arrays of a model."""
PROBES = 6
"""Coarse words among whose fine words the nearest one of a descriptor is looked for."""


@dataclass(frozen=True, eq=False)
class LocalModel(Value):
    """What local descriptors are turned into words and codes by.

    Args:
        mean: (d,) float32, taken from a descriptor first.
        projection: (D, d) float32.
        coarse: (C, D) float32 centroids.
        fine: (C, F, D) float32 centroids; word ``c * F + f``; at most 65,536.
        book: (m, K, D / m) float32 centroids of the parts of what a word leaves, see
            `ilion.searching.local.records`.

    Raises:
        ArtifactError: Shapes do not fit together, or a value is not finite.
    """

    mean: Float32
    projection: Float32
    coarse: Float32
    fine: Float32
    book: Float32

    def __post_init__(self) -> None:
        dims = len(self.projection)
        fits = (
            self.projection.shape == (dims, len(self.mean))
            and self.coarse.shape == (len(self.coarse), dims)
            and self.fine.ndim == 3
            and self.fine.shape[::2] == (len(self.coarse), dims)
            and 0 < self.words <= 2**16
            and self.book.shape == (PARTS, CENTROIDS, dims // PARTS)
            and dims % PARTS == 0
        )
        if not fits:
            raise ArtifactError("local model: its arrays do not fit together; learn it again")
        if not all(np.isfinite(array).all() for array in self._arrays.values()):
            raise ArtifactError("local model: it has NaN or infinity; learn it again")

    @property
    def _arrays(self) -> dict[str, Float32]:
        return {name: getattr(self, name) for name in NAMES}

    @property
    def words(self) -> int:
        """Number W of words."""
        return int(self.fine.shape[0] * self.fine.shape[1])

    @cached_property
    def digest(self) -> str:
        """Digest of everything; what is stored by another model must not be mixed."""
        total = hashlib.blake2b(digest_size=16)
        for name, array in self._arrays.items():
            total.update(f"{name} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return total.hexdigest()

    @cached_property
    def fine_columns(self) -> Float32:
        """(C, D, F) the fine words as the kernels read them."""
        return np.ascontiguousarray(self.fine.transpose(0, 2, 1))

    @cached_property
    def _tables(self) -> tuple[Float32, Float32, Float32, Float32]:
        half = np.float32(0.5)
        return (
            np.ascontiguousarray(self.projection.T),
            np.ascontiguousarray(self.coarse.T),
            half * np.square(self.coarse).sum(axis=1),
            half * np.square(self.fine).sum(axis=2),
        )

    @cached_property
    def book_columns(self) -> Float32:
        """(m, D / m, K) the centroids as the kernels read them."""
        return np.ascontiguousarray(self.book.transpose(0, 2, 1))

    def project(self, descriptors: NDArray[np.generic]) -> Float32:
        """Take descriptors (M, d) to (M, D)."""
        from ilion.searching.local.compiled import project

        return project(np.ascontiguousarray(descriptors, np.float32), self.mean, self._tables[0])

    def assign(self, vectors: Float32, count: int = 1) -> NDArray[np.int32]:
        """Find the nearest words of projected descriptors.

        Args:
            vectors: (M, D).
            count: Words a descriptor.

        Returns:
            (M, count), nearest first.
        """
        from ilion.searching.local.compiled import nearest_words

        _, coarse, coarse_half, fine_half = self._tables
        probes = min(PROBES, len(self.coarse))
        return nearest_words(vectors, coarse, coarse_half, self.fine_columns, fine_half, probes, count)

    def code(self, vectors: Float32, words: NDArray[np.int32]) -> NDArray[np.uint8]:
        """Code what the words leave of projected descriptors: (M, m)."""
        from ilion.searching.local.compiled import code_residuals

        return code_residuals(vectors, words, self.fine_columns, self.book_columns)

    def decode(self, words: NDArray[np.integer], codes: NDArray[np.uint8]) -> Float32:
        """Return the projected descriptors (M, D) that words (M,) and codes (M, m) stand for, about."""
        parts = self.book[np.arange(len(self.book)), codes].reshape(len(codes), self.fine.shape[2])
        return np.asarray(self.fine.reshape(self.words, -1)[words] + parts, np.float32)


def pack_model(
    mean: Float32, projection: Float32, coarse: Float32, fine: Float32, book: Float32
) -> dict[str, NDArray[np.generic]]:
    """Pack a model for `read_model`: fine words by whole steps from their coarse one.

    Args:
        mean: See `LocalModel`.
        projection: See `LocalModel`.
        coarse: See `LocalModel`.
        fine: See `LocalModel`.
        book: See `LocalModel`.
    """
    rounded = coarse.astype(np.float16)
    off = fine - rounded[:, None].astype(np.float32)
    step = np.maximum(abs(off).max(axis=(0, 1)) / np.float32(127), np.float32(1e-9))
    return {
        "mean": mean,
        "projection": projection.astype(np.float32),
        "coarse": rounded,
        "fine": np.rint(off / step).astype(np.int8),
        "step": step,
        "book": book.astype(np.float16),
    }


def read_model(path: Path) -> LocalModel:
    """Read a model.

    Raises:
        ArtifactError: The file is missing or damaged.
    """
    arrays: dict[str, Any] = {name: np.asarray(a, np.float32) for name, a in read_arrays(path).items()}
    try:
        if "step" in arrays:  # else they are stored as they are
            arrays["fine"] = arrays["coarse"][:, None] + arrays["fine"] * arrays["step"]
        return LocalModel(**{name: arrays[name] for name in NAMES})
    except (KeyError, ValueError) as error:
        raise ArtifactError(f"{path}: is no local model ({error}); learn it again") from error


@cache
def search_digest() -> str:
    """Return a digest of this package, which a ranking depends on: its constants are part of the method."""
    total = hashlib.blake2b(digest_size=16)
    for path in sorted(p for p in HOME.iterdir() if p.suffix in (".py", ".json", ".npz")):
        total.update(path.name.encode() + read_bytes(path))
    return total.hexdigest()


@cache
def shipped_model(words: int = WORDS[0]) -> LocalModel:
    """Return the model of so many words, one of `WORDS`, that comes with Ilion."""
    return read_model(HOME / f"model-{words}.npz")
