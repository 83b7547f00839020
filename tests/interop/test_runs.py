"""Feature files, results and layers of others through the verbs, on data sets without a single image."""

from __future__ import annotations

import gzip
import json
import pickle
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ilion import api
from ilion.adapt import save_layer
from ilion.adapt.layer import Adapter
from ilion.cli.common import notes_of, say_result, summary
from ilion.config import ExperimentConfig, load_experiment
from ilion.datasets import open_dataset
from ilion.errors import ArtifactError, ConfigError, DatasetError
from ilion.interop.features import find_features, write_features
from ilion.interop.imported import open_imported
from ilion.interop.results import read_results
from ilion.types import Descriptors

OBJECTS = ("mug_000", "café_001", "tool_002")


def make_ids(root: Path, distractors: int = 30) -> list[str]:
    """Three objects with two queries, a text and three positives each; returns the ids of the distractors."""
    folder = root / "image_ids"
    folder.mkdir(parents=True)
    queries, texts, positives = [], [], []
    for number, name in enumerate(OBJECTS):
        written = name.replace("é", "#U00e9")
        queries += [f"{written}/query/Q{number:03d}_{i:02d}.jpg" for i in range(2)]
        texts += [f"{written}/query/T{number:03d}.txt,something, or other"]
        positives += [
            f"{written}/pos/P{number:03d}_{i:02d}.jpg,{0.05 + 0.1 * i},{10 + 15 * i}" for i in range(3)
        ]
    (folder / "image_query_ids.txt").write_text("\n".join(queries))
    (folder / "text_query_ids.txt").write_text("\n".join(texts))
    (folder / "positive_ids.txt").write_text("\n".join(positives))
    names = [f"{i % 3:03d}.tar/{i:04d}" for i in range(distractors)]
    with gzip.open(folder / "distractor_ids.txt.gz", "wt") as file:
        file.write("\n".join(names))
    tree = {"home": {"cup": {"x": ["mug_000", "café_001"]}}, "work": {"hand": {"y": ["tool_002"]}}}
    (root / "taxonomy.json").write_text(json.dumps(tree))
    return names


def describe(ids: list[str], seed: int, dim: int = 8) -> Descriptors:
    """Photos of one object are alike, all others are not."""
    rng = np.random.default_rng(seed)
    centres = {name: np.random.default_rng(n).normal(size=dim) for n, name in enumerate(OBJECTS)}
    values = rng.normal(size=(len(ids), dim))
    for row, image_id in enumerate(ids):
        if image_id.split("/")[0] in centres:
            values[row] = centres[image_id.split("/")[0]] + 0.5 * values[row]
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return Descriptors(tuple(ids), values.astype(np.float16))


def make_features(root: Path, distractors: list[str]) -> Path:
    dataset = open_dataset(root)
    folder = root / "features"
    parts = {
        "image_queries": [q.id for q in dataset.queries if q.image],
        "text_queries": [q.id for q in dataset.queries if q.text is not None],
        "positives": sorted({i for ids in dataset.positives.values() for i in ids}, reverse=True),
        "distractors_00000": distractors[:20],
        "distractors_00001": distractors[20:],
        "uned": ["a/1.jpg", "b/2.jpg"],
    }
    for seed, (name, ids) in enumerate(parts.items()):
        write_features(folder / f"features_{name}.hdf5", [describe(ids, seed)])
    return folder


def make_experiment(root: Path, *settings: str) -> ExperimentConfig:
    path = root / "experiment.toml"
    path.write_text(
        'name = "ids"\noutput = "run"\ndataset.path = "."\nevaluation.bootstrap = 50\n'
        'extraction.model = "imported:siglip"\n'
    )
    return load_experiment(path, settings)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    features = make_features(tmp_path, make_ids(tmp_path))
    api.import_features([features], tmp_path / "siglip")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("subset", [False, True])
def test_ids_of_a_mac_are_those_of_the_data_set(root: Path, subset: bool) -> None:
    settings = [f"dataset.subset={root / 'subset.txt'}"] if subset else []
    (root / "subset.txt").write_text("\n".join(f"{i % 3:03d}.tar/{i:04d}" for i in range(12)))
    expected = api.evaluate(make_experiment(root, "output=first", *settings))

    path = root / "features/features_positives.hdf5"
    [stored] = find_features([path])[0].blocks()
    decomposed = tuple(unicodedata.normalize("NFD", name) for name in stored.ids)
    write_features(path, [Descriptors(decomposed, stored.values)])
    api.import_features([root / "features"], root / "mac")
    found = api.evaluate(make_experiment(root, "output=second", "extraction.model=imported:mac", *settings))
    assert tuple(found.ranking.database_ids) == tuple(expected.ranking.database_ids)
    np.testing.assert_array_equal(found.evaluation.per_query, expected.evaluation.per_query)
    assert any("of 3 imported ids, such as" in note for note in notes_of(found))

    # an image that is there under its own name is another one
    twice = Descriptors((*stored.ids, decomposed[-1]), np.concatenate([stored.values, stored.values[:1]]))
    write_features(path, [twice])
    api.import_features([root / "features"], root / "both")
    both = api.evaluate(make_experiment(root, "output=third", "extraction.model=imported:both", *settings))
    assert len(both.ranking.database_ids) == len(expected.ranking.database_ids) + (not subset)


@pytest.mark.slow
def test_features_without_images_are_searched_judged_and_shown(root: Path) -> None:
    result, report = api.run(make_experiment(root))
    assert len(result.ranking.database_ids) == 39
    assert result.design == "siglip"
    # an independent search of the files themselves
    files = {f.path.stem: next(f.blocks()) for f in find_features([root / "features"])}
    database = [files[f"features_{n}"] for n in ("positives", "distractors_00000", "distractors_00001")]
    ids = [i for part in database for i in part.ids]
    values = np.concatenate([part.values for part in database]).astype(np.float64)
    queries = files["features_image_queries"]
    assert result.ranking.query_ids == queries.ids
    for q, vector in enumerate(queries.values.astype(np.float64)):
        order = np.argsort(-(values @ vector), kind="stable")
        assert [result.ranking.database_ids[row] for row in result.ranking.indices[q]] == [
            ids[row] for row in order
        ]
    axes = {s.axis for s in result.evaluation.slices}
    assert axes == {"category", "subcategory", "scale", "clutter"}
    assert result.evaluation.unreachable == 0
    html = report.read_text()
    assert "made elsewhere" in html
    assert "P000_00.jpg" in html
    assert "NaN" not in html
    again = api.load_run(root / "run")
    assert again.evaluation.mean == result.evaluation.mean
    assert api.report([root / "run", root / "run"]).exists()


def test_what_is_suspicious_is_in_terminal_json_run_and_verdict(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files passed over, results out of order and of another data set are no matter of the log alone."""
    (root / "features" / "readme.txt").touch()
    api.import_features([root / "features"], root / "siglip")
    result, report = api.run(make_experiment(root))
    passed_over = "features: 1 other file or folder was not read (readme.txt)"
    assert notes_of(result) == [passed_over]
    assert f"{passed_over}." in report.read_text().split("Before you rely on this")[1]
    assert summary(result)["notes"] == [passed_over]
    assert summary(api.load_run(root / "run"))["notes"] == [passed_over]
    say_result(result)
    assert f"note: {passed_over}" in capsys.readouterr().out
    queries = result.ranking.query_ids
    values = np.tile([0.7, 0.1], (len(queries), 1))
    values[-1] = [0.1, 0.7]
    names = ["x/one.jpg", "x/two.jpg"]
    ranks = np.tile([0, 1], (len(queries), 1))
    content = {"query_ids": list(queries), "db_ids": names, "sims": values, "ranks": ranks}
    (root / "results").write_bytes(pickle.dumps(content))
    result, report = api.import_results(root / "results", make_experiment(root))
    order, other = notes_of(result)
    assert f"results: the results of 1 of {len(queries)} queries" in order
    assert "none of the 9 database ids of the ground truth" in other
    assert "in order of similarity" in report.read_text().split("Before you rely on this")[1]


def test_text_queries_and_a_subset(root: Path) -> None:
    keys = ["0003", "0007", "0020"]
    (root / "mini.txt").write_text("\n".join(keys))
    result = api.evaluate(make_experiment(root, "dataset.queries=text", "dataset.subset=mini.txt"))
    assert len(result.ranking.query_ids) == 3
    kept = set(result.ranking.database_ids)
    assert {i.split("/")[1] for i in kept if ".tar/" in i} == set(keys)
    assert len(kept) == 9 + 3
    (root / "mini.txt").write_text("nothing.jpg")
    with pytest.raises(DatasetError, match="none of its 1 id is in the data set"):
        api.evaluate(make_experiment(root, "dataset.subset=mini.txt"))


@pytest.mark.slow
def test_photos_and_texts_are_asked_beside_each_other(root: Path) -> None:
    both = api.evaluate(make_experiment(root, "dataset.queries=both")).ranking.to_dict()
    assert len(both) == 6 + 3
    assert both == {
        query: found
        for kind in ("image", "text")
        for query, found in api.evaluate(
            make_experiment(root, f"dataset.queries={kind}")
        ).ranking.to_dict().items()
    }  # fmt: skip
    (root / "features" / "features_text_queries.hdf5").unlink()
    api.import_features([root / "features"], root / "siglip")
    with pytest.raises(DatasetError, match=r"3 of 9 .* import the file features_text_queries\.hdf5"):
        api.evaluate(make_experiment(root, "dataset.queries=both"))


def test_expansion_works_on_imported_descriptors(root: Path) -> None:
    config = make_experiment(root, "search.expansion=average", "search.database_expansion_top=2")
    assert api.evaluate(config).evaluation.mean > 0.5


@pytest.mark.slow
def test_what_needs_pixels_says_so(root: Path) -> None:
    with pytest.raises(DatasetError, match="only the id of this image is known"):
        api.evaluate(make_experiment(root, "extraction.model=efficientnet-lite2"))
    with pytest.raises(DatasetError, match="only the id of this image is known"):
        api.evaluate(make_experiment(root, "rerank.features=orb"))


def test_missing_descriptors_are_said_or_counted(root: Path) -> None:
    file = root / "features" / "features_positives.hdf5"
    block = next(find_features([file])[0].blocks())
    write_features(file, [Descriptors(block.ids[2:], block.values[2:])])
    api.import_features([root / "features"], root / "siglip")
    result = api.evaluate(make_experiment(root))
    # two queries an object
    assert result.evaluation.unreachable == 4
    (root / "features" / "features_distractors_00000.hdf5").unlink()
    api.import_features([root / "features"], root / "siglip")
    notes = " ".join(notes_of(api.evaluate(make_experiment(root))))
    assert "not searched, as it has no descriptors: 20 of 30 distractors that the data set lists" in notes
    (root / "features" / "features_image_queries.hdf5").unlink()
    api.import_features([root / "features"], root / "siglip")
    with pytest.raises(DatasetError, match="6 of 6 queries have no descriptor"):
        api.evaluate(make_experiment(root))
    with pytest.raises(ConfigError, match="holds no imported descriptors"):
        api.evaluate(make_experiment(root, "extraction.model=imported:elsewhere"))


def test_an_import_is_kept_and_goes_on_where_it_stopped(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = open_imported(root / "siglip")
    assert found.rows == {
        "image_queries": 6, "text_queries": 3, "positives": 9, "distractors": 30, "uned": 2
    }  # fmt: skip
    assert found.descriptors("uned").ids == ("a/1.jpg", "b/2.jpg")
    stamps = {p: p.stat().st_mtime_ns for p in found.artifact.folder.glob("*.npy")}
    (found.artifact.folder / "distractors-00001-000000000000.ids.json").unlink()
    api.import_features([root / "features"], root / "siglip")
    changed = [p.name for p, stamp in stamps.items() if p.stat().st_mtime_ns != stamp]
    assert changed == ["distractors-00001-000000000000.npy"]
    monkeypatch.setattr("ilion.interop.imported.BLOCK", 7)
    (root / "siglip2").mkdir()
    other = api.import_features([root / "features"], root / "siglip2")
    assert len(other.partitions["distractors"]) == 5
    for name in ("positives", "distractors"):
        one, two = found.descriptors(name), other.descriptors(name)
        assert one.ids == two.ids
        assert b"".join(b.tobytes() for b in one.blocks(9)) == b"".join(b.tobytes() for b in two.blocks(4))


def test_bad_features_are_refused(root: Path) -> None:
    features = root / "features"
    block = describe(["001.tar/0001"], 0)
    write_features(features / "features_distractors_00002.hdf5", [block])
    with pytest.raises(ArtifactError, match=r"'001\.tar/0001' occurs twice"):
        api.import_features([features], root / "twice")
    assert not (root / "twice" / "imported.json").exists()
    long = Descriptors(("c.tar/1",), (3 * block.values).astype(np.float16))
    write_features(features / "features_distractors_00002.hdf5", [long])
    with pytest.raises(ArtifactError, match="length 3"):
        api.import_features([features], root / "long")
    found = api.import_features([features], root / "long", normalise=True)
    assert np.linalg.norm(found.descriptors("distractors").gather(np.array([30]))) == pytest.approx(
        1, abs=1e-3
    )
    (features / "features_distractors_00001.hdf5").rename(features / "features_distractors_00005.hdf5")
    (features / "features_distractors_00002.hdf5").rename(features / "features_distractors_00001.hdf5")
    assert (
        "3 files of distractors seem to be missing"
        in api.import_features([features], root / "gaps", normalise=True).notes[0]
    )


def test_features_come_back_bit_by_bit(root: Path) -> None:
    config = make_experiment(root)
    files = api.export_features(config, root / "out")
    assert [f.name for f in files] == [
        "features_image_queries.hdf5", "features_positives.hdf5", "features_distractors_00000.hdf5"
    ]  # fmt: skip
    old = {f.path.stem: next(f.blocks()) for f in find_features([root / "features"])}
    new = {f.path.stem: next(f.blocks()) for f in find_features([root / "out"])}
    for name in ("features_image_queries", "features_positives"):
        assert new[name].ids == old[name].ids
        assert new[name].values.tobytes() == old[name].values.tobytes()
    parts = [old["features_distractors_00000"], old["features_distractors_00001"]]
    assert new["features_distractors_00000"].ids == parts[0].ids + parts[1].ids
    assert new["features_distractors_00000"].values.tobytes() == b"".join(p.values.tobytes() for p in parts)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["json", "pickle", "trec"])
def test_results_come_back_as_a_run(root: Path, form: Any) -> None:
    config = make_experiment(root)
    result = api.evaluate(config)
    path = api.export_results(root / "run", root / f"results.{form}{'.gz' * (form == 'trec')}", form)
    again, report = api.import_results(path, make_experiment(root, "output=other"))
    assert again.evaluation.per_query.tolist() == result.evaluation.per_query.tolist()
    assert [s.mean for s in again.evaluation.slices] == [s.mean for s in result.evaluation.slices]
    assert again.design == path.name
    assert report.exists()
    found = read_results(api.export_results(root / "other", root / "third.pkl", "pickle"))
    assert found.similarities.tobytes() == result.ranking.similarities.tobytes()
    for q, row in enumerate(found.indices):
        ids = [found.database_ids[i] for i in row]
        assert ids == [result.ranking.database_ids[i] for i in result.ranking.indices[q]]
    comparison = api.compare(root / "run", root / "other")
    assert comparison.difference == 0
    assert api.report([root / "other", root / "run"]).exists()
    with pytest.raises(ConfigError, match="made elsewhere, so there is no model to run"):
        api.run(load_experiment(root / "other" / "experiment.toml"))


def test_results_of_other_queries_are_refused(root: Path) -> None:
    config = make_experiment(root)
    path = root / "results.json"
    ids = [q.id for q in open_dataset(root).queries if q.image]
    path.write_text(json.dumps({query: {"000.tar/0001": 0.5} for query in ids[1:]}))
    with pytest.raises(ArtifactError, match="1 of 6 queries is missing"):
        api.import_results(path, config)
    path.write_text(json.dumps({query: {"000.tar/0001": 0.5} for query in [*ids, "x/query/Q.jpg"]}))
    with pytest.raises(ArtifactError, match="1 query of the ranking is not in the ground truth"):
        api.import_results(path, config)
    path.write_text(json.dumps({query: {"000.tar/0001": 0.5} for query in ids}))
    result, _ = api.import_results(path, config)
    # positives that were not found are missed, not unreachable
    assert (result.evaluation.mean, result.evaluation.unreachable) == (0.0, 0)


def test_layers_change_their_form(tmp_path: Path) -> None:
    from ilion.interop.layers import read_layer, write_layer

    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(3, 5)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    write_layer(tmp_path / "layer.pt", weight, bias)
    assert api.import_layer(tmp_path / "layer.pt", tmp_path / "layer.npz") == (5, 3)
    assert api.export_layer(tmp_path / "layer.npz", tmp_path / "again.pt") == (5, 3)
    assert (tmp_path / "again.pt").read_bytes() == (tmp_path / "layer.pt").read_bytes()
    assert read_layer(tmp_path / "again.pt")[0].tobytes() == weight.tobytes()
    for verb, name in ((api.import_layer, "x.pt"), (api.export_layer, "x.npz")):
        with pytest.raises(ConfigError, match=r"\.npz"):
            verb(tmp_path / "layer.pt", tmp_path / name)


@pytest.mark.slow
def test_the_commands(root: Path) -> None:
    from typer.testing import CliRunner

    from ilion.cli import app

    def call(*arguments: object) -> str:
        done = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    features = root / "features"
    facts = json.loads(
        call("import", "features", features, "--output", root / "new", "--name", "x", "--json")
    )
    assert (facts["name"], facts["dimensions"], facts["rows"]["distractors"]) == ("x", 8, 30)
    assert f"--model imported:{root / 'new'}" in call("import", "features", features, "-o", root / "new")
    settings = ["--set", "evaluation.bootstrap=20"]
    run = [root, "--model", f"imported:{root / 'new'}"]
    out = json.loads(call("run", *run, *settings, "-o", root / "r", "--json"))
    assert out["cost"]["extraction_ms_per_image"] is None
    assert call("export", "features", *run, "-o", root / "out", "--dtype", "stored").count("features_") == 3
    call("export", "results", root / "r", "-o", root / "r.json")
    call("export", "results", root / "r", "-o", root / "r.pkl", "--form", "pickle")
    for name in ("r.json", "r.pkl"):
        said = call("import", "results", root / name, root, *settings, "-o", root / f"{name}.run")
        assert "cost unknown" in said
        assert f"{out['mAP']:.4f}" in said
    assert "+0.0000" in call("compare", root / "r", root / "r.pkl.run")


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_an_array_that_was_cut_off_or_deleted_is_made_again(root: Path, damage: str) -> None:
    folder = open_imported(root / "siglip").artifact.folder
    path = folder / "positives-00000-000000000000.npy"
    whole = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(whole[:-5])
    api.import_features([root / "features"], root / "siglip")
    assert path.read_bytes() == whole


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_imported_precision_is_kept_after_a_layer(root: Path, dtype: str) -> None:
    for file in find_features([root / "features"]):
        blocks = [Descriptors(b.ids, b.values.astype(dtype)) for b in file.blocks()]
        write_features(file.path, blocks, None)
    api.import_features([root / "features"], root / "siglip")
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(8, 8)))[0].astype(np.float32)
    save_layer(root / "layer.npz", Adapter(turn, np.zeros(8, np.float32)))
    api.rank(make_experiment(root, f"adaptation.layer={root / 'layer.npz'}"))
    assert {np.load(path).dtype.name for path in (root / "run").glob("**/adapted-*/*.npy")} == {dtype}
