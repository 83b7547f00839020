"""A model, a text tower and a method of adaptation in a file of one's own, through a whole run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.networks import tiny_network

from ilion import api
from ilion.config import ExperimentConfig, dump_toml, from_dict, load_experiment
from ilion.descriptors.base import ExtractorOptions
from ilion.descriptors.registry import BACKENDS, build, find_models
from ilion.descriptors.towers import TEXT_TOWERS, Lent
from ilion.errors import ConfigError, ExtractionError
from ilion.pipeline import Pipeline

OWN = """
from dataclasses import dataclass

import numpy as np
from ilion.adapt import Adapter
from ilion.adapt.base import METHODS
from ilion.descriptors.base import ExtractorSpec
from ilion.descriptors.registry import BACKENDS

class Colours:
    def __init__(self, name):
        self.spec = ExtractorSpec(
            name, "none", "1", dim=12, resize="long", side=64, mean=(0.0,) * 3, std=(1.0,) * 3,
            pooling="head", licence="MIT",
        )

    def extract(self, images):
        shares = [np.concatenate([np.histogram(i[..., c], 4, (0, 256))[0] for c in range(3)]) for i in images]
        values = np.array(shares, np.float32) + 1
        return values / np.linalg.norm(values, axis=1, keepdims=True)

@BACKENDS.register("colours", note="shares of the colours")
def colours(info, options):
    return Colours(info.name)

class Letters:
    revision = ""

    def __init__(self, options):
        self.prompt = options.prompts[0]

    def extract_text(self, texts):
        codes = [[ord(c) % 12 for c in self.prompt.format(text)] for text in texts]
        return np.array([np.bincount(row, minlength=12) for row in codes], np.float32)

class Bare:
    def __init__(self, options):
        pass

@dataclass(frozen=True)
class Centre:
    shrinkage: float

    def learn(self, photos):
        dim = photos.values.shape[1]
        mean = (1 - self.shrinkage) * photos.values.mean(axis=0, dtype=np.float32)
        return Adapter(np.eye(dim, dtype=np.float32), -mean)
"""


def experiment(folder: Path, **sections: Any) -> ExperimentConfig:
    own = folder.parent / "own.py"
    if not own.exists():
        own.write_text(OWN, encoding="utf-8")
    values: dict[str, Any] = {
        "output": "run",
        "trust": ["own.py"],
        "dataset": {"path": folder.name, "shard_size": 4},
        "extraction": {"model": "own.py:colours", "threads": 1, "workers": 1},
        "evaluation": {"k": 10, "bootstrap": 50},
    }
    for section, settings in sections.items():
        values[section] = {**values.get(section, {}), **settings}
    path = folder.parent / "e.toml"
    path.write_text(dump_toml(from_dict(ExperimentConfig, values)), encoding="utf-8")
    return load_experiment(path)


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    BACKENDS.parts()
    monkeypatch.setattr(BACKENDS, "_parts", dict(BACKENDS._parts))


@pytest.mark.slow
def test_a_model_of_ones_own_goes_through_a_run(tiny_dataset: Path) -> None:
    result, page = api.run(experiment(tiny_dataset))
    assert result.design == "own.py:colours"
    spec: Any = result.provenance["model"]
    assert spec["name"] == "own.py:colours"
    assert spec["options"] == {"code": BACKENDS.find(f"{tiny_dataset.parent / 'own.py'}:colours").digest}
    assert "own.py:colours" in page.read_text("utf-8")
    again = api.evaluate(experiment(tiny_dataset))
    assert {"descriptors", "queries"} <= set(again.cost.reused)
    away = api.evaluate(experiment(tiny_dataset, compute={"processes": 2}, extraction={"dtype": "float32"}))
    assert "descriptors" not in away.cost.reused
    assert away.ranking.indices.tolist() == result.ranking.indices.tolist()


def test_changed_code_is_another_model(tiny_dataset: Path) -> None:
    api.evaluate(experiment(tiny_dataset))
    (tiny_dataset.parent / "own.py").write_text(OWN.replace("+ 1", "+ 2"), encoding="utf-8")
    changed = api.evaluate(experiment(tiny_dataset))
    assert not {"descriptors", "queries"} & set(changed.cost.reused)


def test_a_finished_run_is_reported_without_its_code(tiny_dataset: Path) -> None:
    first, page = api.run(experiment(tiny_dataset))
    before = page.read_bytes()
    (tiny_dataset.parent / "own.py").write_text("raise AssertionError('must not run')\n", encoding="utf-8")
    assert api.load_run(tiny_dataset.parent / "run").design == first.design
    assert api.report([tiny_dataset.parent / "run"]).read_bytes() == before
    with pytest.raises(ConfigError, match="must not run"):
        experiment(tiny_dataset)


def test_a_registered_name_is_listed_and_can_be_chosen(tiny_dataset: Path) -> None:
    config = experiment(tiny_dataset, extraction={"model": "colours"})
    listed = find_models(["colours"])
    assert [(info.name, info.licence, info.note) for info in listed] == [
        ("colours", "unknown", "shares of the colours")
    ]
    assert build("colours").spec.name == Pipeline(config).extractor.spec.name == "colours"


def test_texts_are_asked_by_a_tower_of_ones_own(tiny_dataset: Path) -> None:
    plain = Pipeline(experiment(tiny_dataset)).extract()
    with pytest.raises(ExtractionError, match="no text tower"):
        Pipeline(experiment(tiny_dataset, dataset={"queries": "both"})).extract()
    texts = experiment(tiny_dataset, dataset={"queries": "text"}, extraction={"text_tower": "own.py:Letters"})
    lent = Pipeline(texts).extract()
    assert "descriptors" in lent.reused
    assert lent.inputs["database"] == plain.inputs["database"]
    assert lent.inputs["queries"] != plain.inputs["queries"]
    asked = [query.text for query in Pipeline(texts).queries]
    counts = [np.bincount([ord(c) % 12 for c in text or ""], minlength=12) for text in asked]
    for row, count in zip(lent.queries.values, counts, strict=True):
        assert row == pytest.approx(count / np.linalg.norm(count), abs=1e-3)
    assert "own.py:colours with texts by own.py:Letters" in Pipeline(texts).design
    prompted = experiment(
        tiny_dataset,
        dataset={"queries": "text"},
        extraction={"text_tower": "own.py:Letters", "prompts": ["a {}"]},
    )
    assert "queries" not in Pipeline(prompted).extract().reused


def test_a_tower_must_fit_its_model(tiny_dataset: Path) -> None:
    experiment(tiny_dataset, extraction={"text_tower": "own.py:Letters"})
    name = f"{tiny_dataset.parent / 'own.py'}:Letters"
    model = build(f"onnx:{tiny_network(tiny_dataset.parent / 'tiny.onnx')}")
    with pytest.raises(ExtractionError, match=r"by 24 numbers, but the text tower own.py:Letters gives"):
        Lent(model, name, ExtractorOptions()).extract_text(["red"])
    experiment(tiny_dataset, extraction={"text_tower": "own.py:Bare"})
    with pytest.raises(ConfigError, match=r"text tower 'own\.py:Bare' has no 'extract_text'"):
        Lent(model, f"{name.removesuffix('Letters')}Bare", ExtractorOptions())


def test_models_with_texts_lend_their_tower() -> None:
    assert TEXT_TOWERS.find("siglip2-l-512").extra == "torch"
    with pytest.raises(ConfigError, match=r"no text tower .* did you mean .*'siglip2-l-512'"):
        TEXT_TOWERS.find("siglip2-l-51")
    with pytest.raises(ConfigError, match="no text tower is named 'dinov3-l'"):
        TEXT_TOWERS.find("dinov3-l")


@pytest.mark.slow
def test_a_method_of_adaptation_of_ones_own(tiny_dataset: Path) -> None:
    lines = [f"distractors/loose/d{number}.jpg,{'ab'[number % 2]}" for number in range(4)]
    (tiny_dataset.parent / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    adaptation = {
        "method": "own.py:Centre",
        "labels": "labels.csv",
        "photos": tiny_dataset.name,
        "folds": 0,
        "seen": "keep",
        "shrinkage": 0.25,
    }
    result, _ = api.run(experiment(tiny_dataset, adaptation=adaptation))
    assert "adapted (own.py:Centre)" in result.design
    facts: Any = result.provenance["adaptation"]
    assert (facts["method"], facts["shrinkage"]) == ("own.py:Centre", 0.25)
    assert "adaptation" in api.evaluate(experiment(tiny_dataset, adaptation=adaptation)).cost.reused
    (tiny_dataset.parent / "own.py").write_text(OWN.replace("(1 - self", "(2 - self"), encoding="utf-8")
    assert "adaptation" not in api.evaluate(experiment(tiny_dataset, adaptation=adaptation)).cost.reused
