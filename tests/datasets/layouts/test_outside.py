"""Layouts that are written outside of Ilion; the one here is that of docs/datasets.md."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tests.networks import tiny_network

from ilion import api, load_experiment
from ilion.datasets import LAYOUTS, RecordShard, check_dataset, open_dataset, render_check
from ilion.datasets.layouts.base import find_layout
from ilion.datasets.shards import plain_shard, shard_from
from ilion.errors import ConfigError, DatasetError
from ilion.types import RetrievalDataset

Photo = Callable[..., bytes]
SaveTar = Callable[[Path, Mapping[str, bytes]], None]

DOCS = Path(__file__).parents[3] / "docs" / "datasets.md"
CODE = next(
    block for block in re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.S) if "Layout" in block
)
QUERIES = [
    {
        "name": "q1",
        "landmark": "arch",
        "city": "Paris",
        "box": [8, 8, 40, 40],
        "easy": ["a1", "a2"],
        "junk": [],
    },
    {"name": "q2", "landmark": "dome", "city": "Rome", "box": [0, 0, 96, 64], "easy": ["b1"], "junk": ["a2"]},
]
IMAGES = ["a1", "a2", "b1", *(f"x{number}" for number in range(5))]


@pytest.fixture
def code(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(CODE)
    return str(tmp_path / "mine.py")


@pytest.fixture
def folder(tmp_path: Path, photo: Photo) -> Path:
    made = tmp_path / "set"
    (made / "jpg").mkdir(parents=True)
    for seed, name in enumerate([*IMAGES, "q1", "q2"]):
        (made / "jpg" / f"{name}.jpg").write_bytes(photo(seed))
    (made / "truth.json").write_text(json.dumps({"queries": QUERIES, "images": IMAGES}))
    return made


def ids(dataset: RetrievalDataset) -> list[list[str]]:
    return [[record.id for record in shard.records()] for shard in dataset.database]


def test_its_code_runs_only_if_the_user_says_so(folder: Path, code: str) -> None:
    with pytest.raises(ConfigError, match="if it is code that you trust, allow it"):
        open_dataset(folder, layout=f"{code}:Landmarks")
    dataset = open_dataset(folder, layout=f"{code}:Landmarks", trust=[code])
    assert [query.id for query in dataset.queries] == ["q1", "q2"]
    assert dataset.ignored["q2"] == ("a2",)
    assert dataset.labels == {"city": {"arch": "Paris", "dome": "Rome"}}


def test_a_data_set_of_its_own_gets_shards_subsets_and_distractors(
    folder: Path, code: str, tmp_path: Path, photo: Photo, save_tar: SaveTar
) -> None:
    layout = f"{code}:Landmarks"
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "d.jpg").write_bytes(photo(90))
    save_tar(tmp_path / "more" / "far.tar", {"1.jpg": photo(91), "2.jpg": photo(92)})
    (tmp_path / "some.txt").write_text("x3\nfar.tar/2\nnowhere\n")
    whole = open_dataset(folder, layout=layout, trust=[code], shard_size=3)
    assert ids(whole) == [["a1", "a2", "b1"], ["x0", "x1", "x2"], ["x3", "x4"]]
    assert [shard.name for shard in whole.database] == [f"images_0000{number}" for number in range(3)]
    part = open_dataset(
        folder, layout=layout, trust=[code], subset=tmp_path / "some.txt", distractors=tmp_path / "more"
    )
    assert ids(part) == [["a1", "a2", "b1", "x3"], ["far.tar/2"]]
    assert "1 of 3 listed ids is not in the data: nowhere" in part.notes[-1]


def test_its_shards_reach_another_process_and_notice_a_change(folder: Path, code: str) -> None:
    dataset = open_dataset(folder, layout=f"{code}:Landmarks", trust=[code])
    [shard] = dataset.database
    there = shard_from(json.loads(json.dumps(plain_shard(shard))))
    assert isinstance(there, RecordShard)
    assert there == shard
    assert there.fingerprint() == shard.fingerprint()
    before = shard.fingerprint()
    (folder / "jpg" / "x4.jpg").write_bytes(b"another")
    assert shard.fingerprint() != before


def test_a_check_looks_at_its_images(folder: Path, code: str) -> None:
    (folder / "jpg" / "x1.jpg").write_bytes((folder / "jpg" / "q1.jpg").read_bytes())
    (folder / "jpg" / "a2.jpg").write_bytes(b"no image")
    truth = {"queries": [{**QUERIES[0], "easy": ["a1", "gone"], "box": [500, 8, 40, 40]}], "images": IMAGES}
    (folder / "truth.json").write_text(json.dumps(truth))
    found = check_dataset(folder, layout=f"{code}:Landmarks", trust=[code])
    errors = {problem.kind: problem for problem in found.problems if problem.severity == "error"}
    assert set(errors) == {"box-outside", "missing-file", "query-in-database", "unreadable"}
    assert "1 image of the ground truth is in no shard, such as 'gone'" in errors["missing-file"].message
    assert errors["unreadable"].file == "jpg/a2.jpg"
    assert found.facts.counts["distractors"] == len(IMAGES) - 1
    assert found.facts.counts["positives"] == 1
    assert "Landmarks, " in render_check(found)


def test_a_query_without_positives_is_refused(folder: Path, code: str) -> None:
    truth = {"queries": [{**QUERIES[0], "easy": []}], "images": IMAGES}
    (folder / "truth.json").write_text(json.dumps(truth))
    with pytest.raises(DatasetError, match="object 'arch' has no positive"):
        open_dataset(folder, layout=f"{code}:Landmarks", trust=[code])


def test_it_is_found_by_itself_and_told_apart(
    folder: Path, code: str, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = LAYOUTS.admit(f"{code}:Landmarks", [code])
    assert part.digest
    with pytest.raises(DatasetError, match="nor ilias_core"):
        find_layout(folder)
    monkeypatch.setattr(LAYOUTS, "_parts", {**LAYOUTS._parts, "landmarks": replace(part, name="landmarks")})
    assert find_layout(folder).name == "landmarks"
    (tiny_dataset / "truth.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"holds ilias_core \(ILIAS layout\) and truth.json"):
        find_layout(tiny_dataset)
    assert find_layout(tiny_dataset, "ilias").name == "ilias"
    with pytest.raises(DatasetError, match=r"holds no truth.json"):
        find_layout(folder / "jpg", f"{code}:Landmarks", [code])


def test_what_is_no_layout_is_refused(tmp_path: Path, folder: Path) -> None:
    code = tmp_path / "wrong.py"
    code.write_text("def landmarks(folder): ...\n")
    with pytest.raises(
        ConfigError, match=r"must be a subclass of ilion.datasets.Layout, not a function 'landmarks'"
    ):
        open_dataset(folder, layout=f"{code}:landmarks", trust=[str(code)])


@pytest.mark.slow
def test_a_run_on_it_is_the_same_in_worker_processes_and_goes_on(
    folder: Path, code: str, tmp_path: Path
) -> None:
    toml = f"""
        trust = ["mine.py"]
        dataset.path = "set"
        dataset.layout = "mine.py:Landmarks"
        dataset.shard_size = 3
        extraction.model = "onnx:{tiny_network(tmp_path / "n.onnx")}"
        search.k = 8
        evaluation.bootstrap = 10
    """
    (tmp_path / "e.toml").write_text(toml)
    runs = []
    for name, processes in (("one", 0), ("two", 2)):
        settings = [f"output={tmp_path / name}", f"compute.processes={processes}"]
        runs.append(api.run(load_experiment(tmp_path / "e.toml", settings)))
    (one, page), (two, _) = runs
    assert one.ranking.database_ids == two.ranking.database_ids == tuple(IMAGES)
    assert one.evaluation.per_query.tolist() == two.evaluation.per_query.tolist()
    assert {part.label for part in one.evaluation.slices if part.axis == "city"} == {"Paris", "Rome"}
    assert "landmarks" in page.read_text("utf-8")
    assert api.load_run(tmp_path / "one").dataset.ignored["q2"] == ("a2",)
    (folder / "jpg" / "x4.jpg").write_bytes((folder / "jpg" / "a1.jpg").read_bytes())
    again, _ = api.run(load_experiment(tmp_path / "e.toml", [f"output={tmp_path / 'one'}"]))
    assert again.ranking.indices.tolist() != one.ranking.indices.tolist()
    assert len(list((tmp_path / "one" / "artifacts").glob("descriptors-*/*.ids.json"))) == 4
