"""The methods by name: settings reach them, folds keep domains, estimates guard, trainings go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.adapt.test_fewshot import objects

from ilion.adapt import Labels, LinearOptions, is_identity, make_labels, train_linear
from ilion.adapt import training as module
from ilion.adapt.classifier import Classifier
from ilion.adapt.methods import MethodOptions, learn
from ilion.adapt.training import Trained
from ilion.config import AdaptationConfig
from ilion.errors import ConfigError
from ilion.pipeline.jobs.learn import method_options
from ilion.types import Float32, Int64

METHODS = ("pca", "lda", "wccn", "ridge", "linear")


def uneven() -> tuple[Float32, Labels]:
    """Photos of 12 classes in 3 domains, of very different numbers."""
    values, labels = objects(nuisance=0.5, count=12, shots=20)
    kept = np.flatnonzero(np.arange(len(labels)) % 20 < 2 + labels.classes)
    classes = [labels.class_names[labels.classes[row]] for row in kept]
    domains = [str(labels.classes[row] % 5 // 2) for row in kept]
    return values[kept], make_labels([str(row) for row in kept], classes, domains)


@pytest.mark.parametrize(
    "settings",
    [
        {"margin": 0.3},
        {"margin": 0.3, "margin_kind": "arcface"},
        {"balance": "class"},
        {"balance": "domain"},
        {"balance": "class+domain"},
        {"held_out": 0.4, "patience": 1, "epochs": 30},
        {"held_out": 0.4, "patience": 30, "epochs": 30},
    ],
    ids=str,
)
def test_settings_of_an_experiment_reach_the_training(settings: dict[str, Any]) -> None:
    values, labels = uneven()
    config = AdaptationConfig(**{"method": "linear", "dim": 8, "epochs": 2, "folds": 0, **settings})
    found = learn(values, labels, method_options(config, seed=3))
    same = {"dim": 8, "epochs": 2, "seed": 3, **settings}
    assert found.layer.digest == train_linear(values, labels, LinearOptions(**same)).layer.digest
    recipe = train_linear(values, labels, LinearOptions(dim=8, epochs=2, seed=3))
    assert found.layer.digest != recipe.layer.digest
    for name, value in settings.items():
        assert found.facts[name] == value


def test_the_defaults_are_the_published_recipe() -> None:
    assert method_options(AdaptationConfig(method="linear"), seed=0).build() == LinearOptions()


@pytest.mark.parametrize("settings", [{"margin": -1.0}, {"patience": 0}, {"held_out": 1.0}, {"epochs": 0}])
def test_numbers_out_of_range_are_told_before_anything_is_described(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="training a layer"):
        method_options(AdaptationConfig(**{"method": "linear", **settings}), seed=0)


def test_the_folds_of_the_estimate_know_the_domains(monkeypatch: pytest.MonkeyPatch) -> None:
    """What balances by domain must be judged with the same balance."""
    values, labels = uneven()
    seen: list[int] = []

    def spy(some: Float32, of: Labels, options: LinearOptions, **rest: Any) -> Trained:
        assert (some == values[[labels.paths.index(path) for path in of.paths]]).all()
        seen.append(len(of.domain_names))
        return train_linear(some, of, options, **rest)

    monkeypatch.setattr(module, "train_linear", spy)
    learn(values, labels, MethodOptions(method="linear", dim=8, epochs=1, folds=3, balance="domain"))
    assert seen == [3, 3, 3, 3]


@pytest.mark.parametrize("method", METHODS)
def test_a_guard_keeps_the_identity_where_no_gain_is_certain(method: Any) -> None:
    values, labels = objects(nuisance=0.0)
    free, guarded = (
        learn(values, labels, MethodOptions(method=method, dim=20, epochs=1, guard=guard))
        for guard in (False, True)
    )
    assert free.estimate is not None
    assert not free.estimate.certain
    assert guarded.estimate == free.estimate
    assert not is_identity(free.layer)
    assert is_identity(guarded.layer)
    assert guarded.layer.dim_out == values.shape[1]
    assert guarded.verdict == f"{free.verdict}. The layer is the identity."
    assert guarded.facts["guard"]


def test_a_guard_lets_a_certain_gain_pass() -> None:
    values, labels = objects(nuisance=1.5)
    free, guarded = (
        learn(values, labels, MethodOptions(method="wccn", guard=guard)) for guard in (False, True)
    )
    assert free.estimate is not None
    assert free.estimate.certain
    assert guarded.layer.digest == free.layer.digest
    assert guarded.verdict == free.verdict


def test_a_guard_needs_an_estimate() -> None:
    with pytest.raises(ConfigError, match=r"adaptation\.folds = 0 makes none"):
        MethodOptions(method="pca", folds=0, guard=True)
    assert MethodOptions(method="few-shot", folds=0, guard=True).guard


@pytest.mark.slow
def test_an_interrupted_training_and_its_folds_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values, labels = uneven()
    options = MethodOptions(method="linear", dim=8, epochs=7, folds=3, checkpoint_every=1)
    whole = learn(values, labels, options)

    class StoppedError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if total > 3 and done == 4:  # three folds are done before
            raise StoppedError

    with pytest.raises(StoppedError):
        learn(values, labels, options, checkpoints=tmp_path, progress=stop)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["fold-0", "fold-1", "fold-2", "whole"]
    steps: list[int] = []
    step = Classifier.step

    def counted(self: Classifier, block: Float32, classes: Int64) -> float:
        steps.append(len(block))
        return step(self, block, classes)

    monkeypatch.setattr(Classifier, "step", counted)
    resumed = learn(values, labels, options, checkpoints=tmp_path)
    batches = 7 * -(-len(labels) // 128)
    assert len(steps) == batches - 4
    assert resumed.layer.digest == whole.layer.digest
    assert resumed.estimate == whole.estimate
    for path in tmp_path.iterdir():
        path.unlink()
    none = MethodOptions(**{**vars(options), "checkpoint_every": 0})
    assert learn(values, labels, none, checkpoints=tmp_path).layer.digest == whole.layer.digest
    assert not list(tmp_path.iterdir())
