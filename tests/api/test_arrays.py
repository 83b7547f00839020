"""The functions of a notebook: the numbers of a run, on photos and arrays, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import draw_photo
from tests.stages import described

import ilion
from ilion import api, storage
from ilion.config import DatasetConfig, ExperimentConfig, ExtractionConfig, RerankConfig
from ilion.errors import ArtifactError, ConfigError, ExtractionError, IlionError, ImageError
from ilion.images import decode
from ilion.reranking.base import Findings
from ilion.types import Descriptors, GroundTruth, LocalFeatures, Ranking, RetrievalDataset, Value

MODEL = "efficientnet-lite2"


def settings(root: Path, output: Path, **rerank: object) -> ExperimentConfig:
    return ExperimentConfig(
        output=str(output),
        dataset=DatasetConfig(path=str(root)),
        extraction=ExtractionConfig(model=MODEL, side=64),
        rerank=RerankConfig(**rerank),  # type: ignore[arg-type]
    )


def images(dataset: RetrievalDataset) -> dict[str, ilion.api.arrays.Photo]:
    return {query.id: query.image for query in dataset.queries if query.image is not None}


@pytest.mark.slow
@pytest.mark.parametrize(("model", "side"), [(MODEL, 160), ("rootsift-vlad", 400)])
def test_a_run_and_the_same_calls_give_the_same_numbers(
    shop: Path, tmp_path: Path, model: str, side: int
) -> None:
    small = {"shortlist": 8, "keypoints": 200, "side": 240}
    config = settings(shop, tmp_path / "run", features="rootsift", **small)
    extraction = ExtractionConfig(model=model, side=side, fit_images=500)
    result = api.evaluate(ExperimentConfig(**{**vars(config), "extraction": extraction}))

    dataset = ilion.open_dataset(str(shop))
    loaded = ilion.load_model(model, side=side).fit(dataset)
    queries = loaded.describe(images(dataset), box_use="crop")
    database = loaded.describe(dataset, dtype="float16")
    first = ilion.search(queries, database)
    final = ilion.rerank(first, images(dataset), dataset, **small)  # type: ignore[arg-type]
    evaluation = ilion.evaluate(final, dataset)

    assert final.to_dict() == result.ranking.to_dict()
    assert first.to_dict() != final.to_dict()
    for name in ("mean", "ci95", "metrics", "metric_ci95", "slices", "unreachable"):
        assert getattr(evaluation, name) == getattr(result.evaluation, name), name
    assert ilion.compare(evaluation, str(tmp_path / "run")).difference == 0
    assert ilion.search(str(tmp_path / "run"), tmp_path / "run").to_dict() == first.to_dict()


@pytest.mark.slow
def test_a_file_and_its_pixels_give_the_same_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(draw_photo(3, kind="PNG"))
    pixels = decode(path.read_bytes()).image
    model = ilion.load_model(MODEL)
    one, other = model.describe([path]), model.describe([pixels])
    assert (one.ids, other.ids) == ((str(path),), ("0",))
    assert np.array_equal(one.values, other.values)
    named = model.describe({"x": pixels, "y": str(path)})
    assert named.ids == ("x", "y")
    local = ilion.describe_local([path, pixels], keypoints=50)
    assert np.array_equal(local[str(path)].descriptors, local["1"].descriptors)


def test_arrays_search_as_descriptors_do() -> None:
    rng = np.random.default_rng(0)
    database = rng.standard_normal((50, 8)).astype(np.float32)
    queries = database[:4] + 0.01
    ranking = ilion.search(queries, database, k=5)
    order = np.argsort(-(queries @ database.T), axis=1, kind="stable")[:, :5]
    assert np.array_equal(ranking.indices, order)
    ids = tuple(map(str, range(50)))
    same = ilion.search(Descriptors(ids[:4], queries), Descriptors(ids, database), k=5)
    assert same.to_dict() == ranking.to_dict()


def test_a_scorer_of_ones_own_decides() -> None:
    class Larger:
        def score(self, query: LocalFeatures, images: list[LocalFeatures]) -> Findings:
            scores = np.array([len(image.keypoints) for image in images], np.float32)
            return Findings(scores)

    def features(count: int) -> LocalFeatures:
        points = np.zeros((count, 2), np.float32)
        return LocalFeatures(points, np.zeros((count, 4), np.float32), points[:, 0], (10, 10))

    ranking = Ranking.from_dict({"q": {"a": 0.9, "b": 0.8, "c": 0.7}})
    locals_ = {"a": features(1), "b": features(2), "c": features(3)}
    final = ilion.rerank(ranking, {"q": features(1)}, locals_, scorer=Larger(), shortlist=2)  # type: ignore[arg-type]
    assert list(final.to_dict()["q"]) == ["b", "a", "c"]
    assert final.to_dict()["q"]["b"] == pytest.approx(2.8)
    weighted = ilion.rerank(ranking, {"q": features(1)}, locals_, scorer=Larger(), weight=0.01)  # type: ignore[arg-type]
    assert list(weighted.to_dict()["q"]) == ["a", "b", "c"]


@pytest.mark.slow
def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    model = ilion.load_model(MODEL)
    ranking = Ranking.from_dict({"q": {"a": 0.9}})
    photo = decode(draw_photo(1)).image
    with pytest.raises(ConfigError, match="did you mean"):
        ilion.load_model(MODEL, sidee=3)
    with pytest.raises(IlionError, match="did you mean"):
        ilion.load_model("efficientnet-lite3")
    with pytest.raises(ConfigError, match="of your own"):
        ilion.load_model(3)  # type: ignore[arg-type]
    with pytest.raises(ExtractionError, match="reads no texts"):
        model.describe_texts(["a mug"])
    with pytest.raises(ExtractionError, match="learnt"):
        ilion.load_model("default").describe([photo])
    with pytest.raises(ImageError, match="float64"):
        model.describe([np.zeros((3, 3, 3))])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="list or a dict"):
        model.describe("photo.jpg")
    with pytest.raises(ArtifactError, match="given twice"):
        model.describe(["a.jpg", "a.jpg"])
    with pytest.raises(ArtifactError, match="'a'"):
        ilion.rerank(ranking, {"q": photo}, {"b": photo})
    with pytest.raises(ConfigError, match="full precision"):
        ilion.rerank(ranking, {"q": photo}, {"a": photo}, budget=2048)
    with pytest.raises(ArtifactError, match="no query 'r'"):
        ilion.show(ranking, "r", {"a": photo})
    with pytest.raises(ArtifactError, match="photos="):
        ilion.show(ranking, "q")
    with pytest.raises(ArtifactError, match="no finished run"):
        ilion.search(tmp_path, tmp_path)


def test_truth_by_id_is_judged_in_any_database() -> None:
    truth = {"q": ["a", "gone"], "r": ["c"]}
    small = Ranking.from_dict({"q": {"b": 0.9, "a": 0.5}, "r": {"c": 0.1}})
    large = Ranking.from_dict(small.to_dict(), database_ids=("z", "c", "b", "y", "a"))
    first, second = (ilion.evaluate(r, truth, instances={"q": "x", "r": "x"}) for r in (small, large))
    assert first.mean == second.mean == (0.25 + 1) / 2
    assert first.instances == ("x", "x")
    assert ilion.evaluate(small, GroundTruth.from_dict(truth)).mean == first.mean
    ignoring = GroundTruth.from_dict({"q": {"b": -1, "a": 1}, "r": {"c": 2, "a": 0}})
    assert ilion.evaluate(small, ignoring).mean == 1


@pytest.mark.slow
def test_paths_may_be_strings_and_results_print_briefly(tiny_dataset: Path, tmp_path: Path) -> None:
    config = settings(tiny_dataset, tmp_path / "run")
    result, _ = ilion.run(config)
    loaded = ilion.load_run(str(tmp_path / "run"))
    assert loaded.evaluation.mean == result.evaluation.mean
    assert api.report([str(tmp_path / "run")], str(tmp_path / "again.html")) == tmp_path / "again.html"
    japanese = api.report([str(tmp_path / "run")], str(tmp_path / "ja.html"), language="ja")
    assert '<html lang="ja">' in japanese.read_text("utf-8")
    with pytest.raises(ConfigError, match="the report has no language 'xx'; choose of en, ja"):
        api.report([str(tmp_path / "run")], language="xx")
    again, _ = ilion.run(str(tmp_path / "run" / "experiment.toml"))
    assert again.evaluation.mean == result.evaluation.mean
    assert api.status(str(tmp_path / "run"))
    extracted = described(config)
    dataset = ilion.open_dataset(tiny_dataset)
    model = ilion.load_model(MODEL)
    strip = ilion.show(result, result.ranking.query_ids[0], top=3)
    values: list[Value] = [result, result.evaluation, result.ranking, result.ground_truth, result.cost]
    values += [dataset, config, model, ilion.compare(result, loaded), api.rank(config), strip]
    values += [extracted, extracted.database, model.describe([decode(draw_photo(1)).image])]
    for value in values:
        text = repr(value)
        assert text.startswith(type(value).__name__)
        assert len(text.splitlines()) <= 6, text
        assert max(map(len, text.splitlines())) <= 110, text
    html = result._repr_html_()
    assert f"<td>{result.evaluation.mean:.4f}</td>" in html
    assert "recall@1000" in html
    assert strip._repr_html_().count("data:image/jpeg;base64,") == 4
    assert len(strip.html) < 200_000


def test_html_is_escaped() -> None:
    photo = decode(draw_photo(1)).image
    ranking = Ranking.from_dict({"<q>": {"<b>": 0.9}})
    html = ilion.show(ranking, "<q>", {"<b>": photo, "<q>": photo}).html
    assert "<b>" not in html
    assert "<q>" not in html
    assert "&lt;b&gt;" in html


def test_every_verb_takes_strings_as_paths() -> None:
    import inspect

    verbs = [getattr(api, name) for name in api.__all__] + [ilion.open_dataset, ilion.load_experiment]
    strict = [
        f"{verb.__name__}({name}: {p.annotation})"
        for verb in verbs
        for name, p in inspect.signature(verb).parameters.items()
        if "Path" in str(p.annotation)
    ]
    assert not strict, strict


def test_few_public_names_and_no_cost() -> None:
    assert len(ilion.__all__) < 30
    costly = ("numpy", "cv2", "ilion.types", "ilion.api")
    code = f"import sys, ilion; print([m for m in {costly} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_stored_results_are_untouched_by_ground_truth_ids(tmp_path: Path) -> None:
    ranking = Ranking.from_arrays(
        np.array([[1, 0], [0, -1]]), np.array([[2.0, 1], [3, 0]]), database_ids=["x", "y"]
    )
    storage.write_ranking(tmp_path, ranking)
    assert storage.read_ranking(tmp_path).to_dict() == {"0": {"y": 2.0, "x": 1.0}, "1": {"x": 3.0}}
