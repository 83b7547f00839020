"""Reading in an experiment: alone, fused, for photos and texts, and what the report shows of it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.networks import tiny_network
from tests.stages import same

from ilion import api, storage
from ilion.config import ExperimentConfig, from_dict
from ilion.errors import ArtifactError, DatasetError, ExtractionError
from ilion.pipeline import Pipeline
from ilion.pipeline.stages import read as read_module
from ilion.reading.base import ReaderSpec
from ilion.reading.combine import combine
from ilion.reading.shared import mark_shared_words
from ilion.reading.words import query_terms
from ilion.types import RGB, Ranking, TextLine

WORDS = {0: "MUG AB-1234", 1: "täfelchen choco", 2: "poster ZX-77-B"}
TEXTS = {0: "A mug, part AB1243", 1: "chocolate or taefelchen choco", 2: "ZX 77 B"}


class Labels:
    """Reads the name of the object by the mean colour of the picture; everything else holds other words."""

    spec = ReaderSpec("labels", "none", "1", 64, "MIT")

    def __init__(self, known: dict[int, str]) -> None:
        self.known = known

    def read(self, image: RGB) -> Sequence[TextLine]:
        h, w = image.shape[:2]
        quad = np.array([[0, 0], [w, 0], [w, h / 2], [0, h / 2]], np.float32)
        text = self.known.get(int(image.astype(np.int64).sum()))
        return [TextLine(text, 0.9, quad)] if text else []


@pytest.fixture
def texts(tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let a fake reader see the words of each object in its positives and its query."""
    from ilion.datasets import open_dataset
    from ilion.images import crop, decode

    dataset = open_dataset(tiny_dataset)
    known: dict[int, str] = {}
    rows = {r.id: r for shard in dataset.database for r in shard.records()}
    for query in dataset.queries:
        number = {"mug_000": 0, "täfelchen_001": 1, "poster_002": 2}[query.instance]
        if query.image is not None:
            part = crop(decode(query.image.source.read()).image, query.image.boxes)
            known[int(part.astype(np.int64).sum())] = WORDS[number]
            for name in dataset.positives[query.id]:
                image = decode(rows[name].source.read()).image
                known[int(image.astype(np.int64).sum())] = WORDS[number]
        else:
            path = next(tiny_dataset.rglob(f"T{number:03d}.txt"))
            path.write_text(TEXTS[number], encoding="utf-8")
    monkeypatch.setattr(read_module, "reader_of", lambda config: Labels(known))
    return tiny_dataset


def experiment(folder: Path, output: Path, **sections: dict[str, Any]) -> ExperimentConfig:
    network = tiny_network(output.parent / "tiny.onnx")
    values: dict[str, Any] = {
        "name": "tiny",
        "output": str(output),
        "dataset": {"path": str(folder), "shard_size": 4},
        "extraction": {
            "model": f"onnx:{network}",
            "threads": 1,
            "workers": 2,
        },
        "evaluation": {"k": 10, "bootstrap": 50},
    }
    for section, settings in sections.items():
        values.setdefault(section, {}).update(settings)
    return from_dict(ExperimentConfig, values)


@pytest.mark.slow
def test_texts_and_photos_are_found_by_reading_alone(texts: Path, tmp_path: Path) -> None:
    config = experiment(
        texts,
        tmp_path / "out",
        dataset={"queries": "both"},
        reading={"use": "only"},
        extraction={"model": "onnx:/no/such/model.onnx"},  # no model of images is ever built
    )
    result, report = api.run(config)
    assert len(result.evaluation.per_query) == 6
    assert result.evaluation.per_query.tolist() == [1.0] * 6
    assert result.design == "reading"
    assert result.cost.bytes_per_image > 0
    assert result.provenance["reader"] == Labels.spec.as_dict()
    assert "model" not in result.provenance
    page = report.read_text(encoding="utf-8")
    assert "<mark>AB-1234</mark>" in page
    assert "Images and texts as queries" in page
    again, _ = api.run(config)
    assert {"reading", "query reading", "text index", "search"} <= set(again.cost.reused)
    np.testing.assert_array_equal(again.ranking.indices, result.ranking.indices)


@pytest.mark.slow
def test_fused_reading_helps_and_its_change_is_told(texts: Path, tmp_path: Path) -> None:
    plain = api.evaluate(experiment(texts, tmp_path / "plain"))
    fused, report = api.run(experiment(texts, tmp_path / "fused", reading={"use": "fused", "weight": 2.0}))
    assert fused.evaluation.mean == 1.0
    assert plain.evaluation.mean < 1.0
    reading = fused.reading
    assert reading is not None
    assert reading.before is not None
    assert reading.change is not None
    np.testing.assert_allclose(reading.before.per_query, plain.evaluation.per_query)
    assert reading.change.difference == pytest.approx(1.0 - plain.evaluation.mean)
    assert fused.cost.bytes_per_image > plain.cost.bytes_per_image
    assert fused.design.endswith("+ reading")
    assert "Words on things" in report.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["calibrated", "rank"])
def test_other_fusions_run(texts: Path, tmp_path: Path, fusion: str) -> None:
    result, report = api.run(experiment(texts, tmp_path / "out", reading={"use": "fused", "fusion": fusion}))
    assert result.reading is not None
    assert result.reading.change is not None
    assert result.reading.change.difference > 0
    assert np.isnan(result.reading.weights).all() == (fusion == "rank")
    assert report.exists()


def test_texts_without_a_text_tower_are_found_by_reading(texts: Path, tmp_path: Path) -> None:
    config = experiment(texts, tmp_path / "out", dataset={"queries": "both"}, reading={"use": "fused"})
    result = api.evaluate(config)
    of_text = [("/T" in name) or name.split("/")[-1].startswith("T") for name in result.evaluation.query_ids]
    assert sum(of_text) == 3
    assert result.evaluation.per_query[of_text].tolist() == [1.0] * 3


def test_texts_without_text_tower_and_reading_are_an_error(texts: Path, tmp_path: Path) -> None:
    for kind in ("text", "both", "image+text"):
        with pytest.raises(ExtractionError, match=r"reading\.use"):
            api.evaluate(experiment(texts, tmp_path / kind, dataset={"queries": kind}))


def test_a_photo_and_a_text_are_asked_together(texts: Path, tmp_path: Path) -> None:
    sections = {"dataset": {"queries": "image+text"}, "reading": {"use": "only"}}
    pipeline = Pipeline(experiment(texts, tmp_path / "out", **sections))
    assert sorted(pipeline.companions.values()) == sorted(TEXTS.values())
    stage = read_module.read(pipeline.experiment)
    for query, terms in zip(pipeline.queries, stage.queries, strict=True):
        assert query.image is not None
        assert set(terms) >= set(query_terms(pipeline.companions[query.id]))
    assert pipeline.evaluate().evaluation.mean == 1.0


def test_a_photo_without_a_text_is_said(texts: Path, tmp_path: Path) -> None:
    next(texts.rglob("T001.txt")).unlink()
    config = experiment(texts, tmp_path / "out", dataset={"queries": "image+text"}, reading={"use": "only"})
    with pytest.raises(DatasetError, match="1 query has no text"):
        api.evaluate(config)


@pytest.mark.slow
def test_reading_comes_before_re_ranking(texts: Path, tmp_path: Path) -> None:
    sections: dict[str, dict[str, Any]] = {
        "reading": {"use": "fused", "weight": 2.0},
        "rerank": {"features": "rootsift", "shortlist": 4},
    }
    result = api.evaluate(experiment(texts, tmp_path / "out", **sections))
    assert result.reranking is not None
    assert result.reranking.before.mean == 1.0
    assert result.reading is not None


SECTIONS: list[dict[str, dict[str, Any]]] = [
    {"reading": {"use": "only"}, "dataset": {"queries": "both"}},
    {"reading": {"use": "only"}, "dataset": {"queries": "text"}},
    {"reading": {"use": "only"}, "dataset": {"queries": "image+text"}},
    {"reading": {"use": "fused", "fusion": "calibrated"}, "dataset": {"queries": "both"}},
    {
        "reading": {"use": "fused", "fusion": "rank"},
        "rerank": {"features": "rootsift", "shortlist": 4},
        "search": {"expansion": "alpha"},
        "report": {"domain": "things", "gallery": 6},
    },
]


@pytest.mark.parametrize(
    "number", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, len(SECTIONS)))]
)
def test_a_finished_run_gives_the_report_that_it_gave(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    folder = tmp_path / "out"
    result, report = api.run(experiment(texts, folder, **SECTIONS[number]))
    page = report.read_bytes()
    assert b"<mark>" in page
    monkeypatch.delattr(read_module, "reader_of")  # nothing is read again
    again = api.load_run(folder).reading
    assert result.reading is not None
    assert again is not None
    np.testing.assert_array_equal(again.weights, result.reading.weights)
    np.testing.assert_array_equal(again.folds, result.reading.folds)
    assert same(api.report([folder]), page)
    both = api.report([folder, folder], tmp_path / "both.html").read_text("utf-8")
    assert both.count("<mark>") == page.count(b"<mark>")


@pytest.mark.slow
def test_a_report_without_the_stored_texts_says_so(texts: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    result, report = api.run(experiment(texts, folder, reading={"use": "fused", "weight": 2.0}))
    assert "no longer stored" not in report.read_text("utf-8")
    plain = storage.read_json(folder / "run.json")
    name = plain["reading"]["sources"]["texts"][0]
    shutil.copytree(folder / "artifacts" / name, tmp_path / name)
    plain["reading"]["sources"]["texts"][0] = f"../../{name}"
    storage.write_json(folder / "run.json", plain)
    outside = api.load_run(folder).reading
    assert outside is not None
    assert outside.explain is None, "nothing is read outside the run's own cache"
    plain["reading"]["sources"]["texts"][0] = name
    storage.write_json(folder / "run.json", plain)
    inside = api.load_run(folder).reading
    assert inside is not None
    assert inside.explain is not None
    for lost in (folder / "artifacts").glob("query-texts-*"):
        shutil.rmtree(lost)
    again = api.load_run(folder).reading
    assert again is not None
    assert again.explain is None
    assert result.reading is not None
    assert again.change == result.reading.change
    page = api.report([folder]).read_text("utf-8")
    assert "Words on things" in page
    assert "no longer stored" in page
    assert "<mark>" not in page


def ranking(rows: list[list[int]], values: list[list[float]], images: int = 5) -> Ranking:
    return Ranking(
        tuple(f"q{i}" for i in range(len(rows))),
        tuple(f"d{i}" for i in range(images)),
        np.array(rows, np.int64),
        np.array(values, np.float32),
        np.full(len(rows), len(rows[0]), np.int64),
    )


@pytest.mark.slow
@given(st.data())
def test_fused_scores_are_those_of_a_naive_loop(data: st.DataObject) -> None:
    images, k = 6, data.draw(st.integers(1, 6))
    rows = data.draw(st.permutations(range(images)))[:k]
    steps = data.draw(st.lists(st.integers(-4, 4), min_size=k, max_size=k))
    values = sorted((s / 4 for s in steps), reverse=True)
    evidence = data.draw(st.dictionaries(st.integers(0, images - 1), st.sampled_from([0.25, 0.5, 1.0])))
    weight = data.draw(st.sampled_from([0.0, 0.5, 2.0]))
    read = (np.array(list(evidence), np.int64), np.array(list(evidence.values()), np.float64))
    found = combine(ranking([list(rows)], [values], images), [read], np.array([weight], np.float32))
    scores = {row: values[rows.index(row)] if row in rows else values[-1] for row in {*rows, *evidence}}
    expected = {row: score + weight * evidence.get(row, 0.0) for row, score in scores.items()}
    place = {row: (0, rows.index(row)) if row in rows else (1, row) for row in expected}
    order = sorted(expected, key=lambda row: (-expected[row], place[row]))[:k]
    assert found.indices[0].tolist() == order
    assert found.similarities[0].tolist() == pytest.approx([expected[row] for row in order])


def test_rank_fusion_prefers_what_both_lists_have() -> None:
    visual = ranking([[0, 1, 2]], [[0.9, 0.8, 0.7]])
    found = combine(visual, [(np.array([4, 2]), np.array([1.0, 0.9]))], None)
    assert found.indices[0, 0] == 2
    assert found.similarities[0, 0] == pytest.approx(1 / 63 + 1 / 62)
    nothing = combine(visual, [(np.empty(0, np.int64), np.empty(0))], None)
    assert nothing.indices[0].tolist() == [0, 1, 2]


def test_evidence_for_other_queries_is_refused() -> None:
    with pytest.raises(ArtifactError, match="0 lists of evidence for 1 query"):
        combine(ranking([[0]], [[1.0]]), [], None)


def test_words_that_both_have_are_marked_through_errors() -> None:
    pair = mark_shared_words("Valve MX-2204-B7", ["P/N MX-22O4-B7", "Made in Italy"])
    assert pair.asked == (("Valve", False), ("MX-2204-B7", True))
    assert pair.lines[0] == (("P/N", False), ("MX-22O4-B7", True))
    assert not any(found for _, found in pair.lines[1])
    assert mark_shared_words("", []).asked == ()
