"""Bad images are said before anything is computed, in every verb that opens images."""

from __future__ import annotations

import itertools
import os
import time
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import draw_photo, write, write_tar
from tests.networks import tiny_network

from ilion import api
from ilion.config import ExperimentConfig, load_experiment
from ilion.errors import IlionError, ImageError
from ilion.pipeline.stages.look import look
from ilion.types import FileSource, ImageRecord, TarSource

BAD = {
    "empty.jpg": b"",
    "page.jpg": b"<html><body>404 Not Found</body></html>",
    "cut.png": draw_photo(7, kind="PNG")[:20],
}


@pytest.fixture
def experiment(tmp_path: Path) -> ExperimentConfig:
    data = tmp_path / "photos"
    for number in range(3):
        folder = data / "objects" / f"thing {number}"
        write(folder / "query" / "q.jpg", draw_photo(number))
        for view in range(4):
            write(folder / "positive" / f"{view}.jpg", draw_photo(100 * number + view))
    for name, content in BAD.items():
        write(data / "distractors" / name, content)
    write_tar(data / "distractors" / "some.tar", {"fine.jpg": draw_photo(9), "bad.jpg": b"nonsense"})
    model = tiny_network(tmp_path / "tiny.onnx")
    settings = [f"extraction.model=onnx:{model}", "evaluation.bootstrap=10", "dataset.shard_size=4"]
    config = load_experiment(data, settings)
    return replace(config, output=str(tmp_path / "out"))


VERBS = ("run", "extract", "rank", "evaluate", "tune", "forecast", "export_features")


def call(verb: str, config: ExperimentConfig) -> object:
    extra: dict[str, dict[str, object]] = {
        "forecast": {"at": (1000,)},
        "export_features": {"output": Path(config.output) / "features"},
    }
    return getattr(api, verb)(config, **extra.get(verb, {}))


@pytest.mark.parametrize("verb", VERBS)
def test_bad_images_are_named_before_anything_is_computed(verb: str, experiment: ExperimentConfig) -> None:
    with pytest.raises(ImageError, match="4 of 17 images of the database cannot be used") as said:
        call(verb, experiment)
    for name in (*BAD, "bad.jpg"):
        assert name in str(said.value)
    assert "--on-bad-image=skip" in str(said.value)
    assert not list(Path(experiment.output).rglob("*.npy"))


@pytest.mark.slow
@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("forecast", "tune")])
def test_skipping_says_them_too_and_goes_on(
    verb: str, experiment: ExperimentConfig, caplog: pytest.LogCaptureFixture
) -> None:
    config = replace(experiment, extraction=replace(experiment.extraction, on_bad_image="skip"))
    call(verb, config)
    assert "4 of 17 images of the database cannot be used" in caplog.text
    caplog.clear()
    call(verb, config)
    assert "cannot be used" not in caplog.text


@pytest.mark.parametrize("stage", ["reranking", "asmk"])
def test_other_ways_to_describe_look_first(stage: str, experiment: ExperimentConfig) -> None:
    config = (
        replace(experiment, search=replace(experiment.search, method="asmk"))
        if stage == "asmk"
        else replace(experiment, rerank=replace(experiment.rerank, features="orb"))
    )
    with pytest.raises(ImageError, match="4 of 17 images"):
        api.evaluate(config)


def test_bad_queries_are_said_first_whatever_is_skipped(experiment: ExperimentConfig) -> None:
    for number in range(2):
        write(Path(experiment.dataset.path) / "objects" / f"thing {number}" / "query" / "q.jpg", b"nonsense")
    config = replace(experiment, extraction=replace(experiment.extraction, on_bad_image="skip"))
    with pytest.raises(ImageError, match="2 of 3 query photos cannot be used"):
        api.evaluate(config)
    assert not list(Path(experiment.output).rglob("*.npy"))


def test_a_damaged_tar_is_said_before_anything_is_computed(experiment: ExperimentConfig) -> None:
    for name in BAD:
        (Path(experiment.dataset.path) / "distractors" / name).unlink()
    write_tar(Path(experiment.dataset.path) / "distractors" / "some.tar", {"a\nb.jpg": draw_photo(9)})
    with pytest.raises(ImageError, match=r"some\.tar: the name .a.nb\.jpg. holds the control"):
        api.extract(experiment)
    assert not list(Path(experiment.output).rglob("*.npy"))


def test_a_device_that_is_not_there_is_said_before_anything_is_computed(experiment: ExperimentConfig) -> None:
    with pytest.raises(IlionError, match="device"):
        api.rank(replace(experiment, search=replace(experiment.search, device="cuda:99")))
    assert not list(Path(experiment.output).rglob("*.npy"))


def test_a_look_takes_bounded_time_and_says_what_it_did_not_see(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jpg", draw_photo(1))
    endless = (ImageRecord(str(number), FileSource(path)) for number in itertools.count())
    started = time.monotonic()
    found = look(endless, seconds=0.2)
    assert time.monotonic() - started < 5
    assert not found.whole
    assert found.looked > 0


def test_a_long_header_is_read_to_its_end(tmp_path: Path) -> None:
    photo = draw_photo(1)
    # comments of 60 KB each before the size of the image
    comment = b"\xff\xfe" + (60_002).to_bytes(2, "big") + bytes(60_000)
    path = write(tmp_path / "x.jpg", photo[:2] + 3 * comment + photo[2:])
    members = ImageRecord("b", TarSource(path, "x.jpg", 0, path.stat().st_size))
    assert look(iter([ImageRecord("a", FileSource(path)), members])).bad == ()


def test_pipes_and_huge_files_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with (tmp_path / "sparse.jpg").open("wb") as file:
        file.truncate(64 << 30)
    (tmp_path / "none.gif").write_bytes(b"GIF89a" + bytes(7) + b";")
    header = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x01\0\0\0\0"
    chunk = b"\0\0\0\r" + header + zlib.crc32(header).to_bytes(4, "big")
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    names = ("pipe.jpg", "sparse.jpg", "none.gif", "huge.png")
    found = look(ImageRecord(n, FileSource(tmp_path / n)) for n in names)
    assert len(found.bad) == 4
    assert "is a pipe" in found.bad[0]
    assert "more than the limit" in found.bad[3]
