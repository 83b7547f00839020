"""Training: gradients, optimiser, order, resuming, early stopping."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from ilion.adapt import Labels, LinearOptions, make_labels, train_linear
from ilion.adapt import classifier as module
from ilion.adapt.classifier import Adam, Array, Classifier, Loss
from ilion.adapt.sampling import RUN, draw_chances, plan_epoch, read_batches
from ilion.adapt.training import split_classes
from ilion.errors import ArtifactError, ConfigError, DatasetError
from ilion.types import Float32, Float64, Int64

LOSSES = [Loss(), Loss(30, 0.2, "cosface"), Loss(64, 0.3, "arcface"), Loss(8, 2.0, "arcface")]


def small(seed: int = 0) -> tuple[Float64, Float64, Float64, Float64, Int64]:
    rng = np.random.default_rng(seed)
    labels = np.array([3, 3, 0, 8, 8, 8, 2])
    return (
        rng.standard_normal((4, 6)),
        rng.standard_normal(4),
        rng.standard_normal((9, 4)),
        rng.standard_normal((7, 6)),
        labels,
    )


def plain_loss(weight: Array, bias: Array, classes: Array, x: Array, y: Int64, loss: Loss) -> float:
    """From the definitions, one descriptor and one class at a time."""
    losses = []
    for row, label in zip(x, y, strict=True):
        adapted = weight @ row + bias
        adapted = adapted / np.sqrt((adapted**2).sum())
        logits = []
        for c, vector in enumerate(classes):
            cosine = float(adapted @ vector / np.sqrt((vector**2).sum()))
            if c == label and loss.kind == "cosface":
                cosine -= loss.margin
            elif c == label:
                angle = np.arccos(cosine)
                past = angle + loss.margin > np.pi
                cosine = (
                    cosine - loss.margin * np.sin(loss.margin) if past else float(np.cos(angle + loss.margin))
                )
            logits.append(loss.scale * cosine)
        losses.append(np.logaddexp.reduce(logits) - logits[label])
    return float(np.mean(losses))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("block", [2**19, 12])
def test_loss_and_gradients_are_those_of_the_definition(
    loss: Loss, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Central differences of the plain loss, with all classes in one block and in three."""
    monkeypatch.setattr(module, "BLOCK_VALUES", block)
    weight, bias, classes, x, y = small()
    found, gradients = Classifier(weight, bias, classes, loss, Adam(), threads=2).gradients(x, y)
    assert found == pytest.approx(plain_loss(weight, bias, classes, x, y, loss), abs=1e-9)
    for name, array in (("weight", weight), ("bias", bias), ("classes", classes)):
        for place in itertools.product(*map(range, array.shape)):
            kept = array[place]
            sides = []
            for moved in (kept + 1e-5, kept - 1e-5):
                array[place] = moved
                sides.append(plain_loss(weight, bias, classes, x, y, loss))
            array[place] = kept
            assert gradients[name][place] == pytest.approx((sides[0] - sides[1]) / 2e-5, abs=1e-6)


def test_steps_are_those_of_adam_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Algorithm 1 of Kingma and Ba with L2 weight decay, from the gradients of the same class."""
    monkeypatch.setattr(module, "BLOCK_VALUES", 12)
    monkeypatch.setattr(module, "CACHE_VALUES", 8)
    adam = Adam(learning_rate=0.01, weight_decay=0.03)
    weight, bias, classes, x, y = small()
    model = Classifier(weight.copy(), bias.copy(), classes.copy(), Loss(), adam, threads=2)
    plain = {"weight": weight, "bias": bias, "classes": classes}
    first = {name: np.zeros_like(p) for name, p in plain.items()}
    second = {name: np.zeros_like(p) for name, p in plain.items()}
    for t in range(1, 6):
        _, gradients = Classifier(plain["weight"], plain["bias"], plain["classes"], Loss(), adam).gradients(
            x, y
        )
        for name, p in plain.items():
            g = gradients[name] + adam.weight_decay * p
            first[name] = 0.9 * first[name] + 0.1 * g
            second[name] = 0.999 * second[name] + 0.001 * g**2
            corrected = first[name] / (1 - 0.9**t), second[name] / (1 - 0.999**t)
            p -= adam.learning_rate * corrected[0] / (np.sqrt(corrected[1]) + adam.epsilon)
        model.step(x, y)
        for name, p in plain.items():
            np.testing.assert_allclose(model.parameters[name], p, atol=1e-12)


# --- order and reading ---


def test_a_plan_shows_every_photo_once_and_follows_seed_and_epoch() -> None:
    rows = np.arange(3, 1003)
    for pool in (5000, 200):
        one, again, other = (plan_epoch(rows, e, 7, pool=pool) for e in (0, 0, 1))
        assert sorted(one.tolist()) == rows.tolist()
        assert (one == again).all()
        assert (one != other).any()
    small_pool = plan_epoch(rows, 0, 7, pool=2 * RUN)
    runs = np.unique((small_pool[: 2 * RUN] - 3) // RUN)
    assert len(runs) <= 3, "a pool is read as whole runs"


def test_balanced_draws_follow_their_weights() -> None:
    classes = np.array([0] * 90 + [1] * 10 + [2] * 100)
    domains = np.array([0] * 100 + [1] * 100)
    for balance, expected in (
        ("class", [1 / 3, 1 / 3, 1 / 3]),
        ("domain", [0.45, 0.05, 0.5]),
        ("class+domain", [0.25, 0.25, 0.5]),
    ):
        chances = draw_chances(classes, domains, balance)  # type: ignore[arg-type]
        assert chances is not None
        drawn = np.concatenate(
            [plan_epoch(np.arange(200), e, 0, pool=9, chances=chances) for e in range(100)]
        )
        np.testing.assert_allclose(np.bincount(classes[drawn]) / len(drawn), expected, atol=0.02)
    assert draw_chances(classes, domains, "none") is None
    with pytest.raises(ConfigError, match="balance"):
        draw_chances(classes, domains, "colour")  # type: ignore[arg-type]


@pytest.mark.parametrize("pool", [1000, 16, 3])
def test_batches_hold_the_rows_of_the_plan_from_any_place_on(pool: int) -> None:
    values = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float16)
    order = plan_epoch(np.arange(50), 0, 0, pool=pool)
    whole = list(read_batches(values, order, size=8, pool=pool))
    assert np.concatenate([rows for rows, _ in whole]).tolist() == order.tolist()
    assert [len(rows) for rows, _ in whole] == [8] * 6 + [2]
    for rows, block in whole:
        assert block.dtype == np.float32
        assert (block == values[rows]).all()
    later = list(read_batches(values, order, size=8, pool=pool, first=5))
    assert [rows.tolist() for rows, _ in later] == [rows.tolist() for rows, _ in whole[5:]]


# --- training ---


def clusters(n: int = 400, dim: int = 24, classes: int = 20, seed: int = 0) -> tuple[Float32, Labels]:
    """Classes that differ in the first dimensions only; the others are strong noise."""
    rng = np.random.default_rng(seed)
    of = rng.permutation(np.arange(n) % classes)
    values = 0.3 * rng.standard_normal((n, dim)) * np.where(np.arange(dim) < 8, 0.3, 1.0)
    values[:, :8] += 0.5 * rng.standard_normal((classes, 8))[of]
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    labels = make_labels([f"{i}.jpg" for i in range(n)], [str(c) for c in of])
    return values.astype(np.float32), labels


FAST = LinearOptions(dim=8, epochs=8, batch=32, learning_rate=0.01, held_out=0.3)


def test_training_learns_what_unseen_classes_need() -> None:
    values, labels = clusters()
    trained = train_linear(values, labels, FAST)
    assert trained.layer.weight.shape == (8, 24)
    assert trained.losses[-1] < trained.losses[0]
    assert max(trained.held_out) > trained.held_out[0] + 0.1
    assert trained.held_out[trained.epoch] == max(trained.held_out[1:])


def test_seed_threads_and_storage() -> None:
    values, labels = clusters()
    options = LinearOptions(dim=8, epochs=2, batch=32)
    one = train_linear(values, labels, options).layer
    assert (
        train_linear(values, labels, LinearOptions(dim=8, epochs=2, batch=32, threads=3)).layer.digest
        == one.digest
    )
    assert (
        train_linear(values, labels, LinearOptions(dim=8, epochs=2, batch=32, seed=1)).layer.digest
        != one.digest
    )


class Stopped(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("stop", [3, 12, 30])
def test_an_interrupted_training_ends_with_exactly_the_same_layer(tmp_path: Path, stop: int) -> None:
    values, labels = clusters()
    options = LinearOptions(
        dim=8, epochs=4, batch=32, held_out=0.3, checkpoint_every=5, memory=40 * 24 * 4 * 2, balance="class"
    )
    whole = train_linear(values, labels, options)

    def interrupt(done: int, _: int) -> None:
        if done == stop:
            raise Stopped

    path = tmp_path / "checkpoint.npz"
    with pytest.raises(Stopped):
        train_linear(values, labels, options, checkpoint=path, progress=interrupt)
    assert path.exists() == (stop >= 5)
    resumed = train_linear(values, labels, options, checkpoint=path)
    assert resumed.layer.digest == whole.layer.digest
    assert (resumed.losses, resumed.held_out, resumed.epoch) == (whole.losses, whole.held_out, whole.epoch)
    again = train_linear(values, labels, options, checkpoint=path)
    assert again.layer.digest == whole.layer.digest
    with pytest.raises(ArtifactError, match="another training"):
        train_linear(values, labels, LinearOptions(dim=8, epochs=5, batch=32), checkpoint=path)


def test_training_stops_when_nothing_gets_better() -> None:
    values, labels = clusters()
    noise = np.random.default_rng(1).permutation(len(values))
    options = LinearOptions(dim=8, epochs=40, batch=32, learning_rate=0.05, held_out=0.3, patience=2)
    trained = train_linear(values[noise], labels, options)
    assert len(trained.losses) < 40
    assert len(trained.losses) == trained.epoch + 2


def test_no_class_is_on_both_sides() -> None:
    _, labels = clusters()
    learnt, held, classes = split_classes(labels, 0.3, 0)
    assert not set(labels.classes[learnt]) & set(labels.classes[held])
    assert len(learnt) + len(held) == len(labels)
    assert (labels.classes[held] == classes).all()
    assert len(set(classes.tolist())) == 6


def test_wrong_input_is_named() -> None:
    values, labels = clusters(40)
    with pytest.raises(DatasetError, match="do not fit"):
        train_linear(values[:10], labels)
    with pytest.raises(DatasetError, match="two classes"):
        train_linear(values[:2], make_labels(["a", "b"], ["x", "x"]))
    with pytest.raises(ArtifactError, match="loss is nan"):
        train_linear(values * np.nan, labels, LinearOptions(dim=4))
    for wrong in ({"dim": 0}, {"scale": -1.0}, {"held_out": 1.0}, {"weight_decay": -1.0}):
        with pytest.raises(ConfigError, match="training a layer"):
            LinearOptions(**wrong)
