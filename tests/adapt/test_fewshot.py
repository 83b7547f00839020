"""Few photos: the estimate on unseen objects, the shrinkage, and the guarded split."""

from __future__ import annotations

import numpy as np
import pytest

from ilion.adapt import is_identity, make_labels, split_objects
from ilion.adapt.closed import wccn
from ilion.adapt.estimate import class_precisions, estimate_gain, photo_precisions
from ilion.adapt.fewshot import HeldOut, cross_validate, learn_few_shot
from ilion.adapt.labels import Labels
from ilion.adapt.layer import Layer, identity
from ilion.errors import ConfigError, DatasetError
from ilion.types import Float32, Int64


def objects(nuisance: float, count: int = 16, shots: int = 5, dim: int = 40) -> tuple[Float32, Labels]:
    """Photos of objects; a few directions that are the same for all objects hold light and view."""
    rng = np.random.default_rng(0)
    of = np.repeat(np.arange(count), shots)
    values = rng.standard_normal((count, dim))[of] + 0.5 * rng.standard_normal((len(of), dim))
    values += nuisance * rng.standard_normal((len(of), 3)) @ rng.standard_normal((3, dim))
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return values.astype(np.float32), make_labels([str(i) for i in range(len(of))], [str(c) for c in of])


def test_precision_is_that_of_the_definition() -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_normal((30, 4)).astype(np.float32)
    classes = rng.integers(-1, 5, 30)
    found = photo_precisions(values, classes)
    for q in range(30):
        others = sorted((i for i in range(30) if i != q), key=lambda i: -float(values[q] @ values[i]))
        at, expected = 0, []
        for rank, i in enumerate(others, 1):
            if classes[i] == classes[q]:
                at += 1
                expected.append(at / rank)
        if classes[q] < 0 or not expected:
            assert np.isnan(found[q])
        else:
            assert found[q] == pytest.approx(np.mean(expected))
    by_class = class_precisions(values, classes)
    assert by_class[0] == pytest.approx(np.nanmean(found[classes == 0]))


def test_a_common_nuisance_is_learnt_away() -> None:
    values, labels = objects(nuisance=1.5)
    found = learn_few_shot(values, labels)
    assert found.estimate.certain
    assert found.estimate.difference > 0.1
    assert not is_identity(found.layer)
    assert found.verdict.startswith("gain")


def test_without_a_gain_the_identity_stays() -> None:
    values, labels = objects(nuisance=0.0)
    found = learn_few_shot(values, labels)
    assert is_identity(found.layer)
    assert found.shrinkage == 1
    assert "no certain gain" in found.verdict
    assert (found.layer.apply(values) == identity(40).apply(values)).all()


def test_no_held_out_object_is_learnt_from() -> None:
    """Every fold is learnt without its own objects, and each object is held out once."""
    values, labels = objects(nuisance=1.0)
    row_of = {row.tobytes(): i for i, row in enumerate(values)}
    left_out: list[int] = []

    def learn(some: Float32, classes: Int64, rows: Int64) -> list[Layer]:
        assert (values[rows] == some).all()
        seen = labels.classes[[row_of[row.tobytes()] for row in some]]
        assert (np.unique(seen, return_inverse=True)[1].reshape(-1) == classes).all()
        left_out.extend(set(range(16)) - set(seen.tolist()))
        return [wccn(some, classes)]

    background = np.zeros((7, 40), np.float32)
    found = cross_validate(values, labels.classes, learn, folds=5, background=background)
    assert sorted(left_out) == list(range(16))
    assert found.photos == len(values)
    assert found.after.shape == (1, 16)


@pytest.mark.slow
def test_only_what_asks_is_judged() -> None:
    """Photos of a fold that do not ask are there to be found, and the rest of the classes takes no part."""
    values, labels = objects(nuisance=0.5)
    asking = np.zeros(len(values), np.bool_)
    asking[[0, 5, 10, 15, 20]] = True  # one photo each of the first five objects

    def learn(some: Float32, classes: Int64, _rows: Int64) -> list[Layer]:
        return [wccn(some, classes)]

    found = cross_validate(values, labels.classes, learn, folds=16, asking=asking)
    assert found.photos == 5
    assert found.before.shape == (5,)
    everything = photo_precisions(values, labels.classes)
    # folds of one object, the others around it: the same search as among all photos
    np.testing.assert_allclose(found.before, everything[[0, 5, 10, 15, 20]])


def test_the_choice_for_an_object_is_made_on_the_others() -> None:
    after = np.array([[0.1, 0.2, 0.9], [0.3, 0.4, 0.1]])
    chosen = HeldOut(np.zeros(3), after, 9).choose()
    # the third class is judged with the second layer, though the first does better on it
    assert chosen.tolist() == [0.1, 0.2, 0.1]


def test_an_interval_needs_more_than_one_class() -> None:
    one = estimate_gain(np.array([0.1]), np.array([0.9]), 5)
    assert (one.ci95.low, one.ci95.high) == (-1, 1)
    assert not one.certain


def test_too_little_to_learn_from_is_said() -> None:
    values, labels = objects(1.0, count=3)
    with pytest.raises(DatasetError, match="too few"):
        learn_few_shot(values, labels)
    values, labels = objects(1.0, shots=1)
    with pytest.raises(DatasetError, match="two photos"):
        learn_few_shot(values, labels)
    values, labels = objects(1.0)
    with pytest.raises(ConfigError, match="shrinkages"):
        learn_few_shot(values, labels, shrinkages=(0.5, 1.0))


def test_a_split_keeps_objects_apart_and_follows_its_seed() -> None:
    queries = {f"q{i}": f"object {i // 2}" for i in range(20)}
    positives = {q: [f"{name}/{n}" for n in range(8)] for q, name in queries.items()}
    split = split_objects(queries, positives, objects=4, shots=3, seed=5)
    assert len(split.photos) == 12
    assert len(set(split.objects)) == 4
    assert not {queries[q] for q in split.queries} & set(split.objects)
    assert len(split.queries) == 12
    assert all(photo.startswith(name) for photo, name in zip(split.photos, split.objects, strict=True))
    assert split == split_objects(queries, positives, objects=4, shots=3, seed=5)
    assert split != split_objects(queries, positives, objects=4, shots=3, seed=6)


def test_a_split_that_leaks_is_refused() -> None:
    queries = {"q0": "mug", "q1": "cap"}
    with pytest.raises(DatasetError, match="'shelf'"):
        split_objects(queries, {"q0": ["a", "shelf"], "q1": ["shelf"]}, objects=1, shots=1)
    with pytest.raises(DatasetError, match="leave some"):
        split_objects(queries, {"q0": ["a"], "q1": ["b"]}, objects=2, shots=1)
    with pytest.raises(DatasetError, match="shots"):
        split_objects(queries, {"q0": ["a"], "q1": ["b"]}, objects=1, shots=0)
