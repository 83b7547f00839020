"""The same run in this process and in worker processes: the same bytes; and what happens when parts fail."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import draw_photo, write, write_tar
from tests.networks import tiny_network
from tests.stages import described

from ilion import api
from ilion.config import ExperimentConfig, from_dict, to_dict
from ilion.datasets import open_dataset
from ilion.datasets.shards import plain_shard, shard_from
from ilion.errors import ConfigError, DatasetError, ImageError, TaskError
from ilion.pipeline.distributed.work import perform
from ilion.searching import search
from ilion.storage import fingerprint
from ilion.storage.runs import read_run
from ilion.tasks import Task


def dataset(root: Path, tars: int = 4, images: int = 6) -> Path:
    """Three objects with three positives each, and distractors in tars and as files."""
    for number in range(3):
        folder = root / "objects" / f"object {number}"
        write(folder / "query" / "front.jpg", draw_photo(number, size=(160, 120)))
        for view in range(3):
            write(folder / "positive" / f"{view}.jpg", draw_photo(10 * number + view + 1, size=(160, 120)))
    for tar in range(tars):
        photos = {f"{tar}_{i}.jpg": draw_photo(1000 * tar + i + 100, size=(128, 96)) for i in range(images)}
        write_tar(root / "distractors" / f"shard_{tar:05d}.tar", photos)
    for i in range(4):
        write(root / "distractors" / f"loose_{i}.jpg", draw_photo(9000 + i))
    return root


def experiment(data: Path, model: str, output: Path, **sections: Any) -> ExperimentConfig:
    values: dict[str, Any] = {
        "output": str(output),
        "dataset": {"path": str(data), "shard_size": 4},
        "extraction": {"model": model, "threads": 1, "fit_images": 20},
        "search": {"k": 20},
        "evaluation": {"bootstrap": 10},
    }
    for section, settings in sections.items():
        if isinstance(settings, str):
            values[section] = settings
            continue
        values[section] = {**values.get(section, {}), **settings}
    return from_dict(ExperimentConfig, values)


def digest(output: Path) -> dict[str, str]:
    """What a run computed, without times, parts and locks."""
    found = {}
    for path in sorted((output / "artifacts").rglob("*")):
        kind = path.relative_to(output / "artifacts").parts[0].rpartition("-")[0]
        if kind in ("ranking-parts", "evidence"):
            continue
        if path.suffix in (".npy", ".bin", ".npz") or path.name.endswith((".ids.json", "ranking.json")):
            name = str(path.relative_to(output))
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted((output / "artifacts").rglob("evidence.npz")):
        with np.load(path) as arrays:
            content = b"".join(arrays[name].tobytes() for name in ("rows", "inliers", "scores"))
        found[str(path.relative_to(output))] = hashlib.sha256(content).hexdigest()
    return found


def same(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Compare run.json without times and places."""
    assert first["evaluation"] == second["evaluation"]
    assert first["skipped"] == second["skipped"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["rootsift-vlad", "tiny"])
def test_worker_processes_give_the_same_bytes(tmp_path: Path, model: str) -> None:
    data = dataset(tmp_path / "data") if model == "tiny" else dataset(tmp_path / "data", 4, 3)
    name = f"onnx:{tiny_network(tmp_path / 'n.onnx')}" if model == "tiny" else model
    rerank = {"features": "orb", "shortlist": 10, "budget": 4000} if model == "tiny" else {}
    expansion = {"expansion": "alpha"} if model == "tiny" else {}
    one = experiment(data, name, tmp_path / "one", rerank=rerank, search=expansion)
    many = experiment(
        data,
        name,
        tmp_path / "many",
        rerank=rerank,
        search=expansion,
        compute={"processes": 2, "search_rows": 9, "rerank_queries": 2},
    )
    seen: list[tuple[str, int, int]] = []
    api.evaluate(one)
    api.evaluate(many, lambda stage, done, total: seen.append((stage, done, total)))
    expected = digest(tmp_path / "one")
    assert digest(tmp_path / "many") == expected
    kinds = {file.split("/")[1].rpartition("-")[0] for file in expected}
    assert kinds >= ({"descriptors", "local", "codec", "ranking", "evidence"} if rerank else {"fit"})
    same(read_run(tmp_path / "one"), read_run(tmp_path / "many"))
    if model != "tiny":
        return
    stages = {status.stage: status for status in api.status(tmp_path / "many")}
    assert stages["descriptors"].tasks == stages["descriptors"].done == 3 + 4 + 1
    assert stages["search"].tasks == 4
    assert all(status.state == "done" for status in stages.values())
    assert ("descriptors", 37, 37) in seen


@pytest.mark.slow
def test_a_search_in_parts_is_the_search_of_the_whole(tmp_path: Path) -> None:
    data = dataset(tmp_path / "data")
    # copies of one photo in several shards tie, and rows must break the tie
    for name in ("a", "m", "z"):
        write_tar(data / "distractors" / f"{name}.tar", {"same.jpg": draw_photo(1, size=(160, 120))})
    model = f"onnx:{tiny_network(tmp_path / 'n.onnx')}"
    output = tmp_path / "out"
    first = api.rank(
        experiment(data, model, output, compute={"processes": 2, "search_rows": 5}, search={"k": 40})
    )
    extracted = described(experiment(data, model, output))
    queries = np.asarray(extracted.queries.values, np.float32)
    whole = search(extracted.queries.ids, queries, extracted.database, k=40)
    np.testing.assert_array_equal(first.ranking.indices, whole.indices)
    np.testing.assert_array_equal(first.ranking.similarities, whole.similarities)
    assert first.ranking.database_ids == whole.database_ids
    assert len(list(output.rglob("part-*.npz"))) > 5


def spoil(path: Path) -> bytes:
    """Cut a tar short; return what it was."""
    data = path.read_bytes()
    path.write_bytes(data[:700])
    return data


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_result_that_lacks_shards_must_be_asked_for(tmp_path: Path, processes: int) -> None:
    data, model = dataset(tmp_path / "data"), f"onnx:{tiny_network(tmp_path / 'n.onnx')}"
    photo = draw_photo(12, size=(160, 120))
    # its header is sound, so that only decoding finds it out
    write(data / "objects" / "object 1" / "positive" / "1.jpg", photo[: len(photo) // 2])
    compute = {"processes": processes}
    config = experiment(data, model, tmp_path / "out", compute=compute)
    with pytest.raises((TaskError, ImageError)) as caught:
        api.evaluate(config)
    assert not (tmp_path / "out" / "run.json").exists()
    if processes == 2:
        assert "descriptors: 1 of 8 parts failed" in str(caught.value)
        assert "--allow-incomplete" in str(caught.value)
        [status] = [s for s in api.status(tmp_path / "out") if s.stage == "descriptors"]
        assert (status.done, status.failed, status.state) == (7, 1, "failed")
    spoiled = data / "distractors" / "shard_00002.tar"
    whole = spoil(spoiled)
    # a tar that ends too early is found before anything is described
    with pytest.raises(ImageError, match=r"shard_00002\.tar: truncated"):
        api.evaluate(config)
    allowed = experiment(data, model, tmp_path / "out", compute={**compute, "allow_incomplete": True})
    result, path = api.run(allowed)
    assert {part.name for part in result.missing} == {"positives_00001", "distractors_tar_shard_00002"}
    assert {part.images for part in result.missing} == {4, 0}
    # object 1 lacks its other photos in that shard too
    assert result.evaluation.unreachable == 4
    assert len(result.ranking.database_ids) == 37 - 6 - 4
    plain = read_run(tmp_path / "out")
    assert {part["name"] for part in plain["missing"]} == {part.name for part in result.missing}
    assert "The database is incomplete" in path.read_text(encoding="utf-8")
    assert api.load_run(tmp_path / "out").missing == result.missing
    # put right, the rest is computed and nothing is missing any more
    spoiled.write_bytes(whole)
    write(data / "objects" / "object 1" / "positive" / "1.jpg", draw_photo(12, size=(160, 120)))
    again = api.evaluate(config)
    assert (again.missing, again.evaluation.unreachable) == ((), 0)
    fresh = api.evaluate(experiment(data, model, tmp_path / "fresh"))
    np.testing.assert_array_equal(again.ranking.indices, fresh.ranking.indices)
    np.testing.assert_array_equal(again.ranking.similarities, fresh.ranking.similarities)


def test_shards_cross_to_another_process_as_plain_values(tmp_path: Path) -> None:
    data = dataset(tmp_path / "data")
    (tmp_path / "ids.txt").write_text("shard_00001.tar/1_2\nshard_00003.tar/3_0\nloose_1.jpg\n")
    for shard in open_dataset(data, subset=tmp_path / "ids.txt", shard_size=4).database:
        again = shard_from(plain_shard(shard))
        assert again.fingerprint() == shard.fingerprint()
        assert list(again.records()) == list(shard.records())


def test_a_worker_refuses_what_its_driver_did_not_see(tmp_path: Path) -> None:
    data, model = dataset(tmp_path / "data"), f"onnx:{tiny_network(tmp_path / 'n.onnx')}"
    config = experiment(data, model, tmp_path / "out")
    done = described(config)
    shard = open_dataset(data, shard_size=4).database[0]
    values = {
        "config": to_dict(config),
        "artifact": str(done.database.artifact.folder),
        "kind": "descriptors",
        "learnt": "",
        "earlier": [],
        "spec": fingerprint(done.database.artifact.inputs["spec"]),
        "key": done.database.keys[0],
        "shard": plain_shard(shard),
    }
    perform(Task("a", "describe", values), lambda images: None)
    for changed, message in (
        ({"ilion": "0.0"}, "its driver 0.0; install the same on all"),
        ({"spec": "another"}, "this worker builds another"),
        ({"key": "another"}, "its files are not what the driver saw"),
    ):
        with pytest.raises((ConfigError, DatasetError), match=message):
            perform(Task("a", "describe", {**values, **changed}), lambda images: None)
