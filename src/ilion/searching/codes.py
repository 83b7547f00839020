"""Short codes of descriptors: learnt on a sample, stored block by block as plain arrays.

Before it is coded, a descriptor is centred and rotated; all inner products of a query change by one constant:

- ``pqB``: product quantisation in B bytes, two 4-bit codes a byte, searched with registers as look-up tables
  (Jégou et al., TPAMI 2011; André et al., VLDB 2015). The principal directions are dealt to the parts so that
  the product of their variances is even (eigenvalue allocation; Ge et al., CVPR 2013).
- ``rabitq``: one bit a dimension after a random rotation, and two numbers (Gao and Long, SIGMOD 2024).
- ``sq4``, ``sq8``: 4 or 8 bits a dimension.

FAISS does the arithmetic. Its own index files are never read or written: codes, centres and rotations are
plain arrays with checksums, so nothing in a folder can do more than be wrong, and that is noticed.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError, ConfigError
from ilion.runtime.clusters import learn_centroids
from ilion.runtime.threads import single_threaded_products
from ilion.searching.bounds import FROM_ROWS
from ilion.searching.exact import Database, sample_rows
from ilion.storage import (
    Artifact,
    fingerprint,
    is_finished,
    read_array,
    read_arrays,
    read_json,
    write_array,
    write_arrays,
    write_head,
    write_json,
)
from ilion.types import Float32
from ilion.wording import counted

Codes = NDArray[np.uint8]

SAMPLE = 32768
"""Number of descriptors that a code is learnt on."""
MAX_DIMS = 1024
"""Leading directions that longer descriptors are cut to before they are coded; refinement sees all."""
BLOCK = 65536
"""Descriptors in one file of codes."""


@dataclass(frozen=True)
class Code:
    """Kind and size of a short code.

    Args:
        kind: ``pq``, ``rabitq`` or ``sq``.
        size: Bytes a descriptor for ``pq``, bits a dimension for ``sq``, 1 for ``rabitq``.
    """

    kind: str
    size: int

    @classmethod
    def parse(cls, name: str) -> Code:
        """Return the code of a name.

        Raises:
            ConfigError: There is no such code.

        >>> Code.parse("pq64")
        Code(kind='pq', size=64)
        """
        found = re.fullmatch(r"(pq|sq)(\d+)|(rabitq)", name)
        code = cls(found[1] or found[3], int(found[2] or 1)) if found else cls("", 0)
        if not found or not 1 <= code.size <= 512 or (code.kind == "sq" and code.size not in (4, 8)):
            raise ConfigError(
                f"search.code = {name!r} is not known; use pq and the bytes of a descriptor (pq64), rabitq, "
                "sq4 or sq8"
            )
        return code

    def __str__(self) -> str:
        return self.kind if self.kind == "rabitq" else f"{self.kind}{self.size}"


class Coder:
    """A learnt code.

    Args:
        code: Kind and size.
        state: ``mean`` (D,), ``rotation`` (D, d), and ``centres`` (pq) or ``ranges`` (sq).

    Raises:
        ArtifactError: The state does not fit the code.
    """

    def __init__(self, code: Code, state: Mapping[str, NDArray[Any]]) -> None:
        self.code = code
        self.state = dict(state)
        try:
            self.mean: Float32 = np.asarray(state["mean"], np.float32)
            self.rotation: Float32 = np.ascontiguousarray(state["rotation"], np.float32)
            learnt = {"pq": "centres", "sq": "ranges"}.get(code.kind)
            self.learnt: Float32 = np.asarray(state[learnt] if learnt else (), np.float32)
        except KeyError as error:
            raise ArtifactError(f"the state of a {code} code lacks {error}") from None
        self.dims = self.rotation.shape[1]
        if self.rotation.shape[0] != len(self.mean):
            raise ArtifactError(f"a {code} code with a mean of {self.mean.shape} and {self.rotation.shape}")
        self._empty = self._index()
        self.bytes = int(self._empty.sa_code_size())

    @classmethod
    def learn(cls, code: Code, sample: Float32, seed: int = 0) -> Coder:
        """Learn a code.

        Args:
            code: Kind and size.
            sample: (S, D) float32 descriptors of the database.
            seed: Seed of all that is random.

        Raises:
            ConfigError: The descriptors are too short, or too few.
        """
        import faiss

        dim = sample.shape[1]
        if len(sample) < 64:
            raise ConfigError(
                f"a {code} code is learnt on at least 64 descriptors, the database has {len(sample)}; use "
                "search.method = 'exact'"
            )
        if code.kind == "pq" and 2 * code.size > min(dim, MAX_DIMS):
            raise ConfigError(
                f"search.code = '{code}' needs {counted(2 * code.size, 'dimension')}, descriptors have {dim}"
            )
        mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred = sample - mean
        state: dict[str, NDArray[Any]] = {"mean": mean}
        with single_threaded_products():
            state["rotation"] = _rotation(code, centred, seed)
            turned = np.ascontiguousarray(centred @ state["rotation"])
        if code.kind == "pq":
            parts = turned.reshape(len(turned), 2 * code.size, -1)
            centres = [
                learn_centroids(parts[:, s], 16, seed=seed + s, rounds=25) for s in range(2 * code.size)
            ]
            state["centres"] = np.concatenate(centres).ravel()
        elif code.kind == "sq":
            quantiser = _scalar(code, turned.shape[1])
            quantiser.train(turned)
            state["ranges"] = faiss.vector_to_array(quantiser.sq.trained)
        return cls(code, state)

    @property
    def digest(self) -> str:
        """Digest of everything that was learnt."""
        arrays = {name: zlib.crc32(np.ascontiguousarray(a).data) for name, a in self.state.items()}
        return fingerprint(str(self.code), arrays)

    def encode(self, rows: Float32) -> Codes:
        """Return the codes (N, bytes) of descriptors (N, D)."""
        return np.asarray(self._empty.sa_encode(self.turn(rows - self.mean)), np.uint8)

    def turn(self, rows: Float32) -> Float32:
        """Return descriptors in the coordinates of the code."""
        return np.ascontiguousarray(rows @ self.rotation, np.float32)

    def open(self, codes: Codes) -> Any:
        """Return a FAISS index over codes (N, bytes)."""
        import faiss

        index = self._index()
        faiss.copy_array_to_vector(np.ascontiguousarray(codes).reshape(-1), index.codes)
        index.ntotal = len(codes)
        return faiss.IndexPQFastScan(index) if self.code.kind == "pq" else index

    def _index(self) -> Any:
        import faiss

        metric = faiss.METRIC_INNER_PRODUCT
        index: Any
        try:
            if self.code.kind == "pq":
                index = faiss.IndexPQ(self.dims, 2 * self.code.size, 4, metric)
                if len(self.learnt) != index.pq.centroids.size():
                    raise ArtifactError(
                        f"a {self.code} code with {counted(len(self.learnt), 'number')} as centres"
                    )
                faiss.copy_array_to_vector(self.learnt, index.pq.centroids)
            elif self.code.kind == "sq":
                index = _scalar(self.code, self.dims)
                faiss.copy_array_to_vector(self.learnt, index.sq.trained)
            else:
                index = faiss.IndexRaBitQ(self.dims, metric)
                faiss.copy_array_to_vector(np.zeros(self.dims, np.float32), index.center)
        except RuntimeError as error:
            raise ArtifactError(
                f"a {self.code} code of {counted(self.dims, 'dimension')} is not possible: {error}"
            ) from None
        index.is_trained = True
        return index


def _scalar(code: Code, dims: int) -> Any:
    import faiss

    kinds = {4: faiss.ScalarQuantizer.QT_4bit, 8: faiss.ScalarQuantizer.QT_8bit}
    return faiss.IndexScalarQuantizer(dims, kinds[code.size], faiss.METRIC_INNER_PRODUCT)


def _rotation(code: Code, centred: Float32, seed: int) -> Float32:
    """Return (D, d) orthonormal columns, for ``pq`` in the order of its parts."""
    dim = centred.shape[1]
    dims = min(dim, MAX_DIMS, dim if dim <= FROM_ROWS else len(centred))
    parts = 2 * code.size if code.kind == "pq" else 1
    dims -= dims % parts
    rows = centred if dim <= FROM_ROWS else centred[:FROM_ROWS]
    wide = rows.astype(np.float64)
    if dim <= FROM_ROWS:
        values, basis = np.linalg.eigh(wide.T @ wide)
    else:
        values, vectors = np.linalg.eigh(wide @ wide.T)
        basis, _ = np.linalg.qr(wide.T @ vectors)
    values, basis = values[::-1][:dims], basis[:, ::-1][:, :dims]
    if code.kind == "pq":
        return np.ascontiguousarray(basis[:, deal_directions(values, parts)], np.float32)
    if code.kind == "rabitq":
        mix, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((dims, dims)))
        basis = basis @ mix
    return np.ascontiguousarray(basis, np.float32)


def deal_directions(variances: NDArray[np.floating], parts: int) -> NDArray[np.int64]:
    """Return the order of directions that gives each part equally many and an even product of variances.

    Args:
        variances: (d,) descending.
        parts: Divides d.

    >>> deal_directions(np.array([8.0, 4.0, 2.0, 1.0]), 2).tolist()
    [0, 3, 1, 2]
    """
    room = len(variances) // parts
    hands: list[list[int]] = [[] for _ in range(parts)]
    weights = np.zeros(parts)
    least = max(float(variances.max()), 1e-30) * 1e-9
    for direction, variance in enumerate(np.maximum(variances, least)):
        open_hands = [p for p in range(parts) if len(hands[p]) < room]
        part = min(open_hands, key=lambda p: weights[p])
        hands[part].append(direction)
        weights[part] += np.log(variance / least)
    return np.array([direction for hand in hands for direction in hand], np.int64)


class _Head(TypedDict):
    shape: tuple[int, int]
    crc32: int


class _CoderHead(TypedDict):
    code: str
    digest: str


class CodeSet:
    """The stored codes of a database, see `write_codes`.

    Args:
        artifact: Artifact that holds the codes.
        total: Rows of the database.

    Raises:
        ArtifactError: Something is missing or damaged.
    """

    def __init__(self, artifact: Artifact, total: int) -> None:
        self.artifact = artifact
        self.coder = _read_coder(artifact)
        self.total = total
        self._keys = [_key(start) for start in range(0, total, BLOCK)]

    def __len__(self) -> int:
        return self.total

    @property
    def bytes_per_row(self) -> float:
        """Bytes of a descriptor in memory, with its share of what was learnt."""
        learnt = sum(array.nbytes for array in self.coder.state.values())
        return self.coder.bytes + learnt / max(self.total, 1)

    def groups(self, rows: int) -> Iterator[tuple[int, Codes]]:
        """Yield the first row and the codes of stretches of about ``rows`` rows.

        Raises:
            ArtifactError: A file is missing or damaged.
        """
        step = max(1, rows // BLOCK)
        for first in range(0, len(self._keys), step):
            parts = [self._read(key) for key in self._keys[first : first + step]]
            yield first * BLOCK, np.concatenate(parts)

    def _read(self, key: str) -> Codes:
        head: _Head = read_json(self.artifact.folder / f"{key}.json", _Head)
        path = self.artifact.folder / f"{key}.npy"
        codes = read_array(path)
        if (
            list(codes.shape) != list(head["shape"])
            or codes.dtype != np.uint8
            or zlib.crc32(codes.data) != head["crc32"]
        ):
            raise ArtifactError(f"{path}: not the codes that were written; delete {key}.* and run again")
        return np.asarray(codes, np.uint8)


def write_codes(
    artifact: Artifact,
    database: Database,
    code: Code,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> CodeSet:
    """Learn a code and store the codes of a database, as far as that is not done.

    Args:
        artifact: Artifact to write to; the caller holds its lock.
        database: Descriptors to encode.
        code: Kind and size of the code.
        seed: Seed of the sample and the code.
        progress: Callback that receives the rows done and the rows in all.
    """
    total, folder = len(database.ids), artifact.folder
    if not (folder / "coder.json").exists():
        sample = database.gather(sample_rows(total, SAMPLE, seed))
        coder = Coder.learn(code, sample, seed)
        write_arrays(folder / "coder.npz", coder.state)
        write_json(folder / "coder.json", {"code": str(code), "digest": coder.digest})
    coder = _read_coder(artifact)
    for start in range(0, total, BLOCK):
        key, end = _key(start), min(start + BLOCK, total)
        if not is_finished(folder / f"{key}.json"):
            codes = coder.encode(database.gather(np.arange(start, end)))
            write_array(folder / f"{key}.npy", codes)
            # written last; the block counts once this is there
            head = {"shape": codes.shape, "crc32": zlib.crc32(codes.data)}
            write_head(folder / f"{key}.json", head, [folder / f"{key}.npy"])
        if progress:
            progress(end, total)
    return CodeSet(artifact, total)


def _key(start: int) -> str:
    return f"codes-{start:012d}"


def _read_coder(artifact: Artifact) -> Coder:
    head: _CoderHead = read_json(artifact.folder / "coder.json", _CoderHead)
    coder = Coder(Code.parse(head["code"]), read_arrays(artifact.folder / "coder.npz"))
    if coder.digest != head["digest"]:
        raise ArtifactError(
            f"{artifact.folder}: coder.npz is not that of coder.json; delete the folder and run again"
        )
    return coder
