"""Adaptation in a run: learnt, applied, guarded, reported."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.networks import read_texts, tiny_network
from tests.stages import described, same

from ilion import api, cli
from ilion.adapt import Adapter, identity, is_identity, load_layer, save_layer
from ilion.adapt.layer import Correction, Layer
from ilion.config import ExperimentConfig, from_dict
from ilion.errors import ConfigError, DatasetError
from ilion.evaluation.compare import Comparison
from ilion.searching import search
from ilion.storage import load_artifact

Photo = Callable[..., bytes]


@pytest.fixture
def folder(tmp_path: Path, photo: Photo) -> Path:
    """8 objects with a query and 4 positives each; 6 labelled photos of each of 5 other things."""
    root = tmp_path / "set"
    for number in range(8):
        for kind, count in (("query", 1), ("pos", 4)):
            for view in range(count):
                path = (
                    root / "ilias_core" / f"thing_{number}" / kind / f"{kind[0].upper()}{number}_{view}.jpg"
                )
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(photo(50 * number + 10 * (kind == "query") + view))
    lines = []
    for number in range(30):
        path = root / "adapt" / "images" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(5000 + number))
        lines.append(f"images/{number}.jpg,{number % 5},0")
    (root / "adapt" / "labels.csv").write_text("\n".join(lines))
    return root


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return tiny_network(tmp_path / "tiny.onnx")


def experiment(
    folder: Path,
    network: Path,
    output: str = "out",
    sections: dict[str, dict[str, Any]] | None = None,
    **adaptation: Any,
) -> ExperimentConfig:
    values: dict[str, Any] = {
        "output": str(folder.parent / output),
        "cache": str(folder.parent / "cache"),
        "dataset": {"path": str(folder)},
        "extraction": {"model": f"onnx:{network}", "threads": 1, "workers": 2},
        "evaluation": {"k": 10, "bootstrap": 50},
        "adaptation": adaptation,
    }
    for name, settings in (sections or {}).items():
        values[name] = {**values.get(name, {}), **settings}
    return from_dict(ExperimentConfig, values)


@pytest.mark.slow
def test_a_layer_is_applied_to_queries_and_database(folder: Path, network: Path) -> None:
    plain = described(experiment(folder, network))
    dim = plain.database.dim
    rng = np.random.default_rng(0)
    layer = Adapter(rng.standard_normal((5, dim)).astype(np.float32), np.zeros(5, np.float32))
    save_layer(folder.parent / "layer.pt", layer)
    config = experiment(folder, network, layer=str(folder.parent / "layer.pt"))
    result, report = api.run(config)
    adapted = described(config)
    values = layer.apply(plain.database.gather(np.arange(len(plain.database)))).astype(np.float16)
    assert (adapted.database.gather(np.arange(len(values))) == values).all()
    expected = search(plain.queries.ids, layer.apply(plain.queries.values), adapted.database, k=10)
    assert result.ranking.indices[:, :10].tolist() == expected.indices.tolist()
    assert result.cost.bytes_per_image == 10
    assert "adapted (layer)" in result.design
    assert layer.digest in report.read_text()
    again = api.evaluate(config)
    assert "adaptation" in again.cost.reused
    assert again.evaluation.per_query.tolist() == result.evaluation.per_query.tolist()
    other = Adapter(-layer.weight, layer.bias)
    save_layer(folder.parent / "layer.pt", other)
    changed = api.evaluate(config)
    assert "adaptation" not in changed.cost.reused


def moved(layer: Layer, values: Any) -> Any:
    """Apply a layer by its definition, one descriptor at a time."""
    found = []
    for x in np.asarray(values, np.float64):
        a = layer.arrays()
        y = a["weight"] @ x if "weight" in a else x + a["up"] @ (a["down"] @ x)
        y = y + a["bias"] if x.any() else 0 * y
        found.append(y / max(float(np.sqrt((y**2).sum())), 1e-30))
    return np.array(found)


@pytest.mark.parametrize("form", ["full", "few directions"])
@pytest.mark.parametrize("blind", [False, True])
def test_one_layer_serves_pictures_texts_and_database(
    folder: Path, network: Path, monkeypatch: pytest.MonkeyPatch, form: str, blind: bool
) -> None:
    for number in range(8):
        path = folder / "ilias_core" / f"thing_{number}" / "query" / f"T{number}.txt"
        path.write_text("thing " * (number + 1))
    if not blind:
        read_texts(monkeypatch)
    # where reading finds what the model cannot describe, such texts are rows of zeros
    sections = {"reading": {"use": "fused" if blind else "none"}, "dataset": {"queries": "both"}}
    plain = described(experiment(folder, network, sections=sections))
    of_text = np.array([name.rsplit("/", 1)[-1].startswith("T") for name in plain.queries.ids])
    assert of_text.sum() == 8
    assert len(of_text) == 16
    assert plain.queries.values[~of_text].any(axis=1).all()
    assert plain.queries.values[of_text].any(axis=1).all() != blind
    rng, dim = np.random.default_rng(0), plain.database.dim

    def random(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32)

    layer: Layer = Adapter(random(5, dim), random(5) + 3)
    if form == "few directions":
        layer = Correction(random(2, dim), random(dim, 2), random(dim) + 3)
    save_layer(folder.parent / "layer.npz", layer)
    config = experiment(folder, network, layer=str(folder.parent / "layer.npz"), sections=sections)
    adapted = described(config)
    assert adapted.queries.ids == plain.queries.ids
    np.testing.assert_allclose(adapted.queries.values, moved(layer, plain.queries.values), atol=1e-5)
    assert adapted.queries.values[of_text].any() != blind  # the bias lifts no row of zeros
    rows = np.arange(len(plain.database))
    expected = moved(layer, plain.database.gather(rows))
    np.testing.assert_allclose(adapted.database.gather(rows), expected, atol=1e-3)  # 16 bits
    if not blind:
        ranking = api.rank(config).ranking
        similarities = adapted.queries.values @ adapted.database.gather(rows).T
        np.testing.assert_allclose(ranking.similarities, np.sort(similarities)[:, ::-1], atol=1e-5)


def test_the_identity_changes_nothing_and_stores_nothing(folder: Path, network: Path) -> None:
    before = api.evaluate(experiment(folder, network))
    dim = described(experiment(folder, network)).database.dim
    save_layer(folder.parent / "same.npz", identity(dim))
    after = api.evaluate(experiment(folder, network, layer=str(folder.parent / "same.npz")))
    assert after.ranking.similarities.tolist() == before.ranking.similarities.tolist()
    assert not list((folder.parent / "cache").glob("adapted-*"))
    save_layer(folder.parent / "wrong.npz", identity(dim + 1))
    with pytest.raises(ConfigError, match=f"{dim + 1} dimensions"):
        api.evaluate(experiment(folder, network, layer=str(folder.parent / "wrong.npz")))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["pca", "lda", "wccn", "ridge", "linear", "few-shot"])
def test_every_method_learns_from_labels_and_says_how_it_does(
    folder: Path, network: Path, method: str
) -> None:
    config = experiment(folder, network, method=method, labels=str(folder / "adapt" / "labels.csv"), epochs=2)
    done = api.adapt(config, folder.parent / "layer.npz")
    assert done.learnt.estimate is not None
    assert done.learnt.estimate.classes == 5
    assert done.learnt.estimate.photos == 30
    stored = load_layer(folder.parent / "layer.npz")
    assert stored.facts["method"] == method
    assert stored.facts["verdict"] == done.learnt.verdict
    assert "held-out estimate" in json.loads((folder.parent / "layer.json").read_text())
    used = api.evaluate(experiment(folder, network, layer=str(folder.parent / "layer.npz")))
    direct = api.evaluate(config)
    assert direct.evaluation.per_query.tolist() == used.evaluation.per_query.tolist()
    assert dict(direct.provenance)["adaptation"] == dict(used.provenance)["adaptation"]
    if method == "few-shot":
        assert is_identity(stored.layer) == (not done.learnt.estimate.certain)


def test_objects_that_were_learnt_from_are_not_judged(folder: Path, network: Path) -> None:
    layer = folder.parent / "layer.npz"
    done = api.adapt(experiment(folder, network, method="wccn"), layer, objects=5, shots=3)
    assert done.unseen is not None
    assert done.unseen.instances == 3
    facts = load_layer(layer).facts
    assert len(facts["objects"]) == 5
    assert len(facts["learnt_from"]) == 5 * (3 + 1)
    assert facts["query pictures"] == 5
    with pytest.raises(DatasetError, match=r"leave-out"):
        api.evaluate(experiment(folder, network, layer=str(layer)))
    left = api.evaluate(experiment(folder, network, layer=str(layer), seen="leave-out"))
    assert not set(left.evaluation.instances) & set(facts["objects"])
    assert len(left.evaluation.query_ids) == 3
    # photos that were learnt from count neither way
    photos = [name for name in facts["learnt_from"] if "/pos/" in name]
    learnt = {left.ranking.database_ids.index(name) for name in photos}
    assert all(set(rows.tolist()) == learnt for rows in left.ground_truth.ignored)
    assert (
        len(api.evaluate(experiment(folder, network, layer=str(layer), seen="keep")).evaluation.instances)
        == 8
    )


@pytest.mark.slow
def test_another_split_describes_nothing_again(folder: Path, network: Path) -> None:
    layer = folder.parent / "layer.npz"
    config = experiment(folder, network, method="wccn")

    def learnt(**chosen: Any) -> tuple[list[str], Comparison]:
        done = api.adapt(config, layer, objects=5, shots=3, **chosen)
        assert done.unseen is not None
        return load_layer(layer).facts["learnt_from"], done.unseen

    first, _ = learnt()
    described = {path.name for path in (folder.parent / "cache").glob("descriptors-*/*.npy")}
    second, judged = learnt(split=3)
    assert {path.name for path in (folder.parent / "cache").glob("descriptors-*/*.npy")} == described
    assert load_layer(layer).facts["split"] == 3
    assert set(first) != set(second)
    assert learnt(split=0)[0] == first
    # the same objects, photos, folds and interval as with the seed itself
    config = dataclasses.replace(config, seed=3)
    third, again = learnt()
    assert third == second
    assert again.means == judged.means
    assert again.ci95 == judged.ci95
    labelled = experiment(folder, network, labels=str(folder / "adapt" / "labels.csv"))
    with pytest.raises(ConfigError, match=r"--split .* needs --objects"):
        api.adapt(labelled, layer, split=1)


def test_a_labelled_positive_is_refused(folder: Path, network: Path) -> None:
    labels = folder / "leak.csv"
    first = "ilias_core/thing_0/pos/P0_0.jpg"
    others = [f"adapt/images/{i}.jpg,{i % 5},0" for i in range(10)]
    labels.write_text("\n".join([f"{first},7,0", *others]))
    with pytest.raises(DatasetError, match=r"P0_0\.jpg is a positive"):
        api.adapt(experiment(folder, network, labels=str(labels)), folder.parent / "layer.npz")


def test_wrong_wishes_are_named(folder: Path, network: Path) -> None:
    config, layer = experiment(folder, network), folder.parent / "layer.npz"
    with pytest.raises(ConfigError, match="--labels"):
        api.adapt(config, layer)
    with pytest.raises(ConfigError, match=r"adaptation\.labels"):
        api.evaluate(experiment(folder, network, method="pca"))
    labels = folder / "adapt" / "labels.csv"
    labels.write_text(labels.read_text() + "\nimages/none.jpg,1,0")
    with pytest.raises(DatasetError, match="1 of 31 labelled photos"):
        api.adapt(experiment(folder, network, labels=str(labels)), layer)
    given = dataclasses.replace(config.adaptation, layer="x.npz", labels=str(labels))
    with pytest.raises(ConfigError, match="set already"):
        api.adapt(dataclasses.replace(config, adaptation=given), layer)


def test_the_layer_artifact_is_kept(folder: Path, network: Path) -> None:
    config = experiment(folder, network, method="pca", labels=str(folder / "adapt" / "labels.csv"))
    described(config)
    [kept] = (folder.parent / "cache").glob("layer-*")
    stamp = (kept / "layer.npz").stat().st_mtime_ns
    assert load_artifact(kept, "layer").inputs["options"]["method"] == "pca"
    described(config)
    assert (kept / "layer.npz").stat().st_mtime_ns == stamp


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["learnt", "given"])
def test_a_finished_run_gives_the_report_that_it_gave(folder: Path, network: Path, kind: str) -> None:
    layer = folder.parent / "layer.npz"
    settings: dict[str, Any] = {"method": "wccn", "labels": str(folder / "adapt" / "labels.csv")}
    if kind == "given":
        api.adapt(experiment(folder, network, method="wccn"), layer, objects=5, shots=3)
        settings = {"layer": str(layer), "seen": "leave-out"}
    result, report = api.run(experiment(folder, network, sections={"report": {"gallery": 3}}, **settings))
    assert len(result.evaluation.per_query) == (3 if kind == "given" else 8)
    page = report.read_bytes()
    assert b"leave-out" in page if kind == "given" else b"wccn" in page
    assert same(api.report([folder.parent / "out"]), page)


@pytest.mark.slow
def test_adapt_from_the_command_line(
    folder: Path,
    network: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    common = ["ilion", "adapt", str(folder), "--model", f"onnx:{network}", "-o", "layer.npz"]
    for arguments, word in (
        (["--labels", str(folder / "adapt" / "labels.csv")], "30 photos of 5 classes"),
        (
            ["--objects", "5", "--shots", "3", "--method", "wccn"],
            "15 photos and 5 query pictures of 5 classes",
        ),
        (
            [
                *("--labels", str(folder / "adapt" / "labels.csv"), "--method", "linear"),
                *("--set", "adaptation.margin=0.2", "--set", "adaptation.margin_kind=arcface"),
                *("--set", "adaptation.balance=class+domain", "--set", "adaptation.guard=true"),
            ],
            "The layer is the identity",
        ),
    ):
        monkeypatch.setattr("sys.argv", [*common, *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        out, err = capsys.readouterr()
        assert not stopped.value.code, err
        assert word in out
        kept = is_identity(load_layer(tmp_path / "layer.npz").layer) or "held out: loss" in out
        assert ("to search with it:" in out) == (not kept)
        if "--objects" not in arguments:
            continue
        # the line that is printed for this works as it stands
        [line] = [line for line in out.splitlines() if line.startswith("to search with it: ")]
        monkeypatch.setattr("sys.argv", [*shlex.split(line.removeprefix("to search with it: ")), "--json"])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        used, err = capsys.readouterr()
        assert not stopped.value.code, err
        judged = next(line for line in out.splitlines() if "3 objects left to judge by" in line)
        assert f"-> {json.loads(used)['mAP']:.4f}," in judged
    facts = load_layer(tmp_path / "layer.npz").facts
    told = [facts[name] for name in ("margin", "margin_kind", "balance", "guard", "patience")]
    assert told == [0.2, "arcface", "class+domain", True, 3]
    monkeypatch.setattr("sys.argv", [*common, "--objects", "5", "--json"])
    with pytest.raises(SystemExit):
        cli.main()
    assert json.loads(capsys.readouterr().out)["unseen"]["instances"] == 3
