"""A run of a published benchmark prints what its publications print."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests import benchmark_sets as sets
from tests.conftest import draw_photo
from tests.networks import read_texts, tiny_network

from ilion import api, cli
from ilion.config import ExperimentConfig, from_dict
from ilion.errors import ArtifactError, ConfigError
from ilion.evaluation.protocols import judge_protocols
from ilion.storage import read_ranking


def experiment(root: Path, output: Path, **settings: object) -> ExperimentConfig:
    network = tiny_network(output.parent / "tiny.onnx")
    plain: dict[str, object] = {
        "output": str(output),
        "dataset": {"path": str(root)},
        "extraction": {"model": f"onnx:{network}", "threads": 1, "workers": 1},
        "search": {"k": 3},
        "evaluation": {"k": 3, "bootstrap": 20},
    }
    return from_dict(ExperimentConfig, {**plain, **settings})


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["ilion", *arguments])
        with pytest.raises(SystemExit):
            cli.main()
    return capsys.readouterr().out


@pytest.mark.slow
def test_a_run_of_revisited_oxford_prints_its_three_setups(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets.revisited(tmp_path / "roxford5k", 0, images=14, queries=3, draw=draw_photo)
    result, report = api.run(experiment(tmp_path / "roxford5k", tmp_path / "run"))
    assert list(result.protocols) == ["easy", "medium", "hard"]
    assert result.evaluation.k == 3
    medium = result.protocols["medium"]
    assert (medium.definition, medium.k) == ("revisited", 14)  # all results, whatever search.k says
    assert len(medium.metric_ci95) == 3
    assert set(medium.instances) == {"all_souls", "hall"}
    page = report.read_text("utf-8")
    assert "judged as the benchmark" in page
    for name in ("mAP@k (ilias)", "mAP@k (revisited)", "mP@n"):
        assert f"<dt>{name}</dt>" in page, "what it means is said"
    assert "<dt>MAP@R</dt>" not in page
    again = api.load_run(tmp_path / "run")
    assert again.protocols["hard"].mean == result.protocols["hard"].mean
    out = command(capsys, "evaluate", str(tmp_path / "run" / "experiment.toml"))
    assert f"as published, medium: mAP (revisited) {medium.mean:.4f}" in out
    out = command(capsys, "evaluate", str(tmp_path / "run" / "experiment.toml"), "--json")
    assert list(json.loads(out)["protocols"]["medium"]["metrics"]) == ["mP@1", "mP@5", "mP@10"]


@pytest.mark.slow
def test_composed_queries_are_searched_among_their_own_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets.icir(tmp_path / "icir", 0, draw=draw_photo)
    config = experiment(tmp_path / "icir", tmp_path / "run")
    result = api.evaluate(config)
    ranking = read_ranking(tmp_path / "run" / "ranking")
    instance = {query.id: query.instance for query in result.dataset.queries}
    among = result.dataset.among
    for query, found in ranking.to_dict().items():
        assert {among[image] for image in found} == {instance[query]}
        assert len(found) == sum(name == instance[query] for name in among.values())
    whole = api.evaluate(experiment(tmp_path / "icir", tmp_path / "again", dataset={
        "path": str(tmp_path / "icir"), "shard_size": 2
    }))  # fmt: skip
    assert whole.protocols["macro"].mean == result.protocols["macro"].mean
    np.testing.assert_allclose(
        judge_protocols(result.dataset, ranking, bootstrap=2)["micro"].per_query,
        result.protocols["micro"].per_query,
    )
    with pytest.raises(ConfigError, match=r"search.method = compressed cannot do"):
        api.evaluate(experiment(tmp_path / "icir", tmp_path / "other", search={"method": "compressed"}))
    with pytest.raises(ConfigError, match=r"always exactly, so there is no code to choose"):
        api.tune(config)


def test_lower_k_is_no_advice_where_the_benchmark_looks_at_all(tmp_path: Path) -> None:
    sets.revisited(tmp_path / "roxford5k", 0, images=14, queries=3, draw=draw_photo)
    with pytest.raises(ArtifactError, match=r"its benchmark looks at so many: use a larger database"):
        api.tune(experiment(tmp_path / "roxford5k", tmp_path / "run"))


def test_each_composed_query_is_asked_with_its_own_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets.icir(tmp_path / "icir", 0, draw=draw_photo)
    config = experiment(
        tmp_path / "icir", tmp_path / "run", dataset={"path": str(tmp_path / "icir"), "queries": "image+text"}
    )
    from ilion.pipeline import Pipeline

    companions = Pipeline(config).companions
    assert {query.partition("#")[2] for query in companions} == set(companions.values())
    assert len(set(companions.values())) == 2


def test_a_photo_with_its_text_needs_a_model(tmp_path: Path) -> None:
    """Imported descriptors are of photos and of texts: asked with both, the text must not be dropped."""
    sets.icir(tmp_path / "icir", 0, draw=draw_photo)
    plain = experiment(tmp_path / "icir", tmp_path / "run")
    api.export_features(plain, tmp_path / "files")
    api.import_features([tmp_path / "files"], tmp_path / "theirs")
    extraction: dict[str, object] = {"model": f"imported:{tmp_path / 'theirs'}"}
    alone = api.evaluate(experiment(tmp_path / "icir", tmp_path / "alone", extraction=extraction))
    assert alone.protocols["macro"].mean == pytest.approx(
        api.evaluate(plain).protocols["macro"].mean, abs=0.02
    )
    asked = {"path": str(tmp_path / "icir"), "queries": "image+text"}
    with pytest.raises(ConfigError, match="together, which needs a model"):
        api.evaluate(experiment(tmp_path / "icir", tmp_path / "both", dataset=asked, extraction=extraction))


@pytest.mark.slow
def test_composed_queries_may_multiply_both_similarities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Photo, text and product as the authors' table has them; the product is made of the other two."""
    read_texts(monkeypatch)
    sets.icir(tmp_path / "icir", 0, draw=draw_photo)

    def found(name: str, asked: str, **extraction: object) -> dict[str, dict[str, float]]:
        plain = experiment(tmp_path / "icir", tmp_path / name)
        model = {
            "model": plain.extraction.model,
            "threads": 1,
            "workers": 1,
            "dtype": "float32",
            **extraction,
        }
        dataset = {"path": str(tmp_path / "icir"), "queries": asked}
        result = api.evaluate(
            experiment(tmp_path / "icir", tmp_path / name, dataset=dataset, extraction=model)
        )
        return result.ranking.to_dict()

    photos, texts = found("photos", "image"), found("texts", "text")
    products = found("products", "image+text", text_fusion="product")
    assert products != found("sums", "image+text")
    for query, ranked in products.items():
        assert set(ranked) == set(photos[query])
        expected = [max(photos[query][i], 0) * max(texts[f"{query}#text"][i], 0) for i in ranked]
        np.testing.assert_allclose(list(ranked.values()), expected, rtol=1e-4)
    with pytest.raises(ConfigError, match=r"needs search\.method = 'exact'"):
        api.evaluate(
            from_dict(
                ExperimentConfig,
                {
                    "output": str(tmp_path / "bad"),
                    "dataset": {"path": str(tmp_path / "icir"), "queries": "image+text"},
                    "extraction": {
                        "model": f"onnx:{tmp_path / 'tiny.onnx'}",
                        "workers": 1,
                        "text_fusion": "product",
                    },
                    "search": {"expansion": "average"},
                },
            )
        )
