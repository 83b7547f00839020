from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.stages import describe_shards

from ilion import storage
from ilion.datasets import open_dataset
from ilion.errors import ArtifactError, ConfigError, ExtractionError, ImageError
from ilion.extraction.describe import BoxUse, View, load_part
from ilion.extraction.local import (
    EncodedDescription,
    LocalDescription,
    describe_local,
    extract_local_queries,
    learn_codec,
    place_in_full,
)
from ilion.extraction.recode import find_source, recode, settle
from ilion.images import crop, decode, least_size
from ilion.localfeatures import build
from ilion.localfeatures.base import LocalExtractor, LocalOptions, LocalSpec
from ilion.localfeatures.codecs import Codec, CodecSettings, raw_codec
from ilion.localfeatures.select import CELLS, SELECTIONS, select_features
from ilion.localfeatures.store import LocalSet
from ilion.outcome import Skipped
from ilion.types import RGB, Box, FileSource, ImageRecord, LocalFeatures, Query, Shard

NAMES = ["rootsift", "orb", *(["akaze"] if hasattr(cv2, "AKAZE") else [])]


def store_all(
    shards: Sequence[Shard],
    extractor: LocalExtractor,
    codec: Codec,
    artifact: storage.Artifact,
    **options: Any,
) -> tuple[list[str], bool]:
    settle(artifact, codec)
    return describe_shards(
        shards, EncodedDescription(LocalDescription(extractor), codec), artifact, **options
    )


def view_of(of: ImageRecord, side: int, box_use: BoxUse = "none") -> View:
    return load_part(of, least_size("long", side), box_use).fit_side(side)


def blobs(seed: int = 0, size: tuple[int, int] = (200, 300), number: int = 60) -> RGB:
    """Draw discs of different sizes: something for every detector."""
    rng = np.random.default_rng(seed)
    image = np.full((*size, 3), 128, np.uint8)
    for _ in range(number):
        centre = (int(rng.integers(0, size[1])), int(rng.integers(0, size[0])))
        cv2.circle(image, centre, int(rng.integers(3, 25)), [int(v) for v in rng.integers(0, 256, 3)], -1)
    return image


def record(tmp_path: Path, image: RGB, boxes: tuple[Box, ...] = (), name: str = "a.png") -> ImageRecord:
    cv2.imwrite(str(tmp_path / name), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return ImageRecord(name, FileSource(tmp_path / name), boxes)


# --- extractors ---


@pytest.mark.parametrize("name", NAMES)
def test_extractors_keep_what_their_spec_promises(name: str) -> None:
    extractor = build(name, LocalOptions(features=40))
    assert isinstance(extractor, LocalExtractor)
    [found] = extractor.extract([blobs()])
    assert 10 < len(found.scores) <= 40
    assert found.descriptors.shape[1] == extractor.spec.dim
    assert found.image_size == (300, 200)
    assert (found.keypoints >= -1).all()
    assert (found.keypoints <= (301, 201)).all()
    assert found.scales is not None
    assert (found.scales > 0).all()
    assert found.angles is not None
    if extractor.spec.metric == "cosine":
        np.testing.assert_allclose(np.linalg.norm(found.descriptors.astype(float), axis=1), 1, atol=1e-5)
    else:
        assert found.descriptors.dtype == np.uint8


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (2, 400), (31, 64), (100, 100)])
def test_images_that_show_nothing_give_no_features(name: str, size: tuple[int, int]) -> None:
    extractor = build(name)
    [found] = extractor.extract([np.full((*size, 3), 90, np.uint8)])
    assert found.descriptors.shape == (0, extractor.spec.dim)
    assert found.image_size == (size[1], size[0])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("selection", SELECTIONS)
def test_fewer_features_are_the_first_of_more(name: str, selection: str) -> None:
    [many] = build(name, LocalOptions(features=80, selection=selection)).extract([blobs()])
    [few] = build(name, LocalOptions(features=15, selection=selection)).extract([blobs()])
    np.testing.assert_array_equal(few.keypoints, many.keypoints[:15])
    np.testing.assert_array_equal(few.descriptors, many.descriptors[:15])


@pytest.mark.slow
def test_an_image_is_described_alike_alone_and_among_others() -> None:
    images = [blobs(seed) for seed in range(5)]
    extractor = build("rootsift", LocalOptions(threads=3))
    for image, together in zip(images, extractor.extract(images), strict=True):
        np.testing.assert_array_equal(extractor.extract([image])[0].descriptors, together.descriptors)


def test_settings_are_part_of_the_spec() -> None:
    specs = [
        build("rootsift", options).spec
        for options in (
            LocalOptions(),
            LocalOptions(features=7),
            LocalOptions(side=333),
            LocalOptions(selection=SELECTIONS[1]),
        )
    ]
    assert len({storage.fingerprint(spec.as_dict()) for spec in specs}) == 4


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sift", LocalOptions(), "no local features are named 'sift'; did you mean 'rootsift'"),
        ("zzz", LocalOptions(), "known are aliked, rootsift, orb"),
        ("orb:5", LocalOptions(), "nothing may follow the name; write 'orb'"),
        ("orb", LocalOptions(weights="x"), "the setting 'weights' does not apply"),
        ("orb", LocalOptions(selection="best"), "selection 'best' is not one of"),
    ],
)
def test_mistakes_are_explained(name: str, options: LocalOptions, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(name, options)
    with pytest.raises(ConfigError, match="features must be at least 1, not 0"):
        LocalOptions(features=0)


@pytest.mark.skipif(hasattr(cv2, "AKAZE"), reason="this OpenCV has AKAZE")
def test_an_opencv_without_akaze_says_so() -> None:
    with pytest.raises(ConfigError, match=r"akaze: OpenCV 5.* does not have it"):
        build("akaze")


# --- selection ---


def scattered(number: int = 300, seed: int = 0) -> LocalFeatures:
    """Strong small features crowd in one corner, weak ones are everywhere."""
    rng = np.random.default_rng(seed)
    crowd = rng.uniform(0, 1, number) < 0.5
    places = np.where(
        crowd[:, None], rng.uniform(0, 80, (number, 2)), rng.uniform(0, (640, 480), (number, 2))
    )
    return LocalFeatures(
        keypoints=places.astype(np.float32),
        descriptors=np.zeros((number, 2), np.float32),
        scores=(rng.uniform(0.01, 0.05, number) + 0.1 * crowd).astype(np.float32),
        image_size=(640, 480),
        scales=np.where(crowd, 2, rng.uniform(2, 40, number)).astype(np.float32),
        angles=np.zeros(number, np.float32),
    )


@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_selection_is_an_order_without_repeats(selection: str) -> None:
    found = select_features(scattered(), 300, selection)
    assert sorted(found.tolist()) == list(range(300))
    assert select_features(scattered(), 20, selection).tolist() == found[:20].tolist()
    assert select_features(scattered(0), 20, selection).tolist() == []


def test_response_takes_the_strongest() -> None:
    features = scattered()
    assert features.scores[select_features(features, 20, "response")].min() == np.sort(features.scores)[-20]


def test_spread_takes_the_strongest_of_each_part_in_turn() -> None:
    features = scattered()
    turns: dict[tuple[int, int], int] = {}
    naive = []
    for place, row in enumerate(sorted(range(300), key=lambda i: -features.scores[i])):
        x, y = features.keypoints[row]
        part = (int(x * CELLS / 640), int(y * CELLS / 640))
        naive.append((turns.get(part, 0), place, row))
        turns[part] = turns.get(part, 0) + 1
    assert select_features(features, 300, "spread").tolist() == [row for _, _, row in sorted(naive)]

    def parts(selection: str) -> int:
        kept = features.take(select_features(features, 60, selection))
        return len({(int(x * CELLS / 640), int(y * CELLS / 640)) for x, y in kept.keypoints})

    assert parts("spread") > 2 * parts("response")


# --- from files to features of the full image ---


@pytest.mark.parametrize("side", [640, 150])
def test_keypoints_of_a_crop_lie_on_the_full_image(tmp_path: Path, side: int) -> None:
    """A disc drawn in the full image is found where it was drawn, through crop and shrinking."""
    image = np.full((300, 500, 3), 60, np.uint8)
    cv2.circle(image, (310, 140), 16, (250, 250, 250), -1, cv2.LINE_AA)
    view = view_of(record(tmp_path, image, (Box(200.4, 60.7, 200, 180),)), side, "crop")
    assert view.offset == (200, 60)
    assert max(view.image.shape[:2]) == min(side, 201)
    [found] = build("rootsift").extract([view.image])
    found = place_in_full(found, view)
    assert found.image_size == (500, 300)
    off = np.linalg.norm(found.keypoints - (310, 140), axis=1)
    strongest = int(np.argmin(off))
    assert off[strongest] < 1.0
    assert found.scales is not None
    # the diameter of SIFT's Gaussian for a disc of radius r is r * sqrt(2)
    assert found.scales[strongest] == pytest.approx(16 * np.sqrt(2), rel=0.25)


@pytest.mark.parametrize(
    "boxes",
    [
        (Box(10.7, 20.2, 30.5, 40.1),),
        (Box(-5, -9, 60, 70), Box(100, 50, 20, 200)),
        (Box(0, 0, 300, 200),),
        (),
    ],
)
def test_a_view_says_where_its_part_lies(tmp_path: Path, boxes: tuple[Box, ...]) -> None:
    image = blobs()
    view = view_of(record(tmp_path, image, boxes), 640, "crop")
    left, top = view.offset
    height, width = view.image.shape[:2]
    np.testing.assert_array_equal(view.image, image[top : top + height, left : left + width])
    np.testing.assert_array_equal(view.image, crop(image, boxes))
    whole = view_of(record(tmp_path, image, boxes), 640)
    np.testing.assert_array_equal(whole.image, image)
    assert whole.offset == (0, 0)


def test_small_images_are_not_enlarged_and_large_ones_are_shrunk(tmp_path: Path) -> None:
    small = record(tmp_path, blobs(size=(40, 60)))
    assert view_of(small, 640).image.shape == (40, 60, 3)
    large = view_of(record(tmp_path, blobs(size=(400, 1000), number=90)), 500)
    assert large.image.shape == (200, 500, 3)
    assert large.scale == (0.5, 0.5)
    assert large.full_size == (1000, 400)


def test_a_jpeg_decoded_at_a_fraction_still_refers_to_its_full_size(tmp_path: Path) -> None:
    image = np.full((1600, 2400, 3), 60, np.uint8)
    cv2.circle(image, (1500, 700), 80, (250, 250, 250), -1, cv2.LINE_AA)
    given = record(tmp_path, image, name="a.jpg")
    view = view_of(given, 400)
    assert decode(given.source.read(), at_least=(600, 1)).image.shape[1] < 2400
    found = place_in_full(build("rootsift").extract([view.image])[0], view)
    assert found.image_size == (2400, 1600)
    assert np.linalg.norm(found.keypoints - (1500, 700), axis=1).min() < 4


# --- shards ---


def setup(tmp_path: Path, features: int = 50) -> tuple[LocalExtractor, storage.Artifact]:
    extractor = build("rootsift", LocalOptions(features=features))
    codec = raw_codec(128, "cosine", has_shape=True)
    inputs = {"spec": extractor.spec.as_dict(), "codec": codec.digest}
    return extractor, storage.open_artifact(tmp_path / "out", "local", inputs)


RAW = raw_codec(128, "cosine", has_shape=True)


def test_a_database_is_described_once(tmp_path: Path, tiny_dataset: Path) -> None:
    shards = open_dataset(tiny_dataset, shard_size=4).database
    extractor, artifact = setup(tmp_path)
    told: list[tuple[int, int]] = []
    keys, reused = store_all(
        shards, extractor, RAW, artifact, progress=lambda done, total: told.append((done, total))
    )
    assert not reused
    assert told[-1] == (18, 18)
    found = LocalSet(artifact, keys)
    assert len(found) == 18
    before = {p.name: p.stat().st_mtime_ns for p in artifact.folder.iterdir()}
    again, reused = store_all(shards, extractor, RAW, artifact)
    assert (again, reused) == (keys, True)
    assert {p.name: p.stat().st_mtime_ns for p in artifact.folder.iterdir()} == before
    stats = storage.read_stats(artifact, keys[0])
    assert stats.images == 4
    assert stats.seconds > 0


def test_a_lost_shard_is_computed_again_to_the_same_bytes(tmp_path: Path, tiny_dataset: Path) -> None:
    shards = open_dataset(tiny_dataset, shard_size=4).database
    extractor, artifact = setup(tmp_path)
    keys, _ = store_all(shards, extractor, RAW, artifact)
    before = {p.name: p.read_bytes() for p in artifact.folder.glob("*.bin")}
    (artifact.folder / f"{keys[1]}.ids.json").unlink()
    (artifact.folder / f"{keys[1]}.bin").write_bytes(b"half")
    _, reused = store_all(shards, extractor, RAW, artifact)
    assert not reused
    assert {p.name: p.read_bytes() for p in artifact.folder.glob("*.bin")} == before


def test_a_bad_image_stops_or_is_counted(tmp_path: Path, tiny_dataset: Path) -> None:
    bad = next(iter(sorted(tiny_dataset.glob("ilias_core/*/pos/*.jpg"))))
    bad.write_bytes(bad.read_bytes()[:200])
    shards = open_dataset(tiny_dataset).database
    extractor, artifact = setup(tmp_path)
    with pytest.raises(ImageError, match="on-bad-image=skip"):
        store_all(shards, extractor, RAW, artifact)
    keys, _ = store_all(shards, extractor, RAW, artifact, on_bad_image="skip")
    skipped = [s for key in keys for s in storage.read_stats(artifact, key).skipped]
    assert len(skipped) == 1
    assert skipped[0].where == str(bad)
    found = LocalSet(artifact, keys)
    assert len(found) == 17
    assert found.rows_of([skipped[0].id]).tolist() == [-1]
    with pytest.raises(ImageError, match="on-bad-image=skip"):
        store_all(shards, extractor, RAW, artifact)


def test_another_codec_does_not_enter_the_folder(tmp_path: Path, tiny_dataset: Path) -> None:
    shards = open_dataset(tiny_dataset).database
    extractor, artifact = setup(tmp_path)
    store_all(shards, extractor, RAW, artifact)
    other = raw_codec(128, "cosine", has_shape=False)
    with pytest.raises(ArtifactError, match="holds features of another codec"):
        store_all(shards, extractor, other, artifact)


def test_queries_come_from_their_box_at_full_precision(tmp_path: Path, tiny_dataset: Path) -> None:
    queries = [q for q in open_dataset(tiny_dataset).queries if q.image is not None]
    extractor = build("rootsift")
    artifact = storage.open_artifact(tmp_path / "out", "local-queries", {"spec": extractor.spec.as_dict()})
    key, reused = extract_local_queries(queries, extractor, artifact)
    assert not reused
    assert extract_local_queries(queries, extractor, artifact) == (key, True)
    found = LocalSet(artifact, [key])
    assert found.ids == tuple(q.id for q in queries)
    for row, query in enumerate(queries):
        assert query.image is not None
        [box] = query.image.boxes
        one = found.features(row)
        assert one.image_size == (96, 64)
        assert len(one.scores)
        assert (one.keypoints >= (box.x - 1, box.y - 1)).all()
        assert (one.keypoints <= (box.x + box.width + 1, box.y + box.height + 1)).all()
        [(_, expected)] = describe_local([query.image], extractor, [], box_use="crop")
        np.testing.assert_allclose(
            np.asarray(one.descriptors, float), np.asarray(expected.descriptors, float), atol=5e-4
        )
        np.testing.assert_allclose(one.keypoints, expected.keypoints, atol=2e-3)


def test_a_text_has_no_local_features(tmp_path: Path) -> None:
    extractor, artifact = setup(tmp_path)
    with pytest.raises(ExtractionError, match="query 'T' is a text"):
        extract_local_queries([Query("T", "t", text="a red mug")], extractor, artifact)


@pytest.mark.slow
def test_a_codec_is_learnt_once_and_features_are_encoded_anew(tmp_path: Path, tiny_dataset: Path) -> None:
    shards = open_dataset(tiny_dataset, shard_size=7).database
    extractor, artifact = setup(tmp_path)
    keys, _ = store_all(shards, extractor, RAW, artifact)
    full = LocalSet(artifact, keys)
    settings = CodecSettings("uint8", features=10, position=8, shape=4, score=0)
    home = storage.open_artifact(tmp_path / "out", "codec", {"spec": extractor.spec.as_dict()})
    records = [r for shard in shards for r in shard.records()]
    codec, reused = learn_codec(lambda: records, extractor, settings, home, seed=0)
    assert not reused

    def never() -> Sequence[ImageRecord]:
        raise AssertionError("the sample is not needed twice")

    again, reused = learn_codec(never, extractor, settings, home, seed=0)
    assert reused
    assert again.digest == codec.digest

    small = storage.open_artifact(
        tmp_path / "out", "local", {"codec": codec.digest, "of": artifact.fingerprint}
    )
    assert not recode(full, keys, codec, small)
    assert recode(full, keys, codec, small)
    found = LocalSet(small, keys)
    assert found.ids == full.ids
    assert found.bytes_per_image < full.bytes_per_image / 5
    for row in range(len(full)):
        given, decoded = full.features(row), found.features(row)
        assert len(decoded.scores) == min(10, len(given.scores))
        np.testing.assert_allclose(decoded.keypoints, given.keypoints[:10], atol=96 / 512 + 0.01)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["uint8", "pca", "orb"])
def test_bytes_are_the_same_from_images_and_from_full_precision(
    tmp_path: Path, tiny_dataset: Path, kind: str
) -> None:
    """A run may find full precision on disk or not: that must not change what it stores."""
    shards = open_dataset(tiny_dataset, shard_size=7).database
    records = [r for shard in shards for r in shard.records()]
    name = "orb" if kind == "orb" else "rootsift"
    large, small = (build(name, LocalOptions(features=m)) for m in (100, 40))
    sized = CodecSettings("raw" if kind == "orb" else kind, 16 if kind == "pca" else 0, 15, 8, 4, 0)

    def home(kind: str, of: LocalExtractor, **more: object) -> storage.Artifact:
        return storage.open_artifact(tmp_path / "out", kind, {"spec": of.spec.as_dict(), **more})

    full_codec, _ = learn_codec(lambda: records, large, CodecSettings(), home("codec", large), seed=0)
    full = home("local", large, codec=full_codec.digest)
    keys, _ = store_all(shards, large, full_codec, full)
    source = find_source(tmp_path / "out", "local", {"spec": small.spec.as_dict()}, keys)
    assert source is not None
    assert source.artifact.folder == full.folder

    codecs = [
        learn_codec(lambda: records, small, sized, home("codec", small, way=way), seed=0, source=given)[0]
        for way, given in (("images", None), ("disk", source))
    ]
    assert codecs[0].digest == codecs[1].digest
    one, two = (home("local", small, codec=codecs[0].digest, way=way) for way in ("images", "disk"))
    store_all(shards, small, codecs[0], one)
    recode(source, keys, codecs[0], two, features=40)
    for key in keys:
        assert (one.folder / f"{key}.bin").read_bytes() == (two.folder / f"{key}.bin").read_bytes()
        assert storage.read_stats(two, key).seconds > storage.read_stats(full, key).seconds


def test_a_source_must_be_complete_alike_and_rich_enough(tmp_path: Path, tiny_dataset: Path) -> None:
    shards = open_dataset(tiny_dataset, shard_size=7).database
    extractor, artifact = setup(tmp_path)
    keys, _ = store_all(shards, extractor, RAW, artifact)

    def find(**changed: object) -> LocalSet | None:
        spec = {**extractor.spec.as_dict(), **changed}
        return find_source(tmp_path / "out", "local", {"spec": spec}, keys)

    assert find() is not None
    assert find(features=10) is not None
    assert find(features=51) is None
    assert find(side=320) is None
    (artifact.folder / f"{keys[0]}.ids.json").unlink()
    assert find() is None


class Liar:
    """Returns something else than its spec says."""

    def __init__(self, answer: str) -> None:
        self.answer = answer

    @property
    def spec(self) -> LocalSpec:
        return LocalSpec("liar", "none", "1", 4, "cosine", 640, 5, "response", "MIT")

    def extract(self, images: Sequence[RGB]) -> list[LocalFeatures]:
        number, dim = {"many": (6, 4), "dim": (2, 3)}.get(self.answer, (2, 4))
        values = np.full((number, dim), np.nan if self.answer == "nan" else 1, np.float32)
        one = LocalFeatures(np.zeros((number, 2), np.float32), values, np.ones(number, np.float32), (9, 9))
        return [one] * (len(images) + (self.answer == "more"))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("many", r"liar returned descriptors \(6, 4\) of 'a.png'; its spec says at most 5 of 4"),
        ("dim", r"liar returned descriptors \(2, 3\)"),
        ("nan", "liar returned NaN or infinity for 'a.png'"),
        ("more", "liar returned features of 2 images for 1"),
    ],
)
def test_an_extractor_that_breaks_its_promise_is_stopped(tmp_path: Path, answer: str, message: str) -> None:
    with pytest.raises(ExtractionError, match=message):
        list(describe_local([record(tmp_path, blobs())], Liar(answer), []))


def test_skipped_images_are_told_and_the_others_come_in_order(tmp_path: Path) -> None:
    records = [record(tmp_path, blobs(i, (64, 64), 9), name=f"{i}.png") for i in range(70)]
    (tmp_path / "33.png").write_bytes(b"nothing")
    skipped: list[Skipped] = []
    told: list[int] = []
    found = list(
        describe_local(records, build("orb"), skipped, on_bad_image="skip", workers=2, progress=told.append)
    )
    assert [r.id for r, _ in found] == [f"{i}.png" for i in range(70) if i != 33]
    assert [s.id for s in skipped] == ["33.png"]
    assert sum(told) == 70
