"""Images added, removed and changed: only these are described, and the result is that of a rebuild."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import draw_photo, write, write_tar
from tests.networks import tiny_network
from tests.pipeline.distributed.test_compute import dataset, digest, experiment
from tests.stages import described

from ilion import api
from ilion.extraction import images, local
from ilion.types import ImageRecord

RERANK = {"features": "orb", "shortlist": 8}


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the images that were decoded, for global and for local descriptors."""
    seen: list[str] = []
    for module, name in ((images, "load_part"), (local, "load_part")):
        real = getattr(module, name)

        def load(record: ImageRecord, *rest: Any, real: Any = real, **more: Any) -> Any:
            seen.append(record.id)
            return real(record, *rest, **more)

        monkeypatch.setattr(module, name, load)
    return seen


def grow(data: Path) -> set[str]:
    """Add, remove and change images; return the ids of those that are new."""
    write(data / "distractors" / "loose_00.jpg", draw_photo(501))  # before all others
    write(data / "distractors" / "loose_1b.jpg", draw_photo(502))
    write(data / "objects" / "object 1" / "positive" / "7.jpg", draw_photo(503, size=(160, 120)))
    (data / "distractors" / "loose_2.jpg").unlink()
    (data / "objects" / "object 0" / "positive" / "1.jpg").unlink()
    write(data / "distractors" / "loose_3.jpg", draw_photo(504))
    write_tar(data / "distractors" / "shard_00000b.tar", {"new.jpg": draw_photo(505)})
    (data / "distractors" / "shard_00001.tar").unlink()
    return {
        "distractors/loose_00.jpg",
        "distractors/loose_1b.jpg",
        "distractors/loose_3.jpg",
        "objects/object 1/positive/7.jpg",
        "shard_00000b.tar/new",
    }


def same_shards(grown: Path, rebuilt: Path) -> None:
    """Every shard of the rebuild is among those of the grown set, with the same bytes."""
    # a codec that learns nothing is the same, but named by its sample
    expected = {name: value for name, value in digest(rebuilt).items() if "codec-" not in name}
    found = digest(grown)
    assert expected.items() <= found.items()
    assert any("descriptors-" in name for name in expected)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_grown_set_is_its_rebuild_and_only_what_is_new_was_looked_at(
    tmp_path: Path, looked_at: list[str], processes: int
) -> None:
    data, model = dataset(tmp_path / "data"), f"onnx:{tiny_network(tmp_path / 'n.onnx')}"
    api.evaluate(experiment(data, model, tmp_path / "grown", rerank=RERANK))
    config = experiment(data, model, tmp_path / "grown", rerank=RERANK, compute={"processes": processes})
    new = grow(data)
    looked_at.clear()
    grown = api.evaluate(config)
    if processes == 1:
        # once for the global descriptor and once for the local ones
        assert sorted(i for i in looked_at if "/query/" not in i) == sorted([*new, *new])
    rebuilt = api.evaluate(experiment(data, model, tmp_path / "rebuilt", rerank=RERANK))
    same_shards(tmp_path / "grown", tmp_path / "rebuilt")
    assert grown.ranking.database_ids == rebuilt.ranking.database_ids
    np.testing.assert_array_equal(grown.ranking.indices, rebuilt.ranking.indices)
    np.testing.assert_array_equal(grown.ranking.similarities, rebuilt.ranking.similarities)
    assert grown.evaluation.mean == rebuilt.evaluation.mean
    # back to a former state: nothing is looked at
    looked_at.clear()
    (data / "distractors" / "loose_00.jpg").unlink()
    api.evaluate(config)
    assert looked_at == []


@pytest.mark.slow
def test_what_a_model_learnt_stays_until_asked(tmp_path: Path, looked_at: list[str]) -> None:
    data = dataset(tmp_path / "data", 4, 3)
    config = experiment(data, "rootsift-vlad", tmp_path / "out")
    first = described(config)
    new = grow(data)
    looked_at.clear()
    grown = api.evaluate(config)
    assert sorted(i for i in looked_at if "/query/" not in i) == sorted(new)
    assert grown.provenance["model"]["revision"] == first.database.artifact.inputs["spec"]["revision"]  # type: ignore[index]
    notes = grown.provenance["data set"]["notes"]  # type: ignore[index]
    assert any("from an earlier state of the data set" in note for note in notes)
    anew = api.evaluate(experiment(data, "rootsift-vlad", tmp_path / "out", extraction={"refit": True}))
    fresh = api.evaluate(experiment(data, "rootsift-vlad", tmp_path / "fresh"))
    assert anew.provenance["model"] == fresh.provenance["model"]
    assert anew.provenance["model"] != grown.provenance["model"]
    np.testing.assert_array_equal(anew.ranking.similarities, fresh.ranking.similarities)


@pytest.mark.slow
def test_a_subset_of_what_is_described_looks_at_no_image(tmp_path: Path, looked_at: list[str]) -> None:
    data, model = dataset(tmp_path / "data"), f"onnx:{tiny_network(tmp_path / 'n.onnx')}"
    api.evaluate(experiment(data, model, tmp_path / "whole", rerank=RERANK))
    listed = tmp_path / "ids.txt"
    listed.write_text("shard_00001.tar/1_2\nshard_00003.tar/3_0\ndistractors/loose_1.jpg\n")
    cache = str(tmp_path / "whole" / "artifacts")
    looked_at.clear()
    subset = experiment(
        data, model, tmp_path / "subset", rerank=RERANK, dataset={"subset": str(listed)}, cache=cache
    )
    part = api.evaluate(subset)
    assert looked_at == []
    assert len(part.ranking.database_ids) == 9 + 3
    alone = api.evaluate(
        experiment(data, model, tmp_path / "alone", rerank=RERANK, dataset={"subset": str(listed)})
    )
    np.testing.assert_array_equal(part.ranking.similarities, alone.ranking.similarities)
    assert part.ranking.database_ids == alone.ranking.database_ids


def test_an_image_of_the_same_size_and_name_is_described_anew(tmp_path: Path, looked_at: list[str]) -> None:
    data, model = dataset(tmp_path / "data"), f"onnx:{tiny_network(tmp_path / 'n.onnx')}"
    config = experiment(data, model, tmp_path / "out")
    described(config)
    path = data / "distractors" / "loose_1.jpg"
    before = path.stat()
    content = next(p for p in map(draw_photo, range(700, 900)) if len(p) <= before.st_size)
    path.write_bytes(content.ljust(before.st_size, b"\0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    looked_at.clear()
    described(config)
    assert looked_at == ["distractors/loose_1.jpg"]


def test_a_damaged_earlier_shard_is_passed_over(
    tmp_path: Path, looked_at: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    data, model = dataset(tmp_path / "data"), f"onnx:{tiny_network(tmp_path / 'n.onnx')}"
    config = experiment(data, model, tmp_path / "out")
    done = described(config)
    for path in done.database.artifact.folder.glob("distractors_0_*.stamps.npy"):
        path.write_bytes(b"damaged")
    write(data / "distractors" / "loose_00.jpg", draw_photo(501))
    looked_at.clear()
    described(config)
    assert len(looked_at) == 5
    assert "damaged" in caplog.text
