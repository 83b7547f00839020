"""The stages together, on tiny data: caching, staleness, bad images, expansion, the command line."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from tests.conftest import write_tar
from tests.networks import tiny_network
from tests.stages import same

import ilion
from ilion import api, cli
from ilion.config import ExperimentConfig, from_dict
from ilion.errors import ArtifactError, ConfigError, DatasetError, ImageError
from ilion.outcome import RunResult
from ilion.pipeline import Pipeline
from ilion.pipeline.experiment import Experiment
from ilion.pipeline.explain.own_photos import note_own_photos
from ilion.storage import ids as idlist
from ilion.types import GroundTruth, Int64, Ranking


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return tiny_network(tmp_path / "tiny.onnx")


def experiment(folder: Path, network: Path, output: Path, **sections: dict[str, Any]) -> ExperimentConfig:
    values: dict[str, Any] = {
        "name": "tiny",
        "output": str(output),
        "dataset": {"path": str(folder), "shard_size": 4},
        "extraction": {"model": f"onnx:{network}", "threads": 1, "workers": 2},
        "evaluation": {"k": 10, "bootstrap": 50},
    }
    for section, settings in sections.items():
        values.setdefault(section, {}).update(settings)
    return from_dict(ExperimentConfig, values)


def numbers(result: RunResult) -> tuple[Any, ...]:
    return (
        result.evaluation.per_query.tolist(),
        result.ranking.indices.tolist(),
        result.ranking.similarities.tolist(),
        tuple(result.ranking.database_ids),
    )


def test_a_run_writes_everything_and_a_second_one_reuses_it(
    tiny_dataset: Path, network: Path, tmp_path: Path
) -> None:
    config = experiment(tiny_dataset, network, tmp_path / "out")
    first, report = api.run(config)
    assert report.exists()
    assert first.cost.reused == ()
    assert len(first.ranking.database_ids) == 18
    assert first.evaluation.query_ids == tuple(q for q in first.evaluation.query_ids if "/query/" in q)
    again, _ = api.run(config)
    assert again.cost.reused == ("descriptors", "queries", "search")
    assert numbers(again) == numbers(first)
    assert again.cost.stage_seconds["descriptors"] == first.cost.stage_seconds["descriptors"]


@pytest.mark.slow
def test_results_are_the_same_where_ids_are_many(
    tiny_dataset: Path, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, _ = api.run(experiment(tiny_dataset, network, tmp_path / "few"))
    monkeypatch.setattr(idlist, "IN_MEMORY", 5)
    monkeypatch.setattr(idlist, "BLOCK", 4)
    many, report = api.run(experiment(tiny_dataset, network, tmp_path / "many"))
    assert numbers(many) == numbers(few)
    assert isinstance(many.ranking.database_ids, idlist.IdList)
    assert report.exists()
    assert numbers(api.load_run(tmp_path / "many")) == numbers(few)
    for run in ("few", "many"):
        api.export_results(tmp_path / run, tmp_path / f"{run}.json")
        api.export_results(tmp_path / run, tmp_path / f"{run}.pickle", "pickle")
    for form in ("json", "pickle"):
        assert (tmp_path / f"many.{form}").read_bytes() == (tmp_path / f"few.{form}").read_bytes()


def test_results_do_not_depend_on_shards_workers_or_blocks(
    tiny_dataset: Path, network: Path, tmp_path: Path
) -> None:
    one = api.evaluate(experiment(tiny_dataset, network, tmp_path / "1"))
    other = api.evaluate(
        experiment(
            tiny_dataset,
            network,
            tmp_path / "2",
            dataset={"shard_size": 1000},
            extraction={"workers": 1},
            search={"block_size": 256},
        )
    )
    assert other.ranking.indices.tolist() == one.ranking.indices.tolist()
    np.testing.assert_allclose(other.ranking.similarities, one.ranking.similarities, atol=2e-3)


@pytest.mark.parametrize(
    ("change", "recomputed"),
    [
        ({"search": {"k": 5}}, {"search"}),
        ({"evaluation": {"k": 5}}, set()),
        ({"extraction": {"side": 48}}, {"descriptors", "queries", "search"}),
        ({"extraction": {"query_box": "none"}}, {"queries", "search"}),
        ({"extraction": {"workers": 1}}, set()),
    ],
)
def test_only_what_a_setting_touches_is_computed_again(
    tiny_dataset: Path, network: Path, tmp_path: Path, change: dict[str, Any], recomputed: set[str]
) -> None:
    api.evaluate(experiment(tiny_dataset, network, tmp_path / "out"))
    result = api.evaluate(experiment(tiny_dataset, network, tmp_path / "out", **change))
    assert {"descriptors", "queries", "search"} - set(result.cost.reused) == recomputed


def test_a_changed_image_is_not_reused(tiny_dataset: Path, network: Path, tmp_path: Path, photo: Any) -> None:
    config = experiment(tiny_dataset, network, tmp_path / "out")
    before = Pipeline(config).extract()
    changed = next((tiny_dataset / "ilias_core").glob("mug*/pos/*_00.jpg"))
    stat = changed.stat()
    changed.write_bytes(photo(777))
    os.utime(changed, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # even with the old date
    after = Pipeline(config).extract()
    row = before.database.ids.index(f"mug_000/pos/{changed.name}")
    rows = np.arange(len(before.database))
    same = (before.database.gather(rows) == after.database.gather(rows)).all(axis=1)
    assert np.flatnonzero(~same).tolist() == [row]


def test_the_same_network_with_other_weights_is_another_model(tiny_dataset: Path, tmp_path: Path) -> None:
    config = experiment(tiny_dataset, tiny_network(tmp_path / "n.onnx", seed=0), tmp_path / "out")
    first = api.extract(config)
    tiny_network(tmp_path / "n.onnx", seed=1)
    second = api.extract(config)
    assert first.folder != second.folder
    assert second.reused == ()


def test_a_bad_image_stops_with_its_name_or_is_counted(
    tiny_dataset: Path, network: Path, tmp_path: Path
) -> None:
    bad = next((tiny_dataset / "ilias_core").glob("mug*/pos/*_01.jpg"))
    bad.write_bytes(bad.read_bytes()[:200])
    with pytest.raises(ImageError, match=f"{bad.name}.*--on-bad-image=skip"):
        api.evaluate(experiment(tiny_dataset, network, tmp_path / "out"))
    skipping = experiment(tiny_dataset, network, tmp_path / "out", extraction={"on_bad_image": "skip"})
    result, report = api.run(skipping)
    assert [s.id for s in result.skipped] == [f"mug_000/pos/{bad.name}"]
    assert result.evaluation.unreachable == 1
    assert len(result.ranking.database_ids) == 17
    assert bad.name in report.read_text(encoding="utf-8")
    # what was skipped once is an error again when it is not asked for
    with pytest.raises(ImageError, match=bad.name):
        api.evaluate(experiment(tiny_dataset, network, tmp_path / "out"))


def test_a_bad_query_is_always_an_error(tiny_dataset: Path, network: Path, tmp_path: Path) -> None:
    bad = next((tiny_dataset / "ilias_core").glob("mug*/query/*.jpg"))
    bad.write_bytes(b"not an image")
    config = experiment(tiny_dataset, network, tmp_path / "out", extraction={"on_bad_image": "skip"})
    with pytest.raises(ImageError, match=bad.name):
        api.evaluate(config)


def test_a_missing_file_is_named(tiny_dataset: Path, network: Path, tmp_path: Path) -> None:
    pipeline = Pipeline(experiment(tiny_dataset, network, tmp_path / "out"))
    assert pipeline.dataset.queries
    gone = next((tiny_dataset / "ilias_core").glob("mug*/pos/*_02.jpg"))
    gone.unlink()
    with pytest.raises((ImageError, DatasetError), match=gone.name):
        pipeline.extract()


def test_text_queries_need_a_model_that_reads(tiny_dataset: Path, network: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="no text tower"):
        api.evaluate(experiment(tiny_dataset, network, tmp_path / "out", dataset={"queries": "text"}))


def test_a_subset_gives_what_a_smaller_database_gives(
    tiny_dataset: Path, network: Path, tmp_path: Path
) -> None:
    whole = api.evaluate(experiment(tiny_dataset, network, tmp_path / "whole"))
    keep = {"shard_00000.tar/img1", "shard_00000.tar/img4"}
    (tmp_path / "ids.txt").write_text("\n".join(sorted(keep)), encoding="utf-8")
    part = api.evaluate(
        experiment(tiny_dataset, network, tmp_path / "part", dataset={"subset": str(tmp_path / "ids.txt")})
    )
    ids = part.ranking.database_ids
    assert {i for i in ids if ".tar/" in i} == keep
    for q in range(len(whole.ranking.query_ids)):
        expected = [i for r in whole.ranking.indices[q] if (i := whole.ranking.database_ids[r]) in set(ids)]
        assert [ids[r] for r in part.ranking.indices[q]] == expected


def test_query_expansion_is_what_its_definition_says(
    tiny_dataset: Path, network: Path, tmp_path: Path
) -> None:
    plain = Pipeline(experiment(tiny_dataset, network, tmp_path / "out"))
    extracted = plain.extract()
    database = extracted.database.gather(np.arange(len(extracted.database)))
    for expansion, power in (("average", 0.0), ("alpha", 3.0)):
        settings = {"expansion": expansion, "expansion_top": 3}
        done = api.rank(experiment(tiny_dataset, network, tmp_path / "out", search=settings))
        for q, query in enumerate(np.asarray(extracted.queries.values)):
            similarities = database @ query
            top = np.argsort(-similarities, kind="stable")[:3]
            expanded = query + sum(max(similarities[t], 0.0) ** power * database[t] for t in top)
            order = database @ (expanded / np.linalg.norm(expanded))
            np.testing.assert_allclose(done.ranking.similarities[q], np.sort(order)[::-1], atol=1e-5)


def test_database_expansion_is_what_its_definition_says(
    tiny_dataset: Path, network: Path, tmp_path: Path
) -> None:
    extracted = Pipeline(experiment(tiny_dataset, network, tmp_path / "out")).extract()
    database = extracted.database.gather(np.arange(len(extracted.database)))
    similarities = database @ database.T
    np.fill_diagonal(similarities, -2.0)
    expanded = []
    for own, row in zip(database, similarities, strict=True):
        top = np.argsort(-row, kind="stable")[:2]
        expanded.append(own + sum(max(row[t], 0.0) ** 3.0 * database[t] for t in top))
    reference = np.array([e / np.linalg.norm(e) for e in expanded])
    done = api.rank(experiment(tiny_dataset, network, tmp_path / "out", search={"database_expansion_top": 2}))
    for q, query in enumerate(np.asarray(extracted.queries.values)):
        np.testing.assert_allclose(done.ranking.similarities[q], np.sort(reference @ query)[::-1], atol=1e-5)


@pytest.mark.slow
def test_two_runs_are_compared_and_reported_together(
    tiny_dataset: Path, network: Path, tmp_path: Path
) -> None:
    a, _ = api.run(experiment(tiny_dataset, network, tmp_path / "a"))
    b, _ = api.run(experiment(tiny_dataset, network, tmp_path / "b", extraction={"side": 32}))
    compared = api.compare(tmp_path / "a", tmp_path / "b")
    assert compared.difference == pytest.approx(b.evaluation.mean - a.evaluation.mean)
    loaded = api.load_run(tmp_path / "a")
    assert numbers(loaded) == numbers(a)
    assert loaded.cost == a.cost
    path = api.report([tmp_path / "a", tmp_path / "b"], tmp_path / "both.html")
    assert path.stat().st_size > 10_000
    with pytest.raises(ArtifactError, match="holds no finished run"):
        api.report([tmp_path / "nowhere"])
    next((tiny_dataset / "ilias_core").rglob("pos/*.jpg")).unlink()
    assert "no longer in the data set" in api.report([tmp_path / "a"]).read_text()
    tiny_dataset.rename(tmp_path / "moved")
    (tmp_path / "a" / "asked.json").unlink()  # as versions before did not write it
    with pytest.raises(DatasetError, match=r"does not exist.* put it back where it was, or run again"):
        api.report([tmp_path / "a"])
    with pytest.raises(ConfigError, match="at least one run"):
        api.report([])


OTHER_CHANGES = ("emptied", "object", "query", "positive", "renamed", "table")


@pytest.mark.parametrize(
    "change", ["moved", *(pytest.param(each, marks=pytest.mark.slow) for each in OTHER_CHANGES)]
)
def test_a_run_is_reported_whatever_became_of_its_data_set(
    change: str, tiny_dataset: Path, network: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Numbers and names are those of the run; photos that have gone are grey fields."""
    whole, _ = api.run(experiment(tiny_dataset, network, tmp_path / "a", dataset={"queries": "image"}))
    both = [tmp_path / "a", tmp_path / "b"]
    api.evaluate(experiment(tiny_dataset, network, both[1], extraction={"side": 32}))
    before = api.report(both, tmp_path / "before.html").read_text()
    core = tiny_dataset / "ilias_core"
    if change == "moved":
        tiny_dataset.rename(tmp_path / "elsewhere")
    elif change == "emptied":
        shutil.rmtree(core)
    elif change == "object":
        shutil.rmtree(core / "mug_000")
    elif change == "query":
        next(core.rglob("query/*.jpg")).unlink()
    elif change == "positive":
        next(core.rglob("pos/*.jpg")).unlink()
    elif change == "renamed":
        (core / "poster_002").rename(core / "board_002")
    else:
        (tiny_dataset / "taxonomy.json").write_text("{}")
    loaded = api.load_run(tmp_path / "a")
    assert numbers(loaded) == numbers(whole)
    assert [q.id for q in loaded.dataset.queries] == [q.id for q in whole.dataset.queries]
    assert loaded.dataset.positives == whole.dataset.positives
    for one, other in zip(loaded.ground_truth.positives, whole.ground_truth.positives, strict=True):
        assert one.tolist() == other.tolist()
    page = api.report(both, tmp_path / "after.html").read_text()
    for query in whole.evaluation.query_ids:
        assert query in page
    assert page.count("mAP") == before.count("mAP")
    if change in ("moved", "emptied"):
        assert "grey fields" in caplog.text
    # what needs no photo does not ask for one
    assert api.compare(both[0], both[1]).difference == pytest.approx(
        api.load_run(both[1]).evaluation.mean - whole.evaluation.mean
    )
    api.export_results(both[0], tmp_path / "results.json")


@pytest.mark.parametrize(
    "place",
    [
        *("tar", "own object", "ignored"),
        *(pytest.param(place, marks=pytest.mark.slow) for place in ("distractors", "other object")),
    ],
)
def test_a_query_whose_photo_is_in_the_database_is_said(
    place: str, plain_dataset: Path, network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It counts as the protocols have it, and nobody has to wonder about the number."""
    query = plain_dataset / "objects/red mug/query/front.jpg"
    before = api.evaluate(experiment(plain_dataset, network, tmp_path / "before"))
    if place == "tar":
        write_tar(plain_dataset / "distractors/more.tar", {"a.jpg": query.read_bytes()})
    else:
        target = {
            "distractors": "distractors/same.jpg",
            "other object": "objects/blue mug/positive/same.jpg",
            "own object": "objects/red mug/positive/same.jpg",
            "ignored": "objects/red mug/ignored/same.jpg",
        }[place]
        shutil.copyfile(query, plain_dataset / target)
    result, report = api.run(experiment(plain_dataset, network, tmp_path / "after"))
    notes = [note for note in result.provenance["data set"]["notes"] if "same photo" in note]  # type: ignore[index]
    if place in ("own object", "ignored"):  # the ground truth names it
        assert notes == []
        return
    [note] = notes
    assert note.startswith("1 of 2 queries found the same photo in the database (such as ")
    assert "red mug" in note
    assert "found the same photo" in report.read_text().split("Before you rely on this")[1]
    options = ["--model", f"onnx:{network}", "-o", str(tmp_path / "again"), "--json"]
    said, _ = command("evaluate", str(plain_dataset), *options, capsys=capsys)
    assert any("same photo" in note for note in json.loads(said)["notes"])
    assert result.evaluation.mean <= before.evaluation.mean


@pytest.mark.parametrize("order", [("b", "a"), ("b",), ("b", "x")])
def test_queries_that_find_themselves_are_told_by_id(order: tuple[str, ...]) -> None:
    """A ranking of others may have its queries in another order, or lack some; judging says so."""
    photo = SimpleNamespace(id="photo")
    queries = [SimpleNamespace(id=name, image=photo) for name in ("a", "b")]
    asked = cast(Experiment, SimpleNamespace(queries=queries))
    rows = np.array([[1 if name == "b" else 2] for name in order], np.int64)
    counts = np.ones(len(order), np.int64)
    ranking = Ranking(order, ("a", "b", "c"), rows, np.full(rows.shape, 0.5, np.float32), counts)
    none, b = np.empty(0, np.int64), np.array([1], np.int64)

    def note(positives: tuple[Int64, Int64]) -> str:
        truth = GroundTruth(("a", "b"), positives, (none, none), np.zeros(2, np.int64))
        return note_own_photos(asked, ranking, truth)

    assert note((b, none)).startswith("1 of 2 queries found the same photo in the database (such as 'b'")
    assert note((none, b)) == ""


def test_settings_of_another_version_are_said(tiny_dataset: Path, network: Path, tmp_path: Path) -> None:
    api.evaluate(experiment(tiny_dataset, network, tmp_path / "a"))
    plain = json.loads((tmp_path / "a/run.json").read_text())
    for config in (None, {"search": {"kk": 3}}, {}):
        plain["provenance"]["config"] = config
        (tmp_path / "a/run.json").write_text(json.dumps(plain))
        with pytest.raises((ArtifactError, ConfigError)):
            api.load_run(tmp_path / "a")


@pytest.mark.slow
def test_a_language_without_words_is_refused_before_the_run(
    tiny_dataset: Path, network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", str(tiny_dataset), "--model", f"onnx:{network}", "-o", str(tmp_path / "out")]
    for language in ("de", "xx"):
        _, err = command(*arguments, "--set", f"report.language={language}", capsys=capsys, code=1)
        assert f"'report.language' must be one of en, ja, got '{language}'" in err
        assert not (tmp_path / "out").exists()
    command(*arguments, capsys=capsys)
    assert (tmp_path / "out/report.html").is_file()


@pytest.mark.slow
def test_finished_runs_give_the_report_that_their_results_give(
    tiny_dataset: Path, network: Path, tmp_path: Path
) -> None:
    bad = next((tiny_dataset / "ilias_core").glob("mug*/pos/*_01.jpg"))
    bad.write_bytes(bad.read_bytes()[:200])
    skip = {"on_bad_image": "skip"}
    sections: dict[str, dict[str, Any]] = {
        "extraction": {**skip, "side": 32},
        "search": {"expansion": "average"},
        "report": {"domain": "mugs"},
    }
    plain = experiment(tiny_dataset, network, tmp_path / "a", extraction=skip)
    a, report = api.run(plain)
    b, _ = api.run(experiment(tiny_dataset, network, tmp_path / "b", **sections))
    page = report.read_bytes()
    assert bad.name.encode() in page
    assert same(api.report([tmp_path / "a"]), page)
    both = Pipeline(plain).write_report(a, b, path=tmp_path / "both.html").read_bytes()
    assert b'id="domains"' in both
    again = api.report([tmp_path / "a", tmp_path / "b"], tmp_path / "again.html")
    assert same(again, both)


def test_no_data_set_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match=r"set dataset\.path"):
        Pipeline(ExperimentConfig())


# --- the command line ---


def command(*arguments: str, capsys: pytest.CaptureFixture[str], code: int = 0) -> tuple[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["ilion", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
    out, err = capsys.readouterr()
    assert (stopped.value.code or 0) == code, (out, err)
    assert "Traceback" not in err
    return out, err


@pytest.mark.slow
def test_run_from_the_command_line(
    tiny_dataset: Path, network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tiny_dataset), "--model", f"onnx:{network}", "-o", str(tmp_path / "out")]
    out, _ = command("run", *arguments, "--set", "evaluation.bootstrap=50", "--json", capsys=capsys)
    said = json.loads(out)
    assert said["queries"] == 3
    assert said["database"] == 18
    assert Path(said["report"]).exists()
    out, _ = command("run", *arguments, capsys=capsys)
    assert "mAP@1000 (ilias)" in out
    out, _ = command("rank", *arguments, "--json", capsys=capsys)
    best = next(results for query, results in json.loads(out).items() if query.startswith("mug_000/query/"))
    assert len(best) == 18
    assert best[0]["similarity"] >= best[1]["similarity"]
    out, _ = command("evaluate", *arguments, "--json", capsys=capsys)
    assert {s["axis"] for s in json.loads(out)["slices"]} >= {"scale", "category"}
    out, _ = command("extract", *arguments, "--json", capsys=capsys)
    assert json.loads(out)["images"] == 18
    out, _ = command("compare", str(tmp_path / "out"), str(tmp_path / "out"), "--json", capsys=capsys)
    assert json.loads(out)["difference"] == 0.0
    assert json.loads(out)["environment"] == []
    plain = json.loads((tmp_path / "out/run.json").read_text())
    libraries = plain["provenance"]["environment"]["libraries"]
    libraries["opencv-python-headless"] = "4.1"
    (tmp_path / "other").mkdir()
    (tmp_path / "other/run.json").write_text(json.dumps(plain))
    out, _ = command("compare", str(tmp_path / "out"), str(tmp_path / "other"), capsys=capsys)
    assert "\n  a and b were not computed alike: opencv-python-headless" in out
    assert out.endswith("and 4.1\n")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "nowhere.toml"], 1, "there is no such file"),
        (["run", ".", "--set", "search.kk=3"], 1, "did you mean 'search.k'"),
        (["run", "."], 1, "ilion datasets new"),
        (["run", ".", "--model", "siglip2-l-521"], 1, "no model is named 'siglip2-l-521'"),
        (["run"], 2, "Missing argument"),
        (["frobnicate"], 2, "No such command"),
        (["compare", "a", "b"], 1, "holds no finished run"),
        (["datasets", "check", "nowhere"], 1, "does not exist"),
    ],
)
def test_a_mistake_shows_a_message_and_no_traceback(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    _, err = command(*arguments, capsys=capsys, code=code)
    assert message in " ".join(err.split())


def test_models_config_and_version_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = command("models", capsys=capsys)
    assert "default" in out
    assert "siglip2-l-512" in out
    out, _ = command("models", "--text", "--json", capsys=capsys)
    assert all(info["text"] for info in json.loads(out))
    out, _ = command("config", "--set", "search.k=7", capsys=capsys)
    assert "k = 7" in out
    out, _ = command("--version", capsys=capsys)
    assert out.strip() == ilion.__version__


def test_defaults_on_the_command_line_are_those_of_the_functions() -> None:
    import inspect

    from ilion.cli import interop
    from ilion.cli import run as runs

    homes = {"demo": runs, "report": runs, "compare": runs}
    homes |= dict.fromkeys(("import_features", "export_features", "export_results", "import_layer"), interop)
    for name, home in homes.items():
        wrapped = inspect.signature(getattr(home, name)).parameters
        for parameter in inspect.signature(getattr(api, name)).parameters.values():
            if parameter.name in wrapped:  # progress and config are made by the command
                default = wrapped[parameter.name].default
                plain = str(default) if isinstance(default, Path) else default
                assert plain == parameter.default, (name, parameter.name)


def test_expansion_keeps_the_database_in_the_fingerprint(
    tiny_dataset: Path, network: Path, tmp_path: Path
) -> None:
    config = experiment(tiny_dataset, network, tmp_path / "out")
    first = api.rank(config)
    other = api.rank(dataclasses.replace(config, seed=5))
    assert first.folder == other.folder  # nothing random takes part in this design
