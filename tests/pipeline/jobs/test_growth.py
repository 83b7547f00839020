"""How long a search takes among more photos: what is timed, and that nothing is left behind."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.pipeline.test_asking import settings

from ilion.api import run
from ilion.errors import ArtifactError
from ilion.pipeline.jobs import growth
from ilion.pipeline.jobs.growth import time_growth
from ilion.pipeline.stages.photos import Photos, rank_by_matches
from ilion.searching.local import Postings


@pytest.mark.slow
@pytest.mark.usefixtures("small_growth")
def test_searches_are_timed_among_as_many_photos_as_asked_for(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored photos and made ones beside them; queries find among both, and all files are away after."""
    config = settings(rendered, tmp_path / "run", "local")
    result, _ = run(config)
    here = len(result.ranking.database_ids)
    asked: list[tuple[int, int, float]] = []
    files: list[tuple[int, int]] = []
    monkeypatch.setattr(growth, "COPIES", 2)

    def noted(experiment: Any, photos: Photos, **options: Any) -> Any:
        ranking, evidence = rank_by_matches(experiment, photos, **options)
        names = [photos.database.ids[row] for row in ranking.indices[:, :20].ravel().tolist()]
        made = np.mean([name.startswith("made/") for name in names])
        asked.append((len(photos.database), len(photos.queries), float(made)))
        assert isinstance(photos.database, Postings)
        stored = list(photos.database.folder.glob("*made_*.records.npy"))
        files.append((len(stored), len({path.stat().st_ino for path in stored})))
        return ranking, evidence

    monkeypatch.setattr(growth, "rank_by_matches", noted)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    found = time_growth(config.output)
    wanted = [here + 128 * -(-(size - here) // 128) for size in (300, 500)]
    assert list(found) == wanted
    assert all(ms > 0 for ms in found.values())
    assert [(photos, queries) for photos, queries, _ in asked] == [
        (size, min(growth.QUERIES, len(result.evaluation.query_ids))) for size in wanted
    ]
    assert all(0 < made < 1 for *_, made in asked)
    assert files == [(-(-(size - here) // 128), 2) for size in (300, 500)], "two files of many names"
    assert list((tmp_path / "temporary").iterdir()) == []
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


@pytest.mark.slow
@pytest.mark.usefixtures("small_growth")
def test_other_searches_and_large_databases_are_not_timed(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(rendered, tmp_path / "exact", "exact")
    run(config)
    assert time_growth(config.output) == {}
    config = settings(rendered, tmp_path / "local", "local")
    run(config)
    monkeypatch.setattr(growth, "SIZES", (10, 500))
    assert time_growth(config.output) == {}


@pytest.mark.slow
@pytest.mark.usefixtures("small_growth")
def test_what_cannot_be_timed_is_warned_of(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk, or artifacts that are gone, end nothing."""
    config = settings(rendered, tmp_path / "run", "local")
    run(config)

    def full(*_: Any, **__: Any) -> None:
        raise ArtifactError("the disk is full")

    monkeypatch.setattr(growth, "write_shard", full)
    assert time_growth(config.output) == {}
    assert "was not measured: the disk is full" in caplog.text
    caplog.clear()
    assert time_growth(tmp_path / "gone") == {}
    assert "was not measured" in caplog.text
