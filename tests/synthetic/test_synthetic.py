"""Synthetic data sets: the same bytes every time, boxes that fit, and no instance among the distractors."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.storage.test_sqlite import full_disk

from ilion.errors import ConfigError, DatasetError, UnwritableError
from ilion.synthetic import SyntheticSummary, synthesize
from ilion.synthetic.camera import Camera, look_at, turn
from ilion.synthetic.ink import U8
from ilion.synthetic.photos import Settings, distractor, positive, query, stock
from ilion.synthetic.printing import front
from ilion.synthetic.products import instance, line, lookalike, product, variants
from ilion.synthetic.solids import Light, Solid
from ilion.synthetic.stage import Block, Census
from ilion.synthetic.texts import describe
from ilion.synthetic.words import brand_name

SETTINGS = Settings(seed=5, instances=6, image_side=192, lookalikes=True)
SMALL = {"instances": 6, "positives": 2, "distractors": 7, "shard_size": 4, "image_side": 192, "seed": 5}
SCALE_EDGES = (0.06880213760855043, 0.13526567164179104, 0.2729876723163842)
CLUTTER_EDGES = (18, 33, 53)


def make(folder: Path, workers: int = 1, **changes: object) -> SyntheticSummary:
    return synthesize(folder, workers=workers, **(SMALL | changes))  # type: ignore[arg-type]


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "set"
    summary = make(folder)
    assert (summary.instances, summary.positives, summary.distractors) == (6, 12, 7)
    assert (summary.shards, summary.kept) == (2, 0)
    return folder


def rows(folder: Path) -> list[tuple[str, float, int]]:
    with (folder / "image_ids/positive_ids.txt").open() as file:
        return [(name, float(scale), int(clutter)) for name, scale, clutter in csv.reader(file)]


def decoded(data: bytes) -> U8:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def members(tar_file: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(tar_file) as tar:
        for entry in tar:
            reader = tar.extractfile(entry)
            assert reader is not None
            yield entry, reader.read()


@pytest.mark.slow
def test_two_processes_write_the_same_bytes_as_one(made: Path, tmp_path: Path) -> None:
    make(tmp_path / "two", workers=2)
    assert content(tmp_path / "two") == content(made)


@pytest.mark.slow
def test_another_seed_gives_other_pictures(made: Path) -> None:
    name = next(iter(sorted((made / "ilias_core").iterdir())))
    assert instance(6, 0).name not in name.name
    assert distractor(Settings(6, 6, 192, True), 0).jpeg != distractor(SETTINGS, 0).jpeg


@pytest.mark.slow
@pytest.mark.parametrize(("stop", "kept"), [(8, 9), (19, 18)])
def test_an_interrupted_call_is_finished_by_the_same_call(
    made: Path, tmp_path: Path, stop: int, kept: int
) -> None:
    folder = tmp_path / "set"

    def interrupt(done: int, total: int) -> None:
        assert total == 25
        if done >= stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(folder, progress=interrupt)
    assert content(folder) != content(made)
    # What a kill in the middle of a file leaves behind.
    name = f"{instance(5, 5).name}_005"
    if not (folder / "ilias_core" / name).exists():
        (folder / "ilias_core" / f".{name}.part" / "query").mkdir(parents=True)
        (folder / "ilias_core" / f".{name}.part" / "query" / "old.jpg").write_bytes(b"half")
    (folder / "distractors").mkdir(exist_ok=True)
    (folder / "distractors" / ".distractors_00001.tar.part").write_bytes(b"half")
    summary = make(folder)
    assert summary.kept == kept
    assert content(folder) == content(made)


@pytest.mark.slow
def test_a_killed_process_loses_nothing_that_was_complete(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    code = "import sys, pathlib; from ilion.synthetic import synthesize as make; "
    code += f"make(pathlib.Path(sys.argv[1]), workers=1, **{SMALL!r})"
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)])
    first = folder / "ilias_core" / f"{instance(5, 1).name}_001"
    deadline = time.monotonic() + 120
    while not first.is_dir() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert make(folder).kept >= 3
    assert content(folder) == content(made)


@pytest.mark.slow
def test_a_finished_set_is_left_alone(made: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*.jpg")}
    seen: list[tuple[int, int]] = []
    summary = make(made, progress=lambda done, total: seen.append((done, total)))
    assert summary.kept == 25
    assert seen[-1] == (25, 25)
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*.jpg")} == before
    assert "6 instances" in str(summary)
    assert "25 images were there already" in str(summary)


@pytest.mark.slow
def test_a_removed_object_is_made_again(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(made, folder)
    victim = folder / "ilias_core" / f"{instance(5, 2).name}_002"
    for path in sorted(victim.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    victim.rmdir()
    assert make(folder).kept == 22
    assert content(folder) == content(made)


@pytest.mark.slow
def test_sets_of_other_sizes_share_their_pictures(made: Path, tmp_path: Path) -> None:
    make(tmp_path / "set", distractors=3, positives=1, distractor_format="folder")
    images = {entry.name: data for entry, data in members(made / "distractors/distractors_00000.tar")}
    for path in (tmp_path / "set/distractors/00000").iterdir():
        assert path.read_bytes() == images[path.name]
    for path in (tmp_path / "set/ilias_core").rglob("*.jpg"):
        name = path.relative_to(tmp_path / "set")
        assert path.read_bytes() == (made / name).read_bytes()


@pytest.mark.slow
def test_layout(made: Path) -> None:
    names = sorted(path.name for path in (made / "ilias_core").iterdir())
    assert len(names) == 6
    assert all(re.fullmatch(r"[a-z0-9_]+_\d{3}", name) for name in names)
    for name in names:
        number = name[-3:]
        folder = made / "ilias_core" / name
        assert {path.name for path in (folder / "query").iterdir()} == {
            f"Q{number}_00.jpg", f"Q{number}_00_bbox.txt", f"T{number}.txt",
        }  # fmt: skip
        positives = {f"P{number}_{k:02d}{end}" for k in range(2) for end in (".jpg", "_bbox.txt")}
        assert {path.name for path in (folder / "pos").iterdir()} == positives
        assert len((folder / "query" / f"T{number}.txt").read_text().split()) > 12
    tree = json.loads((made / "taxonomy.json").read_text())
    listed = [
        name for sub in tree.values() for fine in sub.values() for group in fine.values() for name in group
    ]
    assert sorted(listed) == names
    for table, kind in (("image_query_ids.txt", "Q"), ("text_query_ids.txt", "T")):
        ids = (made / "image_ids" / table).read_text().split()
        assert all((made / "ilias_core" / image_id).is_file() for image_id in ids)
        assert [image_id.split("/")[2][0] for image_id in ids] == [kind] * 6
    assert sorted(name for name, _, _ in rows(made)) == sorted(
        path.relative_to(made / "ilias_core").as_posix() for path in made.glob("ilias_core/*/pos/*.jpg")
    )
    assert not [path for path in made.rglob(".*") if path.name != ".lock"]


@pytest.mark.slow
def test_boxes_lie_in_the_image_and_agree_with_the_scale(made: Path) -> None:
    scales = {name: scale for name, scale, _ in rows(made)}
    images = sorted((made / "ilias_core").rglob("*.jpg"))
    assert len(images) == 18
    for path in images:
        height, width = decoded(path.read_bytes()).shape[:2]
        assert max(height, width) == 192
        x, y, w, h = map(float, path.with_name(f"{path.stem}_bbox.txt").read_text().split())
        assert x >= 0
        assert y >= 0
        assert w >= 1
        assert h >= 1
        assert x + w <= width
        assert y + h <= height
        if path.name.startswith("P"):
            name = path.relative_to(made / "ilias_core").as_posix()
            assert abs(scales[name] - w * h / (width * height)) < 1e-6


@pytest.mark.slow
def test_tars_are_reproducible_and_complete(made: Path) -> None:
    keys = []
    for number, count in ((0, 4), (1, 3)):
        entries = list(members(made / f"distractors/distractors_{number:05d}.tar"))
        assert len(entries) == count
        for entry, data in entries:
            assert (entry.mtime, entry.uid, entry.gid, entry.uname, entry.mode) == (0, 0, 0, "", 0o644)
            assert max(decoded(data).shape) == 192
            keys.append(entry.name)
    assert keys == [f"{index:09d}.jpg" for index in range(7)]


@pytest.mark.slow
def test_a_picture_depends_on_its_number_alone(made: Path) -> None:
    images = {entry.name: data for entry, data in members(made / "distractors/distractors_00001.tar")}
    assert distractor(SETTINGS, 6).jpeg == images["000000006.jpg"]
    name = f"{instance(5, 4).name}_004"
    assert query(SETTINGS, 4).jpeg == (made / f"ilias_core/{name}/query/Q004_00.jpg").read_bytes()
    assert positive(SETTINGS, 4, 1).jpeg == (made / f"ilias_core/{name}/pos/P004_01.jpg").read_bytes()


@pytest.mark.slow
def test_sizes_and_clutter_cover_all_bins() -> None:
    photos = [positive(SETTINGS, index, number) for index in range(4) for number in range(10)]
    scales = np.bincount(np.digitize([photo.scale for photo in photos], SCALE_EDGES), minlength=4)
    clutter = np.bincount(np.digitize([photo.clutter for photo in photos], CLUTTER_EDGES), minlength=4)
    assert (scales >= 3).all(), scales
    assert (clutter >= 2).all(), clutter
    assert min(photo.scale for photo in photos) < 0.012
    assert max(photo.scale for photo in photos) > 0.35


@pytest.mark.slow
def test_brands_of_instances_are_nobody_elses() -> None:
    own = {line(5, True, number).brand for number in range(3000)}
    other = {line(5, False, number).brand for number in range(3000)}
    assert len(own) == len(other) == 3000
    assert not own & other
    assert len({brand_name(key) for key in range(100_000)}) == 100_000


@pytest.mark.slow
def test_lookalikes_are_near_but_never_instances() -> None:
    instances = {instance(5, index).key for index in range(240)}
    assert len(instances) == 240
    for index in range(240):
        for choice in (0.0, 0.37, 0.9999):
            like = lookalike(5, index, choice)
            assert like.key not in instances
            assert like.key[:2] == instance(5, index).key[:2]
            assert like.variant < variants(like.line)
    sisters = [k for k in range(1, 240) if instance(5, k).key[:2] == instance(5, k - 1).key[:2]]
    assert sisters == list(range(5, 240, 6))
    assert not any(p.key[0] for number in range(20) for p in stock(5, "distractors", number))


@pytest.mark.slow
def test_variants_differ_in_print() -> None:
    for index in range(0, 20, 3):
        of = instance(5, index).line
        names = {product(of, k).name for k in range(variants(of))}
        assert len(names) == variants(of) >= 7
        first, second = front(product(of, 0)), front(product(of, 2))
        changed = (np.abs(first.astype(int) - second) > 24).any(axis=2).mean()
        assert changed > 0.003
        assert len({describe(product(of, k)) for k in range(3)}) == 3


@pytest.mark.slow
def test_no_instance_is_ever_drawn_in_a_distractor(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[bool, int, int]] = []
    draw = Solid.draw

    def spy(self: Solid, canvas: U8, camera: Camera, light: Light) -> None:
        drawn.append(self.what.key)
        draw(self, canvas, camera, light)

    monkeypatch.setattr(Solid, "draw", spy)
    instances = {SETTINGS.product(index).key for index in range(6)}
    for index in range(14):
        assert distractor(SETTINGS, index).product.key not in instances
    assert len(drawn) > 200
    assert not instances & set(drawn)
    assert any(own for own, _, _ in drawn)  # look-alikes occur
    for number in range(4):
        drawn.clear()
        positive(SETTINGS, 1, number)
        assert [key for key in drawn if key in instances] == [SETTINGS.product(1).key]


@pytest.mark.slow
def test_without_lookalikes_nothing_shares_a_line() -> None:
    settings = Settings(5, 12, 192, False)
    assert len({settings.product(index).key[:2] for index in range(12)}) == 12
    assert not any(distractor(settings, index).product.line.own for index in range(12))


@pytest.mark.parametrize(
    "package", ["box", "gable", "can", "bottle", "jar", "tub", "pouch", "parts", "book", "poster"]
)
@pytest.mark.parametrize(("yaw", "pitch"), [(0.0, 4.0), (-35.0, 22.0)])
def test_outline_encloses_exactly_what_is_drawn(package: str, yaw: float, pitch: float) -> None:
    what = product(line(5, False, 3, package), 0)
    solid = Solid(what, np.zeros(3), turn(yaw))
    tall = what.line.size[1]
    a = np.radians(pitch)
    eye = np.array([0.1 * tall, tall * (0.5 + 3 * np.sin(a)), tall * 3 * np.cos(a)])
    camera = look_at(eye, np.array([0, tall / 2, 0]), 3.0, 620.0, 480, 480)
    ground = (1, 254, 3)
    canvas: U8 = np.full((480, 480, 3), ground, np.uint8)
    solid.draw(canvas, camera, Light(np.array([0.0, 0.6, 0.8]), 0.6))
    changed = (np.abs(canvas.astype(int) - np.array(ground)) > 90).any(axis=2)
    ys, xs = np.nonzero(changed)
    drawn = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
    outline = solid.outline(camera)
    said = np.concatenate([outline.min(axis=0), outline.max(axis=0)])
    assert np.abs(drawn - said).max() < 5, (drawn, said)


def test_camera_agrees_with_opencv() -> None:
    points = np.random.default_rng(0).uniform(-10, 10, (50, 3))
    camera = look_at(np.array([5.0, 12, 40]), np.array([1.0, 2, -3]), 17.0, 500.0, 640, 480)
    # OpenCV looks along +z with y down.
    rotation = np.diag([1.0, -1.0, 1.0]) @ camera.axes
    intrinsic = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
    expected, _ = cv2.projectPoints(points, rotation, -rotation @ camera.eye, intrinsic, None)
    np.testing.assert_allclose(camera.project(points), expected[:, 0], atol=1e-6)


def test_census_counts_what_is_in_front() -> None:
    camera = look_at(np.array([0.0, 0, 100]), np.zeros(3), 0.0, 400.0, 400, 400)

    def block(x: float, z: float, size: float) -> Block:
        half = size / 2
        return Block(np.array([x - half, -half, z - 1]), np.array([x + half, half, z]), (9.0, 9.0, 9.0))

    target, half_hidden, far_off = block(0, 0, 20), block(10, 20, 20), block(500, 0, 20)
    hidden, beside = block(0, -30, 10), block(-30, 0, 10)
    things = [hidden, beside, target, half_hidden, far_off]
    seen = Census(camera, target).count(things)
    assert seen.others == 2  # beside and half_hidden
    # The nearer block starts at x = 0 / (1 - 0.2) in the target's plane and covers its right half.
    assert abs(seen.visible - 0.5) < 0.06
    assert Census(camera, target).count([target]).visible == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"instances": 0}, "instances is 0; it must lie between 1 and 1,000,000"),
        ({"positives": 101}, "positives is 101"),
        ({"distractors": -1}, "distractors is -1"),
        ({"shard_size": 0}, "shard_size is 0"),
        ({"image_side": 64}, "image_side is 64; it must lie between 128 and 2,048"),
        ({"seed": -1}, "seed is -1"),
        ({"workers": 0}, "workers is 0"),
        ({"distractor_format": "zip"}, "distractor_format is 'zip'; it must be 'tar' or 'folder'"),
    ],
)
def test_numbers_out_of_range(tmp_path: Path, changes: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        make(tmp_path / "set", **changes)
    assert not (tmp_path / "set").exists()


@pytest.mark.slow
def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(DatasetError, match="is not empty and holds no synthetic set; choose a new or empty"):
        make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


@pytest.mark.parametrize("kind", ["pipe", "file", "device"])
def test_what_is_no_folder_is_named(tmp_path: Path, kind: str) -> None:
    place = Path("/dev/null") if kind == "device" else tmp_path / "place"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "file":
        place.write_bytes(b"")
    with pytest.raises(DatasetError, match=rf"is a .*{kind}.*, not a folder; choose a new or empty folder"):
        make(place)
    if kind == "file":
        with pytest.raises(ConfigError, match="place: is no folder; name one for the output"):
            make(place / "dataset")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["tar", "folder"])
@pytest.mark.parametrize("most", [500, 3_000, 8_000, 12_000])
def test_a_full_disk_is_a_sentence_and_the_same_again_completes(
    made: Path, tmp_path: Path, most: int, form: str
) -> None:
    with full_disk(most), pytest.raises(UnwritableError, match=r"cannot be written .*; free space or choose"):
        make(tmp_path / "set", distractor_format=form)
    make(tmp_path / "set", distractor_format=form)
    found = content(tmp_path / "set")
    assert found if form == "folder" else found == content(made)
    assert not [name for name in map(str, (tmp_path / "set").rglob("*")) if name.endswith((".part", ".tmp"))]


@pytest.mark.slow
def test_a_set_of_other_settings_is_refused(made: Path) -> None:
    before = content(made)
    with pytest.raises(DatasetError, match="seed is 5 there and 6 here; positives is 2 there and 9 here"):
        make(made, seed=6, positives=9)
    assert content(made) == before


@pytest.mark.parametrize("text", ["", "[]", '{"settings": 3}'])
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "synthetic.json").write_text(text)
    with pytest.raises(DatasetError, match=r"synthetic\.json: is no manifest of a synthetic set"):
        make(tmp_path)


@pytest.mark.slow
def test_a_damaged_table_of_positives_is_said(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(made, folder)
    table = folder / "image_ids/positive_ids.txt"
    for damage in ("a,b,c", "only a name", '"', "x,nan", "\0"):
        table.write_text((made / "image_ids/positive_ids.txt").read_text() + damage + "\n")
        with pytest.raises(DatasetError, match=r"positive_ids\.txt: damaged .*; delete it"):
            make(folder)
    table.unlink()
    make(folder)
    assert table.read_bytes() == (made / "image_ids/positive_ids.txt").read_bytes()
