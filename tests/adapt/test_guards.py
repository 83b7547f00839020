"""What guards an adaptation: leaks refused by content, no certain gain, and training that was broken off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline.jobs.test_learn import experiment, folder, network

from ilion import api
from ilion.adapt import load_labels, load_layer
from ilion.errors import DatasetError
from ilion.pipeline import Pipeline
from ilion.pipeline.jobs.labelled import refuse_leaks
from ilion.types import TarSource

__all__ = ["folder", "network"]
Photo = Callable[..., bytes]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("positive", r"7\.jpg is a positive of the data set, the same as .*P2_1\.jpg"),
        ("query", r"7\.jpg is a query picture of the data set, the same as .*Q3_0\.jpg"),
        ("tar", r"7\.jpg is an image of the searched database, the same as .*000\.tar!other\.jpg"),
        ("file", r"7\.jpg is an image of the searched database, the same as .*loose\.jpg"),
    ],
)
def test_a_copy_under_another_name_is_refused(
    folder: Path, network: Path, photo: Photo, save_tar: Callable[..., None], kind: str, message: str
) -> None:
    labelled = folder / "adapt" / "images" / "7.jpg"
    other = photo(7777)
    # of the same size, and not the same: what follows the end of a JPEG file is no part of the picture
    same_size = labelled.read_bytes() + b"0"
    labelled.write_bytes(labelled.read_bytes() + b"1")
    loose = folder / "distractors" / "loose.jpg"
    loose.parent.mkdir()
    loose.write_bytes(labelled.read_bytes() if kind == "file" else other)
    members = {"one.jpg": photo(7778), "two.jpg": same_size, "other.jpg": photo(7779)}
    if kind == "tar":
        members["other.jpg"] = labelled.read_bytes()
    save_tar(folder / "distractors" / "000.tar", members)
    if kind == "positive":
        labelled.write_bytes((folder / "ilias_core" / "thing_2" / "pos" / "P2_1.jpg").read_bytes())
    if kind == "query":
        labelled.write_bytes((folder / "ilias_core" / "thing_3" / "query" / "Q3_0.jpg").read_bytes())
    labels, layer = str(folder / "adapt" / "labels.csv"), folder.parent / "layer.npz"
    with pytest.raises(DatasetError, match=message):
        api.adapt(experiment(folder, network, labels=labels), layer)
    with pytest.raises(DatasetError, match=message):
        api.evaluate(experiment(folder, network, labels=labels, method="pca"))
    kept = experiment(folder, network, labels=labels, method="pca", seen="keep")
    if kind in ("positive", "query"):
        with pytest.raises(DatasetError, match=message):
            api.adapt(kept, layer)
    else:
        api.adapt(kept, layer)


def test_only_images_of_the_size_of_a_labelled_photo_are_read(
    folder: Path, network: Path, photo: Photo, save_tar: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (folder / "adapt" / "images" / "7.jpg").stat().st_size
    same_size = photo(7777)[: size - 1].ljust(size, b"0")
    save_tar(folder / "distractors" / "000.tar", {"long.jpg": bytes(10 * size), "same.jpg": same_size})
    read: list[str] = []

    def spy(source: TarSource) -> bytes:
        read.append(source.member)
        return same_size

    monkeypatch.setattr(TarSource, "read", spy)
    pipeline = Pipeline(experiment(folder, network))
    refuse_leaks(pipeline, load_labels(folder / "adapt" / "labels.csv"), folder / "adapt")
    assert read == ["same.jpg"]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ridge", "linear"])
def test_a_guard_leaves_results_as_they_were(folder: Path, network: Path, method: str) -> None:
    plain = api.evaluate(experiment(folder, network))
    # the labels name no things: there is nothing to learn
    settings: dict[str, Any] = {"method": method, "labels": str(folder / "adapt" / "labels.csv"), "epochs": 2}
    free = api.evaluate(experiment(folder, network, **settings))
    guarded = api.evaluate(experiment(folder, network, **settings, guard=True))
    assert guarded.ranking.similarities.tolist() == plain.ranking.similarities.tolist()
    assert free.ranking.similarities.tolist() != plain.ranking.similarities.tolist()
    told: Any = guarded.provenance["adaptation"]
    assert told["verdict"].endswith("The layer is the identity.")
    assert told["held-out estimate"]["classes"] == 5


@pytest.mark.slow
def test_an_interrupted_training_goes_on(folder: Path, network: Path) -> None:
    settings: dict[str, Any] = {
        "method": "linear",
        "labels": str(folder / "adapt" / "labels.csv"),
        "epochs": 7,
    }
    layer, cache = folder.parent / "layer.npz", folder.parent / "cache"
    api.adapt(experiment(folder, network, **settings), folder.parent / "whole.npz")
    assert not list(cache.glob("training-*"))

    class StoppedError(Exception):
        pass

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "learning" and (done, total) == (4, 7):
            raise StoppedError

    with pytest.raises(StoppedError):
        api.adapt(experiment(folder, network, **settings), layer, stop)
    [kept] = cache.glob("training-*")
    assert (kept / "whole.npz").exists()
    batches: list[tuple[int, int]] = []

    def told(stage: str, done: int, total: int) -> None:
        if stage == "learning" and total == 7:
            batches.append((done, total))

    api.adapt(experiment(folder, network, **settings), layer, told)
    assert batches == [(5, 7), (6, 7), (7, 7)]
    assert load_layer(layer).layer.digest == load_layer(folder.parent / "whole.npz").layer.digest
    assert not list(cache.glob("training-*"))
