"""Adaptation of imported descriptors: learnt from imported ones by labels, without a single image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.interop.test_runs import make_experiment, make_features, make_ids

from ilion import api
from ilion.adapt import load_labels, load_layer
from ilion.adapt.methods import MethodOptions, learn
from ilion.errors import DatasetError
from ilion.interop.features import find_features, write_features
from ilion.types import Descriptors, Float32

CLASSES, SHOTS = 6, 4


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set of ids, its features, and features of labelled photos."""
    features = make_features(tmp_path, make_ids(tmp_path))
    ids = [f"class_{c}/{i}.jpg" for c in range(CLASSES) for i in range(SHOTS)]
    rng = np.random.default_rng(1)
    values = rng.normal(size=(CLASSES, 8)).repeat(SHOTS, axis=0) + 0.5 * rng.normal(size=(len(ids), 8))
    values += 2 * rng.normal(size=(len(ids), 1)) * np.eye(8)[0]  # which tells nothing
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    shuffled = rng.permutation(len(ids))
    stored = Descriptors(tuple(ids[i] for i in shuffled), values[shuffled].astype(np.float16))
    write_features(features / "features_uned.hdf5", [stored])
    api.import_features([features], tmp_path / "siglip")
    write_labels(tmp_path, ids)
    return tmp_path


def write_labels(root: Path, ids: list[str]) -> None:
    lines = [f"{name},{name.partition('/')[0]},home" for name in ids]
    (root / "labels.csv").write_text("\n".join(lines), encoding="utf-8")


def read_features(root: Path, *names: str) -> dict[str, Float32]:
    files = {file.path.stem: file for file in find_features([root / "features"])}
    parts = [next(files[f"features_{name}"].blocks()) for name in names]
    return {
        i: np.asarray(v, np.float32) for part in parts for i, v in zip(part.ids, part.values, strict=True)
    }


def test_labels_of_imported_descriptors_teach_a_layer(root: Path) -> None:
    labels, layer = root / "labels.csv", root / "layer.npz"
    config = make_experiment(root, f"adaptation.labels={labels}", "adaptation.method=wccn")
    done = api.adapt(config, layer)
    assert done.learnt.estimate is not None
    assert done.learnt.estimate.photos == CLASSES * SHOTS
    # the same from the files themselves
    taught, read = read_features(root, "uned"), load_labels(labels)
    values = np.stack([taught[path] for path in read.paths])
    expected = learn(values, read, MethodOptions(method="wccn", folds=0)).layer
    stored = load_layer(layer).layer
    assert stored.digest == expected.digest
    used = api.evaluate(make_experiment(root, f"adaptation.layer={layer}"))
    database = read_features(root, "positives", "distractors_00000", "distractors_00001")
    asked = read_features(root, "image_queries")
    rows = np.stack([database[name] for name in used.ranking.database_ids])
    similarities = (
        stored.apply(np.stack([asked[name] for name in used.ranking.query_ids])) @ stored.apply(rows).T
    )
    np.testing.assert_allclose(used.ranking.similarities, np.sort(similarities)[:, ::-1], atol=2e-3)
    direct = api.evaluate(config)
    assert direct.evaluation.per_query.tolist() == used.evaluation.per_query.tolist()


def test_some_of_the_objects_teach_a_layer(root: Path) -> None:
    config = make_experiment(root, "adaptation.method=wccn", "adaptation.folds=0")
    done = api.adapt(config, root / "layer.npz", objects=2, shots=2)
    assert done.unseen is not None
    assert done.unseen.instances == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("class_9/0.jpg", r"1 of 25 labelled photos has no imported descriptor.*features_uned"),
        ("mug_000/pos/P000_01.jpg", "is a positive of the data set"),
        ("mug_000/query/Q000_00.jpg", "is a query picture of the data set"),
        ("000.tar/0000", "is an image of the searched database"),
    ],
)
def test_labels_that_do_not_fit_are_told(root: Path, name: str, message: str) -> None:
    labels = root / "labels.csv"
    labels.write_text(f"{labels.read_text()}\n{name},other,home", encoding="utf-8")
    config = make_experiment(root, f"adaptation.labels={labels}")
    with pytest.raises(DatasetError, match=message):
        api.adapt(config, root / "layer.npz")


def test_distractors_may_teach_where_that_is_asked_for(root: Path) -> None:
    labels = root / "labels.csv"
    labels.write_text(f"{labels.read_text()}\n000.tar/0000,other,home\n001.tar/0001,other,home")
    config = make_experiment(root, f"adaptation.labels={labels}", "adaptation.seen=keep")
    done = api.adapt(config, root / "layer.npz")
    assert done.learnt.facts["photos"] == CLASSES * SHOTS + 2
