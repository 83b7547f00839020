"""Search through short codes: what is lost, what is stored, and that damage is noticed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from ilion import storage
from ilion.errors import ArtifactError, ConfigError
from ilion.searching import Code, CodeSet, search, search_compressed, write_codes
from ilion.searching import codes as module
from ilion.searching.codes import Coder, deal_directions
from ilion.types import Float32, Int64, Ranking

NAMES = ["pq8", "rabitq", "sq4", "sq8"]


class Memory:
    """A database in memory."""

    def __init__(self, values: Float32) -> None:
        self.values = values
        self.ids = tuple(f"d{i}" for i in range(len(values)))
        self.read = 0

    def blocks(self, size: int) -> Iterator[Float32]:
        for start in range(0, len(self.values), size):
            yield self.values[start : start + size]

    def gather(self, rows: Int64) -> Float32:
        self.read += len(rows)
        return self.values[rows]


def decaying(seed: int, number: int, dim: int = 32) -> Float32:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((number, dim)) / np.sqrt(np.arange(2, dim + 2)) + 0.1
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks, and several groups of them, in a small database."""
    monkeypatch.setattr(module, "BLOCK", 500)
    monkeypatch.setattr("ilion.searching.compressed.GROUP_ROWS", 1000)


def made(root: Path, database: Memory, name: str) -> CodeSet:
    artifact = storage.open_artifact(root, "codes", {"code": name})
    return write_codes(artifact, database, Code.parse(name))


def run(queries: Float32, database: Memory, codes: CodeSet, **options: Any) -> Ranking:
    ids = [f"q{i}" for i in range(len(queries))]
    return search_compressed(ids, queries, database, codes, **options)


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_database_as_shortlist_is_exact_search(tmp_path: Path, name: str) -> None:
    database, queries = Memory(decaying(0, 1730)), decaying(1, 6)
    database.values[900:950] = database.values[3]
    exact = search([f"q{i}" for i in range(6)], queries, database, k=100)
    found = run(queries, database, made(tmp_path, database, name), k=100, shortlist=1730, threads=2)
    np.testing.assert_array_equal(found.indices, exact.indices)
    np.testing.assert_array_equal(found.similarities, exact.similarities)


@pytest.mark.parametrize(("name", "least"), [("pq8", 0.8), ("rabitq", 0.7), ("sq4", 0.95), ("sq8", 0.99)])
def test_a_short_shortlist_finds_most(tmp_path: Path, name: str, least: float) -> None:
    # of 20 queries rabitq finds 0.73 to 0.80 with 12 seeds of its code, of 100 0.757 to 0.787; pq8 0.98
    database, queries = Memory(decaying(0, 1730)), decaying(1, 100)
    exact = search([f"q{i}" for i in range(100)], queries, database, k=20)
    found = run(queries, database, made(tmp_path, database, name), k=20, shortlist=80)
    recall = np.mean([np.isin(a, b).mean() for a, b in zip(exact.indices, found.indices, strict=True)])
    assert recall >= least
    # what is found has its exact similarity
    for q, query in enumerate(queries.astype(np.float64)):
        expected = (database.values[found.indices[q]].astype(np.float64) @ query).astype(np.float32)
        np.testing.assert_array_equal(found.similarities[q], expected)


def test_pq_scores_are_those_of_the_reconstruction() -> None:
    values, queries = decaying(2, 600), decaying(3, 5)
    coder = Coder.learn(Code.parse("pq8"), values)
    codes = coder.encode(values)
    assert codes.shape == (600, 8)
    centres = coder.learnt.reshape(16, 16, 2)
    rebuilt = np.empty((600, 32))
    for row, code in enumerate(codes):
        # two codes a byte, the low half first
        halves = np.stack([code & 15, code >> 4], axis=1).ravel()
        rebuilt[row] = np.concatenate([centres[part, digit] for part, digit in enumerate(halves)])
    nearest = (
        ((coder.turn(values - coder.mean).reshape(600, 16, 1, 2) - centres) ** 2).sum(axis=3).argmin(axis=2)
    )
    digits = np.stack([codes & 15, codes >> 4], axis=2).reshape(600, 16)
    assert (digits == nearest).mean() > 0.999
    similarities, rows = coder.open(codes).search(coder.turn(queries), 600)
    expected = coder.turn(queries) @ rebuilt.T
    # fast scan rounds its look-up tables to 8 bits
    found = np.empty_like(similarities)
    np.put_along_axis(found, rows, similarities, axis=1)
    np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_the_rotation_keeps_inner_products(name: str) -> None:
    values, queries = decaying(4, 600), decaying(5, 5)
    coder = Coder.learn(Code.parse(name), values)
    turned = coder.turn(queries) @ coder.turn(values - coder.mean).T
    np.testing.assert_allclose(turned, queries @ (values - coder.mean).T, atol=1e-5)


def test_long_descriptors_are_cut_and_refined_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_DIMS", 24)
    monkeypatch.setattr(module, "FROM_ROWS", 30)
    database, queries = Memory(decaying(6, 700)), decaying(7, 4)
    codes = made(tmp_path, database, "pq8")
    assert codes.coder.dims == 16
    found = run(queries, database, codes, k=50, shortlist=700)
    exact = search([f"q{i}" for i in range(4)], queries, database, k=50)
    np.testing.assert_array_equal(found.indices, exact.indices)


def test_dealt_directions_are_even() -> None:
    variances = 1.0 / np.arange(1, 65) ** 2
    order = deal_directions(variances, 8)
    assert sorted(order.tolist()) == list(range(64))
    products = np.log(variances[order].reshape(8, 8)).sum(axis=1)
    contiguous = np.log(variances.reshape(8, 8)).sum(axis=1)
    assert np.ptp(products) < 0.1 * np.ptp(contiguous)


def test_refinement_reads_each_row_once(tmp_path: Path) -> None:
    database, queries = Memory(decaying(8, 1000)), np.repeat(decaying(9, 1), 30, axis=0)
    codes = made(tmp_path, database, "sq8")
    database.read = 0
    run(queries, database, codes, k=10, shortlist=40)
    # once for the shortlist, once more for the results
    assert database.read <= 50 + 40


@pytest.mark.slow
def test_bytes_are_those_in_memory(tmp_path: Path) -> None:
    database = Memory(decaying(10, 1200))
    sizes = {name: made(tmp_path, database, name).coder.bytes for name in NAMES}
    assert sizes == {"pq8": 8, "rabitq": 32 // 8 + 8, "sq4": 16, "sq8": 32}
    codes = made(tmp_path, database, "pq8")
    learnt = sum(a.nbytes for a in codes.coder.state.values())
    assert codes.bytes_per_row == pytest.approx(8 + learnt / 1200)


@pytest.mark.slow
def test_building_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Memory(decaying(11, 1730))
    whole = list(made(tmp_path / "a", database, "pq8").groups(500))
    calls = 0

    def dying(self: Coder, rows: Float32, encode: Any = Coder.encode) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return encode(self, rows)

    with monkeypatch.context() as patch:
        patch.setattr(Coder, "encode", dying)
        with pytest.raises(KeyboardInterrupt):
            made(tmp_path / "b", database, "pq8")
    written = {p: p.stat().st_mtime_ns for p in (tmp_path / "b").rglob("*.np*")}
    resumed = list(made(tmp_path / "b", database, "pq8").groups(500))
    assert all(p.stat().st_mtime_ns == before for p, before in written.items())
    for (start, codes), (other, expected) in zip(resumed, whole, strict=True):
        assert start == other
        np.testing.assert_array_equal(codes, expected)


def test_damage_is_noticed(tmp_path: Path) -> None:
    database = Memory(decaying(12, 700))
    codes = made(tmp_path, database, "pq8")
    folder = codes.artifact.folder
    path = folder / "codes-000000000500.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ArtifactError, match=r"codes-000000000500\.npy: damaged"):
        run(decaying(0, 1), database, codes)
    path.unlink()
    with pytest.raises(ArtifactError, match="no such file"):
        run(decaying(0, 1), database, codes)
    state = dict(codes.coder.state)
    state["centres"] = state["centres"] + 1
    storage.write_arrays(folder / "coder.npz", state)
    with pytest.raises(ArtifactError, match=r"coder\.npz is not that of coder\.json"):
        CodeSet(codes.artifact, 700)
    with pytest.raises(ArtifactError, match="numbers as centres"):
        Coder(codes.coder.code, {**state, "centres": state["centres"][:-1]})
    with pytest.raises(ArtifactError, match="lacks 'mean'"):
        Coder(codes.coder.code, {})


@pytest.mark.parametrize("name", ["pq", "pq0", "sq5", "ivf", "pq64x", "pq999", ""])
def test_unknown_codes_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"search.code = '{name}' is not known"):
        Code.parse(name)


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 64 descriptors, the database has 10"):
        Coder.learn(Code.parse("sq8"), decaying(0, 10))
    with pytest.raises(ConfigError, match="'pq64' needs 128 dimensions, descriptors have 32"):
        Coder.learn(Code.parse("pq64"), decaying(0, 100))
    database = Memory(decaying(13, 700))
    codes = made(tmp_path, database, "sq8")
    with pytest.raises(ArtifactError, match="700 codes for 699 descriptors"):
        run(decaying(0, 1), Memory(database.values[:699]), codes)
    with pytest.raises(ArtifactError, match="queries have 8 dimensions, the database 32"):
        run(decaying(0, 1, 8), database, codes)
    database.values[5] = np.nan
    with pytest.raises(ArtifactError, match="NaN or infinity"):
        run(decaying(0, 1), database, codes, k=700)


@pytest.mark.slow
def test_threads_of_faiss_are_left_as_they_were(tmp_path: Path) -> None:
    before = faiss.omp_get_max_threads()
    database = Memory(decaying(14, 600))
    run(decaying(0, 2), database, made(tmp_path, database, "pq8"), threads=1)
    assert faiss.omp_get_max_threads() == before
