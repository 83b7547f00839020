from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy

from ilion.evaluation.evaluate import evaluate
from ilion.poc.cells import Cell, CellsOfPhotos, count_photos, measure_cells, sort_photos
from ilion.poc.clutter import measure_clutter
from ilion.poc.settings import PhotosConfig
from ilion.types import (
    Axes,
    Box,
    GroundTruth,
    ImageRecord,
    MemorySource,
    Query,
    Ranking,
    RetrievalDataset,
)

SIZE = 60


def world(seed: int) -> tuple[Ranking, GroundTruth, dict[str, int]]:
    """Draw a ranking of 8 queries in which every photo has one of two cells."""
    rng = np.random.default_rng(seed)
    ids = tuple(f"photo {row:02d}" for row in range(SIZE))
    queries = tuple(f"q{number}" for number in range(8))
    order = np.stack([rng.permutation(SIZE) for _ in queries])
    scores = np.sort(rng.random((8, SIZE)).astype(np.float32), axis=1)[:, ::-1].copy()
    ranking = Ranking(queries, ids, order, scores, np.full(8, SIZE))
    rows = [np.sort(rng.choice(SIZE, 8, replace=False)) for _ in queries]
    truth = GroundTruth(
        queries,
        tuple(r[:6][np.argsort(r[:6])] for r in rows),
        tuple(r[6:] for r in rows),
        np.zeros(8, np.int64),
    )
    cell = {name: int(rng.integers(2)) for name in ids}
    return ranking, truth, cell


@pytest.mark.parametrize("seed", range(5))
def test_a_cell_is_what_a_slice_of_the_report_is(seed: int) -> None:
    """Parity with the slices of `evaluate`, which take positives of other bins out of the ranking."""
    ranking, truth, cell = world(seed)
    cells = tuple(Cell(name, name, "", (0, 1), (0, 1)) for name in ("below 1", "1 or more"))
    found = measure_cells(ranking, truth, truth.query_ids, CellsOfPhotos(cells, cell, "counted", {}), 50)
    values = {row: float(cell[name]) for row, name in enumerate(ranking.database_ids)}
    axes = Axes(truth.query_ids, row_values={"size": values})
    judged = evaluate(ranking, truth, axes, k=50, boundaries={"size": (1.0,)}, bootstrap=1)
    slices = {each.label: each.mean for each in judged.slices}
    for number, name in enumerate(("below 1", "1 or more")):
        if name in slices:
            assert np.nanmean(found.values["AP"][:, number]) == pytest.approx(slices[name])
    np.testing.assert_allclose(found.whole["AP"], judged.per_query)
    np.testing.assert_allclose(found.whole["R@1"], judged.per_query_metrics["R@1"])
    assert found.photos.sum() == 8 * 6
    assert (np.isnan(found.values["AP"]) == (found.photos == 0)).all()


def test_queries_of_one_object_are_one_value() -> None:
    ranking, truth, cell = world(1)
    cells = tuple(Cell(name, name, "", (0, 1), (0, 1)) for name in ("a", "b"))
    known = CellsOfPhotos(cells, cell, "counted", {})
    apart = measure_cells(ranking, truth, truth.query_ids, known)
    together = measure_cells(ranking, truth, ["x"] * 4 + ["y"] * 4, known)
    assert together.objects == ("x", "y")
    np.testing.assert_allclose(together.whole["AP"][0], apart.whole["AP"][:4].mean())


def picture(things: int, seed: int) -> bytes:
    """Draw a photo with so many things on it."""
    rng = np.random.default_rng(seed)
    image = np.full((240, 320, 3), 170, np.uint8)
    for _ in range(things):
        x, y, w, h = rng.integers(0, 300), rng.integers(0, 220), *rng.integers(12, 40, 2)
        image[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    return cv2.imencode(".png", image)[1].tobytes()


def data_set(counts: dict[str, float], boxes: bool = True) -> RetrievalDataset:
    """Return 12 photos of one object, the first ones plain, the last ones crowded."""
    records = tuple(
        ImageRecord(f"p{n:02d}", MemorySource(f"p{n:02d}", picture(4 * n, n)), (Box(0, 0, 32, 24),))
        for n in range(12)
    )
    ids = tuple(record.id for record in records)

    class Photos:
        name = "photos"

        def records(self):  # type: ignore[no-untyped-def]
            return iter(records)

        def fingerprint(self) -> str:
            return ""

    scale = {image: 0.01 if n % 2 else 0.5 for n, image in enumerate(ids)} if boxes else {}
    query = Query("q", "mug", ImageRecord("q", MemorySource("q", picture(1, 0))))
    return RetrievalDataset(
        "drawn", Path(), (query,), (Photos(),), {"q": ids}, attributes={"scale": scale, "clutter": counts}
    )


def test_photos_are_sorted_by_size_and_by_what_was_counted() -> None:
    counts = {f"p{n:02d}": 4.0 * n for n in range(12)}
    found = sort_photos(data_set(counts), PhotosConfig())
    assert found.clutter_origin == "counted"
    names = [cell.name for cell in found.cells]
    assert names[found.of_photo["p01"]] == "small/plain"
    assert names[found.of_photo["p10"]] == "large/crowded"
    photos, objects = count_photos(data_set(counts), found)
    assert sum(photos.values()) == 12
    assert objects[found.of_photo["p01"]] == {"mug"}


def test_clutter_is_measured_where_few_photos_have_a_count() -> None:
    found = sort_photos(data_set({"p00": 1.0}), PhotosConfig())
    assert found.clutter_origin == "measured"
    names = [cell.clutter for cell in found.cells]
    assert [names[found.of_photo[f"p{n:02d}"]] for n in (0, 1, 10, 11)] == ["plain"] * 2 + ["crowded"] * 2


def test_sizes_that_nobody_knows_are_not_told_apart() -> None:
    found = sort_photos(data_set({}, boxes=False), PhotosConfig())
    assert [cell.name for cell in found.cells] == ["plain", "crowded"]
    none = PhotosConfig(backgrounds=(), clutter_edges=())
    assert [cell.name for cell in sort_photos(data_set({}, boxes=False), none).cells] == ["all photos"]


def test_photos_without_a_size_stand_apart() -> None:
    data = data_set({f"p{n:02d}": 1.0 for n in range(12)})
    del data.attributes["scale"]["p03"]  # type: ignore[attr-defined]
    found = sort_photos(data, PhotosConfig())
    assert found.cells[found.of_photo["p03"]].size == "unknown"


def test_more_things_are_more_clutter_and_the_object_does_not_count() -> None:
    things = np.arange(0, 60, 4)
    values = [measure_clutter(MemorySource("", picture(int(n), 5))) for n in things]
    assert scipy.stats.spearmanr(things, values).statistic > 0.8
    whole = MemorySource("", picture(30, 2))
    assert measure_clutter(whole, [Box(0, 0, 320, 230)]) is None
    assert measure_clutter(MemorySource("", picture(0, 0))) == 0.0
