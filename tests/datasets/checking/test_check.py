from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.bad_images import SMOOTH, Case, cases, encode, orientation_exif
from tests.conftest import draw_photo

from ilion.datasets import DatasetCheck, Problem, check_dataset, open_dataset, render_check
from ilion.datasets.checking import check as check_module
from ilion.datasets.checking.facts import CLUTTER_EDGES, SHARE_EDGES
from ilion.datasets.checking.inspect import clutter_estimate, picture_hash
from ilion.datasets.listing import is_image_name
from ilion.errors import ConfigError, DatasetError
from ilion.types import Box

Save = Callable[[Path, bytes | str], Path]
SaveTar = Callable[[Path, Mapping[str, bytes]], None]
Photo = Callable[..., bytes]


def of_kind(check: DatasetCheck, *kinds: str) -> list[Problem]:
    return [problem for problem in check.problems if problem.kind in kinds]


def only(check: DatasetCheck, kind: str) -> Problem:
    (problem,) = of_kind(check, kind)
    return problem


def saved_anew(data: bytes, kind: str = "JPEG", scale: float = 1.0, **options: object) -> bytes:
    image = Image.open(io.BytesIO(data))
    out = io.BytesIO()
    image.resize((round(image.width * scale), round(image.height * scale))).save(out, kind, **options)
    return out.getvalue()


def test_a_sound_data_set_has_no_problems(tiny_dataset: Path, plain_dataset: Path) -> None:
    assert check_dataset(tiny_dataset).problems == ()
    check = check_dataset(plain_dataset)
    assert [problem.kind for problem in check.problems] == ["empty-text"]
    assert check.ok


def test_every_kind_of_bad_image_is_named_with_its_message(tiny_dataset: Path, save: Save) -> None:
    for name, case in cases().items():
        save(tiny_dataset / "distractors" / "bad" / name, case.data)
    check = check_dataset(tiny_dataset, workers=2)
    by_file: dict[str, list[Problem]] = {}
    for problem in check.problems:
        by_file.setdefault(problem.file, []).append(problem)
    for name, case in cases().items():
        found = by_file.get(f"distractors/bad/{name}", [])
        if not is_image_name(name):
            assert [p.kind for p in found] in (["stray-file"], ["packed"]), name
        else:
            assert_said(name, case, found)
    assert not check.ok


def assert_said(name: str, case: Case, found: list[Problem]) -> None:
    unreadable = [p for p in found if p.kind == "unreadable"]
    if case.error:
        (problem,) = unreadable
        assert problem.severity == "error", name
        assert re.search(case.error, f"{problem.message}; {problem.remedy}"), (name, problem)
        assert problem.remedy, name
        return
    assert unreadable == [], name
    if case.warning:
        assert any(case.warning in p.message for p in found), (name, found)


@pytest.mark.parametrize(
    ("name", "severity", "kind"),
    [
        ("cmyk_adobe.jpg", "warning", "cmyk"),
        ("rgb_16.png", "warning", "deep"),
        ("exif_6.jpg", "info", "rotated"),
        ("broken_exif.jpg", "warning", "damaged-exif"),
        ("rgba.png", "info", "transparent"),
        ("display_p3.jpg", "info", "colour-profile"),
        ("one_pixel.jpg", "warning", "tiny"),
        ("named_jpg.png", "warning", "mislabelled"),
    ],
)
def test_odd_images_are_named_by_kind(
    tiny_dataset: Path, save: Save, name: str, severity: str, kind: str
) -> None:
    save(tiny_dataset / "distractors" / name, cases()[name].data)
    problem = only(check_dataset(tiny_dataset), kind)
    assert (problem.severity, problem.file) == (severity, f"distractors/{name}")
    assert problem.remedy
    assert check_dataset(tiny_dataset).ok


def test_every_oddity_that_the_header_tells_has_a_kind(tiny_dataset: Path, save: Save) -> None:
    """No warning of `probe` gets lost between the modules."""
    odd = {name: case for name, case in cases().items() if case.warning and is_image_name(name)}
    assert len(odd) > 20
    for name, case in odd.items():
        save(tiny_dataset / "distractors" / name, case.data)
    said = {p.file for p in check_dataset(tiny_dataset).problems if p.kind not in ("tiny", "mislabelled")}
    assert said == {f"distractors/{name}" for name in odd}


def test_mislabelled_animated_and_huge(
    tiny_dataset: Path, photo: Photo, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [Image.open(io.BytesIO(photo(seed, (80, 80)))) for seed in (1, 2)]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    save(tiny_dataset / "distractors" / "moving.jpg", out.getvalue())
    save(tiny_dataset / "distractors" / "big.jpg", photo(3, (400, 300)))
    monkeypatch.setattr(check_module, "HUGE_PIXELS", 100_000)
    check = check_dataset(tiny_dataset)
    mislabelled, animated, huge = (only(check, kind) for kind in ("mislabelled", "animated", "huge"))
    assert mislabelled.message == "is named .jpg but is a GIF image"
    assert mislabelled.remedy == "rename it to .gif, or save it anew"
    assert animated.message == "2 frames or pages, only the first is used"
    assert huge.message == "has 400 x 300 pixels, and takes 0 MB to decode"
    assert {p.file for p in (mislabelled, animated)} == {"distractors/moving.jpg"}


def test_headers_only(tiny_dataset: Path, save: Save) -> None:
    for name in ("truncated_50.jpg", "zero_width.jpg", "page.jpg"):
        save(tiny_dataset / "distractors" / name, cases()[name].data)
    found = {p.file: p.message for p in of_kind(check_dataset(tiny_dataset, full_decode=False), "unreadable")}
    assert set(found) == {"distractors/zero_width.jpg", "distractors/page.jpg"}
    assert "zero-sized" in found["distractors/zero_width.jpg"]


def test_unreadable_file(tiny_dataset: Path, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("ilion.types.images.read_bytes", locked)
    problems = of_kind(check_dataset(tiny_dataset), "unreadable")
    assert len(problems) == 12 + 4
    assert problems[0].message == "cannot be read (Permission denied)"


def test_images_in_tars_are_checked(tiny_dataset: Path, photo: Photo, save: Save, save_tar: SaveTar) -> None:
    save_tar(
        tiny_dataset / "distractors" / "more.tar",
        {"ok.jpg": photo(1), "cut.jpg": cases()["truncated_50.jpg"].data, "wrong.png": photo(2)},
    )
    save(tiny_dataset / "distractors" / "not.tar", "this is no tar at all, only text" * 40)
    save_tar(tiny_dataset / "distractors" / "twice.tar", {"a.jpg": photo(3), "a.png": photo(4)})
    check = check_dataset(tiny_dataset)
    assert only(check, "unreadable").file == "distractors/more.tar!cut.jpg"
    assert only(check, "mislabelled").file == "distractors/more.tar!wrong.png"
    bad = {p.file: p for p in of_kind(check, "bad-tar")}
    assert set(bad) == {"distractors/not.tar", "distractors/twice.tar"}
    assert "the key 'a' occurs twice in this tar" in bad["distractors/twice.tar"].message
    assert all(p.severity == "error" and p.remedy for p in bad.values())
    assert check.facts.counts["distractors"] == 5 + 4 + 3


@pytest.mark.parametrize(
    ("line", "severity", "message"),
    [
        ("200 10 5 5", "error", "box 200 10 5 5 lies outside of the photo of 96 x 64 pixels"),
        ("-9 -9 5 5", "error", "lies outside"),
        ("90 10 20 5", "warning", "box 90 10 20 5 reaches out of the photo of 96 x 64 pixels"),
        ("-3 0 20 5", "warning", "reaches out"),
        ("0 60.5 96 4.5", None, ""),
    ],
)
def test_boxes_outside_of_the_photo(
    tiny_dataset: Path, save: Save, line: str, severity: str | None, message: str
) -> None:
    save(tiny_dataset / "ilias_core" / "mug_000" / "pos" / "P000_00_bbox.txt", f"{line}\n")
    check = check_dataset(tiny_dataset)
    if severity is None:
        assert check.problems == ()
        return
    problem = only(check, "box-outside")
    assert problem.severity == severity
    assert message in problem.message
    assert problem.file == "ilias_core/mug_000/pos/P000_00_bbox.txt"


def test_a_box_drawn_before_turning_is_recognised(tiny_dataset: Path, photo: Photo, save: Save) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stem = tiny_dataset / "ilias_core" / "mug_000" / "pos" / "P000_00"
    save(stem.with_suffix(".jpg"), photo(1, size=(96, 64), exif=exif))
    save(stem.with_name("P000_00_bbox.txt"), "70 10 20 20\n")
    problem = only(check_dataset(tiny_dataset), "box-outside")
    assert problem.message == "box 70 10 20 20 lies outside of the photo of 64 x 96 pixels"
    assert "turned by EXIF: draw it again on the upright photo" in problem.remedy


def test_structural_problems_do_not_stop_the_check(tiny_dataset: Path, save: Save) -> None:
    core = tiny_dataset / "ilias_core"
    save(core / "mug_000" / "query" / "Q000_00_bbox.txt", "1 2 3\n")
    save(core / "poster_002" / "query" / "T002.txt", "")
    save(core / "mug_000" / "pos" / "notes.txt", "x")
    save(tiny_dataset / "distractors" / "cut.jpg", cases()["truncated_50.jpg"].data)
    (core / "empty_003").mkdir()
    check = check_dataset(tiny_dataset)
    kinds = [problem.kind for problem in check.problems]
    assert kinds == [
        "bad-box",
        "empty-text",
        "no-positive",
        "no-query",
        "unreadable",
        "no-category",
        "stray-file",
    ]
    with pytest.raises(DatasetError, match="the data set has 4 errors"):
        open_dataset(tiny_dataset)


@pytest.mark.parametrize(
    ("kind", "scale", "options", "how"),
    [
        (None, 1.0, {}, "is byte for byte the photo"),
        ("JPEG", 1.0, {"quality": 50}, "is the same picture (saved anew or resized) as"),
        ("PNG", 1.0, {}, "is the same picture"),
        ("JPEG", 0.5, {"quality": 85}, "is the same picture"),
        ("WEBP", 0.7, {"quality": 80}, "is the same picture"),
    ],
)
def test_a_query_in_the_database(
    tiny_dataset: Path,
    save: Save,
    photo: Photo,
    kind: str | None,
    scale: float,
    options: dict[str, object],
    how: str,
) -> None:
    query = tiny_dataset / "ilias_core" / "mug_000" / "query" / "Q000_00.jpg"
    save(query, photo(0, (480, 320), quality=92))
    data = query.read_bytes()
    copy = data if kind is None else saved_anew(data, kind, scale, **options)
    name = f"copy.{(kind or 'jpg').lower()}".replace("jpeg", "jpg")
    save(tiny_dataset / "distractors" / name, copy)
    save(tiny_dataset / "ilias_core" / "mug_000" / "pos" / name, copy)
    check = check_dataset(tiny_dataset)
    problems = of_kind(check, "query-in-database")
    assert {(p.severity, p.file) for p in problems} == {
        ("error", f"distractors/{name}"),
        ("error", "ilias_core/mug_000/query/Q000_00.jpg"),
    }
    assert all(how in p.message for p in problems)
    assert all("a query that finds itself says nothing" in p.remedy for p in problems)


def test_one_photo_under_two_objects(tiny_dataset: Path) -> None:
    core = tiny_dataset / "ilias_core"
    shutil.copy(core / "mug_000" / "pos" / "P000_00.jpg", core / "poster_002" / "pos" / "P002_09.jpg")
    check = check_dataset(tiny_dataset)
    problem = only(check, "same-photo-two-objects")
    assert problem.severity == "error"
    assert problem.file == "ilias_core/poster_002/pos/P002_09.jpg"
    assert problem.message == (
        "is byte for byte the photo mug_000/pos/P000_00.jpg, which is positive of 'mug_000'"
    )


def test_one_photo_as_query_of_two_objects(tiny_dataset: Path) -> None:
    core = tiny_dataset / "ilias_core"
    shutil.copy(core / "mug_000" / "query" / "Q000_00.jpg", core / "poster_002" / "query" / "Q002_09.jpg")
    assert only(check_dataset(tiny_dataset), "same-photo-two-objects").severity == "warning"


def test_one_photo_twice_under_one_object(tiny_dataset: Path) -> None:
    folder = tiny_dataset / "ilias_core" / "mug_000" / "pos"
    shutil.copy(folder / "P000_00.jpg", folder / "P000_09.jpg")
    problem = only(check_dataset(tiny_dataset), "same-photo")
    assert problem.severity == "warning"
    assert problem.remedy == "remove one of the two: it counts twice"


def test_a_positive_as_distractor(tiny_dataset: Path, save_tar: SaveTar) -> None:
    data = (tiny_dataset / "ilias_core" / "mug_000" / "pos" / "P000_00.jpg").read_bytes()
    save_tar(tiny_dataset / "distractors" / "more.tar", {"a.jpg": saved_anew(data, quality=70)})
    problem = only(check_dataset(tiny_dataset), "positive-as-distractor")
    assert (problem.severity, problem.file) == ("error", "distractors/more.tar!a.jpg")
    assert "which is positive of 'mug_000', and a distractor at the same time" in problem.message


def test_copies_among_distractors_are_no_problem(tiny_dataset: Path) -> None:
    folder = tiny_dataset / "distractors" / "loose"
    shutil.copy(folder / "d0.jpg", folder / "d9.jpg")
    assert check_dataset(tiny_dataset).problems == ()


def test_byte_copies_are_found_without_decoding(tiny_dataset: Path) -> None:
    core = tiny_dataset / "ilias_core" / "mug_000"
    shutil.copy(core / "query" / "Q000_00.jpg", tiny_dataset / "distractors" / "x.jpg")
    assert only(check_dataset(tiny_dataset, full_decode=False), "query-in-database").severity == "error"


def test_pictures_that_are_alike_are_no_copies(tiny_dataset: Path, photo: Photo, save: Save) -> None:
    """The same package with one word changed is another object, and must not be called a copy."""
    image = np.asarray(Image.open(io.BytesIO(photo(0, (320, 320)))))
    other = image.copy()
    other[140:180, 100:220] = 255 - other[140:180, 100:220]
    for name, pixels in (("mug_000/query/Q000_05", image), ("poster_002/query/Q002_05", other)):
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "JPEG", quality=95)
        save(tiny_dataset / "ilias_core" / f"{name}.jpg", out.getvalue())
    assert check_dataset(tiny_dataset).problems == ()


def test_problems_are_bounded(tiny_dataset: Path, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "KEPT", 3)
    for i in range(9):
        save(tiny_dataset / "distractors" / f"bad{i}.jpg", f"text {i} and so on")
    check = check_dataset(tiny_dataset)
    assert len(of_kind(check, "unreadable")) == 3
    assert check.totals["error"] == {"unreadable": 9}
    text = render_check(check, shown=2)
    assert "ERROR unreadable (9)" in text
    assert "... and 7 more" in text
    assert "9 errors, 0 warnings, 0 infos. Correct the errors first." in text


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(tiny_dataset: Path, save: Save, workers: int) -> None:
    for name in ("truncated_50.jpg", "exif_6.jpg", "page.jpg"):
        save(tiny_dataset / "distractors" / name, cases()[name].data)
    calls: list[tuple[int, int]] = []
    check = check_dataset(
        tiny_dataset, workers=workers, progress=lambda done, total: calls.append((done, total))
    )
    assert check == check_dataset(tiny_dataset, workers=2)
    assert calls == [(i, 24) for i in range(1, 25)]


def test_wrong_arguments(tiny_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="workers is 0"):
        check_dataset(tiny_dataset, workers=0)
    with pytest.raises(DatasetError, match="does not exist"):
        check_dataset(tmp_path / "none")


def test_counts_and_sizes(tiny_dataset: Path) -> None:
    facts = check_dataset(tiny_dataset).facts
    assert facts.counts == {
        "objects": 3,
        "image queries": 3,
        "text queries": 3,
        "positives": 9,
        "ignored": 0,
        "distractors": 9,
        "tars": 1,
        "photos with boxes": 12,
    }
    assert facts.per_object["positives"].median == 3
    assert facts.formats == {"jpeg": 21}
    assert facts.longer_side["positives"].counts == (9, 0, 0, 0, 0, 0)
    assert facts.object_share is not None
    assert facts.object_share.lowest == pytest.approx(24 * 32 / (96 * 64))
    assert facts.object_share.highest == pytest.approx(72 * 32 / (96 * 64))
    assert facts.object_share_histogram is not None
    assert facts.object_share_histogram.counts == (0, 0, 0, 3, 6, 0)


def test_size_and_clutter_table_with_given_counts(tiny_dataset: Path, save: Save) -> None:
    names = [
        f"{name}/pos/P{i:03d}_0{v}.jpg"
        for i, name in enumerate(("mug_000", "täfelchen_001", "poster_002"))
        for v in range(3)
    ]
    values = [
        (0.01, 5),
        (0.01, 60),
        (0.1, 20),
        (0.2, 40),
        (0.9, 5),
        (0.9, 10),
        (0.9, 17),
        (0.9, 18),
        (0.3, 2),
    ]
    lines = [f"{name},{scale},{clutter}" for name, (scale, clutter) in zip(names, values, strict=True)]
    save(tiny_dataset / "image_ids" / "positive_ids.txt", "\n".join(lines))
    table = check_dataset(tiny_dataset).facts.size_clutter
    assert table is not None
    assert table.measure == "object count"
    expected = np.zeros((4, 4), int)
    for scale, clutter in values:
        expected[sum(scale >= e for e in SHARE_EDGES), sum(clutter >= e for e in CLUTTER_EDGES)] += 1
    assert np.array_equal(table.counts, expected)
    assert table.empty == ("no large objects in crowded photos",)
    assert table.unknown == 0


def test_size_and_clutter_table_with_the_estimate(tiny_dataset: Path) -> None:
    (tiny_dataset / "ilias_core" / "mug_000" / "pos" / "P000_00_bbox.txt").unlink()
    table = check_dataset(tiny_dataset).facts.size_clutter
    assert table is not None
    assert table.measure == "clutter estimate"
    assert np.sum(table.counts) == 8
    assert table.unknown == 1


def test_report_as_text(tiny_dataset: Path, save: Save) -> None:
    save(tiny_dataset / "distractors" / "page.jpg", cases()["page.jpg"].data)
    text = render_check(check_dataset(tiny_dataset))
    for part in (
        "tiny (ILIAS layout, ",
        "3 objects, 3 image queries, 3 text queries, 9 positives, 10 distractors, 1 tars, 12 photos",
        "queries an object: 2 (from 2 to 2)",
        "formats: 21 jpeg",
        "longer side of positives, in pixels: under 256 (all 9)",
        "objects fill 25% of their photo (median; half of them 12% to 38%)",
        "positives by object size and clutter estimate",
        "empty corner: no tiny objects in plain photos",
        "ERROR unreadable (1)\n  distractors/page.jpg: a web page (HTML), not an image\n      -> fetch",
        "1 error, 0 warnings, 0 infos. Correct the errors first.",
    ):
        assert part in text, text


def test_what_needs_action_comes_first_and_the_rest_is_one_line(tiny_dataset: Path, save: Save) -> None:
    for number in range(5):
        data = encode(np.roll(SMOOTH, 5 * number, 1), "JPEG", exif=orientation_exif(6))
        save(tiny_dataset / "distractors" / f"turned{number}.jpg", data)
    save(tiny_dataset / "distractors" / "clear.png", cases()["rgba.png"].data)
    for name in ("a.jpg", "b.jpg"):
        save(tiny_dataset / "distractors" / name, b"<html>")
    lines = render_check(check_dataset(tiny_dataset)).splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("ERROR"))
    assert first < next(n for n, line in enumerate(lines) if "3 objects" in line)
    assert "nothing to do about: rotated 5, transparent 1 (--json names the files)" in lines
    assert sum("nothing to do" in line for line in lines) == 1
    assert not any("EXIF orientation" in line for line in lines)
    # what is to be done is said once for all files that it is done to
    assert sum("-> fetch" in line for line in lines) == 1


def test_bars_without_a_row_before_the_first_and_after_the_last(tiny_dataset: Path, save: Save) -> None:
    for number, side in enumerate((300, 1100)):
        save(tiny_dataset / "distractors" / f"large{number}.jpg", draw_photo(77 + number, (side, 100)))
    text = render_check(check_dataset(tiny_dataset, full_decode=False))
    rows = text.split("longer side of distractors, in pixels\n")[1].splitlines()[:4]
    assert [row.split()[:-1] for row in rows] == [
        ["under", "256", "9"], ["256", "to", "512", "1"], ["512", "to", "1024"], ["1024", "to", "2048", "1"],
    ]  # fmt: skip


def test_report_without_boxes_says_what_is_missing(plain_dataset: Path) -> None:
    text = render_check(check_dataset(plain_dataset))
    assert "plain (plain form, " in text
    assert "object sizes are unknown: add boxes" in text
    assert "The data set can be used." in text


def test_clutter_estimate_looks_around_the_box_only() -> None:
    rng = np.random.default_rng(0)
    grey = np.full((192, 256), 128, np.uint8)
    grey[:, :128] = rng.integers(0, 256, (24, 16), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    busy, plain = (
        clutter_estimate(grey, [Box(140, 0, 116, 192)]),
        clutter_estimate(grey, [Box(0, 0, 140, 192)]),
    )
    assert busy is not None
    assert plain == 0
    assert busy > 0.1
    assert clutter_estimate(grey, [Box(-50, -50, 400, 400)]) is None


def test_picture_hash_against_its_definition() -> None:
    grey = np.random.default_rng(1).integers(0, 256, (72, 72), dtype=np.uint8)
    bits = []
    for down, across in ((8, 9), (9, 8)):
        means = np.rint(grey.reshape(down, 72 // down, across, 72 // across).mean(axis=(1, 3)) + 1e-9)
        for y in range(8):
            for x in range(8):
                bits.append(means[y, x + 1] > means[y, x] if across == 9 else means[y + 1, x] > means[y, x])
    assert (np.unpackbits(picture_hash(grey)) != bits).sum() <= 2


@pytest.mark.slow
@pytest.mark.grocery
def test_grocery_is_sound(grocery: Path) -> None:
    check = check_dataset(grocery, full_decode=False)
    (only,) = check.problems
    assert (only.severity, only.message) == ("info", "1 other file or folder is not read (adapt)")
    assert check.facts.counts["distractors"] == 1500
    assert check.facts.counts["positives"] == 964
    assert check.facts.size_clutter is None
